//! The border: an effect's own error becomes the failure that plans, reports and notices share.

use crate::cert::{CertName, NodeName};
use crate::model::{Advice, Code, Finding};
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
) -> Finding {
    Finding::new(code, object, escape(&what.to_string(), MOST), next.to_string(), advice)
}

impl From<&StoreError> for Finding {
    fn from(error: &StoreError) -> Self {
        failure(error.code(), error.path().display(), error, error.next(), error.advice())
    }
}

impl From<&SecretError> for Finding {
    fn from(error: &SecretError) -> Self {
        failure(error.code(), error.path().display(), error, error.next(), error.advice())
    }
}

impl From<&GuardError> for Finding {
    fn from(error: &GuardError) -> Self {
        failure(error.code(), error.path().display(), error, error.next(), error.advice())
    }
}

impl From<&OwnerError> for Finding {
    fn from(error: &OwnerError) -> Self {
        failure(error.code(), "certd", error, error.next(), error.advice())
    }
}

pub(crate) fn of_node(node: &NodeName, error: &NodeError) -> Finding {
    failure(error.code(), node, error, error.next(), error.advice())
}

/// A task of ours ended by itself.
pub(crate) fn bug(object: impl ToString, what: impl ToString) -> Finding {
    failure(Code::Bug, object, what, "this is a fault in certd: please report it with the output of -v", Advice::Bug)
}

pub fn interrupted(object: impl ToString) -> Finding {
    let next = "run the command again: it goes on where it stopped";
    failure(Code::Interrupted, object, "interrupted before it was done", next, Advice::Retry { after_seconds: None })
}

/// A node is at work and will not be heard: certd ends.
pub(crate) fn abandoned() -> Finding {
    let what = "certd was told to end; the node finishes what it has begun, or undoes it";
    let next = "nothing: the next pass reads the node again";
    failure(Code::Interrupted, "a node", what, next, Advice::Retry { after_seconds: None })
}

/// The clock cannot be right, so that nothing is ordered by it.
pub(crate) fn of_clock(doubt: &ClockDoubt) -> Finding {
    let next = report::SET_THE_CLOCK;
    failure(Code::ClockImplausible, "the clock", report::clock(doubt), next, Advice::Person)
}

pub(crate) fn of_narrowed(node: &NodeName, certificate: &CertName, who: &str) -> Finding {
    let (file, who) = who.split_once(' ').unwrap_or(("key", who));
    let what = format!(
        "{certificate}: the {file} there can be read by {who} until a delivery, and by nobody of them after it"
    );
    let next = "if the server's own user reads it so, write [install] owner, group or key_mode; else nothing";
    failure(Code::KeyNarrowed, node, what, next, Advice::Person)
}

/// Something in the state directory was broken and worked around.
pub(crate) fn of_damage(damage: &Damage) -> Finding {
    failure(Code::StateDamaged, damage.path.display(), damage, "look at it when there is time", Advice::Person)
}
