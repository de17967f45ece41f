//! Whether a certificate that is good in itself is worth keeping, next to what is there already.

use jiff::{SignedDuration, Timestamp};

use super::Verdict;
use crate::cert::Leaf;
use crate::observed::Intent;
use crate::plan::Issue;
use crate::plan::renewal::lifetime;

/// CAs date a certificate back by an hour (Boulder) or to midnight: so much later an order surely outlives.
const DATED_BACK: SignedDuration = SignedDuration::from_hours(24);

impl Verdict {
    /// Of a leaf that passed every check of its own.
    pub fn of(leaf: &Leaf, issue: &Issue, intent: &Intent) -> Self {
        // Both: a CA that dates certificates back further than another does not make its own look old.
        let younger = |since: &Timestamp| *since > intent.begun_at && *since > leaf.not_before;
        if let Some(since) = issue.youngest.filter(younger) {
            return Self::Superseded { since };
        }
        match issue.outlives.filter(|than| leaf.not_after < *than) {
            Some(than) => {
                let anew_from = than.saturating_sub(lifetime(leaf) - DATED_BACK).unwrap_or(than);
                Self::EndsEarlier { than, anew_from }
            }
            None => Self::Good,
        }
    }
}
