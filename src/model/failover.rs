//! Address records as failover sees and changes them.

use core::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Finding;
use crate::cert::NodeName;

/// An A or AAAA record as the provider's API has it: enough to find it unchanged, and to make it anew as it was. Serialized
/// in the journal of withdrawals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AddressRecord {
    /// The provider's identifier, opaque; empty where records have none. A record that comes back gets another.
    pub id: String,
    /// The owner: in lower case, without the dot at its end.
    pub name: String,
    pub address: IpAddr,
    /// Seconds; 1 is "automatic" at Cloudflare.
    pub ttl: u32,
    /// Visitors get the provider's own addresses instead.
    #[serde(default)]
    pub proxied: bool,
    #[serde(default)]
    pub comment: Option<String>,
    /// What else belongs to the record and has to come back with it (tags and settings at Cloudflare), as the API's JSON;
    /// empty: nothing.
    #[serde(default)]
    pub settings: String,
    /// When it was last changed, in the provider's words; empty where it does not say. Another value is another's change.
    #[serde(default)]
    pub changed: String,
}

impl AddressRecord {
    /// Whether both are the same record, whatever was changed of it in the meantime.
    pub fn is_at(&self, name: &str, address: IpAddr) -> bool {
        self.name == name && self.address == address
    }
}

/// The result of a change that is made only if the records are still as they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    Done,
    /// A record came back, and lacks what the text says: the API did not take it again, and the address counts for more.
    DoneWithout(String),
    /// Another has changed them since: nothing was done. The text says what, escaped.
    Changed(String),
}

/// What `certd run` last found to say of failover, for commands that only look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverNotes {
    pub at: Timestamp,
    pub findings: Vec<Finding>,
}

/// What the state directory holds of failover.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailoverSeen {
    pub withdrawn: Vec<Withdrawal>,
    pub notes: Option<FailoverNotes>,
}

/// A journalled withdrawal that has not ended. It is on disk before the provider is asked: the record may still be in DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawal {
    pub node: NodeName,
    /// As it was read before it was removed.
    pub record: AddressRecord,
    pub at: Timestamp,
    /// Escaped.
    pub why: String,
    /// The last attempt to withdraw or to restore it, and how many have failed in a row. An attempt counts as failed until it
    /// is known to be done: after a crash or a lost answer nobody knows.
    #[serde(default)]
    pub attempted_at: Option<Timestamp>,
    #[serde(default)]
    pub failed: u32,
    /// The only attempt to withdraw it found it changed: certd has removed nothing.
    #[serde(default)]
    pub untouched: bool,
}

impl Withdrawal {
    /// Whether the attempt to withdraw it has had an answer. Without one, or after a refusal, it may be in DNS.
    pub fn is_done(&self) -> bool {
        self.failed == 0 || self.attempted_at.is_some_and(|at| at > self.at)
    }

    /// Makes now of what lies in the future, which a clock that was set back leaves behind. An instant in the future counts as
    /// now; if it is not stored so, each look begins the wait anew. Returns whether anything changed.
    pub fn clamp(&mut self, now: Timestamp) -> bool {
        let before = (self.at, self.attempted_at);
        self.at = self.at.min(now);
        self.attempted_at = self.attempted_at.map(|at| at.min(now));
        before != (self.at, self.attempted_at)
    }
}
