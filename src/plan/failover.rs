//! Failover: which record of a failing node is to be withdrawn from DNS, and which is to come back. Decided for each name by
//! itself. The guards hold in every mode, and no setting lifts them.

use core::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use crate::cert::NodeName;
use crate::model::{AddressRecord, Withdrawal};

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

/// All address records of one name.
#[derive(Clone, Debug)]
pub struct Records {
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
    /// The last withdrawal or return at this name, whether it was done or only tried.
    pub last_change: Option<Timestamp>,
    /// A second opinion, of what is no node: this machine reaches the internet.
    pub way_out: bool,
}

/// A change. The records have to be found as they were read, or nothing is done (compare and swap).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Withdraw { node: NodeName, record: AddressRecord },
    Restore(Withdrawal),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Do(Change),
    Advise(Change),
    /// The address is in DNS: another has brought it back, or it was never removed. The journal entry ends.
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
pub fn decide(_policy: &Policy, _scene: &Scene<'_>, _now: Timestamp) -> Vec<Decision> {
    Vec::new()
}
