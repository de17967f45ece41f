//! Why a node is delivered to, or is not yet, and what that costs.

use crate::model::{Drift, ProbeError};
use crate::plan::{Because, DeliveryReason, DeliveryWait, Early, HoldEnd, NodeTask};

use super::{day, from, minute, what};

/// `back`: an operator goes back, so another certificate of ours may be a newer one.
pub(in crate::report) fn delivery(reason: &DeliveryReason, back: bool) -> String {
    match reason {
        DeliveryReason::Serves { fingerprint, not_after, ours } => format!(
            "serves {} {} (until {})",
            match ours {
                true if back => "another of ours,",
                true => "our earlier",
                false => "another certificate,",
            },
            fingerprint.short(),
            day(*not_after)
        ),
        DeliveryReason::Distrusted { why } => format!("serves a chain that clients refuse: {why}"),
        DeliveryReason::Silent { silence: silence @ ProbeError::NoSuchKey(_) } => silence.to_string(),
        DeliveryReason::Silent { silence } => format!("serves nothing: {silence}"),
        DeliveryReason::Unseen => "it was not probed".into(),
        DeliveryReason::InstallChanged => "[install] changed since the last delivery".into(),
        DeliveryReason::Reverts { from, silence } => {
            format!("back from {from}, whose delivery was interrupted: the node has served nothing since ({silence})")
        }
        DeliveryReason::Unsettled => "the result of its last delivery is unknown".into(),
        DeliveryReason::Drifted { what } => {
            format!("serves the right certificate, but its disk does not hold it: {}", drift(what))
        }
    }
}

/// How a disk differs, without advice.
pub(in crate::report) fn drift(drift: &Drift) -> String {
    let by = |renewers: &[String]| match renewers {
        [] => String::new(),
        found => format!(" (what renews there: {})", found.join(", ")),
    };
    match drift {
        Drift::Flattened => {
            "plain files with the right content, and no links of ours (a backup, or another client?)".into()
        }
        Drift::Overwritten { renewers } => format!("plain files that certd did not write{}", by(renewers)),
        Drift::Changed { renewers } => format!("other content behind our links{}", by(renewers)),
        Drift::Older { current } => format!("our links lead to the older generation {current}"),
        Drift::Newer { current } => format!("our links lead to {current}, newer than what is stored here"),
        Drift::Missing => "a file is gone, and the server would not start again".into(),
        Drift::Foreign { why } => why.clone(),
    }
}

/// What a delivery does at a node beside its reload.
pub(in crate::report) fn cost(task: &NodeTask) -> Vec<&'static str> {
    let restarts = "its reload is a restart: connections are cut, and it answers nobody for a moment";
    let rereads = "its server reads the files at a connection: it may show the new certificate before the reload";
    [(task.restarts, restarts), (task.rereads, rereads)]
        .into_iter()
        .filter_map(|(so, words)| so.then_some(words))
        .collect()
}

/// Why a closed window does not stop a delivery.
pub(in crate::report) fn early(early: &Early) -> String {
    let opens = from(early.opens);
    match early.because {
        Because::Asked => format!("outside of its window, which opens {opens}: it was named"),
        Because::Hurt => format!("outside of its window, which opens {opens}: visitors are hurt now"),
        Because::Revoked => {
            format!("outside of its window, which opens {opens}: what it serves is revoked, or given up")
        }
        Because::Ends { not_after } => format!(
            "outside of its window, which opens {opens}: what it serves ends {}, before or soon after",
            minute(not_after)
        ),
    }
}

/// Why a hold has ended on its own.
pub fn hold_end(end: &HoldEnd) -> String {
    match end {
        HoldEnd::Revoked { at } => format!("it was given up {}", minute(*at)),
        HoldEnd::NearItsEnd { not_after } => format!("it expires {}, and a later one is stored", minute(*not_after)),
    }
}

pub(in crate::report) fn delivery_wait(reason: &DeliveryWait) -> String {
    match reason {
        DeliveryWait::InSync { fingerprint } => format!("serves {} already", fingerprint.short()),
        DeliveryWait::Paused { until, words } => {
            let words = words.as_ref().map(|words| format!(": {words}")).unwrap_or_default();
            format!("paused until {}{words}", from(*until))
        }
        DeliveryWait::Window { opens } => {
            format!("its window opens {}; what it serves is good until then", from(*opens))
        }
        DeliveryWait::Held { generation, ends } => {
            let ends = from(*ends);
            format!(
                "serves generation {generation}, which is held until `certd deploy --latest`, or {ends} at the latest"
            )
        }
        DeliveryWait::BackOff { until, failures, failure } => {
            let times = if *failures == 1 { "once".to_owned() } else { format!("{failures} times") };
            format!("failed {times}; next try {}: {}", from(*until), what(failure))
        }
        DeliveryWait::Unproven { since, failure } => format!(
            "looked at until something changes, and not reloaded again since {}: {}",
            minute(*since),
            what(failure)
        ),
        DeliveryWait::TriedNow { failure, until: None } => format!("failed in this pass: {}", what(failure)),
        DeliveryWait::TriedNow { failure, until: Some(until) } => {
            format!("failed in this pass; next try {}: {}", from(*until), what(failure))
        }
        DeliveryWait::NothingStored => "nothing is stored yet".into(),
    }
}
