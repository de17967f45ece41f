//! One step of failover at one name: read its records, settle journal and markers, decide, and make at most one change.
//!
//! The order is what keeps a record from being lost: journal, marker, withdrawal, note; and restoring, the journal's end, the
//! marker's removal. After a crash anywhere between two of them the next step goes on by what it finds.

use core::net::IpAddr;
use core::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use crate::context::effect_failure::of_dns;
use crate::dns::{self, DnsError, Handle, Provider, Resolvers, TxtRecord, Zone};
use crate::model::{AddressRecord, Code, Finding, Marker, Swap, Withdrawal, marker_name};
use crate::observe::failover::late;
use crate::plan::failover::{Change, Decision, Member, Policy, Records, Scene, decide, journal};
use crate::plan::markers::{self, Markers};
use crate::store::{Store, StoreError};

/// For one call of the provider. A program may be given ten minutes by the configuration; longer, and nobody waits for it here.
const CALL: Duration = Duration::from_secs(180);

/// Where the records of one name are, and by whom they are read and changed.
pub(crate) struct Place<'a> {
    pub(crate) store: &'a Store,
    pub(crate) provider: &'a dyn Provider,
    /// To read markers where the provider does not. `None`: it does.
    pub(crate) resolvers: Option<&'a Resolvers>,
    pub(crate) owner: &'a str,
    pub(crate) zone: &'a Zone,
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

/// What is known beside the records.
pub(crate) struct Situation<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) members: &'a [Member],
    pub(crate) way_out: bool,
}

impl Place<'_> {
    /// The caller holds the lock of the withdrawals. `why`: the reason of a withdrawal, escaped.
    ///
    /// # Errors
    /// The journal cannot be read or written: nothing was asked of the provider that is not in it.
    pub(crate) async fn step(
        &self,
        situation: &Situation<'_>,
        why: impl Fn(&Change) -> String,
        now: Timestamp,
    ) -> Result<Step, StoreError> {
        let mut step = Step::default();
        let (mut all, last_change) = self.journal(now)?;
        match self.read(now).await {
            Ok(reading) => step.reading = Some(reading),
            Err(error) => step.findings.push(unread(self.owner, &error)),
        }
        if let Some(reading) = &step.reading {
            let settled = self.settle(reading, &mut all, situation.members, now).await?;
            step.findings.extend(settled);
        }
        let records = step.reading.as_ref().map(|reading| &reading.records);
        let (policy, members) = (situation.policy, situation.members);
        let scene = Scene { members, records, journal: &all, last_change, way_out: situation.way_out };
        step.decisions = decide(policy, &scene, now);
        for decision in &step.decisions {
            match decision {
                Decision::Close(entry) => self.close(step.reading.as_ref(), &mut all, entry, now).await?,
                Decision::Do(change) => {
                    let Some(reading) = &step.reading else { continue };
                    let why = why(change);
                    let made = self.make(reading, &mut all, change, &why, now).await?;
                    step.made = Some((change.clone(), made));
                }
                Decision::Advise(_) | Decision::Hold { .. } => {}
            }
        }
        step.journal = all;
        Ok(step)
    }

    /// Open entries of this name, and its last change.
    pub(crate) fn journal(&self, now: Timestamp) -> Result<(Vec<Withdrawal>, Option<Timestamp>), StoreError> {
        let all = self.store.withdrawals()?;
        Ok((all.of_name(self.owner), all.last_change(self.owner, now)))
    }

    pub(crate) async fn read(&self, now: Timestamp) -> Result<Reading, DnsError> {
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
        Ok(Reading { records: Records { read_at: now, all }, texts })
    }

    /// What was left half done: by a crash, or by the loss of the state directory.
    async fn settle(
        &self,
        reading: &Reading,
        all: &mut Vec<Withdrawal>,
        members: &[Member],
        now: Timestamp,
    ) -> Result<Vec<Finding>, StoreError> {
        let before = all.clone();
        for entry in all.iter_mut() {
            entry.clamp(now);
        }
        let Some(texts) = &reading.texts else {
            self.store.keep_withdrawals(&before, all, now)?;
            return Ok(Vec::new());
        };
        let settled = markers::settle(self.owner, texts, &reading.records.all, all, members, now);
        let Markers { rebuilt, stale, unbelieved, unmarked } = settled;
        all.extend(rebuilt);
        self.store.keep_withdrawals(&before, all, now)?;
        let mut findings: Vec<Finding> = unbelieved.iter().map(|marker| of_unbelieved(self.owner, marker)).collect();
        for entry in unmarked {
            findings.extend(self.mark(reading, &entry).await.err().map(|error| marker_failed(self.owner, &error)));
        }
        findings.extend(self.unmark(stale).await.err().map(|error| marker_failed(self.owner, &error)));
        Ok(findings)
    }

    /// One attempt.
    pub(crate) async fn make(
        &self,
        reading: &Reading,
        all: &mut Vec<Withdrawal>,
        change: &Change,
        why: &str,
        now: Timestamp,
    ) -> Result<Made, StoreError> {
        let before = all.clone();
        journal::begin(all, change, why, now);
        self.store.keep_withdrawals(&before, all, now)?;
        let (record, answer) = match change {
            Change::Withdraw { record, .. } => {
                let entry = all.iter().find(|entry| entry.record.address == record.address);
                let marked = match entry {
                    Some(entry) => self.mark(reading, entry).await,
                    None => Ok(()),
                };
                let answer = match marked {
                    Ok(()) => self.call(self.provider.withdraw(self.zone, record, &reading.records.all)).await,
                    Err(error) => Err(error),
                };
                (record, answer)
            }
            Change::Restore(entry) => {
                let record = &entry.record;
                (record, self.call(self.provider.restore(self.zone, record, &reading.records.all)).await)
            }
        };
        let before = all.clone();
        journal::end(all, change, answer.as_ref().ok());
        self.store.keep_withdrawals(&before, all, now)?;
        Ok(match answer {
            Ok(done @ (Swap::Done | Swap::DoneWithout(_))) => {
                if let Change::Restore(entry) = change {
                    // One that stays is removed by a later step.
                    let _ = self.unmark(self.values(Some(reading), entry)).await;
                }
                if let Swap::DoneWithout(what) = done { Made::Without(what) } else { Made::Done }
            }
            Ok(Swap::Changed(what)) => Made::Changed(what),
            Err(error) => Made::Failed(attempt_failed(change, record.address, &error)),
        })
    }

    /// Ends an entry whose record is in DNS. Its marker goes with it, or by a later step.
    pub(crate) async fn close(
        &self,
        reading: Option<&Reading>,
        all: &mut Vec<Withdrawal>,
        entry: &Withdrawal,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let before = all.clone();
        all.retain(|other| other.record.address != entry.record.address);
        self.store.keep_withdrawals(&before, all, now)?;
        let _ = self.unmark(self.values(reading, entry)).await;
        Ok(())
    }

    /// Every marker of the entry's address: that of the entry, and what was read.
    fn values(&self, reading: Option<&Reading>, entry: &Withdrawal) -> Vec<String> {
        let address = entry.record.address;
        let mut values = vec![marker_of(entry).to_string()];
        let of_address = |text: &&String| Marker::parse(text).is_some_and(|marker| marker.address == address);
        values.extend(
            reading.and_then(|reading| reading.texts.as_ref()).into_iter().flatten().filter(of_address).cloned(),
        );
        values.sort();
        values.dedup();
        values
    }

    /// Makes the entry's marker, unless its address has one.
    async fn mark(&self, reading: &Reading, entry: &Withdrawal) -> Result<(), DnsError> {
        let mut texts = reading.texts.iter().flatten().filter_map(|text| Marker::parse(text));
        if texts.any(|marker| marker.address == entry.record.address) {
            return Ok(());
        }
        let record = TxtRecord { name: marker_name(self.owner), value: marker_of(entry).to_string() };
        let made = self.call(async { Ok(self.provider.publish(self.zone, &[record]).await) }).await?;
        made.into_iter().try_for_each(|made| made.map(drop))
    }

    async fn unmark(&self, values: Vec<String>) -> Result<(), DnsError> {
        if values.is_empty() {
            return Ok(());
        }
        let (name, zone) = (marker_name(self.owner), &self.zone.id);
        let handle = |value| Handle { zone: zone.clone(), name: name.clone(), value, record: None };
        let handles: Vec<Handle> = values.into_iter().map(handle).collect();
        let removed = self.call(async { Ok(self.provider.remove(&handles).await) }).await?;
        removed.into_iter().collect()
    }

    async fn call<T>(&self, asked: impl Future<Output = Result<T, DnsError>>) -> Result<T, DnsError> {
        timeout(CALL, asked).await.unwrap_or_else(|_| Err(late(self.owner, CALL)))
    }
}

fn marker_of(entry: &Withdrawal) -> Marker {
    let AddressRecord { address, ttl, .. } = &entry.record;
    Marker::new(*address, *ttl, entry.at, &entry.node)
}

pub(crate) fn unread(owner: &str, error: &DnsError) -> Finding {
    let cause = of_dns(owner, error);
    let what = format!("failover cannot read the records of {owner}: {}", cause.what);
    Finding::new(Code::FailoverUnread, owner, what, cause.next, cause.advice)
}

fn marker_failed(owner: &str, error: &DnsError) -> Finding {
    let cause = of_dns(owner, error);
    let what = format!("the TXT record at {} could not be changed: {}", marker_name(owner), cause.what);
    Finding::new(Code::FailoverFailed, owner, what, cause.next, cause.advice)
}

fn attempt_failed(change: &Change, address: IpAddr, error: &DnsError) -> Finding {
    let (owner, what) = match change {
        Change::Withdraw { record, .. } => (&record.name, "withdrawn"),
        Change::Restore(entry) => (&entry.record.name, "brought back"),
    };
    let cause = of_dns(owner, error);
    let what = format!("{address} could not be {what}: {}", cause.what);
    Finding::new(Code::FailoverFailed, owner, what, cause.next, cause.advice)
}

pub(crate) fn of_unbelieved(owner: &str, marker: &Marker) -> Finding {
    let what = format!(
        "a TXT record at {} says that {} is withdrawn, which is no configured node's",
        marker_name(owner),
        marker.address
    );
    let next = "configure its node, or remove that TXT record, and make the A or AAAA record by hand if it is wanted";
    Finding::for_a_person(Code::FailoverHeld, owner, what, next)
}

#[cfg(test)]
mod tests;
