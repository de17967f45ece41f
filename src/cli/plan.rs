use clap::Args;

use crate::report;

use super::fault::Fault;
use super::{Options, Output, check, output};

/// Show what the next renewal would do, and why
///
/// Observes what `check` does, then prints each step and each wait with its reason. Changes nothing. The exit code is
/// that of `check`: it reflects the current state, not the plan.
#[derive(Args)]
pub(super) struct Plan {
    /// Certificates to plan for, and watched endpoints to probe [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Plan {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let report = check::report("plan", &self.names, options)?;
        match options.output {
            Output::Text => {
                output::text(&report::plan_text(&report.plan));
                output::text(&report::beside_text(&report.certificates));
                output::text(&report::watched_text(&report.watched));
                output::text(&report::disks_text(&report.disks));
            }
            Output::Json => output::json(&report),
        }
        Ok(report.exit)
    }
}
