//! What a node's answers mean. Anything that is not exactly one of them is an error, not a guess.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::frames::Frame;
use crate::cert::CertName;
use crate::plan::rollout::{Base, Committed, ConfigTest, Prepared, Refusal};
use crate::report::escape;

/// How much of a command's words is shown, characters; the node caps at 4,000 bytes.
const WORDS: usize = 4000;

/// An answer that makes no sense here, escaped.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no answer to that")]
pub(super) struct Senseless(pub(super) String);

impl Senseless {
    pub(super) fn of(text: &str) -> Self {
        Self(escape(text, 100))
    }
}

/// `Err(Ok(refusal))`: it would not.
pub(super) type Told<T> = Result<T, Result<Refusal, Senseless>>;

pub(super) fn prepared(frame: &Frame, sent: &[CertName]) -> Told<Prepared> {
    let bad = || Err(Senseless::of(&frame.body));
    let (facts, test) = facts(frame, "prepared")?;
    let (mut bases, mut clock) = (BTreeMap::new(), None);
    for line in facts {
        if let Some(seconds) = line.strip_prefix("clock ") {
            clock = self::clock(seconds);
            continue;
        }
        let (name, base) = line.strip_prefix("base ").and_then(|line| line.split_once(' ')).ok_or_else(bad)?;
        let name = sent.iter().find(|sent| sent.as_str() == name).ok_or_else(bad)?;
        let base = match base.split_once(' ').unwrap_or((base, "")) {
            ("unchanged", "") => Base::Unchanged,
            ("found", "") => Base::Found,
            ("nothing", "") => Base::Nothing,
            ("managed", generation) => Base::Managed(generation.parse().map_err(|_| bad())?),
            _ => return Err(bad()),
        };
        bases.insert(name.clone(), base);
    }
    if bases.len() == sent.len() { Ok(Prepared { test, bases, clock }) } else { Err(bad()) }
}

/// The lines between what the configuration test came to, which is also returned, and its words.
pub(super) fn facts<'a>(frame: &'a Frame, verb: &str) -> Told<(core::str::Lines<'a>, ConfigTest)> {
    expect(frame, &[verb])?;
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

pub(super) fn committed(frame: &Frame) -> Told<Committed> {
    let verb = expect(frame, &["committed", "rolled-back", "broken-before", "placed"])?;
    let output = escape(&frame.body, WORDS);
    Ok(match verb {
        "committed" => Committed::Committed,
        "rolled-back" => Committed::RolledBack { output },
        "broken-before" => Committed::BrokenBefore { output },
        _ => Committed::Placed { output },
    })
}

/// The inner error: why it was kept, in the node's words.
pub(super) fn rolled_back(frame: &Frame) -> Told<Result<(), String>> {
    let kept = || escape(&frame.body, WORDS);
    Ok(if expect(frame, &["back", "kept"])? == "back" { Ok(()) } else { Err(kept()) })
}

fn expect<'a>(frame: &'a Frame, verbs: &[&str]) -> Told<&'a str> {
    match frame.verb.as_str() {
        "refused" => Err(refusal(&frame.body)),
        verb if verbs.contains(&verb) => Ok(verb),
        verb => Err(Err(Senseless::of(verb))),
    }
}

fn refusal(body: &str) -> Result<Refusal, Senseless> {
    let bad = || Senseless::of(body);
    let (word, rest) = body.split_once(' ').unwrap_or((body, ""));
    Ok(match word {
        "newer" => {
            let (name, number) = rest.split_once(' ').ok_or_else(bad)?;
            Refusal::Newer { certificate: name_of(name)?, number: number.parse().map_err(|_| bad())? }
        }
        "changed" => Refusal::Changed { certificate: name_of(rest)? },
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

fn name_of(text: &str) -> Result<CertName, Senseless> {
    CertName::parse(text).map_err(|_| Senseless::of(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(verb: &str, body: &str) -> Frame {
        Frame { verb: verb.to_owned(), body: body.to_owned() }
    }

    #[test]
    fn a_preparation_must_name_every_certificate_that_was_sent_and_no_other() {
        let sent = [CertName::parse("a").unwrap(), CertName::parse("b").unwrap()];
        let told = prepared(
            &frame("prepared", "test failed\nbase a nothing\nbase b managed 20261123061500-04\noutput\nno\x1b"),
            &sent,
        );
        let told = told.expect("both are named");
        assert_eq!(told.test, ConfigTest::Failed("no\\u{1b}".to_owned()));
        assert_eq!(told.bases[&sent[0]], Base::Nothing);
        for body in
            ["test ok\nbase a found\noutput\n", "test ok\nbase a found\nbase c found\noutput\n", "", "test ok\n"]
        {
            assert!(matches!(prepared(&frame("prepared", body), &sent), Err(Err(_))), "{body}");
        }
    }

    #[test]
    fn an_answer_to_another_question_is_an_error() {
        assert!(matches!(committed(&frame("back", "")), Err(Err(_))));
        assert!(matches!(rolled_back(&frame("committed", "")), Err(Err(_))));
        assert!(matches!(committed(&frame("refused", "because")), Err(Err(_))));
    }

    #[test]
    fn a_refusal_keeps_its_object() {
        let told = committed(&frame("refused", "path /etc/x y\nNo space left on device\n"));
        let Err(Ok(refusal)) = told else { panic!("{told:?}") };
        assert_eq!(refusal.to_string(), "/etc/x y: No space left on device");
        let told = committed(&frame("refused", "links /etc/x y\nnginx: \x1b\nno such file"));
        let Err(Ok(Refusal::Links { path, output })) = told else { panic!("{told:?}") };
        assert_eq!((path.as_str(), output.as_str()), ("/etc/x y", "nginx: \\u{1b}\\nno such file"));
        let told = committed(&frame("refused", "version 2 3"));
        assert!(matches!(told, Err(Ok(Refusal::Version { theirs: 2, ours: 3 }))));
        let told = committed(&frame("refused", "permit a: no\x1b"));
        assert!(matches!(told, Err(Ok(Refusal::NotPermitted { why })) if why == "a: no\\u{1b}"));
        let told = committed(&frame("refused", "newer a 20261123061500"));
        assert!(matches!(told, Err(Ok(Refusal::Newer { number: 20_261_123_061_500, .. }))));
    }
}
