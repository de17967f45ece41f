//! Failover: which record of a failing node is to be withdrawn from DNS, and which is to come back. Decided for each name by
//! itself. The guards hold in every mode, and no setting lifts them.
//!
//! A record is withdrawn only if each node with its address has failed for long enough, others of its family stay (more than
//! half, counting those that are out), and one of these is known to be well. Everything that is out is in the journal, and each
//! entry is named in every decision until it ends. Instants in the future, which a clock that was set back leaves behind, count
//! as now: a wait begins anew, and nothing is done early.

mod guards;
pub mod journal;

use core::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::backoff;
use crate::cert::NodeName;
use crate::model::{AddressRecord, Withdrawal};
use guards::{Guards, Judged, Verdict};

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
    /// Addresses of each family that stay in DNS; `None`: more than half.
    pub min_records: Option<usize>,
    /// From one change of a name to the next.
    pub interval: SignedDuration,
}

/// An address of a configured node. An address of several nodes is there once for each.
#[derive(Clone, Debug)]
pub struct Member {
    pub node: NodeName,
    pub address: IpAddr,
    pub condition: Condition,
}

/// As health checks and handshakes found it, at this address.
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

/// All address records of one name.
#[derive(Clone, Debug)]
pub struct Records {
    /// When the reading began: what was changed later may not be in it. A reading serves one decision.
    pub read_at: Timestamp,
    pub all: Vec<AddressRecord>,
}

/// What is known of one name.
#[derive(Clone, Debug)]
pub struct Scene<'a> {
    pub members: &'a [Member],
    /// `None`: they could not be read.
    pub records: Option<&'a Records>,
    pub journal: &'a [Withdrawal],
    /// The last withdrawal or return at this name, whether it was done or only tried. The journal's instants count too, so that
    /// no change is forgotten with the state directory.
    pub last_change: Option<Timestamp>,
    /// A second opinion, of what is no node: this machine reaches the internet.
    pub way_out: bool,
}

/// A change. The records have to be found as they were read, or nothing is done (compare and swap).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The journal may have an entry of this address, of an attempt that failed: see [`journal::begin`].
    Withdraw {
        node: NodeName,
        record: AddressRecord,
    },
    Restore(Withdrawal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Do(Change),
    Advise(Change),
    /// The address is in DNS: another has brought it back, or it was never removed. Or certd has removed nothing, and another
    /// has. The journal entry ends. A fact, in every mode.
    Close(Withdrawal),
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
    /// An attempt was made lately. What is read before then may be from before it.
    Unsettled(Timestamp),
    /// The name has no address record: a CNAME or a person has taken its place.
    NoRecords,
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
    /// Another node with this address does not fail, or may not be well again.
    Shared,
    /// It is withdrawn, and its node is no longer configured with it: a person decides.
    NotConfigured,
    /// It is withdrawn, and its node fails, or its condition is unknown.
    StillOut,
    /// It is withdrawn, and failover is off: it comes back by `certd dns restore`.
    Off,
    /// The last attempts failed.
    BackOff(Timestamp),
}

/// At most one change; and why each other address of a node that fails, or that is withdrawn, stays as it is.
///
/// Of several changes that may be made the one comes first that could have been made first. A failed attempt puts it behind the
/// others, so that one which the provider refuses for ever keeps none from its turn.
pub fn decide(policy: &Policy, scene: &Scene<'_>, now: Timestamp) -> Vec<Decision> {
    let guards = Guards::new(policy, scene, now);
    let mut judged: Vec<Judged> = scene.journal.iter().map(|entry| guards.entry(entry)).collect();
    if policy.mode != Mode::Off {
        judged.extend(guards.failing_addresses().into_iter().flat_map(|address| guards.failing(address)));
    }
    let ready = |judged: &Judged| match &judged.verdict {
        Verdict::Change { ready, .. } => Some((*ready, judged.address, judged.node.clone())),
        Verdict::Close(_) | Verdict::Hold(_) => None,
    };
    let pause = guards.pause();
    let first = judged.iter().enumerate().filter_map(|(index, it)| Some((ready(it)?, index))).min();
    let first = first.filter(|_| pause.is_none()).map(|(_, index)| index);
    let next = pause.unwrap_or_else(|| Hold::Interval(backoff::after(now, policy.interval)));
    let decisions = judged.into_iter().enumerate().map(|(index, Judged { node, address, verdict })| match verdict {
        Verdict::Close(entry) => Decision::Close(entry),
        Verdict::Hold(why) => Decision::Hold { node, address, why },
        Verdict::Change { .. } if first != Some(index) => Decision::Hold { node, address, why: next.clone() },
        Verdict::Change { change, .. } if policy.mode == Mode::Act => Decision::Do(change),
        Verdict::Change { change, .. } => Decision::Advise(change),
    });
    decisions.collect()
}

#[cfg(test)]
mod tests;
