use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::cert::{CertName, NodeName};
use crate::config::{Certificate, Config};
use crate::context::Context;
use crate::context::progress::Event;
use crate::model::{Code, Scope};
use crate::reconcile;
use crate::reconcile::pin;
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
        let mut scope = Scope { certificates, force, may_issue: true, ..Scope::default() };
        self.nodes.select(&config, &mut scope)?;
        // A window holds for what a renewal brings, whatever was named.
        scope.ignore_window.clear();
        let kind = if self.dry_run { Kind::Rehearsal } else { Kind::Pass("renew", Before::Nothing) };
        run(config, scope, kind, self.wait, options)
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
    /// Notes them in the scope.
    pub(super) fn select(&self, config: &Config, scope: &mut Scope) -> Result<(), Fault> {
        scope.nodes = setup::nodes(config, &self.only)?;
        scope.excluded = setup::nodes(config, &self.exclude)?;
        scope.ignore_window =
            scope.nodes.iter().filter(|node| self.only.iter().any(|text| text == node.as_str())).cloned().collect();
        if scope.wants_every_node() {
            return Ok(());
        }
        // Which nodes DNS names is not known yet.
        let known = || config.certificates.iter().filter(|it| scope.wants(&it.name) && it.discover.is_none());
        let has_none = |certificate: &&Certificate| !certificate.nodes.iter().any(|node| scope.wants_node(node));
        let idle = match scope.certificates.is_empty() {
            true => known()
                .next()
                .filter(|_| known().count() == config.certificates.len() && known().all(|it| has_none(&it))),
            false => known().find(has_none),
        };
        let Some(certificate) = idle else { return Ok(()) };
        let nodes: Vec<&str> = certificate.nodes.iter().map(NodeName::as_str).collect();
        let (name, nodes) = (&certificate.name, nodes.join(", "));
        let what = format!("--node and --exclude leave no node of {name}\n  next: its nodes are {nodes}");
        Err(Fault::usage(what))
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
pub(super) fn run(config: Config, scope: Scope, kind: Kind, wait: Duration, options: &Options) -> Result<u8, Fault> {
    let (stop, stopped) = watch::channel(false);
    let context = setup::context(config, progress::progress(options), stopped)?;
    let _lock = setup::lock(&context.store, wait, options)?;
    let runtime = setup::runtime()?;
    setup::install_signal_handlers(&runtime, stop, options)?;
    let context = Arc::new(runtime.block_on(context.discovered()));
    // One that is left out under a name that no node has would be delivered to.
    setup::known(&context.config, &scope.nodes)?;
    setup::known(&context.config, &scope.excluded)?;
    if let Kind::Pass(_, before) = &kind {
        note(&context, &scope, before)?;
    }
    let report = runtime.block_on(async {
        match kind {
            Kind::Pass(command, _) => reconcile::reconcile(&context, command, scope).await,
            Kind::Rehearsal => reconcile::rehearse(&context, scope).await,
        }
    });
    // Sessions that are ending by themselves are not waited for.
    runtime.shutdown_background();
    context.progress.say(Event::Over);
    Ok(output::report(&report.map_err(|failure| Fault::from(&failure))?, options))
}

fn note(context: &Context, scope: &Scope, before: &Before) -> Result<(), Fault> {
    let noted = match before {
        Before::Nothing => return Ok(()),
        Before::Release => pin::release(context, |name| scope.wants(name)),
        Before::Hold { name, generation, by } => pin::hold(context, name, generation, by.clone()).map(drop),
    };
    noted.map_err(|failure| match failure.code {
        Code::HoldRefused => Fault { exit: Exit::Usage, ..Fault::from(&failure) },
        _ => Fault::from(&failure),
    })
}

/// `10m`, `90s`, `1h 30m`, `0s`.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text.parse().map_err(|_| "write a span such as 10m, 90s or 1h".to_owned())?;
    Duration::try_from(span).map_err(|_| "a wait cannot be negative".to_owned())
}
