//! What a look at a node's disk means for the next delivery.

use jiff::Timestamp;

use crate::cert::{CertName, NodeName};
use crate::model::{AtPath, Drift, Found, Looked};
use crate::report::disks::{self, DiskVerdict};

use super::{Area, CheckupItem};

/// Never empty: a node without problems has a line too.
pub fn of_looked(node: &NodeName, looked: &Looked, now: Timestamp) -> Vec<CheckupItem> {
    let of_node = disks::of_looked(looked, now).into_iter().filter_map(|verdict| verdict.finding(node));
    let mut findings: Vec<CheckupItem> = of_node.map(|finding| CheckupItem::bad(Area::Nodes, &finding)).collect();
    for (name, found) in &looked.certificates {
        for verdict in of_found(found) {
            let finding = verdict.finding(node).map(|finding| {
                let what = format!("{name}: {}", finding.what);
                crate::model::Finding { what, ..finding }
            });
            findings.extend(finding.map(|finding| CheckupItem::bad(Area::Nodes, &finding)));
        }
    }
    if findings.is_empty() {
        let held: Vec<String> = looked.certificates.iter().map(|(name, found)| holds(name, found)).collect();
        let what = format!("reached, logged in, its configuration test passes; {}", held.join("; "));
        findings.push(CheckupItem::ok(Area::Nodes, node, what));
    }
    findings
}

/// What blocks a delivery, and who can read a key. Another generation on the disk is no finding: a delivery replaces
/// it.
fn of_found(found: &Found) -> Vec<DiskVerdict> {
    let foreign =
        [("fullchain", &found.fullchain), ("key", &found.key)].into_iter().filter_map(|(path, at)| match at {
            AtPath::Foreign { why } => {
                Some(DiskVerdict::Drifted(Drift::Foreign { why: format!("its {path} cannot be replaced: {why}") }))
            }
            _ => None,
        });
    let exposed = (!found.exposed.is_empty()).then(|| DiskVerdict::Exposed { files: found.exposed.clone() });
    foreign.chain(exposed).collect()
}

fn holds(name: &CertName, found: &Found) -> String {
    match (&found.fullchain, &found.current, found.same) {
        (_, _, true) => format!("{name}: up to date"),
        (AtPath::Nothing, ..) => format!("{name}: has no files yet"),
        (AtPath::Link, Some(current), false) => format!("{name}: has {current}, which the next delivery replaces"),
        _ => format!("{name}: has files that certd did not put there"),
    }
}
