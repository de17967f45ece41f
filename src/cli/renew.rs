use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::cert::{CertName, NodeName};
use crate::config::{Certificate, Config};
use crate::context::Context;
use crate::context::progress::Event;
use crate::model::Scope;
use crate::reconcile;
use crate::reconcile::pin;

use super::fault::Fault;
use super::{Options, output, progress, setup};

/// Issue what is due, then deliver, test, reload and verify
///
/// Also delivers the stored certificate to any node that does not serve it. Does nothing when nothing is due and every
/// node serves its certificate. -v prints every check of a new certificate before certd stores it.
#[derive(Args)]
pub(super) struct Renew {
    /// Certificates to renew [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Renew now, even if not due. Rate limits and the CA's Retry-After still apply.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    nodes: Nodes,
    /// Rehearse: probe, create and remove a TXT record, prepare every node and abort. Places no order.
    #[arg(long, conflicts_with = "force")]
    dry_run: bool,
    /// How long to wait for another certd to release the lock.
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
        // `renew --node` does not override a maintenance window; `deploy --node` does.
        scope.ignore_window.clear();
        let kind = if self.dry_run { Kind::Rehearsal } else { Kind::Pass("renew", Before::Nothing) };
        run(config, scope, kind, self.wait, options)
    }
}

/// The nodes to deliver to. They do not affect what is issued.
#[derive(Args)]
pub(super) struct Nodes {
    /// Deliver only to this node, or to all nodes with a tag (tag:…). Repeatable. Other nodes are neither probed nor
    /// counted; the report lists them as left out.
    #[arg(long = "node", value_name = "NODE")]
    only: Vec<String>,
    /// Exclude this node, or all nodes with a tag (tag:…). Repeatable.
    #[arg(long, value_name = "NODE")]
    exclude: Vec<String>,
}

impl Nodes {
    /// Copies the selection into the scope.
    pub(super) fn select(&self, config: &Config, scope: &mut Scope) -> Result<(), Fault> {
        scope.nodes = setup::nodes(config, &self.only)?;
        scope.excluded = setup::nodes(config, &self.exclude)?;
        scope.ignore_window =
            scope.nodes.iter().filter(|node| self.only.iter().any(|text| text == node.as_str())).cloned().collect();
        if scope.wants_every_node() {
            return Ok(());
        }
        // Certificates with `discover` are skipped: their nodes are not known before DNS answers.
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

/// State to write under the lock before the pass.
pub(super) enum Before {
    Nothing,
    Hold {
        name: CertName,
        generation: String,
        by: Option<String>,
    },
    /// Releases the holds of the selected certificates.
    Release,
}

/// Takes the lock, installs the signal handlers and runs the pass.
pub(super) fn run(config: Config, scope: Scope, kind: Kind, wait: Duration, options: &Options) -> Result<u8, Fault> {
    let (stop, stopped) = watch::channel(false);
    let context = setup::context(config, progress::progress(options), stopped)?;
    let _lock = setup::lock(&context.store, wait, options)?;
    let runtime = setup::runtime()?;
    setup::install_signal_handlers(&runtime, stop, options)?;
    let context = Arc::new(runtime.block_on(context.discovered()));
    // A misspelt --exclude would otherwise be ignored and its node delivered to.
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
    // Do not wait for sessions that are closing on their own.
    runtime.shutdown_background();
    context.progress.say(Event::Over);
    Ok(output::report(&report?, options))
}

fn note(context: &Context, scope: &Scope, before: &Before) -> Result<(), Fault> {
    match before {
        Before::Nothing => {}
        Before::Release => pin::release(context, |name| scope.wants(name))?,
        Before::Hold { name, generation, by } => drop(pin::hold(context, name, generation, by.clone())?),
    }
    Ok(())
}

/// `10m`, `90s`, `1h 30m`, `0s`.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text.parse().map_err(|_| "give a duration such as 10m, 90s or 1h".to_owned())?;
    Duration::try_from(span).map_err(|_| "the duration cannot be negative".to_owned())
}
