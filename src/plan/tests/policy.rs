//! Windows, canaries and holds: the operator decides, until visitors would be hurt by it.

use jiff::SignedDuration;

use super::golden;
use super::scene::{NODES, SERVICE, Scene, at, cert, days, hours, leaf, name, names, show};
use crate::model::{Held, Over, ProbeError, Revoked, Seen, Served};
use crate::plan::{HoldEnd, Step, crls, hold};
use crate::report::plan_text;

const WINDOWED: &str = "window = [\"Sat 02:00-06:00\", \"Wed 22:00-02:00\"]";

/// Every node has a window, and the scene's noon is in none of them: the next one opens in two days and ten hours.
fn windowed() -> Scene {
    let certificates = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n");
    let nodes = [("上海", WINDOWED), ("guangzhou", WINDOWED), ("shenzhen", WINDOWED)];
    Scene::of_nodes(&certificates, &nodes).stored(days(30), days(90))
}

fn waits_for_window(scene: &Scene, node: &str) -> bool {
    plan_text(&scene.plan()).contains(&format!("on {node}: its window opens 2026-11-25 22:00 UTC"))
}

#[test]
fn a_closed_window_holds_a_node_that_serves_well_until_then_and_no_other() {
    let mut scene = windowed().serves_former("guangzhou", SERVICE).silent("shenzhen", ProbeError::Refused);
    golden("windows", &scene);
    assert_eq!(scene.plan().next, Some(at("2026-11-23T18:00:00Z")));
    scene.now = at("2026-11-25T22:00:00Z");
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("to guangzhou: serves our earlier") && !plan.contains("window"), "{plan}");
}

#[test]
fn what_is_expired_distrusted_or_for_another_name_is_replaced_outside_of_the_window() {
    let held = windowed().serves_former("guangzhou", SERVICE);
    assert!(waits_for_window(&held, "guangzhou"));
    let ours = held.clone().kept().leaf.clone();
    let other = leaf("other", &names(&["elsewhere.example.com"]), days(-10), days(80));
    let expired = leaf("expired", &names(&[SERVICE]), days(-90), hours(-1));
    for seen in [
        Seen::Leaf { leaf: Box::new(ours), distrust: Some("the intermediate is missing".into()) },
        show(&other),
        show(&expired),
        Seen::Silence(ProbeError::Tls("handshake failure".into())),
    ] {
        let mut scene = held.clone();
        scene.set(&name("guangzhou"), &cert(SERVICE), seen);
        let plan = plan_text(&scene.plan());
        assert!(plan.contains("to guangzhou") && plan.contains("visitors are hurt now"), "{plan}");
    }
}

#[test]
fn what_is_revoked_or_given_up_is_replaced_outside_of_the_window() {
    let mut scene = windowed().serves_former("guangzhou", SERVICE);
    let former = leaf("former", &names(&[SERVICE]), days(-80), days(10)).fingerprint;
    scene.observed.state.revoked.insert(former, Revoked { at: scene.now - hours(1), reason: 1 });
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("to guangzhou") && plan.contains("revoked, or given up"), "{plan}");
}

#[test]
fn a_probe_that_found_no_way_through_ssh_another_protocol_or_no_answer_over_udp_opens_no_window() {
    let held = windowed().serves_former("guangzhou", SERVICE);
    let mut no_way = held.clone();
    no_way.set(&name("guangzhou"), &cert(SERVICE), Seen::Silence(ProbeError::NoWay("connection refused".into())));
    assert!(waits_for_window(&no_way, "guangzhou"), "{}", plan_text(&no_way.plan()));
    no_way.set(&name("guangzhou"), &cert(SERVICE), Seen::Silence(ProbeError::Unspoken("plain text".into())));
    assert!(waits_for_window(&no_way, "guangzhou"), "{}", plan_text(&no_way.plan()));
    no_way.set(&name("guangzhou"), &cert(SERVICE), Seen::Silence(ProbeError::TurnedAway("421 busy".into())));
    assert!(waits_for_window(&no_way, "guangzhou"), "{}", plan_text(&no_way.plan()));
    let mut no_quic = held;
    let tcp = no_quic.observed.served.iter().find(|served| served.node == name("guangzhou")).unwrap().clone();
    no_quic.observed.served.push(Served { over: Over::Quic, seen: Seen::Silence(ProbeError::NoQuic), ..tcp });
    assert!(waits_for_window(&no_quic, "guangzhou"), "{}", plan_text(&no_quic.plan()));
}

#[test]
fn a_window_does_not_hold_what_has_less_than_a_twentieth_of_its_life_left_when_it_opens() {
    // Of forty days, two are the twentieth; the window opens 58 hours from now.
    let ends = |left: i64| {
        let mut scene = windowed();
        let old = leaf("old", &names(&[SERVICE]), hours(left) - days(40), hours(left));
        scene.set(&name("guangzhou"), &cert(SERVICE), show(&old));
        plan_text(&scene.plan())
    };
    let plan = ends(58 + 48);
    assert!(plan.contains("on guangzhou: its window opens"), "{plan}");
    let plan = ends(58 + 47);
    assert!(plan.contains("to guangzhou") && plan.contains("what it serves ends 2026-11-27 21:00 UTC"), "{plan}");
}

#[test]
fn a_person_who_names_a_node_is_not_held_by_its_window_and_one_who_names_none_is() {
    let scene = windowed().serves_former("guangzhou", SERVICE).deploy();
    assert!(waits_for_window(&scene, "guangzhou"));
    let mut named = scene.clone();
    named.observed.asked.ignore_window.insert(name("guangzhou"));
    let plan = plan_text(&named.plan());
    assert!(plan.contains("to guangzhou") && plan.contains("it was named"), "{plan}");
}

#[test]
fn a_node_that_failed_in_its_window_is_called_failed_until_the_next_one() {
    let failed = |back: bool| {
        windowed().serves_former("guangzhou", SERVICE).delivery_failed("guangzhou", SERVICE, move |attempts| {
            (attempts.rolled_back, attempts.failures) = (back, 2);
        })
    };
    for back in [true, false] {
        let plan = plan_text(&failed(back).plan());
        assert!(plan.contains("guangzhou: failed 2 times; next try 2026-11-25 22:00 UTC"), "{plan}");
    }
}

#[test]
fn the_canary_is_one_that_gets_something_now_and_the_stop_rule_counts_nodes() {
    let certificates = format!(
        "[rollout]\nstop_after = \"50%\"\n[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n\
         canary = [\"shenzhen\", \"tag:try\"]\n"
    );
    let nodes = [("上海", ""), ("guangzhou", "tags = [\"try\"]"), ("shenzhen", WINDOWED), ("four", "")];
    let mut scene = Scene::of_nodes(&certificates, &nodes).stored(days(30), days(90));
    for node in ["上海", "guangzhou", "shenzhen", "four"] {
        scene = scene.serves_former(node, SERVICE);
    }
    let deliver = |scene: &Scene| match scene.plan().steps.into_iter().next() {
        Some(Step::Deliver(deliver)) => (deliver.canary.map(|node| node.to_string()), deliver.stop_after),
        other => panic!("{other:?}"),
    };
    assert_eq!(deliver(&scene), (Some("guangzhou".into()), 1), "half of three");
    scene.now = at("2026-11-25T23:00:00Z");
    assert_eq!(deliver(&scene), (Some("shenzhen".into()), 2), "half of four");
}

/// The former certificate is held: 80 days old, with ten days left, of which the last four and a half are near its end.
fn held() -> Scene {
    let mut scene = Scene::new().stored(days(30), days(90));
    let former = leaf("former", &names(&[SERVICE]), days(-80), days(10));
    for node in NODES {
        scene = scene.serves_former(node, SERVICE);
    }
    let held = Held {
        generation: "20260904120000-0f".parse().unwrap(),
        fingerprint: former.fingerprint,
        not_before: former.not_before,
        not_after: former.not_after,
        since: scene.now - days(1),
        by: Some("alice".into()),
    };
    scene.observed.state.held.insert(cert(SERVICE), held);
    scene
}

#[test]
fn the_held_generation_is_desired_at_every_node() {
    let mut scene = held();
    golden("held", &scene);
    let newest = scene.kept().leaf.clone();
    scene.set(&name("guangzhou"), &cert(SERVICE), show(&newest));
    let foreign = scene.serves_foreign("shenzhen");
    golden("held-and-others-serve-else", &foreign);
    let older = |scene: &Scene| match &scene.plan().steps[..] {
        [Step::Deliver(deliver)] => deliver.nodes.iter().map(|task| !task.older.is_empty()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(older(&foreign), [true, false], "not back from what this store does not know");
    assert_eq!(older(&foreign.deploy()), [true, true], "but by a person's word given now");
}

#[test]
fn the_list_of_what_is_held_is_asked_for_too_since_visitors_get_that_one() {
    let asked = |scene: &Scene| {
        let due = crls::due(&scene.observed, scene.now);
        due.into_iter().map(|(_, generation)| generation.to_string()).collect::<Vec<_>>()
    };
    let mut scene = held();
    let newest = scene.kept().clone();
    assert_eq!(asked(&scene), [newest.generation.to_string(), "20260904120000-0f".to_owned()]);
    scene.observed.state.held.get_mut(&cert(SERVICE)).unwrap().fingerprint = newest.leaf.fingerprint;
    assert_eq!(asked(&scene), [newest.generation.to_string()], "one certificate has one list");
}

#[test]
fn a_held_newest_generation_is_desired_under_its_present_number() {
    let mut scene = held();
    let newest = scene.kept().clone();
    let held = scene.observed.state.held.get_mut(&cert(SERVICE)).unwrap();
    (held.fingerprint, held.not_before) = (newest.leaf.fingerprint, newest.leaf.not_before);
    held.not_after = newest.leaf.not_after;
    // The hold has the number from before the renumbering: a crash came before it was updated.
    assert_ne!(held.generation, newest.generation);
    let stored = &scene.observed.store[&cert(SERVICE)];
    let desired = hold::desired(&cert(SERVICE), stored, &scene.observed.state, scene.now).unwrap();
    assert_eq!(desired.generation, &newest.generation, "the store has no other folder of it");
    assert!(desired.held.is_some());
}

#[test]
fn a_hold_ends_by_itself_near_the_end_of_its_certificate_and_when_that_is_revoked() {
    let mut scene = held();
    let ends = at("2026-11-29T00:00:00Z");
    assert_eq!(scene.plan().next.map(|next| next <= ends), Some(true));
    scene.now = ends - SignedDuration::from_secs(1);
    assert!(hold::ended(&scene.observed, scene.now).is_empty());
    scene.now = ends;
    let over = hold::ended(&scene.observed, scene.now);
    assert!(matches!(over[..], [(_, _, HoldEnd::NearItsEnd { .. })]), "{over:?}");
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("to guangzhou: serves our earlier"), "{plan}");

    let mut revoked = held();
    let fingerprint = revoked.observed.state.held[&cert(SERVICE)].fingerprint;
    let at = revoked.now;
    revoked.observed.state.revoked.insert(fingerprint, Revoked { at, reason: 4 });
    let over = hold::ended(&revoked.observed, at);
    assert!(matches!(over[..], [(_, _, HoldEnd::Revoked { .. })]), "{over:?}");

    // Nothing later is stored: releasing the hold would gain nothing.
    let mut last = held();
    last.kept().leaf.not_after = last.now + days(9);
    last.now += days(9);
    assert!(hold::ended(&last.observed, last.now).is_empty());
}

#[test]
fn while_one_is_held_renewal_goes_on_and_tells_that_nobody_gets_it() {
    let mut scene = held();
    scene.kept().leaf.not_after = scene.now + days(14);
    let plan = plan_text(&scene.plan());
    assert!(plan.starts_with("issue") && plan.contains("then deliver to nobody now"), "{plan}");
}
