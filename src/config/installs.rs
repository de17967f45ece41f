//! Where and how each certificate is installed on each of its nodes.

use core::ops::Index;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Install;
use crate::cert::{CertName, NodeName};

/// By pair, with all layers merged. Found by node and certificate without a copy of either name.
#[derive(Clone, Debug, Default)]
pub struct Installs(BTreeMap<NodeName, BTreeMap<CertName, Arc<Install>>>);

impl Installs {
    pub fn of(&self, node: &NodeName, certificate: &CertName) -> Option<&Arc<Install>> {
        self.0.get(node)?.get(certificate)
    }

    pub fn of_node(&self, node: &NodeName) -> Option<&BTreeMap<CertName, Arc<Install>>> {
        self.0.get(node)
    }

    pub fn get(&self, (node, certificate): &(NodeName, CertName)) -> Option<&Arc<Install>> {
        self.of(node, certificate)
    }

    pub fn insert(&mut self, (node, certificate): (NodeName, CertName), install: Arc<Install>) {
        self.0.entry(node).or_default().insert(certificate, install);
    }

    pub(super) fn remove(&mut self, node: &NodeName, certificate: &CertName) -> Option<Arc<Install>> {
        let of_node = self.0.get_mut(node)?;
        let removed = of_node.remove(certificate);
        if of_node.is_empty() {
            self.0.remove(node);
        }
        removed
    }

    /// By node, and for each by certificate.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeName, &CertName, &Arc<Install>)> {
        self.0.iter().flat_map(|(node, of_node)| of_node.iter().map(move |(name, install)| (node, name, install)))
    }

    pub fn values(&self) -> impl Iterator<Item = &Arc<Install>> {
        self.iter().map(|(.., install)| install)
    }

    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Index<&(NodeName, CertName)> for Installs {
    type Output = Arc<Install>;

    fn index(&self, (node, certificate): &(NodeName, CertName)) -> &Arc<Install> {
        &self.0[node][certificate]
    }
}
