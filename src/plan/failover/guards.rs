//! What keeps a record where it is.

use core::net::IpAddr;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Change, Condition, Hold, Member, Mode, Policy, Records, Scene};
use crate::cert::NodeName;
use crate::model::{AddressRecord, Withdrawal};
use crate::plan::backoff;

/// How old records may be that a change is based on: an older view may be another's by now.
const FRESH: SignedDuration = SignedDuration::from_mins(2);
/// How long a provider may go on showing what was before a change. An entry that ends by such a view is lost for ever.
const SETTLED: SignedDuration = SignedDuration::from_mins(2);

/// How long a provider that says to have removed a record is believed rather than its list.
const OLD_VIEW: SignedDuration = SignedDuration::from_hours(1);

/// What may be done about one address.
pub(super) struct Judged {
    pub(super) node: NodeName,
    pub(super) address: IpAddr,
    pub(super) verdict: Verdict,
}

pub(super) enum Verdict {
    /// `ready`: since when it could have been made.
    Change {
        change: Change,
        ready: Timestamp,
    },
    Close(Withdrawal),
    Hold(Hold),
}

pub(super) struct Guards<'a> {
    policy: &'a Policy,
    scene: &'a Scene<'a>,
    now: Timestamp,
    /// Not too old.
    records: Option<&'a Records>,
    /// Of the name or of its journal, and never in the future.
    last_change: Option<Timestamp>,
}

/// What the conditions at one address come to. Several nodes may have it.
enum Common {
    Well { since: Timestamp },
    Failing { since: Timestamp },
    Mixed,
}

impl<'a> Guards<'a> {
    pub(super) fn new(policy: &'a Policy, scene: &'a Scene<'a>, now: Timestamp) -> Self {
        let fresh = |records: &&Records| now.duration_since(records.read_at).abs() <= FRESH;
        let journalled = scene.journal.iter().flat_map(|entry| [Some(entry.at), entry.attempted_at]);
        let last_change = journalled.flatten().chain(scene.last_change).max().map(|last| last.min(now));
        Self { policy, scene, now, records: scene.records.filter(fresh), last_change }
    }

    /// Why nothing may be changed yet, whatever it is.
    pub(super) fn pause(&self) -> Option<Hold> {
        let last = self.last_change?;
        let next = backoff::after(last, self.policy.interval);
        let older = |records: &Records| records.read_at <= last;
        if next > self.now {
            Some(Hold::Interval(next))
        } else {
            self.records.is_some_and(older).then_some(Hold::Unread)
        }
    }

    /// Addresses with a node that fails, and without an entry in the journal.
    pub(super) fn failing_addresses(&self) -> BTreeSet<IpAddr> {
        let fails = |member: &&Member| matches!(member.condition, Condition::Failing { .. });
        let failing = self.scene.members.iter().filter(fails).map(|member| member.address);
        failing.filter(|address| self.of_address(*address).next().is_none()).collect()
    }

    /// The withdrawal of an address that is not in the journal; or, for each of its nodes that fail, why it stays. Nothing of
    /// what is not in DNS.
    pub(super) fn failing(&self, address: IpAddr) -> Vec<Judged> {
        if self.records.is_some_and(|records| !has(records, address)) {
            return Vec::new();
        }
        let judged = |node, verdict| Judged { node, address, verdict };
        match self.withdraw(address) {
            Ok((change, node, ready)) => vec![judged(node, Verdict::Change { change, ready })],
            Err(why) => {
                let nodes = self.failing_nodes(address).into_iter();
                nodes.map(|node| judged(node, Verdict::Hold(why.clone()))).collect()
            }
        }
    }

    /// What becomes of a journal entry. It always has an answer.
    pub(super) fn entry(&self, entry: &Withdrawal) -> Judged {
        let address = entry.record.address;
        let is_in_dns = self.records.is_some_and(|records| has(records, address));
        let verdict = match self.settled().and_then(|()| self.is_no_old_view(entry)) {
            Ok(()) if is_in_dns => self.in_dns(entry),
            Ok(()) if entry.untouched => Verdict::Close(entry.clone()),
            Err(unsettled) if (is_in_dns || entry.untouched) && self.policy.mode != Mode::Off => {
                Verdict::Hold(unsettled)
            }
            Ok(()) | Err(_) => match self.restore(entry) {
                Ok(ready) => Verdict::Change { change: Change::Restore(entry.clone()), ready },
                Err(why) => Verdict::Hold(why),
            },
        };
        Judged { node: entry.node.clone(), address, verdict }
    }

    /// What shows the very record that the provider said to have removed is an old view: one that was made anew has another
    /// identifier. Not for ever, since the provider may have been wrong.
    fn is_no_old_view(&self, entry: &Withdrawal) -> Result<(), Hold> {
        let shows = |records: &Records| records.all.iter().any(|record| record.id == entry.record.id);
        let until = backoff::after(entry.attempted_at.unwrap_or(entry.at).min(self.now), OLD_VIEW);
        let is_old = entry.is_done() && !entry.record.id.is_empty() && self.records.is_some_and(shows);
        if is_old && until > self.now { Err(Hold::Unsettled(until)) } else { Ok(()) }
    }

    /// An entry whose address is in DNS ends; but a withdrawal that has failed is tried again while its reason lasts, and
    /// remembers how often it failed.
    fn in_dns(&self, entry: &Withdrawal) -> Verdict {
        let again = self.policy.mode != Mode::Off
            && self.of_address(entry.record.address).any(|it| it.failed > 0)
            && matches!(self.common(entry.record.address), Some(Common::Failing { .. }));
        if !again {
            return Verdict::Close(entry.clone());
        }
        match self.withdraw(entry.record.address) {
            Ok((change, _, ready)) => Verdict::Change { change, ready },
            Err(why) => Verdict::Hold(why),
        }
    }

    /// Whether the records show what came of the last attempt. A reading from the future is none to end an entry by: the clock
    /// was set back since, and it may be older than the attempt.
    fn settled(&self) -> Result<(), Hold> {
        let read_at = self.records.ok_or(Hold::Unread)?.read_at;
        let settled = backoff::after(self.last_change.unwrap_or(self.now), SETTLED);
        if read_at > self.now {
            return Err(Hold::Unread);
        }
        if settled > read_at { Err(Hold::Unsettled(settled)) } else { Ok(()) }
    }

    /// Since when an entry could be restored.
    fn restore(&self, entry: &Withdrawal) -> Result<Timestamp, Hold> {
        let address = entry.record.address;
        // Whatever its node is called by now.
        if !self.is_configured(address) {
            return Err(Hold::NotConfigured);
        }
        if self.policy.mode == Mode::Off {
            return Err(Hold::Off);
        }
        let records = self.records.ok_or(Hold::Unread)?;
        let since = match self.common(address) {
            Some(Common::Well { since }) => since,
            _ if self.scene.members.iter().any(|it| it.address == address && is_well(it)) => return Err(Hold::Shared),
            _ => return Err(Hold::StillOut),
        };
        // A node that was found well before its record was journalled has not proven itself since.
        let ready = self.has_lasted(since.max(entry.at.min(self.now)), self.policy.restore_after)?;
        let ready = ready.max(self.backed_off(address)?);
        self.has_way_out()?;
        if records.all.is_empty() {
            return Err(Hold::NoRecords);
        }
        if is_proxied(&records.all) || entry.record.proxied { Err(Hold::Proxied) } else { Ok(ready) }
    }

    /// The withdrawal of an address, for which node, and since when it could have been made.
    fn withdraw(&self, address: IpAddr) -> Result<(Change, NodeName, Timestamp), Hold> {
        let records = self.records.ok_or(Hold::Unread)?;
        let Some(Common::Failing { since }) = self.common(address) else { return Err(Hold::Shared) };
        let ready = self.has_lasted(since, self.policy.after)?;
        let ready = ready.max(self.backed_off(address)?);
        self.has_way_out()?;
        if is_proxied(&records.all) {
            return Err(Hold::Proxied);
        }
        let mut of_address = records.all.iter().filter(|record| record.address == address);
        let (Some(record), None) = (of_address.next(), of_address.next()) else { return Err(Hold::Repeated) };
        self.leaves_enough(records, address)?;
        // `common` has found at least one.
        let node = self.failing_nodes(address).into_iter().next().ok_or(Hold::Shared)?;
        Ok((Change::Withdraw { node: node.clone(), record: record.clone() }, node, ready))
    }

    /// Each family by itself: visitors who have only IPv4 gain nothing from an AAAA record that stays.
    fn leaves_enough(&self, records: &Records, address: IpAddr) -> Result<(), Hold> {
        let of_family = |other: &IpAddr| other.is_ipv4() == address.is_ipv4();
        let shown: BTreeSet<IpAddr> = records.all.iter().map(|record| record.address).filter(of_family).collect();
        // What no node has any more does not come back by itself: it is no part of the name.
        let out = self.scene.journal.iter().map(|entry| entry.record.address);
        let out = out.filter(of_family).filter(|address| self.is_configured(*address));
        let whole = shown.iter().copied().chain(out).collect::<BTreeSet<_>>().len();
        let is_well = |other: &IpAddr| matches!(self.common(*other), Some(Common::Well { .. }));
        if !shown.iter().any(is_well) {
            return Err(Hold::NobodyWell);
        }
        // One that is well stays, whatever is configured.
        let least = self.policy.min_records.unwrap_or(whole / 2 + 1);
        let stay = shown.iter().filter(|other| **other != address).count();
        if stay < least { Err(Hold::TooFew { stay, least }) } else { Ok(()) }
    }

    fn is_configured(&self, address: IpAddr) -> bool {
        self.scene.members.iter().any(|member| member.address == address)
    }

    /// What all nodes with this address have in common, and since when all of them. `None`: no node has it.
    fn common(&self, address: IpAddr) -> Option<Common> {
        let conditions = self.scene.members.iter().filter(|member| member.address == address);
        let conditions = conditions.map(|member| match member.condition {
            Condition::Well { since } => Common::Well { since: since.min(self.now) },
            Condition::Failing { since } => Common::Failing { since: since.min(self.now) },
            Condition::Unknown => Common::Mixed,
        });
        conditions.reduce(|one, other| match (one, other) {
            (Common::Well { since }, Common::Well { since: other }) => Common::Well { since: since.max(other) },
            (Common::Failing { since }, Common::Failing { since: other }) => {
                Common::Failing { since: since.max(other) }
            }
            _ => Common::Mixed,
        })
    }

    /// The longest failing first.
    fn failing_nodes(&self, address: IpAddr) -> Vec<NodeName> {
        let of_address = self.scene.members.iter().filter(|member| member.address == address);
        let failing = of_address.filter_map(|member| match member.condition {
            Condition::Failing { since } => Some((since, member.node.clone())),
            Condition::Well { .. } | Condition::Unknown => None,
        });
        let mut failing: Vec<_> = failing.collect();
        failing.sort();
        failing.into_iter().map(|(_, node)| node).collect()
    }

    fn has_lasted(&self, since: Timestamp, span: SignedDuration) -> Result<Timestamp, Hold> {
        let ready = backoff::after(since, span);
        if ready > self.now { Err(Hold::Until(ready)) } else { Ok(ready) }
    }

    /// Since when an address may be tried again. A marker may have brought a second entry of it.
    fn backed_off(&self, address: IpAddr) -> Result<Timestamp, Hold> {
        let failed = self.of_address(address).filter(|entry| entry.failed > 0);
        let again = failed.map(|entry| {
            let last = entry.attempted_at.unwrap_or(entry.at).min(self.now);
            backoff::address_record(last, entry.failed)
        });
        let again = again.max().unwrap_or(Timestamp::MIN);
        if again > self.now { Err(Hold::BackOff(again)) } else { Ok(again) }
    }

    fn of_address(&self, address: IpAddr) -> impl Iterator<Item = &'a Withdrawal> {
        self.scene.journal.iter().filter(move |entry| entry.record.address == address)
    }

    fn has_way_out(&self) -> Result<(), Hold> {
        if self.scene.way_out { Ok(()) } else { Err(Hold::NoWayOut) }
    }
}

fn is_well(member: &Member) -> bool {
    matches!(member.condition, Condition::Well { .. })
}

fn has(records: &Records, address: IpAddr) -> bool {
    records.all.iter().any(|record| record.address == address)
}

/// One proxied record makes the whole name proxied.
fn is_proxied(all: &[AddressRecord]) -> bool {
    all.iter().any(|record| record.proxied)
}
