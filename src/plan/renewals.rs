//! Which of the certificates that other ACME clients on a node renew concern certd: by its names, or by the paths that it
//! delivers to. Those of other names are nobody's business.

use std::collections::BTreeSet;

use crate::cert::{DnsName, NodeName};
use crate::config::Config;
use crate::model::Renewal;

pub fn ours(config: &Config, node: &NodeName, found: Vec<Renewal>) -> Vec<Renewal> {
    let of_node = config.certificates.iter().filter(|certificate| certificate.nodes.contains(node));
    let (mut names, mut paths): (BTreeSet<&DnsName>, BTreeSet<&String>) = (BTreeSet::new(), BTreeSet::new());
    for certificate in of_node {
        names.extend(certificate.names.iter());
        if let Some(install) = config.install(node, &certificate.name) {
            paths.extend(install.paths());
        }
    }
    let ours = |renewal: Renewal| {
        let (names, others) = renewal.others.into_iter().partition(|name| names.contains(name));
        let (paths, elsewhere) = renewal.paths.into_iter().partition(|path| paths.contains(path));
        Renewal { names, others, paths, elsewhere, ..renewal }
    };
    found.into_iter().map(ours).filter(|renewal| !renewal.names.is_empty() || !renewal.paths.is_empty()).collect()
}
