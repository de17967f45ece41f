//! One value says what was seen and done; everything that a person or a program reads is a rendering of it.

mod build;
mod disks;
pub mod doctor;
mod exit;
mod inventory;
mod judge;
mod nagios;
mod notes;
mod plan;
mod schema;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod verdict;
mod watched;
mod whose;
mod words;

pub use crate::model::{Exit, worst};
pub use build::{Done, build};
pub use disks::{DiskReport, DiskVerdict, disks_text};
pub use inventory::InventoryReport;
pub use judge::own_clock;
pub use nagios::{State, nagios, nagios_unknown};
pub use plan::plan_text;
pub use schema::json_schema;
pub use table::Style;
pub use text::text;
pub use verdict::Verdict;
pub use watched::{WatchedReport, watched_text};
pub use whose::{Maker, Whose};
pub use words::{SET_THE_CLOCK, clock, hold_end, minute, outcome};

use core::net::SocketAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, DnsName, Fingerprint, Generation, KeyType, NameSet, NodeName};
use crate::model::{Crl, Finding, Held, Over, Seen};
use crate::plan::rollout::Outcome;
use crate::plan::{Basis, PassedOver, Plan};

/// Version of the JSON shape. Under one version no field is renamed or given another meaning; new ones may appear.
pub const SCHEMA: &str = "certd.report/1";

/// What a command saw and did.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Report {
    #[schemars(extend("const" = SCHEMA))]
    pub schema: &'static str,
    pub command: &'static str,
    pub at: Timestamp,
    /// The exit code, and every code that applies.
    pub exit: u8,
    pub exits: Vec<u8>,
    pub certificates: Vec<CertificateReport>,
    /// Nodes of these certificates that `--node` or `--exclude` left out: not looked at, and not counted.
    pub left_out: Vec<NodeName>,
    /// Endpoints that others keep; worst first.
    pub watched: Vec<WatchedReport>,
    /// DNS against the nodes; empty when nobody asked.
    pub inventory: Vec<InventoryReport>,
    /// What is on the nodes' disks, as far as it was looked at and is worth telling; worst first.
    pub disks: Vec<DiskReport>,
    /// What could be done next, what is waited for, and until when.
    pub plan: Plan,
    /// What concerns no single certificate or node.
    pub failures: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct CertificateReport {
    pub name: CertName,
    pub names: NameSet,
    /// What the store holds; `null`: nothing was issued yet.
    pub current: Option<Current>,
    /// A person went back to this generation, and nodes are meant to serve it; `null`: the stored one.
    pub held: Option<HeldReport>,
    /// What this command did about issuing; `null`: nothing.
    pub issuance: Option<Issuance>,
    /// Since when attempts to issue it fail; `null`: the last one did not, or none was made.
    pub failing_since: Option<Timestamp>,
    /// Worst first.
    pub nodes: Vec<NodeReport>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct HeldReport {
    #[serde(flatten)]
    pub held: Held,
    /// When the hold ends by itself, at the latest, if a later certificate is stored by then.
    pub ends: Timestamp,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Current {
    pub generation: Generation,
    pub fingerprint: Fingerprint,
    pub issuer: String,
    pub key_type: KeyType,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// When it is to be renewed, and why then.
    pub renew_at: Timestamp,
    pub basis: Basis,
    /// What its CA's revocation list says; `null`: nobody has asked yet.
    pub crl: Option<Crl>,
    /// A revocation that a person began and nobody ended: since when.
    pub revocation_begun: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Issuance {
    Issued {
        generation: Generation,
        /// Host of the CA.
        ca: String,
        /// CAs that come before it and were not asked.
        passed_over: Vec<PassedOver>,
    },
    Failed {
        failure: Finding,
    },
    /// `--dry-run`: everything but the order was tried.
    Rehearsed,
    /// `--dry-run`, where every CA takes dns-persist-01: no record was made.
    RehearsedStanding,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct NodeReport {
    pub node: NodeName,
    pub paused_until: Option<Timestamp>,
    /// Why, in the operator's words.
    pub paused_reason: Option<String>,
    /// It lacks what is meant for it, and what it serves is good until its window opens.
    pub window_opens: Option<Timestamp>,
    /// One for each address and name asked for.
    pub served: Vec<ServedReport>,
    /// What this command did about delivering; `null`: nothing.
    pub delivery: Option<Delivery>,
    /// Why the generation that it is to serve has not come there by an earlier run; `null`: nothing failed.
    pub last_failure: Option<LastFailure>,
}

/// Failures in a row of delivering one generation to one node.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct LastFailure {
    pub attempts: u32,
    /// Of the first of them; `null`: noted by an earlier version.
    pub since: Option<Timestamp>,
    /// `null`: not before something changes there.
    pub next_try: Option<Timestamp>,
    pub failure: Finding,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    Ended(Outcome),
    /// `--dry-run`: the node was prepared and nothing was changed. `test`: its configuration test's complaint.
    Rehearsed {
        test: Option<String>,
    },
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ServedReport {
    pub address: Option<SocketAddr>,
    pub sni: DnsName,
    pub over: Over,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub fingerprint: Option<Fingerprint>,
    pub not_after: Option<Timestamp>,
    pub issuer: Option<String>,
    /// What it says of its origin, where it is not ours.
    pub whose: Option<Whose>,
}

impl ServedReport {
    fn new(address: Option<SocketAddr>, sni: DnsName, over: Over, seen: &Seen, verdict: Verdict) -> Self {
        let leaf = match seen {
            Seen::Leaf { leaf, .. } => Some(leaf),
            Seen::Silence(_) => None,
        };
        Self {
            address,
            sni,
            over,
            verdict,
            fingerprint: leaf.map(|leaf| leaf.fingerprint),
            not_after: leaf.map(|leaf| leaf.not_after),
            issuer: leaf.map(|leaf| leaf.issuer.clone()),
            whose: None,
        }
    }

    /// What the verdict means and what to do, by the route of the handshake.
    fn words(&self) -> (String, &'static str) {
        match (&self.verdict, self.over) {
            (Verdict::Unreachable { why }, Over::Ssh) => (
                format!("{why}, asked from the node itself"),
                "is the server up, and does it listen at this address too?",
            ),
            (Verdict::Unreachable { .. }, Over::Quic) => {
                (self.verdict.meaning(), "does the server speak HTTP/3, and is the port open for UDP too?")
            }
            (verdict, _) => (verdict.meaning(), verdict.next()),
        }
    }
}
