//! Joins certificates and nodes: the nodes that selectors select, the settings of each pair, and contradictions.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::certificate::CertificateSpec;
use super::error::ConfigErrors;
use super::failover::FailoverMode;
use super::health::{self, Health, HealthLayer};
use super::install::InstallSpec;
use super::node::NodeSpec;
use super::probe::{self, Probe, ProbeSpec};
use super::ssh::SshSpec;
use super::window::Windows;
use super::written::{Spanned, nearest};
use super::{Certificate, Host, Installs, Node, Nodes, Via, pairs, shared};
use crate::cert::{CertName, NodeName};

/// The lowest written layer: `[ssh]`, `[install]`, `[probe]`, and the windows of `[rollout]`.
pub(super) struct Defaults {
    pub(super) ssh: SshSpec,
    pub(super) install: InstallSpec,
    pub(super) probe: ProbeSpec,
    pub(super) windows: Windows,
    pub(super) health: Option<HealthLayer>,
    pub(super) failover: FailoverMode,
}

/// Leaves out incomplete entries, for which an error was reported before.
pub(super) fn join(
    certificates: Vec<CertificateSpec>,
    nodes: Vec<NodeSpec>,
    defaults: &Defaults,
    errors: &ConfigErrors<'_>,
) -> (Vec<Certificate>, Nodes, Installs) {
    unique(certificates.iter().filter_map(|spec| spec.name.as_ref()), CertName::as_str, "certificates", errors);
    unique(nodes.iter().filter_map(|spec| spec.name.as_ref()), NodeName::as_str, "nodes", errors);
    own_domain(&certificates, &nodes, errors);
    named_by_an_address(&certificates, &nodes, errors);
    let stand_in = certificates.iter().find_map(|spec| spec.discover.as_ref()?.stand_in());
    let selected: Vec<Vec<&NodeSpec>> = certificates
        .iter()
        .map(|spec| match &spec.discover {
            Some(_) => stand_in.iter().collect(),
            None => select(spec, &nodes, errors),
        })
        .collect();
    let mut installs = pairs::installs(&certificates, &selected, defaults, errors);
    pairs::own_installs(&certificates, &selected, &nodes, errors);
    let meet = |node: &NodeSpec, a: &CertificateSpec, b: &CertificateSpec| {
        probe::meet(&probes_of(node, a, defaults), &probes_of(node, b, defaults))
    };
    shared::check(&certificates, &selected, meet, errors);

    let stand_in_name = stand_in.as_ref().and_then(|spec| spec.name.as_ref()).map(|name| &name.value);
    let runtime_certificates = certificates.iter().zip(&selected).filter_map(|(spec, selected)| {
        let names = || selected.iter().filter_map(|node| node.name.as_ref()).filter(|_| spec.discover.is_none());
        let canary = match spec.discover {
            Some(_) => spec.canary.iter().filter_map(|one| pairs::found_canary(one, &nodes, errors)).collect(),
            // The missing selectors were reported.
            None if spec.selectors.is_empty() => Vec::new(),
            None => canaries(&spec.canary, selected, errors),
        };
        let discover = stand_in_name
            .zip(spec.name.as_ref())
            .and_then(|(stand_in, name)| installs.remove(stand_in, &name.value))
            .zip(spec.discover.as_ref())
            .map(|(install, discover)| pairs::discover(spec, discover, install, &nodes, defaults));
        Some(Certificate {
            name: spec.name.as_ref()?.value.clone(),
            names: spec.domains.iter().map(|domain| domain.value.clone()).collect(),
            key_type: spec.key_type,
            profile: spec.profile.clone(),
            reuse_key: spec.reuse_key,
            sni: spec.sni.clone(),
            nodes: names().map(|name| name.value.clone()).collect(),
            canary,
            discover: discover.map(Arc::new),
            inventory: spec.inventory,
            health: health_of(spec, defaults),
            failover: spec.failover.as_ref().map_or(defaults.failover, |own| own.value),
        })
    });
    let runtime_certificates = runtime_certificates.collect();
    let runtime_nodes: Vec<(Node, Spanned<Host>)> =
        nodes.into_iter().filter_map(|spec| node(spec, &certificates, defaults)).collect();
    endpoints(&runtime_nodes, errors);
    (runtime_certificates, runtime_nodes.into_iter().map(|(node, _)| node).collect(), installs)
}

fn node(spec: NodeSpec, certificates: &[CertificateSpec], defaults: &Defaults) -> Option<(Node, Spanned<Host>)> {
    let first = spec.addresses.first()?.clone();
    let probe = spec.probe.over(&defaults.probe);
    let own = certificates.iter().filter_map(|certificate| {
        let name = certificate.name.as_ref()?.value.clone();
        Some((name, own_probe(&spec, certificate)?.over(&probe).probes()))
    });
    let own_probes = own.collect();
    let node = Node {
        name: spec.name?.value,
        addresses: spec.addresses.into_iter().map(|address| address.value).collect(),
        ssh: spec.ssh.over(&defaults.ssh, spec.host_keys),
        probes: probe.probes(),
        own_probes,
        tags: spec.tags,
        paused_until: spec.paused_until,
        paused_reason: spec.paused_reason,
        windows: spec.windows.unwrap_or_else(|| defaults.windows.clone()),
        health: spec.health,
    };
    Some((node, first))
}

/// The nodes of a further key type are those of the first: their health is checked once.
fn health_of(spec: &CertificateSpec, defaults: &Defaults) -> Option<Health> {
    if spec.written_name.is_some() {
        return Some(Health { enabled: false, ..Health::default() });
    }
    health::merged(spec.health.as_ref(), defaults.health.as_ref())
}

/// How handshakes with this node are made for this certificate.
fn probes_of(spec: &NodeSpec, certificate: &CertificateSpec, defaults: &Defaults) -> Vec<Probe> {
    let probe = spec.probe.over(&defaults.probe);
    own_probe(spec, certificate).map_or_else(|| probe.probes(), |own| own.over(&probe).probes())
}

fn own_probe<'a>(spec: &'a NodeSpec, certificate: &CertificateSpec) -> Option<&'a ProbeSpec> {
    let own = |name: &CertName| spec.own_probes.iter().find(|(written, _)| written == name.as_str());
    let own = certificate.names().filter_map(own).map(|(_, own)| own);
    own.into_iter().find(|own| !matches!(own, ProbeSpec::Nothing))
}

fn unique<'a, T: Ord + 'a>(
    names: impl Iterator<Item = &'a Spanned<T>>,
    text: impl Fn(&T) -> &str,
    what: &str,
    errors: &ConfigErrors<'_>,
) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(&name.value) {
            let why = format!("two {what} have the name {:?}", text(&name.value));
            errors.at(name, why, "name = \"…\", another one");
        }
    }
}

/// Nodes found in DNS are named by their addresses, so that no other node may have such a name.
fn named_by_an_address(certificates: &[CertificateSpec], nodes: &[NodeSpec], errors: &ConfigErrors<'_>) {
    if certificates.iter().all(|spec| spec.discover.is_none()) {
        return;
    }
    for node in nodes {
        let Some((name, ip)) =
            node.name.as_ref().and_then(|name| Some((name, name.value.as_str().parse::<IpAddr>().ok()?)))
        else {
            continue;
        };
        if !node.addresses.iter().any(|address| address.value == Host::Ip(ip)) {
            let what = format!("{ip} is what a node found in DNS would be called, and not this node's address");
            errors.at(name, what, "name = \"…\", another one");
        }
    }
}

/// A name of a certificate leads to a random node: SSH and the probe would reach any of them.
fn own_domain(certificates: &[CertificateSpec], nodes: &[NodeSpec], errors: &ConfigErrors<'_>) {
    let domains: BTreeSet<&str> =
        certificates.iter().flat_map(|spec| &spec.domains).map(|d| d.value.as_str()).collect();
    for address in nodes.iter().flat_map(|spec| &spec.addresses) {
        let Host::Name(name) = &address.value else { continue };
        if domains.contains(name.as_str()) {
            let what = format!("{:?} is a name of a certificate and leads to any of its nodes", name.as_str());
            errors.at(address, what, "this node's own IP address");
        }
    }
}

/// The selected nodes, each once, in the configuration's order.
fn select<'a>(certificate: &CertificateSpec, nodes: &'a [NodeSpec], errors: &ConfigErrors<'_>) -> Vec<&'a NodeSpec> {
    // A selector may refer to a node with an invalid name; a configuration without nodes is reported elsewhere.
    let all_named = !nodes.is_empty() && nodes.iter().all(|node| node.name.is_some());
    for selector in &certificate.selectors {
        if all_named && !nodes.iter().any(|node| matches(node, &selector.value)) {
            let near = near(&selector.value, nodes).map(|near| format!("; did you mean {near:?}?"));
            let what = format!("{:?} matches no node{}", selector.value, near.unwrap_or_default());
            errors.at(selector, what, "the name of a [[node]], \"*\", or \"tag:…\" with a node's tag");
        }
    }
    let selected = |node: &&NodeSpec| certificate.selectors.iter().any(|selector| matches(node, &selector.value));
    nodes.iter().filter(selected).collect()
}

/// The tag or name that is most similar to a selector.
fn near(selector: &str, nodes: &[NodeSpec]) -> Option<String> {
    if let Some(tag) = selector.strip_prefix("tag:") {
        let tags: Vec<&str> = nodes.iter().flat_map(|node| &node.tags).map(String::as_str).collect();
        return nearest(tag, &tags).map(|tag| format!("tag:{tag}"));
    }
    let names = nodes.iter().filter_map(|node| node.name.as_ref()).map(|name| name.value.as_str());
    nearest(selector, &names.collect::<Vec<_>>()).map(str::to_owned)
}

/// The canaries, each once, in order of preference.
fn canaries(written: &[Spanned<String>], selected: &[&NodeSpec], errors: &ConfigErrors<'_>) -> Vec<NodeName> {
    let mut canaries: Vec<NodeName> = Vec::new();
    for selector in written {
        let found = selected.iter().filter(|node| matches(node, &selector.value));
        let found: Vec<&NodeName> = found.filter_map(|node| node.name.as_ref()).map(|name| &name.value).collect();
        if found.is_empty() || selector.value == "*" {
            let what = format!("{:?} is not one of this certificate's nodes", selector.value);
            errors.at(selector, what, "the name of one of its nodes, \"tag:…\", or leave the key out");
            continue;
        }
        for name in found {
            if !canaries.contains(name) {
                canaries.push(name.clone());
            }
        }
    }
    canaries
}

fn matches(node: &NodeSpec, selector: &str) -> bool {
    match selector.strip_prefix("tag:") {
        Some(tag) => node.tags.iter().any(|own| own == tag),
        None => selector == "*" || node.name.as_ref().is_some_and(|name| name.value.as_str() == selector),
    }
}

/// Two nodes must not share an endpoint: a change to one would be seen at the other.
fn endpoints(nodes: &[(Node, Spanned<Host>)], errors: &ConfigErrors<'_>) {
    let mut logins: BTreeMap<(&Host, u16), &NodeName> = BTreeMap::new();
    let mut probed: BTreeMap<(&Host, u16), &NodeName> = BTreeMap::new();
    for (node, first) in nodes {
        if node.every_probe().any(|probe| probe.via == Via::Ssh && probe.quic == Some(true)) {
            let what = format!("{:?} is probed through SSH, which carries TCP alone and no QUIC", node.name.as_str());
            errors.at(first, what, "probe = { quic = false }, or via = \"direct\"");
        }
        if let Some(protocol) =
            node.every_probe().filter(|probe| probe.quic == Some(true)).find_map(|probe| probe.starttls)
        {
            let what = format!(
                "{:?} is probed over QUIC, which no server speaks after {}",
                node.name.as_str(),
                protocol.as_str()
            );
            errors.at(first, what, "quic = false beside starttls, or starttls = \"none\"");
        }
        if let Some(other) = logins.insert((&first.value, node.ssh.port), &node.name) {
            let what = format!(
                "the nodes {:?} and {:?} have one address and one SSH port",
                other.as_str(),
                node.name.as_str()
            );
            errors.at(first, what, "another address, or ssh = { port = … }, or one node instead of two");
            continue;
        }
        // Through SSH a handshake is made with the node's own loopback address, which no other node has.
        let ports: BTreeSet<u16> =
            node.every_probe().filter(|probe| probe.via == Via::Direct).map(|probe| probe.port).collect();
        for (address, port) in node.addresses.iter().flat_map(|address| ports.iter().map(move |port| (address, *port)))
        {
            let Some(other) = probed.insert((address, port), &node.name) else { continue };
            if other != &node.name {
                let what = format!(
                    "a handshake cannot tell the nodes {:?} and {:?} apart: one address, one port",
                    other.as_str(),
                    node.name.as_str()
                );
                errors.at(first, what, "another address, or probe = { port = … }");
            }
        }
    }
}
