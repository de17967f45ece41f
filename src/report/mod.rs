//! The report: one value for what was observed and done. All output, for people and programs, is a rendering of it.

mod beside;
mod build;
mod disks;
mod dns_check;
pub mod doctor;
mod exit;
pub(crate) mod failover;
mod failover_status;
pub(crate) mod health;
mod health_text;
pub mod import;
mod inventory;
mod judge;
mod nagios;
mod not_asked;
mod notes;
mod origin;
mod outcome;
mod plan;
mod renewals;
mod schema;
mod severity;
mod table;
mod takeover;
#[cfg(test)]
mod tests;
mod text;
mod this_machine;
mod verdict;
mod watched;
mod words;

pub use crate::model::{Exit, worst};
pub use beside::{BesideReport, beside_text};
pub use build::{Done, build};
pub use disks::{DiskReport, DiskVerdict, disks_text};
pub use dns_check::{DnsCheck, Stranger, dns_check};
pub use failover::WithdrawnReport;
pub use failover_status::{FailoverName, FailoverScene, FailoverStatus, Restored};
pub use health::{HealthReport, HealthVerdict, NodeHealth};
pub use inventory::InventoryReport;
pub use judge::own_clock;
pub use nagios::{State, nagios, nagios_unknown};
pub use origin::{Origin, OriginKind};
pub use outcome::outcome;
pub use plan::plan_text;
pub use schema::json_schema;
pub use table::Style;
pub use takeover::takeover_text;
pub use text::text;
pub use verdict::Verdict;
pub use watched::{WatchedReport, watched_text};
pub use words::{SET_THE_CLOCK, clock, hold_end, minute};

use core::net::SocketAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, DnsName, Fingerprint, Generation, KeyType, NameSet, NodeName};
use crate::config::StartTls;
use crate::model::{Crl, Finding, Handshakes, Held, Over, Seen};
use crate::plan::rollout::Outcome;
use crate::plan::{Basis, PassedOver, Plan};

/// Version of the JSON shape. Within a version no field is renamed or changes its meaning; new fields may appear.
pub const SCHEMA: &str = "certd.report/1";

/// What a command observed and did.
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
    /// Nodes of these certificates that `--node` or `--exclude` left out: neither probed nor counted.
    pub left_out: Vec<NodeName>,
    /// Endpoints that others maintain; worst first.
    pub watched: Vec<WatchedReport>,
    /// DNS compared with the nodes; empty if it was not asked.
    pub inventory: Vec<InventoryReport>,
    /// What nodes answer to requests for the services; absent if that was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthReport>,
    /// Address records that failover has taken out of DNS; absent if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<WithdrawnReport>,
    /// Findings on the nodes' disks, as far as they were looked at; worst first.
    pub disks: Vec<DiskReport>,
    /// The next steps, what is waited for, and until when.
    pub plan: Plan,
    /// Findings that concern no single certificate or node.
    pub failures: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct CertificateReport {
    pub name: CertName,
    pub names: NameSet,
    /// The stored certificate; `null`: nothing was issued yet.
    pub current: Option<Current>,
    /// The held generation, which nodes should serve instead of the stored one; `null`: no hold.
    pub held: Option<HeldReport>,
    /// The issuance by this command; `null`: none.
    pub issuance: Option<Issuance>,
    /// Since when attempts to issue it fail; `null`: the last one succeeded, or none was made.
    pub failing_since: Option<Timestamp>,
    /// Worst first.
    pub nodes: Vec<NodeReport>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct HeldReport {
    #[serde(flatten)]
    pub held: Held,
    /// When the hold ends at the latest, if a newer certificate is stored by then.
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
    /// When it is due for renewal, and by which rule.
    pub renew_at: Timestamp,
    pub basis: Basis,
    /// The entry in its CA's revocation list; `null`: not fetched yet.
    pub crl: Option<Crl>,
    /// Since when a revocation has been unfinished.
    pub revocation_begun: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Issuance {
    Issued {
        generation: Generation,
        /// Host of the CA.
        ca: String,
        /// CAs with a higher priority that were not asked.
        passed_over: Vec<PassedOver>,
    },
    Failed {
        failure: Finding,
    },
    /// `--dry-run`: everything except the order was tested.
    Rehearsed,
    /// `--dry-run` with dns-persist-01 at every CA: no record was created.
    RehearsedStanding,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct NodeReport {
    pub node: NodeName,
    pub paused_until: Option<Timestamp>,
    /// Why, in the operator's words.
    pub paused_reason: Option<String>,
    /// The node lacks its certificate, and the one it serves is valid until this window opens.
    pub window_opens: Option<Timestamp>,
    /// One for each address and name asked for.
    pub served: Vec<ServedReport>,
    /// Certificates with keys of the other algorithm, which the server has for the same names, and which nobody
    /// configured; worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<BesideReport>,
    /// The delivery by this command; `null`: none.
    pub delivery: Option<Delivery>,
    /// Why an earlier run did not deliver the desired generation; `null`: nothing failed.
    pub last_failure: Option<LastFailure>,
}

/// Failures in a row of delivering one generation to one node.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct LastFailure {
    pub attempts: u32,
    /// The first of them; `null`: recorded by an older version of certd.
    pub since: Option<Timestamp>,
    /// `null`: not before something changes on the node.
    pub next_try: Option<Timestamp>,
    pub failure: Finding,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    Ended(Outcome),
    /// `--dry-run`: the node was prepared, and nothing was changed. `test`: the error of its configuration test.
    Rehearsed {
        test: Option<String>,
    },
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct ServedReport {
    pub address: Option<SocketAddr>,
    pub sni: DnsName,
    pub over: Over,
    /// Over QUIC: how many were made, and how many of them answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshakes: Option<Handshakes>,
    /// The protocol whose dialogue led to TLS; `null`: TLS from the first byte.
    pub starttls: Option<StartTls>,
    #[serde(flatten)]
    pub verdict: Verdict,
    pub fingerprint: Option<Fingerprint>,
    pub not_after: Option<Timestamp>,
    pub issuer: Option<String>,
    /// The origin of a certificate that is not ours.
    #[serde(rename = "whose")]
    pub origin: Option<Origin>,
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
            handshakes: None,
            starttls: None,
            verdict,
            fingerprint: leaf.map(|leaf| leaf.fingerprint),
            not_after: leaf.map(|leaf| leaf.not_after),
            issuer: leaf.map(|leaf| leaf.issuer.clone()),
            origin: None,
        }
    }

    /// What is worth knowing of a handshake without a problem, or beside it.
    pub(super) fn note(&self) -> Option<String> {
        let at = self.over.at(self.address?);
        let handshakes = self.handshakes?;
        let unanswered = handshakes.unanswered();
        let why = "old workers hold them until long requests end; `worker_shutdown_timeout` bounds it (nginx)";
        if unanswered > 0 && (handshakes.answered > 0 || handshakes.before) {
            return Some(format!("{at}: {unanswered} of {} had no answer: {why}", handshakes.asked));
        }
        let offers = self.verdict == Verdict::NoQuic { required: false };
        offers.then(|| format!("{at}: it offers HTTP/3, and none of {} handshakes had an answer", handshakes.asked))
    }

    /// The address, and how it was asked.
    fn at(&self) -> String {
        let address = self.address.map_or_else(|| "-".to_owned(), |address| self.over.at(address));
        match self.starttls {
            Some(protocol) => format!("{address} {}", protocol.as_str()),
            None => address,
        }
    }

    /// Meaning and advice of the verdict, depending on the route of the handshake.
    fn words(&self) -> (String, &'static str) {
        match (&self.verdict, self.over) {
            (Verdict::Unreachable { why }, Over::Ssh) => (
                format!("{why}, probed from the node itself"),
                "is the server up, and does it listen at this address too?",
            ),
            (Verdict::Unreachable { .. }, Over::Quic) => {
                (self.verdict.meaning(), "does the server speak HTTP/3, and is the port open for UDP too?")
            }
            // As a server that waits for TLS says nothing to who waits for its greeting.
            (Verdict::Unreachable { .. }, _) if self.starttls.is_some() => (
                self.verdict.meaning(),
                "is the server up, and the port open to this machine? (One that speaks TLS from the first byte needs no \
                 `starttls`.)",
            ),
            (verdict, _) => (verdict.meaning(), verdict.next()),
        }
    }
}
