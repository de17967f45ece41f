//! Watched endpoints, which others maintain: certd only reports on them.

use core::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::WatchName;
use crate::model::{Over, Watched};

use super::{Exit, ServedReport, Verdict};

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct WatchedReport {
    pub name: WatchName,
    /// One for each address, worst first; never empty.
    pub served: Vec<ServedReport>,
}

impl WatchedReport {
    pub(super) fn is_well(&self) -> bool {
        self.served.iter().all(|served| served.verdict.exit() == Exit::Ok)
    }
}

/// By endpoint, worst first. `doubted`: the clock is implausible, so nothing is called expired.
pub(super) fn reports(watched: &[Watched], doubted: bool, now: Timestamp) -> Vec<WatchedReport> {
    let mut reports: Vec<WatchedReport> = Vec::new();
    for Watched { name, address, sni, starttls, seen } in watched {
        let verdict = Verdict::of_watched(seen, sni, now);
        let verdict = if doubted { verdict.doubted() } else { verdict };
        let served =
            ServedReport { starttls: *starttls, ..ServedReport::new(*address, sni.clone(), Over::Tcp, seen, verdict) };
        match reports.iter_mut().find(|report| &report.name == name) {
            Some(report) => report.served.push(served),
            None => reports.push(WatchedReport { name: name.clone(), served: vec![served] }),
        }
    }
    let rank = |served: &ServedReport| served.verdict.exit().rank();
    for report in &mut reports {
        report.served.sort_by_key(rank);
    }
    reports.sort_by_key(|report| report.served.iter().map(rank).min());
    reports
}

/// A line for each problem, to print below a plan, which has no steps for endpoints. Ends with a newline, or is empty.
pub fn watched_text(watched: &[WatchedReport]) -> String {
    let mut out = String::new();
    for watched in watched {
        for served in watched.served.iter().filter(|served| served.verdict.exit() != Exit::Ok) {
            let address = served.address.map(|address| format!(" at {address}")).unwrap_or_default();
            let (word, sentence) = (served.verdict.word(), served.verdict.sentence_of_watched());
            let _ = writeln!(out, "watched  {}{address}: {word}: {sentence}", watched.name);
        }
    }
    out
}
