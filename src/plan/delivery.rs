//! Which node lacks its desired certificate? Decided from what is observed, never from what was issued.

pub mod absent;
mod facts;
mod groups;
mod prune;
mod refusals;
pub mod revert;
mod telling;
pub mod unproven;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, Fingerprint, Generation, NodeName};
use crate::config::{Certificate, Config};
use crate::model::{DeliveryAttempts, Drift, Finding, Observed, ProbeError, Seen, Stored};

use super::hold::{self, Desired};
use super::{ServedBy, Wait, disks};

pub(super) use facts::Facts;
use groups::{Group, Rollouts};
pub(super) use prune::forget;
pub use prune::prune;
use refusals::{attempts, beneath, held_up, hurry, must_travel_alone, refused_until, refusing};
use revert::Reverts;
pub(super) use telling::of;
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

pub(super) fn decide(facts: &Facts<'_>, deliverable: &[(&Certificate, &Stored)]) -> (Vec<Deliver>, Vec<Wait>) {
    let Facts { config, observed, served, now, .. } = *facts;
    let (mut rollouts, mut reverts) = (Rollouts::default(), Reverts::default());
    let mut waits = Vec::new();
    for (certificate, stored) in deliverable {
        let name = &certificate.name;
        let desired = hold::desired(name, stored, &observed.state, now);
        let alone = desired.is_some_and(|desired| must_travel_alone(observed, name, desired.generation));
        let refusing = desired.map_or_else(Vec::new, |desired| refusing(certificate, desired.generation, observed));
        let mut group = None;
        for node in asked(certificate, observed) {
            let wait = |reason| Wait::Delivery { certificate: name.clone(), node: node.clone(), reason };
            let needed = need(facts, certificate, stored, desired, node, &refusing);
            let (Some(desired), Ok((reason, early))) = (desired, &needed) else {
                waits.extend(needed.err().map(wait));
                continue;
            };
            if let (DeliveryReason::Reverts { .. }, Some(former)) = (reason, &stored.previous) {
                reverts.add(facts, certificate, former, node, reason.clone());
                continue;
            }
            let group = *group.get_or_insert_with(|| {
                let group = rollouts.of(certificate, alone);
                let deliver = &mut rollouts.groups[group].deliver;
                deliver.certificates.insert(name.clone(), desired.generation.clone());
                deliver.refused.extend(refusing.iter().map(|(node, _)| (*node).clone()));
                group
            });
            let before = before(served, certificate, node, now);
            let task = rollouts.groups[group].task(node, before);
            task.before = task.before.and(before);
            task.early = task.early.take().or_else(|| early.clone());
            let back = desired.held.is_some() && may_go_back(reason, observed);
            if back || beneath(desired.generation, name, node, observed) {
                task.older.insert(name.clone());
            }
            task.failed_before |= attempts(name, desired.generation, node, observed).is_some_and(|it| it.failures > 0);
            task.hurry |= hurry(served, name, node, now);
            if let Some(install) = config.install(node, name) {
                task.restarts |= install.restart;
                task.rereads |= install.server.is_some_and(|server| server.rereads);
            }
            task.certificates.insert(name.clone(), reason.clone());
        }
    }
    let rollouts = rollouts.groups.into_iter().map(|Group { mut deliver, .. }| {
        deliver.canary = canary(config, &deliver);
        deliver.stop_after = config.rollout.stop_after.of(deliver.nodes.len());
        deliver
    });
    (reverts.0.into_iter().chain(rollouts).collect(), waits)
}

fn canary(config: &Config, deliver: &Deliver) -> Option<NodeName> {
    let certificates = config.certificates.iter().filter(|it| deliver.certificates.contains_key(&it.name));
    let mut wanted = certificates.flat_map(|certificate| &certificate.canary).peekable();
    wanted.peek()?;
    let nodes: BTreeSet<&NodeName> = deliver.nodes.iter().map(|task| &task.node).collect();
    wanted.find(|wanted| nodes.contains(wanted)).cloned()
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

/// `refusing`: the nodes of this certificate that went back from the generation.
fn need(
    facts: &Facts<'_>,
    certificate: &Certificate,
    stored: &Stored,
    desired: Option<Desired<'_>>,
    node: &NodeName,
    refusing: &[(&NodeName, &DeliveryAttempts)],
) -> Result<(DeliveryReason, Option<Early>), DeliveryWait> {
    let Facts { config, observed, served, now, .. } = *facts;
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
    let reverts = || revert::due(facts, certificate, stored, desired, node);
    let lacks = || lacks(served, &certificate.name, desired, stored, node);
    let reason = reverts().or_else(lacks).or_else(drifted);
    let reason = reason.or(unsettled.then_some(DeliveryReason::Unsettled));
    let changed = || facts.install_changed(node, &certificate.name);
    let reason = reason.or_else(|| changed().then_some(DeliveryReason::InstallChanged));
    let reason = reason.ok_or_else(|| in_sync(desired))?;
    let refused = || refused_until(served, &certificate.name, refusing, node, now);
    let window = window::allows(facts, certificate, node);
    let held_up = held_up(attempts, refused, observed, now);
    let looks = !matches!(reason, DeliveryReason::Reverts { .. }) && !unsettled && drifted().is_none();
    if let Some(wait) = unproven::wait(facts, node, &certificate.name, desired.generation)
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
    served: &ServedBy<'_>,
    certificate: &CertName,
    desired: Desired<'_>,
    stored: &Stored,
    node: &NodeName,
) -> Option<DeliveryReason> {
    let newest = stored.current.as_ref().map(|kept| kept.leaf.fingerprint);
    let ours = |fingerprint: &Fingerprint| stored.former.contains(fingerprint) || newest == Some(*fingerprint);
    let mut telling = of(served, node, certificate).peekable();
    if telling.peek().is_none() {
        return Some(DeliveryReason::Unseen);
    }
    telling.find_map(|served| match &served.seen {
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
fn before(served: &ServedBy<'_>, certificate: &Certificate, node: &NodeName, now: Timestamp) -> Before {
    let seen = of(served, node, &certificate.name).map(|served| match &served.seen {
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
