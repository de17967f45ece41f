//! A year of `certd run` on a clock of our own: a CA that is down for two days when a renewal falls due, a node that is
//! down for three, a clock that is ten years ahead and ten behind for two hours each, a night asleep, and the days on which
//! clocks change elsewhere. What is done is a file; `INSTA_UPDATE=always cargo test --lib year` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::scene::{NODES, SEED, SERVICE, Scene, at, cert, days, failure, hours, leaf, name, show};
use super::snapshot;
use crate::cert::{Generation, Leaf, NodeName};
use crate::model::{
    Ari, Attempts, CaClock, DeliveryAttempts, Kept, LedgerEntry, LedgerEvent, Meta, ProbeError, Rehearsal, Seen,
};
use crate::plan::schedule::{self, LOOK_AT_THE_CLOCK, ScheduleState, Trigger, Work};
use crate::plan::{self, Against, Deliver, Evidence, Plan, Step, Wait, plan};
use crate::report::plan_text;

const START: &str = "2026-11-24T09:00:00Z";
const NODE: &str = "guangzhou";

/// From one instant to another, by true time.
type Span = (Timestamp, Timestamp);

struct World {
    scene: Scene,
    schedule_state: ScheduleState,
    lifetime: SignedDuration,
    /// True time; the machine's clock may show another.
    now: Timestamp,
    served: BTreeMap<NodeName, Leaf>,
    ca_down: Span,
    node_down: Span,
    /// How far the clock is off, and when.
    wrong: Vec<(Span, SignedDuration)>,
    asleep: Span,
    clocks: (Timestamp, Timestamp),
    doubt: Option<Against>,
    log: String,
    issued: Vec<(Timestamp, Leaf)>,
    /// True instants of the passes that the schedule made.
    scheduled: Vec<Timestamp>,
}

fn during(span: Span, now: Timestamp) -> bool {
    span.0 <= now && now < span.1
}

/// A span of this length, this long after the start.
fn span(after: SignedDuration, length: SignedDuration) -> Span {
    let from = at(START) + after;
    (from, from + length)
}

impl World {
    fn new(lifetime: SignedDuration, ca_down: Span, node_down: Span) -> Self {
        let mut scene = Scene::new();
        scene.observed.asked.short_retries = true;
        // Three times the default: a year has 35,040 of them even so.
        scene.config.run.check_every = SignedDuration::from_mins(15);
        let old = leaf("of-an-older-tool", &scene.config.certificates[0].names, days(-60), days(30));
        let now = at(START);
        Self {
            scene,
            schedule_state: ScheduleState::new(now, None),
            lifetime,
            now,
            served: NODES.iter().map(|node| (name(node), old.clone())).collect(),
            ca_down,
            node_down,
            wrong: vec![(span(days(150), hours(2)), days(3652)), (span(days(200), hours(2)), days(-3652))],
            asleep: span(days(250), hours(8)),
            clocks: (now, now),
            doubt: None,
            log: String::new(),
            issued: Vec::new(),
            scheduled: Vec::new(),
        }
    }

    fn wall(&self) -> Timestamp {
        let beyond = self.wrong.iter().find(|(span, _)| during(*span, self.now)).map(|(_, beyond)| *beyond);
        self.now + beyond.unwrap_or(SignedDuration::ZERO)
    }

    /// TLS with the CA fails by a clock that is years off.
    fn ca_answers(&self) -> bool {
        !during(self.ca_down, self.now) && self.wall() == self.now
    }

    fn say(&mut self, text: &str) {
        let shown = if self.wall() == self.now { String::new() } else { format!(" (shown: {})", self.wall()) };
        let minute = self.now.strftime("%Y-%m-%d %H:%M");
        let _ = writeln!(self.log, "{minute}{shown}  {text}");
    }

    fn until(&mut self, end: Timestamp) {
        while self.now < end {
            let wall = self.wall();
            let (wall_moved, passed) = (wall.duration_since(self.clocks.0), self.now.duration_since(self.clocks.1));
            // A clock that nobody sets does not count what was slept.
            let slept = if self.clocks.1 <= self.asleep.0 && self.now >= self.asleep.1 { hours(8) } else { hours(0) };
            if schedule::jump(wall_moved, passed - slept).is_some() {
                self.say("the clock jumped, or the machine slept");
                self.schedule_state.jumped(wall);
            }
            self.clocks = (wall, self.now);
            let wake = schedule::next(&self.scene.config.run, &self.schedule_state, SEED, wall);
            if wake.at > wall {
                self.sleep(wake.at.duration_since(wall));
                continue;
            }
            match wake.work {
                Work::Look => self.look(),
                Work::Pass(why) => self.pass(&why),
            }
        }
    }

    fn sleep(&mut self, rest: SignedDuration) {
        let events = self.wrong.iter().flat_map(|((from, to), _)| [*from, *to]).chain([self.asleep.0]);
        let until = self.now + rest;
        let disturbed = events.into_iter().any(|event| self.now < event && event <= until);
        self.now += if disturbed { rest.min(LOOK_AT_THE_CLOCK) } else { rest };
        if during(self.asleep, self.now) {
            self.now = self.asleep.1;
        }
    }

    fn handshakes(&mut self) {
        for (node, leaf) in self.served.clone() {
            let down = node.as_str() == NODE && during(self.node_down, self.now);
            let seen = if down { Seen::Silence(ProbeError::TimedOut) } else { show(&leaf) };
            self.scene.set(&node, &cert(SERVICE), seen);
        }
    }

    fn look(&mut self) {
        self.scene.observed.asked.pass_started = None;
        self.scene.observed.ca_clock = None;
        self.handshakes();
        let plan = self.plan();
        self.schedule_state.looked(self.wall(), &plan);
        for (node, leaf) in &self.served {
            let up = node.as_str() != NODE || !during(self.node_down, self.now);
            let first = self.issued.is_empty();
            assert!(first || !up || leaf.not_after > self.now, "{node} serves an expired one at {}", self.now);
        }
    }

    fn plan(&mut self) -> Plan {
        let plan = plan(&self.scene.config, &self.scene.observed, self.wall());
        let doubt = plan.waits.iter().find_map(|wait| match wait {
            Wait::Clock { doubt } => Some(doubt.against),
            _ => None,
        });
        if doubt != self.doubt {
            self.say(
                &doubt.map_or("the clock is believed again".into(), |it| format!("the clock is in doubt: {it:?}")),
            );
            self.doubt = doubt;
        }
        plan
    }

    fn pass(&mut self, why: &Trigger) {
        if let Trigger::Scheduled { .. } = why {
            self.scheduled.push(self.now);
        }
        let began = self.wall();
        let lines = self.log.len();
        self.scene.observed.asked.pass_started = Some(began);
        self.scene.observed.ca_clock = None;
        self.handshakes();
        let believed =
            |world: &Self| plan::clock::plausible(world.wall(), &Evidence::of(&world.scene.observed)).is_ok();
        if !believed(self) && self.ca_answers() {
            self.scene.observed.ca_clock = Some(CaClock { ours: self.wall(), theirs: self.now });
        }
        if believed(self) {
            self.scene.observed.state.last_seen = Some(self.wall());
        }
        for _ in 0..3 {
            for step in self.plan().steps {
                self.execute(step);
                self.now += SignedDuration::from_secs(20);
            }
        }
        let plan = self.plan();
        let wall = self.wall();
        self.schedule_state.ended(began, wall, &plan);
        if self.log.len() > lines && !matches!(why, Trigger::Scheduled { .. }) {
            let why = match why {
                Trigger::First => "the first pass",
                Trigger::Waited { .. } => "a wait ended",
                Trigger::Found => "a look found it",
                Trigger::Missed { .. } => "made up for",
                _ => "again",
            };
            self.log.insert_str(lines, &format!("{why}:\n"));
        }
    }

    fn execute(&mut self, step: Step) {
        let text = plan_text(&Plan { steps: vec![step.clone()], ..Plan::default() });
        match step {
            Step::Issue(_) => {
                let answers = self.ca_answers();
                let line = text.lines().next().unwrap_or_default();
                self.say(&format!("{line}: {}", if answers { "issued" } else { "the CA does not answer" }));
                if answers { self.issue() } else { self.issuance_failed() }
            }
            Step::Deliver(deliver) => self.deliver(&deliver),
            Step::Rehearse(step) => {
                self.say(text.lines().next().unwrap_or_default());
                let kept = self.scene.observed.store[&step.certificate].current.clone().expect("there is one");
                let rehearsal = Rehearsal { fingerprint: kept.leaf.fingerprint, at: self.wall(), failures: Vec::new() };
                self.scene.observed.state.rehearsals.insert(step.certificate, rehearsal);
            }
        }
    }

    /// As Let's Encrypt does: dated an hour back, and a window around two thirds of the life, a fiftieth of it wide.
    fn issue(&mut self) {
        let certificate = self.scene.config.certificates[0].clone();
        let number = self.issued.len();
        let mut leaf = leaf(&format!("number {number}"), &certificate.names, hours(0), hours(1));
        leaf.not_before = self.now - hours(1);
        leaf.not_after = leaf.not_before + self.lifetime;
        let (ca, profile) = (self.scene.config.acme.host.clone(), certificate.profile.clone());
        let meta = Meta { key_type: certificate.key_type, profile, ca: ca.clone(), issued_at: self.now };
        let observed = &mut self.scene.observed;
        let stored = observed.store.entry(certificate.name.clone()).or_default();
        let generation = Generation::issued(self.now, stored.greatest, "04c3").unwrap();
        stored.greatest = generation.number();
        stored.former.extend(stored.current.take().map(|kept| kept.leaf.fingerprint));
        stored.current = Some(Kept { generation, leaf: leaf.clone(), meta });
        let middle = leaf.not_before + self.lifetime * 2 / 3;
        let half = self.lifetime / 100;
        let (start, end, asked_at) = (middle - half, middle + half, self.now);
        let (fingerprint, explanation) = (leaf.fingerprint, None);
        let ari =
            Ari { fingerprint, start, end, explanation, asked_at, ask_again: asked_at + hours(6), doubted: false };
        observed.state.ari.insert(certificate.name.clone(), ari);
        observed.state.issuance.clear();
        let (names, event) = (certificate.names, LedgerEvent::Finalize { exempt: false });
        observed.ledger.push(LedgerEntry { at: self.now, ca, names, event, order: None });
        self.issued.push((self.now, leaf));
    }

    fn issuance_failed(&mut self) {
        let last = self.wall();
        let ca = self.scene.config.acme.host.clone();
        let by_ca = self.scene.observed.state.issuance.entry(cert(SERVICE)).or_default();
        let failures = by_ca.get(&ca).map_or(0, |attempts| attempts.failures) + 1;
        let failure = failure("acme-unreachable", "no answer");
        by_ca.insert(ca, Attempts { failures, first: None, last, not_before: None, failure });
    }

    fn deliver(&mut self, deliver: &Deliver) {
        let generation = deliver.certificates[&cert(SERVICE)].clone();
        let leaf = self.scene.observed.store[&cert(SERVICE)].current.as_ref().unwrap().leaf.clone();
        let mut outcomes = Vec::new();
        for task in &deliver.nodes {
            let node = &task.node;
            let of_node = self.scene.observed.state.delivery.entry(node.clone()).or_default();
            if node.as_str() == NODE && during(self.node_down, self.now) {
                let failures = of_node.get(&cert(SERVICE)).map_or(0, |attempts| attempts.failures) + 1;
                let failure = failure("ssh-unreachable", "no answer");
                let (generation, last) = (generation.clone(), self.now);
                let attempts = DeliveryAttempts {
                    generation,
                    failures,
                    first: None,
                    last,
                    rolled_back: false,
                    together: false,
                    failure,
                };
                of_node.insert(cert(SERVICE), attempts);
                // The first tries show the back-off; hundreds more show nothing.
                if failures <= 5 {
                    outcomes.push(format!("{node}: no answer, {failures}"));
                }
            } else {
                of_node.remove(&cert(SERVICE));
                self.served.insert(node.clone(), leaf.clone());
                outcomes.push(format!("{node}: served"));
            }
        }
        self.handshakes();
        if !outcomes.is_empty() {
            self.say(&format!("deliver  {}", outcomes.join("; ")));
        }
    }
}

fn year(case: &str, lifetime: SignedDuration, ca_down: Span, node_down: Span, renewals: usize) {
    let mut world = World::new(lifetime, ca_down, node_down);
    let end = at(START) + days(365);
    world.until(end);
    snapshot(case, &world.log);

    assert_eq!(world.issued.len(), renewals + 1, "the first, and each renewal once");
    for pair in world.issued.windows(2) {
        let ((_, old), (renewed, _)) = (&pair[0], &pair[1]);
        let left = old.not_after.duration_since(*renewed);
        assert!(left < lifetime * 2 / 5, "{renewed}: too early");
        // K07: or as soon as the CA was back.
        let at_once = renewed.duration_since(world.ca_down.1).abs() < hours(6);
        assert!(left > lifetime / 6 || at_once, "{renewed}: too late");
    }
    let latest = &world.issued.last().unwrap().1;
    assert!(world.served.values().all(|leaf| leaf.fingerprint == latest.fingerprint));
    // K02: four a day, on the days when clocks change too; fewer where the clock was wrong, or the machine slept.
    for day in ["2027-03-14", "2027-03-28", "2027-10-31", "2027-11-07", "2027-06-01"] {
        let of_day = world.scheduled.iter().filter(|pass| pass.to_string().starts_with(day));
        assert_eq!(of_day.count(), 4, "{day}");
    }
}

#[test]
fn a_year_of_certificates_of_90_days() {
    year("year-90-days", days(90), span(days(59), days(2)), span(days(119), days(3)), 6);
}

#[test]
fn a_year_of_certificates_of_45_days() {
    year("year-45-days", days(45), span(days(29), days(2)), span(days(59), days(3)), 12);
}

#[test]
fn a_year_of_certificates_of_six_days() {
    year("year-6-days", hours(160), span(hours(100), days(2)), span(days(20), days(3)), 82);
}
