use core::net::IpAddr;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::cli::fault::Fault;
use crate::cli::{Options, Output, output, progress, renew, setup};
use crate::ops;
use crate::report::{Exit, Restored};

/// Bring back address records that failover has withdrawn
///
/// Makes each record again as it was, from the journal in the state directory, or from the TXT record beside it
/// (`_certd-withdrawn.NAME`) where that was lost. It does nothing if the records were changed since they were read, and
/// does not wait for the node to be well: with `failover.mode = "act"`, `certd run` withdraws the record of a failing
/// node again. Works with `failover.mode = "off"`, too.
#[derive(Args)]
pub(super) struct Restore {
    /// The name in DNS, or a certificate, for all its names
    #[arg(value_name = "NAME")]
    name: String,
    /// The address [default: all that are withdrawn]
    #[arg(value_name = "ADDRESS")]
    address: Option<IpAddr>,
    /// How long to wait while `certd run` changes records.
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = renew::wait)]
    wait: Duration,
}

impl Restore {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let (stop, stopped) = watch::channel(false);
        let context = setup::context(config, progress::progress(options), stopped)?;
        let asked = super::asked(&context, core::slice::from_ref(&self.name))?;
        let runtime = setup::runtime()?;
        setup::install_signal_handlers(&runtime, stop, options)?;
        let _lock = setup::lock_withdrawals(&context.store, self.wait, options)?;
        let mut restored: Vec<Restored> = Vec::new();
        let ended = runtime.block_on(ops::failover::restore(&context, asked, self.address, |one| {
            if options.output == Output::Text {
                output::text(&one.text(output::style(options)));
            }
            restored.push(one);
        }));
        runtime.shutdown_background();
        if options.output == Output::Json {
            output::json(&restored);
        }
        ended?;
        Ok(Exit::Ok.code())
    }
}
