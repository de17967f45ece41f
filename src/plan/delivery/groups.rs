//! Which certificates make one rollout, and the tasks of its nodes.

use std::collections::BTreeMap;

use super::{Before, Deliver, NodeTask};
use crate::cert::NodeName;
use crate::config::Certificate;

/// Certificates that share a set of nodes travel together.
#[derive(Default)]
pub(super) struct Rollouts<'a> {
    pub(super) groups: Vec<Group<'a>>,
    /// The place of the one that certificates of these nodes share.
    shared: BTreeMap<&'a [NodeName], usize>,
}

#[derive(Default)]
pub(super) struct Group<'a> {
    pub(super) deliver: Deliver,
    /// Where the task of a node is.
    places: BTreeMap<&'a NodeName, usize>,
}

impl<'a> Rollouts<'a> {
    /// The place of the one for this certificate, which begins with it where there is none.
    pub(super) fn of(&mut self, certificate: &'a Certificate, alone: bool) -> usize {
        let Self { groups, shared } = self;
        let mut fresh = || {
            groups.push(Group::default());
            groups.len() - 1
        };
        if alone { fresh() } else { *shared.entry(&certificate.nodes).or_insert_with(fresh) }
    }
}

impl<'a> Group<'a> {
    pub(super) fn task(&mut self, node: &'a NodeName, before: Before) -> &mut NodeTask {
        let tasks = &mut self.deliver.nodes;
        let place = *self.places.entry(node).or_insert_with(|| {
            tasks.push(NodeTask::new(node.clone(), before));
            tasks.len() - 1
        });
        &mut tasks[place]
    }
}
