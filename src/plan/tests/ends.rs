//! Deliveries whose outcome is unproven or unknown.

use std::sync::Arc;

use jiff::SignedDuration;

use super::scene::{SERVICE, Scene, cert, days, failure, hours, leaf, name, names};
use crate::config::Install;
use crate::model::{DeliveryAttempts, Former, Observed, ProbeError, Seen};
use crate::plan::delivery::{revert, unproven};
use crate::plan::rollout::Outcome;
use crate::plan::{Before, Deliver, DeliveryReason, DeliveryWait, Plan, ServedBy, Step, Wait};

const NODE: &str = "guangzhou";

/// Stored for an hour, with one before it that is still valid; every node but one serves the new one.
fn renewed() -> Scene {
    let mut scene = Scene::new().stored(hours(1), days(90)).serves_former(NODE, SERVICE);
    let former = leaf("former", &names(&[SERVICE]), days(-80), days(10));
    let generation = "20260905120000-04c2".parse().unwrap();
    scene.observed.store.get_mut(&cert(SERVICE)).unwrap().previous = Some(Former { generation, leaf: former });
    scene.observed.asked.pass_started = Some(scene.now);
    scene
}

fn deliver(plan: &Plan) -> Option<&Deliver> {
    plan.steps.iter().find_map(|step| if let Step::Deliver(deliver) = step { Some(deliver) } else { None })
}

fn begun(mut scene: Scene) -> Scene {
    let plan = scene.plan();
    let step = deliver(&plan).expect("it is stale").clone();
    let now = scene.now;
    revert::begin(&mut scene.observed, &step, now);
    // Killed, and looked at again a minute later.
    scene.now += SignedDuration::from_mins(1);
    scene.observed.asked.pass_started = Some(scene.now);
    scene
}

fn silent(mut scene: Scene, silence: ProbeError) -> Scene {
    scene.set(&name(NODE), &cert(SERVICE), Seen::Silence(silence));
    scene
}

fn reverts(scene: &Scene) -> bool {
    deliver(&scene.plan()).is_some_and(|deliver| deliver.reverts)
}

#[test]
fn a_node_that_serves_nothing_since_certd_was_killed_in_the_middle_goes_back_to_the_generation_before() {
    for silence in [ProbeError::Refused, ProbeError::Tls("handshake failure".into())] {
        let scene = silent(begun(renewed()), silence);
        let plan = scene.plan();
        let step = deliver(&plan).expect("something is to be done");
        assert!(step.reverts, "{plan:?}");
        assert_eq!(step.certificates[&cert(SERVICE)].to_string(), "20260905120000-04c2");
        let [task] = &step.nodes[..] else { panic!("one node: {step:?}") };
        assert!(task.older.contains(&cert(SERVICE)), "the node has a newer one");
        let DeliveryReason::Reverts { from, .. } = &task.certificates[&cert(SERVICE)] else { panic!("{task:?}") };
        assert_eq!(from, &scene.observed.store[&cert(SERVICE)].current.as_ref().unwrap().generation);
        let text = crate::report::plan_text(&plan);
        assert!(text.contains("whose delivery was interrupted"), "{text}");
    }
}

#[test]
fn nobody_goes_back_who_answers_who_served_something_else_or_to_what_nobody_accepts() {
    let gone = || silent(begun(renewed()), ProbeError::Refused);
    assert!(reverts(&gone()));
    assert!(!reverts(&silent(renewed(), ProbeError::Refused)), "nothing was begun");
    assert!(!reverts(&silent(begun(renewed()), ProbeError::TimedOut)), "it may serve, who knows");
    assert!(!reverts(&silent(begun(renewed()), ProbeError::Unspoken("plain text".into()))), "certd asks the wrong way");
    assert!(!reverts(&begun(renewed())), "it serves");
    assert!(!reverts(&silent(begun(renewed().serves_foreign(NODE)), ProbeError::Refused)), "not ours to bring back");
    assert!(
        !reverts(&silent(begun(silent(renewed(), ProbeError::Refused)), ProbeError::Refused)),
        "it served nothing before"
    );
    let mut over = gone();
    over.now += days(11);
    assert!(!reverts(&over), "it has ended");
    let mut revoked = gone();
    let fingerprint = leaf("former", &names(&[SERVICE]), days(-80), days(10)).fingerprint;
    let at = revoked.now;
    revoked.observed.state.revoked.insert(fingerprint, crate::model::Revoked { at, reason: 4 });
    assert!(!reverts(&revoked));
    let mut other = gone();
    other.kept().generation = "20261124120000-04c4".parse().unwrap();
    assert!(!reverts(&other), "of another generation");
}

#[test]
fn a_node_whose_receiver_does_not_go_back_gets_the_new_one_again() {
    let scene = silent(begun(renewed()), ProbeError::Tls("handshake failure".into()));
    let refused = |code: &'static str| {
        scene.clone().delivery_failed(NODE, SERVICE, |attempts: &mut DeliveryAttempts| {
            attempts.failure = failure(code, "no");
        })
    };
    assert!(reverts(&refused("ssh-deadline")), "nobody has refused anything");
    let plan = refused("node-not-permitted").plan();
    let step = deliver(&plan).expect("it serves nothing");
    assert!(!step.reverts && step.nodes[0].before == Before::Nothing, "{step:?}");
}

#[test]
fn what_is_known_of_a_delivery_ends_it_and_what_is_not_does_not() {
    let lost = || Outcome::Unknown { failure: failure("ssh-closed", "no") };
    let failed = || Outcome::Failed { failure: failure("ssh-deadline", "no") };
    let rest = |outcome: &Outcome, before: bool| {
        let mut scene = begun(renewed());
        if !before {
            scene.observed.asked.pass_started = Some(scene.now - hours(1));
        }
        let Observed { state, asked, .. } = &mut scene.observed;
        revert::ended(state, asked, &name(NODE), &cert(SERVICE), outcome);
        reverts(&silent(scene, ProbeError::Refused))
    };
    assert!(rest(&lost(), true) && rest(&lost(), false));
    assert!(rest(&failed(), true), "what an earlier run began stands");
    assert!(!rest(&failed(), false), "this one has changed nothing");
    assert!(!rest(&Outcome::Served, true));
    // A node refuses what it goes back from.
    let scene = silent(begun(renewed()), ProbeError::Refused);
    let plan = scene.plan();
    let reason = &deliver(&plan).unwrap().nodes[0].certificates[&cert(SERVICE)];
    assert!(matches!(revert::outcome(reason, &Outcome::Served), Outcome::Undone { serves: true, .. }));
    let still = Outcome::Unverified { why: "no".into(), over_quic: false };
    assert!(matches!(revert::outcome(reason, &still), Outcome::Undone { serves: false, .. }));
    assert!(matches!(revert::outcome(reason, &failed()), Outcome::Failed { .. }));
}

/// Reloaded, kept, and not proven, an hour ago.
fn unverified(mut scene: Scene) -> Scene {
    let generation = scene.kept().generation.clone();
    let last = scene.now - hours(1);
    let why = failure("node-unverified", "no handshake proves it");
    unproven::ended(
        &scene.config,
        &mut scene.observed.state,
        &name(NODE),
        &cert(SERVICE),
        &generation,
        Some((why.clone(), &ServedBy::new(&scene.observed.served))),
        last,
    );
    scene.delivery_failed(NODE, SERVICE, |attempts: &mut DeliveryAttempts| attempts.failure = why.clone())
}

fn waits(scene: &Scene) -> bool {
    scene.plan().waits.iter().any(|wait| {
        matches!(wait, Wait::Delivery { node, reason: DeliveryWait::Unproven { .. }, .. } if node == &name(NODE))
    })
}

#[test]
fn a_node_whose_new_files_nothing_proves_is_reloaded_once_and_then_only_looked_at() {
    let unspoken = ProbeError::Unspoken("port 25 answers in plain text".into());
    for silence in [ProbeError::TimedOut, ProbeError::Refused, ProbeError::Tls("a".into()), unspoken] {
        let mut scene = unverified(silent(renewed(), silence));
        scene.observed.asked.pass_started = Some(scene.now);
        assert!(waits(&scene) && deliver(&scene.plan()).is_none(), "{:?}", scene.plan());
    }
    let mut scene = unverified(renewed());
    let unproven = scene.observed.state.unproven.get_mut(&name(NODE)).unwrap().get_mut(&cert(SERVICE)).unwrap();
    unproven.install.clear();
    assert!(waits(&scene), "an earlier version did not note the install settings");
    // Another error text is not another observation.
    let scene = unverified(silent(renewed(), ProbeError::Tls("a".into())));
    assert!(waits(&silent(scene, ProbeError::Tls("b".into()))));
    let scene = unverified(silent(renewed(), ProbeError::Unspoken("220 at 10:00".into())));
    assert!(waits(&silent(scene, ProbeError::Unspoken("220 at 11:00".into()))));
    let scene = || unverified(renewed());
    assert!(waits(&scene()));
    let text = crate::report::plan_text(&scene().plan());
    assert!(text.contains("looked at until something changes"), "{text}");
}

#[test]
fn it_is_delivered_to_again_when_what_is_seen_changes_by_a_persons_word_and_with_the_next_certificate() {
    let scene = || unverified(silent(renewed(), ProbeError::TimedOut));
    let again = |scene: &Scene| {
        deliver(&scene.plan()).is_some_and(|deliver| deliver.nodes.iter().any(|task| task.node == name(NODE)))
    };
    assert!(!again(&scene()));
    assert!(again(&silent(scene(), ProbeError::Refused)), "its port is open now");
    let unspoken = unverified(silent(renewed(), ProbeError::Unspoken("plain text".into())));
    assert!(again(&silent(unspoken, ProbeError::Tls("no certificate".into()))), "`probe` was put right");
    assert!(again(&scene().serves_foreign(NODE)));
    assert!(again(&scene().deploy()));
    let changes: [fn(&mut Install); 2] =
        [|install| install.fullchain.push('2'), |install| install.reload = vec!["true".to_owned()]];
    for change in changes {
        let mut mended = scene();
        let place = (name(NODE), cert(SERVICE));
        let mut install = mended.config.install(&place.0, &place.1).unwrap().as_ref().clone();
        change(&mut install);
        mended.config.installs.insert(place, Arc::new(install));
        assert!(again(&mended), "the configuration was mended");
    }
    let mut next = scene();
    next.kept().generation = "20261124120000-04c4".parse().unwrap();
    assert!(again(&next));
    let mut proven = scene();
    let now = proven.now;
    let generation = proven.kept().generation.clone();
    unproven::ended(&proven.config, &mut proven.observed.state, &name(NODE), &cert(SERVICE), &generation, None, now);
    assert!(again(&proven));
    // Whether it may be canary still depends on what it serves.
    let plan = scene().serves_former(NODE, SERVICE).plan();
    assert_eq!(deliver(&plan).unwrap().nodes[0].before, Before::Valid);
}
