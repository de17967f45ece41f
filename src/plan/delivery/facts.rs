//! What a delivery is decided from, arranged once for all pairs of a certificate and a node.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cert::{CertName, NodeName};
use crate::config::{Config, Install};
use crate::model::{Observed, PersistedState};
use crate::plan::{ServedBy, installs};

pub(in crate::plan) struct Facts<'a> {
    pub(in crate::plan) config: &'a Config,
    pub(in crate::plan) observed: &'a Observed,
    pub(in crate::plan) served: &'a ServedBy<'a>,
    pub(in crate::plan) now: Timestamp,
    /// The digest of each distinct install: nodes without settings of their own share one.
    digests: BTreeMap<*const Install, String>,
}

impl<'a> Facts<'a> {
    pub(in crate::plan) fn new(
        config: &'a Config,
        observed: &'a Observed,
        served: &'a ServedBy<'a>,
        now: Timestamp,
    ) -> Self {
        let mut digests = BTreeMap::new();
        if !observed.state.installed.is_empty() {
            for install in config.installs.values() {
                digests.entry(Arc::as_ptr(install)).or_insert_with(|| installs::digest_of(install));
            }
        }
        Self { config, observed, served, now, digests }
    }

    pub(super) fn state(&self) -> &'a PersistedState {
        &self.observed.state
    }

    /// Whether it was installed otherwise than the configuration says now. Without a record: no.
    pub(super) fn install_changed(&self, node: &NodeName, certificate: &CertName) -> bool {
        let before = self.state().installed.get(node).and_then(|by_name| by_name.get(certificate));
        let now = || self.digests.get(&Arc::as_ptr(self.config.install(node, certificate)?));
        before.is_some_and(|before| now().is_some_and(|now| before != now))
    }
}
