//! How far a node's claim about the generation number it holds is trusted. A claim may cost that node a delivery, and
//! no other node anything.
//!
//! A number more than a day ahead of our clock decides nothing; our clock is the reference, since `plan` makes no step
//! by a clock that the CA's contradicts or that cannot be right ([`super::clock`]). A nearer number may be honest, from
//! a clock that was ahead: the next certificate is numbered above it, and the stored one is renumbered once if the CA's
//! clock shows it to be the later one. The claim is forgotten when the node accepts a delivery, or no longer gets that
//! certificate.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cert::{CertName, Generation, Leaf, NodeName, generation};
use crate::config::Config;
use crate::model::{Code, DeliveryAttempts, Fence, Kept, Observed, PersistedState, Renumbered, Seen, Served};

use super::ServedBy;
use super::delivery::of;

/// Fences further ahead are ignored: a receiver refuses numbers beyond its own clock plus a day, and a node's clock may
/// lag ours by an hour before it is reported (`plan::clock`). What is refused until then is renumbered later.
const FURTHEST_AHEAD: SignedDuration = SignedDuration::from_hours(23);

/// The number that a certificate must exceed, and the node that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Above {
    pub node: NodeName,
    pub number: u64,
}

/// Whether a generation of this number can exist by now.
pub fn plausible(number: u64, now: Timestamp) -> bool {
    number <= generation::latest(now)
}

/// Records the generation number that a node claims to hold. `None`: the node accepted the delivery, and so holds
/// nothing newer.
pub fn record(state: &mut PersistedState, name: &CertName, node: &NodeName, number: Option<u64>, now: Timestamp) {
    let of_name = state.fences.entry(name.clone()).or_default();
    match number {
        Some(number) => _ = of_name.insert(node.clone(), Fence { number, at: now }),
        None => _ = of_name.remove(node),
    }
    if of_name.is_empty() {
        state.fences.remove(name);
    }
}

/// The greatest fence that counts.
pub fn greatest(name: &CertName, state: &PersistedState, now: Timestamp) -> Option<Above> {
    let fences = state.fences.get(name)?.iter().filter(|(_, fence)| counts(fence, now));
    let (node, fence) = fences.max_by_key(|(_, fence)| fence.number)?;
    Some(Above { node: node.clone(), number: fence.number })
}

fn counts(fence: &Fence, now: Timestamp) -> bool {
    fence.number <= generation::number(now.saturating_add(FURTHEST_AHEAD).unwrap_or(Timestamp::MAX))
}

/// The number above which a stored certificate must be renumbered, when nodes refused it for the number of what they
/// hold, but serve an older certificate by the CA's own clock. This happens when the state was lost, or when our clock
/// is behind while nodes carry numbers from the future. A certificate that is the older one keeps its number and stays
/// refused (I9); likewise where a node that refused serves nothing to compare with. One node's claim renumbers a
/// certificate only once.
pub fn renumber_above(name: &CertName, observed: &Observed, now: Timestamp) -> Option<u64> {
    let kept = observed.store.get(name)?.current.as_ref()?;
    // Without a refusal there is nothing to compare.
    refusing(name, kept, observed).next()?;
    let served = ServedBy::new(observed.served.iter().filter(|served| served.certificate == *name));
    let mut all = refusing(name, kept, observed);
    // A tie within one second is broken by the fingerprint, which every controller sees, so that two controllers never
    // take turns.
    let age = |leaf: &Leaf| (leaf.not_before, leaf.fingerprint);
    let older = |served: &Served| matches!(&served.seen, Seen::Leaf { leaf, .. } if age(leaf) < age(&kept.leaf));
    let serves_older = |node: &NodeName| {
        let mut all = of(&served, node, name).peekable();
        all.peek().is_some() && all.all(older)
    };
    if !all.all(serves_older) {
        return None;
    }
    let done = observed.state.renumbered.get(name).filter(|done| done.fingerprint == kept.leaf.fingerprint);
    let new = refusing(name, kept, observed).filter(|node| done.is_none_or(|done| !done.nodes.contains(*node)));
    let fences = observed.state.fences.get(name)?;
    let fences = new.filter_map(|node| fences.get(node)).filter(|fence| counts(fence, now));
    fences.map(|fence| fence.number).max().filter(|fence| *fence >= kept.generation.number())
}

fn refusing<'a>(name: &'a CertName, kept: &'a Kept, observed: &'a Observed) -> impl Iterator<Item = &'a NodeName> {
    let by_node = observed.state.delivery.iter();
    let by_node = by_node.filter_map(move |(node, by_name)| Some((node, by_name.get(name)?)));
    by_node.filter(|(_, attempts)| refused(attempts, &kept.generation)).map(|(node, _)| node)
}

fn refused(attempts: &DeliveryAttempts, generation: &Generation) -> bool {
    &attempts.generation == generation && attempts.failure.code == Code::NodeForeignNewer
}

/// Carries the records of attempts over to the new number. Nodes that refused the number alone are tried again; nodes
/// with another failure keep it.
pub fn renumbered(observed: &mut Observed, name: &CertName, to: &Generation) {
    let Some(kept) = observed.store.get(name).and_then(|stored| stored.current.clone()) else { return };
    let from = &kept.generation;
    let nodes: BTreeSet<NodeName> = refusing(name, &kept, observed).cloned().collect();
    let state = &mut observed.state;
    for by_name in state.delivery.values_mut() {
        by_name.retain(|of, attempts| of != name || !refused(attempts, from));
        let attempts = by_name.get_mut(name).filter(|attempts| &attempts.generation == from);
        attempts.into_iter().for_each(|attempts| attempts.generation.clone_from(to));
    }
    state.delivery.retain(|_, by_name| !by_name.is_empty());
    let compared = state.disks.values_mut().filter_map(|by_name| by_name.get_mut(name));
    compared.filter(|it| &it.generation == from).for_each(|it| it.generation.clone_from(to));
    let begun = state.begun.values_mut().filter_map(|by_name| by_name.get_mut(name));
    begun.filter(|it| &it.generation == from).for_each(|it| it.generation.clone_from(to));
    let unproven = state.unproven.values_mut().filter_map(|by_name| by_name.get_mut(name));
    unproven.filter(|it| &it.generation == from).for_each(|it| it.generation.clone_from(to));
    let held = state.held.get_mut(name).filter(|held| &held.generation == from);
    held.into_iter().for_each(|held| held.generation.clone_from(to));
    let fingerprint = kept.leaf.fingerprint;
    let done = state.renumbered.entry(name.clone());
    let done = done.or_insert_with(|| Renumbered { fingerprint, nodes: BTreeSet::new() });
    if done.fingerprint != fingerprint {
        *done = Renumbered { fingerprint, nodes: BTreeSet::new() };
    }
    done.nodes.extend(nodes);
}

/// Forgets the fences of one node, or of all; returns how many.
pub fn reset(state: &mut PersistedState, of_node: Option<&NodeName>) -> usize {
    let mut forgotten = 0;
    let forget = |node: &NodeName| of_node.is_none_or(|only| only == node);
    state.fences.retain(|_, of_name| {
        let before = of_name.len();
        of_name.retain(|node, _| !forget(node));
        forgotten += before - of_name.len();
        !of_name.is_empty()
    });
    state.renumbered.values_mut().for_each(|done| done.nodes.retain(|node| !forget(node)));
    forgotten
}

/// Forgets the fences of nodes that no longer get that certificate.
pub fn prune(state: &mut PersistedState, config: &Config) {
    state.fences.retain(|name, of_name| {
        of_name.retain(|node, _| config.install(node, name).is_some());
        !of_name.is_empty()
    });
    state.renumbered.retain(|name, _| config.certificate(name).is_some());
}
