//! What a look at a node's disk means for the next delivery.

use jiff::{SignedDuration, Timestamp};

use crate::cert::{CertName, NodeName};
use crate::model::{Advice, AtPath, Failure, Found, Looked};
use crate::model::{Code, ConfigTest};

use super::{Area, Finding, State};
use crate::text::as_word;

/// A chain and a key take 20 kB, and two generations are kept.
const NO_ROOM: u64 = 1024;
const LITTLE_ROOM: u64 = 10 * 1024;
/// Logs that cannot be compared, and soon certificates that are not valid yet.
const WRONG_CLOCK: SignedDuration = SignedDuration::from_mins(5);
/// What was open may have been read.
pub(in crate::report) const EXPOSED: &str = "take the rights from it there (chmod go-rwx), or leave that to the next delivery; where the server's own user \
     reads it, write [install] owner, group or key_mode first; where others log in, think of a new key: certd revoke";
/// Names of files that are shown.
const SHOWN: usize = 10;

/// Never empty: what is well is said too.
pub fn of_looked(node: &NodeName, looked: &Looked, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut bad = |state, code: Code, what: String, next: &str| {
        let failure = Failure::new(code, node, what, next, Advice::Person);
        findings.push(Finding::bad(Area::Nodes, state, &failure));
    };
    let ours = looked.certificates.values().any(|found| found.fullchain != AtPath::Nothing);
    if let ConfigTest::Failed(words) = &looked.test {
        let next = "mend the server's configuration on the node; until then no reload works, ours or anybody's";
        if ours {
            bad(State::Failure, Code::NodeTestFails, format!("its configuration test fails: {words}"), next);
        } else {
            let next = "nothing, where the files are all that it lacks: the first delivery brings them";
            bad(State::Warning, Code::NodeTestFails, format!("its configuration test fails: {words}"), next);
        }
    }
    match looked.room {
        Some(room) if room < NO_ROOM => {
            bad(State::Failure, Code::NodeRoom, format!("{room} KiB are free there"), "free some space on the node");
        }
        Some(room) if room < LITTLE_ROOM => {
            bad(State::Warning, Code::NodeRoom, format!("{room} KiB are free there"), "free some space on the node");
        }
        _ => {}
    }
    if let Some(ahead) = looked.clock.map(|clock| clock.duration_since(now)).filter(|it| it.abs() > WRONG_CLOCK) {
        let side = if ahead.is_positive() { "ahead" } else { "behind" };
        let what = format!("its clock is {} minutes {side}", ahead.as_mins().abs());
        bad(State::Warning, Code::NodeClock, what, "set it on the node (timedatectl)");
    }
    if !looked.renewers.is_empty() {
        let more = looked.renewers.len().saturating_sub(SHOWN);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let shown: Vec<&str> = looked.renewers.iter().take(SHOWN).map(String::as_str).collect();
        let what = format!("something else renews certificates there: {}{more}", shown.join(", "));
        bad(State::Warning, Code::NodeRenewers, what, "switch it off for the names that certd has, or both will write");
    }
    if !looked.left.is_empty() {
        let folders: Vec<String> = looked.left.iter().map(|folder| as_word(folder)).collect();
        let what = format!("keys of certificates that the configuration does not have there: {}", folders.join(", "));
        bad(
            State::Warning,
            Code::NodeLeft,
            what,
            "if no server reads them any more, remove these folders on the node (rm -r)",
        );
    }
    for (name, found) in &looked.certificates {
        for (path, at) in [("fullchain", &found.fullchain), ("key", &found.key)] {
            if let AtPath::Foreign { why } = at {
                let next = "put a plain file there, or nothing; or another path into the configuration";
                bad(State::Failure, Code::NodePath, format!("{name}: its {path} cannot be replaced: {why}"), next);
            }
        }
    }
    for (name, found) in &looked.certificates {
        for exposed in &found.exposed {
            let what = format!(
                "{name}: more people can read a key than are to: {} ({})",
                as_word(&exposed.path),
                exposed.mode
            );
            bad(State::Warning, Code::NodeKeyExposed, what, EXPOSED);
        }
    }
    if findings.is_empty() {
        let held: Vec<String> = looked.certificates.iter().map(|(name, found)| holds(name, found)).collect();
        let what = format!("reached, logged in, its configuration test passes; {}", held.join("; "));
        findings.push(Finding::ok(Area::Nodes, node, what));
    }
    findings
}

fn holds(name: &CertName, found: &Found) -> String {
    match (&found.fullchain, &found.current, found.same) {
        (_, _, true) => format!("{name}: has what is meant for it"),
        (AtPath::Nothing, ..) => format!("{name}: has no files yet"),
        (AtPath::Link, Some(current), false) => format!("{name}: has {current}, another than what is meant for it"),
        _ => format!("{name}: has files that certd did not put there"),
    }
}
