use clap::Args;

use crate::observed::{Asked, Failure};
use crate::pass::{clock, observe};
use crate::{plan, report};

use super::fault::Fault;
use super::{Options, Output, output, setup};

/// What the next renewal would do, and why, and why not
///
/// Looks as `check` does, prints each step and each wait with its reason, and changes nothing. Its exit code is that of
/// `check`: it tells how things are, not what is planned.
#[derive(Args)]
pub(super) struct Plan {
    /// Certificates to plan for; all when none is named.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Plan {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let certificates = setup::certificates(&config, &self.names)?;
        let (store, roots) = setup::look(&config)?;
        let asked = Asked { certificates, may_issue: true, ..Asked::default() };
        let observed = setup::runtime()?.block_on(observe::observe(&config, &store, &roots, asked));
        let observed = observed.map_err(|error| Fault::from(&Failure::from(&error)))?;
        let now = clock::now();
        let plan = plan::plan(&config, &observed, now);
        let done = observe::damages(&store);
        let report = report::build("plan", &config, &observed, plan, done, false, now);
        match options.output {
            Output::Text => output::text(&report::plan_text(&report.plan)),
            Output::Json => output::json(&report),
        }
        Ok(report.exit)
    }
}
