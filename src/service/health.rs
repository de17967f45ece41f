//! Health checks of `certd run`, beside its passes: a pass that takes an hour delays none.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::cert::Roots;
use crate::config::Config;
use crate::context::health::Healths;
use crate::context::secrets::Secrets;
use crate::context::{Context, clock, progress, stopped};
use crate::model::{Health, HealthPlace, Scope};
use crate::observe::discover;
use crate::observe::health::{HealthTarget, REQUESTS, Round, TargetKey, is_recent};
use crate::plan::health::{Answered, Thresholds};
use crate::plan::rota::Rota;
use crate::store::Store;

use super::events::HealthEvent;
use super::{Hooks, ServiceEvent, restart};

/// How often the states are written, for `certd check --health` and for the next start.
const SAVE: Duration = Duration::from_secs(60);
/// The rest of a service without checks.
const IDLE: Duration = Duration::from_secs(3600);
/// After a panic.
const AGAIN: Duration = Duration::from_secs(30);

/// What checks need; replaced at each reload and before each pass.
#[derive(Clone)]
pub(crate) struct Inputs {
    pub(crate) config: Arc<Config>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) roots: Roots,
}

impl Inputs {
    fn round(&self, config: &Arc<Config>) -> Round {
        Round::new(Arc::clone(config), Arc::new(self.secrets.for_a_new_run()), self.roots.clone())
    }
}

/// The states that an earlier process has left, if they are recent.
pub(crate) fn remembered(store: &Store) -> Healths {
    let (known, now) = (store.health().unwrap_or_default(), clock::now());
    Healths::new(known.into_iter().filter(|health| is_recent(health, now)))
}

struct Checks {
    inputs: Inputs,
    /// With the nodes that DNS names.
    config: Arc<Config>,
    healths: Healths,
    hooks: Arc<Hooks>,
    targets: BTreeMap<TargetKey, HealthTarget>,
    /// Those of each target at its last request that had any.
    places: BTreeMap<TargetKey, BTreeSet<HealthPlace>>,
    round: Arc<Round>,
    /// When it began, and how long one is: the shortest interval.
    round_at: (SignedDuration, SignedDuration),
    rota: Rota<TargetKey>,
    running: JoinSet<(TargetKey, Vec<Answered>)>,
    /// What was asked, by task: a panic loses its answer alone.
    asked: BTreeMap<tokio::task::Id, TargetKey>,
}

/// Until `stop`. A panic is reported, and the checks begin anew.
pub(crate) async fn watch(
    inputs: watch::Receiver<Inputs>,
    healths: Healths,
    hooks: Arc<Hooks>,
    stop: watch::Receiver<bool>,
) {
    let report = |failure| (hooks.event)(&ServiceEvent::Failed(failure));
    let begin = || run(inputs.clone(), healths.clone(), Arc::clone(&hooks), stop.clone());
    restart::while_it_panics(begin, report, stop.clone(), AGAIN).await;
}

/// Until `stop`. A state directory that cannot be written stops no check.
async fn run(
    mut inputs: watch::Receiver<Inputs>,
    healths: Healths,
    hooks: Arc<Hooks>,
    mut stop: watch::Receiver<bool>,
) {
    let now = inputs.borrow_and_update().clone();
    let every = Duration::try_from(now.config.run.check_every).unwrap_or(IDLE);
    let (targets, places, rota, running, asked) = Default::default();
    let round = Arc::new(now.round(&now.config));
    let round_at = Default::default();
    let mut checks = Checks {
        config: Arc::clone(&now.config),
        inputs: now,
        healths,
        hooks,
        targets,
        places,
        round,
        round_at,
        rota,
        running,
        asked,
    };
    checks.plan().await;
    let (mut save, mut discover) = (interval(SAVE), interval(every));
    save.set_missed_tick_behavior(MissedTickBehavior::Delay);
    discover.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = sleep(checks.rest()), if checks.running.len() < REQUESTS => checks.start(),
            Some(done) = checks.running.join_next_with_id() => match done {
                Ok((id, (key, answered))) => checks.note(id, &key, answered),
                Err(error) => checks.ended(error.id()),
            },
            Ok(()) = inputs.changed() => {
                checks.inputs = inputs.borrow_and_update().clone();
                checks.plan().await;
            }
            _ = discover.tick() => {
                if !checks.inputs.config.discovers().is_empty() {
                    checks.plan().await;
                }
            }
            _ = save.tick() => checks.save(),
            () = stopped(&mut stop) => return checks.save(),
        }
    }
}

impl Checks {
    /// From the configuration as it is now, and the nodes that DNS names.
    async fn plan(&mut self) {
        let Inputs { config, secrets, roots } = self.inputs.clone();
        let mut current = Arc::clone(&config);
        if !config.discovers().is_empty() {
            let looking = Context::look(config, roots, Arc::clone(&secrets), progress::Progress::silent());
            if let Ok(looking) = looking
                && let Ok((context, _)) = discover::for_a_look(&looking).await
            {
                current = Arc::clone(&context.config);
            }
        }
        let targets = HealthTarget::all(&current, &Scope::default());
        self.targets = targets.into_iter().map(|target| (target.key(), target)).collect();
        let targets = &self.targets;
        self.places.retain(|key, _| targets.contains_key(key));
        let interval = |target: &HealthTarget| SignedDuration::try_from(target.health.interval).unwrap_or_default();
        let checks = self.targets.iter().map(|(key, target)| (key.clone(), interval(target)));
        self.rota.replace(checks, clock::monotonic());
        let shortest = self.targets.values().map(interval).min().unwrap_or_default();
        (self.config, self.round_at) = (current, (clock::monotonic(), shortest));
        self.round = Arc::new(self.inputs.round(&self.config));
        self.healths.retain(|place| self.is_current(place));
    }

    /// The targets of a certificate at a node.
    fn beside<'a>(&'a self, place: &HealthPlace) -> impl Iterator<Item = (&'a TargetKey, &'a HealthTarget)> {
        let of = (place.certificate.clone(), place.node.clone());
        let first = (of.0.clone(), of.1.clone(), None);
        self.targets.range(first..).take_while(move |(key, _)| (&key.0, &key.1) == (&of.0, &of.1))
    }

    /// Whether it is a place of this target, as of the last request that had any.
    fn is_of(&self, key: &TargetKey, target: &HealthTarget, place: &HealthPlace) -> bool {
        match self.places.get(key) {
            Some(places) => places.contains(place),
            None => target.is_at(place),
        }
    }

    fn is_current(&self, place: &HealthPlace) -> bool {
        self.beside(place).any(|(key, target)| self.is_of(key, target, place))
    }

    fn rest(&self) -> Duration {
        let due = self.rota.next_due().map(|due| due - clock::monotonic());
        due.map_or(IDLE, |rest| Duration::try_from(rest).unwrap_or(Duration::ZERO))
    }

    fn start(&mut self) {
        let (began, length) = self.round_at;
        if clock::monotonic() - began >= length {
            self.round_at.0 = clock::monotonic();
            self.round = Arc::new(self.inputs.round(&self.config));
        }
        while self.running.len() < REQUESTS
            && let Some(key) = self.rota.take(clock::monotonic())
        {
            let Some(target) = self.targets.get(&key).cloned() else { continue };
            let (round, of_task) = (Arc::clone(&self.round), key.clone());
            let task = self.running.spawn(async move {
                let answered = target.ask(&round).await;
                (of_task, answered)
            });
            self.asked.insert(task.id(), key);
        }
    }

    fn ended(&mut self, task: tokio::task::Id) {
        if let Some(key) = self.asked.remove(&task) {
            self.rota.done(&key);
        }
    }

    fn note(&mut self, task: tokio::task::Id, key: &TargetKey, answered: Vec<Answered>) {
        self.ended(task);
        // The configuration may have lost it in the meantime.
        let Some(target) = self.targets.get(key) else { return };
        let of_all = answered.iter().find(|answered| answered.place.address.is_none());
        let has_resolved = of_all.is_none();
        let answered = match of_all {
            Some(all) => self.at_every_place(key, target, all),
            None => answered,
        };
        // Its name may have other addresses than before.
        if let Some(first) = answered.first().filter(|_| has_resolved) {
            let places = answered.iter().map(|answered| answered.place.clone()).collect();
            let before = self.places.insert(key.clone(), places);
            let is_same = before.as_ref() == self.places.get(key);
            let of = |place: &HealthPlace| {
                (&place.certificate, &place.node) == (&first.place.certificate, &first.place.node)
            };
            if !is_same {
                self.healths.retain(|place| !of(place) || self.is_current(place));
            }
        }
        let Some(target) = self.targets.get(key) else { return };
        let (thresholds, good) = (Thresholds::from(&*target.health), &target.health.status);
        for answered in answered {
            let events = HealthEvent::of(self.healths.note(answered, thresholds), good);
            // Somebody works there.
            for event in events.into_iter().filter(|event| !self.is_paused(event)) {
                (self.hooks.event)(&ServiceEvent::Health(event));
            }
        }
    }

    fn is_paused(&self, event: &HealthEvent) -> bool {
        let node = self.config.nodes.iter().find(|node| event.node() == Some(node.name.as_str()));
        node.is_some_and(|node| self.config.paused_until(&node.name, clock::now()).is_some())
    }

    /// What concerns every place of a target, at each that it had before: a lookup that fails forgets none of them.
    fn at_every_place(&self, key: &TargetKey, target: &HealthTarget, all: &Answered) -> Vec<Answered> {
        let mut known = self.healths.all();
        known.retain(|health| health.place.address.is_some() && self.is_of(key, target, &health.place));
        let at = |health: Health| Answered { place: health.place, ..all.clone() };
        if known.is_empty() { vec![all.clone()] } else { known.into_iter().map(at).collect() }
    }

    fn save(&self) {
        let all = self.healths.all();
        // Nothing is written where nothing is checked, but what was there before is replaced.
        let store = Store::open(&self.inputs.config.state_dir);
        if let Ok(store) = store
            && (!all.is_empty() || store.health().is_ok_and(|before| !before.is_empty()))
        {
            let _ = store.write_health(&all);
        }
    }
}
