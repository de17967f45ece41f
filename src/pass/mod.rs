//! The loop: observe, plan, execute, fold, in rounds until only waits remain. The only place that joins several effects,
//! and the only one that reads the clock.

pub mod account;
pub mod clock;
pub mod deliver;
pub mod failure;
mod fold;
pub mod issue;
pub mod observe;
pub mod progress;
mod rehearse;
pub mod revoke;
pub mod secrets;

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;

use crate::acme::Http;
use crate::cert::Roots;
use crate::config::Config;
use crate::observed::{Asked, Failure, Kept, Observed, UNKNOWN_CA};
use crate::plan::{self, Step};
use crate::report::{self, Done, Report};
use crate::store::Store;

pub use rehearse::rehearse;
pub use secrets::{Secrets, roots};

/// Issue, deliver, and one to see that nothing is left.
const ROUNDS: usize = 3;

/// How long the removal of TXT records may go on after SIGTERM: an API that answers does it in a second.
const CLEAN_WHEN_STOPPED: Duration = Duration::from_secs(4);

/// What every step of a pass works with.
pub struct Context {
    pub config: Arc<Config>,
    pub store: Store,
    pub roots: Roots,
    pub secrets: Secrets,
    pub progress: progress::Progress,
    /// Becomes true when the process is asked to end.
    pub stop: watch::Receiver<bool>,
    /// Certificates that are issued side by side share one account: it is made once.
    account: Mutex<()>,
    /// One client for each CA, by its host.
    cas: std::sync::Mutex<HashMap<String, Http>>,
}

impl Context {
    pub fn new(
        config: Config,
        store: Store,
        roots: Roots,
        secrets: Secrets,
        progress: progress::Progress,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            config: Arc::new(config),
            store,
            roots,
            secrets,
            progress,
            stop,
            account: Mutex::new(()),
            cas: std::sync::Mutex::default(),
        }
    }
}

/// One pass. The caller holds the lock.
///
/// # Errors
/// The state directory cannot be read or written. Everything else is in the report.
pub async fn pass(context: &Arc<Context>, command: &'static str, mut asked: Asked) -> Result<Report, Failure> {
    asked.pass_started = Some(clock::now());
    let mut stop = context.stop.clone();
    let mut done = Done::default();
    let mut observed = tokio::select! {
        observed = observe_with_ari(context, asked) => observed?,
        () = stopped(&mut stop) => return Err(failure::interrupted("this pass")),
    };
    done.failures.extend(context.store.write_tried(&observed.tried).err().map(|error| Failure::from(&error)));
    let permits = Arc::new(Semaphore::new(context.config.sessions));
    for _ in 0..ROUNDS {
        let plan = plan::plan(&context.config, &observed, clock::now());
        if plan.steps.is_empty() || *context.stop.borrow() {
            break;
        }
        let mut running = JoinSet::new();
        let mut steps = HashMap::new();
        for step in plan.steps {
            let (context, permits, executed) = (Arc::clone(context), Arc::clone(&permits), step.clone());
            let handle = running.spawn(async move { execute(&context, &executed, &permits).await });
            steps.insert(handle.id(), step);
        }
        while let Some(joined) = running.join_next_with_id().await {
            // A panic in one step ends that step alone.
            let (id, ended) = match joined {
                Ok((id, ended)) => (id, Ok(ended)),
                Err(error) => (error.id(), Err(failure::bug("a step of this pass", error))),
            };
            let Some(step) = steps.remove(&id) else { continue };
            let ended = ended.unwrap_or_else(|failure| match step {
                Step::Issue(_) => Ended::Issued(Err(failure)),
                Step::Deliver(_) => Ended::Delivered(Err(failure)),
            });
            // A full disk keeps no node from its certificate (I4), and nobody from the report.
            let folded = fold::fold(context, &mut observed, &mut done, &step, ended);
            done.failures.extend(folded.err().filter(|failure| !done.failures.contains(failure)));
        }
    }
    done.failures.extend(clean(context).await);
    done.failures.extend(context.store.damages().iter().map(failure::of_damage));
    let now = clock::now();
    let plan = plan::plan(&context.config, &observed, now);
    Ok(report::build(command, &context.config, &observed, plan, done, true, now))
}

/// Removes the TXT records that are left. What could not be removed is in the journal, for the next run.
async fn clean(context: &Context) -> Option<Failure> {
    let mut stop = context.stop.clone();
    let patience = async {
        stopped(&mut stop).await;
        tokio::time::sleep(CLEAN_WHEN_STOPPED).await;
    };
    tokio::select! {
        cleaned = issue::clean_txt(context) => cleaned.err(),
        () = patience => {
            Some(Failure { code: issue::LEFT.to_owned(), ..failure::interrupted("the removal of TXT records") })
        }
    }
}

/// What a step came to.
enum Ended {
    Issued(Result<issue::Issued, Failure>),
    Delivered(Result<deliver::Delivered, Failure>),
}

async fn execute(context: &Arc<Context>, step: &Step, permits: &Arc<Semaphore>) -> Ended {
    match step {
        Step::Issue(step) => {
            let mut stop = context.stop.clone();
            let issued = tokio::select! {
                issued = issue::issue(context, step) => issued,
                () = stopped(&mut stop) => Err(failure::interrupted(&step.certificate)),
            };
            Ended::Issued(issued)
        }
        Step::Deliver(step) => Ended::Delivered(deliver::deliver(context, step, permits).await),
    }
}

/// Probes and questions to the CA at once: neither waits for the other.
async fn observe_with_ari(context: &Arc<Context>, asked: Asked) -> Result<Observed, Failure> {
    let known = observe::known(&context.config, &context.store, asked.clone());
    let mut observed = known.map_err(|error| Failure::from(&error))?;
    let stored = observed.store.iter().filter_map(|(name, stored)| Some((name, stored.current.as_ref()?)));
    let due = |(name, kept): &(&_, &Kept)| ask_ari_now(&observed, name, &kept.leaf, clock::now());
    let questions: Vec<_> = if asked.may_issue { stored.filter(due).collect() } else { Vec::new() };
    let mut answers = JoinSet::new();
    for (name, kept) in questions {
        let (context, name, leaf) = (Arc::clone(context), name.clone(), kept.leaf.clone());
        // Where `meta.json` was lost, the CA of choice is the likeliest.
        let ca = if kept.meta.ca == UNKNOWN_CA { &context.config.acme.host } else { &kept.meta.ca }.clone();
        answers.spawn(async move { (name, issue::ask_ari(&context, &ca, &leaf).await) });
    }
    let (served, answers) =
        tokio::join!(observe::probe_all(&context.config, &observed.asked, &context.roots), answers.join_all());
    observed.served = served;
    for (certificate, answer) in answers {
        match answer {
            Ok(ari) => {
                observed.tried.ari.insert(certificate, ari);
            }
            // Any error means "no ARI today", never "no renewal".
            Err(failure) => {
                let step = format!("the CA gives no renewal window today: {}", failure.what);
                context.progress.say(progress::Event::Issue { certificate, step });
            }
        }
    }
    Ok(observed)
}

fn ask_ari_now(observed: &Observed, name: &crate::cert::CertName, leaf: &crate::cert::Leaf, now: Timestamp) -> bool {
    let known = observed.tried.ari.get(name).filter(|ari| ari.fingerprint == leaf.fingerprint);
    leaf.ari_id.is_some() && known.is_none_or(|ari| ari.ask_again <= now)
}

/// Returns when the process was asked to end; never, when nobody can ask any more.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        core::future::pending::<()>().await;
    }
}
