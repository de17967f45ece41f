//! Builds the report from what was observed and done.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cert::{CertName, Fingerprint, NodeName};
use crate::config::{Certificate, Config};
use crate::model::{Attempts, Beside, Code, Disk, Drift, Finding, NodeClock, Observed, Seen, Served, Stored};
use crate::plan::{DeliveryWait, Plan, ServedBy, Wait, crls, hold, rehearsal, renewal};

use super::words::{day, minute};
use super::{
    CertificateReport, Current, Delivery, HeldReport, Issuance, LastFailure, NodeReport, Origin, Report, SCHEMA,
    ServedReport, Verdict, WithdrawnReport, beside, disks, failover, health, inventory, judge, this_machine, watched,
};

/// What a pass did, by certificate and node. Empty for read-only commands.
#[derive(Clone, Debug, Default)]
pub struct Done {
    pub issued: BTreeMap<CertName, Issuance>,
    pub delivered: BTreeMap<(NodeName, CertName), Delivery>,
    /// Disks that differed although the node served the right certificate, and got a delivery.
    pub mended: BTreeMap<(NodeName, CertName), Drift>,
    /// Unfinished revocations, and when they began.
    pub revocations: BTreeMap<CertName, Timestamp>,
    /// Clock readings of nodes.
    pub clocks: BTreeMap<NodeName, NodeClock>,
    /// Findings that concern no single certificate or node.
    pub failures: Vec<Finding>,
}

/// `ran`: the command made a pass, not only a look.
pub fn build(
    command: &'static str,
    config: &Config,
    observed: &Observed,
    plan: Plan,
    done: Done,
    ran: bool,
    now: Timestamp,
) -> Report {
    let pairs = Pairs::of(observed, &plan);
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
            .map(|certificate| of_certificate(config, certificate, &pairs, &done, now))
            .map(|certificate| if doubted { doubt(certificate) } else { certificate })
            .collect(),
        left_out: left_out(config, observed),
        watched: watched::reports(&observed.watched, doubted, now),
        disks: disks::reports(config, observed, &done.mended, !ran, now),
        inventory: inventory::reports(config, observed, now),
        health: health::reports(config, observed, now),
        withdrawn: observed.failover.withdrawn.iter().map(WithdrawnReport::of).collect(),
        plan,
        failures: done.failures,
    };
    report.failures.extend(this_machine::findings(observed));
    report.failures.extend(health::cut_off(&mut report.health));
    report.failures.extend(clocks(observed, &done.clocks));
    report.failures.extend(failover::of_look(config, observed, now));
    report.failures.extend(rehearsed(config, observed, now));
    report.conclude(ran);
    report
}

/// Findings about node clocks, except where a look at the disk has read the clock too and reports it itself.
fn clocks(observed: &Observed, readings: &BTreeMap<NodeName, NodeClock>) -> Vec<Finding> {
    let read = |disk: &Disk| disk.looked.as_ref().is_ok_and(|looked| looked.clock.is_some());
    let looked: BTreeSet<&NodeName> = observed.disks.iter().filter(|disk| read(disk)).map(|disk| &disk.node).collect();
    let unseen = readings.iter().filter(|(node, _)| !looked.contains(node));
    unseen.filter_map(|(node, clocks)| judge::clock_of(node, *clocks)).collect()
}

/// What would block the next renewal, as the last rehearsal found; reported until the renewal is due.
fn rehearsed(config: &Config, observed: &Observed, now: Timestamp) -> Vec<Finding> {
    let asked = config.certificates.iter().filter(|certificate| observed.asked.wants(&certificate.name));
    let of = |certificate: &Certificate| {
        let name = &certificate.name;
        let kept = observed.store.get(name)?.current.as_ref()?;
        let rehearsal = rehearsal::last(observed, name, kept)?;
        let (renew_at, _) = renewal::due(&kept.leaf, renewal::ari_of(observed, name, &kept.leaf), observed.state.seed);
        let finding = |failure: &Finding| {
            let (day, why, rehearsed) = (day(renew_at), failure.named(), minute(rehearsal.at));
            let what = format!("the renewal of {name} on {day} would fail: {why} (rehearsed {rehearsed})");
            let next = format!("{}; then run `certd renew --dry-run` again", failure.next);
            Finding::new(Code::Rehearsal, &failure.object, what, next, failure.advice)
        };
        (now < renew_at).then(|| rehearsal.failures.iter().map(finding).collect::<Vec<_>>())
    };
    asked.filter_map(of).flatten().collect()
}

/// With an implausible clock, nothing is called expired.
fn doubt(mut certificate: CertificateReport) -> CertificateReport {
    for served in certificate.nodes.iter_mut().flat_map(|node| &mut node.served) {
        served.verdict = served.verdict.clone().doubted();
    }
    for beside in certificate.nodes.iter_mut().flat_map(|node| &mut node.beside) {
        beside.served.verdict = beside.served.verdict.clone().doubted();
    }
    certificate.nodes.sort_by_key(NodeReport::rank);
    certificate
}

fn of_certificate(
    config: &Config,
    certificate: &Certificate,
    pairs: &Pairs<'_>,
    done: &Done,
    now: Timestamp,
) -> CertificateReport {
    let observed = pairs.observed;
    let none = Stored::default();
    let stored = observed.store.get(&certificate.name).unwrap_or(&none);
    let current = stored.current.as_ref().map(|kept| {
        let ari = renewal::ari_of(observed, &certificate.name, &kept.leaf);
        let (renew_at, basis) = renewal::due(&kept.leaf, ari, observed.state.seed);
        Current {
            generation: kept.generation.clone(),
            fingerprint: kept.leaf.fingerprint,
            issuer: kept.leaf.issuer.clone(),
            key_type: kept.meta.key_type,
            not_before: kept.leaf.not_before,
            not_after: kept.leaf.not_after,
            renew_at,
            basis,
            crl: observed.state.crls.get(&kept.leaf.fingerprint).cloned(),
            revocation_begun: done.revocations.get(&certificate.name).copied(),
        }
    });
    let held = hold::held(&certificate.name, stored, &observed.state, now);
    let mut nodes: Vec<NodeReport> = certificate
        .nodes
        .iter()
        .filter(|node| observed.asked.wants_node(node))
        .map(|node| of_node(config, certificate, node, stored, pairs, done, now))
        .collect();
    nodes.sort_by_key(NodeReport::rank);
    CertificateReport {
        name: certificate.name.clone(),
        names: certificate.names.clone(),
        current,
        held: held.map(|held| HeldReport { held: held.clone(), ends: hold::ends(held) }),
        issuance: done.issued.get(&certificate.name).cloned(),
        failing_since: observed.state.issuance.get(&certificate.name).and_then(failing_since),
        nodes,
    }
}

fn left_out(config: &Config, observed: &Observed) -> Vec<NodeName> {
    let certificates = config.certificates.iter().filter(|certificate| observed.asked.wants(&certificate.name));
    let nodes_of_these: BTreeSet<&NodeName> = certificates.flat_map(|certificate| &certificate.nodes).collect();
    let nodes = config.nodes.iter().map(|node| &node.name);
    nodes.filter(|node| nodes_of_these.contains(node) && !observed.asked.wants_node(node)).cloned().collect()
}

/// The first failure at the CA that has failed longest.
fn failing_since(by_ca: &BTreeMap<String, Attempts>) -> Option<Timestamp> {
    by_ca.values().filter_map(|attempts| attempts.first).min()
}

/// The failure that keeps a node waiting, from the plan; since when, from the persisted state.
fn last_failure(
    reason: Option<&DeliveryWait>,
    observed: &Observed,
    certificate: &CertName,
    node: &NodeName,
) -> Option<LastFailure> {
    let attempts = observed.state.delivery.get(node).and_then(|of_node| of_node.get(certificate));
    let since = attempts.and_then(|attempts| attempts.first);
    match (reason, attempts) {
        (Some(DeliveryWait::BackOff { until, failures, failure }), _) => {
            Some(LastFailure { attempts: *failures, since, next_try: Some(*until), failure: failure.as_ref().clone() })
        }
        (Some(DeliveryWait::Unproven { since, failure }), _) => {
            Some(LastFailure { attempts: 1, since: Some(*since), next_try: None, failure: failure.as_ref().clone() })
        }
        // The back-off is over: the next run tries again.
        (None, Some(attempts)) if attempts.failures > 0 => {
            Some(LastFailure { attempts: attempts.failures, since, next_try: None, failure: attempts.failure.clone() })
        }
        _ => None,
    }
}

/// What there is of each pair, arranged once.
struct Pairs<'a> {
    observed: &'a Observed,
    served: ServedBy<'a>,
    beside: BTreeMap<(&'a NodeName, &'a CertName), Vec<&'a Beside>>,
    /// Leaves that the store has.
    ours: BTreeSet<Fingerprint>,
    waits: BTreeMap<(&'a NodeName, &'a CertName), &'a DeliveryWait>,
}

impl<'a> Pairs<'a> {
    fn of(observed: &'a Observed, plan: &'a Plan) -> Self {
        let mut beside: BTreeMap<_, Vec<&Beside>> = BTreeMap::new();
        for found in &observed.beside {
            beside.entry((&found.served.node, &found.served.certificate)).or_default().push(found);
        }
        let current = observed.store.values().filter_map(|stored| stored.current.as_ref());
        let waits = plan.waits.iter().filter_map(|wait| match wait {
            Wait::Delivery { certificate, node, reason } => Some(((node, certificate), reason)),
            _ => None,
        });
        Self {
            observed,
            served: ServedBy::new(&observed.served),
            beside,
            ours: current.map(|kept| kept.leaf.fingerprint).collect(),
            waits: waits.collect(),
        }
    }
}

fn of_node(
    config: &Config,
    certificate: &Certificate,
    node: &NodeName,
    stored: &Stored,
    pairs: &Pairs<'_>,
    done: &Done,
    now: Timestamp,
) -> NodeReport {
    let observed = pairs.observed;
    let ari = stored.current.as_ref().and_then(|kept| renewal::ari_of(observed, &certificate.name, &kept.leaf));
    let held = hold::held(&certificate.name, stored, &observed.state, now);
    let probes = config.node(node).map(|node| node.probes_of(&certificate.name)).unwrap_or_default();
    let port = |served: &Served| served.address.map(|address| address.port());
    let configured =
        |served: &Served| probes.iter().any(|probe| probe.quic == Some(true) && Some(probe.port) == port(served));
    let mut served: Vec<ServedReport> = pairs
        .served
        .of(node, &certificate.name)
        .iter()
        .map(|served| {
            let of = |verdict| ServedReport {
                starttls: served.starttls,
                handshakes: served.handshakes,
                ..ServedReport::new(served.address, served.sni.clone(), served.over, &served.seen, verdict)
            };
            let verdict = Verdict::of(&served.seen, &served.sni, stored, ari, observed.state.seed, now);
            let Seen::Leaf { leaf, .. } = &served.seen else {
                let before = served.handshakes.is_some_and(|handshakes| handshakes.before);
                let verdict = match verdict {
                    Verdict::NoQuic { .. } => Verdict::NoQuic { required: configured(served) && !before },
                    other => other,
                };
                return of(verdict);
            };
            let verdict = match held {
                Some(held) => verdict.under_hold(held, leaf, now),
                None => verdict,
            };
            let verdict = verdict.revoked(crls::revoked(&observed.state, &leaf.fingerprint));
            let current = stored.current.as_ref().is_some_and(|kept| kept.leaf.fingerprint == leaf.fingerprint);
            let ours = current || stored.former.contains(&leaf.fingerprint);
            let origin = (!ours).then(|| Origin::of(leaf));
            ServedReport { origin, ..of(verdict) }
        })
        .collect();
    served.sort_by_key(|served| served.verdict.exit().rank());
    let paused_until = config.paused_until(node, now);
    let wait = pairs.waits.get(&(node, &certificate.name)).copied();
    let beside = pairs.beside.get(&(node, &certificate.name)).map_or(&[][..], Vec::as_slice);
    NodeReport {
        node: node.clone(),
        paused_until,
        paused_reason: paused_until.and(config.node(node)).and_then(|node| node.paused_reason.clone()),
        window_opens: match wait {
            Some(DeliveryWait::Window { opens }) => Some(*opens),
            _ => None,
        },
        last_failure: last_failure(wait, observed, &certificate.name, node),
        served,
        beside: beside::reports(beside, &pairs.ours, observed.state.seed, now),
        delivery: done.delivered.get(&(node.clone(), certificate.name.clone())).cloned(),
    }
}
