use std::path::Path;

use clap::Args;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::context;
use crate::context::secrets::Secrets;
use crate::service::ServiceEvent;
use crate::service::{Hooks, Service};
use crate::store::{Store, owner};

use super::fault::Fault;
use super::{Options, output, progress, setup};

/// Run as a service: renew on a schedule, and at once when a node lacks its certificate
///
/// Makes a pass like `certd renew` at every time in `run.schedule`, and whenever a wait of the last plan ends (a
/// renewal falls due, a failure may be retried). In between, probes what is served every `run.check_every` and makes a
/// pass when there is something to do. Makes up for any number of missed passes with one. Probes first after it starts.
///
/// SIGHUP reloads the configuration, and keeps the old one if the new one is invalid. SIGTERM ends the service within
/// ten seconds with exit code 0: certd starts nothing new, aborts on nodes that are only prepared, and leaves a node at
/// work to finish on its own.
///
/// Prints a line for each event on stderr, and on stdout a report of each pass that did or found something new.
/// Supports systemd readiness, watchdog and status (see certd.service).
#[derive(Args)]
pub(super) struct Run {}

impl Run {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = configuration(&options.config)?;
        let roots = context::roots(&config)?;
        let secrets = Secrets::read(&config)?;
        owner::become_owner(&config.state_dir)?;
        Store::open(&config.state_dir)?;

        let runtime = setup::runtime()?;
        let (stop, stopped) = watch::channel(false);
        let (hang_up, hung_up) = mpsc::unbounded_channel();
        setup::install_signal_handlers(&runtime, stop, options)?;
        setup::install_hangup_handler(&runtime, hang_up)?;
        let ended = runtime.block_on(async {
            let signals = (stopped, hung_up);
            Service::new(config, roots, secrets, hooks(options), progress::lines(options), signals).run().await
        });
        // Do not wait for sessions that are closing on their own.
        runtime.shutdown_background();
        ended.map(|()| 0).map_err(Fault::from)
    }
}

/// Used at startup and for each SIGHUP.
fn configuration(path: &Path) -> Result<Config, Fault> {
    setup::with_environment(setup::configuration(path)?)
}

fn hooks(options: &Options) -> Hooks {
    let (path, of_reports, quiet) = (options.config.clone(), options.clone(), options.quiet);
    Hooks {
        reload: Box::new(move || configuration(&path).map_err(|fault| fault.texts)),
        event: Box::new(move |event| {
            if !quiet || is_problem(event) {
                progress::line(&event.to_string());
            }
        }),
        report: Box::new(move |report| _ = output::report(report, &of_reports)),
    }
}

/// Events that are printed despite -q, because they report a problem.
fn is_problem(event: &ServiceEvent) -> bool {
    matches!(
        event,
        ServiceEvent::NotReloaded { .. }
            | ServiceEvent::Failed(_)
            | ServiceEvent::Doubt(_)
            | ServiceEvent::FilesKept(_)
            | ServiceEvent::Health(_)
            | ServiceEvent::Failover(_)
    )
}
