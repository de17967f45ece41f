//! Where deliveries have put certificates on the nodes. Where another path is configured since, or a certificate goes
//! there no more, its folder stays behind with a key, and no look at the configured paths would see it.

use std::collections::{BTreeMap, BTreeSet};

use crate::cert::{CertName, NodeName};
use crate::config::{Config, Install};
use crate::model::{Leftover, PersistedState};

/// Folders of one node that are remembered: more have been changed by hand, and cleaned by hand.
const MOST: usize = 64;

/// The folder of certd's for a certificate, beside its full chain.
pub fn folder(install: &Install, certificate: &CertName) -> String {
    format!("{}/.certd/{certificate}", beside(install))
}

fn beside(install: &Install) -> &str {
    install.fullchain.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(super) fn used(state: &mut PersistedState, node: &NodeName, certificate: &CertName, install: &Install) {
    let of_node = state.places.entry(node.clone()).or_default();
    let folder = folder(install, certificate);
    if of_node.len() < MOST || of_node.contains_key(&folder) {
        let paths = [&install.fullchain, &install.key].into_iter().chain(&install.chain).chain(&install.combined);
        of_node.entry(folder).or_default().extend(paths.cloned());
    }
}

/// Those that the configuration does not have any more. Beside a configured path a look sees for itself what is there.
pub fn left(state: &PersistedState, config: &Config, node: &NodeName) -> Vec<Leftover> {
    let installs = config.certificates.iter().filter_map(|certificate| config.install(node, &certificate.name));
    let seen: BTreeSet<&str> = installs.map(|install| beside(install)).collect();
    let of_node = state.places.get(node).into_iter().flatten();
    let elsewhere =
        of_node.filter(|(folder, _)| !folder.rsplit_once("/.certd/").is_some_and(|(beside, _)| seen.contains(beside)));
    elsewhere.map(|(folder, paths)| Leftover { folder: folder.clone(), paths: paths.clone() }).collect()
}

/// All that deliveries of this controller have left there, beside configured paths too: another controller's are not its.
pub fn delivered(state: &PersistedState, config: &Config, node: &NodeName) -> Vec<Leftover> {
    let here = config.certificates.iter().filter_map(|it| Some(folder(config.install(node, &it.name)?, &it.name)));
    let here: BTreeSet<String> = here.collect();
    let of_node = state.places.get(node).into_iter().flatten().filter(|(folder, _)| !here.contains(*folder));
    of_node.map(|(folder, paths)| Leftover { folder: folder.clone(), paths: paths.clone() }).collect()
}

/// Whether DNS says where it goes: a node may be gone from there for an hour.
pub fn is_discovered(config: &Config, name: &str) -> bool {
    config.certificates.iter().any(|certificate| certificate.discover.is_some() && certificate.name.as_str() == name)
}

/// It is gone from the node.
pub fn forget(state: &mut PersistedState, node: &NodeName, folder: &str) {
    if let Some(of_node) = state.places.get_mut(node) {
        of_node.remove(folder);
    }
}

/// Forgets nodes that are not configured.
pub(super) fn prune(state: &mut PersistedState, config: &Config) {
    state.places.retain(|node, folders: &mut BTreeMap<_, _>| config.node(node).is_some() && !folders.is_empty());
}
