//! The configuration in its runtime form: whoever holds a [`Config`] need not validate again.
//!
//! The written form (TOML) is parsed into this one by [`parse`]: syntax and type errors stop at the first, everything
//! else is reported at once, each with its line, what is wrong and what to write.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cert::{CertName, DnsName, KeyType, NameSet, NodeName};

#[derive(Clone, Debug)]
pub struct Config {
    pub state_dir: PathBuf,
    pub acme: Acme,
    pub dns: Dns,
    pub network: Network,
    /// Sessions in flight at once, over the fleet.
    pub sessions: usize,
    pub certificates: Vec<Certificate>,
    pub nodes: Vec<Node>,
    /// Where and how each certificate is installed on each of its nodes; an entry for every pair.
    pub installs: BTreeMap<(NodeName, CertName), Arc<Install>>,
}

#[derive(Clone, Debug)]
pub struct Acme {
    pub directory: url::Url,
    /// Names the account's folder in the store: host, or host-port.
    pub host: String,
    pub contact: Vec<String>,
    /// The default of every certificate.
    pub profile: Option<String>,
    pub eab: Option<Eab>,
    pub ca_file: Option<PathBuf>,
    pub issuer_root_file: Option<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Eab {
    pub kid: String,
    pub hmac_file: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Dns {
    pub provider: Provider,
    /// Recursive resolvers for zone cuts and for the addresses of name servers; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// Asked instead of the zone's own servers, when not empty.
    pub nameservers: Vec<SocketAddr>,
}

#[derive(Clone, Debug)]
pub enum Provider {
    Cloudflare { token_file: PathBuf, zone_id: Option<String>, api_base: url::Url },
}

#[derive(Clone, Debug, Default)]
pub struct Network {
    /// For the CA, the API and DoH; never for probes.
    pub proxy: Option<url::Url>,
}

#[derive(Clone, Debug)]
pub struct Certificate {
    pub name: CertName,
    pub names: NameSet,
    pub key_type: KeyType,
    pub profile: Option<String>,
    /// Names to send as SNI when a node is probed; at least one, never a wildcard.
    pub sni: Vec<DnsName>,
    /// In the configuration's order.
    pub nodes: Vec<NodeName>,
    /// The node that gets a change first, when the operator says which.
    pub canary: Option<NodeName>,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub name: NodeName,
    /// SSH goes to the first; all are probed. Hosts are IP addresses or names (resolved when used).
    pub addresses: Vec<Host>,
    pub ssh: Ssh,
    pub probe_port: u16,
    pub tags: Vec<String>,
    /// Until then the node is shown and probed, and does not count.
    pub paused_until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    Ip(IpAddr),
    Name(DnsName),
}

#[derive(Clone, Debug)]
pub struct Ssh {
    pub user: String,
    pub port: u16,
    pub identity_files: Vec<PathBuf>,
    /// Keys pinned in the configuration; else `known_hosts` is asked.
    pub host_keys: Vec<HostKey>,
    pub known_hosts: PathBuf,
}

/// A public host key as `ssh-keyscan` and known_hosts write it: type, and the key's blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    pub algorithm: String,
    pub blob: Vec<u8>,
}

/// Absolute paths and commands on a node; `{name}` is already filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    pub fullchain: String,
    pub key: String,
    /// Argument vectors, never a shell's line; never empty.
    pub test: Vec<String>,
    pub reload: Vec<String>,
}

impl Config {
    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.iter().find(|node| &node.name == name)
    }

    pub fn certificate(&self, name: &CertName) -> Option<&Certificate> {
        self.certificates.iter().find(|certificate| &certificate.name == name)
    }

    pub fn install(&self, node: &NodeName, certificate: &CertName) -> Option<&Arc<Install>> {
        self.installs.get(&(node.clone(), certificate.clone()))
    }
}

/// One thing wrong with the written configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// From 1. `None`: of the whole file (a key that is missing).
    pub line: Option<usize>,
    pub column: Option<usize>,
    /// The key: `node[2].host_key`.
    pub key: String,
    pub what: String,
    /// What to write instead.
    pub write: String,
}

/// # Errors
/// Every mistake of the text, in the order of its lines; for a syntax or type error only that one.
pub fn parse(_text: &str) -> Result<Config, Vec<Mistake>> {
    todo!()
}
