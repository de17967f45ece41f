//! Health as text: a table for each certificate, and below it what is wrong.

use super::notes::{Notes, item};
use super::{HealthReport, Style, table};

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
        for finding in report.nodes.iter().flat_map(|node| &node.findings) {
            notes.add(finding.object.clone(), finding.what.clone(), Some(finding.next.clone()));
        }
        out.push_str(&notes.text(style));
        out.push('\n');
    }
    out
}
