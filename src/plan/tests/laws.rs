//! What holds for every plan, tried over many drawn situations. The draw is the same in every run.

use jiff::{SignedDuration, Timestamp};

use super::scene::{NODES, SERVICE, Scene, cert, days, failure, hours, name};
use crate::model::{Ari, Attempts, ProbeError, Rehearsal, Seen};
use crate::plan::renewal::{Basis, due, lifetime};
use crate::plan::{Plan, RenewalReason, RenewalWait, Step, Wait};

const DRAWS: u64 = 3_000;

/// SplitMix64: small, and good enough to spread situations.
pub(in crate::plan) struct Draw(pub(in crate::plan) u64);

impl Draw {
    pub(in crate::plan) fn number(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    pub(super) fn hours(&mut self, from: i64, to: i64) -> SignedDuration {
        hours(from + i64::try_from(self.number(u64::try_from(to - from).unwrap())).unwrap())
    }

    pub(in crate::plan) fn chance(&mut self, one_in: u64) -> bool {
        self.number(one_in) == 0
    }
}

fn draws() -> impl Iterator<Item = (Draw, Scene)> {
    (0..DRAWS).map(|seed| {
        let mut draw = Draw(seed);
        let life = draw.hours(100, 24 * 200);
        let age = draw.hours(-12, life.as_hours() + 200);
        let mut scene = Scene::new().stored(age, life);
        scene.observed.state.seed = draw.number(u64::MAX);
        if !draw.chance(3) {
            let start = scene.kept().leaf.not_before + draw.hours(-500, life.as_hours() + 500);
            let end = start + draw.hours(-50, life.as_hours() + 50);
            let fingerprint = scene.kept().leaf.fingerprint;
            let ari = Ari {
                fingerprint,
                start,
                end,
                explanation: None,
                asked_at: scene.now,
                ask_again: scene.now,
                doubted: false,
            };
            scene.observed.state.ari.insert(cert(SERVICE), ari);
        }
        (draw, scene)
    })
}

/// The instant of renewal in the plan, when nothing but the dates decides.
fn renewal_instant(plan: &Plan) -> (Timestamp, Basis) {
    let step = plan.steps.iter().find_map(|step| match step {
        Step::Issue(issue) => Some(&issue.reason),
        Step::Deliver(_) | Step::Rehearse(_) => None,
    });
    match (step, plan.waits.first()) {
        (Some(RenewalReason::Due { at, basis, .. }), _) => (*at, basis.clone()),
        (None, Some(Wait::Renewal { reason: RenewalWait::NotDue { at, basis, .. }, .. })) => (*at, basis.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn renewal_is_never_later_than_the_emergency_floor_and_never_before_the_certificate_is_valid() {
    for (_, mut scene) in draws() {
        let plan = scene.plan();
        let (at, basis) = renewal_instant(&plan);
        let leaf = scene.kept().leaf.clone();
        let floor = leaf.not_after - lifetime(&leaf) / 20;
        assert!(at <= floor, "{at} is later than {floor}: {basis:?}");
        assert!(at >= leaf.not_before, "{at} is before {}: {basis:?}", leaf.not_before);
        assert_eq!(
            scene.now >= at,
            matches!(plan.steps.first(), Some(Step::Issue(_))),
            "due means issued, and nothing else"
        );
        assert!(scene.now < at || plan.next.is_none_or(|next| next > scene.now));
    }
}

#[test]
fn the_drawn_instant_lies_in_the_cas_window_and_is_the_same_in_every_run() {
    let mut within = 0;
    for (_, mut scene) in draws() {
        let (at, basis) = renewal_instant(&scene.plan());
        let leaf = scene.kept().leaf.clone();
        let Basis::Ari { start, end, .. } = basis else { continue };
        within += 1;
        // A window that begins before the certificate is valid is due when the certificate becomes valid.
        assert!((start.max(leaf.not_before)..end.max(leaf.not_before + days(1))).contains(&at), "{at}: {start}..{end}");
        scene.now += SignedDuration::from_secs(1);
        assert_eq!(renewal_instant(&scene.plan()).0, at);
    }
    assert!(within > 500, "the draw has windows that decide: {within}");
}

#[test]
fn installations_draw_different_instants_spread_over_the_whole_window() {
    let mut scene = Scene::new().stored(days(30), days(90)).ari("2026-12-22T00:00:00Z", "2026-12-23T19:00:00Z");
    let (leaf, ari) = (scene.kept().leaf.clone(), scene.observed.state.ari[&cert(SERVICE)].clone());
    let width = ari.end.duration_since(ari.start).as_secs();
    let mut quarters = [0; 4];
    for seed in 0..400 {
        let offset = due(&leaf, Some(&ari), seed).0.duration_since(ari.start).as_secs();
        quarters[usize::try_from(offset * 4 / width).unwrap()] += 1;
    }
    assert!(quarters.iter().all(|count| (60..140).contains(count)), "{quarters:?}");
}

#[test]
fn the_same_arguments_give_the_same_plan_and_what_it_did_is_not_done_again() {
    for (mut draw, mut scene) in draws().take(600) {
        for node in NODES {
            if draw.chance(3) {
                scene.set(&name(node), &cert(SERVICE), Seen::Silence(ProbeError::Refused));
            } else if draw.chance(3) {
                scene = scene.serves_former(node, SERVICE);
            }
        }
        if draw.chance(4) {
            let failures = u32::try_from(draw.number(6)).unwrap() + 1;
            let last = scene.now - draw.hours(0, 30);
            let attempts =
                Attempts { failures, first: None, last, not_before: None, failure: failure("acme-status", "what") };
            scene.observed.state.issuance.insert(cert(SERVICE), [(scene.config.acme.host.clone(), attempts)].into());
        }
        let json = |plan: &Plan| serde_json::to_string(plan).unwrap();
        assert_eq!(json(&scene.plan()), json(&scene.plan()));

        // As a pass does, in rounds: what was issued is stored, what was delivered is served.
        let mut rounds = 0;
        loop {
            let plan = scene.plan();
            assert!(plan.next.is_none_or(|next| next > scene.now), "a wait that is over is no wait: {plan:?}");
            let Some(step) = plan.steps.first() else { break };
            match step {
                Step::Issue(_) => {
                    let observed = scene.observed.clone();
                    scene = scene.stored(SignedDuration::ZERO, days(90));
                    scene.observed.served = observed.served;
                    scene.observed.state.issuance.clear();
                    scene.observed.state.ari.clear();
                }
                Step::Rehearse(step) => {
                    let (fingerprint, at) = (scene.kept().leaf.fingerprint, scene.now);
                    let rehearsal = Rehearsal { fingerprint, at, failures: Vec::new() };
                    scene.observed.state.rehearsals.insert(step.certificate.clone(), rehearsal);
                }
                Step::Deliver(deliver) => {
                    let served = super::scene::show(&scene.kept().leaf.clone());
                    let nodes: Vec<_> = deliver.nodes.iter().map(|task| task.node.clone()).collect();
                    nodes.iter().for_each(|node| scene.set(node, &cert(SERVICE), served.clone()));
                }
            }
            rounds += 1;
            assert!(rounds <= 3, "issue, deliver, rehearse, and nothing is left: {plan:?}");
        }
    }
}
