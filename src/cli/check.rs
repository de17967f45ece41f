use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::context::progress::Event;
use crate::context::{Context, clock, provider};
use crate::model::{Depth, Finding, Scope};
use crate::observe::{self, discover, gather, revocations};
use crate::plan;
use crate::report::{self, Report};

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
    scope: Scope,
    context: Context,
    /// Told when a person asks for the end.
    stop: watch::Sender<bool>,
}

impl Look {
    fn open(command: &'static str, names: &[String], deep: bool, options: &Options) -> Result<Self, Fault> {
        let config = setup::configuration(&options.config)?;
        let (certificates, watches) = setup::selection(&config, names)?;
        let (stop, stopped) = watch::channel(false);
        let (depth, context) = if deep {
            (Depth::Disk, setup::looking(config, progress::of_a_look(options), stopped)?)
        } else {
            (Depth::Dns, setup::look(config, progress::of_a_look(options))?)
        };
        let scope = Scope { depth, certificates, watches, may_issue: true, ..Scope::default() };
        Ok(Self { command, scope, context, stop })
    }

    async fn report(&self) -> Result<Report, Fault> {
        let report = self.looked().await;
        self.context.progress.say(Event::Over);
        report
    }

    async fn looked(&self) -> Result<Report, Fault> {
        let looked = discover::for_a_look(&self.context).await;
        let (context, told) = looked.map_err(|error| Fault::from(&Finding::from(&error)))?;
        let observed = gather(&context, self.scope.clone()).await.map_err(|failure| Fault::from(&failure))?;
        // After the store was read, which finds them.
        let mut done = observe::damages(&context.store);
        done.failures.extend(told);
        done.failures.extend(provider::known_token_trouble(&context, clock::now()));
        done.failures.extend(context.secrets.watch_roots.failures(&observed.asked));
        done.revocations = revocations(&context.store, &observed);
        let now = clock::now();
        let plan = plan::plan(&context.config, &observed, now);
        Ok(report::build(self.command, &context.config, &observed, plan, done, false, now))
    }
}
