//! `certd run`: passes for ever. It sleeps until [`schedule`] says otherwise, looks or makes a pass, and asks again.
//!
//! One pass at a time: the lock is taken for each, so that `certd renew` by hand can run between two of them. Finding of
//! a pass or a look is told, and tried again; it ends nothing.

mod events;
mod notify;
mod work;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::cert::Roots;
use crate::config::Config;
use crate::model::Finding;
use crate::plan::schedule::{self, LOOK_AT_THE_CLOCK, Past, What, Why};
use crate::plan::{ClockDoubt, Wait};
use crate::report::{Report, Verdict};
use crate::store::{Lock, Store, StoreError};

use crate::context::secrets::Secrets;
use crate::context::{clock, progress, stopped};

use events::Ended;
pub use events::{Place, ServiceEvent};
pub use notify::Notify;
use work::{Pass, lock, look};

/// From SIGTERM to the end; a pass ends by itself before it.
const END_AFTER: Duration = Duration::from_millis(9_500);
/// A pass that takes longer hangs: then nothing more is said to the watchdog, and the manager starts us anew. The same
/// hour that `certd-renew.service` has.
const LONGEST_PASS: SignedDuration = SignedDuration::from_hours(1);

/// How the service reaches whoever runs it.
pub struct Hooks {
    /// Reads the configuration anew; else every mistake in it.
    pub reload: Box<dyn Fn() -> Result<Config, Vec<String>> + Send + Sync>,
    pub event: Box<dyn Fn(&ServiceEvent) + Send + Sync>,
    /// Of a pass that did something, or after which something is otherwise than before.
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
    past: Past,
    seed: u64,
    clocks: (Timestamp, SignedDuration),
    verdicts: BTreeMap<Place, Verdict>,
    /// What the last pass could not do.
    ended: Option<Ended>,
    /// The configuration is another one than that of the work under way.
    reloaded: bool,
    doubt: Option<ClockDoubt>,
    failed: Option<Finding>,
    files_kept: Option<Finding>,
}

impl Service {
    /// Needs a runtime around it. `stop` becomes true, and `hangup` brings a word, by signals.
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
        let (past, seed, verdicts) = Default::default();
        let (ended, reloaded, doubt, failed, files_kept) = Default::default();
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
            past,
            seed,
            clocks,
            verdicts,
            ended,
            reloaded,
            doubt,
            failed,
            files_kept,
        }
    }

    /// Until it is told to stop.
    ///
    /// # Errors
    /// The state directory cannot be read at the start.
    pub async fn run(mut self) -> Result<(), Finding> {
        let of_store = |error: StoreError| Finding::from(&error);
        let tried = Store::open(&self.config.state_dir).map_err(of_store)?;
        let tried = Store::look(tried.root()).and_then(|store| store.state()).map_err(of_store)?;
        (self.past, self.seed) = (Past::new(clock::now(), tried.last_pass), tried.seed);
        let (certificates, nodes) = (self.config.certificates.len(), self.config.nodes.len());
        self.tell(ServiceEvent::Started { certificates, nodes });
        self.notify.ready();
        let mut stop = self.stop.clone();
        while !*self.stop.borrow() {
            let now = self.look_at_the_clock();
            let wake = schedule::next(&self.config.run, &self.past, self.seed, now);
            if wake.at <= now {
                match wake.what {
                    What::Look => self.look().await,
                    What::Pass(why) => self.pass(why).await,
                }
                if core::mem::take(&mut self.reloaded) {
                    self.past.look_anew(clock::now());
                }
                continue;
            }
            let pass_at = schedule::next_pass(&self.config.run, &self.past, self.seed);
            self.notify.status(events::status(&wake.what, wake.at, pass_at, &self.verdicts));
            let rest = wake.at.duration_since(now).min(LOOK_AT_THE_CLOCK);
            tokio::select! {
                () = sleep(Duration::try_from(rest).unwrap_or_default()) => {}
                () = stopped(&mut stop) => {}
                () = beat(&mut self.pulse, &self.notify) => {}
                Some(()) = self.hangup.recv() => self.reload(),
            }
        }
        self.notify.stopping();
        self.tell(ServiceEvent::Stopping);
        Ok(())
    }

    fn tell(&self, event: ServiceEvent) {
        (self.hooks.event)(&event);
    }

    /// The wall clock, and what it did since it was last looked at.
    fn look_at_the_clock(&mut self) -> Timestamp {
        let (wall, passed) = (clock::now(), clock::monotonic());
        let jump = schedule::jump(wall.duration_since(self.clocks.0), passed - self.clocks.1);
        if let Some(by) = jump {
            self.past.jumped(wall);
            self.tell(ServiceEvent::Jumped { by, now: wall });
        }
        self.clocks = (wall, passed);
        wall
    }

    async fn look(&mut self) {
        let looked = look(Arc::clone(&self.config), Arc::clone(&self.secrets), self.roots.clone());
        let Some(looked) = self.attend(looked, Duration::ZERO, Some(LONGEST_PASS)).await else { return };
        match looked {
            Ok((report, tried)) => {
                self.seen(&report);
                self.past.looked(report.at, &report.plan);
                self.past.passed(tried.last_pass, report.at);
                self.seed = tried.seed;
            }
            Err(failure) => self.could_not(failure),
        }
    }

    async fn pass(&mut self, why: Why) {
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
        };
        let Some(made) = self.attend(made.make(lock), END_AFTER, Some(LONGEST_PASS)).await else { return };
        match made {
            Ok((begun, report)) => {
                self.seen(&report);
                self.past.ended(begun, report.at, &report.plan);
                self.tell_of(&report);
            }
            // It was told to end before it did anything.
            Err(None) => {}
            Err(Some(failure)) => self.could_not(failure),
        }
    }

    /// However long another certd holds it: what is served is looked at all the while. `None`: certd ends.
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
                    self.notify.status(events::waiting(&self.verdicts));
                }
            }
        }
    }

    /// What a look and a pass have in common.
    fn seen(&mut self, report: &Report) {
        self.failed = None;
        let doubt = report.plan.waits.iter().find_map(|wait| match wait {
            Wait::Clock { doubt } => Some(doubt.clone()),
            _ => None,
        });
        match (&self.doubt, &doubt) {
            (None, Some(doubt)) => self.tell(ServiceEvent::Doubt(doubt.clone())),
            (Some(_), None) => self.tell(ServiceEvent::DoubtEnded),
            _ => {}
        }
        self.doubt = doubt;
        if self.doubt.is_none() {
            let verdicts = events::verdicts(report);
            events::changes(&self.verdicts, &verdicts).into_iter().for_each(|event| self.tell(event));
            self.verdicts = verdicts;
        }
    }

    /// What was done is always told; what could not be done, when it is not what could not be done the last time: a node
    /// that is down for days is tried every ten minutes.
    fn tell_of(&mut self, report: &Report) {
        let ended = Ended::of(report);
        let before = self.ended.replace(ended.clone()).unwrap_or_default();
        if events::did_something(report) || before != ended {
            (self.hooks.report)(report);
        }
    }

    fn could_not(&mut self, failure: Finding) {
        self.past.could_not(clock::now());
        if self.failed.as_ref() != Some(&failure) {
            self.tell(ServiceEvent::Failed(failure.clone()));
            self.failed = Some(failure);
        }
    }

    /// Secrets and roots are read in every pass: rotation is replacing a file, and a system gets new roots while certd
    /// runs for months. A process that began as root can read secrets of root no more, and goes on with what it has.
    fn read_files(&mut self) {
        let roots = crate::context::secrets::roots(&self.config).map(|roots| self.roots = roots);
        let secrets = Secrets::read(&self.config).map(|secrets| self.secrets = Arc::new(secrets));
        let kept = secrets.and(roots).err();
        if let Some(failure) = kept.clone().filter(|_| kept != self.files_kept) {
            self.tell(ServiceEvent::FilesKept(failure));
        }
        self.files_kept = kept;
    }

    /// P10: whatever is wrong with the new configuration, the old one goes on.
    fn reload(&mut self) {
        self.notify.reloading(clock::monotonic());
        match self.anew() {
            Ok((config, roots, secrets)) => {
                let (certificates, nodes) = (config.certificates.len(), config.nodes.len());
                (self.config, self.roots, self.secrets) = (Arc::new(config), roots, Arc::new(secrets));
                // What it asks for is seen to at once, and again after what is under way.
                self.past.look_anew(clock::now());
                self.reloaded = true;
                self.tell(ServiceEvent::Reloaded { certificates, nodes });
            }
            Err(why) => self.tell(ServiceEvent::NotReloaded { why }),
        }
        self.notify.ready();
    }

    fn anew(&self) -> Result<(Config, Roots, Secrets), Vec<String>> {
        let config = (self.hooks.reload)()?;
        if config.state_dir != self.config.state_dir {
            let path = self.config.state_dir.display();
            return Err(vec![format!("state_dir: is {path} while certd runs\n  next: restart it to change that")]);
        }
        let words = |failure: Finding| vec![format!("{}\n  next: {}", failure.what, failure.next)];
        let roots = crate::context::secrets::roots(&config).map_err(words)?;
        let secrets = Secrets::read(&config).map_err(words)?;
        Ok((config, roots, secrets))
    }

    /// Sees to the watchdog and to reloads while `work` is under way; what takes longer than `longest` hangs. `None`: certd
    /// ends, and `work` took longer than `patience` to end with it.
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

/// The loop's own pulse: when it hangs, the watchdog hears nothing.
async fn beat(pulse: &mut Option<Interval>, notify: &Notify) {
    match pulse {
        Some(pulse) => {
            pulse.tick().await;
            notify.alive();
        }
        None => core::future::pending().await,
    }
}
