//! Who goes first, and what it means when it refuses. A node's refusal is its own word: a single one costs the others
//! nothing but a canary.

use super::{Abort, Action, Before, Gate, Node, Phase, Rollout};
use crate::cert::NodeName;

/// So many nodes that refuse a certificate, each by itself, before any node has proven it, say that it is the certificate's
/// doing: one alone may be broken, or in somebody else's hands.
pub(in crate::plan) const INDEPENDENT: usize = 2;

impl Rollout {
    /// The operator's canary when it is fit; else the first that is prepared, passes its test and serves a valid
    /// certificate. When nobody is fit and everybody has answered (a fleet's first install): the least unfit, and one that
    /// failed before only when there is no other.
    pub(super) fn choose(&self) -> Option<NodeName> {
        let preparing = self.nodes.iter().any(|node| node.phase == Phase::Preparing);
        if let Some(wanted) = &self.wanted_canary {
            match self.phase(wanted) {
                _ if self.nodes.iter().any(|node| &node.name == wanted && node.last) => {}
                Some(Phase::Ready { test_ok: true }) => return Some(wanted.clone()),
                // When nobody prepares and it still waits for a session, those who would wait for it hold them all.
                Some(Phase::Queued | Phase::Preparing) if preparing => return None,
                _ => {}
            }
        }
        let fit =
            |node: &&Node| node.phase == Phase::Ready { test_ok: true } && node.before == Before::Valid && !node.last;
        if let Some(node) = self.nodes.iter().find(fit) {
            return Some(node.name.clone());
        }
        if preparing {
            return None;
        }
        let rank = |node: &Node| match node.phase {
            Phase::Ready { test_ok } => Some((!node.last, test_ok, node.before)),
            _ => None,
        };
        // `max_by_key` gives the last of equals; the first is the configuration's order.
        let best = self.nodes.iter().rev().filter_map(|node| Some((rank(node)?, node))).max_by_key(|(rank, _)| *rank);
        best.map(|(_, node)| node.name.clone())
    }

    pub(super) fn is_canary(&self, node: &NodeName) -> bool {
        matches!(&self.gate, Gate::Closed { canary: Some(canary) } if canary == node)
    }

    /// A canary that refuses our certificate makes room for another one; a second node that does ends the rollout. Once
    /// the certificate is proven, more than the configuration allows do.
    pub(super) fn count_ours(&mut self, node: &NodeName, actions: &mut Vec<Action>) {
        self.ours += 1;
        self.refused.insert(node.clone());
        let over = match self.gate {
            Gate::Open => self.ours > self.stop_after,
            _ => self.refused.len() >= INDEPENDENT.min(self.stop_after + 1),
        };
        if over {
            self.spare(Abort::OursAt(node.clone()), actions);
        }
    }

    /// Who has time waits; who has none goes on, one after the other.
    fn spare(&mut self, why: Abort, actions: &mut Vec<Action>) {
        if !self.nodes.iter().any(|node| node.hurry && node.waits()) {
            return self.shut(why, actions);
        }
        self.abort(&why, actions, |node| !node.hurry);
    }
}
