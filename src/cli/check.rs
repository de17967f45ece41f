use std::sync::Arc;

use clap::Args;

use crate::observed::{Asked, Failure};
use crate::pass::watched;
use crate::pass::{clock, observe};
use crate::plan;
use crate::report::{self, Report};

use super::fault::Fault;
use super::{Options, output, setup};

/// The expiry report: each certificate in the store and what each node serves now, worst first
///
/// Shakes hands with every address of every node and of every watched endpoint, and changes nothing. It takes no lock and needs no secrets
/// but the SSH identities of nodes that are probed through SSH, so it can run beside a renewal. It reads the state directory: run it as root or as that directory's owner.
#[derive(Args)]
pub(super) struct Check {
    /// Certificates and watched endpoints to check; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Check {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        Ok(output::report(&report("check", &self.names, options)?, options))
    }
}

/// Look and plan, and touch nothing: what `check` and `plan` have in common.
pub(super) fn report(command: &'static str, names: &[String], options: &Options) -> Result<Report, Fault> {
    let config = setup::configuration(&options.config)?;
    let (certificates, watches) = setup::selection(&config, names)?;
    let (store, roots, secrets) = setup::look(&config)?;
    let config = Arc::new(config);
    let asked = Asked { certificates, watches, may_issue: true, ..Asked::default() };
    let mut done = observe::damages(&store);
    done.failures.extend(secrets.watch_roots.failures(&asked));
    let runtime = setup::runtime()?;
    let (observed, watched) = runtime.block_on(async {
        tokio::join!(
            observe::observe(&config, &secrets, &store, &roots, asked.clone()),
            watched::look(&config, &asked, &secrets.watch_roots)
        )
    });
    // A resolver that does not answer is not waited for.
    runtime.shutdown_background();
    let mut observed = observed.map_err(|error| Fault::from(&Failure::from(&error)))?;
    observed.watched = watched;
    let now = clock::now();
    let plan = plan::plan(&config, &observed, now);
    Ok(report::build(command, &config, &observed, plan, done, false, now))
}
