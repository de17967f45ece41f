use std::time::Duration;

use clap::Args;

use crate::model::Scope;
use crate::text::escape;

use super::fault::Fault;
use super::renew::{self, Before, Kind, Nodes};
use super::{Options, setup};

/// Push the stored certificate to nodes that do not serve it
///
/// A pass that may not issue. A node that refused the certificate lately is tried again at once, and one that is named
/// with --node gets it outside of its maintenance window too. A paused node gets nothing.
#[derive(Args)]
pub(super) struct Deploy {
    /// Certificates to deliver; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    nodes: Nodes,
    /// Go back to this generation of the one certificate that is named: its folder's name in the state directory, its
    /// number or its serial, or the beginning of one of them. It is checked first, and held on all its nodes, renewals
    /// notwithstanding, until --latest; or until it is revoked or near its end.
    #[arg(long, value_name = "GENERATION", conflicts_with = "latest")]
    generation: Option<String>,
    /// Let go of what is held, and deliver what is stored.
    #[arg(long)]
    latest: bool,
    /// How long to wait for another certd to finish.
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
                return Err(Fault::usage(format!(
                    "--generation is of one certificate, which is to be named\n  {next}"
                )));
            }
            (None, ..) if self.latest => Before::Release,
            (None, ..) => Before::Nothing,
        };
        let mut scope = Scope { certificates, ignore_backoff: true, ..Scope::default() };
        self.nodes.select(&config, &mut scope)?;
        renew::run(config, scope, Kind::Pass("deploy", before), self.wait, options)
    }
}

/// Who says so, for whoever wonders later.
fn login() -> Option<String> {
    /// Linux takes names of 32 characters.
    const LONGEST: usize = 32;
    let told = ["SUDO_USER", "LOGNAME", "USER"].into_iter().find_map(|name| std::env::var(name).ok());
    told.filter(|name| !name.is_empty()).map(|name| escape(&name, LONGEST))
}
