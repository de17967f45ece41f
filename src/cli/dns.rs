use clap::{Args, Subcommand};

use crate::context::secrets::NeededFor;
use crate::model::{Depth, Scope};
use crate::ops;

use super::fault::Fault;
use super::{Options, Output, output, progress, setup};

/// Look at the DNS records of the certificates' names
#[derive(Args)]
pub(super) struct Dns {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(Check),
}

/// Show every record of each name, how answers rotate, and what answers at each address
///
/// Asks every name server of each name's zone, and the resolvers in `dns.inventory_resolvers`, for its A and AAAA records;
/// which of them lead to nodes, which to nobody's, and to which nodes none leads; and whether Cloudflare's proxies stand
/// in between, by its API where the token can be read. Then makes a TLS handshake with every address. Changes nothing.
///
/// What differs is judged as by `certd check`, with the same findings and exit codes.
#[derive(Args)]
struct Check {
    /// Certificates whose names to look up [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Questions to a name's own servers, and to each resolver, to count which address comes first in the answers; 0: none.
    #[arg(long, value_name = "COUNT", default_value = "30", value_parser = clap::value_parser!(u32).range(0..=1000))]
    questions: u32,
    /// Also send an HTTPS request to each node, as `[health]` says.
    #[arg(long)]
    health: bool,
}

impl Dns {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let Command::Check(check) = &self.command;
        check.run(options)
    }
}

impl Check {
    fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let certificates = setup::certificates(&config, &self.names)?;
        if self.health {
            setup::has_health(&config, &certificates)?;
        }
        // Named, so that watched endpoints are not asked too.
        let all = config.certificates.iter().map(|certificate| certificate.name.clone());
        let certificates = if certificates.is_empty() { all.collect() } else { certificates };
        let (context, unread) = setup::look_with_secrets(config, progress::for_a_look(options))?;
        let has_token = unread.iter().all(|unread| unread.needed_for != NeededFor::Dns);
        let depth = if has_token { Depth::Rehearse } else { Depth::Dns };
        let scope = Scope { depth, certificates, health: self.health, ..Scope::default() };
        let runtime = setup::runtime()?;
        let checked = runtime.block_on(ops::dns_check::check(&context, scope, self.questions));
        runtime.shutdown_background();
        let checked = checked?;
        match options.output {
            Output::Text => output::text(&checked.text(output::style(options))),
            Output::Json => output::json(&checked),
        }
        Ok(checked.exit)
    }
}
