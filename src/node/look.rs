//! The look: a dialogue that only asks what is on a node. No PEM and no key travels, and the node changes nothing.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::answer::{self, Answered, Senseless};
use super::bundle::{self, Expected};
use super::frames::Frame;
use super::program::{BOOTSTRAP, program_of_looks, sized};
use super::receiver;
use super::{Dialogue, NodeError};
use crate::cert::{CertName, DnsName};
use crate::config::Install;
use crate::model::{AcmeClient, AtPath, Exposed, Found, Installed, Looked, Renewal};
use crate::ssh::Endpoint;
use crate::text::escape;

/// Names of files that are shown, characters.
const NAME: usize = 200;
/// Files of other programs that renew; the node program sends no more.
const RENEWERS: usize = 20;
/// Certificates that other ACME clients have; the node program sends no more.
const RENEWALS: usize = 100;
/// Names of one of them that are read: a certificate has a hundred.
const NAMES: usize = 100;
/// Folders with keys of names that are gone.
const LEFT: usize = 20;
/// Lines of facts in an answer: the node program has some ten for each certificate, and a few for all.
const FACTS: usize = 64;
const FACTS_OF_ONE: usize = 64;

/// Exposed keys of one certificate that are shown; the node sends no more than nine.
const EXPOSED: usize = 9;

/// A certificate that a node is asked about.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub certificate: CertName,
    pub install: Arc<Install>,
    /// What its files should hold. `None`: nothing is stored, so nothing can be the same.
    pub expected: Option<Expected>,
}

/// Connects, checks the host key, logs in, runs the configuration test, and returns what is there. It takes no lock on the
/// node: during a delivery it sees the old state or the new one.
///
/// # Errors
/// As a delivery before its commit.
pub async fn look(endpoint: Endpoint, wanted: Vec<Wanted>, deadline: Duration) -> Result<Looked, NodeError> {
    look_by(endpoint, BOOTSTRAP, wanted, deadline).await
}

/// The same with an administrator's login: as root, who sees what every user's cron starts.
///
/// # Errors
/// As [`look`].
pub async fn look_as_root(
    administrator: Endpoint,
    wanted: Vec<Wanted>,
    deadline: Duration,
) -> Result<Looked, NodeError> {
    let command = receiver::as_root(&administrator);
    look_by(administrator, command, wanted, deadline).await
}

async fn look_by(
    endpoint: Endpoint,
    command: &'static str,
    wanted: Vec<Wanted>,
    deadline: Duration,
) -> Result<Looked, NodeError> {
    let keys = wanted.iter().filter_map(|wanted| wanted.expected.as_ref()).map(|expected| expected.key().clone());
    let keys = keys.collect();
    let (dialogue, frame) = Dialogue::begin(endpoint, command, |nonce| opening(nonce, &wanted), keys, deadline).await?;
    let asked: Vec<CertName> = wanted.into_iter().map(|wanted| wanted.certificate).collect();
    let looked = dialogue.answered(seen(&frame, &asked));
    dialogue.abort().await;
    looked
}

fn opening(nonce: &str, wanted: &[Wanted]) -> Zeroizing<Vec<u8>> {
    let forms = wanted.iter().any(|wanted| !wanted.install.forms.is_none());
    let mut text = bundle::beginning(program_of_looks(forms), nonce);
    bundle::line(&mut text, "look", "yes");
    for Wanted { certificate, install, expected } in wanted {
        bundle::line(&mut text, "name", certificate.as_str());
        bundle::places(&mut text, install);
        expected.iter().flat_map(Expected::sums).for_each(|sum| bundle::line(&mut text, "sum", sum));
    }
    text.push_str("end\n");
    sized(&[&text])
}

/// What has been answered about one certificate so far.
#[derive(Default)]
struct Half {
    fullchain: Option<AtPath>,
    key: Option<AtPath>,
    /// The first other file that cannot be delivered.
    further: Option<AtPath>,
    current: Option<String>,
    same: Option<bool>,
    digest: Option<String>,
    exposed: Vec<Exposed>,
}

fn seen(frame: &Frame, asked: &[CertName]) -> Answered<Looked> {
    let (facts, test) = answer::facts(frame, "seen")?;
    let (mut clock, mut room, mut renewers, mut receiver) = (None, None, Vec::new(), None);
    let (mut unbounded_workers, mut renewals) = (false, Vec::new());
    let mut left = BTreeSet::new();
    let mut halves: BTreeMap<&CertName, Half> = BTreeMap::new();
    for (count, line) in facts.enumerate() {
        let bad = || Err(Senseless::of(line));
        if count >= FACTS + RENEWALS + FACTS_OF_ONE * asked.len() {
            return Err(Err(Senseless(format!("more than {count} lines"))));
        }
        let (word, rest) = line.split_once(' ').ok_or_else(bad)?;
        match word {
            "clock" => clock = answer::clock(rest),
            "room" => room = rest.parse().ok(),
            "renewer" if renewers.len() < RENEWERS => renewers.push(escape(rest, NAME)),
            // Named for each certificate to whose files they are near.
            "left" if left.len() < LEFT => {
                left.insert(escape(rest, NAME));
            }
            "held" if renewals.len() < RENEWALS => renewals.extend(held(rest)),
            "renewer" | "held" | "left" => {}
            "workers" if rest == "unbounded" => unbounded_workers = true,
            "receiver" => receiver = Some(installed(rest).ok_or_else(bad)?),
            "at" | "current" | "digest" | "same" | "exposed" => {
                let (name, rest) = rest.split_once(' ').ok_or_else(bad)?;
                let name = asked.iter().find(|asked| asked.as_str() == name).ok_or_else(bad)?;
                halves.entry(name).or_default().fill(word, rest).ok_or_else(bad)?;
            }
            _ => return Err(bad()),
        }
    }
    let whole = |name: &CertName| Some((name.clone(), halves.remove(name)?.whole()?));
    let certificates: Option<BTreeMap<CertName, Found>> = asked.iter().map(whole).collect();
    let certificates = certificates.ok_or_else(|| Err(Senseless::of(&frame.body)))?;
    let left = left.into_iter().collect();
    Ok(Looked { test, clock, room, renewers, renewals, left, unbounded_workers, certificates, receiver })
}

/// Client, file, and the names and paths among its words; all of them may be others' still.
fn held(text: &str) -> Option<Renewal> {
    let (client, rest) = text.split_once('|')?;
    let client = match client {
        "acme.sh" => AcmeClient::AcmeSh,
        "certbot" => AcmeClient::Certbot,
        "lego" => AcmeClient::Lego,
        _ => return None,
    };
    let (file, words) = rest.split_once('|')?;
    let (mut others, mut paths) = (Vec::new(), Vec::new());
    for word in words.split([' ', ',', '\'', '"', '=']).filter(|word| !word.is_empty()).take(NAMES) {
        if word.starts_with('/') {
            paths.push(escape(word, NAME));
        } else if let Ok(name) = DnsName::parse(word.strip_prefix("DNS:").unwrap_or(word))
            && !others.contains(&name)
        {
            others.push(name);
        }
    }
    // Without openssl there, certbot's own name of the certificate is all that is known: mostly its first name.
    let stem = file.rsplit('/').next().and_then(|name| DnsName::parse(name.strip_suffix(".conf")?).ok());
    if client == AcmeClient::Certbot && others.is_empty() {
        others.extend(stem);
    }
    Some(Renewal { client, file: escape(file, NAME), names: Vec::new(), others, paths, elsewhere: Vec::new() })
}

impl Half {
    fn fill(&mut self, word: &str, rest: &str) -> Option<()> {
        match word {
            "at" => {
                let (file, at) = rest.split_once(' ')?;
                let at = at_path(at)?;
                match file {
                    "fullchain" => self.fullchain = Some(at),
                    "privkey" => self.key = Some(at),
                    // Whether they are right is in "same", unless they cannot be.
                    "chain" | "combined" | "cert.der" | "privkey.der" | "keystore.p12" => {
                        if let AtPath::Foreign { why } = at {
                            self.further.get_or_insert(AtPath::Foreign { why: format!("{file}: {why}") });
                        }
                    }
                    _ => return None,
                }
            }
            "current" => self.current = (rest != "-").then(|| escape(rest, NAME)),
            "digest" => self.digest = is_digest(rest).then(|| rest.to_owned()),
            "exposed" => {
                let (mode, path) = rest.split_once(' ')?;
                if self.exposed.len() == EXPOSED {
                    return None;
                }
                self.exposed.push(Exposed { path: escape(path, 300), mode: escape(mode, 12) });
            }
            _ => self.same = Some(rest == "yes"),
        }
        Some(())
    }

    fn whole(self) -> Option<Found> {
        let Self { fullchain, key, further, current, same, digest, exposed } = self;
        let key = key.map(|key| match key {
            AtPath::Foreign { .. } => key,
            _ => further.unwrap_or(key),
        });
        Some(Found { fullchain: fullchain?, key: key?, current, same: same?, digest, exposed })
    }
}

fn installed(words: &str) -> Option<Installed> {
    let (program, rest) = words.split_once(' ')?;
    let (parameters, judges) = rest.split_once(' ')?;
    let known = is_digest(program) && is_digest(parameters) && matches!(judges, "yes" | "no");
    known.then(|| Installed { program: program.to_owned(), parameters: parameters.to_owned(), judges: judges == "yes" })
}

/// SHA-256, hex.
fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn at_path(at: &str) -> Option<AtPath> {
    Some(match at.split_once(' ').unwrap_or((at, "")) {
        ("link", "") => AtPath::Link,
        ("plain", "") => AtPath::Plain,
        ("none", "") => AtPath::Nothing,
        ("foreign", why) => AtPath::Foreign { why: escape(why, 300) },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn parsed(body: &str) -> Option<Looked> {
        let asked = [CertName::parse("a").unwrap()];
        seen(&Frame { verb: "seen".to_owned(), body: body.to_owned() }, &asked).ok()
    }

    const WHOLE: &str = "test ok\nat a fullchain link\nat a privkey foreign is a link to x\x1b\nat a combined plain\nexposed a -rw-r--r--. /ssl/k\x1b.pem\ncurrent a -\n\
                         digest a -\nsame a no\nrenewer /etc/cron.d/a\x07b\nleft /ssl/.certd/b\nleft /ssl/.certd/b\nroom 12\nclock 1795449600\noutput\n";

    #[test]
    fn what_a_node_tells_of_its_disk_is_escaped_and_what_is_unknown_is_nothing() {
        let looked = parsed(WHOLE).expect("it is whole");
        assert_eq!((looked.room, looked.clock), (Some(12), Timestamp::from_second(1_795_449_600).ok()));
        assert_eq!(looked.renewers, ["/etc/cron.d/a\\u{7}b"]);
        assert_eq!(looked.left, ["/ssl/.certd/b"], "named once");
        let found = looked.certificates.values().next().unwrap();
        assert_eq!(found.key, AtPath::Foreign { why: "is a link to x\\u{1b}".to_owned() });
        assert_eq!(found.exposed, [Exposed { path: "/ssl/k\\u{1b}.pem".to_owned(), mode: "-rw-r--r--.".to_owned() }]);
        assert_eq!((&found.current, &found.digest, found.same), (&None, &None, false));
    }

    #[test]
    fn what_other_clients_hold_is_names_and_paths() {
        let with =
            |line: &str| parsed(&WHOLE.replace("room 12\n", &format!("held {line}\nroom 12\n"))).unwrap().renewals;
        let [renewal] = &with(
            "acme.sh|/root/.acme.sh/a.example_ecc/a.example.conf|'a.example' 'b.example,*.b.example' 'no' '/ssl/k\x1b.pem' '/ssl/c.pem'",
        )[..] else {
            panic!("one")
        };
        let names = |renewal: &Renewal| renewal.others.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(renewal), ["a.example", "b.example", "*.b.example"]);
        assert_eq!(renewal.paths, ["/ssl/k\\u{1b}.pem", "/ssl/c.pem"]);
        assert_eq!(renewal.client, AcmeClient::AcmeSh);
        assert_eq!(
            names(&with("lego|/etc/cron.d/lego|--domains=a.example -d \"b.example\"")[0]),
            ["a.example", "b.example"]
        );
        assert_eq!(names(&with("certbot|/etc/letsencrypt/renewal/c.example.conf|DNS:a.example -")[0]), ["a.example"]);
        assert_eq!(names(&with("certbot|/etc/letsencrypt/renewal/c.example.conf|-")[0]), ["c.example"]);
        assert!(with("certbot /etc").is_empty() && with("caddy|/etc|a.example").is_empty());
        let many = "lego|/etc/cron.d/lego|-d a.example\nheld ".repeat(150);
        assert_eq!(with(many.trim_end_matches("\nheld ")).len(), RENEWALS);
    }

    #[test]
    fn old_workers_without_a_bound_are_one_line() {
        assert!(!parsed(WHOLE).unwrap().unbounded_workers);
        assert!(parsed(&WHOLE.replace("room 12\n", "room 12\nworkers unbounded\n")).unwrap().unbounded_workers);
        assert!(parsed(&WHOLE.replace("room 12\n", "room 12\nworkers many\n")).is_none());
    }

    #[test]
    fn an_installed_receiver_tells_what_it_is_in_digests_and_one_word() {
        let digest = "0a".repeat(32);
        let with = |line: &str| parsed(&WHOLE.replace("room 12\n", &format!("{line}\nroom 12\n")));
        assert_eq!(parsed(WHOLE).unwrap().receiver, None);
        let looked = with(&format!("receiver {digest} {digest} no")).unwrap();
        let receiver = Installed { program: digest.clone(), parameters: digest.clone(), judges: false };
        assert_eq!(looked.receiver, Some(receiver));
        for bad in [
            format!("receiver {digest} yes"),
            format!("receiver {digest} x yes"),
            format!("receiver {digest} {digest} y\x1b"),
        ] {
            assert!(with(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_answer_without_end_fills_neither_a_report_nor_the_state() {
        let many = |count: usize| "renewer /etc/cron.d/\u{10fffe}\n".repeat(count) + "room 12\n";
        let looked = parsed(&WHOLE.replace("room 12\n", &many(60))).expect("some more than there should be");
        assert_eq!(looked.renewers.len(), RENEWERS);
        assert!(parsed(&WHOLE.replace("room 12\n", &many(20_000))).is_none());
        let long = format!("renewer {}\nroom 12\n", "\u{e0001}".repeat(60_000));
        let looked = parsed(&WHOLE.replace("room 12\n", &long)).expect("one long line");
        assert!(looked.renewers.iter().all(|name| name.chars().count() <= NAME + 1), "{:?}", looked.renewers);
    }

    #[test]
    fn a_certificate_that_is_not_told_of_whole_or_was_not_asked_for_is_an_error() {
        for (line, other) in [
            ("at a privkey foreign is a link to x\x1b\n", ""),
            ("same a no\n", ""),
            ("same a no\n", "same b no\n"),
            ("at a fullchain link\n", "at a fullchain maybe\n"),
            ("room 12\n", "rooms 12\n"),
            ("same a no\n", &format!("same a no\n{}", "exposed a -rw-r--r-- /k\n".repeat(9))),
        ] {
            assert!(WHOLE.contains(line));
            assert!(parsed(&WHOLE.replace(line, other)).is_none(), "{line}");
        }
    }
}
