//! Choice of the canary, and what a refusal means. A refusal is one node's claim: a single one costs the others no more
//! than a canary.

use super::{Abort, Action, Gate, Phase, Rollout};
use crate::cert::NodeName;

/// When this many nodes refuse a certificate independently, before any node has proven it, the certificate is at fault:
/// a single node may be broken or compromised.
pub(in crate::plan) const INDEPENDENT: usize = 2;

impl Rollout {
    /// The configured canary when it is fit; else the first node that is prepared, passes its test and serves a valid
    /// certificate. When no node is fit and all have answered (a fleet's first install): the least unfit, and one that
    /// failed before only as a last resort.
    pub(super) fn choose(&self) -> Option<NodeName> {
        let preparing = self.tally.any_preparing();
        if let Some(wanted) = &self.wanted_canary {
            match self.phase(wanted) {
                _ if self.node(wanted).is_some_and(|node| node.last) => {}
                Some(Phase::Ready { test_ok: true }) => return Some(wanted.clone()),
                // When no node is preparing and the canary is still queued, the nodes that would wait for it hold all
                // sessions.
                Some(Phase::Queued | Phase::Preparing) if preparing => return None,
                _ => {}
            }
        }
        let (place, fit) = self.tally.fittest()?;
        (fit || !preparing).then(|| self.nodes[place].name.clone())
    }

    pub(super) fn is_canary(&self, node: &NodeName) -> bool {
        matches!(&self.gate, Gate::Closed { canary: Some(canary) } if canary == node)
    }

    /// After a canary refuses our certificate another is chosen; a second refusal ends the rollout. Once the
    /// certificate is proven, the rollout ends when more nodes refuse than the configuration allows.
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

    /// Aborts the nodes that have time; those whose certificate ends soon go on, one after the other.
    fn spare(&mut self, why: Abort, actions: &mut Vec<Action>) {
        if !self.tally.any_hurried() {
            return self.shut(why, actions);
        }
        self.abort(&why, actions, self.tally.patient());
    }
}
