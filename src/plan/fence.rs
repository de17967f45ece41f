//! What a node's word about the number that it holds is good for. It is a stranger's: it may cost that node a delivery, and
//! nobody anything else.
//!
//! A number that lies more than a day ahead of our clock decides nothing; `plan` makes no step by a clock that the CA's
//! contradicts or that cannot be right ([`super::clock`]), so that ours is the one to go by. One that is nearer may be
//! honest, from a clock that was ahead: the next certificate is numbered above it, and the stored one once, if it is the
//! later by the CA's clock. It is forgotten when the node takes what it is sent, or no longer gets that certificate.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cert::{CertName, Generation, Leaf, NodeName, generation};
use crate::config::Config;
use crate::model::{Code, DeliveryAttempts, Fence, Kept, Observed, PersistedState, Renumbered, Seen, Served};

use super::delivery::of;

/// Nothing is numbered above what lies further ahead: a receiver refuses a number beyond its own clock plus a day, and a
/// node's clock may be an hour behind ours before anybody is told (`plan::clock`). What is refused until then is numbered
/// later.
const HEED: SignedDuration = SignedDuration::from_hours(23);

/// The number that a certificate is numbered above, and the node that holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Above {
    pub node: NodeName,
    pub number: u64,
}

/// Whether anybody can hold a generation of this number by now.
pub fn plausible(number: u64, now: Timestamp) -> bool {
    number <= generation::latest(now)
}

/// What a node said of the generation that it holds. `None`: it took what it was sent, and so holds nothing newer.
pub fn told(tried: &mut PersistedState, name: &CertName, node: &NodeName, number: Option<u64>, now: Timestamp) {
    let of_name = tried.fences.entry(name.clone()).or_default();
    match number {
        Some(number) => _ = of_name.insert(node.clone(), Fence { number, at: now }),
        None => _ = of_name.remove(node),
    }
    tried.fences.retain(|_, of_name| !of_name.is_empty());
}

/// The greatest that counts.
pub fn greatest(name: &CertName, tried: &PersistedState, now: Timestamp) -> Option<Above> {
    let fences = tried.fences.get(name)?.iter().filter(|(_, fence)| counts(fence, now));
    let (node, fence) = fences.max_by_key(|(_, fence)| fence.number)?;
    Some(Above { node: node.clone(), number: fence.number })
}

fn counts(fence: &Fence, now: Timestamp) -> bool {
    fence.number <= generation::number(now.saturating_add(HEED).unwrap_or(Timestamp::MAX))
}

/// The number above which a stored certificate must be numbered anew: nodes refused it for the number of what they hold,
/// and what they serve was issued before it, by the CA's own clock. So it is when the state was lost or the clock is behind
/// while nodes carry numbers of a time to come. A certificate that is the older one keeps its number and stays refused (I9);
/// and so it is where a node that refused serves nothing to compare with. On one node's word a certificate is numbered anew
/// once.
pub fn outgrown(name: &CertName, observed: &Observed, now: Timestamp) -> Option<u64> {
    let kept = observed.store.get(name)?.current.as_ref()?;
    let mut all = refusing(name, kept, observed);
    // Two of one second are told apart by what everybody sees alike, so that two controllers never take turns.
    let age = |leaf: &Leaf| (leaf.not_before, leaf.fingerprint);
    let older = |served: &Served| matches!(&served.seen, Seen::Leaf { leaf, .. } if age(leaf) < age(&kept.leaf));
    let serves_older = |node: &NodeName| {
        let mut all = of(observed, node, name).peekable();
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

/// Carries over what was tried with a certificate that has another number since. Who refused it for the number alone is
/// tried again; whoever had another reason has it still.
pub fn renumbered(observed: &mut Observed, name: &CertName, to: &Generation) {
    let Some(kept) = observed.store.get(name).and_then(|stored| stored.current.clone()) else { return };
    let from = &kept.generation;
    let nodes: BTreeSet<NodeName> = refusing(name, &kept, observed).cloned().collect();
    let tried = &mut observed.state;
    for by_name in tried.delivery.values_mut() {
        by_name.retain(|of, attempts| of != name || !refused(attempts, from));
        let attempts = by_name.get_mut(name).filter(|attempts| &attempts.generation == from);
        attempts.into_iter().for_each(|attempts| attempts.generation.clone_from(to));
    }
    tried.delivery.retain(|_, by_name| !by_name.is_empty());
    let compared = tried.disks.values_mut().filter_map(|by_name| by_name.get_mut(name));
    compared.filter(|it| &it.generation == from).for_each(|it| it.generation.clone_from(to));
    let begun = tried.begun.values_mut().filter_map(|by_name| by_name.get_mut(name));
    begun.filter(|it| &it.generation == from).for_each(|it| it.generation.clone_from(to));
    let unproven = tried.unproven.values_mut().filter_map(|by_name| by_name.get_mut(name));
    unproven.filter(|it| &it.generation == from).for_each(|it| it.generation.clone_from(to));
    let held = tried.held.get_mut(name).filter(|held| &held.generation == from);
    held.into_iter().for_each(|held| held.generation.clone_from(to));
    let fingerprint = kept.leaf.fingerprint;
    let done = tried.renumbered.entry(name.clone());
    let done = done.or_insert_with(|| Renumbered { fingerprint, nodes: BTreeSet::new() });
    if done.fingerprint != fingerprint {
        *done = Renumbered { fingerprint, nodes: BTreeSet::new() };
    }
    done.nodes.extend(nodes);
}

/// Forgets what a node said, or all of them; returns how many numbers that were.
pub fn reset(tried: &mut PersistedState, whose: Option<&NodeName>) -> usize {
    let mut forgotten = 0;
    let meant = |node: &NodeName| whose.is_none_or(|whose| whose == node);
    tried.fences.retain(|_, of_name| {
        let before = of_name.len();
        of_name.retain(|node, _| !meant(node));
        forgotten += before - of_name.len();
        !of_name.is_empty()
    });
    tried.renumbered.values_mut().for_each(|done| done.nodes.retain(|node| !meant(node)));
    forgotten
}

/// Forgets what was told by whoever is no node of that certificate any more.
pub fn prune(tried: &mut PersistedState, config: &Config) {
    tried.fences.retain(|name, of_name| {
        of_name.retain(|node, _| config.install(node, name).is_some());
        !of_name.is_empty()
    });
    tried.renumbered.retain(|name, _| config.certificate(name).is_some());
}
