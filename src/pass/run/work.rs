//! What the service does when it wakes: a look, or a pass.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use crate::cert::Roots;
use crate::config::Config;
use crate::observed::{Asked, Failure, Tried};
use crate::pass::{Context, Secrets, clock, failure, observe, pass, progress, stopped};
use crate::plan;
use crate::report::{self, Report};
use crate::store::{Lock, Store, StoreError};

use super::{Hooks, News};

fn everything() -> Asked {
    Asked { may_issue: true, patient: true, ..Asked::default() }
}

/// Handshakes alone: takes no lock, asks no CA, writes nothing.
pub(super) async fn look(config: Arc<Config>, roots: Roots) -> Result<(Report, Tried), Failure> {
    let of_store = |error: StoreError| Failure::from(&error);
    let store = Store::look(&config.state_dir).map_err(of_store)?;
    let observed = observe::observe(&config, &store, &roots, everything()).await.map_err(of_store)?;
    let now = clock::now();
    let plan = plan::plan(&config, &observed, now);
    let report = report::build("run", &config, &observed, plan, observe::damages(&store), false, now);
    Ok((report, observed.tried))
}

/// One pass, with everything that it needs.
pub(super) struct Pass {
    pub(super) config: Arc<Config>,
    pub(super) roots: Roots,
    pub(super) secrets: Secrets,
    pub(super) hooks: Arc<Hooks>,
    pub(super) progress: progress::Progress,
    pub(super) stop: watch::Receiver<bool>,
}

impl Pass {
    /// When it began, and its report. `Err(None)`: it was told to end before it began.
    pub(super) async fn make(self) -> Result<(Timestamp, Report), Option<Failure>> {
        let of_store = |error: StoreError| Some(Failure::from(&error));
        let store = Store::open(&self.config.state_dir).map_err(of_store)?;
        let lock = match store.lock().map_err(of_store)? {
            Some(lock) => lock,
            None => {
                (self.hooks.news)(&News::Locked);
                self.wait_for_the_lock().await?
            }
        };
        let begun = clock::now();
        let context = Context::new(self.config, store, self.roots, self.secrets, self.progress, self.stop);
        let report = pass(&Arc::new(context), "run", everything()).await;
        drop(lock);
        report
            .map(|report| (begun, report))
            .map_err(|failure| Some(failure).filter(|it| it.code != failure::INTERRUPTED))
    }

    /// A blocked flock cannot be called off: its thread gives the lock back when nobody wants it any more.
    async fn wait_for_the_lock(&self) -> Result<Lock, Option<Failure>> {
        let (tell, told) = oneshot::channel();
        let (root, mut stop) = (self.config.state_dir.clone(), self.stop.clone());
        std::thread::spawn(move || tell.send(Store::open(&root).and_then(|store| store.lock_wait())));
        tokio::select! {
            told = told => match told {
                Ok(lock) => lock.map_err(|error| Some(Failure::from(&error))),
                Err(_) => Err(Some(failure::bug("the lock", "its thread ended without an answer"))),
            },
            () = stopped(&mut stop) => Err(None),
        }
    }
}
