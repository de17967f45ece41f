use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;

use crate::context::progress::Event;
use crate::model::{Finding, Scope};
use crate::ops;

use super::fault::Fault;
use super::{Options, Output, output, progress, setup};

/// Everything that renewal day needs, tried today
///
/// The configuration and its files, the state directory, this machine's clock, each CA and the account there, the token, a
/// TXT record that is made, seen and removed, the ledger's room, and every node: reached, logged in, its configuration
/// test, room, clock, other programs that renew there, and a delivery that is prepared and aborted. Nothing is ordered and
/// nothing is changed. Each line is ok, a warning (exit 3) or a FAILURE (exit 1, 5 or 6, as on the day it would matter)
/// with what to do. What needs a file that is missing or unfit is not tried, and all else is. While another certd is at work no TXT record is made and no delivery prepared.
#[derive(Args)]
pub(super) struct Doctor {
    /// Certificates to try; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only this node; may be given more than once.
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<String>,
}

impl Doctor {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let certificates = setup::certificates(&config, &self.names)?;
        let nodes = setup::nodes(&config, &self.nodes)?;
        let scope = Scope { certificates, nodes, may_issue: true, ..Scope::default() };
        let (stop, stopped) = watch::channel(false);
        let (context, unread) = setup::incomplete(config, progress::progress(options), stopped)?;
        let lock = context.store.lock().map_err(|error| Fault::from(&Finding::from(&error)))?;
        let runtime = setup::runtime()?;
        setup::install_signal_handlers(&runtime, stop, options)?;
        let context = Arc::new(runtime.block_on(context.discovered()));
        setup::known(&context.config, &scope.nodes)?;
        let checkup = runtime.block_on(ops::doctor::doctor(&context, scope, lock.is_some(), unread));
        runtime.shutdown_background();
        context.progress.say(Event::Over);
        let checkup = checkup.map_err(|failure| Fault::from(&failure))?;
        match options.output {
            Output::Text => output::text(&checkup.text(output::style(options))),
            Output::Json => output::json(&checkup),
        }
        Ok(checkup.exit)
    }
}
