//! What was tried before, and what was learned by it: the part of what is observed that outlives a run.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{CertName, Fingerprint, Generation, NodeName};
use crate::model::{Compared, Crl, Finding};

/// What was tried before, kept across runs in `state.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PersistedState {
    /// Drawn once for this installation: it spreads renewal instants within ARI windows.
    pub seed: u64,
    /// When this installation last read a clock that it believed.
    #[serde(default)]
    pub last_seen: Option<Timestamp>,
    /// When the last pass over everything was begun.
    #[serde(default)]
    pub last_pass: Option<Timestamp>,
    /// Failures in a row at each CA, by its host.
    #[serde(default, rename = "issuing")]
    pub issuance: BTreeMap<CertName, BTreeMap<String, Attempts>>,
    #[serde(default)]
    pub ari: BTreeMap<CertName, Ari>,
    /// Questions for a renewal window that came to nothing, since the last one that was answered.
    #[serde(default)]
    pub ari_failed: BTreeMap<CertName, AriFailed>,
    /// Certificates of ours that their CA has revoked, or that a person has given up, noted before their replacement is
    /// ordered: what is issued later than that has nothing to do with them any more.
    #[serde(default)]
    pub revoked: BTreeMap<Fingerprint, Revoked>,
    /// The generation number for which each node refused ours, by its last word. An earlier certd kept one number for all
    /// nodes, under another key: it is forgotten, and who holds it says it again.
    #[serde(default, rename = "fences_of_nodes")]
    pub fences: BTreeMap<CertName, BTreeMap<NodeName, Fence>>,
    /// On whose word a certificate was numbered anew.
    #[serde(default)]
    pub renumbered: BTreeMap<CertName, Renumbered>,
    /// How the last rehearsal of each certificate's renewal went.
    #[serde(default)]
    pub rehearsals: BTreeMap<CertName, Rehearsal>,
    #[serde(default)]
    pub delivery: BTreeMap<NodeName, BTreeMap<CertName, DeliveryAttempts>>,
    /// Generations that a person went back to: each is meant for the nodes until a person says otherwise.
    #[serde(default)]
    pub held: BTreeMap<CertName, Held>,
    /// The last comparison of each node's disk with the store.
    #[serde(default)]
    pub disks: BTreeMap<NodeName, BTreeMap<CertName, Compared>>,
    /// How each certificate was last put on each node, as a digest: where, and for whom.
    #[serde(default)]
    pub installed: BTreeMap<NodeName, BTreeMap<CertName, String>>,
    /// What revocation lists said of certificates of ours.
    #[serde(default)]
    pub crls: BTreeMap<Fingerprint, Crl>,
    /// Committed, and the answer was lost: what the node serves may be right, and its intent may still lie there.
    #[serde(default)]
    pub unsettled: BTreeMap<NodeName, BTreeSet<CertName>>,
    /// Switched and kept, and no handshake proves it: reloading again proves no more.
    #[serde(default)]
    pub unproven: BTreeMap<NodeName, BTreeMap<CertName, Unproven>>,
    /// Deliveries that were begun, noted before the first node changes, until their end is noted: what was killed in
    /// between knows from it what a node served before.
    #[serde(default)]
    pub begun: BTreeMap<NodeName, BTreeMap<CertName, Begun>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unproven {
    pub generation: Generation,
    pub since: Timestamp,
    /// What handshakes showed then, in words that are the same for the same.
    pub seen: BTreeSet<String>,
    /// How it was put there and taken up, as a digest.
    #[serde(default)]
    pub install: String,
    pub failure: Finding,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    pub generation: Generation,
    /// The leaf that all handshakes showed, when it was a valid one.
    pub served: Option<Fingerprint>,
    pub at: Timestamp,
}

/// A node said that it holds a newer generation than the one that it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    pub number: u64,
    /// When it said so last.
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renumbered {
    pub fingerprint: Fingerprint,
    pub nodes: BTreeSet<NodeName>,
}

impl PersistedState {
    /// The same, with texts of at most so many characters: they are for people, and nothing is decided by them.
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

/// `deploy --generation`. It carries what is to be known of the certificate: a store that lost it holds it all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Held {
    pub generation: Generation,
    pub fingerprint: Fingerprint,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub since: Timestamp,
    /// The login of whoever said so, when it is known; escaped.
    pub by: Option<String>,
}

/// Everything that a renewal needs was tried, but for the order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Of the certificate that is to be replaced.
    pub fingerprint: Fingerprint,
    pub at: Timestamp,
    /// What would have kept the renewal from its end.
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
    /// What a CA's Retry-After said, clamped.
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
    /// The node went back to what it had: it did not merely fail to answer.
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
    /// The CA was asked again and gave no window: this one still counts, but cannot put a renewal off.
    #[serde(default)]
    pub doubted: bool,
}

/// Questions in a row about one certificate that were not answered with a window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AriFailed {
    pub fingerprint: Fingerprint,
    pub failures: u32,
    pub last: Timestamp,
    /// Not to be asked again before.
    pub ask_again: Timestamp,
}

/// A certificate that a person has given up, or that its CA has revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    pub at: Timestamp,
    /// RFC 5280 section 5.3.1.
    pub reason: u8,
}

/// RFC 5280 section 5.3.1: somebody else may have the key.
pub const KEY_COMPROMISE: u8 = 1;
