//! Failover of `certd run`, beside health checks and passes, which never wait for it. At the pace of health checks it decides
//! by what is known; the provider is asked only where something is to be done, and every few minutes while a node fails.

mod budget;
mod name;
mod refused;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::config::{Config, FailoverMode};
use crate::context::effect_failure::of_task;
use crate::context::health::Healths;
use crate::context::{Context, clock, progress, stopped};
use crate::execute::failover::Step;
use crate::model::{FailoverNotes, Finding, Health};
use crate::mutex::lock;
use crate::observe::discover;
use crate::observe::failover::{Group, groups, names};
use crate::plan::members::{Known, Refused, members, policy};
use crate::plan::schedule::jump;
use crate::report::failover as words;
use crate::store::{Lock, Store, StoreError, Withdrawals};

use super::events::FailoverEvent;
use super::health::Inputs;
use super::{Hooks, ServiceEvent};

use budget::Budget;
use name::{Name, Question, ask};
pub(crate) use refused::{SharedRefused, note_refused};

/// The pace of decisions: that of the fastest health check, and no slower than this.
const SLOWEST: Duration = Duration::from_secs(30);
/// How often names are located anew.
const LOCATE: Duration = Duration::from_secs(300);
/// The same after one of them could not be.
const LOCATE_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// How often what is to be said is written, though it is the same: `certd check` believes nothing that is old.
const SAVE: SignedDuration = SignedDuration::from_secs(60);
/// After a panic.
const AGAIN: Duration = Duration::from_secs(60);
/// For steps under way when certd ends. What is cut off is finished by the next start.
const ENDS: Duration = Duration::from_secs(3);

/// Until `stop`. A panic is reported, and ends no health check and no pass.
pub(crate) async fn watch(
    inputs: watch::Receiver<Inputs>,
    healths: Healths,
    refused: SharedRefused,
    hooks: Arc<Hooks>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let failover = Failover::new(inputs.clone(), healths.clone(), Arc::clone(&refused), Arc::clone(&hooks));
        match tokio::spawn(failover.run(stop.clone())).await {
            Err(error) if error.is_panic() => (hooks.event)(&ServiceEvent::Failed(of_task(&error))),
            _ => return,
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

/// What locating all names has come to.
struct Located {
    /// With the nodes that DNS names.
    config: Arc<Config>,
    groups: BTreeMap<String, Group>,
    findings: Vec<Finding>,
}

/// The owner, and what its step has come to.
type Stepped = (String, Result<Step, Finding>);

struct Failover {
    inputs: watch::Receiver<Inputs>,
    healths: Healths,
    refused: SharedRefused,
    hooks: Arc<Hooks>,
    config: Arc<Config>,
    context: Option<Arc<Context>>,
    groups: BTreeMap<String, Group>,
    names: BTreeMap<String, Name>,
    unlocated: Vec<Finding>,
    /// When they were located last; of a clock that is never set.
    located_at: SignedDuration,
    locating: JoinSet<Located>,
    steps: JoinSet<Stepped>,
    /// By task: a panic loses its name's step alone.
    stepping: BTreeMap<Id, String>,
    /// One for all steps under way.
    lock: Weak<Lock>,
    calls: Budget,
    /// Before then nobody looked, or the clock ran otherwise.
    begins: Timestamp,
    clocks: (Timestamp, SignedDuration),
    said: BTreeSet<String>,
    failed: Option<Finding>,
    saved: Option<(FailoverNotes, SignedDuration)>,
}

impl Failover {
    fn new(inputs: watch::Receiver<Inputs>, healths: Healths, refused: SharedRefused, hooks: Arc<Hooks>) -> Self {
        let config = Arc::clone(&inputs.borrow().config);
        let (now, passed) = (clock::now(), clock::monotonic());
        Self {
            inputs,
            healths,
            refused,
            hooks,
            config,
            context: None,
            groups: BTreeMap::new(),
            names: BTreeMap::new(),
            unlocated: Vec::new(),
            located_at: passed,
            locating: JoinSet::new(),
            steps: JoinSet::new(),
            stepping: BTreeMap::new(),
            lock: Weak::new(),
            calls: Budget::default(),
            begins: now,
            clocks: (now, passed),
            said: BTreeSet::new(),
            failed: None,
            saved: None,
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) {
        self.renew(stop.clone());
        let mut locate = interval(LOCATE);
        locate.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = sleep(self.pace()) => self.decide(),
                Some(located) = self.locating.join_next() => match located {
                    Ok(located) => self.take(located),
                    Err(error) => self.tell(ServiceEvent::Failed(of_task(&error))),
                },
                Some(ended) = self.steps.join_next_with_id() => self.note(ended),
                Ok(()) = self.inputs.changed() => {
                    self.renew(stop.clone());
                    self.locate();
                }
                _ = locate.tick() => self.locate(),
                () = stopped(&mut stop) => break,
            }
        }
        let rest = async { while self.steps.join_next().await.is_some() {} };
        let _ = timeout(ENDS, rest).await;
    }

    /// A context with the configuration and the secrets as they are now.
    fn renew(&mut self, stop: watch::Receiver<bool>) {
        let Inputs { config, secrets, roots } = self.inputs.borrow_and_update().clone();
        self.config = Arc::clone(&config);
        // What is being located is of the former configuration.
        self.locating = JoinSet::new();
        self.context = match Store::open(&config.state_dir) {
            Ok(store) => {
                let silent = progress::Progress::silent();
                Some(Arc::new(Context::new(config, store, roots, secrets, silent, stop)))
            }
            Err(error) => {
                self.could_not(error.into());
                None
            }
        };
    }

    fn pace(&self) -> Duration {
        let config = &self.config;
        let checked = config.certificates.iter().filter(|certificate| certificate.failover != FailoverMode::Off);
        let intervals = checked.flat_map(|certificate| {
            let nodes = certificate.nodes.iter().filter_map(|node| config.node(node));
            nodes.filter_map(|node| config.health(certificate, node)).map(|health| health.interval)
        });
        intervals.min().map_or(SLOWEST, |shortest| shortest.min(SLOWEST))
    }

    /// Beside all else: a resolver that does not answer delays nothing.
    fn locate(&mut self) {
        let Some(context) = self.context.clone() else { return };
        if !self.locating.is_empty() {
            return;
        }
        self.located_at = clock::monotonic();
        let journalled = match context.store.withdrawals() {
            Ok(all) => all.open.into_iter().map(|entry| entry.record.name).collect::<BTreeSet<String>>(),
            Err(error) => return self.could_not(error.into()),
        };
        if !context.config.has_failover() && journalled.is_empty() {
            (self.groups, self.names, self.unlocated) = Default::default();
            return self.save();
        }
        self.locating.spawn(async move {
            let mut config = Arc::clone(&context.config);
            if !config.discovers().is_empty()
                && let Ok((looking, _)) = discover::for_a_look(&context).await
            {
                config = Arc::clone(&looking.config);
            }
            let (mut groups, findings) = groups(&context, names(&config), journalled.clone()).await;
            groups.retain(|owner, group| group.mode != FailoverMode::Off || journalled.contains(owner));
            Located { config, groups, findings }
        });
    }

    /// A name that cannot be located now is where it was.
    fn take(&mut self, Located { config, groups, findings }: Located) {
        let lost: BTreeSet<&str> = findings.iter().map(|finding| finding.object.as_str()).collect();
        let still = |group: &Group| group.names.iter().any(|name| lost.contains(name.as_str()));
        // The provider itself could not be opened.
        let all_lost = groups.is_empty() && !findings.is_empty();
        let mut all = groups;
        for (owner, group) in core::mem::take(&mut self.groups) {
            if !all.contains_key(&owner) && (all_lost || still(&group) || lost.contains(owner.as_str())) {
                all.insert(owner, group);
            }
        }
        (self.config, self.groups, self.unlocated) = (config, all, findings);
        let groups = &self.groups;
        self.names.retain(|owner, _| groups.contains_key(owner));
        self.decide();
    }

    /// What is to be done at each name, as far as is known; begins a step where something is.
    fn decide(&mut self) {
        let (wall, passed) = (clock::now(), clock::monotonic());
        if jump(wall.duration_since(self.clocks.0), passed - self.clocks.1).is_some() {
            self.begins = wall;
        }
        self.clocks = (wall, passed);
        if !self.unlocated.is_empty() && passed - self.located_at >= LOCATE_AGAIN {
            self.locate();
        }
        let Some(context) = self.context.clone() else { return };
        if self.groups.is_empty() {
            return self.save();
        }
        let journal = match context.store.withdrawals() {
            Ok(journal) => journal,
            Err(error) => return self.could_not(error.into()),
        };
        let healths: Arc<[Health]> = self.healths.all().into();
        let refused = Arc::new(lock(&self.refused).clone());
        // A group has its mode since it was located; what has been written since counts at once, if it is more cautious.
        let modes = names(&self.config);
        let now_written = |group: &Group| group.names.iter().map(|name| modes.get(name).copied()).min().flatten();
        for (owner, mut group) in self.groups.clone() {
            group.mode = group.mode.min(now_written(&group).unwrap_or(FailoverMode::Off));
            if !self.stepping.values().any(|stepping| *stepping == owner) {
                self.decide_one(&context, group, &journal, &healths, &refused);
            }
        }
        self.failed = None;
        self.say();
        self.save();
    }

    fn decide_one(
        &mut self,
        context: &Arc<Context>,
        group: Group,
        journal: &Withdrawals,
        healths: &Arc<[Health]>,
        refused: &Arc<Refused>,
    ) {
        let owner = group.owner.clone();
        let (now, open) = (clock::now(), journal.of_name(&owner));
        let known = Known { healths, refused, begins: self.begins, age: SignedDuration::ZERO };
        let members = members(&self.config, &group.names, known, &open, now);
        let policy = policy(&self.config, group.mode);
        let name = self.names.entry(owner.clone()).or_default();
        let last_change = journal.last_change(&owner, now);
        if !name.asks(&policy, &members, &open, last_change, now) || !self.calls.take_step() {
            return;
        }
        let lock = match self.locked(&context.store) {
            Ok(Some(lock)) => lock,
            // `certd dns restore` is at work.
            Ok(None) => return,
            Err(error) => return self.could_not(error.into()),
        };
        let (context, config) = (Arc::clone(context), Arc::clone(&self.config));
        let (healths, refused, begins) = (self.healths.clone(), Arc::clone(&self.refused), self.begins);
        let question = Question { context, config, group, policy, healths, refused, begins };
        let of_task = owner.clone();
        let task = self.steps.spawn(async move {
            let step = ask(question).await;
            drop(lock);
            (of_task, step)
        });
        self.stepping.insert(task.id(), owner);
    }

    fn locked(&mut self, store: &Store) -> Result<Option<Arc<Lock>>, StoreError> {
        if let Some(lock) = self.lock.upgrade() {
            return Ok(Some(lock));
        }
        let lock = store.lock_withdrawals()?.map(Arc::new);
        self.lock = lock.as_ref().map(Arc::downgrade).unwrap_or_default();
        Ok(lock)
    }

    fn note(&mut self, ended: Result<(Id, Stepped), JoinError>) {
        match ended {
            Ok((id, (owner, step))) => {
                self.stepping.remove(&id);
                let events = self.names.entry(owner.clone()).or_default().note(&owner, step);
                events.into_iter().for_each(|event| self.tell(ServiceEvent::Failover(event)));
            }
            Err(error) => {
                self.stepping.remove(&error.id());
                self.tell(ServiceEvent::Failed(of_task(&error)));
            }
        }
        self.say();
        self.save();
    }

    fn findings(&self) -> Vec<Finding> {
        let mut findings = self.unlocated.clone();
        for (owner, name) in &self.names {
            findings.extend(name.findings.iter().cloned());
            findings.extend(words::findings(&self.config, owner, name.shown(), &name.journal, &name.decisions));
        }
        findings
    }

    /// Each state once, and not in each round. What is withdrawn was said when it was.
    fn say(&mut self) {
        let findings = self.findings();
        let keyed: BTreeMap<String, Finding> =
            findings.into_iter().filter_map(|finding| Some((FailoverEvent::key(&finding)?, finding))).collect();
        for (key, finding) in &keyed {
            if !self.said.contains(key) {
                self.tell(ServiceEvent::Failover(FailoverEvent::Found(finding.clone())));
            }
        }
        self.said = keyed.into_keys().collect();
    }

    /// For `certd check`. Nothing is written where there is nothing, but what was there before is replaced.
    fn save(&mut self) {
        let Some(context) = &self.context else { return };
        let (findings, passed) = (self.findings(), clock::monotonic());
        let is_old = |at: &SignedDuration| passed - *at >= SAVE;
        let keep = match &self.saved {
            Some((notes, at)) => notes.findings == findings && (findings.is_empty() || !is_old(at)),
            None => findings.is_empty() && context.store.failover_notes().is_none(),
        };
        if keep {
            return;
        }
        let notes = FailoverNotes { at: clock::now(), findings };
        // Nothing is decided by it.
        let _ = context.store.write_failover_notes(&notes);
        self.saved = Some((notes, passed));
    }

    fn could_not(&mut self, failure: Finding) {
        if self.failed.as_ref() != Some(&failure) {
            self.tell(ServiceEvent::Failed(failure.clone()));
            self.failed = Some(failure);
        }
    }

    fn tell(&self, event: ServiceEvent) {
        (self.hooks.event)(&event);
    }
}
