//! What every step borrows: the configuration, the store, secrets, the CAs' clients and accounts, the DNS provider, the
//! clock and the stop signal.

pub mod ca;
pub mod clock;
pub mod effect_failure;
pub mod failure;
pub mod progress;
pub mod provider;
pub mod secrets;
pub mod watch_roots;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, watch};

use crate::acme::Http;
use crate::cert::{CertName, NodeName, Roots};
use crate::config::Config;
use crate::http::{HttpOptions, Trust};
use crate::model::{CaClock, Finding, NodeClock};
use crate::mutex::lock;
use crate::store::{Store, StoreError};

pub use secrets::{Secrets, roots};

/// What every step of a pass works with.
pub struct Context {
    pub config: Arc<Config>,
    pub store: Store,
    pub roots: Roots,
    pub secrets: Arc<Secrets>,
    pub progress: progress::Progress,
    /// Becomes true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    /// Certificates that are issued side by side share one account: it is made once.
    account: Mutex<()>,
    /// One client for each CA, by its host.
    cas: std::sync::Mutex<HashMap<String, Http>>,
    /// The DNS provider, opened when it is first needed.
    pub dns: Arc<provider::ProviderCache>,
    /// What each CA said of the time, by its host.
    ca_clocks: std::sync::Mutex<BTreeMap<String, CaClock>>,
    /// And what each node said of it.
    node_clocks: std::sync::Mutex<BTreeMap<NodeName, NodeClock>>,
    /// Keys that fewer people can read after a delivery.
    narrowed: std::sync::Mutex<BTreeSet<(NodeName, CertName, String)>>,
}

impl Context {
    pub fn new(
        config: impl Into<Arc<Config>>,
        store: Store,
        roots: Roots,
        secrets: impl Into<Arc<Secrets>>,
        progress: progress::Progress,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let (account, cas, dns, ca_clocks, node_clocks, narrowed) = Default::default();
        let (config, secrets) = (config.into(), secrets.into());
        Self { config, store, roots, secrets, progress, stop, account, cas, dns, ca_clocks, node_clocks, narrowed }
    }

    /// The same with the nodes that DNS has named.
    pub(crate) fn with_config(self, config: Config) -> Self {
        Self { config: config.into(), ..self }
    }

    /// Of a command that only looks, with the secrets of a look.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn look(
        config: Arc<Config>,
        roots: Roots,
        secrets: Arc<Secrets>,
        progress: progress::Progress,
    ) -> Result<Self, StoreError> {
        let store = Store::look(&config.state_dir)?;
        Ok(Self::new(config, store, roots, secrets, progress, watch::channel(false).1))
    }

    /// The same for a look at the nodes of this configuration, as DNS has named them since.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn of_a_look(&self, config: &Arc<Config>) -> Result<Self, StoreError> {
        let (store, roots, secrets) = (Store::look(self.store.root())?, self.roots.clone(), Arc::clone(&self.secrets));
        Ok(Self::new(Arc::clone(config), store, roots, secrets, self.progress.clone(), self.stop.clone()))
    }

    /// For requests that leave this machine.
    pub fn http_options(&self) -> HttpOptions {
        let trust = self.secrets.network_ca.clone().map_or(Trust::System, Trust::Also);
        HttpOptions { proxy: self.config.network.proxy.clone(), trust }
    }

    /// Notes what this CA's last answer says of the time; to be called right after it.
    pub(crate) fn note_ca_clock(&self, ca: &str, http: &Http) {
        let Some(theirs) = http.date() else { return };
        let mut held = lock(&self.ca_clocks);
        held.insert(ca.to_owned(), CaClock { ours: clock::now(), theirs });
    }

    /// Notes what a node says of the time; to be called right after it.
    pub(crate) fn note_node_clock(&self, node: &NodeName, theirs: Option<Timestamp>) {
        let Some(theirs) = theirs else { return };
        let mut held = lock(&self.node_clocks);
        held.insert(node.clone(), NodeClock { ours: clock::now(), theirs });
    }

    pub(crate) fn node_clocks(&self) -> BTreeMap<NodeName, NodeClock> {
        lock(&self.node_clocks).clone()
    }

    /// Notes what a node says of keys that are no longer handed on to everybody whom they were open to.
    pub(crate) fn note_narrowed_keys(&self, node: &NodeName, narrowed: &[(CertName, String)]) {
        let mut held = lock(&self.narrowed);
        held.extend(narrowed.iter().map(|(name, who)| (node.clone(), name.clone(), who.clone())));
    }

    pub(crate) fn narrowed_keys(&self) -> Vec<Finding> {
        let held = lock(&self.narrowed);
        held.iter().map(|(node, name, who)| failure::of_narrowed(node, name, who)).collect()
    }

    pub(crate) fn has_ca_clock(&self, ca: &str) -> bool {
        lock(&self.ca_clocks).contains_key(ca)
    }

    /// The host and the clock of the CA that agrees with ours the best: where two CAs tell different times, the one that
    /// is wrong is not the one that says what a third clock says too.
    pub(crate) fn ca_clock(&self) -> Option<(String, CaClock)> {
        let held = lock(&self.ca_clocks);
        let best = held.iter().min_by_key(|(_, told)| told.ours.duration_since(told.theirs).abs());
        best.map(|(ca, told)| (ca.clone(), *told))
    }
}

/// Returns when the process was asked to end; never, when nobody can ask any more.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        core::future::pending::<()>().await;
    }
}
