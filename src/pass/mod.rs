//! The loop: observe, plan, execute, fold, in rounds until only waits remain. The only place that joins several effects,
//! and the only one that reads the clock.

pub mod account;
pub mod clock;
pub mod deliver;
pub mod discover;
pub mod disks;
mod doctor;
pub mod failure;
mod fold;
pub mod hold;
pub mod inventory;
pub mod issue;
pub mod observe;
pub mod progress;
pub mod receiver;
mod rehearse;
pub mod revocations;
pub mod revoke;
pub mod run;
pub mod secrets;
mod through;
pub mod watched;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::acme::Http;
use crate::cert::{CertName, NodeName, Roots};
use crate::config::Config;
use crate::observed::{Asked, CaClock, Failure, Kept, Observed, UNKNOWN_CA};
use crate::plan::{self, Evidence, Step};
use crate::report::{self, Done, Report};
use crate::store::{Store, StoreError};

pub use doctor::doctor;
pub use rehearse::rehearse;
pub use secrets::{Secrets, roots};

/// Issue, deliver, and one to see that nothing is left; one more for each CA that is asked when another fails.
const ROUNDS: usize = 3;

/// For a question that is put beside the handshakes, and that nothing in this pass depends on.
const ASIDE: Duration = Duration::from_secs(15);

/// How long the removal of TXT records may go on after SIGTERM: an API that answers does it in a second.
const CLEAN_WHEN_STOPPED: Duration = Duration::from_secs(4);

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
    pub dns: Arc<issue::Providing>,
    /// What each CA said of the time, by its host.
    ca_clocks: std::sync::Mutex<BTreeMap<String, CaClock>>,
    /// And what each node said of it.
    node_clocks: std::sync::Mutex<BTreeMap<NodeName, CaClock>>,
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

    /// The same for a look at the nodes of this configuration, as DNS has named them since.
    ///
    /// # Errors
    /// The state directory cannot be read.
    pub fn of_a_look(&self, config: &Arc<Config>) -> Result<Self, StoreError> {
        let (store, roots, secrets) = (Store::look(self.store.root())?, self.roots.clone(), Arc::clone(&self.secrets));
        Ok(Self::new(Arc::clone(config), store, roots, secrets, self.progress.clone(), self.stop.clone()))
    }

    /// Notes what this CA's last answer says of the time; to be called right after it.
    fn hear_the_time(&self, ca: &str, http: &Http) {
        let Some(theirs) = http.date() else { return };
        let mut held = self.ca_clocks.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(ca.to_owned(), CaClock { ours: clock::now(), theirs });
    }

    /// Notes what a node says of the time; to be called right after it.
    fn hear_the_nodes_time(&self, node: &NodeName, theirs: Option<Timestamp>) {
        let Some(theirs) = theirs else { return };
        let mut held = self.node_clocks.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(node.clone(), CaClock { ours: clock::now(), theirs });
    }

    /// Nodes whose clocks are so far beside ours that their logs and timers mislead. They serve all the same: a server
    /// sends its certificate whatever its clock says.
    fn node_skews(&self) -> Vec<Failure> {
        let held = self.node_clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let skew = |(node, told): (&NodeName, &CaClock)| {
            Some(failure::of_node_skew(node, plan::clock::noticeable(*told)?, *told))
        };
        held.iter().filter_map(skew).collect()
    }

    /// Notes what a node says of keys that are no longer handed on to everybody whom they were open to.
    fn hear_of_keys(&self, node: &NodeName, narrowed: &[(CertName, String)]) {
        let mut held = self.narrowed.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(narrowed.iter().map(|(name, who)| (node.clone(), name.clone(), who.clone())));
    }

    fn narrowed_keys(&self) -> Vec<Failure> {
        let held = self.narrowed.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().map(|(node, name, who)| failure::of_narrowed(node, name, who)).collect()
    }

    fn was_heard(&self, ca: &str) -> bool {
        self.ca_clocks.lock().unwrap_or_else(PoisonError::into_inner).contains_key(ca)
    }

    /// The host and the clock of the CA that agrees with ours the best: where two CAs tell different times, the one that
    /// is wrong is not the one that says what a third clock says too.
    fn ca_clock(&self) -> Option<(String, CaClock)> {
        let held = self.ca_clocks.lock().unwrap_or_else(PoisonError::into_inner);
        let best = held.iter().min_by_key(|(_, told)| told.ours.duration_since(told.theirs).abs());
        best.map(|(ca, told)| (ca.clone(), *told))
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
    done.failures.extend(context.secrets.watch_roots.failures(&observed.asked));
    // Nothing waits for it but the report.
    let mut inventory = JoinSet::new();
    let (asking, about) = (Arc::clone(context), observed.asked.clone());
    inventory.spawn(async move { inventory::in_a_pass(&asking, &about).await });
    look_at_the_clock(context, &mut observed).await;
    done.failures.extend(mend_numbers(context, &mut observed));
    plan::delivery::prune(&mut observed.tried, &context.config, clock::now());
    plan::fence::prune(&mut observed.tried, &context.config);
    done.failures.extend(hold::let_go(context, &mut observed, clock::now()));
    done.failures.extend(context.store.write_tried(&observed.tried).err().map(|error| Failure::from(&error)));
    done.failures.extend(context.store.sweep_intents().err().map(|error| Failure::from(&error)));
    rounds(context, &mut observed, &mut done).await;
    // Who lacks a certificate does not wait for the comparison, and who was just delivered to needs none.
    if disks::compare(context, &mut observed).await {
        rounds(context, &mut observed, &mut done).await;
    }
    done.failures.extend(prune(context, &observed));
    done.failures.extend(skew(context));
    done.failures.extend(context.node_skews());
    done.failures.extend(context.narrowed_keys());
    done.failures.extend(clean(context).await);
    tokio::select! {
        Some(Ok(found)) = inventory.join_next() => observed.inventory = found,
        () = stopped(&mut stop) => {}
        else => {}
    }
    done.failures.extend(context.dns.take_warnings());
    done.failures.extend(context.store.damages().iter().map(failure::of_damage));
    done.revocations = observe::revocations(&context.store, &observed);
    let now = clock::now();
    let plan = plan::plan(&context.config, &observed, now);
    Ok(report::build(command, &context.config, &observed, plan, done, true, now))
}

/// Plan, execute, fold, until only waits remain.
async fn rounds(context: &Arc<Context>, observed: &mut Observed, done: &mut Done) {
    let permits = Arc::new(Semaphore::new(context.config.sessions));
    for _ in 0..ROUNDS + context.config.fallback.len() {
        let plan = plan::plan(&context.config, observed, clock::now());
        if plan.steps.is_empty() || *context.stop.borrow() {
            break;
        }
        done.failures.extend(begin(context, observed, &plan.steps).filter(|failure| !done.failures.contains(failure)));
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
                Step::Rehearse(_) => Ended::Rehearsed(Err(failure)),
            });
            // A full disk keeps no node from its certificate (I4), and nobody from the report.
            let folded = fold::fold(context, observed, done, &step, ended);
            done.failures.extend(folded.err().filter(|failure| !done.failures.contains(failure)));
        }
    }
}

/// Notes rollouts before anything is changed, so that whoever goes on after a kill knows what nodes served. A full disk
/// keeps no node from its certificate (I4).
fn begin(context: &Context, observed: &mut Observed, steps: &[Step]) -> Option<Failure> {
    let mut delivers = steps.iter().filter_map(|step| if let Step::Deliver(step) = step { Some(step) } else { None });
    let first = delivers.next()?;
    let now = clock::now();
    core::iter::once(first).chain(delivers).for_each(|step| plan::delivery::revert::begin(observed, step, now));
    context.store.write_tried(&observed.tried).err().map(|error| Failure::from(&error))
}

/// Whether it can be right; a doubt is taken to the CAs, which alone can dispel it. What is believed is kept, for the next
/// doubt.
async fn look_at_the_clock(context: &Context, observed: &mut Observed) {
    let now = clock::now();
    let heard = || context.ca_clock().map(|(_, told)| told);
    observed.ca_clock = heard();
    if plan::clock::plausible(now, &Evidence::of(observed)).is_err() {
        let mut stop = context.stop.clone();
        tokio::select! {
            () = issue::ask_the_time(context) => observed.ca_clock = heard(),
            () = stopped(&mut stop) => {}
        }
    }
    if plan::clock::plausible(now, &Evidence::of(observed)).is_ok() {
        let seen = observed.tried.last_seen.filter(|_| observed.ca_clock.is_none());
        observed.tried.last_seen = seen.max(Some(now));
    }
    let asked = &observed.asked;
    if asked.certificates.is_empty() && asked.wants_every_node() && asked.may_issue {
        observed.tried.last_pass = observed.asked.pass_started;
    }
}

/// Of generations whose numbers nobody can have given. Not by a clock that cannot be right.
fn mend_numbers(context: &Context, observed: &mut Observed) -> Vec<Failure> {
    let now = clock::now();
    if plan::clock::plausible(now, &Evidence::of(observed)).is_err() {
        return Vec::new();
    }
    let (store, names): (_, Vec<CertName>) = (&context.store, observed.store.keys().cloned().collect());
    let mended = names.into_iter().map(|name| {
        let mended = store.mend_numbers(&name, now)?;
        // Also where an earlier run was killed behind the rename: the same certificate has another number since.
        if let Some(held) = observed.tried.held.get_mut(&name) {
            let generations = store.generations(&name)?;
            let same = generations.iter().find(|other| other.serial() == held.generation.serial());
            let same = same.filter(|_| !generations.contains(&held.generation));
            held.generation = same.unwrap_or(&held.generation).clone();
        }
        if !mended.is_empty() {
            observed.store.insert(name.clone(), store.stored(&name)?);
        }
        Ok(())
    });
    mended.filter_map(|mended: Result<(), StoreError>| mended.err()).map(|error| Failure::from(&error)).collect()
}

/// Of generations that nobody can need any more. Not by a clock that cannot be right.
fn prune(context: &Context, observed: &Observed) -> Vec<Failure> {
    let now = clock::now();
    if *context.stop.borrow() || plan::clock::plausible(now, &Evidence::of(observed)).is_err() {
        return Vec::new();
    }
    let pruned = observed.store.keys().map(|name| context.store.prune(name, &observed.tried, now));
    pruned.filter_map(Result::err).map(|error| Failure::from(&error)).collect()
}

fn skew(context: &Context) -> Option<Failure> {
    let (ca, told) = context.ca_clock()?;
    let ahead = plan::clock::noticeable(told)?;
    Some(failure::of_skew(ahead, told, &ca))
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
    Rehearsed(Result<rehearse::Rehearsed, Failure>),
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
        Step::Rehearse(step) => Ended::Rehearsed(rehearse::as_planned(context, step, permits).await),
    }
}

/// Probes and questions to the CA at once: neither waits for the other.
async fn observe_with_ari(context: &Arc<Context>, asked: Asked) -> Result<Observed, Failure> {
    let known = observe::known(&context.config, &context.store, asked.clone());
    let mut observed = known.map_err(|error| Failure::from(&error))?;
    let stored = observed.store.iter().filter_map(|(name, stored)| Some((name, stored.current.as_ref()?)));
    let due = |(name, kept): &(&CertName, &Kept)| {
        let now = clock::now();
        plan::ari::ask_at(&observed.tried, name, &kept.leaf, now).is_some_and(|at| at <= now)
    };
    let questions: Vec<_> = if asked.may_issue { stored.filter(due).collect() } else { Vec::new() };
    let mut answers = JoinSet::new();
    for (name, kept) in questions {
        let (context, name, leaf) = (Arc::clone(context), name.clone(), kept.leaf.clone());
        // Where `meta.json` was lost, the CA of choice is the likeliest.
        let ca = if kept.meta.ca == UNKNOWN_CA { &context.config.acme.host } else { &kept.meta.ca }.clone();
        answers.spawn(async move { (issue::ask_ari(&context, &ca, &leaf).await, name, leaf) });
    }
    // Nodes do not wait for the DNS API: what it does not say in time is asked by the next pass.
    let token = async {
        if observed.asked.may_issue {
            let _ = timeout(ASIDE, issue::ask_token(context, false)).await;
        }
    };
    let lists = plan::crls::due(&observed, clock::now());
    let lists = revocations::ask(&context.config, &context.store, lists, context.secrets.network_ca.as_deref());
    let (served, watched, answers, (), lists) = tokio::join!(
        observe::probe_all(&context.config, &context.secrets, &observed.asked, &context.roots),
        watched::look(&context.config, &observed.asked, &context.secrets.watch_roots),
        answers.join_all(),
        token,
        lists,
    );
    revocations::keep(&mut observed, lists);
    (observed.served, observed.watched) = (served, watched);
    for (answer, certificate, leaf) in answers {
        match answer {
            Ok(ari) => plan::ari::answered(&mut observed.tried, certificate, ari),
            // Any error means "no ARI today", never "no renewal".
            Err(failure) => {
                plan::ari::failed(&mut observed.tried, certificate.clone(), &leaf, &failure, clock::now());
                let step = format!("the CA gives no renewal window today: {}", failure.what);
                context.progress.say(progress::Event::Issue { certificate, step });
            }
        }
    }
    Ok(observed)
}

/// Returns when the process was asked to end; never, when nobody can ask any more.
pub async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        core::future::pending::<()>().await;
    }
}
