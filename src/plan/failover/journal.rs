//! What an attempt leaves in the journal, before the provider is asked and after its answer.

use jiff::Timestamp;

use super::Change;
use crate::model::{Swap, Withdrawal};

/// Notes an attempt, which counts as failed until [`end`]. To be on disk before the provider is asked.
pub fn begin(journal: &mut Vec<Withdrawal>, change: &Change, why: &str, now: Timestamp) {
    match change {
        Change::Withdraw { node, record } => {
            let earlier = journal.iter().find(|entry| entry.record.address == record.address);
            let failed = earlier.map_or(0, |entry| entry.failed).saturating_add(1);
            journal.retain(|entry| entry.record.address != record.address);
            let (node, record, why) = (node.clone(), record.clone(), why.to_owned());
            journal.push(Withdrawal { node, record, at: now, why, attempted_at: Some(now), failed, untouched: false });
        }
        Change::Restore(entry) => {
            for entry in journal.iter_mut().filter(|other| other.record.address == entry.record.address) {
                entry.attempted_at = Some(now);
                entry.failed = entry.failed.saturating_add(1);
            }
        }
    }
}

/// Notes what came of it. `None`: an error, after which it may have been done or not.
pub fn end(journal: &mut Vec<Withdrawal>, change: &Change, answer: Option<&Swap>) {
    match (change, answer) {
        (Change::Withdraw { record, .. }, Some(answer)) => {
            for entry in journal.iter_mut().filter(|entry| entry.record.address == record.address) {
                match answer {
                    Swap::Done | Swap::DoneWithout(_) => entry.failed = 0,
                    // An earlier attempt without an answer may have removed it.
                    Swap::Changed(_) => entry.untouched = entry.failed == 1,
                }
            }
        }
        (Change::Restore(restored), Some(Swap::Done | Swap::DoneWithout(_))) => {
            journal.retain(|entry| entry.record.address != restored.record.address);
        }
        (Change::Restore(_), Some(Swap::Changed(_))) | (_, None) => {}
    }
}
