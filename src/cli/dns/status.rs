use clap::Args;

use crate::cli::fault::Fault;
use crate::cli::{Options, Output, output, progress, setup};
use crate::ops;

/// Show address records, the health of their nodes, and what failover has done and would do
///
/// Reads the A and AAAA records of each name as the DNS provider has them, what is withdrawn since when and why, and the
/// health that `certd run` has noted (else it sends one request to each node). Says for each address what failover would do
/// next, or which guard keeps it. Works with `failover.mode = "off"`, too. Changes nothing.
///
/// The exit code is 3 while a record is withdrawn, or where a person has to look.
#[derive(Args)]
pub(super) struct Status {
    /// Names in DNS, or certificates, whose names are shown [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Status {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let (context, _) = setup::look_with_secrets(config, progress::for_a_look(options))?;
        let asked = super::asked(&context, &self.names)?;
        let runtime = setup::runtime()?;
        let status = runtime.block_on(ops::failover::status(&context, asked));
        runtime.shutdown_background();
        let status = status?;
        match options.output {
            Output::Text => output::text(&status.text(&context.config, output::style(options))),
            Output::Json => output::json(&status),
        }
        Ok(status.exit)
    }
}
