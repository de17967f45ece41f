use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::config::Config;
use crate::context::progress::{Event, Progress};
use crate::context::secrets::Secrets;
use crate::context::{Context, clock};
use crate::model::{Asked, Failure, Observed};
use crate::observe;
use crate::observe::{discover, disks, dns, revocations, watched};
use crate::plan;
use crate::report::{self, Report};
use crate::store::Store;

use super::fault::Fault;
use super::{Options, output, progress, setup};

mod rounds;

/// The expiry report: each certificate in the store and what each node serves now, worst first
///
/// Shakes hands with every address of every node and of every watched endpoint, asks DNS whether the names lead to their
/// nodes and whether the CA may issue for them, and changes nothing. It takes no lock and (without --deep) needs no
/// secrets but the SSH identities of nodes that are probed through SSH, so it can run beside a renewal. It reads the state directory: run it as root or as that directory's owner.
#[derive(Args)]
pub(super) struct Check {
    /// Certificates and watched endpoints to check; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Log in at each node too, as a renewal does, and change nothing there: is what is on its disk what is stored, does
    /// its configuration test pass, what does its clock say, what else renews certificates there? And fetch the
    /// revocation lists of what is stored.
    #[arg(long)]
    deep: bool,
    /// For a monitoring system (Nagios, Icinga, …): one line with the state and the days left, then a line for each finding.
    /// The exit code is then 0 OK, 1 WARNING (certd's 3), 2 CRITICAL (4, 5, 6) or 3 UNKNOWN (1, 2, 7).
    #[arg(long)]
    nagios: bool,
    /// Again and again until SIGINT or SIGTERM, so long after the end of the last look; what has changed is marked. The
    /// exit code is that of the last look. With `--output json` each is one line.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = pause, conflicts_with = "nagios")]
    watch: Option<Duration>,
}

impl Check {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        if self.nagios {
            return self.nagios(options);
        }
        // What is shown again and again is no place for progress.
        let quiet = options.quiet || self.watch.is_some();
        let look = Look::open("check", &self.names, self.deep, &Options { quiet, ..options.clone() })?;
        match self.watch {
            Some(pause) => rounds::run(&look, pause, options),
            None => {
                let runtime = setup::runtime()?;
                let report = runtime.block_on(look.report());
                // A resolver that does not answer is not waited for.
                runtime.shutdown_background();
                Ok(output::report(&report?, options))
            }
        }
    }

    /// What keeps a report from being made is told on stdout too: monitoring systems read nothing else.
    fn nagios(&self, options: &Options) -> Result<u8, Fault> {
        if options.output == super::Output::Json {
            return Err(Fault::usage("--nagios and --output json exclude each other\n  next: leave one of them out"));
        }
        let silent = Options { quiet: true, ..options.clone() };
        let looked = Look::open("check", &self.names, self.deep, &silent).and_then(|look| {
            let runtime = setup::runtime()?;
            let report = runtime.block_on(look.report());
            runtime.shutdown_background();
            report
        });
        match looked {
            Ok(report) => {
                output::text(&report::nagios(&report));
                Ok(report::State::of(report.exit).code())
            }
            Err(fault) => {
                super::fault::show(&fault);
                output::text(&report::nagios_unknown(fault.texts.first().map_or("", String::as_str)));
                Ok(report::State::Unknown.code())
            }
        }
    }
}

/// A look takes seconds, and nodes are not to be asked without pause.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = super::renew::wait(text)?;
    if pause < Duration::from_secs(1) { Err("at least 1s".to_owned()) } else { Ok(pause) }
}

/// Look and plan, and touch nothing: what `check` and `plan` have in common.
pub(super) fn report(command: &'static str, names: &[String], options: &Options) -> Result<Report, Fault> {
    let look = Look::open(command, names, false, options)?;
    let runtime = setup::runtime()?;
    let report = runtime.block_on(look.report());
    runtime.shutdown_background();
    report
}

/// Everything that looking takes, read before root is given up.
struct Look {
    command: &'static str,
    asked: Asked,
    with: With,
    progress: Progress,
    /// Told when a person asks for the end.
    stop: watch::Sender<bool>,
}

enum With {
    /// Handshakes alone.
    Handshakes(Arc<Config>, Store, crate::cert::Roots, Arc<Secrets>),
    /// And what logging in takes.
    Secrets(Arc<Context>),
}

impl Look {
    fn open(command: &'static str, names: &[String], deep: bool, options: &Options) -> Result<Self, Fault> {
        let config = setup::configuration(&options.config)?;
        let (certificates, watches) = setup::selection(&config, names)?;
        let (stop, stopped) = watch::channel(false);
        let progress = progress::of_a_look(options);
        let with = if deep {
            With::Secrets(Arc::new(setup::looking(config, progress.clone(), stopped)?))
        } else {
            let (store, roots, secrets) = setup::look(&config)?;
            With::Handshakes(Arc::new(config), store, roots, secrets)
        };
        let asked = Asked { certificates, watches, may_issue: true, ..Asked::default() };
        Ok(Self { command, asked, with, progress, stop })
    }

    async fn report(&self) -> Result<Report, Fault> {
        let report = self.looked().await;
        self.progress.say(Event::Over);
        report
    }

    async fn looked(&self) -> Result<Report, Fault> {
        let (config, store, roots, secrets) = match &self.with {
            With::Handshakes(config, store, roots, secrets) => (config, store, roots, secrets),
            With::Secrets(context) => (&context.config, &context.store, &context.roots, &context.secrets),
        };
        let asked = &self.asked;
        let mut done = observe::damages(store);
        let (config, told) = match discover::for_a_look(config, store).await {
            Some(found) => (&Arc::new(found.config), found.failures),
            None => (config, Vec::new()),
        };
        done.failures.extend(told);
        let (observed, watched, inventory) = tokio::join!(
            observe::observe(config, secrets, store, roots, asked.clone(), &self.progress),
            watched::look(config, asked, &secrets.watch_roots),
            dns::in_a_look(config, store, asked),
        );
        let mut observed = observed.map_err(|error| Fault::from(&Failure::from(&error)))?;
        (observed.watched, observed.inventory) = (watched, inventory);
        if let With::Secrets(context) = &self.with {
            let context = context.of_a_look(config).map_err(|error| Fault::from(&Failure::from(&error)))?;
            deep(&Arc::new(context), &mut observed).await;
        }
        done.failures.extend(secrets.watch_roots.failures(asked));
        done.revocations = revocations(store, &observed);
        let now = clock::now();
        let plan = plan::plan(config, &observed, now);
        Ok(report::build(self.command, config, &observed, plan, done, false, now))
    }
}

/// Nothing of it is written: the next pass looks for itself.
async fn deep(context: &Arc<Context>, observed: &mut Observed) {
    let names = plan::crls::all(observed, clock::now());
    let nodes = plan::disks::all(&context.config, observed, clock::now());
    let network_ca = context.secrets.network_ca.as_deref();
    let lists = revocations::ask(&context.config, &context.store, names, network_ca).await;
    disks::look(context, observed, nodes).await;
    revocations::keep(observed, lists);
}
