//! Parsing of a node's answers. Anything that is not exactly one of them is an error.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::frames::Frame;
use crate::cert::{CertName, Generation, generation};
use crate::model::{Base, Committed, ConfigTest, Prepared, Refusal};
use crate::text::escape;

/// Characters of a command's output that are shown; the node caps it at 4,000 bytes.
const WORDS: usize = 4000;

/// Characters of a malformed number that are shown.
const NUMBER: usize = 40;
/// Characters of the text that names who could read a key.
const WHO: usize = 100;

/// An answer that makes no sense here, escaped.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no answer to that")]
pub(super) struct Senseless(pub(super) String);

impl Senseless {
    pub(super) fn of(text: &str) -> Self {
        Self(escape(text, 100))
    }
}

/// A certificate of the dialogue: an answer about any other is malformed.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) certificate: CertName,
    pub(super) generation: Generation,
    /// It may replace a newer generation.
    pub(super) older: bool,
}

/// `Err(Ok(refusal))`: the node refused.
pub(super) type Answered<T> = Result<T, Result<Refusal, Senseless>>;

pub(super) fn prepared(frame: &Frame, sent: &[Sent]) -> Answered<Prepared> {
    let bad = || Err(Senseless::of(&frame.body));
    let (facts, test) = facts_of(frame, "prepared", sent)?;
    let (mut bases, mut clock, mut narrowed) = (BTreeMap::new(), None, Vec::new());
    for line in facts {
        if let Some(seconds) = line.strip_prefix("clock ") {
            clock = self::clock(seconds);
            continue;
        }
        if let Some(rest) = line.strip_prefix("narrowed ") {
            let (name, who) = rest.split_once(' ').ok_or_else(bad)?;
            let known = sent.iter().find(|sent| sent.certificate.as_str() == name).ok_or_else(bad)?;
            // The key, the combined file, the key in DER, and PKCS#12.
            if narrowed.len() == 4 * sent.len() {
                return Err(bad());
            }
            narrowed.push((known.certificate.clone(), escape(who, WHO)));
            continue;
        }
        let (name, base) = line.strip_prefix("base ").and_then(|line| line.split_once(' ')).ok_or_else(bad)?;
        let sent = sent.iter().find(|sent| sent.certificate.as_str() == name).ok_or_else(bad)?;
        let base = match base.split_once(' ').unwrap_or((base, "")) {
            ("unchanged", "") => Base::Unchanged,
            ("found", "") => Base::Found,
            ("nothing", "") => Base::Nothing,
            ("managed", held) => managed(held, sent).ok_or_else(bad)?,
            _ => return Err(bad()),
        };
        bases.insert(sent.certificate.clone(), base);
    }
    if bases.len() == sent.len() { Ok(Prepared { test, bases, clock, narrowed }) } else { Err(bad()) }
}

/// Another generation of ours. One that is newer than what was sent would have been refused; where it may go beneath, the
/// number may be anything, even none.
fn managed(held: &str, sent: &Sent) -> Option<Base> {
    match held.parse::<Generation>() {
        Ok(held) if sent.older || held.number() <= sent.generation.number() => Some(Base::Managed(held)),
        Err(_) if sent.older => Some(Base::Found),
        _ => None,
    }
}

/// The lines between what the configuration test came to, which is also returned, and its words.
pub(super) fn facts<'a>(frame: &'a Frame, verb: &str) -> Answered<(core::str::Lines<'a>, ConfigTest)> {
    facts_of(frame, verb, &[])
}

fn facts_of<'a>(frame: &'a Frame, verb: &str, sent: &[Sent]) -> Answered<(core::str::Lines<'a>, ConfigTest)> {
    expect(frame, &[verb], sent)?;
    let bad = || Err(Senseless::of(&frame.body));
    let (facts, output) = frame.body.split_once("\noutput\n").ok_or_else(bad)?;
    let mut lines = facts.lines();
    let test = match lines.next() {
        Some("test ok") => ConfigTest::Ok,
        Some("test failed") => ConfigTest::Failed(escape(output, WORDS)),
        _ => return Err(bad()),
    };
    Ok((lines, test))
}

/// What `date +%s` says; a node without it tells nothing of its clock.
pub(super) fn clock(seconds: &str) -> Option<Timestamp> {
    Timestamp::from_second(seconds.parse().ok()?).ok()
}

pub(super) fn committed(frame: &Frame, sent: &[Sent]) -> Answered<Committed> {
    let verb = expect(frame, &["committed", "rolled-back", "broken-before", "placed"], sent)?;
    let output = escape(&frame.body, WORDS);
    Ok(match verb {
        "committed" => Committed::Committed,
        "rolled-back" => Committed::RolledBack { output },
        "broken-before" => Committed::BrokenBefore { output },
        _ => Committed::Placed { output },
    })
}

/// The inner error: why it was kept, in the node's words.
pub(super) fn rolled_back(frame: &Frame, sent: &[Sent]) -> Answered<Result<(), String>> {
    let kept = || escape(&frame.body, WORDS);
    Ok(if expect(frame, &["back", "kept"], sent)? == "back" { Ok(()) } else { Err(kept()) })
}

fn expect<'a>(frame: &'a Frame, verbs: &[&str], sent: &[Sent]) -> Answered<&'a str> {
    match frame.verb.as_str() {
        "refused" => Err(refusal(&frame.body, sent)),
        verb if verbs.contains(&verb) => Ok(verb),
        verb => Err(Err(Senseless::of(verb))),
    }
}

fn refusal(body: &str, sent: &[Sent]) -> Result<Refusal, Senseless> {
    let bad = || Senseless::of(body);
    let of = |name: &str| sent.iter().find(|sent| sent.certificate.as_str() == name).ok_or_else(bad);
    let (word, rest) = body.split_once(' ').unwrap_or((body, ""));
    Ok(match word {
        "newer" => {
            let (name, number) = rest.split_once(' ').ok_or_else(bad)?;
            let Sent { certificate, generation, older } = of(name)?;
            let certificate = certificate.clone();
            match generation::parse_number(number) {
                // What is no greater, or may be gone beneath, is no reason to refuse.
                Some(number) if *older || number <= generation.number() => return Err(bad()),
                Some(number) => Refusal::Newer { certificate, number },
                None => Refusal::Implausible { certificate, number: escape(number, NUMBER) },
            }
        }
        "changed" => Refusal::Changed { certificate: of(rest)?.certificate.clone() },
        "path" => {
            let (path, why) = rest.split_once('\n').ok_or_else(bad)?;
            Refusal::Path { path: escape(path, 300), why: escape(why.trim_end(), 300) }
        }
        "links" => {
            let (path, output) = rest.split_once('\n').ok_or_else(bad)?;
            Refusal::Links { path: escape(path, 300), output: escape(output.trim_end(), WORDS) }
        }
        "locked" => Refusal::Locked,
        "permit" => Refusal::NotPermitted { why: escape(rest.trim_end(), 500) },
        "version" => {
            let (theirs, ours) = rest.split_once(' ').ok_or_else(bad)?;
            Refusal::Version { theirs: theirs.parse().map_err(|_| bad())?, ours: ours.parse().map_err(|_| bad())? }
        }
        "unfit" => Refusal::Unfit { why: escape(rest.trim_end(), 300) },
        _ => return Err(bad()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "20261123061500-04";

    fn sent(name: &str) -> Sent {
        Sent { certificate: CertName::parse(name).unwrap(), generation: OURS.parse().unwrap(), older: false }
    }

    fn frame(verb: &str, body: &str) -> Frame {
        Frame { verb: verb.to_owned(), body: body.to_owned() }
    }

    #[test]
    fn a_preparation_must_name_every_certificate_that_was_sent_and_no_other() {
        let sent = [sent("a"), sent("b")];
        let name = |number: usize| &sent[number].certificate;
        let answered = prepared(
            &frame(
                "prepared",
                "test failed\nnarrowed a privkey everybody\x07\nbase a nothing\nbase b managed 20261123061500-04\noutput\nno\x1b",
            ),
            &sent,
        );
        let answered = answered.expect("both are named");
        assert_eq!(answered.test, ConfigTest::Failed("no\\u{1b}".to_owned()));
        assert_eq!(answered.bases[name(0)], Base::Nothing);
        assert_eq!(answered.narrowed, [(name(0).clone(), "privkey everybody\\u{7}".to_owned())]);
        for body in
            ["test ok\nbase a found\noutput\n", "test ok\nbase a found\nbase c found\noutput\n", "", "test ok\n"]
        {
            assert!(matches!(prepared(&frame("prepared", body), &sent), Err(Err(_))), "{body}");
        }
    }

    #[test]
    fn an_answer_to_another_question_is_an_error() {
        assert!(matches!(committed(&frame("back", ""), &[]), Err(Err(_))));
        assert!(matches!(rolled_back(&frame("committed", ""), &[]), Err(Err(_))));
        assert!(matches!(committed(&frame("refused", "because"), &[]), Err(Err(_))));
    }

    #[test]
    fn a_refusal_keeps_its_object() {
        let committed = |body: &str| committed(&frame("refused", body), &[sent("a")]);
        let answered = committed("path /etc/x y\nNo space left on device\n");
        let Err(Ok(refusal)) = answered else { panic!("{answered:?}") };
        assert_eq!(refusal.to_string(), "/etc/x y: No space left on device");
        let answered = committed("links /etc/x y\nnginx: \x1b\nno such file");
        let Err(Ok(Refusal::Links { path, output })) = answered else { panic!("{answered:?}") };
        assert_eq!((path.as_str(), output.as_str()), ("/etc/x y", "nginx: \\u{1b}\\nno such file"));
        let answered = committed("version 2 3");
        assert!(matches!(answered, Err(Ok(Refusal::Version { theirs: 2, ours: 3 }))));
        let answered = committed("permit a: no\x1b");
        assert!(matches!(answered, Err(Ok(Refusal::NotPermitted { why })) if why == "a: no\\u{1b}"));
        let answered = committed("newer a 20261123061501");
        assert!(matches!(answered, Err(Ok(Refusal::Newer { number: 20_261_123_061_501, .. }))));
    }

    #[test]
    fn a_newer_generation_counts_for_what_was_sent_alone_and_only_if_its_number_is_a_second() {
        let refused = |body: &str| prepared(&frame("refused", body), &[sent("a"), Sent { older: true, ..sent("b") }]);
        for other in ["c 20261123061501", "A 20261123061501", "../a 20261123061501", " 20261123061501", "a", "a\n1"] {
            let answered = refused(&format!("newer {other}"));
            assert!(matches!(answered, Err(Err(_))), "{other}: {answered:?}");
        }
        assert!(matches!(refused("changed c"), Err(Err(_))), "nor does what else was changed");
        for number in ["20261123061500", "20261123061459", "20200101000000"] {
            assert!(matches!(refused(&format!("newer a {number}")), Err(Err(_))), "{number} is not newer");
        }
        assert!(matches!(refused("newer b 20261123061501"), Err(Err(_))), "it may go beneath");
        for number in ["9999999999999999999", "99999999999999999999", "99999999999999", "20261399000000", "-1", "\x1b"]
        {
            let answered = refused(&format!("newer a {number}"));
            assert!(matches!(answered, Err(Ok(Refusal::Implausible { .. }))), "{number}: {answered:?}");
        }
    }

    #[test]
    fn a_node_that_takes_what_is_older_than_its_own_unasked_makes_no_sense() {
        let holds = |number: &str, older| {
            let body = format!("test ok\nbase a managed {number}-0b\noutput\n");
            prepared(&frame("prepared", &body), &[Sent { older, ..sent("a") }])
                .map(|answered| answered.bases.into_values().next())
        };
        assert!(matches!(holds("20261123061459", false), Ok(Some(Base::Managed(_)))));
        assert!(matches!(holds("20261123061501", true), Ok(Some(Base::Managed(_)))));
        assert!(matches!(holds("99999999999999999999", true), Ok(Some(Base::Found))));
        for number in ["20261123061501", "99999999999999", "99999999999999999999"] {
            assert!(matches!(holds(number, false), Err(Err(_))), "{number}");
        }
    }
}
