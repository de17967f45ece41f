//! The settings of each pair of certificate and node, and the check that no two pairs share a file.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::certificate::CertificateSpec;
use super::discover::DiscoverSpec;
use super::error::ConfigErrors;
use super::fleet::Defaults;
use super::install::{InstallSpec, Resolved};
use super::node::NodeSpec;
use super::ssh::SshSpec;
use super::written::Spanned;
use super::{Discover, Install, Installs};
use crate::cert::{CertName, NodeName};

/// Settings for one certificate on one node must belong to an existing pair.
pub(super) fn own_installs(
    certificates: &[CertificateSpec],
    selected: &[Vec<&NodeSpec>],
    nodes: &[NodeSpec],
    errors: &ConfigErrors<'_>,
) {
    let any_own = nodes.iter().any(|node| !node.certificates.is_empty());
    if !any_own || certificates.iter().any(|spec| spec.name.is_none()) {
        return;
    }
    let pairs: BTreeSet<(&str, *const NodeSpec)> = certificates
        .iter()
        .zip(selected)
        .flat_map(|(spec, selected)| {
            let any = spec.discover.is_some();
            let here = selected.iter().copied().filter(move |_| !any).chain(nodes.iter().filter(move |_| any));
            here.filter_map(|node| Some((spec.name.as_ref()?.value.as_str(), core::ptr::from_ref(node))))
        })
        .collect();
    for node in nodes {
        for (written, _) in &node.certificates {
            if !pairs.contains(&(written.value.as_str(), core::ptr::from_ref(node))) {
                let what = format!("no certificate {:?} selects this node", written.value);
                errors.at(written, what, "the name of a [[certificate]] whose `nodes` select this node");
            }
        }
    }
}

pub(super) fn installs(
    certificates: &[CertificateSpec],
    selected: &[Vec<&NodeSpec>],
    defaults: &Defaults,
    errors: &ConfigErrors<'_>,
) -> Installs {
    let mut installs = Installs::default();
    let mut files = Files::default();
    let mut missing = BTreeSet::new();
    for (spec, selected) in certificates.iter().zip(selected) {
        let Some(name) = spec.name.as_ref().map(|name| &name.value) else { continue };
        // One for all nodes that have no settings of their own: a large fleet is not as many copies of one.
        let mut before: Option<Arc<Install>> = None;
        for node in selected {
            let Some(node_name) = node.name.as_ref().map(|name| &name.value) else { continue };
            if installs.of(node_name, name).is_some() {
                continue; // The duplicate name was reported.
            }
            let layers = layers(spec, node, defaults);
            match InstallSpec::resolve(&layers, &spec.filled(name)) {
                Ok(resolved) => {
                    files.claim(&resolved, node_name, spec, errors);
                    let same = before.take().filter(|before| **before == resolved.install);
                    let install = same.unwrap_or_else(|| Arc::new(resolved.install));
                    installs.insert((node_name.clone(), name.clone()), Arc::clone(&install));
                    before = Some(install);
                }
                Err(_) if layers.iter().any(|layer| layer.flawed) => {}
                Err(keys) => {
                    for (key, write) in keys.into_iter().filter(|(key, _)| missing.insert(*key)) {
                        let what = format!(
                            "is missing for the certificate {:?} on the node {:?}",
                            name.as_str(),
                            node_name.as_str()
                        );
                        errors.add(None, &format!("install.{key}"), what, format!("[install]\n{write}"));
                    }
                }
            }
        }
    }
    files.finish(errors);
    installs
}

/// The highest first. A node's own settings for the certificate of a further key type may be those of the section.
fn layers<'a>(spec: &'a CertificateSpec, node: &'a NodeSpec, defaults: &'a Defaults) -> Vec<&'a InstallSpec> {
    let own = |name: &CertName| node.certificates.iter().find(|(written, _)| written.value == name.as_str());
    let own = spec.names().filter_map(own).map(|(_, own)| own);
    own.chain([&node.install, &spec.install, &defaults.install]).collect()
}

/// The settings of nodes found in DNS, and those of each `[[node]]`, should it be one of them.
pub(super) fn discover(
    spec: &CertificateSpec,
    written: &DiscoverSpec,
    install: Arc<Install>,
    nodes: &[NodeSpec],
    defaults: &Defaults,
) -> Discover {
    let own = |node: &NodeSpec| {
        let filled = spec.filled(&spec.name.as_ref()?.value);
        let resolved = InstallSpec::resolve(&layers(spec, node, defaults), &filled).ok()?;
        Some((node.name.as_ref()?.value.clone(), Arc::new(resolved.install)))
    };
    Discover {
        name: written.name.value.clone(),
        families: written.families,
        host_keys: written.host_keys.clone(),
        ssh: SshSpec::default().over(&defaults.ssh, Vec::new()),
        probes: defaults.probe.probes(),
        windows: defaults.windows.clone(),
        install,
        own: nodes.iter().filter_map(own).collect(),
    }
}

/// A canary among nodes found in DNS: an address, or the name of a `[[node]]` that may have one.
pub(super) fn found_canary(
    written: &Spanned<String>,
    nodes: &[NodeSpec],
    errors: &ConfigErrors<'_>,
) -> Option<NodeName> {
    let known = nodes.iter().any(|node| node.name.as_ref().is_some_and(|name| name.value.as_str() == written.value));
    let address = written.value.parse::<IpAddr>();
    if !known && address.is_err() {
        let what = format!("{:?} is neither an IP address nor the name of a node", written.value);
        return errors.none(written, what, "the address of one of the nodes, or leave the key out");
    }
    NodeName::parse(&address.map_or_else(|_| written.value.clone(), |address| address.to_string())).ok()
}

/// A certificate and one of its files ("chain", "key", …).
type Use = (CertName, &'static str);

#[derive(Default)]
struct Files {
    taken: BTreeMap<(NodeName, String), Use>,
    /// Files that are only read, each with the path of a PKCS#12 file that it is for.
    passwords: BTreeMap<(NodeName, String), Spanned<String>>,
    /// Conflicts reported, once for all nodes.
    reported: BTreeSet<(Use, Use)>,
}

impl Files {
    /// Of any certificate.
    fn finish(self, errors: &ConfigErrors<'_>) {
        let mut reported = BTreeSet::new();
        for ((node, path), written) in &self.passwords {
            if self.taken.contains_key(&(node.clone(), path.clone())) && reported.insert(path) {
                let what = format!("the password in {path:?} would be written over");
                errors.at(written, what, "a path of its own for each");
            }
        }
    }

    fn claim(&mut self, pair: &Resolved<'_>, node: &NodeName, spec: &CertificateSpec, errors: &ConfigErrors<'_>) {
        let Some(name) = spec.name.as_ref().map(|name| &name.value) else { return };
        let Resolved { install, fullchain, key, chain, combined, forms } = pair;
        if let (Some(pkcs12), Some((_, written))) = (&install.forms.pkcs12, forms.last()) {
            let at = (node.clone(), pkcs12.password_file.clone());
            self.passwords.entry(at).or_insert_with(|| (*written).clone());
        }
        let pairs = [
            Some(("chain", &install.fullchain, *fullchain)),
            Some(("key", &install.key, *key)),
            install.chain.as_ref().zip(*chain).map(|(path, written)| ("bare chain", path, written)),
            install.combined.as_ref().zip(*combined).map(|(path, written)| ("combined file", path, written)),
        ];
        let forms = install.forms.paths().zip(forms).map(|(path, (file, written))| (*file, path, *written));
        for (file, path, written) in pairs.into_iter().flatten().chain(forms) {
            let ours = (name.clone(), file);
            let earlier = self.taken.insert((node.clone(), path.clone()), ours.clone());
            let Some(other) = earlier.filter(|earlier| self.reported.insert((earlier.clone(), ours.clone()))) else {
                continue;
            };
            if other.0 == *name {
                let what = format!("{path:?} would hold both the {} and the {file}", other.1);
                errors.at(written, what, "a path of its own for each");
                continue;
            }
            let both = format!("the {} of {:?} and the {file} of {:?}", other.1, other.0.as_str(), name.as_str());
            let what = format!("on the node {:?}, {path:?} would hold {both}", node.as_str());
            let write = match spec.written_name.as_ref() == Some(&other.0) {
                true => "a path with {key_type} in it",
                false => "a path with {name} in it, or a path of its own for each certificate",
            };
            errors.at(written, what, write);
        }
    }
}
