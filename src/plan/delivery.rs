//! Which node lacks the certificate that is meant for it? Follows from what is observed, never from what was issued.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, Fingerprint, Generation, Leaf, NodeName};
use crate::config::{Certificate, Config};
use crate::observed::{DeliveryAttempts, Failure, Kept, Observed, Seen, Served, Silence, Stored};

use super::rollout::FOREIGN_NEWER;
use super::{Wait, backoff};

/// One rollout: certificates that share a set of nodes, to those of the nodes that lack one.
#[derive(Clone, Debug, Serialize)]
pub struct Deliver {
    pub certificates: BTreeMap<CertName, Generation>,
    pub nodes: Vec<NodeTask>,
    /// The operator's choice, the first that one of the certificates names; else the first fit node.
    pub canary: Option<NodeName>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NodeTask {
    pub node: NodeName,
    /// What travels to it, and why.
    pub certificates: BTreeMap<CertName, DeliveryReason>,
    pub before: Before,
}

/// What the node served before this change: whether it may be a canary, and whether going back can help anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
        silence: Silence,
    },
    /// No handshake was made with it, so nobody knows.
    Unseen,
    /// It serves what it should, but the answer to the commit was lost: a dialogue ends what may be half done there.
    Unsettled,
}

/// Why a node gets nothing now.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum DeliveryWait {
    /// It serves what is meant for it.
    InSync {
        fingerprint: Fingerprint,
    },
    Paused {
        until: Timestamp,
    },
    BackOff {
        until: Timestamp,
        failures: u32,
        failure: Box<Failure>,
    },
    /// It failed in this very pass. `until`: its own back-off ends then; else the next pass tries again.
    TriedNow {
        failure: Box<Failure>,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// There is nothing to deliver yet.
    NothingStored,
}

impl DeliveryWait {
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Paused { until } | Self::BackOff { until, .. } => Some(*until),
            Self::TriedNow { until, .. } => *until,
            Self::InSync { .. } | Self::NothingStored => None,
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
    let mut waits = Vec::new();
    for (certificate, stored) in deliverable {
        let name = &certificate.name;
        let generation = stored.current.as_ref().map(|kept| kept.generation.clone());
        let alone = generation.as_ref().is_some_and(|generation| must_travel_alone(observed, name, generation));
        for node in asked(certificate, observed) {
            let reason = match need(config, certificate, stored, node, observed, now) {
                Ok(reason) => reason,
                Err(reason) => {
                    waits.push(Wait::Delivery { certificate: name.clone(), node: node.clone(), reason });
                    continue;
                }
            };
            let Some(generation) = &generation else { continue };
            let group = rollouts.iter().position(|(nodes, single, rollout)| {
                rollout.certificates.contains_key(name) || (!alone && !single && nodes == &certificate.nodes)
            });
            let group = group.unwrap_or_else(|| {
                let deliver = Deliver { certificates: BTreeMap::new(), nodes: Vec::new(), canary: None };
                rollouts.push((certificate.nodes.clone(), alone, deliver));
                rollouts.len() - 1
            });
            let deliver = &mut rollouts[group].2;
            deliver.certificates.insert(name.clone(), generation.clone());
            deliver.canary = deliver.canary.take().or_else(|| certificate.canary.clone());
            let before = before(certificate, node, observed, now);
            match deliver.nodes.iter_mut().find(|task| &task.node == node) {
                Some(task) => {
                    task.certificates.insert(name.clone(), reason);
                    task.before = task.before.and(before);
                }
                None => deliver.nodes.push(NodeTask {
                    node: node.clone(),
                    certificates: BTreeMap::from([(name.clone(), reason)]),
                    before,
                }),
            }
        }
    }
    (rollouts.into_iter().map(|(_, _, deliver)| deliver).collect(), waits)
}

fn asked<'a>(certificate: &'a Certificate, observed: &'a Observed) -> impl Iterator<Item = &'a NodeName> {
    let nodes = &observed.asked.nodes;
    certificate.nodes.iter().filter(move |node| nodes.is_empty() || nodes.contains(*node))
}

fn need(
    config: &Config,
    certificate: &Certificate,
    stored: &Stored,
    node: &NodeName,
    observed: &Observed,
    now: Timestamp,
) -> Result<DeliveryReason, DeliveryWait> {
    if let Some(until) = config.node(node).and_then(|node| node.paused_until).filter(|until| *until > now) {
        return Err(DeliveryWait::Paused { until });
    }
    let Some(kept) = &stored.current else {
        return Err(DeliveryWait::NothingStored);
    };
    let attempts = observed.tried.delivery.get(node).and_then(|by_name| by_name.get(&certificate.name));
    let attempts = attempts.filter(|attempts| attempts.generation == kept.generation);
    let in_sync = DeliveryWait::InSync { fingerprint: kept.leaf.fingerprint };
    let unsettled = observed.tried.unsettled.get(node).is_some_and(|names| names.contains(&certificate.name));
    let reason = lacks(&certificate.name, stored, node, observed);
    let reason = reason.or(unsettled.then_some(DeliveryReason::Unsettled)).ok_or(in_sync)?;
    let refused = || refused_until(&certificate.name, kept, observed);
    held_up(attempts, refused, observed, now).map_or(Ok(reason), Err)
}

/// How what a node serves differs from what is stored; of several handshakes the first that differs.
fn lacks(certificate: &CertName, stored: &Stored, node: &NodeName, observed: &Observed) -> Option<DeliveryReason> {
    let kept = stored.current.as_ref()?;
    if of(observed, node, certificate).next().is_none() {
        return Some(DeliveryReason::Unseen);
    }
    of(observed, node, certificate).find_map(|served| match &served.seen {
        Seen::Silence(silence) => Some(DeliveryReason::Silent { silence: silence.clone() }),
        Seen::Leaf { leaf, .. } if leaf.fingerprint != kept.leaf.fingerprint => Some(DeliveryReason::Serves {
            fingerprint: leaf.fingerprint,
            not_after: leaf.not_after,
            ours: stored.former.contains(&leaf.fingerprint),
        }),
        Seen::Leaf { distrust, .. } => distrust.clone().map(|why| DeliveryReason::Distrusted { why }),
    })
}

/// The number above which a stored certificate must be numbered anew: nodes refused it for the number of what they hold,
/// and what they serve was issued before it, by the CA's own clock. So it is when the state was lost or the clock is behind
/// while nodes carry numbers of a time to come. A certificate that is the older one keeps its number and stays refused (I9);
/// and so it is where a node that refused serves nothing to compare with.
pub fn outgrown(name: &CertName, observed: &Observed) -> Option<u64> {
    let kept = observed.store.get(name)?.current.as_ref()?;
    let fence = *observed.tried.fences.get(name)?;
    let by_node = observed.tried.delivery.iter().filter_map(|(node, by_name)| Some((node, by_name.get(name)?)));
    let refused =
        |attempts: &DeliveryAttempts| attempts.generation == kept.generation && attempts.failure.code == FOREIGN_NEWER;
    let mut seen = by_node.filter(|(_, attempts)| refused(attempts)).map(|(node, _)| {
        let mut all = of(observed, node, name).peekable();
        // Two of one second are told apart by what everybody sees alike, so that two controllers never take turns.
        let age = |leaf: &Leaf| (leaf.not_before, leaf.fingerprint);
        let older = |served: &Served| matches!(&served.seen, Seen::Leaf { leaf, .. } if age(leaf) < age(&kept.leaf));
        all.peek().is_some() && all.all(older)
    });
    let first = seen.next()?;
    (first && seen.all(|older| older) && fence >= kept.generation.number()).then_some(fence)
}

/// When the last of the nodes that went back from this generation may be tried again.
fn refused_until(name: &CertName, kept: &Kept, observed: &Observed) -> Option<Timestamp> {
    let of_name = observed.tried.delivery.values().filter_map(|by_name| by_name.get(name));
    let refused = of_name.filter(|attempts| attempts.rolled_back && attempts.generation == kept.generation);
    refused.map(|attempts| backoff::delivery(attempts, true)).max()
}

fn held_up(
    attempts: Option<&DeliveryAttempts>,
    refused_until: impl Fn() -> Option<Timestamp>,
    observed: &Observed,
    now: Timestamp,
) -> Option<DeliveryWait> {
    let attempts = attempts.filter(|attempts| backoff::counts(attempts.last, now))?;
    let failure = Box::new(attempts.failure.clone());
    let until = match (observed.asked.patient, attempts.failures) {
        // It was spared, since another refused this generation: it waits with that one, and is not the next to refuse.
        (true, 0) => refused_until().unwrap_or(attempts.last),
        (patient, _) => backoff::delivery(attempts, patient),
    };
    if observed.asked.pass_started.is_some_and(|started| attempts.last >= started) {
        let until = Some(until).filter(|until| observed.asked.patient && *until > now);
        return Some(DeliveryWait::TriedNow { failure, until });
    }
    (until > now && !observed.asked.insist).then_some(DeliveryWait::BackOff {
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

fn of<'a>(observed: &'a Observed, node: &'a NodeName, name: &'a CertName) -> impl Iterator<Item = &'a Served> {
    observed.served.iter().filter(move |served| &served.node == node && &served.certificate == name)
}

fn must_travel_alone(observed: &Observed, name: &CertName, generation: &Generation) -> bool {
    let of_name = observed.tried.delivery.values().filter_map(|by_name| by_name.get(name));
    of_name.into_iter().any(|attempts| attempts.together && &attempts.generation == generation)
}
