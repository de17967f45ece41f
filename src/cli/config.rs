use clap::{Args, Subcommand};

use super::fault::Fault;
use super::{Options, output, setup};

/// Work with the configuration file
#[derive(Args)]
pub(super) struct Config {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the configuration and report every error with its line and the correction
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
