use std::time::Duration;

use clap::Args;

use crate::observed::Asked;

use super::fault::Fault;
use super::renew::{self, Kind};
use super::{Options, setup};

/// Push the stored certificate to nodes that do not serve it
///
/// A pass that may not issue. A node that refused the certificate lately is tried again at once.
#[derive(Args)]
pub(super) struct Deploy {
    /// Certificates to deliver; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only to this node; may be given more than once.
    #[arg(long = "node", value_name = "NODE")]
    nodes: Vec<String>,
    /// How long to wait for another certd to finish.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = renew::wait)]
    wait: Duration,
}

impl Deploy {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let certificates = setup::certificates(&config, &self.names)?;
        let nodes = setup::nodes(&config, &self.nodes)?;
        let asked = Asked { certificates, nodes, insist: true, ..Asked::default() };
        renew::run(config, asked, Kind::Pass("deploy"), self.wait, options)
    }
}
