//! The work of the service at a wake-up: a look or a pass.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::cert::Roots;
use crate::config::Config;
use crate::context::health::Healths;
use crate::context::secrets::Secrets;
use crate::context::{Context, clock, failure, progress};
use crate::model::{Code, Finding, PersistedState, Scope};
use crate::reconcile::{self, reconcile};
use crate::report::Report;
use crate::store::{Lock, Store};

use crate::service::Hooks;
use crate::service::events::ServiceEvent;

fn everything() -> Scope {
    Scope { may_issue: true, short_retries: true, ..Scope::default() }
}

/// Handshakes only: takes no lock, asks no CA, writes nothing.
pub(crate) async fn look(
    config: Arc<Config>,
    secrets: Arc<Secrets>,
    roots: Roots,
    healths: Healths,
) -> Result<(Report, PersistedState), Finding> {
    let context = Context::look(config, roots, secrets, progress::Progress::silent())?;
    let context = context.with_health(healths);
    reconcile::look(&context, "run", everything()).await
}

/// The inputs of one pass.
pub(crate) struct Pass {
    pub(crate) config: Arc<Config>,
    pub(crate) roots: Roots,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) progress: progress::Progress,
    pub(crate) stop: watch::Receiver<bool>,
    pub(crate) healths: Healths,
}

impl Pass {
    /// Returns when the pass began, and its report. `Err(None)`: it was stopped before it did anything.
    pub(crate) async fn make(self, lock: Lock) -> Result<(Timestamp, Report), Option<Finding>> {
        let store = Store::open(&self.config.state_dir).map_err(|error| Some(Finding::from(error)))?;
        let begun = clock::now();
        let context = Context::new(self.config, store, self.roots, self.secrets, self.progress, self.stop);
        let context = context.with_health(self.healths).discovered().await;
        let report = reconcile(&Arc::new(context), "run", everything()).await;
        drop(lock);
        report.map(|report| (begun, report)).map_err(|failure| Some(failure).filter(|it| it.code != Code::Interrupted))
    }
}

/// Waits for the lock without limit.
pub(crate) async fn lock(root: PathBuf, hooks: Arc<Hooks>) -> Result<Lock, Finding> {
    if let Some(lock) = Store::open(&root).and_then(|store| store.lock())? {
        return Ok(lock);
    }
    (hooks.event)(&ServiceEvent::Locked(root.join("lock")));
    // A blocked flock cannot be cancelled; when the receiver is gone, dropping the result releases the lock.
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || sender.send(Store::open(&root).and_then(|store| store.lock_wait())));
    let ended = |_| failure::bug("the lock", "its thread ended without an answer");
    receiver.await.map_err(ended)?.map_err(Finding::from)
}
