//! What nodes answer to requests for a service, by certificate.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, DnsName, NodeName};
use crate::config::{Certificate, Config};
use crate::model::{Blame, Code, Finding, Health, HealthAnswer, Observed, Severity};
use crate::plan::health::{Standing, judge_at};
use crate::text::list;

use super::severity::{Shown, with_severity};
use super::this_machine::THIS_MACHINE;
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
    /// This machine has no route to it, and the node has others, by which it is judged.
    #[serde(skip)]
    pub(super) is_passed_over: bool,
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
            (Standing::Failing, HealthAnswer::NoAnswer { .. } | HealthAnswer::NoResponse { .. }) => Self::NoAnswer,
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
    let judged = judge_at(places.iter().copied(), now);
    let backend = judged.backend.map(|since| of_backend(&certificate.name, &places, since));
    let node = |(health, standing): (&&Health, Standing)| {
        let good = config.node(&health.place.node).and_then(|node| config.health(certificate, node));
        let good = good.map(|health| wanted(&health.status)).unwrap_or_default();
        let paused = config.paused_until(&health.place.node, now).is_some();
        NodeHealth { is_passed_over: is_passed_over(health, &places), ..of_node(health, standing, &good, paused, now) }
    };
    let name = places.first()?.name.clone();
    let mut nodes: Vec<NodeHealth> = places.iter().zip(judged.standings).map(node).collect();
    nodes.sort_by_key(|node| (node.exit().rank(), node.verdict));
    let findings = backend.into_iter().collect();
    Some(HealthReport { certificate: certificate.name.clone(), name, backend_since: judged.backend, findings, nodes })
}

fn of_node(health: &Health, standing: Standing, good: &str, paused: bool, now: Timestamp) -> NodeHealth {
    let verdict = HealthVerdict::of(standing, &health.answer);
    // What was asked long ago is no news: the service starts, or says itself what keeps it from asking.
    let is_note = paused || (verdict == HealthVerdict::Unknown && health.answer.is_well().is_some());
    let finding = finding(health, verdict, good).map(|finding| match is_note {
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
        is_passed_over: false,
    }
}

fn is_passed_over(health: &Health, places: &[&Health]) -> bool {
    let is_routeless = |health: &Health| matches!(health.answer, HealthAnswer::NoRoute { .. });
    is_routeless(health) && places.iter().any(|other| other.place.node == health.place.node && !is_routeless(other))
}

/// Where no node at all takes a connection: one finding in the place of theirs.
pub(super) fn cut_off(reports: &mut [HealthReport]) -> Option<Finding> {
    let known = || reports.iter().flat_map(|it| &it.nodes).filter(|node| node.verdict != HealthVerdict::Unknown);
    let nodes: BTreeSet<&NodeName> = known().map(|node| &node.node).collect();
    let is_hurt = known().any(|node| node.exit() != super::Exit::Ok);
    // What a single node does not take is its own.
    if nodes.len() < 2 || !is_hurt || known().any(|node| node.verdict != HealthVerdict::NoAnswer) {
        return None;
    }
    let what = format!(
        "none of the {} nodes whose health is checked takes a connection from it: {}; it may be what is cut off",
        nodes.len(),
        list::first(MOST_LISTED, &nodes)
    );
    let next = "look at this machine's own network, then at a node from elsewhere (`curl`): are visitors served?";
    let finding = Finding::for_a_person(Code::HealthNoNode, THIS_MACHINE, what, next);
    for node in reports.iter_mut().flat_map(|it| &mut it.nodes) {
        node.findings.retain(|finding| finding.code != Code::HealthNoAnswer);
    }
    Some(finding)
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
        HealthVerdict::Unknown if matches!(health.answer, HealthAnswer::NoRoute { .. }) => return None,
        HealthVerdict::Unknown if health.answer.is_well().is_some() => {
            (Code::HealthUnknown, "does `certd run` run, and what does its journal say?")
        }
        HealthVerdict::NoAnswer if matches!(health.answer, HealthAnswer::NoResponse { .. }) => (
            Code::HealthNoAnswer,
            "the server is there: see its log on the node, and whether what stands behind it answers the node in time",
        ),
        HealthVerdict::NoAnswer => (Code::HealthNoAnswer, "is the server up, and the port open to this machine?"),
        HealthVerdict::Tls => (Code::HealthTls, "see what the node serves: `certd check`"),
        HealthVerdict::Status => (Code::HealthStatus, "see the server's log on the node, and what stands behind it"),
        HealthVerdict::Body => (Code::HealthBody, "see what the node answers there; is it the service of this name?"),
        HealthVerdict::Unknown => (Code::HealthUnknown, "give this machine a way to the node, or see the cause"),
    };
    let what = match (verdict, health.answer.is_well()) {
        (HealthVerdict::Unknown, Some(_)) => {
            format!("its health is not known: it was last asked {}", words::minute(health.at))
        }
        _ => words(&health.answer, good),
    };
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
        HealthAnswer::NoAnswer { why } | HealthAnswer::NoResponse { why } | HealthAnswer::NotHttp { why } => {
            why.clone()
        }
        HealthAnswer::Tls { why } => format!("no request was sent: {why}"),
        HealthAnswer::Status { status, location, .. } => {
            let to = location.as_ref().map(|to| format!(", leads to {to:?}")).unwrap_or_default();
            format!("answers {status}{to}, and not {good}")
        }
        HealthAnswer::Body { status, .. } => format!("answers {status}, and the body lacks the text"),
        HealthAnswer::Unknown { why } | HealthAnswer::NoRoute { why } => format!("its health is not known: {why}"),
    }
}

/// `200 or 401`.
pub(crate) fn wanted(status: &BTreeSet<u16>) -> String {
    let codes: Vec<String> = status.iter().take(MOST_LISTED).map(u16::to_string).collect();
    codes.join(" or ")
}

/// That the backend answers no node.
pub(crate) fn of_backend(certificate: &CertName, places: &[&Health], since: Timestamp) -> Finding {
    let blaming = || places.iter().filter(|place| place.answer.blame() != Blame::Nobody);
    let codes: BTreeSet<u16> = blaming().filter_map(|place| place.answer.status()).collect();
    let is_silent = blaming().any(|place| matches!(place.answer, HealthAnswer::NoResponse { .. }));
    let nodes = places.iter().filter(|place| place.answer.blame() != Blame::Nobody || place.backend_since.is_some());
    let nodes: BTreeSet<&NodeName> = nodes.map(|place| &place.place.node).collect();
    let says = match (codes.is_empty(), is_silent) {
        (false, false) => format!("every node that answers says {}", wanted(&codes)),
        (false, true) => format!("every node that answers says {} or gives no response", wanted(&codes)),
        (true, true) => "every node that answers takes the request and gives no response".to_owned(),
        // Each has another answer just now.
        (true, false) => "every node that answered said so, and none is well since".to_owned(),
    };
    let what = format!(
        "{says}, so that it is the backend that does not: {} (since {})",
        list::first(MOST_LISTED, nodes),
        words::minute(since)
    );
    let next = "see the backend, and the way to it from the nodes; no node needs a change";
    Finding::for_a_person(Code::HealthBackend, certificate, what, next)
}

#[cfg(test)]
mod tests;
