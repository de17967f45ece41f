//! Turns errors of store, secrets and nodes into findings, which plans and reports share.

use crate::cert::{CertName, NodeName};
use crate::model::{Advice, Code, Finding};
use crate::node::NodeError;
use crate::plan::ClockDoubt;
use crate::report;
use crate::store::fresh::FreshError;
use crate::store::guard::GuardError;
use crate::store::owner::OwnerError;
use crate::store::secret::SecretError;
use crate::store::{Damage, StoreError};
use crate::text::escape;

/// The longest text of a peer in an error.
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

impl From<StoreError> for Finding {
    fn from(error: StoreError) -> Self {
        failure(error.code(), error.path().display(), &error, error.next(), error.advice())
    }
}

impl From<SecretError> for Finding {
    fn from(error: SecretError) -> Self {
        failure(error.code(), error.path().display(), &error, error.next(), Advice::Person)
    }
}

impl From<FreshError> for Finding {
    fn from(error: FreshError) -> Self {
        failure(error.code(), error.path().display(), &error, error.next(), Advice::Person)
    }
}

impl From<GuardError> for Finding {
    fn from(error: GuardError) -> Self {
        failure(error.code(), error.path().display(), &error, error.next(), Advice::Person)
    }
}

impl From<OwnerError> for Finding {
    fn from(error: OwnerError) -> Self {
        failure(error.code(), "certd", &error, error.next(), Advice::Person)
    }
}

pub(crate) fn of_node(node: &NodeName, error: &NodeError) -> Finding {
    failure(error.code(), node, error, error.next(), error.advice())
}

/// An error in certd itself.
pub(crate) fn bug(object: impl ToString, what: impl ToString) -> Finding {
    failure(Code::Bug, object, what, "this is a bug in certd: please report it with the output of -v", Advice::Bug)
}

pub fn interrupted(object: impl ToString) -> Finding {
    let next = "run the command again: it continues where it stopped";
    failure(
        Code::Interrupted,
        object,
        "interrupted before it was finished",
        next,
        Advice::Retry { after_seconds: None },
    )
}

/// certd ends while a node is at work.
pub(crate) fn abandoned() -> Finding {
    let what = "certd was stopped; the node finishes or undoes what it has begun";
    let next = "nothing: the next pass reads the node again";
    failure(Code::Interrupted, "a node", what, next, Advice::Retry { after_seconds: None })
}

/// The clock is implausible, so nothing is ordered.
pub(crate) fn of_clock(doubt: &ClockDoubt) -> Finding {
    let next = report::SET_THE_CLOCK;
    failure(Code::ClockImplausible, "the clock", report::clock(doubt), next, Advice::Person)
}

pub(crate) fn of_narrowed(node: &NodeName, certificate: &CertName, who: &str) -> Finding {
    let (file, who) = who.split_once(' ').unwrap_or(("key", who));
    let what =
        format!("{certificate}: before the next delivery {who} can read the {file} there; after it, they cannot");
    let next =
        "if the server's own user reads it that way, set owner, group or key_mode in [install]; otherwise nothing";
    failure(Code::KeyNarrowed, node, what, next, Advice::Person)
}

/// Damage in the state directory that certd works around.
pub(crate) fn of_damage(damage: &Damage) -> Finding {
    failure(Code::StateDamaged, damage.path.display(), damage, "look at it when you have time", Advice::Person)
}
