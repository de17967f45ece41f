//! Failover: which record of a failing node is to be withdrawn from DNS, and which is to come back. The guards hold in every
//! mode, and no setting lifts them. No command acts by it yet.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::cert::NodeName;

/// Records that may be read before a decision: an older view may be another's by now.
const FRESH: SignedDuration = SignedDuration::from_mins(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Off,
    /// Says what it would do.
    Advise,
    Act,
}

#[derive(Clone, Debug)]
pub struct Policy {
    pub mode: Mode,
    /// How long a node has to fail.
    pub after: SignedDuration,
    /// How long it has to be well again.
    pub restore_after: SignedDuration,
    /// Addresses that stay in DNS; `None`: more than half.
    pub min_records: Option<usize>,
    /// From one change to the next.
    pub interval: SignedDuration,
}

/// A configured node.
#[derive(Clone, Debug)]
pub struct Member {
    pub node: NodeName,
    pub addresses: BTreeSet<IpAddr>,
    pub condition: Condition,
}

/// As health checks and handshakes found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Well {
        since: Timestamp,
    },
    /// It fails its visitors, by its own fault.
    Failing {
        since: Timestamp,
    },
    /// Not checked, not found out from here, or the backend's fault.
    Unknown,
}

/// An address record as the provider's API shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub address: IpAddr,
    pub proxied: bool,
    /// Everything else of it (TTL, comment, settings), by which a change is noticed.
    pub version: String,
}

/// All address records of one name.
#[derive(Clone, Debug)]
pub struct Records {
    pub read_at: Timestamp,
    pub all: Vec<Record>,
}

/// A journalled withdrawal that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    pub node: NodeName,
    pub record: Record,
    pub at: Timestamp,
}

/// What is known beside the nodes.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    pub members: &'a [Member],
    /// `None`: they could not be read.
    pub records: Option<&'a Records>,
    pub journal: &'a [Withdrawn],
    /// The last withdrawal or return, whether it was done or only tried.
    pub last_change: Option<Timestamp>,
    /// A second opinion, of what is no node: this machine reaches the internet.
    pub way_out: bool,
}

/// A change. The record has to be found as it is here, or nothing is done (compare and swap).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Withdraw { node: NodeName, record: Record },
    Restore(Withdrawn),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Do(Change),
    Advise(Change),
    /// The address is in DNS: another has brought it back, or it was never removed. The journal entry ends.
    Close(Withdrawn),
    Hold {
        node: NodeName,
        address: IpAddr,
        why: Hold,
    },
}

/// Why an address stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Failing, or well again, for too short a time.
    Until(Timestamp),
    /// One change at a time.
    Interval(Timestamp),
    /// The records could not be read, or not lately.
    Unread,
    /// No node is known to be well.
    NobodyWell,
    /// This machine may be what is cut off.
    NoWayOut,
    /// Fewer would stay than have to.
    TooFew { stay: usize, least: usize },
    /// The provider shows its own addresses.
    Proxied,
    /// The address has several records, which are weights.
    Repeated,
    /// It is withdrawn, and its node is no longer configured with it: a person decides.
    NotConfigured,
    /// It is withdrawn, and its node fails, or its condition is unknown.
    StillOut,
}

/// At most one change; and why each other address of a node that fails, or that is withdrawn, stays as it is.
pub fn decide(policy: &Policy, scene: &Scene<'_>, now: Timestamp) -> Vec<Decision> {
    if policy.mode == Mode::Off {
        return Vec::new();
    }
    let mut decisions = Vec::new();
    let mut changed = false;
    let mut candidates = returns(scene);
    candidates.extend(withdrawals(scene));
    for candidate in candidates {
        let (node, address) = candidate.place();
        let judged = match scene.records.filter(|records| is_fresh(records, now)) {
            None => Err(Hold::Unread),
            Some(records) => match &candidate {
                Candidate::Back(withdrawn) if records.all.iter().any(|it| it.address == withdrawn.record.address) => {
                    decisions.push(Decision::Close((*withdrawn).clone()));
                    continue;
                }
                Candidate::Back(withdrawn) => may_return(policy, scene, withdrawn, now),
                Candidate::Out { address, since, .. } => {
                    may_withdraw(policy, scene, records, &node, *address, *since, now)
                }
            },
        };
        let judged = judged.and_then(|change| match scene.last_change.map(|last| last + policy.interval) {
            Some(next) if next > now => Err(Hold::Interval(next)),
            _ if changed => Err(Hold::Interval(now + policy.interval)),
            _ => Ok(change),
        });
        decisions.push(match judged {
            Err(why) => Decision::Hold { node, address, why },
            Ok(change) => {
                changed = true;
                if policy.mode == Mode::Act { Decision::Do(change) } else { Decision::Advise(change) }
            }
        });
    }
    decisions
}

enum Candidate<'a> {
    Back(&'a Withdrawn),
    Out { node: &'a NodeName, address: IpAddr, since: Timestamp },
}

impl Candidate<'_> {
    fn place(&self) -> (NodeName, IpAddr) {
        match self {
            Self::Back(withdrawn) => (withdrawn.node.clone(), withdrawn.record.address),
            Self::Out { node, address, .. } => ((*node).clone(), *address),
        }
    }
}

/// What comes back goes before what is taken out.
fn returns<'a>(scene: &Scene<'a>) -> Vec<Candidate<'a>> {
    let mut journal: Vec<&Withdrawn> = scene.journal.iter().collect();
    journal.sort_by_key(|withdrawn| withdrawn.at);
    journal.into_iter().map(Candidate::Back).collect()
}

/// The addresses of nodes that fail, of the longest failing first.
fn withdrawals<'a>(scene: &Scene<'a>) -> Vec<Candidate<'a>> {
    let out = |address: &IpAddr| scene.journal.iter().any(|withdrawn| withdrawn.record.address == *address);
    let mut failing = Vec::new();
    for member in scene.members {
        let Condition::Failing { since } = member.condition else { continue };
        let in_dns = |address: &&IpAddr| {
            scene.records.is_none_or(|records| records.all.iter().any(|record| record.address == **address))
        };
        for address in member.addresses.iter().filter(in_dns).filter(|address| !out(address)) {
            failing.push((since, Candidate::Out { node: &member.node, address: *address, since }));
        }
    }
    failing.sort_by_key(|(since, _)| *since);
    failing.into_iter().map(|(_, candidate)| candidate).collect()
}

fn may_return(policy: &Policy, scene: &Scene<'_>, withdrawn: &Withdrawn, now: Timestamp) -> Result<Change, Hold> {
    let owner = scene.members.iter().find(|member| member.node == withdrawn.node);
    let owner =
        owner.filter(|member| member.addresses.contains(&withdrawn.record.address)).ok_or(Hold::NotConfigured)?;
    let Condition::Well { since } = owner.condition else { return Err(Hold::StillOut) };
    let ready = since + policy.restore_after;
    if ready > now { Err(Hold::Until(ready)) } else { Ok(Change::Restore(withdrawn.clone())) }
}

fn may_withdraw(
    policy: &Policy,
    scene: &Scene<'_>,
    records: &Records,
    node: &NodeName,
    address: IpAddr,
    since: Timestamp,
    now: Timestamp,
) -> Result<Change, Hold> {
    let ready = since + policy.after;
    if ready > now {
        return Err(Hold::Until(ready));
    }
    if !scene.way_out {
        return Err(Hold::NoWayOut);
    }
    let mut of_address: BTreeMap<IpAddr, Vec<&Record>> = BTreeMap::new();
    records.all.iter().for_each(|record| of_address.entry(record.address).or_default().push(record));
    let record = match of_address.get(&address).map(Vec::as_slice) {
        Some([only]) => (*only).clone(),
        _ => return Err(Hold::Repeated),
    };
    // One proxied record makes the whole name proxied.
    if records.all.iter().any(|record| record.proxied) {
        return Err(Hold::Proxied);
    }
    let well = |member: &&Member| matches!(member.condition, Condition::Well { .. });
    let mut well = scene.members.iter().filter(well).flat_map(|member| &member.addresses);
    if !well.any(|other| *other != address && of_address.contains_key(other)) {
        return Err(Hold::NobodyWell);
    }
    let out = scene.journal.iter().map(|withdrawn| withdrawn.record.address);
    let all: BTreeSet<IpAddr> = of_address.keys().copied().chain(out).collect();
    let least = policy.min_records.unwrap_or(all.len() / 2 + 1).max(1);
    let stay = of_address.len() - 1;
    if stay < least {
        return Err(Hold::TooFew { stay, least });
    }
    Ok(Change::Withdraw { node: node.clone(), record })
}

/// A clock that went back makes nothing fresh.
fn is_fresh(records: &Records, now: Timestamp) -> bool {
    now.duration_since(records.read_at).abs() <= FRESH
}

#[cfg(test)]
mod tests;
