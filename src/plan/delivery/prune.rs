//! Forgets removed nodes.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cert::{CertName, NodeName};
use crate::config::Config;
use crate::model::PersistedState;

use super::super::backoff;

/// Forgets failures of removed nodes: they would hold up the others, and a name in DNS that shows other addresses every
/// time would fill the disk. A node that went back lately keeps its back-off in case it is named again; only a trusted
/// machine gets that far.
pub fn prune(state: &mut PersistedState, config: &Config, now: Timestamp) {
    prune_ends(state, config);
    state.delivery.retain(|node, by_name| {
        by_name.retain(|name, attempts| {
            let lately = attempts.rolled_back && backoff::delivery(attempts, true) > now;
            config.install(node, name).is_some() || lately && backoff::counts(attempts.last, now)
        });
        !by_name.is_empty()
    });
}

/// Forgets one pair, and the node where that was its last.
pub(in crate::plan) fn forget<T>(
    pairs: &mut BTreeMap<NodeName, BTreeMap<CertName, T>>,
    node: &NodeName,
    name: &CertName,
) {
    if let Some(of_node) = pairs.get_mut(node) {
        of_node.remove(name);
        if of_node.is_empty() {
            pairs.remove(node);
        }
    }
}

/// Forgets deliveries to removed nodes that were begun or not proven.
fn prune_ends(state: &mut PersistedState, config: &Config) {
    let PersistedState { begun, unproven, .. } = state;
    begun.retain(|node, by_name| {
        by_name.retain(|name, _| config.install(node, name).is_some());
        !by_name.is_empty()
    });
    unproven.retain(|node, by_name| {
        by_name.retain(|name, _| config.install(node, name).is_some());
        !by_name.is_empty()
    });
}
