//! `certd run`: sleeps until the next wake-up of [`schedule`], looks or makes a pass, and repeats.
//!
//! Each pass takes the lock for itself, so that a manual `certd renew` can run between two of them. A failed pass or
//! look is reported and retried; it does not end the service.

mod events;
mod failover;
mod health;
mod notify;
mod restart;
mod work;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::cert::Roots;
use crate::config::Config;
use crate::model::Finding;
use crate::plan::schedule::{self, LOOK_AT_THE_CLOCK, ScheduleState, Trigger, Work};
use crate::plan::{ClockDoubt, Wait};
use crate::report::{Report, Verdict};
use crate::store::{Lock, Store};

use crate::context::health::Healths;
use crate::context::secrets::Secrets;
use crate::context::{clock, progress, stopped};

use events::Failures;
pub use events::{FailoverEvent, HealthEvent, Place, ServiceEvent};
pub use notify::Notify;
use notify::beat;
use work::{Pass, lock, look};

/// From SIGTERM to the end of the process; a pass normally ends before it.
const END_AFTER: Duration = Duration::from_millis(9_500);
/// A pass that takes longer is considered hung: certd stops the watchdog notifications, and the service manager
/// restarts it. The same hour as in `certd-renew.service`.
const LONGEST_PASS: SignedDuration = SignedDuration::from_hours(1);

/// For the last write of what health checks have found.
const HEALTH_ENDS: Duration = Duration::from_secs(1);

/// Callbacks to the command line.
pub struct Hooks {
    /// Reads the configuration again, or returns every error in it.
    pub reload: Box<dyn Fn() -> Result<Config, Vec<String>> + Send + Sync>,
    pub event: Box<dyn Fn(&ServiceEvent) + Send + Sync>,
    /// Called for a pass that did something, or whose failures differ from those of the last one.
    pub report: Box<dyn Fn(&Report) + Send + Sync>,
}

pub struct Service {
    config: Arc<Config>,
    roots: Roots,
    secrets: Arc<Secrets>,
    hooks: Arc<Hooks>,
    progress: progress::Progress,
    stop: watch::Receiver<bool>,
    hangup: mpsc::UnboundedReceiver<()>,
    notify: Notify,
    pulse: Option<Interval>,
    clocks: (Timestamp, SignedDuration),
    memory: Memory,
    /// Filled beside all this, while it runs.
    healths: Healths,
    health_inputs: watch::Sender<health::Inputs>,
    refused: failover::SharedRefused,
}

/// What it remembers from one wake-up to the next.
#[derive(Default)]
struct Memory {
    schedule: ScheduleState,
    seed: u64,
    verdicts: BTreeMap<Place, Verdict>,
    /// The failures of the last pass.
    ended: Option<Failures>,
    /// The configuration was reloaded while work with the old one was under way.
    reloaded: bool,
    doubt: Option<ClockDoubt>,
    failed: Option<Finding>,
    files_kept: Option<Finding>,
}

/// What files hold now; and the first that cannot be used, and of which the former content goes on.
type ReadAgain = (Config, Roots, (Secrets, Option<Finding>));

impl Service {
    /// Must be called within a runtime. Signals set `stop` to true and send to `hangup`.
    pub fn new(
        config: Config,
        roots: Roots,
        secrets: Secrets,
        hooks: Hooks,
        progress: progress::Progress,
        (stop, hangup): (watch::Receiver<bool>, mpsc::UnboundedReceiver<()>),
    ) -> Self {
        let notify = Notify::from_environment();
        let pulse = notify.pulse().map(|pulse| {
            let mut pulse = interval(pulse);
            pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pulse
        });
        let (config, secrets, hooks) = (Arc::new(config), Arc::new(secrets), Arc::new(hooks));
        let clocks = (clock::now(), clock::monotonic());
        let memory = Memory::default();
        let inputs =
            health::Inputs { config: Arc::clone(&config), secrets: Arc::clone(&secrets), roots: roots.clone() };
        let (healths, health_inputs) = (Healths::default(), watch::Sender::new(inputs));
        Self {
            config,
            roots,
            secrets,
            hooks,
            progress,
            stop,
            hangup,
            notify,
            pulse,
            clocks,
            memory,
            healths,
            health_inputs,
            refused: Arc::default(),
        }
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// The state directory cannot be read at the start.
    pub async fn run(mut self) -> Result<(), Finding> {
        let store = Store::open(&self.config.state_dir)?;
        let state = Store::look(store.root()).and_then(|store| store.state())?;
        (self.memory.schedule, self.memory.seed) = (ScheduleState::new(clock::now(), state.last_pass), state.seed);
        self.healths = health::remembered(&store);
        let (inputs, hooks, stop) = (self.health_inputs.subscribe(), Arc::clone(&self.hooks), self.stop.clone());
        let (healths, refused) = (self.healths.clone(), Arc::clone(&self.refused));
        let failover = failover::watch(inputs.clone(), healths.clone(), refused, Arc::clone(&hooks), stop.clone());
        let checks = health::watch(inputs, healths, hooks, stop);
        let beside = join(tokio::spawn(failover), tokio::spawn(checks));
        let (certificates, nodes) = (self.config.certificates.len(), self.config.nodes.len());
        self.tell(ServiceEvent::Started { certificates, nodes });
        self.notify.ready();
        let mut stop = self.stop.clone();
        while !*self.stop.borrow() {
            let now = self.look_at_the_clock();
            let wake = schedule::next(&self.config.run, &self.memory.schedule, self.memory.seed, now);
            if wake.at <= now {
                match wake.work {
                    Work::Look => self.look().await,
                    Work::Pass(why) => self.pass(why).await,
                }
                if core::mem::take(&mut self.memory.reloaded) {
                    self.memory.schedule.look_anew(clock::now());
                }
                continue;
            }
            let pass_at = schedule::next_pass(&self.config.run, &self.memory.schedule, self.memory.seed);
            self.notify.status(events::status(&wake.work, wake.at, pass_at, &self.memory.verdicts));
            let rest = wake.at.duration_since(now).min(LOOK_AT_THE_CLOCK);
            tokio::select! {
                () = sleep(Duration::try_from(rest).unwrap_or_default()) => {}
                () = stopped(&mut stop) => {}
                () = beat(&mut self.pulse, &self.notify) => {}
                Some(()) = self.hangup.recv() => self.reload(),
            }
        }
        // What it knows is written.
        let _ = timeout(HEALTH_ENDS, beside).await;
        self.notify.stopping();
        self.tell(ServiceEvent::Stopping);
        Ok(())
    }

    fn tell(&self, event: ServiceEvent) {
        (self.hooks.event)(&event);
    }

    /// Reads the wall clock and reports a jump since the last reading.
    fn look_at_the_clock(&mut self) -> Timestamp {
        let (wall, passed) = (clock::now(), clock::monotonic());
        let jump = schedule::jump(wall.duration_since(self.clocks.0), passed - self.clocks.1);
        if let Some(by) = jump {
            self.memory.schedule.jumped(wall);
            self.tell(ServiceEvent::Jumped { by, now: wall });
        }
        self.clocks = (wall, passed);
        wall
    }

    async fn look(&mut self) {
        let healths = self.healths.clone();
        let looked = look(Arc::clone(&self.config), Arc::clone(&self.secrets), self.roots.clone(), healths);
        let Some(looked) = self.attend(looked, Duration::ZERO, Some(LONGEST_PASS)).await else { return };
        match looked {
            Ok((report, state)) => {
                self.seen(&report);
                self.memory.schedule.looked(report.at, &report.plan);
                self.memory.schedule.passed(state.last_pass, report.at);
                self.memory.seed = state.seed;
            }
            Err(failure) => self.could_not(failure),
        }
    }

    async fn pass(&mut self, why: Trigger) {
        self.tell(ServiceEvent::Pass(why));
        let lock = match self.lock().await {
            Some(Ok(lock)) => lock,
            Some(Err(failure)) => return self.could_not(failure),
            None => return,
        };
        self.read_files();
        let made = Pass {
            config: Arc::clone(&self.config),
            roots: self.roots.clone(),
            secrets: Arc::clone(&self.secrets),
            progress: self.progress.clone(),
            stop: self.stop.clone(),
            healths: self.healths.clone(),
        };
        let Some(made) = self.attend(made.make(lock), END_AFTER, Some(LONGEST_PASS)).await else { return };
        match made {
            Ok((begun, report)) => {
                self.seen(&report);
                self.memory.schedule.ended(begun, report.at, &report.plan);
                self.log(&report);
            }
            // Stopped before it did anything.
            Err(None) => {}
            Err(Some(failure)) => self.could_not(failure),
        }
    }

    /// Waits for the lock without limit, and keeps probing in the meantime. `None`: certd ends.
    async fn lock(&mut self) -> Option<Result<Lock, Finding>> {
        let lock = lock(self.config.state_dir.clone(), Arc::clone(&self.hooks));
        tokio::pin!(lock);
        loop {
            let every = Duration::try_from(self.config.run.check_every).unwrap_or_default();
            match self.attend(timeout(every, &mut lock), Duration::ZERO, None).await? {
                Ok(locked) => return Some(locked),
                Err(_) => {
                    self.look_at_the_clock();
                    self.look().await;
                    self.notify.status(events::waiting(&self.memory.verdicts));
                }
            }
        }
    }

    /// Handles the part of a report that looks and passes share.
    fn seen(&mut self, report: &Report) {
        self.memory.failed = None;
        let doubt = report.plan.waits.iter().find_map(|wait| match wait {
            Wait::Clock { doubt } => Some(doubt.clone()),
            _ => None,
        });
        match (&self.memory.doubt, &doubt) {
            (None, Some(doubt)) => self.tell(ServiceEvent::Doubt(doubt.clone())),
            (Some(_), None) => self.tell(ServiceEvent::DoubtEnded),
            _ => {}
        }
        failover::note_refused(&self.refused, doubt.is_none().then_some(report), report.at);
        self.memory.doubt = doubt;
        if self.memory.doubt.is_none() {
            let verdicts = events::verdicts(report);
            events::changes(&self.memory.verdicts, &verdicts).into_iter().for_each(|event| self.tell(event));
            self.memory.verdicts = verdicts;
        }
    }

    /// Logs every success, and a failure only when it differs from the last one: a node that is down for days is tried
    /// every ten minutes.
    fn log(&mut self, report: &Report) {
        let ended = Failures::of(report);
        let before = self.memory.ended.replace(ended.clone()).unwrap_or_default();
        if events::did_something(report) || before != ended {
            (self.hooks.report)(report);
        }
    }

    fn could_not(&mut self, failure: Finding) {
        self.memory.schedule.could_not(clock::now());
        if self.memory.failed.as_ref() != Some(&failure) {
            self.tell(ServiceEvent::Failed(failure.clone()));
            self.memory.failed = Some(failure);
        }
    }

    /// Reads secrets and roots before every pass: a secret is rotated by replacing its file, and the system's roots
    /// change while certd runs for months. A process that started as root can no longer read root's secrets, and keeps
    /// the old values.
    fn read_files(&mut self) {
        let roots = crate::context::secrets::roots(&self.config).map(|roots| self.roots = roots);
        let secrets = self.secrets_of(&self.config).map(|(secrets, covered)| {
            self.secrets = Arc::new(secrets);
            covered
        });
        if secrets.is_err() {
            self.secrets = Arc::new(self.secrets.for_a_new_run());
        }
        self.kept(match (secrets, roots) {
            (Err(failure), _) | (Ok(_), Err(failure)) => Some(failure),
            (Ok(covered), Ok(())) => covered,
        });
        self.tell_health();
    }

    /// As the files are now, but for those of health checks that cannot be used and could be before; also the first of these.
    fn secrets_of(&self, config: &Config) -> Result<(Secrets, Option<Finding>), Finding> {
        let mut secrets = Secrets::read(config)?;
        let headers = core::mem::take(&mut secrets.health_headers);
        let (headers, covered) = headers.or_before(&self.secrets.health_headers);
        secrets.health_headers = headers;
        Ok((secrets, covered.into_iter().next()))
    }

    /// A file cannot be used, and what was read of it before stays in use.
    fn kept(&mut self, kept: Option<Finding>) {
        if let Some(failure) = kept.clone().filter(|_| kept != self.memory.files_kept) {
            self.tell(ServiceEvent::FilesKept(failure));
        }
        self.memory.files_kept = kept;
    }

    fn tell_health(&self) {
        let (config, secrets, roots) = (Arc::clone(&self.config), Arc::clone(&self.secrets), self.roots.clone());
        self.health_inputs.send_replace(health::Inputs { config, secrets, roots });
    }

    /// P10: if anything is wrong with the new configuration, the old one stays in use.
    fn reload(&mut self) {
        self.notify.reloading(clock::monotonic());
        match self.read_again() {
            Ok((config, roots, (secrets, covered))) => {
                let (certificates, nodes) = (config.certificates.len(), config.nodes.len());
                (self.config, self.roots, self.secrets) = (Arc::new(config), roots, Arc::new(secrets));
                self.tell_health();
                // Look at once, and again after the work under way, which uses the old configuration.
                self.memory.schedule.look_anew(clock::now());
                self.memory.reloaded = true;
                self.tell(ServiceEvent::Reloaded { certificates, nodes });
                self.kept(covered);
            }
            Err(why) => self.tell(ServiceEvent::NotReloaded { why }),
        }
        self.notify.ready();
    }

    fn read_again(&self) -> Result<ReadAgain, Vec<String>> {
        let config = (self.hooks.reload)()?;
        if config.state_dir != self.config.state_dir {
            let path = self.config.state_dir.display();
            return Err(vec![format!("state_dir: stays {path} while certd runs\n  next: restart certd to change it")]);
        }
        let words = |failure: Finding| vec![format!("{}\n  next: {}", failure.what, failure.next)];
        let roots = crate::context::secrets::roots(&config).map_err(words)?;
        let secrets = self.secrets_of(&config).map_err(words)?;
        Ok((config, roots, secrets))
    }

    /// Serves the watchdog and reloads while `work` is under way. Work that takes longer than `longest` counts as hung:
    /// the watchdog is no longer served. `None`: certd ends, and `work` did not end within `patience`.
    async fn attend<T>(
        &mut self,
        work: impl Future<Output = T>,
        patience: Duration,
        longest: Option<SignedDuration>,
    ) -> Option<T> {
        let (mut stop, began) = (self.stop.clone(), clock::monotonic());
        let ending = async {
            stopped(&mut stop).await;
            sleep(patience).await;
        };
        tokio::pin!(work, ending);
        loop {
            let hangs = longest.is_some_and(|longest| clock::monotonic() - began > longest);
            tokio::select! {
                done = &mut work => return Some(done),
                () = &mut ending => return None,
                () = beat(&mut self.pulse, &self.notify), if !hangs => {}
                Some(()) = self.hangup.recv() => self.reload(),
            }
        }
    }
}
