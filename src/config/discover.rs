//! `nodes = { discover = "…" }`: nodes found in DNS. A certificate names the DNS name and holds the settings of its nodes;
//! the addresses are looked up at the beginning of every pass, and [`Config::with_discovered`] inserts the nodes, so that
//! planning, delivery and reports do not distinguish them.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::error::ConfigErrors;
use super::install::InstallSpec;
use super::node::NodeSpec;
use super::probe::meet;
use super::value::host_keys;
use super::written::{Section, Spanned};
use super::{Config, Host, HostKey, Install, Node, Probe, Ssh, Windows};
use crate::cert::{CertName, DnsName, NodeName};

/// The DNS name and the settings of a certificate's nodes.
#[derive(Clone, Debug)]
pub struct Discover {
    /// Its addresses on its authoritative servers are the nodes.
    pub name: DnsName,
    pub families: Families,
    /// Pinned keys by address; for others `known_hosts` decides.
    pub host_keys: BTreeMap<IpAddr, Vec<HostKey>>,
    pub ssh: Ssh,
    pub probes: Vec<Probe>,
    pub windows: Windows,
    pub install: Arc<Install>,
    /// The settings of each `[[node]]`, should it have one of the addresses.
    pub own: BTreeMap<NodeName, Arc<Install>>,
}

/// The address families to take: a machine with an address of each would be two nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    #[default]
    Both,
    Ipv4,
    Ipv6,
}

impl Families {
    pub fn take(self, address: IpAddr) -> bool {
        match self {
            Self::Both => true,
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
        }
    }

    pub(super) fn overlap(self, other: Self) -> bool {
        self == Self::Both || other == Self::Both || self == other
    }
}

/// Why a node that DNS shows cannot have a certificate beside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Both would be in one file.
    File,
    /// One handshake would be for both, and shows one.
    Handshake,
}

impl Config {
    /// Names whose addresses are to be looked up, each once.
    pub fn discovers(&self) -> BTreeSet<&DnsName> {
        self.certificates.iter().filter_map(|certificate| Some(&certificate.discover.as_ref()?.name)).collect()
    }

    /// The node at this address, as if DNS showed it.
    pub fn node_at(&self, address: IpAddr) -> Option<Node> {
        let like = self.certificates.iter().find_map(|certificate| certificate.discover.as_ref())?;
        self.discovered(like, address)
    }

    /// Inserts the nodes of these addresses, in the addresses' order. An address of a `[[node]]` stands for that node;
    /// `named`: the addresses of nodes configured by name. Also returns the nodes left out, each with its certificate and
    /// the other one that stands in its way.
    pub fn with_discovered(
        &self,
        found: &BTreeMap<DnsName, BTreeSet<IpAddr>>,
        named: &BTreeMap<NodeName, BTreeSet<IpAddr>>,
    ) -> (Self, Vec<(NodeName, CertName, CertName, Conflict)>) {
        let (mut config, mut conflicts) = (self.clone(), Vec::new());
        for certificate in &mut config.certificates {
            let Some(discover) = certificate.discover.clone() else { continue };
            certificate.nodes.clear();
            for address in found.get(&discover.name).into_iter().flatten().filter(|ip| discover.families.take(**ip)) {
                let own = self.nodes.iter().find(|node| is_at(node, *address, named));
                let (name, install) = match own {
                    Some(node) => (node.name.clone(), discover.own.get(&node.name).unwrap_or(&discover.install)),
                    None => {
                        let Some(node) = self.discovered(&discover, *address) else { continue };
                        let name = node.name.clone();
                        if config.nodes.named(&name).is_none() {
                            config.nodes.push(node);
                        }
                        (name, &discover.install)
                    }
                };
                if certificate.nodes.contains(&name) {
                    continue;
                }
                let node = config.nodes.named(&name);
                let conflict = |(other, theirs): (&CertName, &Arc<Install>)| {
                    let one_handshake = || {
                        let node = node.filter(|node| meet(node.probes_of(other), node.probes_of(&certificate.name)));
                        node.and(self.certificate(other)).is_some_and(|other| other.hides(certificate))
                    };
                    let conflict = if share(theirs, install) {
                        Some(Conflict::File)
                    } else {
                        one_handshake().then_some(Conflict::Handshake)
                    };
                    conflict.map(|conflict| (other.clone(), conflict))
                };
                let there = config.installs.of_node(&name);
                if let Some((other, conflict)) = there.into_iter().flatten().find_map(conflict) {
                    conflicts.push((name, certificate.name.clone(), other, conflict));
                    continue;
                }
                config.installs.insert((name.clone(), certificate.name.clone()), Arc::clone(install));
                certificate.nodes.push(name);
            }
            certificate.canary.retain(|canary| certificate.nodes.contains(canary));
        }
        (config, conflicts)
    }

    /// A node named by its address. Keys that any certificate pins for the address hold, since it is one machine.
    fn discovered(&self, like: &Discover, address: IpAddr) -> Option<Node> {
        let pinned =
            self.certificates.iter().filter_map(|certificate| certificate.discover.as_ref()?.host_keys.get(&address));
        Some(Node {
            name: NodeName::parse(&address.to_string()).ok()?,
            addresses: vec![Host::Ip(address)],
            ssh: Ssh { host_keys: pinned.flatten().cloned().collect(), ..like.ssh.clone() },
            probes: like.probes.clone(),
            own_probes: BTreeMap::new(),
            tags: Vec::new(),
            paused_until: None,
            paused_reason: None,
            windows: like.windows.clone(),
            health: None,
        })
    }
}

fn is_at(node: &Node, address: IpAddr, named: &BTreeMap<NodeName, BTreeSet<IpAddr>>) -> bool {
    node.addresses.contains(&Host::Ip(address)) || named.get(&node.name).is_some_and(|at| at.contains(&address))
}

fn share(a: &Install, b: &Install) -> bool {
    let files = |it: &Install| it.paths().cloned().collect::<BTreeSet<String>>();
    !files(a).is_disjoint(&files(b))
}

/// A `nodes = { discover = … }` as written.
#[derive(Clone)]
pub(super) struct DiscoverSpec {
    pub(super) name: Spanned<DnsName>,
    pub(super) families: Families,
    pub(super) host_keys: BTreeMap<IpAddr, Vec<HostKey>>,
}

impl DiscoverSpec {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let errors = section.errors();
        section.required("discover", "discover = \"www.example.com\", whose addresses are the nodes");
        let name = section.string("discover").and_then(|written| discovered_name(&written, errors));
        let families = section.string("families").map(|written| families(&written, errors));
        let mut keys = BTreeMap::new();
        for (address, written) in section.texts_by_name("host_keys") {
            match address.value.parse::<IpAddr>() {
                Ok(ip) => _ = keys.insert(ip, host_keys(Some(written), errors)),
                Err(_) => errors.at(&address, "is not an IP address", "\"192.0.2.1\" = \"ssh-ed25519 AAAA…\""),
            }
        }
        section.finish();
        Some(Self { name: name?, families: families.unwrap_or_default(), host_keys: keys })
    }

    /// A stand-in for all nodes that DNS may name, so that they are checked as others are.
    pub(super) fn stand_in(&self) -> Option<NodeSpec> {
        let name = NodeName::parse("found in DNS").ok()?;
        Some(NodeSpec {
            name: Some(self.name.with(name)),
            addresses: Vec::new(),
            host_keys: Vec::new(),
            ssh: super::ssh::SshSpec::default(),
            probe: super::probe::ProbeSpec::default(),
            install: InstallSpec::default(),
            tags: Vec::new(),
            paused_until: None,
            paused_reason: None,
            windows: None,
            health: None,
            certificates: Vec::new(),
            own_probes: Vec::new(),
        })
    }
}

fn discovered_name(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Spanned<DnsName>> {
    match DnsName::parse(&written.value) {
        Ok(name) if name.is_wildcard() => {
            errors.none(written, "is a wildcard, which has no addresses", "a name that has A or AAAA records")
        }
        Ok(name) => Some(written.with(name)),
        Err(bad) => errors.none(written, bad.to_string(), "a DNS name: \"www.example.com\""),
    }
}

fn families(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Families {
    match written.value.as_str() {
        "both" => Families::Both,
        "ipv4" => Families::Ipv4,
        "ipv6" => Families::Ipv6,
        other => {
            errors.at(written, format!("{other:?} is no family of addresses"), "\"both\", \"ipv4\" or \"ipv6\"");
            Families::default()
        }
    }
}
