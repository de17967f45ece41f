//! From what was observed and done to the one report.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cert::{CertName, NodeName};
use crate::config::{Certificate, Config};
use crate::observed::{Failure, Observed, Served, Stored};
use crate::plan::{Plan, Wait, renewal};

use super::{
    CertificateReport, Current, Delivery, Issuance, NodeReport, Report, SCHEMA, ServedReport, Verdict, watched,
};

/// What a pass did, by certificate and node. A command that only looks leaves it empty.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub issued: BTreeMap<CertName, Issuance>,
    pub delivered: BTreeMap<(NodeName, CertName), Delivery>,
    /// What concerns no single certificate or node.
    pub failures: Vec<Failure>,
}

/// `ran`: a pass was made, and not merely a look.
pub fn build(
    command: &'static str,
    config: &Config,
    observed: &Observed,
    plan: Plan,
    done: Done,
    ran: bool,
    now: Timestamp,
) -> Report {
    let doubted = plan.waits.iter().any(|wait| matches!(wait, Wait::Clock { .. }));
    let asked = |certificate: &&Certificate| observed.asked.wants(&certificate.name);
    let mut report = Report {
        schema: SCHEMA,
        command,
        at: now,
        exit: 0,
        exits: Vec::new(),
        certificates: config
            .certificates
            .iter()
            .filter(asked)
            .map(|certificate| of_certificate(config, certificate, observed, &done, now))
            .map(|certificate| if doubted { doubt(certificate) } else { certificate })
            .collect(),
        watched: watched::reports(&observed.watched, doubted, now),
        plan,
        failures: done.failures,
    };
    report.conclude(ran);
    report
}

/// By a clock that cannot be right nothing is called expired.
fn doubt(mut certificate: CertificateReport) -> CertificateReport {
    for served in certificate.nodes.iter_mut().flat_map(|node| &mut node.served) {
        served.verdict = served.verdict.clone().doubted();
    }
    certificate.nodes.sort_by_key(NodeReport::rank);
    certificate
}

fn of_certificate(
    config: &Config,
    certificate: &Certificate,
    observed: &Observed,
    done: &Done,
    now: Timestamp,
) -> CertificateReport {
    let none = Stored::default();
    let stored = observed.store.get(&certificate.name).unwrap_or(&none);
    let current = stored.current.as_ref().map(|kept| {
        let ari = renewal::ari_of(observed, &certificate.name, &kept.leaf);
        let (renew_at, basis) = renewal::due(&kept.leaf, ari, observed.tried.seed);
        Current {
            generation: kept.generation.clone(),
            fingerprint: kept.leaf.fingerprint,
            issuer: kept.leaf.issuer.clone(),
            key_type: kept.meta.key_type,
            not_before: kept.leaf.not_before,
            not_after: kept.leaf.not_after,
            renew_at,
            basis,
        }
    });
    let wanted = &observed.asked.nodes;
    let mut nodes: Vec<NodeReport> = certificate
        .nodes
        .iter()
        .filter(|node| wanted.is_empty() || wanted.contains(*node))
        .map(|node| of_node(config, certificate, node, stored, observed, done, now))
        .collect();
    nodes.sort_by_key(NodeReport::rank);
    CertificateReport {
        name: certificate.name.clone(),
        names: certificate.names.clone(),
        current,
        issuance: done.issued.get(&certificate.name).cloned(),
        nodes,
    }
}

fn of_node(
    config: &Config,
    certificate: &Certificate,
    node: &NodeName,
    stored: &Stored,
    observed: &Observed,
    done: &Done,
    now: Timestamp,
) -> NodeReport {
    let ari = stored.current.as_ref().and_then(|kept| renewal::ari_of(observed, &certificate.name, &kept.leaf));
    let of_this = |served: &&Served| &served.node == node && served.certificate == certificate.name;
    let mut served: Vec<ServedReport> = observed
        .served
        .iter()
        .filter(of_this)
        .map(|served| {
            let verdict = Verdict::of(&served.seen, &served.sni, stored, ari, observed.tried.seed, now);
            ServedReport::new(served.address, served.sni.clone(), served.over, &served.seen, verdict)
        })
        .collect();
    served.sort_by_key(|served| served.verdict.exit().rank());
    NodeReport {
        node: node.clone(),
        paused_until: config.node(node).and_then(|node| node.paused_until).filter(|until| *until > now),
        served,
        delivery: done.delivered.get(&(node.clone(), certificate.name.clone())).cloned(),
    }
}
