//! What is on a node, as the node program told it without changing anything.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{CertName, NodeName};
use crate::model::ConfigTest;

use crate::model::Finding;

/// One look at one node's disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Disk {
    pub node: NodeName,
    pub at: Timestamp,
    pub looked: Result<Looked, Finding>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// What the configuration test says of what is there.
    pub test: ConfigTest,
    /// The node's clock, when it answered.
    pub clock: Option<Timestamp>,
    /// Room in the folder of the chain that has the least, KiB.
    pub room: Option<u64>,
    /// Other programs that renew certificates there: the file or unit that says so, escaped.
    pub renewers: Vec<String>,
    /// Folders of certd's with keys in them that no certificate of the configuration uses any more, escaped.
    #[serde(default)]
    pub left: Vec<String>,
    pub certificates: BTreeMap<CertName, Found>,
    /// What `certd node setup` installed there. `None`: the program came along with the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Installed>,
}

/// Two clocks at one moment: ours, and that of a node which answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeClock {
    pub ours: Timestamp,
    pub theirs: Timestamp,
}

/// An installed receiver's word on itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// SHA-256, hex, of the program and of everything that it permits.
    pub program: String,
    pub parameters: String,
    /// It judges certificates by itself, which takes openssl there.
    pub judges: bool,
}

/// What is at a certificate's paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub fullchain: AtPath,
    pub key: AtPath,
    /// Where `current` leads, escaped: the name of a generation, or of what was found first.
    pub current: Option<String>,
    /// Both files, and the others that the configuration names, have the content that was asked for.
    pub same: bool,
    /// SHA-256 of what is at the chain's path, hex.
    pub digest: Option<String>,
    /// Files with a key in them that more people can read than are to.
    #[serde(default)]
    pub exposed: Vec<Exposed>,
}

/// In the node's words, escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Exposed {
    pub path: String,
    /// As `ls -l` shows it.
    pub mode: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtPath {
    /// Our link.
    Link,
    /// A plain file: never delivered to, written in place by choice, or flattened by a backup or another client.
    Plain,
    Nothing,
    /// Somebody else's link, a folder, a device, or a folder that cannot be trusted: in the node's words, escaped.
    Foreign {
        why: String,
    },
}
