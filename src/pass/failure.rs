//! The border: an effect's own error becomes the failure that plans, reports and notices share.

use crate::cert::NodeName;
use crate::node::NodeError;
use crate::observed::{Advice, Failure};
use crate::report::escape;
use crate::store::owner::OwnerError;
use crate::store::secret::SecretError;
use crate::store::{Damage, StoreError};

/// The code of what was cut short by a signal: no attempt, and so no back-off.
pub(super) const INTERRUPTED: &str = "interrupted";
/// What a peer may fill of an error's text.
const MOST: usize = 2_000;

pub(super) fn failure(
    code: &str,
    object: impl ToString,
    what: impl ToString,
    next: impl ToString,
    advice: Advice,
) -> Failure {
    Failure {
        code: code.to_owned(),
        object: object.to_string(),
        what: escape(&what.to_string(), MOST),
        next: next.to_string(),
        advice,
    }
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

impl From<&OwnerError> for Failure {
    fn from(error: &OwnerError) -> Self {
        failure(error.code(), "certd", error, error.next(), error.advice())
    }
}

pub(super) fn of_node(node: &NodeName, error: &NodeError) -> Failure {
    failure(error.code(), node, error, error.next(), error.advice())
}

/// A task of ours ended by itself.
pub(super) fn bug(object: impl ToString, what: impl ToString) -> Failure {
    failure("bug", object, what, "this is a fault in certd: please report it with the output of -v", Advice::Bug)
}

pub fn interrupted(object: impl ToString) -> Failure {
    let next = "run the command again: it goes on where it stopped";
    failure(INTERRUPTED, object, "interrupted before it was done", next, Advice::Retry { after_seconds: None })
}

/// Something in the state directory was broken and worked around.
pub(super) fn of_damage(damage: &Damage) -> Failure {
    failure("state-damaged", damage.path.display(), damage, "look at it when there is time", Advice::Person)
}
