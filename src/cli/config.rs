use clap::{Args, Subcommand};

use super::fault::Fault;
use super::{Options, output, setup};

/// What concerns the configuration itself
#[derive(Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read the configuration and tell every mistake in it, each with its line and what to write
    Check,
}

impl Config {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let Command::Check = self.command;
        let config = setup::configuration(&options.config)?;
        let (certificates, nodes) = (config.certificates.len(), config.nodes.len());
        output::text(&format!(
            "{}: ok ({certificates} {}, {nodes} {})\n",
            options.config.display(),
            if certificates == 1 { "certificate" } else { "certificates" },
            if nodes == 1 { "node" } else { "nodes" },
        ));
        Ok(0)
    }
}
