use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::context::Context;
use crate::context::progress::Event;
use crate::model::{Depth, Scope};
use crate::reconcile;
use crate::report::{self, Report};

use super::fault::Fault;
use super::{Options, output, progress, setup};

mod rounds;

/// Report each stored certificate and what each node serves now, worst first
///
/// Makes a TLS handshake with every address of every node and every watched endpoint, and asks DNS whether the names
/// point to their nodes and whether the CA may issue for them. Changes nothing and takes no lock, so it can run during
/// a renewal. Without --deep it needs no secrets except the SSH identities of nodes that are probed through SSH. It
/// reads the state directory: run it as root or as the owner of that directory.
#[derive(Args)]
pub(super) struct Check {
    /// Certificates and watched endpoints to check [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Also log in to each node, changing nothing, and check whether its disk holds the stored certificate, whether its
    /// configuration test passes, whether its clock is right, and whether another program renews certificates there.
    /// Also fetch the revocation lists of the stored certificates.
    #[arg(long)]
    deep: bool,
    /// Also send an HTTPS request to each node, as `[health]` says, and judge its answer. Shows what `certd run` has
    /// noted too: since when, and the response times of the last hour.
    #[arg(long)]
    health: bool,
    /// Print for a monitoring system (Nagios, Icinga, …): one line with the state and the days left, then a line for
    /// each finding. The exit code is 0 OK, 1 WARNING (certd's 3), 2 CRITICAL (4, 5, 6) or 3 UNKNOWN (1, 2, 7).
    #[arg(long)]
    nagios: bool,
    /// Repeat until SIGINT or SIGTERM, pausing for TIME after each check, and mark what has changed. The exit code is
    /// that of the last check. With `--output json`, print one line per check.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "60s", value_parser = pause, conflicts_with = "nagios")]
    watch: Option<Duration>,
}

impl Check {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        if self.nagios {
            return self.nagios(options);
        }
        // Progress would disturb a screen that is redrawn.
        let quiet = options.quiet || self.watch.is_some();
        let look = Look::open("check", &self.names, self.beyond(), &Options { quiet, ..options.clone() })?;
        match self.watch {
            Some(pause) => rounds::run(&look, pause, options),
            None => {
                let runtime = setup::runtime()?;
                let report = runtime.block_on(look.report());
                // Do not wait for a resolver that does not answer.
                runtime.shutdown_background();
                Ok(output::report(&report?, options))
            }
        }
    }

    fn beyond(&self) -> Beyond {
        Beyond { deep: self.deep, health: self.health }
    }

    /// Prints errors on stdout too: monitoring systems read nothing else.
    fn nagios(&self, options: &Options) -> Result<u8, Fault> {
        if options.output == super::Output::Json {
            return Err(Fault::usage("--nagios and --output json exclude each other\n  next: leave one of them out"));
        }
        let silent = Options { quiet: true, ..options.clone() };
        let looked = Look::open("check", &self.names, self.beyond(), &silent).and_then(|look| {
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

/// At least a second, so that nodes are not probed without pause.
fn pause(text: &str) -> Result<Duration, String> {
    let pause = super::renew::wait(text)?;
    if pause < Duration::from_secs(1) { Err("at least 1s".to_owned()) } else { Ok(pause) }
}

/// The part that `check` and `plan` share: observe and plan, without changes.
pub(super) fn report(command: &'static str, names: &[String], options: &Options) -> Result<Report, Fault> {
    let look = Look::open(command, names, Beyond::default(), options)?;
    let runtime = setup::runtime()?;
    let report = runtime.block_on(look.report());
    runtime.shutdown_background();
    report
}

/// What a look asks for beyond handshakes and DNS.
#[derive(Clone, Copy, Default)]
pub(super) struct Beyond {
    deep: bool,
    health: bool,
}

/// Everything that an observation needs, read before root privileges are dropped.
struct Look {
    command: &'static str,
    scope: Scope,
    context: Context,
    /// Becomes true on SIGINT or SIGTERM.
    stop: watch::Sender<bool>,
}

impl Look {
    fn open(command: &'static str, names: &[String], beyond: Beyond, options: &Options) -> Result<Self, Fault> {
        let Beyond { deep, health } = beyond;
        let config = setup::configuration(&options.config)?;
        let (certificates, watches) = setup::selection(&config, names)?;
        let (stop, stopped) = watch::channel(false);
        if health {
            setup::has_health(&config, &certificates)?;
        }
        let (depth, context) = if deep {
            (Depth::Disk, setup::looking(config, progress::for_a_look(options), stopped)?)
        } else {
            (Depth::Dns, setup::look(config, health, progress::for_a_look(options))?)
        };
        let files = context.config.health_headers_of(&certificates);
        if let Some(trouble) = context.secrets.health_headers.trouble(&files).filter(|_| health) {
            return Err(Fault::from(trouble.clone()));
        }
        let scope = Scope { depth, certificates, watches, may_issue: true, health, ..Scope::default() };
        Ok(Self { command, scope, context, stop })
    }

    async fn report(&self) -> Result<Report, Fault> {
        let looked = reconcile::look(&self.context, self.command, self.scope.clone()).await;
        self.context.progress.say(Event::Over);
        Ok(looked?.0)
    }
}
