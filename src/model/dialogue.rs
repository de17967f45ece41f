//! A node's answers in the dialogue, shared by the rollout machine and the effect.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{CertName, Generation};

/// A node's answer to "prepare": everything is staged, nothing is changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// Result of the configuration test before the change.
    pub test: ConfigTest,
    /// Per certificate.
    pub bases: BTreeMap<CertName, Base>,
    pub clock: Option<Timestamp>,
    /// Certificates whose key loses readers with this delivery, and which readers: the node's text, escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub narrowed: Vec<(CertName, String)>,
}

impl Prepared {
    /// Whether the node already has everything that was sent.
    pub fn is_unchanged(&self) -> bool {
        !self.bases.is_empty() && self.bases.values().all(|base| *base == Base::Unchanged)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigTest {
    Ok,
    /// The command's output, capped and escaped.
    Failed(String),
}

/// What was found at a certificate's two paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The content's digests are those of the bundle: nothing to switch.
    Unchanged,
    /// Another generation of ours.
    Managed(Generation),
    /// Plain files by another tool: first contact.
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
    /// The test or the reload failed after the switch and passes after going back: our certificate's fault.
    RolledBack { output: String },
    /// The test fails with and without our change: the configuration was broken before. What was there is restored (on
    /// first contact with nothing there, ours stays).
    BrokenBefore { output: String },
    /// The files are in place; the server is not running, and nothing was started.
    Placed { output: String },
    /// As `Placed`; but handshakes show that the server runs, so that it is the reload command that fails.
    ReloadFails { output: String },
}

/// Why a node refuses the bundle. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// I9: the node holds a newer generation, perhaps of another controller.
    #[error("{certificate}: the node holds a newer generation, number {number}")]
    Newer { certificate: CertName, number: u64 },
    /// The node claims an impossible number: no second of the calendar, or one more than a day ahead. Nothing is
    /// decided by it.
    #[error(
        "{certificate}: the node says that it holds generation number {number}, which no right clock has given: it is no \
         second, or more than a day ahead"
    )]
    Implausible { certificate: CertName, number: String },
    /// Another program changed the files between prepare and commit.
    #[error("{certificate}: somebody changed the files while the change was prepared")]
    Changed { certificate: CertName },
    /// Free space, modes, owner, a folder where a file should be, a foreign link, another writer.
    #[error("{path}: {why}")]
    Path { path: String, why: String },
    /// The configuration test passes with plain files and fails as soon as they are links: a container or a chroot that
    /// does not see where they lead. The plain files are restored.
    #[error(
        "the server does not follow a link at {path}: its configuration test passes with the plain files and fails with links to the same content: {output}"
    )]
    Links { path: String, output: String },
    #[error("another delivery holds the node's lock")]
    Locked,
    #[error("{why}")]
    Unfit { why: String },
    /// The node has a receiver, whose parameters do not have what was sent.
    #[error("the receiver on the node does not permit this: {why}")]
    NotPermitted { why: String },
    /// The installed receiver speaks another version of the dialogue.
    #[error("the receiver on the node speaks version {theirs} of the dialogue, and this certd version {ours}")]
    Version { theirs: u32, ours: u32 },
}
