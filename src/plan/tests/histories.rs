//! Months of issuing in which anything may fail, drawn; and what holds at every instant of them.

use jiff::{SignedDuration, Timestamp};

use super::laws::Draw;
use super::scene::{SERVICE, Scene, cert, days, failure, hours};
use crate::model::{Advice, Ari, Attempts, Intent, LedgerEntry, LedgerEvent, Revoked};
use crate::plan::{Issue, Plan, RenewalReason, Step, Wait};

const HISTORIES: u64 = 120;
const PASSES: usize = 80;
const CAS: usize = 3;

/// What drives a history.
#[derive(Clone, Copy, PartialEq)]
enum Bent {
    /// Everything now and then.
    Mixed,
    /// The CA wants each certificate replaced at once.
    Greedy,
    /// Each run is forced, and half of all certificates are revoked.
    Restless,
}

/// What is known of a history, beside what the plan knows.
struct History {
    bent: Bent,
    draw: Draw,
    scene: Scene,
    /// Every finalize: when, where, exempt, in an emergency.
    finalized: Vec<(Timestamp, String, bool, bool)>,
    orders: usize,
}

fn start(seed: u64) -> History {
    let text = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n");
    let fallback = ["directory = \"https://second.example/dir\"", "directory = \"https://third.example/dir\""];
    let mut draw = Draw(seed);
    let mut scene = Scene::with_cas(&text, &fallback);
    if !draw.chance(3) {
        let life = draw.hours(100, 24 * 100);
        let age = draw.hours(0, life.as_hours());
        scene = scene.stored(age, life);
    }
    scene.observed.state.seed = seed;
    let bent = [Bent::Mixed, Bent::Greedy, Bent::Restless][usize::try_from(seed % 3).unwrap()];
    History { bent, draw, scene, finalized: Vec::new(), orders: 0 }
}

fn planned(plan: &Plan) -> Option<Issue> {
    let mut issues = plan.steps.iter().filter_map(|step| match step {
        Step::Issue(issue) => Some((**issue).clone()),
        Step::Deliver(_) | Step::Rehearse(_) => None,
    });
    let issue = issues.next();
    assert!(issues.next().is_none(), "one certificate is ordered at one CA at a time");
    issue
}

impl History {
    /// A pass: rounds until nothing is to be issued.
    fn pass(&mut self) -> Plan {
        if self.bent == Bent::Restless || self.draw.chance(6) {
            self.scene = self.scene.clone().force();
        }
        if self.bent == Bent::Greedy || self.draw.chance(8) {
            self.say_window();
        }
        let given_up = self.draw.chance(if self.bent == Bent::Restless { 2 } else { 40 });
        if given_up && self.scene.observed.store.get(&cert(SERVICE)).is_some_and(|s| s.current.is_some()) {
            let fingerprint = self.scene.kept().leaf.fingerprint;
            self.scene.observed.state.revoked.insert(fingerprint, Revoked { at: self.scene.now, reason: 4 });
        }
        for _ in 0..=2 * CAS {
            let plan = self.scene.plan();
            assert_eq!(json(&plan), json(&self.scene.plan()), "the same arguments, the same plan");
            let Some(issue) = planned(&plan) else { return plan };
            self.check(&issue);
            if self.carry_out(&issue) {
                // Killed: the next run comes a minute later.
                self.scene.now += SignedDuration::from_mins(1);
                return self.pass();
            }
        }
        panic!("failures in one pass come to no end: {:?}", self.scene.observed.state.issuance);
    }

    /// A window of the CA's: now, in the past or to come.
    fn say_window(&mut self) {
        let Some(stored) = self.scene.observed.store.get(&cert(SERVICE)) else { return };
        let Some(kept) = &stored.current else { return };
        let latest = if self.bent == Bent::Greedy { 0 } else { 200 };
        let start = self.scene.now + self.draw.hours(-40, latest);
        let (fingerprint, asked_at) = (kept.leaf.fingerprint, self.scene.now);
        let end = start + self.draw.hours(1, 60);
        let ari = Ari { fingerprint, start, end, explanation: None, asked_at, ask_again: asked_at, doubted: false };
        self.scene.observed.state.ari.insert(cert(SERVICE), ari);
    }

    /// What must hold of an order when it is made.
    fn check(&self, issue: &Issue) {
        let now = self.scene.now;
        let attempts = self.scene.observed.state.issuance.get(&cert(SERVICE));
        let retry_after = attempts.and_then(|by_ca| by_ca.get(&issue.ca)).and_then(|attempts| attempts.not_before);
        assert!(
            retry_after.is_none_or(|until| until <= now),
            "{} allows {retry_after:?}, and is asked at {now}",
            issue.ca
        );
        assert!(issue.passed_over.iter().all(|passed| passed.ca != issue.ca && passed.until > now), "{issue:?}");
        let of_ca = self.scene.observed.ledger.iter().filter(|entry| entry.ca == issue.ca);
        let hour = of_ca.filter(|entry| now.duration_since(entry.at) < hours(1));
        let failed = hour.filter(|entry| matches!(entry.event, LedgerEvent::AuthorizationFailed { .. })).count();
        let resumed = matches!(&issue.reason, RenewalReason::Resumed { order_url: Some(_), .. });
        assert!(failed < 4 || resumed, "{failed} failed authorizations within the hour");
    }

    /// Records an outcome, as a pass would; or the run is killed after the finalize.
    fn carry_out(&mut self, issue: &Issue) -> bool {
        let (now, names) = (self.scene.now, issue.names.clone());
        self.scene.observed.asked.force.clear();
        let url = match &issue.reason {
            RenewalReason::Resumed { order_url: Some(url), .. } => url.clone(),
            _ => {
                self.orders += 1;
                format!("https://{}/order/{}", issue.ca, self.orders)
            }
        };
        let intent = Intent {
            names: names.clone(),
            key_type: issue.key_type,
            profile: issue.profile.clone(),
            ca: issue.ca.clone(),
            replaces: issue.replaces.clone(),
            begun_at: now,
            order_url: Some(url.clone()),
            key_of: None,
        };
        let note = |scene: &mut Scene, event, order| {
            let entry = LedgerEntry { at: now, ca: issue.ca.clone(), names: names.clone(), event, order };
            scene.observed.ledger.push(entry);
        };
        let well = self.bent != Bent::Mixed && !self.draw.chance(4);
        let kind = if well { 0 } else { self.draw.number(7) };
        let counted = crate::plan::ledger::holds_finalize(&self.scene.observed.ledger, &intent);
        if kind < 3 && !counted {
            note(&mut self.scene, LedgerEvent::Finalize { exempt: issue.exempt }, Some(url));
            self.finalized.push((now, issue.ca.clone(), issue.exempt, issue.emergency));
        }
        let stored = self.scene.observed.store.entry(cert(SERVICE)).or_default();
        stored.pending = Some(intent);
        let mut attempts = Attempts {
            failures: 1,
            first: None,
            last: now,
            not_before: None,
            failure: failure("acme-status", "HTTP status 500"),
        };
        match kind {
            0 | 1 => {
                let life = self.draw.hours(100, 24 * 100);
                self.scene = self.scene.clone().stored(SignedDuration::ZERO, life);
                self.scene.kept().leaf.fingerprint = crate::cert::Fingerprint::of(self.orders.to_string().as_bytes());
                // The scene dates a leaf by its own noon.
                let since = now.duration_since(self.scene.kept().leaf.not_before);
                let leaf = &mut self.scene.kept().leaf;
                (leaf.not_before, leaf.not_after) = (leaf.not_before + since, leaf.not_after + since);
                self.scene.observed.store.get_mut(&cert(SERVICE)).unwrap().pending = None;
                self.scene.observed.state.issuance.clear();
                return false;
            }
            2 => return true,
            3 => {
                note(
                    &mut self.scene,
                    LedgerEvent::AuthorizationFailed { name: names.iter().next().unwrap().clone() },
                    None,
                );
                self.scene.observed.store.get_mut(&cert(SERVICE)).unwrap().pending.as_mut().unwrap().order_url = None;
            }
            4 => {
                let until = now + self.draw.hours(1, 40);
                note(&mut self.scene, LedgerEvent::Limited { until }, None);
                attempts.not_before = Some(until);
            }
            5 => attempts.failure = failure("dns-not-seen", "no name server shows the TXT records"),
            _ if self.draw.chance(2) => attempts.failure.advice = Advice::Person,
            _ => attempts.not_before = Some(now + self.draw.hours(0, 40)),
        }
        let by_ca = self.scene.observed.state.issuance.entry(cert(SERVICE)).or_default();
        attempts.failures += by_ca.get(&issue.ca).map_or(0, |before| before.failures);
        by_ca.insert(issue.ca.clone(), attempts);
        false
    }
}

fn json(plan: &Plan) -> String {
    serde_json::to_string(plan).unwrap()
}

fn within(at: &[Timestamp], span: SignedDuration) -> usize {
    let from = |start: &Timestamp| at.iter().filter(|at| *at >= start && at.duration_since(*start) < span).count();
    at.iter().map(from).max().unwrap_or(0)
}

#[test]
fn whatever_fails_the_limits_hold_and_there_is_always_an_instant_to_look_again() {
    let mut finalized = 0;
    for seed in 0..HISTORIES {
        let mut history = start(seed);
        for _ in 0..PASSES {
            let plan = history.pass();
            let now = history.scene.now;
            let renewal = plan.waits.iter().find(|wait| matches!(wait, Wait::Renewal { .. })).unwrap();
            let until = renewal.until().unwrap_or_else(|| panic!("{renewal:?} does not end"));
            assert!(until > now && plan.next.is_some_and(|next| next > now && next <= until), "{renewal:?} at {now}");
            // At the planned instant, or whenever a timer fires.
            history.scene.now = if history.draw.chance(2) { until } else { now + history.draw.hours(1, 30) };
        }
        finalized += history.finalized.len();
        let cas: std::collections::BTreeSet<&String> = history.finalized.iter().map(|(_, ca, ..)| ca).collect();
        for ca in cas {
            let at = |wanted: &dyn Fn(bool, bool) -> bool| -> Vec<Timestamp> {
                let of_ca =
                    history.finalized.iter().filter(|(_, at_ca, exempt, hurry)| at_ca == ca && wanted(*exempt, *hurry));
                of_ca.map(|(at, ..)| *at).collect()
            };
            assert!(within(&at(&|exempt, _| !exempt), days(7)) <= 5, "{seed}: {ca}");
            assert!(within(&at(&|exempt, hurry| !exempt && !hurry), days(7)) <= 3, "{seed}: {ca}");
            assert!(within(&at(&|exempt, _| exempt), days(1)) <= 2, "{seed}: {ca}");
        }
    }
    assert!(finalized > 1_000, "histories in which certificates are issued: {finalized}");
}
