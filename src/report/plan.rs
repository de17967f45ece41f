//! The plan as text: each step and each wait with its reason.

use core::fmt::Write as _;

use crate::plan::{Deliver, Issue, Plan, Step, Wait};

use super::words;

/// Ends with a newline.
pub fn plan_text(plan: &Plan) -> String {
    let mut out = String::new();
    for step in &plan.steps {
        let _ = match step {
            Step::Issue(step) => issue(&mut out, step),
            Step::Deliver(step) => deliver(&mut out, step),
            Step::Rehearse(step) => {
                let again = if step.again { " again, since it failed" } else { "" };
                let at = words::from(step.renew_at);
                writeln!(out, "rehearse {}: the renewal of {at} is tried{again}, without an order", step.certificate)
            }
        };
    }
    if plan.steps.is_empty() {
        out.push_str("nothing to do\n");
    }
    for wait in &plan.waits {
        let _ = match wait {
            Wait::Renewal { certificate, reason } => {
                writeln!(out, "wait     {certificate}: {}", words::renewal_wait(reason))
            }
            Wait::Clock { doubt } => writeln!(out, "wait     everything: {}", words::clock(doubt)),
            Wait::Delivery { certificate, node, reason } => {
                writeln!(out, "wait     {certificate} on {node}: {}", words::delivery_wait(reason))
            }
        };
    }
    if let Some(next) = plan.next {
        let _ = writeln!(out, "look again {}", words::from(next));
    }
    out
}

fn issue(out: &mut String, issue: &Issue) -> core::fmt::Result {
    writeln!(out, "issue    {}: {}", issue.certificate, words::renewal(&issue.reason))?;
    let profile = issue.profile.as_ref().map(|profile| format!(", profile {profile}")).unwrap_or_default();
    let key = if issue.keep_key { ", with the key that it has" } else { "" };
    writeln!(out, "         names {}; {}{key}{profile}", issue.names, issue.key_type.as_str())?;
    if !issue.passed_over.is_empty() {
        writeln!(out, "         at {}", issue.ca)?;
    }
    for passed in &issue.passed_over {
        writeln!(out, "         {}", words::passed_over(passed))?;
    }
    if issue.replaces.is_some() {
        let exempt = if issue.exempt { ", exempt from the CA's limits" } else { "" };
        writeln!(out, "         replaces the stored certificate{exempt}")?;
    }
    if let Some(above) = &issue.above {
        writeln!(out, "         numbered above {}, which {} holds", above.number, above.node)?;
    }
    if issue.then.is_empty() {
        return writeln!(out, "         then deliver to nobody now");
    }
    let then: Vec<&str> = issue.then.iter().map(|node| node.as_str()).collect();
    writeln!(out, "         then deliver to {}", then.join(", "))
}

fn deliver(out: &mut String, deliver: &Deliver) -> core::fmt::Result {
    for (number, (certificate, generation)) in deliver.certificates.iter().enumerate() {
        // Certificates that are delivered together are listed together.
        let verb = if number == 0 { "deliver " } else { "   with " };
        writeln!(out, "{verb} {certificate}: generation {generation}")?;
        for task in &deliver.nodes {
            if let Some(reason) = task.certificates.get(certificate) {
                let back = task.older.contains(certificate);
                writeln!(out, "         to {}: {}", task.node, words::delivery(reason, back))?;
            }
            for cost in words::cost(task).into_iter().filter(|_| number == 0) {
                writeln!(out, "            {cost}")?;
            }
            if let Some(early) = task.early.as_ref().filter(|_| number == 0) {
                writeln!(out, "            {}", words::early(early))?;
            }
        }
    }
    Ok(())
}
