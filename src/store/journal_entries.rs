//! The three journals: the ledger, the TXT records, the history.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, atomic, journal};
use crate::cert::{CertName, Generation, NameSet, NodeName, RevocationReason};
use crate::model::{Code, LedgerEntry};
use crate::mutex::lock;

/// Bytes. A record takes some 700 of them, in three lines.
const LONG_TXT_JOURNAL: usize = 1024 * 1024;

/// Bytes. Some 200 for each certificate that was delivered to a node: years of a large fleet.
const LONG_HISTORY: u64 = 16 * 1024 * 1024;

/// Bytes, and what is kept of a ledger that has more: the last entries, and all those of two months. The longest limit
/// looks back for a week, and a CA's Retry-After is clamped to less.
const LONG_LEDGER: u64 = 4 * 1024 * 1024;
const LAST_ENTRIES: usize = 1000;
const KEPT_ENTRIES: SignedDuration = SignedDuration::from_hours(60 * 24);

/// A TXT record of ours: entered before it is made, struck after it is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TxtNote {
    pub at: Timestamp,
    /// The record's own name, after CNAMEs; with its underscore it is no host name.
    pub name: String,
    pub value: String,
    /// The provider's zone, once known.
    pub zone: Option<String>,
    /// The provider's record id, once known.
    pub record: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TxtLine {
    Noted(TxtNote),
    Struck { name: String, value: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum HistoryEvent {
    Issued {
        certificate: CertName,
        generation: Generation,
        names: NameSet,
    },
    IssuanceFailed {
        certificate: CertName,
        code: Code,
        what: String,
    },
    Delivered {
        certificate: CertName,
        generation: Generation,
        node: NodeName,
    },
    DeliveryFailed {
        certificate: CertName,
        generation: Generation,
        node: NodeName,
        code: Code,
        what: String,
    },
    Held {
        certificate: CertName,
        generation: Generation,
        by: Option<String>,
    },
    /// `why`: the hold ended by itself; none: a person released it.
    Released {
        certificate: CertName,
        generation: Generation,
        why: Option<String>,
    },
    Revoked {
        certificate: CertName,
        generation: Generation,
        reason: RevocationReason,
    },
}

#[derive(Serialize)]
struct HistoryLine<'a> {
    at: Timestamp,
    #[serde(flatten)]
    event: &'a HistoryEvent,
}

#[derive(Deserialize)]
struct PastLine {
    at: Timestamp,
    #[serde(flatten)]
    event: HistoryEvent,
}

impl Store {
    /// A lower bound of what the CA has counted: a line that cannot be read is left out and reported.
    pub fn ledger(&self) -> Result<Vec<LedgerEntry>, StoreError> {
        let (entries, damages) = journal::read(&self.root.join("ledger.jsonl"))?;
        self.noted(damages);
        Ok(entries)
    }

    /// Appended and fsynced before it returns.
    pub fn note_ledger(&self, entry: &LedgerEntry) -> Result<(), StoreError> {
        self.append("ledger.jsonl", entry)?;
        let path = self.root.join("ledger.jsonl");
        let _one_at_a_time = lock(&self.appending);
        if path.metadata().is_ok_and(|found| found.len() <= LONG_LEDGER) {
            return Ok(());
        }
        let is_young = |older: &LedgerEntry| entry.at.duration_since(older.at) < KEPT_ENTRIES;
        journal::shorten(&path, |from_the_end, older: &LedgerEntry| from_the_end <= LAST_ENTRIES || is_young(older))
    }

    /// Records that are entered and not struck, each as it was entered last.
    pub fn txt_journal(&self) -> Result<Vec<TxtNote>, StoreError> {
        let (lines, damages) = journal::read(&self.root.join("txt.jsonl"))?;
        self.noted(damages);
        let mut open: Vec<TxtNote> = Vec::new();
        for line in lines {
            let (TxtLine::Noted(TxtNote { name, value, .. }) | TxtLine::Struck { name, value }) = &line;
            open.retain(|note| note.name != *name || note.value != *value);
            if let TxtLine::Noted(note) = line {
                open.push(note);
            }
        }
        Ok(open)
    }

    /// Writes the journal of TXT records anew with those that are open, once it is long: it is read whole, and one that is
    /// too long to be read would leave records for ever. Not while an order is under way.
    pub fn shorten_txt_journal(&self) -> Result<(), StoreError> {
        let path = self.writable()?.join("txt.jsonl");
        let _one_at_a_time = lock(&self.appending);
        // What cannot be read is kept for a person.
        if atomic::read(&path)?.is_none_or(|bytes| bytes.len() <= LONG_TXT_JOURNAL)
            || !journal::read::<TxtLine>(&path)?.1.is_empty()
        {
            return Ok(());
        }
        let open = self.txt_journal()?;
        let is_open = |line: &TxtLine| matches!(line, TxtLine::Noted(note) if open.contains(note));
        journal::shorten(&path, |_, line: &TxtLine| is_open(line))
    }

    /// Before the record is made, and again when its zone and id are known.
    pub fn note_txt(&self, note: &TxtNote) -> Result<(), StoreError> {
        self.append("txt.jsonl", &TxtLine::Noted(note.clone()))
    }

    pub fn strike_txt(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let line = TxtLine::Struck { name: name.to_owned(), value: value.to_owned() };
        self.append("txt.jsonl", &line)
    }

    /// One event a line: what happened, to what, when. The oldest are left out when it is long.
    pub fn history(&self, at: Timestamp, event: &HistoryEvent) -> Result<(), StoreError> {
        let path = self.writable()?.join("history.jsonl");
        let _one_at_a_time = lock(&self.appending);
        journal::append_within(&path, &HistoryLine { at, event }, LONG_HISTORY)
    }

    /// By node, the newest that the history knows of. Lines that cannot be read say nothing: nothing is decided by it.
    pub fn last_deliveries(&self, name: &CertName) -> Result<BTreeMap<NodeName, (Timestamp, Generation)>, StoreError> {
        let (lines, _) = journal::read::<PastLine>(&self.root.join("history.jsonl"))?;
        let of_name = lines.into_iter().filter_map(|PastLine { at, event }| match event {
            HistoryEvent::Delivered { certificate, generation, node } if certificate == *name => {
                Some((node, (at, generation)))
            }
            _ => None,
        });
        Ok(of_name.collect())
    }

    fn append<T: Serialize>(&self, journal: &str, entry: &T) -> Result<(), StoreError> {
        let path = self.writable()?.join(journal);
        let _one_at_a_time = lock(&self.appending);
        journal::append(&path, entry)
    }
}
