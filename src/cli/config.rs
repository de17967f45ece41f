use clap::{Args, Subcommand, ValueEnum};

use crate::context::secrets::identity_flaws;
use crate::report::Exit;
use crate::text::list;
use crate::{config, report};

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
    /// Print a JSON Schema, by which editors and programs know every key
    Schema {
        /// Of what
        #[arg(value_enum, default_value = "config")]
        of: Of,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Of {
    /// What `--output json` prints (certd.report/1)
    Report,
    /// certd.toml
    Config,
}

impl Config {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        if let Command::Schema { of } = self.command {
            output::json(&match of {
                Of::Report => report::json_schema(),
                Of::Config => config::json_schema(),
            });
            return Ok(0);
        }
        let config = setup::configuration(&options.config)?;
        let flaws = identity_flaws(&config);
        if !flaws.is_empty() {
            let texts = flaws.into_iter().flat_map(|flaw| Fault::from(flaw).texts).collect();
            return Err(Fault { exit: Exit::Usage, texts });
        }
        let certificates = list::count(config.certificates.len(), "certificate");
        let nodes = list::count(config.nodes.len(), "node");
        output::text(&format!("{}: ok ({certificates}, {nodes})\n", options.config.display()));
        for warning in config::warnings(&config) {
            output::text(&format!("{}: warning: {warning}\n", options.config.display()));
        }
        Ok(0)
    }
}
