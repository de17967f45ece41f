//! Findings on the nodes' disks, where they were looked at: each with a word, a severity and advice.

use core::fmt::Write as _;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, NodeName};
use crate::config::Config;
use crate::model::ConfigTest;
use crate::model::{AtPath, Disk, Drift, Exposed, Finding, Looked, NodeClock, Observed, Renewal};
use crate::plan::{disks, hold};

use super::{Exit, words};

/// One finding on a node's disk.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct DiskReport {
    pub node: NodeName,
    /// `null`: concerns the node itself.
    pub certificate: Option<CertName>,
    /// When the disk was looked at.
    pub at: Timestamp,
    #[serde(flatten)]
    pub verdict: DiskVerdict,
}

impl DiskReport {
    pub fn exit(&self) -> Exit {
        self.verdict.exit(&self.node)
    }

    /// Meaning and advice; `None`: nothing is wrong.
    pub(super) fn words(&self) -> Option<(String, String)> {
        if let DiskVerdict::Mended { was } = &self.verdict {
            return Some((
                format!("was {}: {}; delivered again", words::tag(was, "disk"), words::drift(was)),
                String::new(),
            ));
        }
        let finding = self.verdict.finding(&self.node)?;
        Some((finding.what, finding.next))
    }

    /// Both in one line.
    pub(super) fn sentence(&self) -> String {
        let (what, next) = self.words().unwrap_or_default();
        if next.is_empty() { what } else { format!("{what}; next: {next}") }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(tag = "disk", rename_all = "kebab-case")]
pub enum DiskVerdict {
    /// The disk holds the stored certificate.
    Same,
    /// The disk differed, and this pass delivered.
    Mended {
        was: Drift,
    },
    /// The disk could not be looked at.
    NotLooked {
        failure: Finding,
    },
    /// The node's configuration test fails, so a reload would change nothing.
    TestFails {
        output: String,
        /// certd has not delivered there yet, and the missing files may be the cause.
        #[serde(skip)]
        before_first: bool,
    },
    /// The node's clock is off; negative: it is behind.
    ClockOff {
        ahead_seconds: i64,
    },
    LittleRoom {
        kib: u64,
    },
    /// Programs that may overwrite what certd delivers, by the files or units that show them.
    Renewers {
        found: Vec<String>,
        /// What they renew of certd's names, or write to its paths, as far as it is known.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        renewals: Vec<Renewal>,
    },
    /// Its nginx serves HTTP/3 and does not bound how long old workers live after a reload.
    OldWorkers,
    /// More users can read a key there than should.
    Exposed {
        files: Vec<Exposed>,
    },
    /// Folders with keys of certificates that are not configured (any more).
    Left {
        folders: Vec<String>,
    },
    #[serde(untagged)]
    Drifted(Drift),
}

impl DiskVerdict {
    /// The word in the JSON's `disk`.
    pub fn word(&self) -> String {
        words::tag(self, "disk")
    }

    /// Never worse than a finding: whether visitors are affected is judged by the handshakes.
    fn exit(&self, node: &NodeName) -> Exit {
        self.finding(node).map_or(Exit::Ok, |finding| finding.exit())
    }
}

/// Worst first. `looked`: the command looked at disks on request, so matching disks are listed too.
pub(super) fn reports(
    config: &Config,
    observed: &Observed,
    mended: &BTreeMap<(NodeName, CertName), Drift>,
    looked: bool,
    now: Timestamp,
) -> Vec<DiskReport> {
    let mut reports = Vec::new();
    for ((node, certificate), was) in mended {
        let verdict = DiskVerdict::Mended { was: was.clone() };
        reports.push(DiskReport { node: node.clone(), certificate: Some(certificate.clone()), at: now, verdict });
    }
    for disk in &observed.disks {
        let of_node = |verdict| DiskReport { node: disk.node.clone(), certificate: None, at: disk.at, verdict };
        match &disk.looked {
            Ok(found) => {
                reports.extend(of_looked(found, disk.at).into_iter().map(of_node));
                reports.extend(exposed(disk, found));
            }
            Err(failure) => reports.push(of_node(DiskVerdict::NotLooked { failure: failure.clone() })),
        }
    }
    let seen: BTreeSet<&NodeName> = observed.disks.iter().map(|disk| &disk.node).collect();
    for certificate in config.certificates.iter().filter(|certificate| observed.asked.wants(&certificate.name)) {
        let stored = observed.store.get(&certificate.name);
        let desired = stored.and_then(|stored| hold::desired(&certificate.name, stored, &observed.state, now));
        let Some(desired) = desired else { continue };
        for node in &certificate.nodes {
            let wanted = observed.asked.wants_node(node);
            let paused = config.paused_until(node, now).is_some();
            let compared = observed.state.disks.get(node).and_then(|by_name| by_name.get(&certificate.name));
            let compared = compared.filter(|compared| wanted && !paused && &compared.generation == desired.generation);
            let Some(compared) = compared else { continue };
            let now_looked = seen.contains(node);
            let verdict = match (&compared.drift, &compared.failure) {
                (Some(drift), _) => DiskVerdict::Drifted(drift.clone()),
                (None, Some(failure)) if !now_looked => DiskVerdict::NotLooked { failure: failure.clone() },
                (None, None) if now_looked && looked => DiskVerdict::Same,
                (None, _) => continue,
            };
            let about = DiskReport {
                node: node.clone(),
                certificate: Some(certificate.name.clone()),
                at: compared.at,
                verdict,
            };
            reports.push(about);
        }
    }
    reports.sort_by_key(|report| report.exit().rank());
    reports
}

/// Keys with too wide permissions, by certificate, in addition to its other findings.
fn exposed<'a>(disk: &'a Disk, looked: &'a Looked) -> impl Iterator<Item = DiskReport> + 'a {
    let of_name = looked.certificates.iter().filter(|(_, found)| !found.exposed.is_empty());
    of_name.map(|(name, found)| {
        let verdict = DiskVerdict::Exposed { files: found.exposed.clone() };
        DiskReport { node: disk.node.clone(), certificate: Some(name.clone()), at: disk.at, verdict }
    })
}

/// Findings that concern the node and no single certificate.
pub(super) fn of_looked(looked: &Looked, at: Timestamp) -> Vec<DiskVerdict> {
    let mut found = Vec::new();
    if let ConfigTest::Failed(output) = &looked.test {
        let before_first = looked.certificates.values().all(|found| found.fullchain == AtPath::Nothing);
        found.push(DiskVerdict::TestFails { output: output.clone(), before_first });
    }
    let clocks = looked.clock.map(|theirs| NodeClock { ours: at, theirs });
    let ahead = clocks.and_then(disks::clock_off);
    found.extend(ahead.map(|ahead| DiskVerdict::ClockOff { ahead_seconds: ahead.as_secs() }));
    let room = looked.room.filter(|kib| disks::disk_space(*kib).is_some());
    found.extend(room.map(|kib| DiskVerdict::LittleRoom { kib }));
    let renewers = looked.renewer_files();
    if !renewers.is_empty() {
        found.push(DiskVerdict::Renewers { found: renewers, renewals: looked.renewals.clone() });
    }
    if looked.unbounded_workers {
        found.push(DiskVerdict::OldWorkers);
    }
    if !looked.left.is_empty() {
        found.push(DiskVerdict::Left { folders: looked.left.clone() });
    }
    found
}

/// A line for each finding, to print below a plan. Ends with a newline, or is empty.
pub fn disks_text(disks: &[DiskReport]) -> String {
    let mut out = String::new();
    for disk in disks.iter().filter(|disk| disk.exit() != Exit::Ok) {
        let about = disk.certificate.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        let (word, sentence) = (disk.verdict.word(), disk.sentence());
        let _ = writeln!(out, "disk     {about}on {}: {word}: {sentence}", disk.node);
    }
    out
}
