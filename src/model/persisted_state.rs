//! The part of the observations that outlives a run: earlier attempts and their results.

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{CertName, Fingerprint, Generation, NodeName};
use crate::model::{Compared, Crl, Finding};

/// `state.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PersistedState {
    /// Drawn once for this installation: it spreads renewal instants within ARI windows.
    pub seed: u64,
    /// The last instant of a clock that was believed.
    #[serde(default)]
    pub last_seen: Option<Timestamp>,
    /// Start of the last complete pass.
    #[serde(default)]
    pub last_pass: Option<Timestamp>,
    /// Failures in a row at each CA, by its host.
    #[serde(default, rename = "issuing")]
    pub issuance: BTreeMap<CertName, BTreeMap<String, Attempts>>,
    #[serde(default)]
    pub ari: BTreeMap<CertName, Ari>,
    /// Failed requests for a renewal window since the last answer.
    #[serde(default)]
    pub ari_failed: BTreeMap<CertName, AriFailed>,
    /// Certificates that their CA has revoked, or that we revoke: noted before the replacement is ordered, so that
    /// later certificates are not affected.
    #[serde(default)]
    pub revoked: BTreeMap<Fingerprint, Revoked>,
    /// The generation number for which each node last refused ours. An earlier certd kept one number for all nodes,
    /// under another key: it is dropped, and a node that still holds it refuses again.
    #[serde(default, rename = "fences_of_nodes")]
    pub fences: BTreeMap<CertName, BTreeMap<NodeName, Fence>>,
    /// The nodes whose claims led to renumbering.
    #[serde(default)]
    pub renumbered: BTreeMap<CertName, Renumbered>,
    /// When each address last answered over QUIC, for a day.
    #[serde(default)]
    pub quic: BTreeMap<NodeName, BTreeMap<SocketAddr, Timestamp>>,
    /// Folders of certd's on each node that deliveries have used, and the paths that led into them: where the
    /// configuration changes, they stay behind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub places: BTreeMap<NodeName, BTreeMap<String, BTreeSet<String>>>,
    /// The last rehearsal of each certificate's renewal.
    #[serde(default)]
    pub rehearsals: BTreeMap<CertName, Rehearsal>,
    #[serde(default)]
    pub delivery: BTreeMap<NodeName, BTreeMap<CertName, DeliveryAttempts>>,
    /// Generations that an operator went back to: each is desired until it is released.
    #[serde(default)]
    pub held: BTreeMap<CertName, Held>,
    /// The last comparison of each node's disk with the store.
    #[serde(default)]
    pub disks: BTreeMap<NodeName, BTreeMap<CertName, Compared>>,
    /// The install settings of the last delivery, as a digest.
    #[serde(default)]
    pub installed: BTreeMap<NodeName, BTreeMap<CertName, String>>,
    /// The revocation lists' entries for our certificates.
    #[serde(default)]
    pub crls: BTreeMap<Fingerprint, Crl>,
    /// Committed, but the answer was lost: the node may serve the right certificate, and its intent may still be there.
    #[serde(default)]
    pub unsettled: BTreeMap<NodeName, BTreeSet<CertName>>,
    /// Switched and kept, and no handshake proves it: another reload would not either.
    #[serde(default)]
    pub unproven: BTreeMap<NodeName, BTreeMap<CertName, Unproven>>,
    /// Deliveries in progress, noted before the first node changes: after a kill this shows what a node served before.
    #[serde(default)]
    pub begun: BTreeMap<NodeName, BTreeMap<CertName, Begun>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unproven {
    pub generation: Generation,
    pub since: Timestamp,
    /// Summary of the handshakes at that time.
    pub seen: BTreeSet<String>,
    /// Digest of the install settings with the commands.
    #[serde(default)]
    pub install: String,
    pub failure: Finding,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    pub generation: Generation,
    /// The leaf, when all handshakes showed the same valid one.
    pub served: Option<Fingerprint>,
    pub at: Timestamp,
}

/// A node's claim that it holds a newer generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    pub number: u64,
    /// When the node last claimed it.
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renumbered {
    pub fingerprint: Fingerprint,
    pub nodes: BTreeSet<NodeName>,
}

impl PersistedState {
    /// A copy with texts of at most `most` characters: they are for people, and nothing is decided by them.
    pub fn with_texts_of(&self, most: usize) -> Self {
        let mut brief = self.clone();
        let of_delivery =
            brief.delivery.values_mut().flat_map(BTreeMap::values_mut).map(|attempts| &mut attempts.failure);
        let of_issuance =
            brief.issuance.values_mut().flat_map(BTreeMap::values_mut).map(|attempts| &mut attempts.failure);
        let of_rehearsals = brief.rehearsals.values_mut().flat_map(|rehearsal| &mut rehearsal.failures);
        let of_crls = brief.crls.values_mut().filter_map(|crl| crl.failure.as_mut());
        let of_unproven =
            brief.unproven.values_mut().flat_map(BTreeMap::values_mut).map(|unproven| &mut unproven.failure);
        for failure in of_delivery.chain(of_issuance).chain(of_rehearsals).chain(of_crls).chain(of_unproven) {
            failure.cut(most);
        }
        for compared in brief.disks.values_mut().flat_map(BTreeMap::values_mut) {
            compared.cut(most);
        }
        brief
    }
}

/// `deploy --generation`. It has all the certificate's data that a hold needs, so that it works even if the store loses
/// the generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Held {
    pub generation: Generation,
    pub fingerprint: Fingerprint,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub since: Timestamp,
    /// The operator's login, when known; escaped.
    pub by: Option<String>,
}

/// A rehearsed renewal: everything but the order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Of the certificate to be replaced.
    pub fingerprint: Fingerprint,
    pub at: Timestamp,
    /// What would have made the renewal fail.
    pub failures: Vec<Finding>,
}

/// Failures in a row of issuing one certificate at one CA.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempts {
    pub failures: u32,
    /// When the first of them failed; `None`: noted by an earlier version.
    #[serde(default)]
    pub first: Option<Timestamp>,
    pub last: Timestamp,
    /// The CA's Retry-After, clamped.
    pub not_before: Option<Timestamp>,
    pub failure: Finding,
}

/// Failures in a row of delivering one generation to one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliveryAttempts {
    pub generation: Generation,
    pub failures: u32,
    /// When the first of them failed; `None`: noted by an earlier version.
    #[serde(default)]
    pub first: Option<Timestamp>,
    pub last: Timestamp,
    /// The node went back, rather than failing to answer.
    pub rolled_back: bool,
    /// It failed in one dialogue with other certificates: next time it travels alone.
    pub together: bool,
    pub failure: Finding,
}

/// RFC 9773: what the CA suggests for one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ari {
    pub fingerprint: Fingerprint,
    pub start: Timestamp,
    pub end: Timestamp,
    pub explanation: Option<String>,
    pub asked_at: Timestamp,
    /// Not to be asked again before.
    pub ask_again: Timestamp,
    /// The CA no longer confirms this window: it still counts, but cannot delay a renewal.
    #[serde(default)]
    pub doubted: bool,
}

/// Failed requests in a row for one certificate's window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AriFailed {
    pub fingerprint: Fingerprint,
    pub failures: u32,
    pub last: Timestamp,
    /// Not to be asked again before.
    pub ask_again: Timestamp,
}

/// A certificate that we or its CA have revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    pub at: Timestamp,
    /// RFC 5280 section 5.3.1.
    pub reason: u8,
}

/// RFC 5280 section 5.3.1: somebody else may have the key.
pub const KEY_COMPROMISE: u8 = 1;
