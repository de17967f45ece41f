//! What is known of nodes that are none any more.

use jiff::Timestamp;

use crate::config::Config;
use crate::model::PersistedState;

use super::super::backoff;

/// Forgets failures of what is no longer a node's: they would hold up those that are, and a name in DNS that shows other
/// addresses every time would fill the disk. One that went back lately may be named again by then, and is not to be tried
/// at once; only a trusted machine comes so far.
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

/// Forgets what was begun or not proven at what is no longer a node's.
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
