//! How a certificate was last installed on a node. Another path, a further file, an owner or a mode is a reason to
//! deliver now, although the node serves the right certificate. Commands are not: they take effect at the next
//! delivery.

use core::fmt::Write as _;

use crate::cert::{CertName, NodeName, sha256_hex};
use crate::config::{Config, Install, Rights};
use crate::model::PersistedState;

use super::places;

/// Bytes of the digest that are kept: enough to see a change, and few enough for the state of a thousand nodes.
const KEPT: usize = 8;

/// Digest of everything but the commands, hex.
pub(super) fn digest_of(install: &Install) -> String {
    let Install { fullchain, key, chain, combined, chain_first, forms, in_place, rights, .. } = install;
    let Rights { owner, group, mode, key_mode } = rights;
    let mut text = format!(
        "{fullchain:?} {key:?} {chain:?} {combined:?} {in_place} {owner:?} {group:?} {:?} {:?}",
        mode.map(|mode| mode.to_string()),
        key_mode.map(|mode| mode.to_string()),
    );
    // Digests of earlier versions hold where nothing of this is said.
    if *chain_first && combined.is_some() {
        text.push_str(" chain first");
    }
    if !forms.is_none() {
        let _ = write!(text, " {forms:?}");
    }
    short(&text)
}

fn short(text: &str) -> String {
    sha256_hex(text).chars().take(2 * KEPT).collect()
}

/// Digest with the commands: another test or reload command may be what a delivery needs that proved nothing.
pub fn whole(config: &Config, node: &NodeName, certificate: &CertName) -> String {
    let install = config.install(node, certificate);
    let text = install.map(|install| format!("{} {:?} {:?}", digest_of(install), install.test, install.reload));
    text.map(|text| short(&text)).unwrap_or_default()
}

/// Records a proven delivery with the current install settings.
pub fn delivered(state: &mut PersistedState, config: &Config, node: &NodeName, certificate: &CertName) {
    if let Some(install) = config.install(node, certificate) {
        state.installed.entry(node.clone()).or_default().insert(certificate.clone(), digest_of(install));
        places::used(state, node, certificate, install);
    }
}

/// Records the settings of a node whose disk is right but which has no record yet: later changes count from here on.
pub fn found(state: &mut PersistedState, node: &NodeName, certificate: &CertName, install: &Install) {
    let of_node = state.installed.entry(node.clone()).or_default();
    of_node.entry(certificate.clone()).or_insert_with(|| digest_of(install));
    places::used(state, node, certificate, install);
}

/// Forgets removed nodes.
pub fn prune(state: &mut PersistedState, config: &Config) {
    places::prune(state, config);
    state.installed.retain(|node, by_name| {
        by_name.retain(|name, _| config.install(node, name).is_some());
        !by_name.is_empty()
    });
}
