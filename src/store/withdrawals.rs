//! `withdrawn.jsonl`: address records that failover has taken out of DNS, each with what it takes to bring it back. An entry is
//! on disk before the provider is asked, and ends only when the record is known to be back or never to have been removed.
//! A line that cannot be read costs no other: the record's marker in DNS tells of it, too.
//!
//! It has a lock of its own (`withdrawn.lock`): a renewal, which holds the lock of the state directory for minutes, delays no
//! failover.

use core::net::IpAddr;
use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, atomic, journal};
use crate::model::{FailoverNotes, Withdrawal};
use crate::mutex::lock;

const FILE: &str = "withdrawn.jsonl";
/// Bytes. An attempt takes some 600 of them, in two lines.
const LONG: u64 = 1024 * 1024;
/// How far in the future a change may lie, which counts: clocks are set back by seconds, and by years where one ran wrong.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Noted(Withdrawal),
    /// `name`: the record's owner.
    Ended {
        name: String,
        address: IpAddr,
        at: Timestamp,
    },
}

/// What the journal comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Withdrawals {
    /// Those that have not ended, each as it was noted last.
    pub open: Vec<Withdrawal>,
    /// Of each name, when its records were changed, or a change was tried.
    changes: BTreeMap<String, Vec<Timestamp>>,
}

impl Withdrawals {
    fn of(lines: Vec<Line>) -> Self {
        let mut all = Self::default();
        for line in lines {
            let (name, address, at) = match &line {
                Line::Noted(it) => (&it.record.name, it.record.address, it.at.max(it.attempted_at.unwrap_or(it.at))),
                Line::Ended { name, address, at } => (name, *address, *at),
            };
            all.changes.entry(name.clone()).or_default().push(at);
            all.open.retain(|open| !open.record.is_at(name, address));
            if let Line::Noted(withdrawal) = line {
                all.open.push(withdrawal);
            }
        }
        all
    }

    /// The last change of a name's records, whether it was done or only tried. One noted by a clock that ran far ahead does not
    /// count: it would put off every further change until that day.
    pub fn last_change(&self, name: &str, now: Timestamp) -> Option<Timestamp> {
        let counted = |at: &&Timestamp| at.duration_since(now) < AHEAD;
        self.changes.get(name)?.iter().filter(counted).max().copied()
    }

    pub fn of_name(&self, name: &str) -> Vec<Withdrawal> {
        self.open.iter().filter(|open| open.record.name == name).cloned().collect()
    }
}

impl Store {
    pub fn withdrawals(&self) -> Result<Withdrawals, StoreError> {
        let (lines, damages) = journal::read(&self.root.join(FILE))?;
        self.noted(damages);
        Ok(Withdrawals::of(lines))
    }

    /// Notes what is different in `after`, of one name. On disk before it returns.
    pub fn keep_withdrawals(
        &self,
        before: &[Withdrawal],
        after: &[Withdrawal],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let path = self.writable()?.join(FILE);
        let _one_at_a_time = lock(&self.appending);
        for withdrawal in after.iter().filter(|withdrawal| !before.contains(withdrawal)) {
            journal::append(&path, &Line::Noted(withdrawal.clone()))?;
        }
        for Withdrawal { record, .. } in before {
            if !after.iter().any(|kept| kept.record.is_at(&record.name, record.address)) {
                journal::append(&path, &Line::Ended { name: record.name.clone(), address: record.address, at })?;
            }
        }
        if path.metadata().is_ok_and(|found| found.len() > LONG) {
            shorten(&path)?;
        }
        Ok(())
    }

    /// What `certd run` had to say last; nothing is decided by it.
    pub fn failover_notes(&self) -> Option<FailoverNotes> {
        let bytes = atomic::read(&self.root.join("failover.json")).ok()??;
        serde_json::from_slice(&bytes).ok()
    }

    /// The service's alone: it needs no lock.
    pub fn write_failover_notes(&self, notes: &FailoverNotes) -> Result<(), StoreError> {
        let path = self.writable()?.join("failover.json");
        atomic::write(&path, &super::json(&path, notes)?)
    }
}

/// Only what counts: open entries, and the last change of each other name. With lines that cannot be read it is left to a person.
fn shorten(path: &std::path::Path) -> Result<(), StoreError> {
    let (lines, damages) = journal::read::<Line>(path)?;
    if !damages.is_empty() {
        return Ok(());
    }
    let last = |name: &str, lines: &[Line]| {
        lines.iter().rposition(|line| match line {
            Line::Noted(it) => it.record.name == name,
            Line::Ended { name: ended, .. } => ended == name,
        })
    };
    let all = Withdrawals::of(lines.clone());
    let lasts: Vec<Option<usize>> = all.changes.keys().map(|name| last(name, &lines)).collect();
    let count = lines.len();
    journal::shorten(path, |from_the_end, line: &Line| {
        let is_open = matches!(line, Line::Noted(it) if all.open.contains(it));
        is_open || lasts.contains(&Some(count - from_the_end))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cert::NodeName;
    use crate::cert::fixture::NOW;
    use crate::model::AddressRecord;

    fn withdrawal(name: &str, address: &str, seconds: i64) -> Withdrawal {
        let record = format!(
            r#"{{"id": "r1", "name": "{name}", "address": "{address}", "ttl": 300, "comment": "of ours", "settings": "[]"}}"#
        );
        let record: AddressRecord = serde_json::from_str(&record).unwrap();
        let at = NOW + SignedDuration::from_secs(seconds);
        let json = serde_json::json!({ "node": "one", "record": record, "at": at, "why": "no answer" });
        serde_json::from_value(json).unwrap()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state")).unwrap();
        (folder, store)
    }

    #[test]
    fn an_entry_is_open_until_it_ends_and_the_last_change_of_a_name_outlives_it() {
        let (_folder, store) = store();
        let (a, b) = (withdrawal("a.example.com", "192.0.2.1", 0), withdrawal("a.example.com", "2001:db8::1", 60));
        store.keep_withdrawals(&[], core::slice::from_ref(&a), NOW).unwrap();
        store.keep_withdrawals(core::slice::from_ref(&a), &[a.clone(), b.clone()], NOW).unwrap();
        let tried = Withdrawal { attempted_at: Some(b.at + SignedDuration::from_secs(60)), failed: 1, ..b.clone() };
        store.keep_withdrawals(&[a.clone(), b], &[a.clone(), tried.clone()], NOW).unwrap();
        let all = store.withdrawals().unwrap();
        assert_eq!(all.open, [a.clone(), tried.clone()]);
        assert_eq!(all.open[0].node, NodeName::parse("one").unwrap());
        assert_eq!(all.last_change("a.example.com", NOW), tried.attempted_at);
        let end = NOW + SignedDuration::from_hours(1);
        store.keep_withdrawals(&[a, tried], &[], end).unwrap();
        let all = Store::look(store.root()).unwrap().withdrawals().unwrap();
        assert_eq!((all.open.len(), all.last_change("a.example.com", end)), (0, Some(end)));
    }

    #[test]
    fn a_line_that_cannot_be_read_is_reported_and_loses_no_other() {
        let (_folder, store) = store();
        let (a, b) = (withdrawal("a.example.com", "192.0.2.1", 0), withdrawal("b.example.com", "192.0.2.1", 0));
        store.keep_withdrawals(&[], core::slice::from_ref(&a), NOW).unwrap();
        let path = store.root().join(FILE);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"{\"noted\": 1}\n\xff\n", &whole[..10]].concat()).unwrap();
        store.keep_withdrawals(&[], core::slice::from_ref(&b), NOW).unwrap();
        assert_eq!(store.withdrawals().unwrap().open, [a, b]);
        assert_eq!(store.damages().len(), 2, "and the torn line was never kept");
    }

    /// A crash within an append leaves a part of a line: whichever, nothing else is lost.
    #[test]
    fn whatever_part_of_the_last_line_is_on_disk_the_others_count() {
        let (_folder, store) = store();
        let (a, b) = (withdrawal("a.example.com", "192.0.2.1", 0), withdrawal("a.example.com", "192.0.2.2", 0));
        store.keep_withdrawals(&[], core::slice::from_ref(&a), NOW).unwrap();
        let path = store.root().join(FILE);
        let before = fs::read(&path).unwrap();
        store.keep_withdrawals(&[], core::slice::from_ref(&b), NOW).unwrap();
        let after = fs::read(&path).unwrap();
        for cut in before.len()..=after.len() {
            fs::write(&path, &after[..cut]).unwrap();
            let open = store.withdrawals().unwrap().open;
            let wanted = if cut == after.len() { vec![a.clone(), b.clone()] } else { vec![a.clone()] };
            assert_eq!(open, wanted, "{cut}");
        }
        assert!(store.damages().is_empty());
    }

    #[test]
    fn a_long_journal_keeps_what_is_open_and_the_last_change_of_each_name() {
        let (_folder, store) = store();
        let long = |seconds| Withdrawal { why: "x".repeat(5000), ..withdrawal("b.example.com", "192.0.2.2", seconds) };
        let (a, c) = (withdrawal("a.example.com", "192.0.2.1", 0), withdrawal("c.example.com", "192.0.2.1", 0));
        store.keep_withdrawals(&[], &[a.clone(), c.clone()], NOW).unwrap();
        store.keep_withdrawals(core::slice::from_ref(&c), &[], NOW + SignedDuration::from_secs(7)).unwrap();
        for seconds in 0..300 {
            let entry = long(seconds);
            store.keep_withdrawals(&[], core::slice::from_ref(&entry), entry.at).unwrap();
        }
        let size = store.root().join(FILE).metadata().unwrap().len();
        assert!(size < LONG, "{size}");
        let all = store.withdrawals().unwrap();
        assert_eq!(all.open, [a, long(299)]);
        assert_eq!(all.last_change("c.example.com", NOW), Some(NOW + SignedDuration::from_secs(7)));
        assert_eq!(all.changes.len(), 3);
    }

    #[test]
    fn a_change_by_a_clock_that_ran_ahead_does_not_count() {
        let (_folder, store) = store();
        let a = withdrawal("a.example.com", "192.0.2.1", 0);
        store.keep_withdrawals(&[], core::slice::from_ref(&a), NOW).unwrap();
        let ahead = NOW + SignedDuration::from_hours(24 * 365);
        store.keep_withdrawals(core::slice::from_ref(&a), &[], ahead).unwrap();
        let last = |now| store.withdrawals().unwrap().last_change("a.example.com", now);
        assert_eq!((last(NOW), last(ahead)), (Some(NOW), Some(ahead)));
    }

    #[test]
    fn its_lock_is_not_that_of_a_pass() {
        let (_folder, store) = store();
        let _pass = store.lock().unwrap().unwrap();
        let held = store.lock_withdrawals().unwrap();
        assert!(held.is_some() && store.lock_withdrawals().unwrap().is_none());
    }
}
