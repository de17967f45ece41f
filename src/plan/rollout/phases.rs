//! The phase of each node, which the tally follows.

use super::{Before, Node, Outcome, Phase, Rollout};
use crate::cert::NodeName;

impl Rollout {
    pub(super) fn before(&self, name: &NodeName) -> Before {
        self.node(name).map_or(Before::Silent, |node| node.before)
    }

    pub(super) fn phase(&self, name: &NodeName) -> Option<&Phase> {
        self.node(name).map(|node| &node.phase)
    }

    pub(super) fn node(&self, name: &NodeName) -> Option<&Node> {
        self.nodes.get(*self.places.get(name)?)
    }

    /// An ended phase is final: an answer that crosses an abort changes nothing.
    pub(super) fn set(&mut self, name: &NodeName, phase: Phase) {
        if let Some(place) = self.places.get(name) {
            self.change(*place, phase);
        }
    }

    pub(super) fn change(&mut self, place: usize, phase: Phase) {
        let node = &mut self.nodes[place];
        if matches!(node.phase, Phase::Ended(_)) {
            return;
        }
        self.tally.leave(place, node);
        node.phase = phase;
        self.tally.enter(place, node);
    }

    pub(super) fn end(&mut self, name: &NodeName, outcome: Outcome) {
        self.set(name, Phase::Ended(outcome));
    }
}
