//! What the plan, the disk and the clocks mean for the next issuance.

use jiff::SignedDuration;

use crate::cert::CertName;
use crate::model::{Advice, CaClock, Code, Failure};
use crate::plan::clock::noticeable;
use crate::plan::{Plan, RenewalWait, Step, Wait};
use crate::report::words;

use super::{Area, Finding, State};

/// A pass writes a few hundred kB; a disk with less than this is about to be full of something else.
const LITTLE_ROOM: u64 = 50 * 1024 * 1024;
/// Two generations, their journals and a state file do not fit any more.
const NO_ROOM: u64 = 1024 * 1024;

/// Each certificate that was asked for: what comes next for it, and whether something holds that up.
pub fn of_plan(plan: &Plan, asked: impl Iterator<Item = CertName>) -> Vec<Finding> {
    asked.filter_map(|name| of_certificate(plan, &name)).collect()
}

fn of_certificate(plan: &Plan, name: &CertName) -> Option<Finding> {
    let step = plan.steps.iter().find_map(|step| match step {
        Step::Issue(issue) if issue.certificate == *name => Some(issue),
        _ => None,
    });
    if let Some(issue) = step {
        let what = format!("the next pass issues it: {}; the ledger has room", words::renewal(&issue.reason));
        return Some(Finding::ok(Area::Issuing, name, what));
    }
    let wait = plan.waits.iter().find_map(|wait| match wait {
        Wait::Renewal { certificate, reason } if certificate == name => Some(reason),
        _ => None,
    })?;
    let what = words::renewal_wait(wait);
    let bad = |state, code: &Code, next: &str| {
        let failure = Failure::new(code.clone(), name, what.clone(), next, Advice::Person);
        Finding::bad(Area::Issuing, state, &failure)
    };
    Some(match wait {
        RenewalWait::BackOff { failure, .. } => bad(State::Failure, &failure.code, &failure.next),
        RenewalWait::Ledger { .. } => {
            bad(State::Failure, &Code::LedgerFull, "find out what issues so often: certd plan")
        }
        RenewalWait::NotDue { .. } | RenewalWait::MayNotIssue { .. } | RenewalWait::IssuedNow => {
            Finding::ok(Area::Issuing, name, what)
        }
    })
}

/// Room that is left for the state directory, in bytes.
pub fn of_room(folder: &str, room: u64) -> Finding {
    let what = format!("{} MiB are free", room / 1024 / 1024);
    if room >= LITTLE_ROOM {
        return Finding::ok(Area::State, folder, what);
    }
    let state = if room < NO_ROOM { State::Failure } else { State::Warning };
    let next = "free some space: a key that cannot be stored is not used, and nothing is issued".to_owned();
    let (code, object) = (Code::StateRoom, folder.to_owned());
    Finding::bad(Area::State, state, &Failure::new(code, object, what, next, Advice::Person))
}

/// This machine's clock beside a CA's.
pub fn of_skew(ca: &str, told: CaClock) -> Finding {
    let ahead = told.ours.duration_since(told.theirs);
    let what = format!("{} s from the Date of {ca}", ahead.as_secs().abs());
    if noticeable(told).is_none() {
        return Finding::ok(Area::State, "this machine's clock", what);
    }
    let state = if ahead.abs() > SignedDuration::from_hours(24) { State::Failure } else { State::Warning };
    let (code, object) = (Code::ClockSkew, "this machine's clock".to_owned());
    let next = "set it (timedatectl): more than a day, and nothing is renewed".to_owned();
    Finding::bad(Area::State, state, &Failure::new(code, object, what, next, Advice::Person))
}
