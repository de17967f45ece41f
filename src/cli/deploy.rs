use std::time::Duration;

use clap::Args;

use crate::model::Scope;
use crate::text::escape;

use super::fault::Fault;
use super::renew::{self, Before, Kind, Nodes};
use super::{Options, setup};

/// Deliver the stored certificate to nodes that do not serve it
///
/// Never issues. Retries at once a node that refused the certificate recently, and ignores the maintenance window of a
/// node named with --node. Skips paused nodes.
#[derive(Args)]
pub(super) struct Deploy {
    /// Certificates to deliver [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    nodes: Nodes,
    /// Go back to this generation of the certificate: its folder's name in the state directory, its number or its
    /// serial, or a unique prefix of one of them. certd checks it first, then holds it on all nodes of the certificate,
    /// across renewals, until `deploy --latest`, revocation, or shortly before it expires.
    #[arg(long, value_name = "GENERATION", conflicts_with = "latest")]
    generation: Option<String>,
    /// Release the held generation and deliver the newest one.
    #[arg(long)]
    latest: bool,
    /// How long to wait for another certd to release the lock.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = renew::wait)]
    wait: Duration,
}

impl Deploy {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let certificates = setup::certificates(&config, &self.names)?;
        let before = match (&self.generation, certificates.first(), certificates.len()) {
            (Some(written), Some(name), 1) => {
                Before::Hold { name: name.clone(), generation: written.clone(), by: login() }
            }
            (Some(_), ..) => {
                let next = "next: `certd deploy NAME --generation GENERATION`";
                return Err(Fault::usage(format!("--generation needs the name of one certificate\n  {next}")));
            }
            (None, ..) if self.latest => Before::Release,
            (None, ..) => Before::Nothing,
        };
        let mut scope = Scope { certificates, ignore_backoff: true, ..Scope::default() };
        self.nodes.select(&config, &mut scope)?;
        renew::run(config, scope, Kind::Pass("deploy", before), self.wait, options)
    }
}

/// The user to record with the hold.
fn login() -> Option<String> {
    /// The longest user name on Linux.
    const LONGEST: usize = 32;
    let name = ["SUDO_USER", "LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    name.filter(|name| !name.is_empty()).map(|name| escape(&name, LONGEST))
}
