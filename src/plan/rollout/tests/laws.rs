//! What must hold of every rollout, whatever its nodes do and in whatever order: thousands of histories, drawn.

use std::collections::{BTreeMap, BTreeSet};

use crate::cert::CertName;
use crate::model::{Advice, Base, Code};
use crate::plan::NodeTask;
use crate::plan::rollout::*;
use crate::plan::tests::Draw;

const HISTORIES: u64 = 5_000;

/// The state of the fleet: what the sessions would be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Waits,
    Prepares,
    /// Prepared, without an action yet.
    Ready,
    Commits,
    Verifies,
    GoesBack,
    Over,
}

struct History {
    seed: u64,
    draw: Draw,
    rollout: Rollout,
    before: BTreeMap<NodeName, Before>,
    nodes: BTreeMap<NodeName, Doing>,
    stop_after: usize,
    /// Nodes at which something was changed, in that order.
    changed: Vec<NodeName>,
    /// The gate is open: one that was changed was verified.
    verified: bool,
    /// Refusals whose cause is our certificate. TLS that is gone counts as one once the node went back.
    refused: usize,
    /// Nodes that refused it before anybody had proven it, and those of an earlier rollout.
    unproven: BTreeSet<NodeName>,
    hurry: BTreeSet<NodeName>,
    /// From then on nothing may be committed.
    stopped: bool,
    actions_seen: BTreeMap<NodeName, BTreeSet<String>>,
}

fn start(seed: u64) -> History {
    let mut draw = Draw(seed);
    let befores = [Before::Valid, Before::Valid, Before::Valid, Before::Broken, Before::Nothing, Before::Silent];
    let count = 1 + draw.number(12);
    let tasks: Vec<NodeTask> = (0..count)
        .map(|number| {
            let name = NodeName::parse(&format!("n{number}")).unwrap();
            let mut task = NodeTask::new(name, befores[usize::try_from(draw.number(6)).unwrap()]);
            (task.failed_before, task.hurry) = (draw.chance(4), draw.chance(8));
            task
        })
        .collect();
    let nodes: Vec<NodeName> = tasks.iter().map(|task| task.node.clone()).collect();
    let canary = draw.chance(3).then(|| nodes[usize::try_from(draw.number(count)).unwrap()].clone());
    let stop_after = usize::try_from(draw.number(3)).unwrap();
    let refused: BTreeSet<NodeName> =
        tasks.iter().filter(|task| task.failed_before && draw.chance(2)).map(|task| task.node.clone()).collect();
    let hurry = tasks.iter().filter(|task| task.hurry).map(|task| task.node.clone()).collect();
    let before = tasks.iter().map(|task| (task.node.clone(), task.before)).collect();
    let deliver = Deliver { nodes: tasks, canary, stop_after, refused: refused.clone(), ..Deliver::default() };
    let rollout = Rollout::new(&deliver);
    History {
        seed,
        draw,
        rollout,
        before,
        nodes: nodes.into_iter().map(|node| (node, Doing::Waits)).collect(),
        stop_after,
        changed: Vec::new(),
        verified: false,
        unproven: refused,
        hurry,
        refused: 0,
        stopped: false,
        actions_seen: BTreeMap::new(),
    }
}

impl History {
    fn play(&mut self) {
        let patience = 40 * self.nodes.len();
        for _ in 0..patience {
            let active: Vec<NodeName> =
                self.nodes.iter().filter(|(_, doing)| self.may_speak(**doing)).map(|(n, _)| n.clone()).collect();
            if active.is_empty() {
                break;
            }
            if self.draw.chance(60) {
                self.stopped = true;
                self.tell(Event::Stop);
                continue;
            }
            let node = active[usize::try_from(self.draw.number(active.len() as u64)).unwrap()].clone();
            let event = self.event(&node);
            self.tell(event);
        }
        let silent: Vec<_> = self.nodes.iter().filter(|(_, doing)| **doing != Doing::Over).collect();
        assert!(silent.is_empty(), "{}: nobody tells {silent:?} anything any more", self.seed);
        let outcomes: Vec<_> = self.rollout.outcomes().collect();
        assert_eq!(outcomes.len(), self.nodes.len(), "{}: one outcome for each node: {outcomes:?}", self.seed);
        for (node, outcome) in outcomes {
            let untouched = matches!(outcome, Outcome::Aborted { .. } | Outcome::Failed { .. });
            assert!(!untouched || !self.changed.contains(node), "{}: {node} was changed: {outcome:?}", self.seed);
        }
    }

    fn may_speak(&self, doing: Doing) -> bool {
        !matches!(doing, Doing::Ready | Doing::Over)
    }

    /// The next event of a busy node.
    fn event(&mut self, node: &NodeName) -> Event {
        let name = node.clone();
        let lost = self.draw.chance(12);
        let failure = || Finding::new(Code::SshClosed, "node", "what", "next", Advice::Retry { after_seconds: None });
        let (doing, event) = match self.nodes[node] {
            Doing::Waits => (Doing::Prepares, Event::Started(name)),
            Doing::Prepares if lost => (Doing::Over, Event::Failed(name, failure())),
            Doing::Prepares => {
                let test = if self.draw.chance(5) { ConfigTest::Failed("no".into()) } else { ConfigTest::Ok };
                let unchanged = self.draw.chance(6).then(|| (CertName::parse("x").unwrap(), Base::Unchanged));
                (
                    Doing::Ready,
                    Event::Prepared(
                        name,
                        Prepared { test, bases: unchanged.into_iter().collect(), clock: None, narrowed: Vec::new() },
                    ),
                )
            }
            Doing::Commits if lost => (Doing::Over, Event::Lost(name, failure())),
            Doing::Commits => match self.draw.number(8) {
                0 => {
                    self.refuses(node);
                    (Doing::Over, Event::Committed(name, Committed::RolledBack { output: String::new() }))
                }
                1 => (Doing::Over, Event::Committed(name, Committed::BrokenBefore { output: String::new() })),
                2 => (Doing::Over, Event::Committed(name, Committed::Placed { output: String::new() })),
                _ => (Doing::Verifies, Event::Committed(name, Committed::Committed)),
            },
            Doing::Verifies => {
                let verdict = match self.draw.number(8) {
                    0 => Verdict::Other { what: String::new() },
                    1 => Verdict::Silent(ProbeError::Refused),
                    2 => Verdict::Silent(ProbeError::TimedOut),
                    3 => Verdict::Absent { what: String::new() },
                    _ => Verdict::Expected,
                };
                self.verified |= verdict == Verdict::Expected;
                let gone = matches!(verdict, Verdict::Silent(ProbeError::Refused));
                let back = self.before[node] == Before::Valid && (gone || matches!(verdict, Verdict::Other { .. }));
                if back && gone {
                    self.refuses(node);
                }
                (if back { Doing::GoesBack } else { Doing::Over }, Event::Verified(name, verdict))
            }
            Doing::GoesBack => {
                let went_back = if lost { Err(failure()) } else { Ok(()) };
                (Doing::Over, Event::Restored(name, Restored { went_back, serves: !lost }))
            }
            Doing::Ready | Doing::Over => unreachable!("it says nothing"),
        };
        self.nodes.insert(node.clone(), doing);
        event
    }

    fn refuses(&mut self, node: &NodeName) {
        self.refused += 1;
        if !self.verified {
            self.unproven.insert(node.clone());
        }
    }

    fn tell(&mut self, event: Event) {
        let actions = self.rollout.on(event);
        for action in actions {
            let node = action.node().clone();
            let action_text = format!("{action:?}");
            let fresh = self.actions_seen.entry(node.clone()).or_default().insert(action_text);
            assert!(fresh, "{}: {action:?} a second time", self.seed);
            match action {
                Action::Commit(_) => self.committed(&node),
                Action::Abort(_) => {
                    assert!(!self.changed.contains(&node), "{}: {node} is at work and gets an abort", self.seed);
                    self.nodes.insert(node, Doing::Over);
                }
                Action::Verify(_) => assert_eq!(self.nodes[&node], Doing::Verifies),
                Action::Rollback(_) => {
                    assert_eq!(self.before[&node], Before::Valid, "{}: back to what nobody accepts", self.seed);
                    assert_eq!(self.nodes[&node], Doing::GoesBack);
                }
                Action::Done(_) => assert_eq!(self.nodes[&node], Doing::Over),
            }
        }
    }

    fn committed(&mut self, node: &NodeName) {
        let seed = self.seed;
        assert_eq!(self.nodes[node], Doing::Ready, "{seed}: {node} is not prepared");
        assert!(!self.stopped, "{seed}: {node} is changed after the end was asked for");
        let in_flight = |doing: &Doing| matches!(doing, Doing::Commits | Doing::Verifies | Doing::GoesBack);
        if !self.verified {
            let others = self.changed.iter().filter(|other| in_flight(&self.nodes[*other])).count();
            assert_eq!(others, 0, "{seed}: {node} is changed beside a canary that is not verified");
            // A single refusal holds nobody; refusals of an earlier rollout count once a node refuses in this one.
            let limit = INDEPENDENT.min(self.stop_after + 1);
            let over = self.refused > 0 && self.unproven.len() >= limit;
            assert!(!over || self.hurry.contains(node), "{seed}: {node} is changed after {:?}", self.unproven);
        }
        if self.hurry.contains(node) {
            self.changed.push(node.clone());
            self.nodes.insert(node.clone(), Doing::Commits);
            return;
        }
        // A node that is still going back has not refused it yet.
        let going_back = self.nodes.values().filter(|doing| **doing == Doing::GoesBack).count();
        let refused = self.refused.saturating_sub(going_back);
        // So there are never more than the limit, one, and those that were at work when it was passed.
        assert!(refused <= self.stop_after, "{seed}: {node} is changed after {} refusals", self.refused);
        self.changed.push(node.clone());
        self.nodes.insert(node.clone(), Doing::Commits);
    }
}

#[test]
fn whatever_nodes_do_only_a_canary_changes_unproven_and_every_node_ends_in_one_way() {
    let (mut verified, mut refused, mut stopped) = (0, 0, 0);
    for seed in 0..HISTORIES {
        let mut history = start(seed);
        history.play();
        verified += usize::from(history.verified);
        refused += usize::from(history.refused > 1);
        stopped += usize::from(history.stopped);
    }
    assert!(verified > 1_000 && refused > 100 && stopped > 1_000, "{verified} {refused} {stopped}");
}
