//! One step of failover at one name: read its records, settle journal and markers, decide, and make at most one change.
//!
//! The order is what keeps a record from being lost: journal, marker, withdrawal, note; and restoring, the journal's end, the
//! marker's removal. After a crash anywhere between two of them the next step goes on by what it finds.
//!
//! Any call may take minutes. So an instant is taken when it is needed, and health and witnesses are looked at after the
//! records, and again after the marker.

mod change;
mod findings;
mod outlook;

use core::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use crate::dns::{self, DnsError, Handle, Provider, Resolvers, TxtRecord, Zone};
use crate::model::{AddressRecord, Finding, Marker, Swap, Withdrawal, marker_name};
use crate::observe::failover::late;
use crate::plan::failover::{Change, Decision, Hold, Mode, Policy, Records};
use crate::plan::markers::{self, Markers};
use crate::store::{Store, StoreError};

use change::Again;
use findings::{marker_failed, of_stale};
pub(crate) use findings::{of_unbelieved, unread};
pub(crate) use outlook::{Outlook, decide_by_route};

/// For a call that only reads. One that changes something is never cut off: each provider has limits of its own.
const CALL: Duration = Duration::from_secs(180);

/// Where the records of one name are, and by whom they are read and changed.
pub(crate) struct Place<'a> {
    pub(crate) store: &'a Store,
    pub(crate) provider: &'a dyn Provider,
    /// To read markers where the provider does not. `None`: it does.
    pub(crate) resolvers: Option<&'a Resolvers>,
    pub(crate) owner: &'a str,
    pub(crate) zone: &'a Zone,
    pub(crate) clock: &'a (dyn Fn() -> Timestamp + Sync),
}

/// The records of a name, and the markers beside them.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) records: Records,
    /// All values at the markers' name; `None`: they could not be read.
    pub(crate) texts: Option<Vec<String>>,
}

/// What a step has come to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) reading: Option<Reading>,
    pub(crate) journal: Vec<Withdrawal>,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) made: Option<(Change, Made)>,
    /// What failed beside the change.
    pub(crate) findings: Vec<Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Done,
    /// What the record that came back lacks.
    Without(String),
    /// Another has changed the records since they were read.
    Changed(String),
    Failed(Finding),
}

impl Place<'_> {
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The caller holds the lock of the withdrawals.
    ///
    /// # Errors
    /// The journal cannot be read or written: nothing was asked of the provider that is not in it.
    pub(crate) async fn step(&self, policy: &Policy, outlook: &dyn Outlook) -> Result<Step, StoreError> {
        let mut step = Step::default();
        let (mut all, last_change) = self.journal()?;
        match self.read().await {
            Ok(reading) => step.reading = Some(reading),
            Err(error) => step.findings.push(unread(self.owner, &error)),
        }
        let acts = policy.mode == Mode::Act;
        if let Some(reading) = &step.reading {
            step.findings.extend(self.settle(reading, &mut all, outlook, acts).await?);
        }
        let reading = step.reading.as_ref();
        let records = reading.map(|reading| &reading.records);
        let (decisions, decided_at) = outlook::look(outlook, policy, records, &all, last_change, self.clock).await;
        for mut decision in decisions {
            match (&decision, reading) {
                (Decision::Close(entry), Some(reading)) => {
                    let entry = entry.clone();
                    match self.is_as_shown(&reading.records.all, &entry).await {
                        Ok(true) => self.close(reading, &mut all, &entry, acts).await?,
                        Ok(false) => decision = unread_yet(&entry),
                        Err(error) => {
                            step.findings.push(unread(self.owner, &error));
                            decision = unread_yet(&entry);
                        }
                    }
                }
                // Without a reading of the markers nobody knows whether one can be read back.
                (Decision::Do(Change::Withdraw { node, record }), Some(Reading { texts: None, .. })) => {
                    decision = Decision::Hold { node: node.clone(), address: record.address, why: Hold::Unread };
                }
                (Decision::Do(change), Some(reading)) => {
                    let again = Again { policy, outlook, journal: all.clone(), last_change, decided_at };
                    let made = self.make(reading, &mut all, change, &outlook.why(change), Some(&again)).await?;
                    step.made = Some((change.clone(), made));
                }
                _ => {}
            }
            step.decisions.push(decision);
        }
        step.journal = all;
        Ok(step)
    }

    /// Open entries of this name, and its last change.
    pub(crate) fn journal(&self) -> Result<(Vec<Withdrawal>, Option<Timestamp>), StoreError> {
        let all = self.store.withdrawals()?;
        Ok((all.of_name(self.owner), all.last_change(self.owner, self.now())))
    }

    pub(crate) async fn read(&self) -> Result<Reading, DnsError> {
        let read_at = self.now();
        let all = self.call(self.provider.address_records(self.zone, self.owner)).await?;
        let marker = marker_name(self.owner);
        let texts = match (self.call(self.provider.texts(self.zone, &marker)).await, self.resolvers) {
            (Ok(texts), _) => Some(texts),
            (Err(_), Some(resolvers)) => {
                let shown = self.call(dns::texts(resolvers, &marker)).await.ok();
                shown.map(|servers| servers.into_iter().flat_map(|(_, texts)| texts).collect())
            }
            (Err(_), None) => None,
        };
        let texts = texts.map(|mut texts: Vec<String>| {
            texts.sort();
            texts.dedup();
            texts
        });
        Ok(Reading { records: Records { read_at, all }, texts })
    }

    /// What was left half done: by a crash, or by the loss of the state directory. Unless failover acts, DNS is not changed.
    async fn settle(
        &self,
        reading: &Reading,
        all: &mut Vec<Withdrawal>,
        outlook: &dyn Outlook,
        acts: bool,
    ) -> Result<Vec<Finding>, StoreError> {
        let (before, now) = (all.clone(), self.now());
        for entry in all.iter_mut() {
            entry.clamp(now);
        }
        let Some(texts) = &reading.texts else {
            self.store.keep_withdrawals(&before, all, now)?;
            return Ok(Vec::new());
        };
        let members = outlook.members(all, now);
        let settled = markers::settle(self.owner, texts, &reading.records.all, all, &members, now);
        let Markers { rebuilt, stale, unbelieved, unmarked } = settled;
        all.extend(rebuilt);
        self.store.keep_withdrawals(&before, all, now)?;
        let mut findings: Vec<Finding> = unbelieved.iter().map(|marker| of_unbelieved(self.owner, marker)).collect();
        if !acts {
            findings.extend(stale.iter().map(|text| of_stale(self.owner, text)));
            return Ok(findings);
        }
        for entry in unmarked {
            findings.extend(self.mark(reading, &entry).await.err().map(|error| marker_failed(self.owner, &error)));
        }
        findings.extend(self.unmark(stale).await.err().map(|error| marker_failed(self.owner, &error)));
        Ok(findings)
    }

    /// Before an entry ends because its record is shown: whether who shows it has it, and is not behind.
    ///
    /// # Errors
    /// It has not, or it cannot be asked.
    pub(crate) async fn is_as_shown(&self, all: &[AddressRecord], entry: &Withdrawal) -> Result<bool, DnsError> {
        if !all.iter().any(|record| record.address == entry.record.address) {
            return Ok(true);
        }
        let same = self.call(self.provider.unchanged(self.zone, self.owner, all)).await?;
        Ok(!matches!(same, Swap::Changed(_)))
    }

    /// Ends an entry whose record is in DNS. `unmark`: its marker goes with it, or by a later step.
    pub(crate) async fn close(
        &self,
        reading: &Reading,
        all: &mut Vec<Withdrawal>,
        entry: &Withdrawal,
        unmark: bool,
    ) -> Result<(), StoreError> {
        let before = all.clone();
        all.retain(|other| other.record.address != entry.record.address);
        self.store.keep_withdrawals(&before, all, self.now())?;
        if unmark {
            let _ = self.unmark(values(reading, entry)).await;
        }
        Ok(())
    }

    /// Makes the entry's marker, unless its address has one.
    async fn mark(&self, reading: &Reading, entry: &Withdrawal) -> Result<(), DnsError> {
        let mut texts = reading.texts.iter().flatten().filter_map(|text| Marker::parse(text));
        if texts.any(|marker| marker.address == entry.record.address) {
            return Ok(());
        }
        let record = TxtRecord { name: marker_name(self.owner), value: marker_of(entry).to_string() };
        self.provider.publish(self.zone, &[record]).await.into_iter().try_for_each(|made| made.map(drop))
    }

    async fn unmark(&self, values: Vec<String>) -> Result<(), DnsError> {
        if values.is_empty() {
            return Ok(());
        }
        let (name, zone) = (marker_name(self.owner), &self.zone.id);
        let handle = |value| Handle { zone: zone.clone(), name: name.clone(), value, record: None };
        let handles: Vec<Handle> = values.into_iter().map(handle).collect();
        self.provider.remove(&handles).await.into_iter().collect()
    }

    async fn call<T>(&self, asked: impl Future<Output = Result<T, DnsError>>) -> Result<T, DnsError> {
        timeout(CALL, asked).await.unwrap_or_else(|_| Err(late(self.owner, CALL)))
    }
}

fn unread_yet(entry: &Withdrawal) -> Decision {
    Decision::Hold { node: entry.node.clone(), address: entry.record.address, why: Hold::Unread }
}

/// Every marker of the entry's address: that of the entry, and what was read.
fn values(reading: &Reading, entry: &Withdrawal) -> Vec<String> {
    let address = entry.record.address;
    let of_address = |text: &&String| Marker::parse(text).is_some_and(|marker| marker.address == address);
    let read = reading.texts.iter().flatten().filter(of_address).cloned();
    let mut values: Vec<String> = read.chain([marker_of(entry).to_string()]).collect();
    values.sort();
    values.dedup();
    values
}

fn marker_of(entry: &Withdrawal) -> Marker {
    let AddressRecord { address, ttl, .. } = &entry.record;
    Marker::new(*address, *ttl, entry.at, &entry.node)
}

#[cfg(test)]
mod tests;
