//! A compromised node, for a year: it refuses with any number, fails its test, goes back, hangs up and serves anything,
//! and it is always the quickest. The fleet gets no more certificates than without it, and no other node is late.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::laws::Draw;
use super::scene::{SERVICE, Scene, at, cert, days, failure, hours, leaf, name, show};
use crate::cert::{Generation, Leaf, NodeName, generation};
use crate::model::{Base, Code, Committed, ConfigTest, Prepared};
use crate::model::{DeliveryAttempts, Former, Kept, LedgerEntry, LedgerEvent, Meta, Observed, ProbeError, Seen};
use crate::plan::delivery::{revert, unproven};
use crate::plan::rollout::{Action, Event, Outcome, Restored, Rollout, Verdict};
use crate::plan::{Deliver, DeliveryReason, Issue, ServedBy, Step, fence, plan};

const START: &str = "2026-11-24T09:00:00Z";
const EVIL: &str = "evil";
const HONEST: [&str; 3] = ["a", "b", "c"];
const YEARS: u64 = 12;

struct World {
    draw: Draw,
    scene: Scene,
    hostile: bool,
    served: BTreeMap<NodeName, Leaf>,
    issued: usize,
    renumbered: usize,
    /// Nodes other than the hostile one that were changed.
    changed: usize,
    /// Answers of the hostile node by kind, to see that the draw has all of them.
    answers: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(seed: u64, hostile: bool) -> Self {
        let certificates = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n");
        let mut scene = Scene::of_nodes(&certificates, &[(EVIL, ""), ("a", ""), ("b", ""), ("c", "")]);
        scene.now = at(START);
        scene.observed.asked.short_retries = seed.is_multiple_of(2);
        let old = leaf("of-an-older-tool", &scene.config.certificates[0].names, days(-60), days(30));
        let served = [EVIL, "a", "b", "c"].map(|node| (name(node), old.clone())).into();
        let (issued, renumbered, changed, answers) = Default::default();
        Self { draw: Draw(seed), scene, hostile, served, issued, renumbered, changed, answers }
    }

    fn pass(&mut self) {
        self.scene.observed.asked.pass_started = Some(self.scene.now);
        self.scene.observed.issued.clear();
        self.handshakes();
        for _ in 0..3 {
            for step in plan(&self.scene.config, &self.scene.observed, self.scene.now).steps {
                match step {
                    Step::Issue(issue) => self.issue(&issue),
                    Step::Deliver(deliver) => self.deliver(&deliver),
                    Step::Rehearse(_) => {}
                }
                self.scene.now += jiff::SignedDuration::from_secs(20);
            }
        }
        let kept = self.scene.kept().leaf.fingerprint;
        for node in HONEST {
            assert_eq!(self.served[&name(node)].fingerprint, kept, "{node} is late at {}", self.scene.now);
        }
    }

    fn handshakes(&mut self) {
        for (node, leaf) in self.served.clone() {
            let seen = if self.hostile && node.as_str() == EVIL { self.lie(&leaf) } else { show(&leaf) };
            self.scene.set(&node, &cert(SERVICE), seen);
        }
    }

    /// What the hostile node serves: what it was sent, what it had, one of its own, nothing.
    fn lie(&mut self, honest: &Leaf) -> Seen {
        let names = honest.names.clone();
        match self.draw.number(8) {
            0 => Seen::Silence(ProbeError::Refused),
            1 => Seen::Silence(ProbeError::TimedOut),
            2 => Seen::Silence(ProbeError::Tls("no".into())),
            3 => {
                let mut own = leaf("its own", &names, hours(0), hours(1));
                (own.not_before, own.not_after) = (self.scene.now - hours(1), self.scene.now + days(90));
                show(&own)
            }
            4 => show(&leaf("expired", &names, days(-90), days(-1))),
            _ => show(honest),
        }
    }

    fn issue(&mut self, issue: &Issue) {
        let now = self.scene.now;
        let certificate = self.scene.config.certificates[0].clone();
        let mut leaf = leaf(&format!("number {}", self.issued), &certificate.names, hours(0), hours(1));
        (leaf.not_before, leaf.not_after) = (now - hours(1), now - hours(1) + days(90));
        leaf.ari_id = None;
        let (ca, profile) = (issue.ca.clone(), issue.profile.clone());
        let meta = Meta { key_type: issue.key_type, profile, ca: ca.clone(), issued_at: now };
        let generation = Generation::issued(now, issue.seen, "04c3").unwrap();
        self.plausible(&generation);
        let observed = &mut self.scene.observed;
        let stored = observed.store.entry(certificate.name.clone()).or_default();
        stored.greatest = generation.number();
        if let Some(kept) = stored.current.take() {
            stored.former.insert(kept.leaf.fingerprint);
            stored.previous = Some(Former { generation: kept.generation, leaf: kept.leaf });
        }
        stored.current = Some(Kept { generation, leaf, meta });
        let event = LedgerEvent::Finalize { exempt: false };
        observed.ledger.push(LedgerEntry { at: now, ca, names: certificate.names, event, order: None });
        assert!(observed.issued.insert(certificate.name), "two certificates of one pass");
        self.issued += 1;
    }

    /// A receiver refuses a number beyond its own clock plus a day, and its clock may be an hour behind.
    fn plausible(&self, generation: &Generation) {
        let most = generation::latest(self.scene.now - hours(1));
        assert!(generation.number() <= most + 1, "{generation} at {}", self.scene.now);
    }

    fn deliver(&mut self, deliver: &Deliver) {
        let now = self.scene.now;
        revert::begin(&mut self.scene.observed, deliver, now);
        let mut rollout = Rollout::new(deliver);
        let started = deliver.nodes.iter().map(|task| Event::Started(task.node.clone()));
        let mut events: VecDeque<Event> = started.collect();
        // The hostile node is the first in the configuration, so it is prepared first.
        for task in &deliver.nodes {
            let prepared = self.prepare(&task.node);
            events.push_back(prepared);
        }
        while let Some(event) = events.pop_front() {
            for action in rollout.on(event) {
                let node = action.node().clone();
                let evil = self.hostile && node.as_str() == EVIL;
                let event = match action {
                    Action::Commit(_) if evil => self.commit(node),
                    Action::Commit(_) => {
                        self.changed += usize::from(node.as_str() != EVIL);
                        Event::Committed(node, Committed::Committed)
                    }
                    Action::Verify(_) if evil => Event::Verified(node, self.verdict()),
                    Action::Verify(_) => {
                        let leaf = self.scene.kept().leaf.clone();
                        self.served.insert(node.clone(), leaf);
                        Event::Verified(node, Verdict::Expected)
                    }
                    Action::Rollback(_) => {
                        let went_back = if self.draw.chance(2) { Ok(()) } else { Err(failure("node-kept", "no")) };
                        Event::Restored(node, Restored { went_back, serves: self.draw.chance(2) })
                    }
                    Action::Abort(_) | Action::Done(_) => continue,
                };
                events.push_back(event);
            }
        }
        let outcomes: BTreeMap<NodeName, Outcome> =
            rollout.outcomes().map(|(node, outcome)| (node.clone(), outcome.clone())).collect();
        self.handshakes();
        for task in &deliver.nodes {
            let outcome = outcomes.get(&task.node).unwrap_or_else(|| panic!("{} has no end", task.node));
            self.fold(deliver, &task.node, outcome, now);
        }
        if let Some(above) = fence::renumber_above(&cert(SERVICE), &self.scene.observed, now) {
            let to = self.scene.kept().generation.above(above);
            self.plausible(&to);
            fence::renumbered(&mut self.scene.observed, &cert(SERVICE), &to);
            self.scene.observed.store.get_mut(&cert(SERVICE)).unwrap().greatest = to.number();
            self.scene.kept().generation = to;
            self.renumbered += 1;
        }
    }

    /// As a session does with what a node answers.
    fn prepare(&mut self, node: &NodeName) -> Event {
        let now = self.scene.now;
        let base =
            if self.hostile && node.as_str() == EVIL && self.draw.chance(4) { Base::Unchanged } else { Base::Nothing };
        let bases = [(cert(SERVICE), base)].into();
        let prepared = Prepared { test: ConfigTest::Ok, bases, clock: None, narrowed: Vec::new() };
        if self.hostile && node.as_str() == EVIL && self.draw.chance(2) {
            return self.refuse(node, now);
        }
        fence::record(&mut self.scene.observed.state, &cert(SERVICE), node, None, now);
        Event::Prepared(node.clone(), prepared)
    }

    fn refuse(&mut self, node: &NodeName, now: Timestamp) -> Event {
        let ours = self.scene.kept().generation.number();
        let ahead = |span| generation::number(now + span);
        let number = match self.draw.number(9) {
            0 => 99_999_999_999_999,
            1 => u64::MAX,
            2 => ahead(days(2)),
            3 => ahead(hours(24)),
            4 => ahead(hours(23)),
            5 => ours + 1,
            6 => ahead(hours(1)),
            7 => ahead(days(3650)),
            _ => ahead(hours(12)),
        };
        // The dialogue has checked that the number is a second and greater than what was sent.
        let honest = generation::parse_number(&number.to_string()).filter(|number| *number > ours);
        if let Some(number) = honest.filter(|number| fence::plausible(*number, now)) {
            *self.answers.entry("a number").or_default() += 1;
            fence::record(&mut self.scene.observed.state, &cert(SERVICE), node, Some(number), now);
            return Event::Failed(node.clone(), failure(Code::NodeForeignNewer, "newer"));
        }
        *self.answers.entry("a lie").or_default() += 1;
        Event::Failed(node.clone(), failure(Code::NodeFenceImplausible, "no number"))
    }

    fn commit(&mut self, node: NodeName) -> Event {
        let output = String::new();
        let committed = match self.draw.number(6) {
            0 | 1 => {
                *self.answers.entry("a refusal").or_default() += 1;
                Committed::RolledBack { output }
            }
            2 => Committed::BrokenBefore { output },
            3 => Committed::Placed { output },
            4 => return Event::Lost(node, failure("ssh-closed", "no")),
            _ => Committed::Committed,
        };
        Event::Committed(node, committed)
    }

    fn verdict(&mut self) -> Verdict {
        match self.draw.number(5) {
            0 => Verdict::Other { what: String::new() },
            1 => Verdict::Silent(ProbeError::Refused),
            2 => Verdict::Silent(ProbeError::TimedOut),
            3 => Verdict::Lingers { what: String::new() },
            _ => Verdict::Expected,
        }
    }

    /// As a pass does.
    fn fold(&mut self, deliver: &Deliver, node: &NodeName, outcome: &Outcome, now: Timestamp) {
        let observed = &mut self.scene.observed;
        let task = deliver.nodes.iter().find(|task| &task.node == node).unwrap();
        let reason = &task.certificates[&cert(SERVICE)];
        let outcome = &revert::outcome(reason, outcome);
        let generation = match reason {
            DeliveryReason::Reverts { from, .. } => from.clone(),
            _ => deliver.certificates[&cert(SERVICE)].clone(),
        };
        revert::ended(&mut observed.state, &observed.asked, node, &cert(SERVICE), outcome);
        let failure = match outcome {
            Outcome::Served => None,
            Outcome::Failed { failure } | Outcome::Unknown { failure } => Some(failure.clone()),
            _ => Some(failure("node-rolled-back", "no")),
        };
        let of_unproven = failure.clone().filter(|_| matches!(outcome, Outcome::Unverified { .. }));
        if !matches!(outcome, Outcome::Failed { .. } | Outcome::Aborted { .. } | Outcome::Unknown { .. }) {
            let Observed { state, served, .. } = &mut *observed;
            let served = ServedBy::new(&*served);
            let name = cert(SERVICE);
            let of_unproven = of_unproven.map(|failure| (failure, &served));
            unproven::ended(&self.scene.config, state, node, &name, &generation, of_unproven, now);
        }
        let of_node = observed.state.delivery.entry(node.clone()).or_default();
        let Some(failure) = failure else {
            of_node.remove(&cert(SERVICE));
            return;
        };
        let before = of_node.get(&cert(SERVICE)).filter(|attempts| attempts.generation == generation);
        let skipped = matches!(outcome, Outcome::Aborted { .. });
        let attempts = DeliveryAttempts {
            failures: before.map_or(0, |attempts| attempts.failures) + u32::from(!skipped),
            generation,
            first: None,
            last: now,
            rolled_back: matches!(outcome, Outcome::RolledBack { .. } | Outcome::Undone { .. }),
            together: false,
            failure,
        };
        of_node.insert(cert(SERVICE), attempts);
    }
}

fn year(seed: u64, hostile: bool) -> World {
    let mut world = World::new(seed, hostile);
    let (end, mut next) = (at(START) + days(365), at(START));
    while next < end {
        world.scene.now = next;
        world.pass();
        next += hours(6);
    }
    world
}

#[test]
fn a_hostile_node_costs_the_fleet_no_certificate_no_reload_and_no_time_in_a_year() {
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut renumbered = 0;
    for seed in 0..YEARS {
        let (quiet, world) = (year(seed, false), year(seed, true));
        assert_eq!(world.issued, quiet.issued, "{seed}: certificates");
        assert_eq!(world.changed, quiet.changed, "{seed}: changes of the other nodes");
        assert!(quiet.issued >= 6 && quiet.renumbered == 0);
        assert!(world.renumbered <= world.issued, "{seed}: once for each certificate, at most");
        renumbered += world.renumbered;
        world.answers.into_iter().for_each(|(word, count)| *answers.entry(word).or_default() += count);
    }
    let enough = answers.values().all(|count| *count > 50) && answers.len() == 3 && renumbered > 3;
    assert!(enough, "the draw has it all: {answers:?}, {renumbered} numbered anew");
}
