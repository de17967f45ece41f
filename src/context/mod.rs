//! Shared by every step: configuration, store, secrets, clients and accounts of the CAs, DNS provider, clock and stop
//! signal.

pub mod ca;
pub mod clock;
pub mod effect_failure;
pub mod failure;
pub mod health;
pub mod health_headers;
pub mod progress;
pub mod provider;
pub mod secrets;
pub mod watch_roots;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, watch};

use crate::acme::Http;
use crate::cert::{CertName, NameSet, NodeName, Roots};
use crate::config::Config;
use crate::http::{HttpOptions, Trust};
use crate::model::{CaClock, Finding, NodeClock};
use crate::mutex::lock;
use crate::store::{Store, StoreError};

pub use secrets::{Secrets, roots};

/// The context of a pass or a look.
pub struct Context {
    pub config: Arc<Config>,
    pub store: Store,
    pub roots: Roots,
    pub secrets: Arc<Secrets>,
    pub progress: progress::Progress,
    /// Becomes true when the process should stop.
    pub stop: watch::Receiver<bool>,
    /// Certificates issued in parallel share an account; the lock ensures that it is created once.
    account: Mutex<()>,
    /// Orders for the same names come one after the other: a CA may answer with the unfinished order of the first
    /// (RFC 8555 leaves it open), which one key alone can finalize.
    orders: std::sync::Mutex<BTreeMap<NameSet, Arc<Mutex<()>>>>,
    /// One client per CA, by host.
    cas: std::sync::Mutex<HashMap<String, Http>>,
    /// The DNS provider, opened on first use.
    pub dns: Arc<provider::ProviderCache>,
    /// Clock reading of each CA, by host.
    ca_clocks: std::sync::Mutex<BTreeMap<String, CaClock>>,
    /// Clock reading of each node.
    node_clocks: std::sync::Mutex<BTreeMap<NodeName, NodeClock>>,
    /// The health that `certd run` has found beside this pass; empty in other commands.
    pub health: health::Healths,
    /// Keys that fewer users can read after a delivery.
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
        let (account, orders, cas, dns, ca_clocks, node_clocks, narrowed) = Default::default();
        let (config, secrets) = (config.into(), secrets.into());
        Self {
            config,
            store,
            roots,
            secrets,
            progress,
            stop,
            account,
            orders,
            cas,
            dns,
            ca_clocks,
            node_clocks,
            health: health::Healths::default(),
            narrowed,
        }
    }

    /// With what is known of the nodes' health.
    pub(crate) fn with_health(self, health: health::Healths) -> Self {
        Self { health, ..self }
    }

    /// Replaces the configuration by one with the discovered nodes.
    pub(crate) fn with_config(self, config: Config) -> Self {
        Self { config: config.into(), ..self }
    }

    /// For a read-only command, with the secrets of [`Secrets::for_probes`].
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

    /// A context for one look, with a fresh view of the store and a configuration that includes the discovered nodes.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn for_a_look(&self, config: &Arc<Config>) -> Result<Self, StoreError> {
        let (store, roots, secrets) = (Store::look(self.store.root())?, self.roots.clone(), Arc::clone(&self.secrets));
        let looking = Self::new(Arc::clone(config), store, roots, secrets, self.progress.clone(), self.stop.clone());
        Ok(looking.with_health(self.health.clone()))
    }

    /// Held while a certificate of these names is ordered.
    pub(crate) fn orders_of(&self, names: &NameSet) -> Arc<Mutex<()>> {
        Arc::clone(lock(&self.orders).entry(names.clone()).or_default())
    }

    /// Proxy and roots for outgoing HTTP requests.
    pub fn http_options(&self) -> HttpOptions {
        let trust = self.secrets.network_ca.clone().map_or(Trust::System, Trust::Also);
        HttpOptions { proxy: self.config.network.proxy.clone(), trust }
    }

    /// Records the `Date` of this CA's last answer. Call it right after the answer.
    pub(crate) fn note_ca_clock(&self, ca: &str, http: &Http) {
        let Some(theirs) = http.date() else { return };
        let mut clocks = lock(&self.ca_clocks);
        clocks.insert(ca.to_owned(), CaClock { ours: clock::now(), theirs });
    }

    /// Records a node's clock reading. Call it right after the answer.
    pub(crate) fn note_node_clock(&self, node: &NodeName, theirs: Option<Timestamp>) {
        let Some(theirs) = theirs else { return };
        let mut clocks = lock(&self.node_clocks);
        clocks.insert(node.clone(), NodeClock { ours: clock::now(), theirs });
    }

    pub(crate) fn node_clocks(&self) -> BTreeMap<NodeName, NodeClock> {
        lock(&self.node_clocks).clone()
    }

    /// Records keys that a node restricts at a delivery: users who could read them before no longer can.
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

    /// The host and the clock of the CA that agrees best with this machine: if two CAs disagree, the one that a third
    /// clock (ours) confirms is more likely right.
    pub(crate) fn ca_clock(&self) -> Option<(String, CaClock)> {
        let clocks = lock(&self.ca_clocks);
        let best = clocks.iter().min_by_key(|(_, clock)| clock.ours.duration_since(clock.theirs).abs());
        best.map(|(ca, clock)| (ca.clone(), *clock))
    }
}

impl Context {
    /// The result of `work`; `None`: the process should stop.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.unless_stopped_for(Duration::ZERO, work).await
    }

    /// The result of `work`; `None`: the process should stop, and `work` was not done within `patience` after that.
    pub async fn unless_stopped_for<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Option<T> {
        let mut stop = self.stop.clone();
        let ending = async {
            stopped(&mut stop).await;
            tokio::time::sleep(patience).await;
        };
        tokio::select! {
            done = work => Some(done),
            () = ending => None,
        }
    }
}

/// Returns when the process should stop; never, if the sender is gone.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        core::future::pending::<()>().await;
    }
}
