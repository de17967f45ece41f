//! What a node answers in the dialogue: the vocabulary that the machine and the effect share.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{CertName, Generation};

/// A node's answer to "prepare": everything is staged, nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// What the configuration test said of what is there now.
    pub test: ConfigTest,
    /// Per certificate.
    pub bases: BTreeMap<CertName, Base>,
    /// The node's clock, when it answered.
    pub clock: Option<Timestamp>,
    /// Of which certificates a key could be read until now by people who will not be able to: who, in the node's words,
    /// escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub narrowed: Vec<(CertName, String)>,
}

impl Prepared {
    /// Everything that was sent is there already.
    pub fn is_unchanged(&self) -> bool {
        !self.bases.is_empty() && self.bases.values().all(|base| *base == Base::Unchanged)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigTest {
    Ok,
    /// The command's own words, capped and escaped.
    Failed(String),
}

/// What was found at a certificate's two paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Digests of content are those of the bundle: there is nothing to switch.
    Unchanged,
    /// Ours, another generation.
    Managed(Generation),
    /// Plain files of somebody else's making: first contact.
    Found,
    /// No files.
    Nothing,
}

/// A node's answer to "commit".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Committed {
    /// Switched, tested, reloaded.
    Committed,
    /// The test or the reload failed after the switch and passes after going back: it is our certificate.
    RolledBack { output: String },
    /// The test fails with and without our change: the configuration was broken before us. What was there is restored
    /// (on first contact with nothing there, ours stays).
    BrokenBefore { output: String },
    /// The server does not run: files are in place, nothing was started.
    Placed { output: String },
}

/// Why a node will not take the bundle. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// I9: the node holds a newer generation of which we may know nothing.
    #[error("{certificate}: the node holds a newer generation, number {number}")]
    Newer { certificate: CertName, number: u64 },
    /// It says that it holds a number that nobody can have given: no second of the calendar, or one that lies more than a
    /// day ahead. Nothing is decided by it.
    #[error(
        "{certificate}: the node says that it holds generation number {number}, which no right clock has given: it is no \
         second, or more than a day ahead"
    )]
    Implausible { certificate: CertName, number: String },
    /// Between prepare and commit somebody else changed what is there.
    #[error("{certificate}: somebody changed the files while the change was prepared")]
    Changed { certificate: CertName },
    /// Room, modes, owner, a folder where a file should be, a foreign link, another writer.
    #[error("{path}: {why}")]
    Path { path: String, why: String },
    /// The configuration test passes with plain files and fails as soon as they are links: a container or a chroot that does
    /// not see where they lead. All that was found is back.
    #[error(
        "the server does not follow a link at {path}: its configuration test passes with the plain files and fails with links to the same content: {output}"
    )]
    Links { path: String, output: String },
    #[error("another delivery holds the node's lock")]
    Locked,
    #[error("{why}")]
    Unfit { why: String },
    /// The node has a receiver of its own, and its parameters do not have what was sent.
    #[error("the receiver on the node does not permit this: {why}")]
    NotPermitted { why: String },
    /// The receiver that is installed on the node speaks another version of the dialogue.
    #[error("the receiver on the node speaks version {theirs} of the dialogue, and this certd version {ours}")]
    Version { theirs: u32, ours: u32 },
}
