//! The configuration in its runtime form: a [`Config`] is valid.
//!
//! [`parse`] turns the written form (TOML) into it. A syntax error ends parsing; all other errors (wrong types too) are
//! reported together, each with its line, the problem and what to write.

mod acme;
pub mod additions;
mod certificate;
pub mod defaults;
mod discover;
mod dns;
pub mod draft;
mod error;
mod failover;
mod fleet;
mod forms;
mod health;
mod host_key;
mod install;
mod installs;
mod jump;
mod network;
mod node;
mod nodes;
mod pairs;
mod probe;
mod provider;
mod rights;
mod rollout;
mod run;
mod schedule;
mod schema;
mod servers;
mod shared;
mod ssh;
mod starttls;
mod value;
mod warnings;
mod watch;
mod window;
mod written;

use core::net::IpAddr;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use toml::de::DeTable;

use certificate::CertificateSpec;
use error::ConfigErrors;
use failover::FailoverSpec;
use fleet::Defaults;
use install::InstallSpec;
use node::NodeSpec;
use probe::ProbeSpec;
use ssh::SshSpec;
use watch::WatchSpec;
use written::{Section, Spanned};

pub use acme::ca_host;
pub use discover::{Conflict, Discover, Families};
pub use dns::{Dns, DnsSection, SilentServers, section_of};
pub use error::ConfigError;
pub use failover::{Failover, FailoverMode};
pub use forms::{Forms, Pkcs12};
pub use health::{Health, HealthLayer, HttpVersion};
pub use host_key::{BadHostKey, HostKey, ssh_string};
pub use installs::Installs;
pub use jump::Jump;
pub use network::{Network, Proxy};
pub use nodes::Nodes;
pub use probe::{Probe, ProxyProtocol, Via};
pub use provider::{Provider, Rfc2136, TsigAlgorithm, provider_keys};
pub use rights::{Mode, Rights};
pub use rollout::{Rollout, StopAfter};
pub use run::Run;
pub use schedule::{BadSchedule, Schedule};
pub use schema::json_schema;
pub use servers::{SERVERS, Server};
pub use ssh::{Agent, Ssh};
pub use starttls::StartTls;
pub use warnings::warnings;
pub use window::{Window, Windows};
pub use written::nearest;

use crate::cert::{CertName, DnsName, KeyType, NameSet, NodeName, WatchName};

#[derive(Clone, Debug)]
pub struct Config {
    pub state_dir: PathBuf,
    /// The preferred CA.
    pub acme: Acme,
    /// CAs to use, in this order, when the preferred one is unavailable.
    pub fallback: Vec<Acme>,
    pub dns: Dns,
    pub network: Network,
    /// Concurrent SSH sessions over the whole fleet.
    pub sessions: usize,
    pub rollout: Rollout,
    /// For `certd run` only.
    pub run: Run,
    pub certificates: Vec<Certificate>,
    pub nodes: Nodes,
    /// Where and how each certificate is installed on each of its nodes; has an entry for every pair.
    pub installs: Installs,
    /// Endpoints that certd monitors but does not manage.
    pub watches: Vec<Watch>,
    /// For `certd run` and `certd dns` only.
    pub failover: Failover,
}

#[derive(Clone, Debug)]
pub struct Acme {
    pub directory: url::Url,
    /// Names the account's folder in the store: host, or host-port.
    pub host: String,
    /// URLs (RFC 8555 section 7.1.2): `mailto:ops@example.com`.
    pub contact: Vec<String>,
    /// The default of every certificate.
    pub profile: Option<String>,
    pub eab: Option<Eab>,
    pub ca_file: Option<PathBuf>,
    pub issuer_root_file: Option<PathBuf>,
    /// Common name of the root to prefer where the CA offers several chains.
    pub preferred_chain: Option<String>,
    pub challenge: Challenge,
    /// Certificates of the same names that the CA allows within seven days; at least 1.
    pub certificates_per_week: usize,
}

/// How control of a name is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Challenge {
    /// RFC 8555 section 8.4: a TXT record for each order.
    #[default]
    Dns01,
    /// draft-ietf-acme-dns-persist: one persistent TXT record.
    DnsPersist01,
}

#[derive(Clone, Debug)]
pub struct Eab {
    pub kid: String,
    pub hmac_file: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Certificate {
    pub name: CertName,
    pub names: NameSet,
    pub key_type: KeyType,
    pub profile: Option<String>,
    /// A renewal keeps the key of the certificate before it.
    pub reuse_key: bool,
    /// Names to send as SNI when a node is probed; at least one, never a wildcard.
    pub sni: Vec<DnsName>,
    /// In the configuration's order.
    pub nodes: Vec<NodeName>,
    /// The nodes of which one gets a change first, in order of preference. Empty: the first eligible node.
    pub canary: Vec<NodeName>,
    /// Set where its nodes are found in DNS.
    pub discover: Option<Arc<Discover>>,
    /// Whether to compare the addresses of its names with its nodes.
    pub inventory: bool,
    /// `None`: only where a node has one.
    pub health: Option<Health>,
    /// Whether records of its names are withdrawn from DNS.
    pub failover: FailoverMode,
}

impl Certificate {
    /// Whether a server shows one of the two for a common name.
    fn hides(&self, other: &Self) -> bool {
        self.key_type.algorithm() == other.key_type.algorithm() && self.sni.iter().any(|sni| other.sni.contains(sni))
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub name: NodeName,
    /// SSH goes to the first; all are probed. Hosts are IP addresses or names (resolved when used).
    pub addresses: Vec<Host>,
    pub ssh: Ssh,
    /// Each port at which a handshake proves a certificate; never empty.
    pub probes: Vec<Probe>,
    /// Instead of these, for some certificates.
    pub own_probes: BTreeMap<CertName, Vec<Probe>>,
    pub tags: Vec<String>,
    /// Until then the node is shown and probed, but not changed or counted. A date stands for its first instant in UTC.
    pub paused_until: Option<Timestamp>,
    /// The operator's reason.
    pub paused_reason: Option<String>,
    /// When the node may be changed.
    pub windows: Windows,
    /// What it has otherwise than its certificates.
    pub health: Option<HealthLayer>,
}

impl Node {
    /// All of these have to show the certificate.
    pub fn probes_of(&self, certificate: &CertName) -> &[Probe] {
        self.own_probes.get(certificate).unwrap_or(&self.probes)
    }

    pub fn every_probe(&self) -> impl Iterator<Item = &Probe> {
        self.probes.iter().chain(self.own_probes.values().flatten())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    Ip(IpAddr),
    Name(DnsName),
}

impl core::fmt::Display for Host {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// Absolute paths and commands on a node; `{name}` is already filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Install {
    pub fullchain: String,
    pub key: String,
    /// The chain without the leaf, for servers that want it so.
    pub chain: Option<String>,
    /// Key and full chain in one file, for servers that want it so.
    pub combined: Option<String>,
    /// In it the chain comes before the key.
    pub chain_first: bool,
    pub forms: Forms,
    /// Overwrite files instead of replacing them by a rename, for a file that is mounted itself and would keep its old
    /// inode. Unsafe: a crash in between leaves a mismatched pair.
    pub in_place: bool,
    pub rights: Rights,
    /// Argument vectors, not shell commands; never empty.
    pub test: Vec<String>,
    pub reload: Vec<String>,
    /// The reload is a restart, which cuts connections.
    pub restart: bool,
    /// What the configuration calls it, if it does.
    pub server: Option<&'static Server>,
}

impl Install {
    /// Of all its files.
    pub fn paths(&self) -> impl Iterator<Item = &String> {
        let Self { fullchain, key, chain, combined, forms, .. } = self;
        [fullchain, key].into_iter().chain(chain).chain(combined).chain(forms.paths())
    }
}

/// An endpoint whose certificate is managed elsewhere.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Differs from all names of certificates.
    pub name: WatchName,
    /// Each with the name to send as SNI; never empty.
    pub targets: Vec<(Host, DnsName)>,
    pub port: u16,
    /// The protocol that leads to TLS; `None`: TLS from the first byte.
    pub starttls: Option<StartTls>,
    /// PEM roots trusted for it beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Config {
    /// In order of preference; never empty.
    pub fn cas(&self) -> impl Iterator<Item = &Acme> {
        core::iter::once(&self.acme).chain(&self.fallback)
    }

    /// The CA of this host, in the form of `accounts/<ca-host>` and [`crate::model::Meta::ca`].
    pub fn ca(&self, host: &str) -> Option<&Acme> {
        self.cas().find(|ca| ca.host == host)
    }

    pub fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.named(name)
    }

    /// Until when a node is paused; `None`: it is not.
    pub fn paused_until(&self, node: &NodeName, now: Timestamp) -> Option<Timestamp> {
        self.node(node)?.paused_until.filter(|until| *until > now)
    }

    pub fn certificate(&self, name: &CertName) -> Option<&Certificate> {
        self.certificates.iter().find(|certificate| &certificate.name == name)
    }

    /// Whether another certificate, with a key of the other algorithm, is served for the same name at the same port of
    /// the same node.
    pub fn has_beside(&self, certificate: &Certificate, node: &Node, probe: &Probe, sni: &DnsName) -> bool {
        let algorithm = certificate.key_type.algorithm();
        let mut others = self.certificates.iter().filter(|other| other.key_type.algorithm() != algorithm);
        others.any(|other| {
            other.sni.contains(sni)
                && self.install(&node.name, &other.name).is_some()
                && node.probes_of(&other.name).iter().any(|its| its.same_place(probe))
        })
    }

    pub fn install(&self, node: &NodeName, certificate: &CertName) -> Option<&Arc<Install>> {
        self.installs.of(node, certificate)
    }
}

/// # Errors
/// All errors of the text, in the order of its lines; only the first syntax error.
pub fn parse(text: &str) -> Result<Config, Vec<ConfigError>> {
    let errors = ConfigErrors::new(text);
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let place = error.span().map_or(text.len(), |span| span.start);
            errors.add(Some(place), "", format!("not TOML: {}", error.message()), "");
            return Err(errors.into_found());
        }
    };
    let config = read(Section::new(String::new(), None, table, &errors));
    let found = errors.into_found();
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => Err(found),
    }
}

/// The result is only valid if no error was reported: gaps are filled with defaults.
fn read(mut file: Section<'_>) -> Option<Config> {
    let errors = file.errors();
    let state_dir = file.string("state_dir").and_then(|path| value::own_folder(&path, errors));
    let sessions = file.integer("sessions").map(|number| sessions(&number, errors));
    file.required("acme", "[acme]\ndirectory = \"letsencrypt\"");
    let acme = file.section("acme").and_then(acme::read);
    file.required("dns", "[dns]\nprovider   = \"cloudflare\"\ntoken_file = \"/etc/certd/cloudflare.token\"");
    let dns = file.section("dns").and_then(dns::read);
    let network = network::read(file.section_or_empty("network"));
    let run = run::read(file.section_or_empty("run"));
    let (rollout, windows) = rollout::read(file.section_or_empty("rollout"));
    let failover = FailoverSpec::read(file.section_or_empty("failover"));
    let defaults = Defaults {
        ssh: SshSpec::read(file.section_or_empty("ssh")),
        install: InstallSpec::read(file.section_or_empty("install")),
        probe: ProbeSpec::read(&mut file),
        windows: windows.unwrap_or_default(),
        health: HealthLayer::read(&mut file),
        failover: failover.failover.mode,
    };
    file.required("certificate", "[[certificate]]\ndomains = [\"example.com\"]\nnodes   = [\"*\"]");
    let profile = acme.as_ref().and_then(|(acme, _)| acme.profile.as_ref());
    let certificates = file.sections("certificate");
    let certificates = certificates.into_iter().flat_map(|section| CertificateSpec::read(section, profile).each());
    let certificates: Vec<CertificateSpec> = certificates.collect();
    if certificates.iter().all(|certificate| certificate.discover.is_none()) {
        file.required("node", "[[node]]\nname    = \"shanghai-1\"\naddress = \"192.0.2.1\"");
    }
    let nodes = file.sections("node").into_iter().map(NodeSpec::read).collect();
    let watches = file.sections("watch").into_iter().map(WatchSpec::read).collect();
    file.finish();

    let watches = watch::join(watches, &certificates, errors);
    let own_modes = failover::own_modes(&certificates);
    let (certificates, nodes, installs) = fleet::join(certificates, nodes, &defaults, errors);
    failover.check(&own_modes, &certificates, &nodes, &watches, dns.as_ref(), errors);
    let (acme, fallback) = acme?;
    Some(Config {
        state_dir: state_dir.unwrap_or_else(|| PathBuf::from(defaults::STATE_DIR)),
        acme,
        fallback,
        dns: dns?,
        network,
        sessions: sessions.unwrap_or(defaults::SESSIONS),
        rollout,
        run,
        certificates,
        nodes,
        installs,
        watches,
        failover: failover.failover,
    })
}

fn sessions(number: &Spanned<i64>, errors: &ConfigErrors<'_>) -> usize {
    let sessions = usize::try_from(number.value).ok().filter(|count| (1..=defaults::MOST_SESSIONS).contains(count));
    sessions.unwrap_or_else(|| {
        let what = format!("{} is not a number of sessions", number.value);
        errors.at(number, what, format!("a number from 1 to {}", defaults::MOST_SESSIONS));
        defaults::SESSIONS
    })
}
