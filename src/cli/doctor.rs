use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;

use crate::context::progress::Event;
use crate::model::Scope;
use crate::ops;

use super::fault::Fault;
use super::{Options, Output, output, progress, setup};

/// Test today everything that the next renewal will need
///
/// Tests the configuration and its files, the state directory, this machine's clock, each CA and its account, the DNS
/// token, a TXT record (created, seen and removed), the room in the ledger, and every node: address, login,
/// configuration test, disk space, clock, other programs that renew there, and a delivery that is prepared and aborted.
/// Places no order and changes nothing.
///
/// Each line is ok, a warning (exit 3) or a FAILURE (exit 1, 5 or 6, as it would be on renewal day), with advice. Tests
/// that need a missing or unusable file are skipped; all others run. While another certd holds the lock, doctor creates
/// no TXT record and prepares no delivery.
#[derive(Args, Default)]
pub(super) struct Doctor {
    /// Certificates to test [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Test only this node. Repeatable.
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
        let lock = context.store.lock()?;
        let runtime = setup::runtime()?;
        setup::install_signal_handlers(&runtime, stop, options)?;
        let context = Arc::new(runtime.block_on(context.discovered()));
        setup::known(&context.config, &scope.nodes)?;
        let checkup = runtime.block_on(ops::doctor::doctor(&context, scope, lock.is_some(), unread));
        runtime.shutdown_background();
        context.progress.say(Event::Over);
        let checkup = checkup?;
        match options.output {
            Output::Text => output::text(&checkup.text(output::style(options))),
            Output::Json => output::json(&checkup),
        }
        Ok(checkup.exit)
    }
}
