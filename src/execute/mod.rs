//! Carries out one step of the plan.

pub mod deliver;
pub(crate) mod failover;
pub mod issue;
pub mod rehearse;

use core::time::Duration;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::context::{Context, failure};
use crate::model::{Code, Finding};
use crate::plan::Step;

/// How long the removal of TXT records may go on after SIGTERM: a responsive API does it in a second.
const CLEAN_WHEN_STOPPED: Duration = Duration::from_secs(4);

pub enum Ended {
    Issued(Result<issue::Issued, Finding>),
    Delivered(Result<deliver::Delivered, Finding>),
    Rehearsed(Result<rehearse::Rehearsed, Finding>),
}

pub async fn execute(context: &Arc<Context>, step: &Step, permits: &Arc<Semaphore>) -> Ended {
    match step {
        Step::Issue(step) => {
            let issued = context.unless_stopped(issue::issue(context, step)).await;
            Ended::Issued(issued.unwrap_or_else(|| Err(failure::interrupted(&step.certificate))))
        }
        Step::Deliver(step) => Ended::Delivered(deliver::deliver(context, step, permits).await),
        Step::Rehearse(step) => Ended::Rehearsed(rehearse::as_planned(context, step, permits).await),
    }
}

/// Removes leftover TXT records. What cannot be removed stays in the journal, for the next run.
pub async fn clean(context: &Context) -> Option<Finding> {
    match context.unless_stopped_for(CLEAN_WHEN_STOPPED, issue::clean_txt(context)).await {
        Some(cleaned) => cleaned.err(),
        None => Some(failure::interrupted("the removal of TXT records").coded(Code::TxtLeft)),
    }
}
