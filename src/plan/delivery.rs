//! Which node lacks its desired certificate? Decided from what is observed, never from what was issued.

pub mod absent;
mod prune;
mod refusals;
pub mod revert;
pub mod unproven;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, Fingerprint, Generation, NodeName};
use crate::config::{Certificate, Config};
use crate::model::{DeliveryAttempts, Drift, Finding, Observed, ProbeError, Seen, Served, Stored};

use super::hold::{self, Desired};
use super::{Wait, disks, installs};

pub use prune::prune;
use refusals::{attempts, beneath, held_up, hurry, must_travel_alone, refused_until, refusing};
pub use window::{Because, Early};

/// One rollout: certificates that share a set of nodes, and those of the nodes that lack one.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Deliver {
    pub certificates: BTreeMap<CertName, Generation>,
    pub nodes: Vec<NodeTask>,
    /// The configured canary: of those that the certificates name, the first that gets something now. `None`: the first
    /// fit node.
    pub canary: Option<NodeName>,
    /// The rollout ends when more nodes than this refuse a certificate.
    pub stop_after: usize,
    /// The rollout takes a node back to the previous generation.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub reverts: bool,
    /// Nodes that went back from this generation in an earlier rollout.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub refused: BTreeSet<NodeName>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct NodeTask {
    pub node: NodeName,
    /// What the node gets, and why.
    pub certificates: BTreeMap<CertName, DeliveryReason>,
    pub before: Before,
    /// Certificates that the node must accept although it has a newer one: an operator went back.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub older: BTreeSet<CertName>,
    /// Why the node is changed although its window is closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early: Option<Early>,
    /// The node failed with this generation before, so it becomes canary last.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub failed_before: bool,
    /// What the node serves ends so soon that other nodes' refusals do not hold it up.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub hurry: bool,
    /// Its reload is a restart, which cuts connections.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub restarts: bool,
    /// Its server reads the files at a connection, and shows the new pair before the reload.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub rereads: bool,
}

/// What the node served before this change: decides whether it may be a canary, and whether going back can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// No address answers.
    Silent,
    /// The node is reachable; at least one address has no TLS, or does not answer.
    Nothing,
    /// TLS with a certificate that is expired, not yet valid or for another name.
    Broken,
    /// A certificate for the right name, within its dates.
    Valid,
}

impl Before {
    /// The worse of two addresses or certificates; but a node that answers at one address is not silent.
    fn and(self, other: Self) -> Self {
        if self == other { self } else { self.min(other).max(Self::Nothing) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum DeliveryReason {
    /// The node serves another certificate than the stored one.
    Serves {
        fingerprint: Fingerprint,
        not_after: Timestamp,
        ours: bool,
    },
    /// The right leaf in a chain that clients refuse.
    Distrusted {
        why: String,
    },
    Silent {
        silence: ProbeError,
    },
    /// No handshake was made with the node.
    Unseen,
    /// The node serves the right certificate, but its disk holds something else, which the next reload would serve.
    Drifted {
        #[serde(flatten)]
        what: Drift,
    },
    /// The node served the previous generation when a delivery began; certd was killed, and the node serves nothing
    /// since.
    Reverts {
        from: Generation,
        silence: ProbeError,
    },
    /// The node serves the right certificate, but the answer to the commit was lost: another dialogue finishes what may
    /// be half done there.
    Unsettled,
    /// The node serves the right certificate, installed otherwise than the configuration says now.
    InstallChanged,
}

/// Why a node gets nothing now.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum DeliveryWait {
    /// The node serves the desired certificate.
    InSync {
        fingerprint: Fingerprint,
    },
    Paused {
        until: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        words: Option<String>,
    },
    /// The node's window is closed, and what it serves is good until it opens.
    Window {
        opens: Timestamp,
    },
    /// The node serves the held generation, which is not the newest.
    Held {
        generation: Generation,
        /// When the hold ends by itself, at the latest.
        ends: Timestamp,
    },
    BackOff {
        until: Timestamp,
        failures: u32,
        failure: Box<Finding>,
    },
    /// The files are in place, and no handshake proves it. The node was reloaded once, and is only looked at until
    /// something changes.
    Unproven {
        since: Timestamp,
        failure: Box<Finding>,
    },
    /// The node failed in this pass. `until`: end of its own back-off; `None`: the next pass tries again.
    TriedNow {
        failure: Box<Finding>,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    NothingStored,
}

impl NodeTask {
    pub(super) fn new(node: NodeName, before: Before) -> Self {
        Self {
            node,
            certificates: BTreeMap::new(),
            before,
            older: BTreeSet::new(),
            early: None,
            failed_before: false,
            hurry: false,
            restarts: false,
            rereads: false,
        }
    }
}

impl DeliveryWait {
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Paused { until, .. } | Self::BackOff { until, .. } => Some(*until),
            Self::Window { opens: until } | Self::Held { ends: until, .. } => Some(*until),
            Self::TriedNow { until, .. } => *until,
            Self::InSync { .. } | Self::Unproven { .. } | Self::NothingStored => None,
        }
    }
}

pub(super) fn decide(
    config: &Config,
    deliverable: &[(&Certificate, &Stored)],
    observed: &Observed,
    now: Timestamp,
) -> (Vec<Deliver>, Vec<Wait>) {
    let mut rollouts: Vec<(Vec<NodeName>, bool, Deliver)> = Vec::new();
    let (mut waits, mut reverts) = (Vec::new(), Vec::new());
    for (certificate, stored) in deliverable {
        let name = &certificate.name;
        let desired = hold::desired(name, stored, &observed.state, now);
        let alone = desired.is_some_and(|desired| must_travel_alone(observed, name, desired.generation));
        for node in asked(certificate, observed) {
            let wait = |reason| Wait::Delivery { certificate: name.clone(), node: node.clone(), reason };
            let needed = need(config, certificate, stored, desired, node, observed, now);
            let (Some(desired), Ok((reason, early))) = (desired, &needed) else {
                waits.extend(needed.err().map(wait));
                continue;
            };
            if let (DeliveryReason::Reverts { .. }, Some(former)) = (reason, &stored.previous) {
                revert::plan(&mut reverts, certificate, former, node, reason.clone(), observed, now);
                continue;
            }
            let group = rollouts.iter().position(|(nodes, single, rollout)| {
                rollout.certificates.contains_key(name) || (!alone && !single && nodes == &certificate.nodes)
            });
            let group = group.unwrap_or_else(|| {
                rollouts.push((certificate.nodes.clone(), alone, Deliver::default()));
                rollouts.len() - 1
            });
            let deliver = &mut rollouts[group].2;
            deliver.certificates.insert(name.clone(), desired.generation.clone());
            let before = before(certificate, node, observed, now);
            let task = match deliver.nodes.iter_mut().position(|task| &task.node == node) {
                Some(place) => &mut deliver.nodes[place],
                None => {
                    deliver.nodes.push(NodeTask::new(node.clone(), before));
                    let last = deliver.nodes.len() - 1;
                    &mut deliver.nodes[last]
                }
            };
            task.before = task.before.and(before);
            task.early = task.early.take().or_else(|| early.clone());
            let back = desired.held.is_some() && may_go_back(reason, observed);
            if back || beneath(desired.generation, name, node, observed) {
                task.older.insert(name.clone());
            }
            task.failed_before |= attempts(name, desired.generation, node, observed).is_some_and(|it| it.failures > 0);
            task.hurry |= hurry(name, node, observed, now);
            if let Some(install) = config.install(node, name) {
                task.restarts |= install.restart;
                task.rereads |= install.server.is_some_and(|server| server.rereads);
            }
            task.certificates.insert(name.clone(), reason.clone());
            deliver.refused.extend(refusing(certificate, desired.generation, observed).map(|(node, _)| node.clone()));
        }
    }
    let rollouts = rollouts.into_iter().map(|(_, _, mut deliver)| {
        deliver.canary = canary(config, &deliver);
        deliver.stop_after = config.rollout.stop_after.of(deliver.nodes.len());
        deliver
    });
    (reverts.into_iter().chain(rollouts).collect(), waits)
}

fn canary(config: &Config, deliver: &Deliver) -> Option<NodeName> {
    let certificates = config.certificates.iter().filter(|it| deliver.certificates.contains_key(&it.name));
    let mut wanted = certificates.flat_map(|certificate| &certificate.canary);
    wanted.find(|wanted| deliver.nodes.iter().any(|task| &task.node == *wanted)).cloned()
}

/// A hold takes a node back from a certificate that this store knows, or when an operator asks for it now. A newer
/// certificate that the store does not know belongs to another controller, and this hold may come from a restored
/// backup (I9).
fn may_go_back(reason: &DeliveryReason, observed: &Observed) -> bool {
    observed.asked.ignore_backoff || matches!(reason, DeliveryReason::Serves { ours: true, .. })
}

fn asked<'a>(certificate: &'a Certificate, observed: &'a Observed) -> impl Iterator<Item = &'a NodeName> {
    certificate.nodes.iter().filter(move |node| observed.asked.wants_node(node))
}

fn need(
    config: &Config,
    certificate: &Certificate,
    stored: &Stored,
    desired: Option<Desired<'_>>,
    node: &NodeName,
    observed: &Observed,
    now: Timestamp,
) -> Result<(DeliveryReason, Option<Early>), DeliveryWait> {
    if let Some(found) = config.node(node)
        && let Some(until) = found.paused_until.filter(|until| *until > now)
    {
        return Err(DeliveryWait::Paused { until, words: found.paused_reason.clone() });
    }
    let desired = desired.ok_or(DeliveryWait::NothingStored)?;
    let attempts = attempts(&certificate.name, desired.generation, node, observed);
    let drifted = || {
        let (_, drift) = disks::drifted(&observed.state, node, &certificate.name, desired.generation)?;
        drift.can_be_mended().then(|| DeliveryReason::Drifted { what: drift.clone() })
    };
    let unsettled = observed.state.unsettled.get(node).is_some_and(|names| names.contains(&certificate.name));
    let reverts = || revert::due(certificate, stored, desired, node, observed, now);
    let lacks = || lacks(&certificate.name, desired, stored, node, observed);
    let reason = reverts().or_else(lacks).or_else(drifted);
    let reason = reason.or(unsettled.then_some(DeliveryReason::Unsettled));
    let changed = || installs::changed(&observed.state, config, node, &certificate.name);
    let reason = reason.or_else(|| changed().then_some(DeliveryReason::InstallChanged));
    let reason = reason.ok_or_else(|| in_sync(desired))?;
    let refused = || refused_until(certificate, desired.generation, node, observed, now);
    let window = window::allows(config, certificate, node, observed, now);
    let held_up = held_up(attempts, refused, observed, now);
    let looks = !matches!(reason, DeliveryReason::Reverts { .. }) && !unsettled && drifted().is_none();
    if let Some(wait) = unproven::wait(config, observed, node, &certificate.name, desired.generation)
        && looks
        && held_up.is_none()
    {
        return Err(wait);
    }
    match (held_up, window) {
        (None, Ok(early)) => Ok((reason, early)),
        // The node's failure stays on record until the next attempt, which waits for the window.
        (Some(DeliveryWait::BackOff { until, failures, failure }), Err(opens)) => {
            Err(DeliveryWait::BackOff { until: until.max(opens), failures, failure })
        }
        (Some(wait), _) => Err(wait),
        (None, Err(opens)) => match attempts.filter(|attempts| attempts.failures > 0) {
            Some(DeliveryAttempts { failures, failure, .. }) => {
                Err(DeliveryWait::BackOff { until: opens, failures: *failures, failure: Box::new(failure.clone()) })
            }
            None => Err(DeliveryWait::Window { opens }),
        },
    }
}

fn in_sync(desired: Desired<'_>) -> DeliveryWait {
    match desired.held {
        Some(held) => DeliveryWait::Held { generation: held.generation.clone(), ends: hold::ends(held) },
        None => DeliveryWait::InSync { fingerprint: desired.fingerprint },
    }
}

/// How what a node serves differs from what is desired; of several handshakes the first that differs.
fn lacks(
    certificate: &CertName,
    desired: Desired<'_>,
    stored: &Stored,
    node: &NodeName,
    observed: &Observed,
) -> Option<DeliveryReason> {
    let newest = stored.current.as_ref().map(|kept| kept.leaf.fingerprint);
    let ours = |fingerprint: &Fingerprint| stored.former.contains(fingerprint) || newest == Some(*fingerprint);
    if of(observed, node, certificate).next().is_none() {
        return Some(DeliveryReason::Unseen);
    }
    of(observed, node, certificate).find_map(|served| match &served.seen {
        Seen::Silence(silence) => Some(DeliveryReason::Silent { silence: silence.clone() }),
        Seen::Leaf { leaf, .. } if leaf.fingerprint != desired.fingerprint => Some(DeliveryReason::Serves {
            fingerprint: leaf.fingerprint,
            not_after: leaf.not_after,
            ours: ours(&leaf.fingerprint),
        }),
        Seen::Leaf { distrust, .. } => distrust.clone().map(|why| DeliveryReason::Distrusted { why }),
    })
}

/// The worst result over the node's addresses. A server that shows another pair has something that a change can break.
fn before(certificate: &Certificate, node: &NodeName, observed: &Observed, now: Timestamp) -> Before {
    let seen = of(observed, node, &certificate.name).map(|served| match &served.seen {
        Seen::Silence(ProbeError::NoSuchKey(_)) => Before::Valid,
        Seen::Silence(silence) if silence.somebody_there() => Before::Nothing,
        Seen::Silence(_) => Before::Silent,
        Seen::Leaf { leaf, .. } => {
            let fit = leaf.not_before <= now && now < leaf.not_after && leaf.names.covers(&served.sni);
            if fit { Before::Valid } else { Before::Broken }
        }
    });
    seen.reduce(Before::and).unwrap_or(Before::Silent)
}

/// The handshakes that decide about a node. A missing UDP answer does not count: it shows nothing of what the node has,
/// a delivery cannot mend it, and browsers fall back to TCP.
pub(super) fn of<'a>(
    observed: &'a Observed,
    node: &'a NodeName,
    name: &'a CertName,
) -> impl Iterator<Item = &'a Served> {
    let tells = |served: &&Served| !matches!(served.seen, Seen::Silence(ProbeError::NoQuic));
    observed.served.iter().filter(move |served| &served.node == node && &served.certificate == name).filter(tells)
}
