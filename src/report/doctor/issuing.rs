//! What the plan, the disk space and the clocks mean for the next issuance.

use crate::cert::CertName;
use crate::model::{CaClock, Code, Finding, Severity};
use crate::plan::{Plan, RenewalWait, Step, Wait};
use crate::report::{own_clock, words};

use super::{Area, CheckupItem};

/// A pass writes a few hundred kB; with less space than this, something else is about to fill the disk.
const LITTLE_ROOM: u64 = 50 * 1024 * 1024;
/// Too little for two generations, their journals and a state file.
const NO_ROOM: u64 = 1024 * 1024;

/// What comes next for each selected certificate, and what blocks it.
pub fn of_plan(plan: &Plan, asked: impl Iterator<Item = CertName>) -> Vec<CheckupItem> {
    asked.filter_map(|name| of_certificate(plan, &name)).collect()
}

fn of_certificate(plan: &Plan, name: &CertName) -> Option<CheckupItem> {
    let step = plan.steps.iter().find_map(|step| match step {
        Step::Issue(issue) if issue.certificate == *name => Some(issue),
        _ => None,
    });
    if let Some(issue) = step {
        let what = format!("the next pass issues it: {}; the ledger has room", words::renewal(&issue.reason));
        return Some(CheckupItem::ok(Area::Issuing, name, what));
    }
    let wait = plan.waits.iter().find_map(|wait| match wait {
        Wait::Renewal { certificate, reason } if certificate == name => Some(reason),
        _ => None,
    })?;
    let what = words::renewal_wait(wait);
    let bad = |code: &Code, next: &str| {
        let failure = Finding::for_a_person(code.clone(), name, what.clone(), next);
        CheckupItem::bad(Area::Issuing, &failure)
    };
    Some(match wait {
        RenewalWait::BackOff { failure, .. } => bad(&failure.code, &failure.next),
        RenewalWait::Ledger { .. } => bad(&Code::LedgerFull, "find out what issues so often: certd plan"),
        RenewalWait::NotDue { .. } | RenewalWait::MayNotIssue { .. } | RenewalWait::IssuedNow => {
            CheckupItem::ok(Area::Issuing, name, what)
        }
    })
}

/// The free disk space for the state directory, in bytes.
pub fn of_room(folder: &str, room: u64) -> CheckupItem {
    let what = format!("{} MiB are free", room / 1024 / 1024);
    if room >= LITTLE_ROOM {
        return CheckupItem::ok(Area::State, folder, what);
    }
    let severity = if room < NO_ROOM { Severity::Obstacle } else { Severity::Warning };
    let next = "free some space: a key that cannot be stored is not used, and nothing is issued";
    CheckupItem::bad(Area::State, &Finding::for_a_person(Code::StateRoom, folder, what, next).of_severity(severity))
}

/// This machine's clock compared with a CA's.
pub fn of_skew(ca: &str, clocks: CaClock) -> CheckupItem {
    match own_clock(ca, clocks) {
        Some(finding) => CheckupItem::bad(Area::State, &finding),
        None => {
            let seconds = clocks.ours.duration_since(clocks.theirs).as_secs().abs();
            CheckupItem::ok(Area::State, "this machine's clock", format!("{seconds} s from the Date of {ca}"))
        }
    }
}
