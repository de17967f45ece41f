//! The rollout, a machine: prepare everywhere, commit one, verify, open the gate.
//!
//! The promise: *nothing but the canary changes before the canary is verified.* There is no barrier: all nodes prepare
//! at once, and each commits as soon as it is prepared and the gate is open.

mod canary;
mod phases;
mod tally;
#[cfg(test)]
mod tests;

pub(super) use canary::INDEPENDENT;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::cert::NodeName;
use crate::model::{Committed, ConfigTest, Finding, Prepared, ProbeError};

use super::{Before, Deliver};
use tally::Tally;

/// Why a node is not touched: there is nothing to switch, and nothing to verify.
const UNSEEN: &str = "its files are the right ones already, and no handshake with it can be made";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Event {
    /// A session was opened; until then the node is queued.
    Started(NodeName),
    Prepared(NodeName, Prepared),
    /// Failed before the commit: nothing was changed.
    Failed(NodeName, Finding),
    Committed(NodeName, Committed),
    /// The connection ended after the commit was sent: the state is unknown.
    Lost(NodeName, Finding),
    Verified(NodeName, Verdict),
    /// The answer to a rollback after the handshake, and whether TLS answers since.
    Restored(NodeName, Restored),
    /// The process received a stop signal.
    Stop,
    /// The process ends now: committed nodes finish by themselves, and their outcome stays unknown.
    Abandon(Finding),
}

/// Result of fresh handshakes after the reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    Expected,
    /// Another certificate is still served.
    Other {
        what: String,
    },
    /// TCP serves the new certificate everywhere, which proves it; QUIC serves another: the server keeps it until it is
    /// restarted (Caddy 2.6), or it is another server. Going back would only change what TCP serves.
    Lingers {
        what: String,
    },
    /// The server still has no pair of this key algorithm, as before, and shows its others: it does not read the new one
    /// yet.
    Absent {
        what: String,
    },
    Silent(ProbeError),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Whether the node went back; `Err`: why not.
    pub went_back: Result<(), Finding>,
    pub serves: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    Commit(NodeName),
    Abort(NodeName),
    Verify(NodeName),
    Done(NodeName),
    Rollback(NodeName),
}

impl Action {
    pub fn node(&self) -> &NodeName {
        match self {
            Self::Commit(node) | Self::Abort(node) | Self::Verify(node) | Self::Done(node) | Self::Rollback(node) => {
                node
            }
        }
    }
}

/// Outcome for one node. Only `Served` is success (I3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Served,
    /// Nothing was changed.
    Failed {
        failure: Finding,
    },
    /// The connection was lost after the commit: the next pass reads the state again.
    Unknown {
        failure: Finding,
    },
    /// The node went back by itself: its test or reload refuses our certificate and accepts the former one.
    RolledBack {
        output: String,
    },
    /// The configuration test fails with and without our change.
    BrokenBefore {
        output: String,
    },
    /// The files are in place; the server is not running.
    Placed {
        output: String,
    },
    /// The files are in place; the reload command fails, while the server serves.
    ReloadFails {
        output: String,
    },
    /// Switched and kept, although no handshake proves it.
    Unverified {
        why: String,
        /// The handshakes over TCP prove it, and those over QUIC show another certificate.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        over_quic: bool,
    },
    /// Switched and kept; all is proven but certificates of a key algorithm of which the server reads no pair yet.
    Absent {
        why: String,
    },
    /// The handshake showed something else, and the node was rolled back.
    Undone {
        why: String,
        not_back: Option<Finding>,
        serves: bool,
    },
    /// Prepared, but not changed.
    Aborted {
        why: Abort,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Abort {
    /// A node refused our certificate, so no other node gets it.
    OursAt(NodeName),
    Interrupted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Queued,
    Preparing,
    Ready { test_ok: bool },
    Committing,
    Verifying,
    RollingBack { why: String, ours: bool },
    Ended(Outcome),
}

#[derive(Clone, Debug)]
struct Node {
    name: NodeName,
    before: Before,
    /// The node failed with this generation before, and becomes canary last.
    last: bool,
    /// What the node serves ends soon: other nodes' refusals do not hold it up.
    hurry: bool,
    phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Gate {
    /// Closed until the canary is verified; `None`: no canary is chosen yet.
    Closed {
        canary: Option<NodeName>,
    },
    Open,
    Shut(Abort),
}

#[derive(Clone, Debug)]
pub struct Rollout {
    nodes: Vec<Node>,
    /// Where a node is among these.
    places: BTreeMap<NodeName, usize>,
    tally: Tally,
    wanted_canary: Option<NodeName>,
    gate: Gate,
    /// Rollbacks caused by our certificate; more than `stop_after` close the gate again.
    ours: usize,
    stop_after: usize,
    /// Nodes that refused the certificate, now or in an earlier rollout.
    refused: BTreeSet<NodeName>,
}

impl Rollout {
    pub fn new(deliver: &Deliver) -> Self {
        let node = |task: &super::NodeTask| Node {
            name: task.node.clone(),
            before: task.before,
            last: task.failed_before,
            hurry: task.hurry,
            phase: Phase::Queued,
        };
        let nodes: Vec<Node> = deliver.nodes.iter().map(node).collect();
        let mut tally = Tally::default();
        nodes.iter().enumerate().for_each(|(place, node)| tally.enter(place, node));
        Self {
            places: nodes.iter().enumerate().rev().map(|(place, node)| (node.name.clone(), place)).collect(),
            tally,
            nodes,
            wanted_canary: deliver.canary.clone(),
            gate: Gate::Closed { canary: None },
            ours: 0,
            stop_after: deliver.stop_after,
            refused: deliver.refused.clone(),
        }
    }

    /// Outcomes of the nodes that have ended.
    pub fn outcomes(&self) -> impl Iterator<Item = (&NodeName, &Outcome)> {
        self.nodes.iter().filter_map(|node| match &node.phase {
            Phase::Ended(outcome) => Some((&node.name, outcome)),
            _ => None,
        })
    }

    pub fn on(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Stop => self.shut(Abort::Interrupted, &mut actions),
            Event::Abandon(failure) => self.abandon(&failure, &mut actions),
            Event::Started(node) => self.set(&node, Phase::Preparing),
            // The disk is right already, and no handshake is possible: a reload in every pass would prove nothing.
            Event::Prepared(node, prepared) if self.before(&node) == Before::Silent && prepared.is_unchanged() => {
                actions.push(Action::Abort(node.clone()));
                self.end(&node, Outcome::Unverified { why: UNSEEN.into(), over_quic: false });
            }
            Event::Prepared(node, prepared) => {
                self.set(&node, Phase::Ready { test_ok: prepared.test == ConfigTest::Ok });
            }
            Event::Failed(node, failure) => self.end(&node, Outcome::Failed { failure }),
            Event::Lost(node, failure) => self.end(&node, Outcome::Unknown { failure }),
            Event::Committed(node, committed) => self.committed(node, committed, &mut actions),
            Event::Verified(node, verdict) => self.verified(node, verdict, &mut actions),
            Event::Restored(node, restored) => self.restored(&node, restored, &mut actions),
        }
        self.advance(&mut actions);
        actions
    }

    fn committed(&mut self, node: NodeName, committed: Committed, actions: &mut Vec<Action>) {
        match committed {
            Committed::Committed => {
                self.set(&node, Phase::Verifying);
                actions.push(Action::Verify(node));
            }
            Committed::RolledBack { output } => {
                actions.push(Action::Done(node.clone()));
                self.end(&node, Outcome::RolledBack { output });
                self.count_ours(&node, actions);
            }
            Committed::BrokenBefore { output } => {
                actions.push(Action::Done(node.clone()));
                self.end(&node, Outcome::BrokenBefore { output });
            }
            Committed::Placed { output } => {
                actions.push(Action::Done(node.clone()));
                self.end(&node, Outcome::Placed { output });
            }
            Committed::ReloadFails { output } => {
                actions.push(Action::Done(node.clone()));
                self.end(&node, Outcome::ReloadFails { output });
            }
        }
    }

    fn verified(&mut self, node: NodeName, verdict: Verdict, actions: &mut Vec<Action>) {
        let before = self.before(&node);
        // Going back helps only when clients accept what was served before.
        let worth_it = before == Before::Valid;
        let (why, ours) = match verdict {
            Verdict::Expected => {
                if self.is_canary(&node) {
                    self.gate = Gate::Open;
                }
                actions.push(Action::Done(node.clone()));
                return self.end(&node, Outcome::Served);
            }
            // The node does not read these paths, or its reload does nothing: the node's fault, not our certificate's.
            Verdict::Other { what } if worth_it => (what, false),
            // TLS answered before and fails now, although the test passed: our certificate's fault.
            Verdict::Silent(silence) if worth_it && gone(&silence) => (silence.to_string(), true),
            Verdict::Lingers { what } => {
                // The certificate is proven over TCP; what QUIC shows is this server's own matter.
                if self.is_canary(&node) {
                    self.gate = Gate::Open;
                }
                actions.push(Action::Done(node.clone()));
                return self.end(&node, Outcome::Unverified { why: what, over_quic: true });
            }
            Verdict::Absent { what } => {
                actions.push(Action::Done(node.clone()));
                return self.end(&node, Outcome::Absent { why: what });
            }
            Verdict::Other { what } => {
                actions.push(Action::Done(node.clone()));
                return self.end(&node, Outcome::Unverified { why: what, over_quic: false });
            }
            Verdict::Silent(silence) => {
                actions.push(Action::Done(node.clone()));
                return self.end(&node, Outcome::Unverified { why: silence.to_string(), over_quic: false });
            }
        };
        self.set(&node, Phase::RollingBack { why, ours });
        actions.push(Action::Rollback(node));
    }

    fn restored(&mut self, node: &NodeName, restored: Restored, actions: &mut Vec<Action>) {
        let Some(Phase::RollingBack { why, ours }) = self.phase(node).cloned() else { return };
        let Restored { went_back, serves } = restored;
        self.end(node, Outcome::Undone { why, not_back: went_back.err(), serves });
        if ours {
            self.count_ours(node, actions);
        }
    }

    fn shut(&mut self, why: Abort, actions: &mut Vec<Action>) {
        self.abort(&why, actions, self.tally.waiting());
        self.gate = Gate::Shut(why);
    }

    fn abort(&mut self, why: &Abort, actions: &mut Vec<Action>, places: Vec<usize>) {
        for place in places {
            self.change(place, Phase::Ended(Outcome::Aborted { why: why.clone() }));
            actions.push(Action::Abort(self.nodes[place].name.clone()));
        }
    }

    fn abandon(&mut self, failure: &Finding, actions: &mut Vec<Action>) {
        self.shut(Abort::Interrupted, actions);
        for place in 0..self.nodes.len() {
            let failure = Finding { object: self.nodes[place].name.to_string(), ..failure.clone() };
            self.change(place, Phase::Ended(Outcome::Unknown { failure }));
        }
    }

    /// Commits every node that may be committed now, and chooses a canary when there is none.
    fn advance(&mut self, actions: &mut Vec<Action>) {
        match &self.gate {
            Gate::Shut(_) => {}
            Gate::Open => {
                for place in self.tally.ready() {
                    self.change(place, Phase::Committing);
                    actions.push(Action::Commit(self.nodes[place].name.clone()));
                }
            }
            Gate::Closed { canary } => {
                let busy = canary.as_ref().and_then(|canary| self.phase(canary));
                if busy.is_some_and(|phase| !matches!(phase, Phase::Ended(_))) {
                    return;
                }
                let Some(canary) = self.choose() else { return };
                self.set(&canary, Phase::Committing);
                self.gate = Gate::Closed { canary: Some(canary.clone()) };
                actions.push(Action::Commit(canary));
            }
        }
    }
}

/// Whether the server runs but does not serve: the port is closed, or TLS fails on it, or is not spoken any more. A timeout
/// shows neither.
pub fn gone(silence: &ProbeError) -> bool {
    matches!(
        silence,
        ProbeError::Refused | ProbeError::Tls(_) | ProbeError::Unspoken(_) | ProbeError::NothingInCommon(_)
    )
}
