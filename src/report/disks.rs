//! What is on the nodes' disks, where it was looked at: each difference with a word, a severity and what to do.

use core::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, NodeName};
use crate::config::Config;
use crate::model::ConfigTest;
use crate::model::{AtPath, Disk, Drift, Exposed, Finding, Looked, NodeClock, Observed};
use crate::plan::{disks, hold};

use super::{Done, Exit};

/// One thing that was found on a node.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct DiskReport {
    pub node: NodeName,
    /// `null`: about the node itself.
    pub certificate: Option<CertName>,
    /// When it was looked at.
    pub at: Timestamp,
    #[serde(flatten)]
    pub verdict: DiskVerdict,
}

impl DiskReport {
    pub fn exit(&self) -> Exit {
        self.verdict.exit(&self.node)
    }

    /// What it means and what to do; `None`: it is well.
    pub(super) fn words(&self) -> Option<(String, String)> {
        if let DiskVerdict::Mended { was } = &self.verdict {
            return Some((format!("was {}: {}; delivered anew", word(was), what(was)), String::new()));
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
    /// What is stored.
    Same,
    /// It differed, and this pass has delivered.
    Mended {
        was: Drift,
    },
    /// Nobody could look.
    NotLooked {
        failure: Finding,
    },
    /// The node's own configuration test fails, so that no reload takes anything new.
    TestFails {
        output: String,
        /// Nothing of certd's is there yet, which may be all that the server lacks.
        #[serde(skip)]
        before_first: bool,
    },
    /// The node's clock; negative: it is behind.
    ClockOff {
        ahead_seconds: i64,
    },
    LittleRoom {
        kib: u64,
    },
    /// Programs that may write over what certd delivers: files or units that say so.
    Renewers {
        found: Vec<String>,
    },
    /// More people can read a key there than are to.
    Exposed {
        files: Vec<Exposed>,
    },
    /// Folders with keys that no certificate of the configuration uses any more.
    Left {
        folders: Vec<String>,
    },
    #[serde(untagged)]
    Drifted(Drift),
}

impl DiskVerdict {
    /// As the JSON's `disk` spells it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Mended { .. } => "mended",
            Self::NotLooked { .. } => "not-looked",
            Self::TestFails { .. } => "test-fails",
            Self::ClockOff { .. } => "clock-off",
            Self::LittleRoom { .. } => "little-room",
            Self::Renewers { .. } => "renewers",
            Self::Exposed { .. } => "exposed",
            Self::Left { .. } => "left",
            Self::Drifted(drift) => word(drift),
        }
    }

    /// Nobody is hurt yet: what is served is told by the handshakes.
    fn exit(&self, node: &NodeName) -> Exit {
        self.finding(node).map_or(Exit::Ok, |finding| finding.exit())
    }
}

fn word(drift: &Drift) -> &'static str {
    match drift {
        Drift::Flattened => "flattened",
        Drift::Overwritten { .. } => "overwritten",
        Drift::Changed { .. } => "changed",
        Drift::Older { .. } => "older",
        Drift::Newer { .. } => "newer",
        Drift::Missing => "missing",
        Drift::Foreign { .. } => "foreign",
    }
}

/// Without what to do.
pub(super) fn what(drift: &Drift) -> String {
    let by = |renewers: &[String]| match renewers {
        [] => String::new(),
        found => format!(" (what renews there: {})", found.join(", ")),
    };
    match drift {
        Drift::Flattened => "plain files with the right content, and no links of ours (a backup?)".into(),
        Drift::Overwritten { renewers } => format!("plain files that certd did not write{}", by(renewers)),
        Drift::Changed { renewers } => format!("other content behind our links{}", by(renewers)),
        Drift::Older { current } => format!("our links lead to the older generation {current}"),
        Drift::Newer { current } => format!("our links lead to {current}, newer than what is stored here"),
        Drift::Missing => "a file is gone, and the server would not start again".into(),
        Drift::Foreign { why } => why.clone(),
    }
}

/// The worst first. `looked`: the command was to look, and says too what is well.
pub(super) fn reports(
    config: &Config,
    observed: &Observed,
    done: &Done,
    looked: bool,
    now: Timestamp,
) -> Vec<DiskReport> {
    let mut reports = Vec::new();
    for ((node, certificate), was) in &done.mended {
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
    for certificate in config.certificates.iter().filter(|certificate| observed.asked.wants(&certificate.name)) {
        let stored = observed.store.get(&certificate.name);
        let meant = stored.and_then(|stored| hold::meant(&certificate.name, stored, &observed.state, now));
        let Some(meant) = meant else { continue };
        for node in &certificate.nodes {
            let wanted = observed.asked.wants_node(node);
            let paused = config.node(node).and_then(|node| node.paused_until).is_some_and(|until| until > now);
            let compared = observed.state.disks.get(node).and_then(|by_name| by_name.get(&certificate.name));
            let compared = compared.filter(|compared| wanted && !paused && &compared.generation == meant.generation);
            let Some(compared) = compared else { continue };
            let now_looked = observed.disks.iter().any(|disk| &disk.node == node);
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

/// Of each certificate, whatever else is to be said of it.
fn exposed<'a>(disk: &'a Disk, looked: &'a Looked) -> impl Iterator<Item = DiskReport> + 'a {
    let of_name = looked.certificates.iter().filter(|(_, found)| !found.exposed.is_empty());
    of_name.map(|(name, found)| {
        let verdict = DiskVerdict::Exposed { files: found.exposed.clone() };
        DiskReport { node: disk.node.clone(), certificate: Some(name.clone()), at: disk.at, verdict }
    })
}

/// What concerns the node and no single certificate.
pub(super) fn of_looked(looked: &Looked, at: Timestamp) -> Vec<DiskVerdict> {
    let mut found = Vec::new();
    if let ConfigTest::Failed(output) = &looked.test {
        let before_first = looked.certificates.values().all(|found| found.fullchain == AtPath::Nothing);
        found.push(DiskVerdict::TestFails { output: output.clone(), before_first });
    }
    let clocks = looked.clock.map(|theirs| NodeClock { ours: at, theirs });
    let ahead = clocks.and_then(disks::clock_off);
    found.extend(ahead.map(|ahead| DiskVerdict::ClockOff { ahead_seconds: ahead.as_secs() }));
    let room = looked.room.filter(|kib| disks::room(*kib).is_some());
    found.extend(room.map(|kib| DiskVerdict::LittleRoom { kib }));
    if !looked.renewers.is_empty() {
        found.push(DiskVerdict::Renewers { found: looked.renewers.clone() });
    }
    if !looked.left.is_empty() {
        found.push(DiskVerdict::Left { folders: looked.left.clone() });
    }
    found
}

/// A line for each one that is not well, as they stand below a plan. Ends with a newline, or is empty.
pub fn disks_text(disks: &[DiskReport]) -> String {
    let mut out = String::new();
    for disk in disks.iter().filter(|disk| disk.exit() != Exit::Ok) {
        let about = disk.certificate.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
        let (word, sentence) = (disk.verdict.word(), disk.sentence());
        let _ = writeln!(out, "disk     {about}on {}: {word}: {sentence}", disk.node);
    }
    out
}
