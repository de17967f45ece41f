use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::observed::Asked;
use crate::pass;
use crate::pass::progress::Event;

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
        let asked = Asked { certificates, force, may_issue: true, ..Asked::default() };
        run(config, asked, if self.dry_run { Kind::Rehearsal } else { Kind::Pass("renew") }, self.wait, options)
    }
}

pub(super) enum Kind {
    Pass(&'static str),
    Rehearsal,
}

/// Under the lock, with signals heeded.
pub(super) fn run(
    config: crate::config::Config,
    asked: Asked,
    kind: Kind,
    wait: Duration,
    options: &Options,
) -> Result<u8, Fault> {
    let (stop, stopped) = watch::channel(false);
    let context = setup::context(config, progress::progress(options), stopped)?;
    let _lock = setup::lock(&context.store, wait, options)?;
    let runtime = setup::runtime()?;
    setup::heed_signals(&runtime, stop, options)?;
    let context = Arc::new(runtime.block_on(context.discovered()));
    setup::known(&context.config, &asked.nodes)?;
    let report = runtime.block_on(async {
        match kind {
            Kind::Pass(command) => pass::pass(&context, command, asked).await,
            Kind::Rehearsal => pass::rehearse(&context, asked).await,
        }
    });
    // Sessions that are ending by themselves are not waited for.
    runtime.shutdown_background();
    context.progress.say(Event::Over);
    Ok(output::report(&report.map_err(|failure| Fault::from(&failure))?, options))
}

/// `10m`, `90s`, `1h 30m`, `0s`.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    let span: SignedDuration = text.parse().map_err(|_| "write a span such as 10m, 90s or 1h".to_owned())?;
    Duration::try_from(span).map_err(|_| "a wait cannot be negative".to_owned())
}
