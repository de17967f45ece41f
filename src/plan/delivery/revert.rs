//! Goes back to the previous generation on a node where certd was killed after the commit, so that nothing was
//! verified, and which serves nothing since. It is an ordinary delivery of the previous generation, which the node
//! accepts although it has a newer one. The newer generation then counts as refused by the node.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cert::{CertName, Fingerprint, NodeName};
use crate::config::Certificate;
use crate::model::{Begun, Code, Former, Observed, PersistedState, ProbeError, Scope, Seen, Stored};

use super::super::hold::Desired;
use super::{Before, Deliver, DeliveryReason, Facts, attempts, before, forget, of};
use crate::plan::ServedBy;
use crate::plan::rollout::Outcome;

/// Records a rollout before anything is changed. An earlier record of the same generation is kept: it shows what was
/// served before that attempt.
pub fn begin(observed: &mut Observed, deliver: &Deliver, now: Timestamp) {
    let Observed { served: handshakes, state, .. } = observed;
    let handshakes = ServedBy::new(&*handshakes);
    for task in deliver.nodes.iter().filter(|_| !deliver.reverts) {
        for name in task.certificates.keys() {
            let Some(generation) = deliver.certificates.get(name).cloned() else { continue };
            let served = served(&handshakes, &task.node, name).filter(|_| task.before == Before::Valid);
            let of_node = state.begun.entry(task.node.clone()).or_default();
            let fresh = Begun { generation: generation.clone(), served, at: now };
            let begun = of_node.entry(name.clone()).or_insert_with(|| fresh.clone());
            if begun.generation != generation {
                *begun = fresh;
            }
        }
    }
}

/// The leaf, when all handshakes show the same one.
fn served(handshakes: &ServedBy<'_>, node: &NodeName, name: &CertName) -> Option<Fingerprint> {
    let mut leaves = of(handshakes, node, name).map(|served| match &served.seen {
        Seen::Leaf { leaf, .. } => Some(leaf.fingerprint),
        Seen::Silence(_) => None,
    });
    let first = leaves.next()?;
    first.filter(|_| leaves.all(|leaf| leaf == first))
}

/// Ends the record of a delivery, unless its outcome is unknown. Where nothing was done in this pass, an earlier record
/// stays.
pub fn ended(state: &mut PersistedState, asked: &Scope, node: &NodeName, name: &CertName, outcome: &Outcome) {
    let begun = state.begun.get(node).and_then(|of_node| of_node.get(name));
    let earlier = begun.is_some_and(|begun| asked.pass_started.is_some_and(|started| begun.at < started));
    match outcome {
        Outcome::Unknown { .. } => return,
        Outcome::Failed { .. } | Outcome::Aborted { .. } if earlier => return,
        _ => {}
    }
    forget(&mut state.begun, node, name);
}

/// The outcome of going back, expressed for the generation that was gone back from.
pub fn outcome(reason: &DeliveryReason, outcome: &Outcome) -> Outcome {
    let DeliveryReason::Reverts { silence, .. } = reason else { return outcome.clone() };
    let why = format!("{silence}, since certd was ended in the middle of a delivery");
    match outcome {
        Outcome::Served => Outcome::Undone { why, not_back: None, serves: true },
        Outcome::ReloadFails { .. } => Outcome::Undone { why, not_back: None, serves: true },
        Outcome::Unverified { .. } | Outcome::Absent { .. } | Outcome::Placed { .. } => {
            Outcome::Undone { why, not_back: None, serves: false }
        }
        other => other.clone(),
    }
}

/// Due when TLS answered with the previous generation at the start of the delivery, fails now, and that generation is
/// still valid. Where the node's receiver has refused to go back, the new generation is tried again instead.
pub(super) fn due(
    facts: &Facts<'_>,
    certificate: &Certificate,
    stored: &Stored,
    desired: Desired<'_>,
    node: &NodeName,
) -> Option<DeliveryReason> {
    let Facts { observed, served, now, .. } = *facts;
    let name = &certificate.name;
    let begun = observed.state.begun.get(node)?.get(name).filter(|begun| &begun.generation == desired.generation)?;
    let Former { leaf, .. } =
        stored.previous.as_ref().filter(|former| begun.served == Some(former.leaf.fingerprint))?;
    let refused = attempts(name, desired.generation, node, observed);
    if refused.is_some_and(|attempts| attempts.failure.code == Code::NodeNotPermitted) {
        return None;
    }
    let revoked = observed.state.revoked.contains_key(&leaf.fingerprint);
    let valid = leaf.not_before <= now && now < leaf.not_after && !revoked && desired.held.is_none();
    let mut silence = None;
    for served in of(served, node, name) {
        match &served.seen {
            Seen::Silence(seen @ (ProbeError::Refused | ProbeError::Tls(_))) => silence = Some(seen.clone()),
            Seen::Silence(silence) if silence.somebody_there() => {}
            _ => return None,
        }
    }
    let silence = silence.filter(|_| valid)?;
    Some(DeliveryReason::Reverts { from: desired.generation.clone(), silence })
}

/// One for each node.
#[derive(Default)]
pub(super) struct Reverts<'a>(pub(super) Vec<Deliver>, BTreeMap<&'a NodeName, usize>);

impl<'a> Reverts<'a> {
    /// Adds the certificate to the revert of that node.
    pub(super) fn add(
        &mut self,
        facts: &Facts<'_>,
        certificate: &Certificate,
        former: &Former,
        node: &'a NodeName,
        reason: DeliveryReason,
    ) {
        let name = &certificate.name;
        let before = before(facts.served, certificate, node, facts.now);
        let Self(reverts, places) = self;
        let place = *places.entry(node).or_insert_with(|| {
            let nodes = vec![super::NodeTask::new(node.clone(), before)];
            reverts.push(Deliver { nodes, reverts: true, stop_after: 1, ..Deliver::default() });
            reverts.len() - 1
        });
        let deliver = &mut reverts[place];
        deliver.certificates.insert(name.clone(), former.generation.clone());
        for task in &mut deliver.nodes {
            task.before = task.before.and(before);
            task.older.insert(name.clone());
            task.certificates.insert(name.clone(), reason.clone());
        }
    }
}
