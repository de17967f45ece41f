//! What nodes answer to requests for a service, by certificate.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, DnsName, NodeName};
use crate::config::{Certificate, Config};
use crate::model::{Code, Finding, Health, HealthAnswer, Observed, Severity};
use crate::plan::health::{Standing, judge};
use crate::text::list;

use super::severity::{Shown, with_severity};
use super::words;

/// Status codes listed in a sentence.
const MOST_LISTED: usize = 5;

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct HealthReport {
    pub certificate: CertName,
    /// SNI and Host of the requests.
    pub name: DnsName,
    /// Since when no node gets an answer from the backend; `null`: some do, or none answers at all.
    pub backend_since: Option<Timestamp>,
    /// What concerns no single node.
    #[serde(serialize_with = "with_severity")]
    #[schemars(with = "Vec<Shown<'static>>")]
    pub findings: Vec<Finding>,
    /// One for each address, worst first.
    pub nodes: Vec<NodeHealth>,
}

/// One address of a node.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct NodeHealth {
    pub node: NodeName,
    pub address: Option<SocketAddr>,
    #[serde(rename = "health")]
    pub verdict: HealthVerdict,
    /// The first of the answers that led to it.
    pub since: Timestamp,
    /// The last answer: when, the status, and the protocol; `null`: there was no response.
    pub at: Timestamp,
    pub status: Option<u16>,
    pub http: Option<String>,
    /// How long the last response took, and the median and the 95th percentile of the last hour.
    pub took_ms: Option<u32>,
    pub p50_ms: Option<u32>,
    pub p95_ms: Option<u32>,
    /// Responses within the last hour.
    pub responses: u32,
    #[serde(serialize_with = "with_severity")]
    #[schemars(with = "Vec<Shown<'static>>")]
    pub findings: Vec<Finding>,
}

/// The last answer and those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthVerdict {
    /// No connection, or no whole response.
    NoAnswer,
    /// No TLS, or a certificate that visitors refuse.
    Tls,
    /// Another status, or no HTTP.
    Status,
    /// The body lacks the text.
    Body,
    /// The backend does not answer, as every node says that answers at all; no node is at fault.
    Backend,
    /// It cannot be found from here.
    Unknown,
    /// Good answers again, and not enough of them yet.
    Rising,
    /// Bad answers, and not enough of them yet to count.
    Falling,
    Ok,
}

impl HealthVerdict {
    pub(crate) fn of(standing: Standing, answer: &HealthAnswer) -> Self {
        match (standing, answer) {
            (Standing::Well, _) => Self::Ok,
            (Standing::Backend, _) => Self::Backend,
            (Standing::Falling(_), _) => Self::Falling,
            (Standing::Rising(_), _) => Self::Rising,
            (Standing::Failing, HealthAnswer::NoAnswer { .. }) => Self::NoAnswer,
            (Standing::Failing, HealthAnswer::Tls { .. }) => Self::Tls,
            (Standing::Failing, HealthAnswer::Status { .. } | HealthAnswer::NotHttp { .. }) => Self::Status,
            (Standing::Failing, HealthAnswer::Body { .. }) => Self::Body,
            // A good answer, or none that says anything, is no failure.
            (Standing::Unknown | Standing::Failing, _) => Self::Unknown,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::NoAnswer => "no-answer",
            Self::Tls => "tls",
            Self::Status => "status",
            Self::Body => "body",
            Self::Backend => "backend",
            Self::Unknown => "unknown",
            Self::Rising => "rising",
            Self::Falling => "falling",
            Self::Ok => "ok",
        }
    }
}

impl HealthReport {
    /// All of them, of the service and of its nodes.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().chain(self.nodes.iter().flat_map(|node| &node.findings))
    }
}

impl NodeHealth {
    pub(super) fn exit(&self) -> super::Exit {
        self.findings.first().map_or(super::Exit::Ok, Finding::exit)
    }

    /// The worst of what is to be said: a node that the backend lets down is not well, and not at fault.
    pub(super) fn is_well(&self) -> bool {
        self.findings.is_empty() && self.verdict == HealthVerdict::Ok
    }
}

/// Of the selected certificates, in the configuration's order.
pub(super) fn reports(config: &Config, observed: &Observed, now: Timestamp) -> Vec<HealthReport> {
    if observed.health.is_empty() {
        return Vec::new();
    }
    let asked = config.certificates.iter().filter(|certificate| observed.asked.wants(&certificate.name));
    asked.filter_map(|certificate| report(config, certificate, observed, now)).collect()
}

fn report(config: &Config, certificate: &Certificate, observed: &Observed, now: Timestamp) -> Option<HealthReport> {
    // A place that the configuration no longer has may still be remembered.
    let nodes: BTreeSet<&NodeName> = certificate.nodes.iter().collect();
    let is_own = |health: &&Health| health.place.certificate == certificate.name && nodes.contains(&health.place.node);
    let places: Vec<&Health> = observed.health.iter().filter(is_own).collect();
    let judged = judge(places.iter().copied());
    let backend = judged.backend.map(|since| of_backend(&certificate.name, &places, since));
    let node = |(health, standing): (&&Health, Standing)| {
        let good = config.node(&health.place.node).and_then(|node| config.health(certificate, node));
        let good = good.map(|health| wanted(&health.status)).unwrap_or_default();
        let paused = config.paused_until(&health.place.node, now).is_some();
        of_node(health, standing, &good, paused, now)
    };
    let name = places.first()?.name.clone();
    let mut nodes: Vec<NodeHealth> = places.iter().zip(judged.standings).map(node).collect();
    nodes.sort_by_key(|node| (node.exit().rank(), node.verdict));
    let findings = backend.into_iter().collect();
    Some(HealthReport { certificate: certificate.name.clone(), name, backend_since: judged.backend, findings, nodes })
}

fn of_node(health: &Health, standing: Standing, good: &str, paused: bool, now: Timestamp) -> NodeHealth {
    let verdict = HealthVerdict::of(standing, &health.answer);
    let finding = finding(health, verdict, good).map(|finding| match paused {
        true => finding.of_severity(Severity::Note),
        false => finding,
    });
    let (p50_ms, p95_ms) = (health.times.within(50, now), health.times.within(95, now));
    NodeHealth {
        node: health.place.node.clone(),
        address: health.place.address,
        verdict,
        since: since(health, standing),
        at: health.at,
        status: health.answer.status(),
        http: health.answer.http().map(str::to_owned),
        took_ms: health.took_ms,
        p50_ms,
        p95_ms,
        responses: health.times.count(now),
        findings: finding.into_iter().collect(),
    }
}

fn since(health: &Health, standing: Standing) -> Timestamp {
    match standing {
        Standing::Falling(_) | Standing::Rising(_) => health.against_since.unwrap_or(health.since),
        Standing::Unknown => health.at,
        Standing::Well | Standing::Failing | Standing::Backend => health.since,
    }
}

/// What is wrong with a node, and whose turn it is. `good`: the status codes that were wanted.
pub(crate) fn finding(health: &Health, verdict: HealthVerdict, good: &str) -> Option<Finding> {
    let (code, next) = match verdict {
        HealthVerdict::Ok | HealthVerdict::Backend | HealthVerdict::Falling | HealthVerdict::Rising => return None,
        HealthVerdict::NoAnswer => (Code::HealthNoAnswer, "is the server up, and the port open to this machine?"),
        HealthVerdict::Tls => (Code::HealthTls, "see what the node serves: `certd check`"),
        HealthVerdict::Status => (Code::HealthStatus, "see the server's log on the node, and what stands behind it"),
        HealthVerdict::Body => (Code::HealthBody, "see what the node answers there; is it the service of this name?"),
        HealthVerdict::Unknown => (Code::HealthUnknown, "give this machine a way to the node, or see the cause"),
    };
    let what = words(&health.answer, good);
    let what = match health.place.address {
        Some(address) => format!("{address}: {what}"),
        None => what,
    };
    Some(Finding::for_a_person(code, &health.place.node, what, next))
}

/// An answer in words.
pub(crate) fn words(answer: &HealthAnswer, good: &str) -> String {
    match answer {
        HealthAnswer::Well { status, .. } => format!("answers {status}"),
        HealthAnswer::NoAnswer { why } | HealthAnswer::NotHttp { why } => why.clone(),
        HealthAnswer::Tls { why } => format!("no request was sent: {why}"),
        HealthAnswer::Status { status, location, .. } => {
            let to = location.as_ref().map(|to| format!(", leads to {to:?}")).unwrap_or_default();
            format!("answers {status}{to}, and not {good}")
        }
        HealthAnswer::Body { status, .. } => format!("answers {status}, and the body lacks the text"),
        HealthAnswer::Unknown { why } => format!("its health is not known: {why}"),
    }
}

/// `200 or 401`.
pub(crate) fn wanted(status: &BTreeSet<u16>) -> String {
    let codes: Vec<String> = status.iter().take(MOST_LISTED).map(u16::to_string).collect();
    codes.join(" or ")
}

/// That the backend answers no node.
pub(crate) fn of_backend(certificate: &CertName, places: &[&Health], since: Timestamp) -> Finding {
    let blaming = places.iter().filter(|place| place.answer.blames_the_backend());
    let codes: BTreeSet<u16> = blaming.clone().filter_map(|place| place.answer.status()).collect();
    let nodes: BTreeSet<&NodeName> = blaming.map(|place| &place.place.node).collect();
    let what = format!(
        "every node that answers says {}, so that it is the backend that does not: {} (since {})",
        wanted(&codes),
        list::first(MOST_LISTED, nodes),
        words::minute(since)
    );
    let next = "see the backend, and the way to it from the nodes; no node needs a change";
    Finding::for_a_person(Code::HealthBackend, certificate, what, next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::NOW;
    use crate::config::parse;
    use crate::model::HealthPlace;
    use crate::plan::health::{AT_ONCE, Answered, after};
    use crate::report::Style;
    use crate::report::health_text::text;

    const CONFIG: &str = r#"
[acme]
directory = "letsencrypt"
[dns]
provider = "exec"
command = ["/bin/true"]
[install]
fullchain = "/{name}.pem"
key = "/{name}.key"
test = ["true"]
reload = ["true"]
[health]
status = [200, 401]
[[certificate]]
domains = ["a.example.com"]
nodes = ["*"]
[[node]]
name = "上海"
address = "192.0.2.1"
[[node]]
name = "広州"
address = "192.0.2.2"
[[node]]
name = "shenzhen"
address = "192.0.2.3"
paused_until = "2100-01-01"
"#;

    fn reports_of(answers: [HealthAnswer; 3]) -> Vec<HealthReport> {
        let config = parse(CONFIG).unwrap();
        let health = |(node, answer): (&crate::config::Node, HealthAnswer)| {
            let address = Some(format!("{}:443", node.addresses[0]).parse().unwrap());
            let place =
                HealthPlace { certificate: config.certificates[0].name.clone(), node: node.name.clone(), address };
            let name = config.certificates[0].sni[0].clone();
            after(None, Answered { place, name, answer, took_ms: Some(12), at: NOW }, AT_ONCE)
        };
        let observed =
            Observed { health: config.nodes.iter().zip(answers).map(health).collect(), ..Observed::default() };
        reports(&config, &observed, NOW)
    }

    fn status(status: u16) -> HealthAnswer {
        let http = "HTTP/2".to_owned();
        match status {
            200 | 401 => HealthAnswer::Well { status, http },
            _ => HealthAnswer::Status { status, http, location: None },
        }
    }

    fn golden(name: &str, text: &str) {
        insta::with_settings!({ snapshot_path => "testdata", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, text);
        });
    }

    fn exits(reports: &[HealthReport]) -> Vec<u8> {
        reports.iter().flat_map(HealthReport::findings).map(|finding| finding.exit().code()).collect()
    }

    #[test]
    fn a_node_that_fails_hurts_its_visitors_unless_it_is_paused() {
        let dead = || HealthAnswer::NoAnswer { why: "connection refused".to_owned() };
        let reports = reports_of([status(401), status(500), dead()]);
        assert_eq!(exits(&reports), [4, 0]);
        golden("health", &text(&reports, Style::default()));
    }

    #[test]
    fn a_backend_that_is_down_is_one_finding_of_no_node() {
        let reports = reports_of([status(502), status(502), status(504)]);
        assert_eq!(exits(&reports), [4]);
        assert_eq!(reports[0].backend_since, Some(NOW));
        golden("health-backend", &text(&reports, Style::default()));
        assert!(exits(&reports_of([status(200), status(200), status(401)])).is_empty());
    }

    #[test]
    fn what_cannot_be_found_from_here_is_a_warning() {
        let unknown = HealthAnswer::Unknown { why: "no way through SSH: no login".to_owned() };
        let reports = reports_of([status(200), unknown, status(200)]);
        assert_eq!(exits(&reports), [3]);
        assert_eq!(
            reports[0].nodes[0].findings[0].what,
            "192.0.2.2:443: its health is not known: no way through SSH: no login"
        );
    }
}
