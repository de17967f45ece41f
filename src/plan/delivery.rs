//! Which node lacks the certificate that is meant for it? Follows from what is observed, never from what was issued.

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

use super::hold::{self, Meant};
use super::{Wait, backoff, disks, installs};

pub use prune::prune;
use refusals::{attempts, beneath, hurry, must_travel_alone, refused_until, refusing};
pub use window::{Because, Early};

/// One rollout: certificates that share a set of nodes, to those of the nodes that lack one.
#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Deliver {
    pub certificates: BTreeMap<CertName, Generation>,
    pub nodes: Vec<NodeTask>,
    /// The operator's choice: of those that the certificates name, the first that gets something now; else the first fit
    /// node.
    pub canary: Option<NodeName>,
    /// More nodes than so many that refuse a certificate end the rollout.
    pub stop_after: usize,
    /// It takes a node back to the generation before.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub reverts: bool,
    /// Nodes that went back from what is delivered, in an earlier rollout.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub refused: BTreeSet<NodeName>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct NodeTask {
    pub node: NodeName,
    /// What travels to it, and why.
    pub certificates: BTreeMap<CertName, DeliveryReason>,
    pub before: Before,
    /// Of them those that the node takes although it has a newer one: a person went back.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub older: BTreeSet<CertName>,
    /// The node's window is closed, and does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early: Option<Early>,
    /// It failed with this generation before: it is canary last.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub failed_before: bool,
    /// What it serves ends so soon that others' refusals do not hold it.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub hurry: bool,
}

/// What the node served before this change: whether it may be a canary, and whether going back can help anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Before {
    /// No answer anywhere: nobody there, or nobody that we can reach.
    Silent,
    /// Somebody is there; at one address at least there is no TLS, or no answer.
    Nothing,
    /// TLS with a certificate that is expired, not yet valid or for another name.
    Broken,
    /// A certificate of the right name within its dates.
    Valid,
}

impl Before {
    /// Of two addresses or certificates the worse; but a node that answers at one of them can be seen.
    fn and(self, other: Self) -> Self {
        if self == other { self } else { self.min(other).max(Self::Nothing) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum DeliveryReason {
    /// Another certificate than the stored one is served.
    Serves {
        fingerprint: Fingerprint,
        not_after: Timestamp,
        ours: bool,
    },
    /// The right leaf with a chain that clients refuse.
    Distrusted {
        why: String,
    },
    Silent {
        silence: ProbeError,
    },
    /// No handshake was made with it, so nobody knows.
    Unseen,
    /// It serves the right certificate, and its disk holds something else, which the next reload would serve.
    Drifted {
        #[serde(flatten)]
        what: Drift,
    },
    /// It served the generation before when a delivery of this one was begun; certd was killed, and it serves nothing since.
    Reverts {
        from: Generation,
        silence: ProbeError,
    },
    /// It serves what it should, but the answer to the commit was lost: a dialogue ends what may be half done there.
    Unsettled,
    /// It serves what it should, put there otherwise than the configuration says now.
    InstallChanged,
}

/// Why a node gets nothing now.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum DeliveryWait {
    /// It serves what is meant for it.
    InSync {
        fingerprint: Fingerprint,
    },
    Paused {
        until: Timestamp,
        /// In the operator's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        words: Option<String>,
    },
    /// Its window is closed, and what it serves is good until then.
    Window {
        opens: Timestamp,
    },
    /// It serves what is held for it, which is not the newest.
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
    /// Its files are in place, and no handshake proves it; it was reloaded once, and is looked at until something changes.
    Unproven {
        since: Timestamp,
        failure: Box<Finding>,
    },
    /// It failed in this very pass. `until`: its own back-off ends then; else the next pass tries again.
    TriedNow {
        failure: Box<Finding>,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// There is nothing to deliver yet.
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
        let meant = hold::meant(name, stored, &observed.state, now);
        let alone = meant.is_some_and(|meant| must_travel_alone(observed, name, meant.generation));
        for node in asked(certificate, observed) {
            let wait = |reason| Wait::Delivery { certificate: name.clone(), node: node.clone(), reason };
            let needed = need(config, certificate, stored, meant, node, observed, now);
            let (Some(meant), Ok((reason, early))) = (meant, &needed) else {
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
            deliver.certificates.insert(name.clone(), meant.generation.clone());
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
            let back = meant.held.is_some() && may_go_back(reason, observed);
            if back || beneath(meant.generation, name, node, observed) {
                task.older.insert(name.clone());
            }
            task.failed_before |= attempts(name, meant.generation, node, observed).is_some_and(|it| it.failures > 0);
            task.hurry |= hurry(name, node, observed, now);
            task.certificates.insert(name.clone(), reason.clone());
            deliver.refused.extend(refusing(certificate, meant.generation, observed).map(|(node, _)| node.clone()));
        }
    }
    let rollouts = rollouts.into_iter().map(|(_, _, mut deliver)| {
        deliver.canary = canary(config, &deliver);
        deliver.stop_after = config.rollout.stop_after.of(deliver.nodes.len());
        deliver
    });
    (reverts.into_iter().chain(rollouts).collect(), waits)
}

/// Of the canaries that the certificates name, the first that gets something now.
fn canary(config: &Config, deliver: &Deliver) -> Option<NodeName> {
    let certificates = config.certificates.iter().filter(|it| deliver.certificates.contains_key(&it.name));
    let mut wanted = certificates.flat_map(|certificate| &certificate.canary);
    wanted.find(|wanted| deliver.nodes.iter().any(|task| &task.node == *wanted)).cloned()
}

/// A hold takes a node back from what this store knows, or by a person's word given now. A newer certificate that it does
/// not know is another controller's, and this hold may be one of a restored backup (I9).
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
    meant: Option<Meant<'_>>,
    node: &NodeName,
    observed: &Observed,
    now: Timestamp,
) -> Result<(DeliveryReason, Option<Early>), DeliveryWait> {
    if let Some(found) = config.node(node)
        && let Some(until) = found.paused_until.filter(|until| *until > now)
    {
        return Err(DeliveryWait::Paused { until, words: found.paused_reason.clone() });
    }
    let meant = meant.ok_or(DeliveryWait::NothingStored)?;
    let attempts = attempts(&certificate.name, meant.generation, node, observed);
    let drifted = || {
        let (_, drift) = disks::drifted(&observed.state, node, &certificate.name, meant.generation)?;
        drift.can_be_mended().then(|| DeliveryReason::Drifted { what: drift.clone() })
    };
    let unsettled = observed.state.unsettled.get(node).is_some_and(|names| names.contains(&certificate.name));
    let reverts = || revert::due(certificate, stored, meant, node, observed, now);
    let lacks = || lacks(&certificate.name, meant, stored, node, observed);
    let reason = reverts().or_else(lacks).or_else(drifted);
    let reason = reason.or(unsettled.then_some(DeliveryReason::Unsettled));
    let changed = || installs::changed(&observed.state, config, node, &certificate.name);
    let reason = reason.or_else(|| changed().then_some(DeliveryReason::InstallChanged));
    let reason = reason.ok_or_else(|| in_sync(meant))?;
    let refused = || refused_until(certificate, meant.generation, node, observed, now);
    let window = window::allows(config, certificate, node, observed, now);
    let held_up = held_up(attempts, refused, observed, now);
    let looks = !matches!(reason, DeliveryReason::Reverts { .. }) && !unsettled && drifted().is_none();
    if let Some(wait) = unproven::wait(config, observed, node, &certificate.name, meant.generation)
        && looks
        && held_up.is_none()
    {
        return Err(wait);
    }
    match (held_up, window) {
        (None, Ok(early)) => Ok((reason, early)),
        // A node that failed has failed until it is tried again, which is not before its window.
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

fn in_sync(meant: Meant<'_>) -> DeliveryWait {
    match meant.held {
        Some(held) => DeliveryWait::Held { generation: held.generation.clone(), ends: hold::ends(held) },
        None => DeliveryWait::InSync { fingerprint: meant.fingerprint },
    }
}

/// How what a node serves differs from what is stored; of several handshakes the first that differs.
fn lacks(
    certificate: &CertName,
    meant: Meant<'_>,
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
        Seen::Leaf { leaf, .. } if leaf.fingerprint != meant.fingerprint => Some(DeliveryReason::Serves {
            fingerprint: leaf.fingerprint,
            not_after: leaf.not_after,
            ours: ours(&leaf.fingerprint),
        }),
        Seen::Leaf { distrust, .. } => distrust.clone().map(|why| DeliveryReason::Distrusted { why }),
    })
}

fn held_up(
    attempts: Option<&DeliveryAttempts>,
    refused_until: impl Fn() -> Option<Timestamp>,
    observed: &Observed,
    now: Timestamp,
) -> Option<DeliveryWait> {
    let attempts = attempts.filter(|attempts| backoff::counts(attempts.last, now))?;
    let failure = Box::new(attempts.failure.clone());
    let until = match (observed.asked.short_retries, attempts.failures) {
        // It was spared, since others refused this generation: it waits with them, and is not the next to refuse.
        (true, 0) => refused_until().map_or(attempts.last, |until| until.min(backoff::spared(attempts))),
        (patient, _) => backoff::delivery(attempts, patient),
    };
    if observed.asked.pass_started.is_some_and(|started| attempts.last >= started) {
        let until = Some(until).filter(|until| observed.asked.short_retries && *until > now);
        return Some(DeliveryWait::TriedNow { failure, until });
    }
    (until > now && !observed.asked.ignore_backoff).then_some(DeliveryWait::BackOff {
        until,
        failures: attempts.failures,
        failure,
    })
}

/// The worst of what was seen at the node's addresses.
fn before(certificate: &Certificate, node: &NodeName, observed: &Observed, now: Timestamp) -> Before {
    let seen = of(observed, node, &certificate.name).map(|served| match &served.seen {
        Seen::Silence(silence) if silence.somebody_there() => Before::Nothing,
        Seen::Silence(_) => Before::Silent,
        Seen::Leaf { leaf, .. } => {
            let fit = leaf.not_before <= now && now < leaf.not_after && leaf.names.covers(&served.sni);
            if fit { Before::Valid } else { Before::Broken }
        }
    });
    seen.reduce(Before::and).unwrap_or(Before::Silent)
}

/// What decides about a node. That UDP is not answered does not: it says nothing of what the node has, a delivery mends
/// nothing of it, and browsers go on over TCP.
pub(super) fn of<'a>(
    observed: &'a Observed,
    node: &'a NodeName,
    name: &'a CertName,
) -> impl Iterator<Item = &'a Served> {
    let tells = |served: &&Served| !matches!(served.seen, Seen::Silence(ProbeError::NoQuic));
    observed.served.iter().filter(move |served| &served.node == node && &served.certificate == name).filter(tells)
}
