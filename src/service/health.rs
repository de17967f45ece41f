//! Health checks of `certd run`, beside its passes: a pass that takes an hour delays none.

use core::time::Duration;
use std::collections::BTreeMap;
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
use crate::model::{HealthPlace, Scope};
use crate::observe::discover;
use crate::observe::health::{HealthTarget, REQUESTS, TargetKey};
use crate::plan::health::{Answered, Thresholds};
use crate::plan::rota::Rota;
use crate::store::Store;

use super::events::HealthEvent;
use super::{Hooks, ServiceEvent};

/// How often the states are written, for `certd check --health` and for the next start.
const SAVE: Duration = Duration::from_secs(60);
/// Older states say nothing of now.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);
/// The rest of a service without checks.
const IDLE: Duration = Duration::from_secs(3600);

/// What checks need; replaced at each reload and before each pass.
#[derive(Clone)]
pub(crate) struct Inputs {
    pub(crate) config: Arc<Config>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) roots: Roots,
}

/// The states that an earlier process has left, if they are recent.
pub(crate) fn remembered(store: &Store) -> Healths {
    let (known, now) = (store.health().unwrap_or_default(), clock::now());
    Healths::new(known.into_iter().filter(|health| now.duration_since(health.at).abs() < REMEMBERED))
}

struct Checks {
    inputs: Inputs,
    healths: Healths,
    hooks: Arc<Hooks>,
    targets: BTreeMap<TargetKey, HealthTarget>,
    rota: Rota<TargetKey>,
    running: JoinSet<(TargetKey, Vec<Answered>)>,
    /// What was asked, by task: a panic loses its answer alone.
    asked: BTreeMap<tokio::task::Id, TargetKey>,
}

/// Until `stop`. A state directory that cannot be written stops no check.
pub(crate) async fn watch(
    mut inputs: watch::Receiver<Inputs>,
    healths: Healths,
    hooks: Arc<Hooks>,
    mut stop: watch::Receiver<bool>,
) {
    let now = inputs.borrow_and_update().clone();
    let every = Duration::try_from(now.config.run.check_every).unwrap_or(IDLE);
    let (targets, rota, running, asked) = Default::default();
    let mut checks = Checks { inputs: now, healths, hooks, targets, rota, running, asked };
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
        let targets = HealthTarget::all(&current, &secrets, &Scope::default());
        self.targets = targets.into_iter().map(|target| (target.key(), target)).collect();
        let interval = |target: &HealthTarget| SignedDuration::try_from(target.health.interval).unwrap_or_default();
        let checks = self.targets.iter().map(|(key, target)| (key.clone(), interval(target)));
        self.rota.replace(checks, clock::monotonic());
        let targets = &self.targets;
        self.healths.retain(|place| targets.values().any(|target| target.is_at(place)));
    }

    fn rest(&self) -> Duration {
        let due = self.rota.next_due().map(|due| due - clock::monotonic());
        due.map_or(IDLE, |rest| Duration::try_from(rest).unwrap_or(Duration::ZERO))
    }

    fn start(&mut self) {
        while self.running.len() < REQUESTS
            && let Some(key) = self.rota.take(clock::monotonic())
        {
            let Some(target) = self.targets.get(&key).cloned() else { continue };
            let (secrets, roots) = (Arc::clone(&self.inputs.secrets), self.inputs.roots.clone());
            let of_task = key.clone();
            let task = self.running.spawn(async move {
                let answered = target.ask(&secrets, &roots).await;
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
        let alone = self
            .targets
            .values()
            .filter(|other| (&other.certificate, &other.node) == (&target.certificate, &target.node));
        if alone.count() == 1 {
            // Its name may have other addresses than before.
            let places: Vec<&HealthPlace> = answered.iter().map(|answered| &answered.place).collect();
            self.healths.retain(|place| !target.is_at(place) || places.contains(&place));
        }
        let (thresholds, good) = (Thresholds::from(&*target.health), &target.health.status);
        for answered in answered {
            for event in HealthEvent::of(self.healths.note(answered, thresholds), good) {
                (self.hooks.event)(&ServiceEvent::Health(event));
            }
        }
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
