//! One attempt to change the records.

use core::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::findings::attempt_failed;
use super::outlook::{Outlook, look};
use super::{Made, Place, Reading, values};
use crate::dns::DnsError;
use crate::model::{AddressRecord, Marker, Swap, Withdrawal, marker_name};
use crate::plan::failover::{Change, Decision, Policy, journal};
use crate::store::StoreError;

/// From the look at health and witnesses to the change. What takes longer is decided anew.
const PROMPT: SignedDuration = SignedDuration::from_secs(30);

/// All that it takes to decide once more, right before a withdrawal.
pub(crate) struct Again<'a> {
    pub(super) policy: &'a Policy,
    pub(super) outlook: &'a dyn Outlook,
    /// As it was before the attempt.
    pub(super) journal: Vec<Withdrawal>,
    pub(super) last_change: Option<Timestamp>,
    pub(super) decided_at: Timestamp,
}

impl Place<'_> {
    /// `again`: whether a withdrawal still is what is decided, once its marker is made.
    pub(crate) async fn make(
        &self,
        reading: &Reading,
        all: &mut Vec<Withdrawal>,
        change: &Change,
        why: &str,
        again: Option<&Again<'_>>,
    ) -> Result<Made, StoreError> {
        if matches!(change, Change::Withdraw { .. }) {
            // The marker makes a name of what a wildcard answered for (RFC 4592 section 2.2.2), so that it would answer no more.
            match self.provider.unchanged(self.zone, self.owner, &reading.records.all).await {
                Ok(Swap::Changed(what)) => return Ok(Made::Changed(what)),
                Ok(Swap::Done | Swap::DoneWithout(_)) => {}
                Err(error) => return Ok(Made::Failed(attempt_failed(change, &error))),
            }
        }
        let (before, began) = (all.clone(), self.now());
        journal::begin(all, change, why, began);
        self.store.keep_withdrawals(&before, all, began)?;
        let answer = match change {
            Change::Withdraw { record, .. } => self.take_out(reading, all, record, change, again).await,
            Change::Restore(entry) => self.put_back(reading, entry).await,
        };
        let marked = all.iter().find(|entry| entry.record.address == address_of(change)).cloned();
        let (before, ended) = (all.clone(), self.now());
        journal::end(all, change, answer.as_ref().ok());
        attempted(all, change, ended);
        self.store.keep_withdrawals(&before, all, ended)?;
        if let Some(entry) = marked
            && match change {
                Change::Restore(_) => matches!(answer, Ok(Swap::Done | Swap::DoneWithout(_))),
                Change::Withdraw { record, .. } => {
                    all.iter().any(|entry| entry.record.address == record.address && entry.untouched)
                }
            }
        {
            // One that stays is removed by a later step.
            let _ = self.unmark(values(reading, &entry)).await;
        }
        Ok(made(answer, change))
    }

    /// Brings a record back where the journal cannot be written. It may have come back before that was to be noted.
    pub(crate) async fn put_back_unnoted(&self, entry: &Withdrawal) -> Made {
        let answer = async {
            let reading = self.read().await?;
            let is_back = reading.records.all.iter().any(|record| record.address == entry.record.address);
            let swap = if is_back { Swap::Done } else { self.put_back(&reading, entry).await? };
            if !matches!(swap, Swap::Changed(_)) {
                let _ = self.unmark(values(&reading, entry)).await;
            }
            Ok(swap)
        };
        made(answer.await, &Change::Restore(entry.clone()))
    }

    async fn put_back(&self, reading: &Reading, entry: &Withdrawal) -> Result<Swap, DnsError> {
        self.provider.restore(self.zone, &entry.record, &reading.records.all).await
    }

    async fn take_out(
        &self,
        reading: &Reading,
        all: &[Withdrawal],
        record: &AddressRecord,
        change: &Change,
        again: Option<&Again<'_>>,
    ) -> Result<Swap, DnsError> {
        if let Some(entry) = all.iter().find(|entry| entry.record.address == record.address) {
            self.mark(reading, entry).await?;
        }
        if let Some(other) = self.marked(reading, record.address).await? {
            return Ok(Swap::Changed(format!("{other} is being withdrawn by another, says its marker")));
        }
        if let Some(again) = again
            && let Some(not) = self.not_any_more(reading, change, again).await
        {
            return Ok(Swap::Changed(not));
        }
        self.provider.withdraw(self.zone, record, &reading.records.all).await
    }

    /// Reads the marker back. `Some`: beside it there is one that was not there before, by another controller.
    async fn marked(&self, reading: &Reading, own: IpAddr) -> Result<Option<IpAddr>, DnsError> {
        let name = marker_name(self.owner);
        let address = |text: &String| Marker::parse(text).map(|marker| marker.address);
        let texts = self.call(self.provider.texts(self.zone, &name)).await?;
        let marked: Vec<IpAddr> = texts.iter().filter_map(address).collect();
        if !marked.contains(&own) {
            let what =
                format!("the TXT record at {name} that tells of the withdrawal of {own} is made, and is not shown");
            return Err(DnsError::MalformedResponse { api: format!("the DNS provider of {}", self.owner), what });
        }
        let known: Vec<IpAddr> = reading.texts.iter().flatten().filter_map(address).collect();
        Ok(marked.into_iter().find(|it| *it != own && !known.contains(it)))
    }

    /// Why the change is no longer what is decided.
    async fn not_any_more(&self, reading: &Reading, change: &Change, again: &Again<'_>) -> Option<String> {
        let Again { policy, outlook, journal, last_change, decided_at } = again;
        let records = Some(&reading.records);
        let (decisions, now) = look(*outlook, policy, records, journal, *last_change, self.clock).await;
        let late = now.duration_since(*decided_at).abs();
        if late > PROMPT {
            return Some(format!("its marker took {} s, in which health may have changed", late.as_secs()));
        }
        let still = decisions.iter().any(|decision| matches!(decision, Decision::Do(again) if again == change));
        (!still).then(|| "the reason is gone: health or a witness is another by now".to_owned())
    }
}

fn made(answer: Result<Swap, DnsError>, change: &Change) -> Made {
    match answer {
        Ok(Swap::Done) => Made::Done,
        Ok(Swap::DoneWithout(what)) => Made::Without(what),
        Ok(Swap::Changed(what)) => Made::Changed(what),
        Err(error) => Made::Failed(attempt_failed(change, &error)),
    }
}

/// Without an answer too it may have been made as late as now: what was read before shows nothing of it.
fn attempted(all: &mut [Withdrawal], change: &Change, now: Timestamp) {
    for entry in all.iter_mut().filter(|entry| entry.record.address == address_of(change)) {
        entry.attempted_at = Some(now);
        if matches!(change, Change::Withdraw { .. }) {
            entry.at = now;
        }
    }
}

fn address_of(change: &Change) -> IpAddr {
    match change {
        Change::Withdraw { record, .. } => record.address,
        Change::Restore(entry) => entry.record.address,
    }
}
