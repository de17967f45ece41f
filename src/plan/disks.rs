//! The daily comparison of the nodes' disks with the store: which nodes are due, and what a look means. A node that
//! serves the right leaf from memory serves its disk after the next reload.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::cert::{CertName, Generation, NodeName};
use crate::config::{Config, Install};
use crate::model::{AtPath, Compared, Disk, Drift, Found, NodeClock, Observed, PersistedState, Severity};

use super::{backoff, installs};

/// Files are changed by hand, by backups and by other clients: by the day, not by the minute, and each look is a login.
const EVERY: SignedDuration = SignedDuration::from_hours(24);
/// A node that could not be looked at is tried again sooner: its disk is unknown.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// A node's clock that is further off is a warning: its log lines and cron mislead by as much, and a receiver judges
/// certificates by it.
const CLOCK_OFF: SignedDuration = SignedDuration::from_mins(5);
/// KiB. A chain and a key take about fifteen, and two generations are kept.
const NO_SPACE: u64 = 1024;
/// KiB. What fills a disk to this level soon fills the rest.
const LITTLE_SPACE: u64 = 10 * NO_SPACE;

/// The nodes whose disks this pass compares. A pass with a narrower scope compares none.
pub fn due(config: &Config, observed: &Observed, now: Timestamp) -> BTreeSet<NodeName> {
    let asked = &observed.asked;
    let stored = |name: &CertName| observed.store.get(name).is_some_and(|stored| stored.current.is_some());
    if asked.compares_disks {
        // What was delivered in this pass holds what was sent.
        let is_new = |compared: &Compared| asked.pass_started.is_some_and(|started| compared.at >= started);
        let seen = |node: &NodeName, name: &CertName| compared(&observed.state, node, name).is_some_and(is_new);
        let due = active(config, observed, now).filter(|(node, name)| stored(name) && !seen(node, name));
        return due.map(|(node, _)| node).collect();
    }
    if !asked.certificates.is_empty() || !asked.wants_every_node() || !asked.may_issue {
        return BTreeSet::new();
    }
    let due =
        active(config, observed, now).filter(|(node, name)| stored(name) && is_due(&observed.state, node, name, now));
    due.map(|(node, _)| node).collect()
}

/// Every node in scope, due or not, with something stored for it or not.
pub fn all(config: &Config, observed: &Observed, now: Timestamp) -> BTreeSet<NodeName> {
    active(config, observed, now).map(|(node, _)| node).collect()
}

/// Nodes that are not paused, each with its certificates.
fn active<'a>(
    config: &'a Config,
    observed: &'a Observed,
    now: Timestamp,
) -> impl Iterator<Item = (NodeName, CertName)> + 'a {
    let active = move |node: &&NodeName| config.paused_until(node, now).is_none();
    let asked = |node: &&NodeName| observed.asked.wants_node(node);
    let certificates = config.certificates.iter().filter(|it| observed.asked.wants(&it.name));
    certificates.flat_map(move |certificate| {
        let nodes = certificate.nodes.iter().filter(active).filter(asked);
        nodes.map(|node| (node.clone(), certificate.name.clone()))
    })
}

fn is_due(state: &PersistedState, node: &NodeName, certificate: &CertName, now: Timestamp) -> bool {
    let Some(compared) = compared(state, node, certificate) else { return true };
    let wait = if compared.failure.is_some() { AGAIN } else { EVERY };
    !backoff::counts(compared.at, now) || now.duration_since(compared.at) >= wait
}

fn compared<'a>(state: &'a PersistedState, node: &NodeName, certificate: &CertName) -> Option<&'a Compared> {
    state.disks.get(node)?.get(certificate)
}

/// What differed at the last comparison with this generation.
pub fn drifted<'a>(
    state: &'a PersistedState,
    node: &NodeName,
    certificate: &CertName,
    generation: &Generation,
) -> Option<(&'a Compared, &'a Drift)> {
    let compared = compared(state, node, certificate).filter(|compared| &compared.generation == generation)?;
    Some((compared, compared.drift.as_ref()?))
}

/// Judges what a look found at the paths of a certificate; `None`: the stored generation.
pub fn judge(found: &Found, renewers: &[String], install: &Install, desired: &Generation) -> Option<Drift> {
    let paths = [&found.fullchain, &found.key];
    let foreign = paths.iter().find_map(|path| match path {
        AtPath::Foreign { why } => Some(Drift::Foreign { why: why.clone() }),
        _ => None,
    });
    let plain = paths.contains(&&AtPath::Plain);
    let renewers = renewers.to_vec();
    match () {
        () if foreign.is_some() => foreign,
        () if paths.contains(&&AtPath::Nothing) => Some(Drift::Missing),
        () if install.in_place && found.same => None,
        () if install.in_place => Some(Drift::Overwritten { renewers }),
        () if plain && found.same => Some(Drift::Flattened),
        () if plain => Some(Drift::Overwritten { renewers }),
        () if found.same => None,
        () => {
            let current = found.current.clone().unwrap_or_default();
            // A generation that was changed on the node has its successor beside it, under a name with a number.
            let (name, _) = current.split_once('.').unwrap_or((&current, ""));
            Some(match name.parse::<Generation>() {
                Ok(there) if there.number() > desired.number() => Drift::Newer { current },
                Ok(there) if there.number() < desired.number() => Drift::Older { current },
                _ => Drift::Changed { renewers },
            })
        }
    }
}

/// Records the result of a look. A node that could not be looked at keeps its previous drift.
pub fn record(state: &mut PersistedState, config: &Config, desired: &[(CertName, Option<Generation>)], disk: &Disk) {
    for (certificate, generation) in desired {
        let (Some(install), Some(generation)) = (config.install(&disk.node, certificate), generation) else { continue };
        let at = disk.at;
        let before = state.disks.get(&disk.node).and_then(|by_name| by_name.get(certificate));
        let before = before.filter(|before| &before.generation == generation).cloned();
        let compared = match &disk.looked {
            Ok(looked) => {
                let Some(found) = looked.certificates.get(certificate) else { continue };
                let drift = judge(found, &looked.renewer_files(), install, generation);
                if drift.is_none() {
                    installs::found(state, &disk.node, certificate, install);
                }
                Compared { at, generation: generation.clone(), drift, failure: None }
            }
            Err(failure) => {
                let drift = before.and_then(|before| before.drift);
                Compared { at, generation: generation.clone(), drift, failure: Some(failure.clone()) }
            }
        };
        state.disks.entry(disk.node.clone()).or_default().insert(certificate.clone(), compared);
    }
}

/// After a proven delivery the disk holds what was sent.
pub fn mended(
    state: &mut PersistedState,
    node: &NodeName,
    certificate: &CertName,
    generation: &Generation,
    at: Timestamp,
) {
    let compared = Compared { at, generation: generation.clone(), drift: None, failure: None };
    state.disks.entry(node.clone()).or_default().insert(certificate.clone(), compared);
}

/// Forgets removed nodes.
pub fn prune(state: &mut PersistedState, config: &Config) {
    installs::prune(state, config);
    state.disks.retain(|node, by_name| {
        by_name.retain(|name, _| config.install(node, name).is_some());
        !by_name.is_empty()
    });
}

/// How far a node's clock is ahead of ours, when worth a warning.
pub fn clock_off(clocks: NodeClock) -> Option<SignedDuration> {
    let ahead = clocks.theirs.duration_since(clocks.ours);
    (ahead.abs() > CLOCK_OFF).then_some(ahead)
}

/// Severity of this many free KiB at the chain's path; `None`: enough.
pub fn disk_space(kib: u64) -> Option<Severity> {
    match kib {
        0..NO_SPACE => Some(Severity::Obstacle),
        NO_SPACE..LITTLE_SPACE => Some(Severity::Warning),
        _ => None,
    }
}
