//! The content of a node's disk, as reported by the node program, which changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{CertName, DnsName, NodeName};
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
    /// Result of the node's configuration test.
    pub test: ConfigTest,
    pub clock: Option<Timestamp>,
    /// Free space in the chain's folder with the least of it, KiB.
    pub room: Option<u64>,
    /// Other programs that renew certificates there: the file or unit that shows it, escaped.
    pub renewers: Vec<String>,
    /// What other ACME clients there renew of the configured names, or write to the configured paths.
    #[serde(default)]
    pub renewals: Vec<Renewal>,
    /// Folders of certd's with keys that no configured certificate uses any more, escaped.
    #[serde(default)]
    pub left: Vec<String>,
    /// Its nginx serves HTTP/3 and does not bound how long old workers live after a reload.
    #[serde(default)]
    pub unbounded_workers: bool,
    pub certificates: BTreeMap<CertName, Found>,
    /// What `certd node setup` installed there. `None`: the program was sent along with the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Installed>,
}

impl Looked {
    /// The files that show that something else renews there.
    pub fn renewer_files(&self) -> Vec<String> {
        self.renewers.iter().chain(self.renewals.iter().map(|renewal| &renewal.file)).cloned().collect()
    }
}

/// A certificate that another ACME client on a node renews.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Renewal {
    pub client: AcmeClient,
    /// The client's own file about it; of lego, what starts it. Escaped.
    pub file: String,
    /// Its names that the node has from certd.
    pub names: Vec<DnsName>,
    /// Its other names.
    pub others: Vec<DnsName>,
    /// The paths of certd's that it writes to. Escaped.
    pub paths: Vec<String>,
    /// The other paths that it writes to, which something else may read. Escaped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AcmeClient {
    #[serde(rename = "acme.sh")]
    AcmeSh,
    Certbot,
    Lego,
}

impl AcmeClient {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AcmeSh => "acme.sh",
            Self::Certbot => "certbot",
            Self::Lego => "lego",
        }
    }
}

/// A folder of certd's with keys, which the configuration does not have there any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub folder: String,
    /// Paths that led into it.
    pub paths: BTreeSet<String>,
}

/// Two clocks at one moment: ours, and that of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeClock {
    pub ours: Timestamp,
    pub theirs: Timestamp,
}

/// What an installed receiver reports about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// SHA-256, hex, of the program and of everything that it permits.
    pub program: String,
    pub parameters: String,
    /// Whether it checks certificates by itself, which takes openssl there.
    pub judges: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub fullchain: AtPath,
    pub key: AtPath,
    /// Where `current` leads, escaped: the name of a generation, or of what was found first.
    pub current: Option<String>,
    /// Both files, and the other configured ones, have the expected content.
    pub same: bool,
    /// SHA-256 of what is at the chain's path, hex.
    pub digest: Option<String>,
    /// Key files that are readable by more users than configured.
    #[serde(default)]
    pub exposed: Vec<Exposed>,
}

/// Escaped.
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
    /// A plain file: never delivered to, written in place by choice, or left by a backup or another client.
    Plain,
    Nothing,
    /// A foreign link, a folder, a device, or a folder that cannot be trusted; the text is the node's, escaped.
    Foreign {
        why: String,
    },
}
