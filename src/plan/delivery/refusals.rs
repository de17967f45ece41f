//! Nodes that refused a generation, and what that means for them and for the others.

use jiff::Timestamp;

use crate::cert::{CertName, Generation, NodeName};
use crate::config::Certificate;
use crate::model::{Code, DeliveryAttempts, Observed, Seen};

use super::super::backoff;
use super::{DeliveryWait, of};
use crate::plan::ServedBy;
use crate::plan::rollout::INDEPENDENT;

/// When the last of the refusing nodes may be tried again, if another node has to wait for that: a single refusal holds
/// up nobody, and neither does any when what the node serves ends soon.
pub(super) fn refused_until(
    served: &ServedBy<'_>,
    name: &CertName,
    refusing: &[(&NodeName, &DeliveryAttempts)],
    node: &NodeName,
    now: Timestamp,
) -> Option<Timestamp> {
    let others = || refusing.iter().filter(|(other, _)| *other != node);
    let wait = others().count() >= INDEPENDENT && !hurry(served, name, node, now);
    others().map(|(_, attempts)| backoff::delivery(attempts, true)).max().filter(|_| wait)
}

/// Nodes of this certificate that went back from this generation.
pub(super) fn refusing<'a>(
    certificate: &'a Certificate,
    generation: &'a Generation,
    observed: &'a Observed,
) -> Vec<(&'a NodeName, &'a DeliveryAttempts)> {
    if observed.state.delivery.is_empty() {
        return Vec::new();
    }
    let of_node = |node| Some((node, attempts(&certificate.name, generation, node, observed)?));
    certificate.nodes.iter().filter_map(of_node).filter(|(_, attempts)| attempts.rolled_back).collect()
}

/// Whether what the node serves is near its end, by the measure that hurries issuing.
pub(super) fn hurry(served: &ServedBy<'_>, name: &CertName, node: &NodeName, now: Timestamp) -> bool {
    of(served, node, name).any(|served| match &served.seen {
        Seen::Leaf { leaf, .. } => backoff::cadence(leaf, now).is_some(),
        Seen::Silence(_) => false,
    })
}

/// Whether an operator names a node that refused this generation for an impossible number. (I9 protects numbers that
/// exist.)
pub(super) fn beneath(generation: &Generation, name: &CertName, node: &NodeName, observed: &Observed) -> bool {
    let refused = attempts(name, generation, node, observed);
    observed.asked.ignore_backoff
        && observed.asked.ignore_window.contains(node)
        && refused.is_some_and(|attempts| attempts.failure.code == Code::NodeFenceImplausible)
}

/// Attempts to deliver this generation to the node.
pub(super) fn attempts<'a>(
    name: &CertName,
    generation: &Generation,
    node: &NodeName,
    observed: &'a Observed,
) -> Option<&'a DeliveryAttempts> {
    let attempts = observed.state.delivery.get(node)?.get(name)?;
    (&attempts.generation == generation).then_some(attempts)
}

/// Whether it failed in one dialogue together with other certificates.
pub(super) fn must_travel_alone(observed: &Observed, name: &CertName, generation: &Generation) -> bool {
    let of_name = observed.state.delivery.values().filter_map(|by_name| by_name.get(name));
    of_name.into_iter().any(|attempts| attempts.together && &attempts.generation == generation)
}

/// The wait of a node whose delivery failed, or was held up by the refusals of others.
pub(super) fn held_up(
    attempts: Option<&DeliveryAttempts>,
    refused_until: impl Fn() -> Option<Timestamp>,
    observed: &Observed,
    now: Timestamp,
) -> Option<DeliveryWait> {
    let attempts = attempts.filter(|attempts| backoff::counts(attempts.last, now))?;
    let failure = Box::new(attempts.failure.clone());
    let until = match (observed.asked.short_retries, attempts.failures) {
        // The node was skipped because others refused this generation: it waits with them, so that it is not the next
        // to refuse.
        (true, 0) => refused_until().map_or(attempts.last, |until| until.min(backoff::skipped(attempts))),
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
