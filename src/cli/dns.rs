mod restore;
mod status;

use std::collections::BTreeSet;

use clap::{Args, Subcommand};

use crate::cert::DnsName;
use crate::context::Context;
use crate::context::secrets::NeededFor;
use crate::model::{Depth, Scope};
use crate::observe::failover::names;
use crate::ops;
use crate::ops::failover::Asked;

use super::fault::Fault;
use super::{Options, Output, output, progress, setup};

/// Look at DNS records, and bring back those that failover withdrew
#[derive(Args)]
pub(super) struct Dns {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(Check),
    Status(status::Status),
    Restore(restore::Restore),
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
        match &self.command {
            Command::Check(check) => check.run(options),
            Command::Status(status) => status.run(options),
            Command::Restore(restore) => restore.run(options),
        }
    }
}

/// Each is a name in DNS, a certificate's, or the owner of a withdrawn record; none: all.
fn asked(context: &Context, called: &[String]) -> Result<Asked, Fault> {
    let (config, all) = (&context.config, names(&context.config));
    let journalled: BTreeSet<String> =
        context.store.withdrawals()?.open.into_iter().map(|entry| entry.record.name).collect();
    if called.is_empty() {
        return Ok(Asked { names: all, owners: journalled });
    }
    let mut asked = Asked::default();
    for name in called {
        let in_dns = DnsName::parse(name).ok().filter(|name| all.contains_key(name));
        let certificate = config.certificates.iter().find(|certificate| certificate.name.as_str() == name);
        let names: Vec<&DnsName> = match (&in_dns, certificate) {
            (Some(name), _) => vec![name],
            (None, Some(certificate)) => certificate.names.iter().collect(),
            (None, None) if journalled.contains(name) => {
                asked.owners.insert(name.clone());
                continue;
            }
            (None, None) => {
                let known = all.keys().map(DnsName::as_str).chain(journalled.iter().map(String::as_str));
                return Err(setup::unknown("name", name, known));
            }
        };
        let of_these = all.iter().filter(|(name, _)| names.contains(name));
        asked.names.extend(of_these.map(|(name, mode)| (name.clone(), *mode)));
    }
    Ok(asked)
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
