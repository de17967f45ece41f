//! The border: an effect's own error becomes the failure that plans, reports and notices share.

use jiff::{SignedDuration, Timestamp};

use crate::cert::{CertName, NodeName};
use crate::model::{Advice, CaClock, Code, Failure};
use crate::node::NodeError;
use crate::plan::ClockDoubt;
use crate::report;
use crate::store::guard::GuardError;
use crate::store::owner::OwnerError;
use crate::store::secret::SecretError;
use crate::store::{Damage, StoreError};
use crate::text::escape;

/// What a peer may fill of an error's text.
const MOST: usize = 2_000;

pub(crate) fn failure(
    code: Code,
    object: impl ToString,
    what: impl ToString,
    next: impl ToString,
    advice: Advice,
) -> Failure {
    Failure::new(code, object, escape(&what.to_string(), MOST), next.to_string(), advice)
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        failure(error.code(), error.path().display(), error, error.next(), error.advice())
    }
}

impl From<&SecretError> for Failure {
    fn from(error: &SecretError) -> Self {
        failure(error.code(), error.path().display(), error, error.next(), error.advice())
    }
}

impl From<&GuardError> for Failure {
    fn from(error: &GuardError) -> Self {
        failure(error.code(), error.path().display(), error, error.next(), error.advice())
    }
}

impl From<&OwnerError> for Failure {
    fn from(error: &OwnerError) -> Self {
        failure(error.code(), "certd", error, error.next(), error.advice())
    }
}

pub(crate) fn of_node(node: &NodeName, error: &NodeError) -> Failure {
    failure(error.code(), node, error, error.next(), error.advice())
}

/// A task of ours ended by itself.
pub(crate) fn bug(object: impl ToString, what: impl ToString) -> Failure {
    failure(Code::Bug, object, what, "this is a fault in certd: please report it with the output of -v", Advice::Bug)
}

pub fn interrupted(object: impl ToString) -> Failure {
    let next = "run the command again: it goes on where it stopped";
    failure(Code::Interrupted, object, "interrupted before it was done", next, Advice::Retry { after_seconds: None })
}

/// A node is at work and will not be heard: certd ends.
pub(crate) fn abandoned() -> Failure {
    let what = "certd was told to end; the node finishes what it has begun, or undoes it";
    let next = "nothing: the next pass reads the node again";
    failure(Code::Interrupted, "a node", what, next, Advice::Retry { after_seconds: None })
}

/// The clock cannot be right, so that nothing is ordered by it.
pub(crate) fn of_clock(doubt: &ClockDoubt) -> Failure {
    let next = report::SET_THE_CLOCK;
    failure(Code::ClockImplausible, "the clock", report::clock(doubt), next, Advice::Person)
}

/// Not yet wrong enough to stop anything.
pub(crate) fn of_skew(ahead: SignedDuration, ca: CaClock, host: &str) -> Failure {
    let side = if ahead.is_positive() { "ahead of" } else { "behind" };
    let minutes = ahead.as_mins().abs();
    let what = format!("it is {minutes} minutes {side} {host}: here {}, there {}", second(ca.ours), second(ca.theirs));
    let next = "set it (timedatectl): more than a day, and nothing is renewed";
    failure(Code::ClockSkew, "this machine's clock", what, next, Advice::Person)
}

pub(crate) fn of_node_skew(node: &NodeName, ahead: SignedDuration, told: CaClock) -> Failure {
    // Ours is ahead when the node's is behind.
    let side = if ahead.is_positive() { "behind" } else { "ahead of" };
    let minutes = ahead.as_mins().abs();
    let (here, there) = (second(told.ours), second(told.theirs));
    let what = format!("its clock is {minutes} minutes {side} this machine's: here {here}, there {there}");
    let next = format!(
        "set it on {node} (timedatectl); certificates are served all the same, but a receiver judges them by it"
    );
    failure(Code::NodeClock, node, what, next, Advice::Person)
}

pub(crate) fn of_narrowed(node: &NodeName, certificate: &CertName, who: &str) -> Failure {
    let (file, who) = who.split_once(' ').unwrap_or(("key", who));
    let what = format!(
        "{certificate}: the {file} there can be read by {who} until a delivery, and by nobody of them after it"
    );
    let next = "if the server's own user reads it so, write [install] owner, group or key_mode; else nothing";
    failure(Code::KeyNarrowed, node, what, next, Advice::Person)
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Something in the state directory was broken and worked around.
pub(crate) fn of_damage(damage: &Damage) -> Failure {
    failure(Code::StateDamaged, damage.path.display(), damage, "look at it when there is time", Advice::Person)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s21_a_nodes_clock_that_is_two_hours_off_is_told_with_its_side() {
        let node = NodeName::parse("上海").unwrap();
        let at = |text: &str| text.parse().unwrap();
        let told = CaClock { ours: at("2026-11-23T06:00:00Z"), theirs: at("2026-11-23T08:00:00Z") };
        let ahead = crate::plan::clock::noticeable(told).expect("two hours are noticed");
        let failure = of_node_skew(&node, ahead, told);
        assert_eq!((&failure.code, &*failure.object), (&Code::NodeClock, "上海"));
        assert_eq!(
            failure.what,
            "its clock is 120 minutes ahead of this machine's: here 2026-11-23 06:00:00 UTC, there 2026-11-23 08:00:00 UTC"
        );
    }
}
