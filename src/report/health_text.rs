//! Health as text: a table for each certificate, and below it what is wrong.

use super::notes::{Notes, item};
use super::{Exit, HealthReport, Style, table};

/// Ends with a newline, or is empty.
pub(super) fn text(health: &[HealthReport], style: Style) -> String {
    let mut out = String::new();
    for report in health {
        out.push_str(&format!("health of {}\n", report.certificate));
        out.push_str(&table::health(&report.nodes, style));
        for finding in &report.findings {
            out.push_str(&item("! ", &format!("{}: {}", finding.object, finding.what), Some(&finding.next), style));
        }
        let mut notes = Notes::default();
        // A paused node may do as it likes: its row says what it does.
        let findings = report.nodes.iter().flat_map(|node| &node.findings);
        for finding in findings.filter(|finding| finding.exit() != Exit::Ok) {
            notes.add(finding.object.clone(), finding.what.clone(), Some(finding.next.clone()));
        }
        out.push_str(&notes.text(style));
        out.push('\n');
    }
    out
}
