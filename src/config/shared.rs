//! Several certificates for one name at one server. It has one pair of each key algorithm, and a client's offer decides
//! which one it gets: an ECDSA and an RSA certificate can be served, and proven, beside each other. Of two with the same
//! algorithm the server shows one, and the other would be delivered and taken back in every run.

use std::collections::BTreeSet;

use super::certificate::CertificateSpec;
use super::error::ConfigErrors;
use super::node::NodeSpec;
use crate::cert::{DnsName, NodeName};

/// `selected`: the nodes of each certificate. `meet`: whether handshakes for both are made with one server of the node.
pub(super) fn check(
    certificates: &[CertificateSpec],
    selected: &[Vec<&NodeSpec>],
    meet: impl Fn(&NodeSpec, &CertificateSpec, &CertificateSpec) -> bool,
    errors: &ConfigErrors<'_>,
) {
    let all: Vec<_> = certificates.iter().zip(selected).collect();
    for (index, (later, its_nodes)) in all.iter().enumerate() {
        for (earlier, nodes) in &all[..index] {
            let (Some(name), Some(other)) = (&later.name, &earlier.name) else { continue };
            if name.value == other.value || later.key_type.algorithm() != earlier.key_type.algorithm() {
                continue;
            }
            let Some(sni) = later.sni.iter().find(|sni| earlier.sni.contains(sni)) else { continue };
            let meet = |node: &NodeSpec| meet(node, later, earlier);
            let Some(place) = common_node(later, its_nodes, earlier, nodes, meet) else { continue };
            let (algorithm, name_text, other) = (later.key_type.algorithm(), name.value.as_str(), other.value.as_str());
            let what = format!(
                "a handshake with {place} for {:?} cannot tell {other:?} and {name_text:?} apart: both keys are \
                 {algorithm}, and a server shows one of them",
                sni.as_str()
            );
            errors.at(name, what, write(later, sni));
        }
    }
}

fn common_node(
    one: &CertificateSpec,
    its_nodes: &[&NodeSpec],
    other: &CertificateSpec,
    nodes: &[&NodeSpec],
    meet: impl Fn(&NodeSpec) -> bool,
) -> Option<String> {
    match (&one.discover, &other.discover) {
        (Some(one), Some(other)) => {
            let common = one.name.value == other.name.value && one.families.overlap(other.families);
            common.then(|| format!("the nodes of {:?}", one.name.value.as_str()))
        }
        (None, None) => {
            let nodes: BTreeSet<*const NodeSpec> = nodes.iter().map(|node| core::ptr::from_ref(*node)).collect();
            let common = its_nodes.iter().filter(|node| nodes.contains(&core::ptr::from_ref(**node)));
            let mut common = common.filter(|node| meet(node));
            common.find_map(|node| node.name.as_ref()).map(|name| node_text(&name.value))
        }
        // Which nodes DNS names is not known yet: they are left out when it is.
        _ => None,
    }
}

fn node_text(name: &NodeName) -> String {
    format!("the node {:?}", name.as_str())
}

fn write(later: &CertificateSpec, sni: &DnsName) -> String {
    let own = later.domains.iter().find(|domain| !domain.value.is_wildcard() && domain.value != *sni);
    let wildcard = later.domains.iter().find(|domain| domain.value.is_wildcard());
    let sni = match (own, wildcard) {
        (Some(own), _) => {
            format!(", or probe = {{ sni = [{:?}] }} if the server has it for that name", own.value.as_str())
        }
        (None, Some(wildcard)) => {
            format!(", or probe = {{ sni = [\"www.{}\"] }} if the server has it for such names", wildcard.value.base())
        }
        (None, None) => String::new(),
    };
    format!("one certificate with all names, other nodes or ports, or an ECDSA and an RSA `key_type`{sni}")
}
