//! The command line. Each command is a file, and its doc comment is its `--help`.
//!
//! stdout carries the report and nothing else; progress and errors go to stderr.

mod account;
mod administrator;
mod check;
mod clean;
mod config;
mod deploy;
mod dns;
mod doctor;
mod fault;
mod fence;
mod generations;
mod import;
mod init;
mod node;
mod output;
mod plan;
mod progress;
mod renew;
mod revoke;
mod run;
mod setup;
mod takeover;
mod trust;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::descriptors;
use crate::report::Exit;
use crate::store::owner;

use fault::Fault;

/// Issue a certificate, deliver it to many nodes, and prove that each of them serves it.
#[derive(Parser)]
#[command(name = "certd", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
struct Options {
    /// Configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = "/etc/certd/certd.toml")]
    config: PathBuf,
    /// Report format: text, or JSON (schema in docs/json.md). init, trust, node and config check print only text.
    #[arg(long, global = true, value_enum, default_value = "text")]
    output: Output,
    /// Do not print progress on stderr.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print each event on its own line, even on a terminal, and every node, even where all is well.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
    /// Colour the text; `auto` does so on a terminal unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN")]
    color: When,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Check(check::Check),
    Plan(plan::Plan),
    Renew(renew::Renew),
    Deploy(deploy::Deploy),
    Dns(dns::Dns),
    Doctor(doctor::Doctor),
    Generations(generations::Command),
    Revoke(revoke::Revoke),
    Run(run::Run),
    Trust(trust::Trust),
    Import(import::Import),
    Node(node::Node),
    Account(account::Account),
    Config(config::Config),
}

const EXIT_CODES: &str = "\
Exit codes, the same for every command (when several apply: 2, 1, 7 first, then 4, 6, 5, 3; the JSON lists all):
  0  all is well
  1  certd itself failed (state directory, bug)
  2  usage or configuration error
  3  warning: renewal overdue, a valid certificate that is not ours, a paused or held node, a difference on disk or in DNS, a failed rehearsal, a wrong clock, an expiring token
  4  visitors are hurt now: a node or a watched endpoint serves an expired or wrong certificate or none, its TLS port does not answer, or (--health) a node does not answer requests as it should
  5  issuance failed
  6  a node does not serve its certificate yet; the one it serves is still valid
  7  another certd holds the lock";

/// Parses, runs, and gives the exit code.
pub fn main(arguments: impl Iterator<Item = OsString>) -> u8 {
    // Before anything else: secrets in memory must not end up in a core file.
    if let Err(error) = owner::harden() {
        return fault::show(&Fault::from(error));
    }
    descriptors::raise();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors; clap knows which stream they belong to.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.code() } else { Exit::Ok.code() };
        }
    };
    match run(&cli) {
        Ok(code) => code,
        Err(fault) => fault::show(&fault),
    }
}

fn run(cli: &Cli) -> Result<u8, Fault> {
    let options = &cli.options;
    match &cli.command {
        Command::Init(command) => command.run(options),
        Command::Check(command) => command.run(options),
        Command::Plan(command) => command.run(options),
        Command::Renew(command) => command.run(options),
        Command::Deploy(command) => command.run(options),
        Command::Dns(command) => command.run(options),
        Command::Doctor(command) => command.run(options),
        Command::Generations(command) => command.run(options),
        Command::Revoke(command) => command.run(options),
        Command::Run(command) => command.run(options),
        Command::Trust(command) => command.run(options),
        Command::Import(command) => command.run(options),
        Command::Node(command) => command.run(options),
        Command::Account(command) => command.run(options),
        Command::Config(command) => command.run(options),
    }
}
