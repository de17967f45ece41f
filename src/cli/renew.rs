use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::cert::{CertName, NodeName};
use crate::config::Config;
use crate::observed::Asked;
use crate::pass::progress::Event;
use crate::pass::{self, Context, hold};
use crate::report::Exit;

use super::fault::Fault;
use super::{Options, output, progress, setup};

/// A pass: issue what is due, push, test, reload, verify
///
/// Nodes that do not serve the stored certificate get it, whenever it was issued. When nothing is due and every node
/// serves it, nothing is done. -v tells all that is checked of a new certificate before it is kept.
#[derive(Args)]
pub(super) struct Renew {
    /// Certificates to renew; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Issue although not due, and at once after a failure. The ledger, and what the CA said, are heeded all the same.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    nodes: Nodes,
    /// A rehearsal: probes, a TXT record made and removed, every node prepared and told to abort, no order. Asks the CA
    /// nothing.
    #[arg(long, conflicts_with = "force")]
    dry_run: bool,
    /// How long to wait for another certd to finish.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = wait)]
    wait: Duration,
}

impl Renew {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let certificates = setup::certificates(&config, &self.names)?;
        let all = config.certificates.iter().map(|certificate| &certificate.name);
        let force = all.filter(|name| self.force && (certificates.is_empty() || certificates.contains(*name)));
        let force = force.cloned().collect();
        let (nodes, _) = self.nodes.select(&config, &certificates)?;
        let asked = Asked { certificates, nodes, force, may_issue: true, ..Asked::default() };
        let kind = if self.dry_run { Kind::Rehearsal } else { Kind::Pass("renew", Before::Nothing) };
        run(config, asked, kind, self.wait, options)
    }
}

/// Which nodes are delivered to. What is issued does not depend on them.
#[derive(Args)]
pub(super) struct Nodes {
    /// Deliver only to this node, or with tag:… to those of a tag; may be given more than once. The others are neither
    /// looked at nor counted, and the report names them.
    #[arg(long = "node", value_name = "NODE")]
    only: Vec<String>,
    /// All but this node, or with tag:… those of a tag; may be given more than once.
    #[arg(long, value_name = "NODE")]
    exclude: Vec<String>,
}

impl Nodes {
    /// Those that are meant (none: all), and those that were named one by one.
    pub(super) fn select(
        &self,
        config: &Config,
        certificates: &BTreeSet<CertName>,
    ) -> Result<(BTreeSet<NodeName>, BTreeSet<NodeName>), Fault> {
        let only = setup::nodes(config, &self.only)?;
        let exclude = setup::nodes(config, &self.exclude)?;
        if only.is_empty() && exclude.is_empty() {
            return Ok(Default::default());
        }
        let all = config.nodes.iter().map(|node| node.name.clone());
        let meant: BTreeSet<NodeName> =
            all.filter(|node| (only.is_empty() || only.contains(node)) && !exclude.contains(node)).collect();
        let asked = |name: &CertName| certificates.is_empty() || certificates.contains(name);
        let asked = || config.certificates.iter().filter(|certificate| asked(&certificate.name));
        let idle = asked().find(|certificate| !certificate.nodes.iter().any(|node| meant.contains(node)));
        let idle = idle.filter(|_| !certificates.is_empty() || meant.is_empty());
        if let Some(certificate) = idle {
            let nodes: Vec<&str> = certificate.nodes.iter().map(NodeName::as_str).collect();
            let (name, nodes) = (&certificate.name, nodes.join(", "));
            let what = format!("--node and --exclude leave no node of {name}\n  next: its nodes are {nodes}");
            return Err(Fault::usage(what));
        }
        let named = meant.iter().filter(|node| self.only.iter().any(|text| text == node.as_str()));
        let named = named.cloned().collect();
        Ok((meant, named))
    }
}

pub(super) enum Kind {
    Pass(&'static str, Before),
    Rehearsal,
}

/// What is noted under the lock before the pass.
pub(super) enum Before {
    Nothing,
    Hold {
        name: CertName,
        generation: String,
        by: Option<String>,
    },
    /// Of the certificates that were asked for.
    Release,
}

/// Under the lock, with signals heeded.
pub(super) fn run(config: Config, asked: Asked, kind: Kind, wait: Duration, options: &Options) -> Result<u8, Fault> {
    let (stop, stopped) = watch::channel(false);
    let context = Arc::new(setup::context(config, progress::progress(options), stopped)?);
    let _lock = setup::lock(&context.store, wait, options)?;
    if let Kind::Pass(_, before) = &kind {
        note(&context, &asked, before)?;
    }
    let runtime = setup::runtime()?;
    setup::heed_signals(&runtime, stop, options)?;
    let report = runtime.block_on(async {
        match kind {
            Kind::Pass(command, _) => pass::pass(&context, command, asked).await,
            Kind::Rehearsal => pass::rehearse(&context, asked).await,
        }
    });
    // Sessions that are ending by themselves are not waited for.
    runtime.shutdown_background();
    context.progress.say(Event::Over);
    Ok(output::report(&report.map_err(|failure| Fault::from(&failure))?, options))
}

fn note(context: &Context, asked: &Asked, before: &Before) -> Result<(), Fault> {
    let noted = match before {
        Before::Nothing => return Ok(()),
        Before::Release => hold::release(context, |name| asked.wants(name)),
        Before::Hold { name, generation, by } => hold::hold(context, name, generation, by.clone()).map(drop),
    };
    noted.map_err(|failure| match failure.code.as_str() {
        hold::CANNOT => Fault { exit: Exit::Usage, ..Fault::from(&failure) },
        _ => Fault::from(&failure),
    })
}

/// `10m`, `90s`, `1h 30m`, `0s`.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text.parse().map_err(|_| "write a span such as 10m, 90s or 1h".to_owned())?;
    Duration::try_from(span).map_err(|_| "a wait cannot be negative".to_owned())
}
