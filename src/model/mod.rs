//! Everything that a decision may depend on, as plain data: the store, what each node serves, the CA's renewal windows,
//! earlier attempts, and the scope of the command. Serialisable, so that a decision can be kept as a test or shown
//! together with its input.

mod authorization;
mod beside;
mod code;
mod crl;
mod dialogue;
mod disk;
mod drift;
mod exit;
mod failover;
mod finding;
mod health;
mod inventory;
mod marker;
mod persisted_state;
mod probe_error;
mod provider;
mod refused;
mod response_times;
mod rotation;
mod web_server;

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use authorization::{Authorization, AuthorizationState, Proof, Status};
pub use beside::Beside;
pub use code::Code;
pub use crl::Crl;
pub use dialogue::{Base, Committed, ConfigTest, Prepared, Refusal};
pub use disk::{AcmeClient, AtPath, Disk, Exposed, Found, Installed, Leftover, Looked, NodeClock, Renewal};
pub use drift::{Compared, Drift};
pub use exit::{Exit, worst};
pub use failover::{AddressRecord, FailoverNotes, FailoverSeen, Swap, Withdrawal};
pub use finding::{Advice, Area, Finding, Severity};
pub use health::{Blame, Health, HealthAnswer, HealthPlace, HealthState};
pub use inventory::{Addresses, AtProvider, Caa, CaaRecord, CaaSet, InDns, Inventory, Named, ServerAnswer};
pub use marker::{Marker, marker_name};
pub use persisted_state::{
    Ari, AriFailed, Attempts, Begun, DeliveryAttempts, Fence, Held, KEY_COMPROMISE, PersistedState, Rehearsal,
    Renumbered, Revoked, Unproven,
};
pub use probe_error::ProbeError;
pub use provider::{DnsCache, KnownProvider, KnownToken, KnownZone, LastSeen, TokenTrouble, ZoneTrouble};
pub use refused::Refused;
pub use response_times::ResponseTimes;
pub use rotation::{RecordKind, Rotation};
pub use web_server::{FoundServer, ServerKind, WebServers};

use crate::cert::{
    self, CertName, Chain, DnsName, Fingerprint, Generation, KeyType, Leaf, NameSet, NodeName, Roots, WatchName,
};
use crate::config::StartTls;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Observed {
    pub asked: Scope,
    pub store: BTreeMap<CertName, Stored>,
    pub served: Vec<Served>,
    /// Certificates that nobody asked for, beside those served.
    #[serde(default)]
    pub beside: Vec<Beside>,
    #[serde(default)]
    pub watched: Vec<Watched>,
    /// Disks that were looked at in this pass.
    #[serde(default)]
    pub disks: Vec<Disk>,
    #[serde(rename = "tried")]
    pub state: PersistedState,
    pub ledger: Vec<LedgerEntry>,
    /// The DNS records of the names; `None`: not looked up.
    #[serde(default)]
    pub inventory: Option<Inventory>,
    /// The health of nodes; empty: not asked for.
    #[serde(default)]
    pub health: Vec<Health>,
    /// What failover has done.
    #[serde(default)]
    pub failover: FailoverSeen,
    /// Set when the CA answered in this pass.
    #[serde(default)]
    pub ca_clock: Option<CaClock>,
    /// Certificates issued in this pass.
    #[serde(default)]
    pub issued: BTreeSet<CertName>,
}

/// Our clock and the Date of the CA's answer, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaClock {
    pub ours: Timestamp,
    pub theirs: Timestamp,
}

/// What a command looks at, how deep, and which restraints it lifts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Scope {
    #[serde(default)]
    pub depth: Depth,
    /// Steps that failed at or after this instant are not repeated in this pass.
    pub pass_started: Option<Timestamp>,
    /// Empty: all, unless a watched endpoint is named.
    pub certificates: BTreeSet<CertName>,
    /// Empty: all.
    pub nodes: BTreeSet<NodeName>,
    /// Nodes to leave out.
    #[serde(default)]
    pub excluded: BTreeSet<NodeName>,
    /// Empty: all, unless a certificate or a node is named.
    #[serde(default)]
    pub watches: BTreeSet<WatchName>,
    /// Named one by one on the command line: their windows do not apply.
    #[serde(default)]
    pub ignore_window: BTreeSet<NodeName>,
    /// False for `deploy`.
    pub may_issue: bool,
    /// Issue these although not due; each is removed once it was attempted.
    pub force: BTreeSet<CertName>,
    /// Deliver in spite of a node's own back-off (`deploy`).
    pub ignore_backoff: bool,
    /// Passes follow each other as closely as a node's back-off allows (`run`): then a node that only failed to answer
    /// has a back-off too.
    #[serde(default)]
    pub short_retries: bool,
    /// Compare the disks of these nodes, whenever that was done before: one that serves the right leaf from another
    /// client's files is given certd's.
    #[serde(default)]
    pub compares_disks: bool,
    /// Ask every node for its health, once.
    #[serde(default)]
    pub health: bool,
}

/// How far observing goes. Each but `Stored` begins with handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// The state directory, and nothing outside of this machine.
    Stored,
    /// What nodes and watched endpoints serve.
    #[default]
    Served,
    /// And the DNS records of the names.
    Dns,
    /// And every node's disk and every revocation list.
    Disk,
    /// DNS, with the provider's API and the CA's directory: everything that a rehearsal needs.
    Rehearse,
    /// Renewal windows, revocation lists and the token's expiry, as far as they are due. DNS is looked up beside the
    /// pass, which does not wait for it.
    Due,
}

impl Scope {
    pub fn wants(&self, certificate: &CertName) -> bool {
        self.certificates.contains(certificate) || self.certificates.is_empty() && self.watches.is_empty()
    }

    pub fn wants_node(&self, node: &NodeName) -> bool {
        (self.nodes.is_empty() || self.nodes.contains(node)) && !self.excluded.contains(node)
    }

    pub fn wants_every_node(&self) -> bool {
        self.nodes.is_empty() && self.excluded.is_empty()
    }

    pub fn wants_watch(&self, watch: &WatchName) -> bool {
        let everything = self.certificates.is_empty() && self.nodes.is_empty() && self.watches.is_empty();
        everything || self.watches.contains(watch)
    }
}

/// The store's content for one certificate.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stored {
    pub current: Option<Kept>,
    pub pending: Option<Intent>,
    /// The greatest complete generation below the current one: the one that nodes go back to.
    #[serde(default)]
    pub previous: Option<Former>,
    /// Fingerprints of what we issued earlier: a node that serves one of them is stale, not foreign.
    pub former: BTreeSet<Fingerprint>,
    /// The greatest generation number in the store.
    pub greatest: u64,
}

/// A generation before the current one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Former {
    pub generation: Generation,
    pub leaf: Leaf,
}

/// A generation that passed our own checks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub generation: Generation,
    pub leaf: Leaf,
    pub meta: Meta,
}

/// [`Meta::ca`] where `meta.json` was lost: the profile is unknown too.
pub const UNKNOWN_CA: &str = "unknown";

/// `meta.json` of a generation: what the certificate itself does not contain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    pub key_type: KeyType,
    pub profile: Option<String>,
    /// Host of the CA's directory, as in `accounts/<ca-host>`.
    pub ca: String,
    pub issued_at: Timestamp,
}

/// A certificate to be ordered, written to disk before the CA is asked. Its key lies beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub names: NameSet,
    pub key_type: KeyType,
    pub profile: Option<String>,
    pub ca: String,
    /// ARI identifier of the certificate that this one replaces.
    pub replaces: Option<String>,
    pub begun_at: Timestamp,
    /// Set once the CA has answered. A later run resumes this order and makes no other.
    pub order_url: Option<String>,
    /// The certificate whose key is reused; `None`: a new key.
    #[serde(default)]
    pub key_of: Option<Fingerprint>,
}

/// One handshake with one address of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Served {
    pub node: NodeName,
    pub certificate: CertName,
    pub address: Option<SocketAddr>,
    pub sni: DnsName,
    #[serde(default)]
    pub over: Over,
    /// The protocol whose dialogue led to TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starttls: Option<StartTls>,
    pub seen: Seen,
    /// Over QUIC, where several are made at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshakes: Option<Handshakes>,
}

/// Concurrent handshakes over QUIC, and how many of them got an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Handshakes {
    pub asked: u16,
    pub answered: u16,
    /// Whether some were answered within the last day.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub before: bool,
}

impl Handshakes {
    pub fn unanswered(self) -> u16 {
        self.asked.saturating_sub(self.answered)
    }
}

/// The transport of a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Over {
    #[default]
    Tcp,
    Quic,
    /// The node's SSH connection; the address is the node's own.
    Ssh,
}

impl Over {
    /// The address, with the transport unless it is plain TCP.
    pub fn at(self, address: SocketAddr) -> String {
        match self {
            Self::Tcp => address.to_string(),
            Self::Quic => format!("{address} over QUIC"),
            Self::Ssh => format!("{address} through SSH"),
        }
    }
}

/// One handshake with one address of a watched endpoint, which others maintain.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watched {
    pub name: WatchName,
    pub address: Option<SocketAddr>,
    pub sni: DnsName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starttls: Option<StartTls>,
    pub seen: Seen,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// A handshake was completed with this leaf; `distrust`: why a client would refuse its chain.
    Leaf {
        leaf: Box<Leaf>,
        distrust: Option<String>,
    },
    Silence(ProbeError),
}

impl Seen {
    /// From the DERs of a handshake, leaf first. Bytes that are no chain are no TLS that a visitor could use.
    pub fn of(ders: Vec<Vec<u8>>, roots: &Roots, now: Timestamp) -> Self {
        match Chain::from_ders(ders) {
            Ok(chain) => {
                let distrust = cert::trusted(&chain, roots, now).err().map(|flaw| flaw.to_string());
                Self::Leaf { leaf: Box::new(chain.leaf), distrust }
            }
            Err(malformed) => Self::Silence(ProbeError::Tls(malformed.to_string())),
        }
    }
}

/// One line of the ledger: an event that counts against a CA's limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    pub at: Timestamp,
    pub ca: String,
    pub names: NameSet,
    pub event: LedgerEvent,
    /// The order's URL, of a finalize: identifies its intent, whatever the clock shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerEvent {
    /// Noted before the finalize is sent. `exempt`: ordered with `replaces` inside its ARI window.
    Finalize { exempt: bool },
    /// An authorization became invalid.
    AuthorizationFailed { name: DnsName },
    /// The CA answered 429: no order before `until`.
    Limited { until: Timestamp },
}

/// Shortens to `most` characters, with an ellipsis.
fn cut(text: &mut String, most: usize) {
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::{Authority, NOW, days};

    #[test]
    fn what_a_handshake_showed_is_a_leaf_with_or_without_distrust_or_no_tls_at_all() {
        let root = Authority::root("R");
        let pair = root.intermediate("I").issue(&["a.example.com"], days(0, 90));
        let seen = |ders: &[Vec<u8>]| match Seen::of(ders.to_vec(), &root.roots(), NOW) {
            Seen::Leaf { distrust, .. } => distrust,
            Seen::Silence(silence) => Some(silence.to_string()),
        };
        assert_eq!(seen(pair.chain().ders()), None);
        let alone = seen(&pair.chain().ders()[..1]).expect("a client would refuse it");
        assert!(alone.ends_with("the intermediate by I is missing"), "{alone}");
        assert_eq!(seen(&[]).as_deref(), Some("TLS failed: the chain: no certificate"));
    }
}
