use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;

use crate::cert::{Generation, RevocationReason};
use crate::context::progress::Event;
use crate::ops::revoke;
use crate::ops::revoke::{Outcome, RevokeRequest};

use super::fault::Fault;
use super::{Options, Output, output, progress, renew, setup};

/// Replace a certificate, prove that every node serves the new one, then revoke the old one
///
/// Issues a certificate with a new key (rate limits apply), delivers it, and asks the CA to revoke the old one once no
/// node serves it. A node that does not serve the new one blocks the revocation, and the output names it. Fix it and
/// run the command again: it continues with the same certificate.
#[derive(Args)]
pub(super) struct Revoke {
    /// Name of the certificate in the configuration.
    #[arg(value_name = "NAME")]
    name: String,
    /// An older certificate, by its folder's name in the state directory [default: one whose revocation has begun, else the current one]
    #[arg(long, value_name = "GENERATION")]
    generation: Option<String>,
    /// unspecified, key-compromise, affiliation-changed, superseded or cessation-of-operation.
    #[arg(long, value_name = "WORD", value_parser = reason)]
    reason: Option<RevocationReason>,
    /// Revoke first, then replace. Visitors see errors until every node serves the new certificate.
    #[arg(long)]
    now: bool,
    /// How long to wait for another certd to release the lock.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = renew::wait)]
    wait: Duration,
}

impl Revoke {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let names = setup::certificates(&config, core::slice::from_ref(&self.name))?;
        let generation = self.generation.as_deref().map(|text| {
            let next = "next: give its folder's name, such as 20261123061500-04c3";
            text.parse::<Generation>().map_err(|error| Fault::usage(format!("{error}\n  {next}")))
        });
        let (stop, stopped) = watch::channel(false);
        let generation = generation.transpose()?;
        let context = setup::context(config, progress::progress(options), stopped)?;
        let _lock = setup::lock(&context.store, self.wait, options)?;
        let runtime = setup::runtime()?;
        setup::install_signal_handlers(&runtime, stop, options)?;
        let context = Arc::new(runtime.block_on(context.discovered()));
        let certificate = names.into_iter().next().ok_or_else(|| Fault::usage("no certificate is named"))?;
        let request = RevokeRequest { certificate, generation, reason: self.reason, now: self.now };
        let outcome = runtime.block_on(revoke::revoke(&context, &request));
        runtime.shutdown_background();
        context.progress.say(Event::Over);
        let outcome = outcome?;
        match options.output {
            Output::Text => {
                output::report(&outcome.report, options);
                output::text(&text(&outcome));
            }
            Output::Json => output::json(&outcome),
        }
        Ok(outcome.exit)
    }
}

fn text(outcome: &Outcome) -> String {
    let Outcome { certificate, generation, .. } = outcome;
    if outcome.revoked {
        return format!("revoked: {certificate} generation {generation} ({})\n", outcome.reason.as_str());
    }
    let not = format!("! not revoked: {certificate} generation {generation}");
    if let Some(failure) = &outcome.failure {
        return format!("{not}: {}\n  next: {}\n", failure.what, failure.next);
    }
    let again = format!("run `certd revoke {certificate}` again");
    if outcome.held_up_by.is_empty() {
        return format!("{not}: nothing has taken its place\n  next: fix what is reported above and {again}\n");
    }
    let nodes: Vec<&str> = outcome.held_up_by.iter().map(crate::cert::NodeName::as_str).collect();
    format!(
        "{not}: not proven to serve the new one: {}\n  next: fix them and {again}, or revoke now with --now\n",
        nodes.join(", ")
    )
}

fn reason(word: &str) -> Result<RevocationReason, String> {
    let words = RevocationReason::ALL.map(RevocationReason::as_str).join(", ");
    RevocationReason::parse(word).ok_or_else(|| format!("write one of {words}"))
}
