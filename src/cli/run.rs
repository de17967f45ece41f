use std::path::Path;

use clap::Args;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::context;
use crate::context::secrets::Secrets;
use crate::model::Finding;
use crate::service::ServiceEvent;
use crate::service::{Hooks, Service};
use crate::store::{Store, owner};

use super::fault::Fault;
use super::{Options, output, progress, setup};

/// The scheduler as a service: passes on a schedule, and at once when a node lacks its certificate
///
/// Makes a pass as `certd renew` does whenever `run.schedule` says so, and when a wait of the last plan ends (a renewal
/// falls due, a failure may be tried again). In between it looks at what is served every `run.check_every`, and makes a
/// pass when something is to be done. Passes that were missed are made up for with one. It begins by looking.
///
/// SIGHUP reads the configuration again, and keeps the old one when the new one is bad. SIGTERM ends it within ten
/// seconds: nothing new is begun, nodes that were only prepared are told to abort, and a node that is at work finishes
/// by itself. Then the exit code is 0.
///
/// stderr has a line for each event, stdout a report of each pass that did or found something new. To be started by a
/// service manager (certd.service), to which it says when it is ready, that it is alive, and how it goes (sd_notify).
#[derive(Args)]
pub(super) struct Run {}

impl Run {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = configuration(&options.config)?;
        let roots = context::roots(&config).map_err(|failure| Fault::of_configuration(&failure))?;
        let secrets = Secrets::read(&config).map_err(|failure| Fault::of_configuration(&failure))?;
        owner::become_owner(&config.state_dir).map_err(|error| Fault::from(&error))?;
        Store::open(&config.state_dir).map_err(|error| Fault::from(&Finding::from(&error)))?;

        let runtime = setup::runtime()?;
        let (stop, stopped) = watch::channel(false);
        let (hang_up, hung_up) = mpsc::unbounded_channel();
        setup::install_signal_handlers(&runtime, stop, options)?;
        setup::install_hangup_handler(&runtime, hang_up)?;
        let ended = runtime.block_on(async {
            let signals = (stopped, hung_up);
            Service::new(config, roots, secrets, hooks(options), progress::lines(options), signals).run().await
        });
        // Sessions that are ending by themselves are not waited for.
        runtime.shutdown_background();
        ended.map(|()| 0).map_err(|failure| Fault::from(&failure))
    }
}

/// The same at the start and for each SIGHUP.
fn configuration(path: &Path) -> Result<Config, Fault> {
    setup::with_environment(setup::configuration(path)?)
}

fn hooks(options: &Options) -> Hooks {
    let (path, of_reports, quiet) = (options.config.clone(), options.clone(), options.quiet);
    Hooks {
        reload: Box::new(move || configuration(&path).map_err(|fault| fault.texts)),
        event: Box::new(move |event| {
            if !quiet || matters(event) {
                progress::line(&event.to_string());
            }
        }),
        report: Box::new(move |report| _ = output::report(report, &of_reports)),
    }
}

/// What is said with -q too: it is no progress.
fn matters(event: &ServiceEvent) -> bool {
    matches!(
        event,
        ServiceEvent::NotReloaded { .. }
            | ServiceEvent::Failed(_)
            | ServiceEvent::Doubt(_)
            | ServiceEvent::FilesKept(_)
    )
}
