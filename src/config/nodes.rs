//! The nodes of a configuration.

use core::ops::Deref;
use std::collections::BTreeMap;

use super::Node;
use crate::cert::NodeName;

/// In the order of the configuration; found by name without a look at all of them.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    all: Vec<Node>,
    places: BTreeMap<NodeName, usize>,
}

impl Nodes {
    /// Of two with one name, the first is found.
    pub fn push(&mut self, node: Node) {
        self.places.entry(node.name.clone()).or_insert(self.all.len());
        self.all.push(node);
    }

    pub fn named(&self, name: &NodeName) -> Option<&Node> {
        self.all.get(*self.places.get(name)?)
    }
}

impl Deref for Nodes {
    type Target = [Node];

    fn deref(&self) -> &[Node] {
        &self.all
    }
}

impl FromIterator<Node> for Nodes {
    fn from_iter<T: IntoIterator<Item = Node>>(nodes: T) -> Self {
        let mut all = Self::default();
        nodes.into_iter().for_each(|node| all.push(node));
        all
    }
}

impl<'a> IntoIterator for &'a Nodes {
    type Item = &'a Node;
    type IntoIter = core::slice::Iter<'a, Node>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}
