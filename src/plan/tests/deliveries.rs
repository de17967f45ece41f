//! Which node gets what, and why another gets nothing.

use jiff::SignedDuration;

use super::scene::{SERVICE, Scene, at, cert, days, hours, leaf, name, names, show};
use super::{golden, snapshot};
use crate::model::{DeliveryAttempts, Over, ProbeError, Seen, Served};
use crate::plan::{Before, Step};
use crate::report::plan_text;

const TWO: &str = "[[certificate]]\ndomains = [\"one.example.com\"]\nnodes = [\"*\"]\n\
                   [[certificate]]\ndomains = [\"two.example.com\"]\nnodes = [\"*\"]\n";

/// Stored, not due, and served by every node.
fn fleet() -> Scene {
    Scene::new().stored(days(30), days(90))
}

#[test]
fn when_every_node_serves_it_nothing_is_left_to_do_and_the_plan_says_when_to_look_again() {
    let plan = fleet().plan();
    assert!(plan.steps.is_empty());
    assert_eq!(plan.next, Some(at("2026-11-23T18:00:00Z")), "to ask the CA whether it still holds");
    snapshot("nothing-left", &plan_text(&plan));
    let mut fleet = fleet();
    fleet.kept().leaf.ari_id = None;
    assert_eq!(fleet.plan().next, Some(at("2026-12-23T12:00:00Z")), "it cannot be asked");
}

#[test]
fn each_node_that_serves_something_else_gets_it_with_its_own_reason() {
    golden("one-stale", &fleet().serves_former("guangzhou", SERVICE));
    golden("one-foreign", &fleet().serves_foreign("上海"));
    golden("one-silent", &fleet().silent("shenzhen", ProbeError::Refused));
    let mut untrusted = fleet();
    let ours = untrusted.kept().leaf.clone();
    let seen =
        Seen::Leaf { leaf: Box::new(ours), distrust: Some("the intermediate by ISRG Root X1 is missing".into()) };
    untrusted.set(&name("上海"), &cert(SERVICE), seen);
    golden("one-with-an-incomplete-chain", &untrusted);
}

#[test]
fn a_node_that_does_not_answer_over_udp_lacks_nothing_and_is_judged_by_what_tcp_shows() {
    let without_quic = |mut scene: Scene| {
        let tcp = scene.observed.served.iter().find(|served| served.node == name("guangzhou")).unwrap().clone();
        let seen = Seen::Silence(ProbeError::NoQuic);
        scene.observed.served.push(Served { over: Over::Quic, seen, ..tcp });
        scene
    };
    let plan = without_quic(fleet()).plan();
    assert!(plan.steps.is_empty(), "no pass would end it: {plan:?}");
    match &without_quic(fleet().serves_former("guangzhou", SERVICE)).plan().steps[..] {
        [Step::Deliver(deliver)] => assert_eq!(deliver.nodes[0].before, Before::Valid, "going back helps visitors"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_whole_plan_as_json() {
    let mut scene = fleet().serves_former("guangzhou", SERVICE).silent("上海", ProbeError::TimedOut);
    let expired = leaf("expired", &names(&[SERVICE]), days(-90), hours(-1));
    scene.set(&name("shenzhen"), &cert(SERVICE), show(&expired));
    snapshot("json", &serde_json::to_string_pretty(&scene.plan()).unwrap());
}

#[test]
fn a_paused_node_gets_nothing_until_its_pause_is_over() {
    let certificates = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n");
    let nodes = [("上海", ""), ("shenzhen", "paused_until = \"2026-12-01\"")];
    let mut scene =
        Scene::of_nodes(&certificates, &nodes).stored(days(30), days(90)).serves_former("shenzhen", SERVICE);
    golden("one-paused", &scene);
    scene.now = at("2026-12-01T00:00:00Z");
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("to shenzhen: serves our earlier"), "{plan}");
}

#[test]
fn a_node_that_went_back_waits_longer_each_time_and_holds_up_nobody() {
    let went_back = |failures| {
        fleet().serves_former("guangzhou", SERVICE).serves_former("shenzhen", SERVICE).delivery_failed(
            "guangzhou",
            SERVICE,
            move |attempts| (attempts.rolled_back, attempts.failures) = (true, failures),
        )
    };
    golden("one-rolled-back-lately", &went_back(3));
    let plan = plan_text(&went_back(1).plan());
    assert!(plan.contains("to guangzhou"), "ten minutes are over: {plan}");
    let plan = plan_text(&went_back(9).plan());
    assert!(plan.contains("guangzhou: failed 9 times; next try 2026-11-23 17:00 UTC"), "{plan}");
    let plan = plan_text(&went_back(9).deploy().plan());
    assert!(plan.contains("to guangzhou"), "a person insists: {plan}");
}

#[test]
fn a_node_that_refused_an_earlier_generation_is_tried_with_the_new_one() {
    let other = |attempts: &mut DeliveryAttempts| {
        (attempts.rolled_back, attempts.failures) = (true, 9);
        attempts.generation = "20260101000000-0a".parse().unwrap();
    };
    let scene = fleet().serves_former("guangzhou", SERVICE).delivery_failed("guangzhou", SERVICE, other);
    assert!(plan_text(&scene.plan()).contains("to guangzhou"));
}

#[test]
fn a_node_that_did_not_answer_is_tried_in_every_pass_but_once_in_this_one() {
    let mut scene = fleet()
        .serves_former("guangzhou", SERVICE)
        .delivery_failed("guangzhou", SERVICE, |attempts| attempts.failures = 9);
    assert!(plan_text(&scene.plan()).contains("to guangzhou"));
    scene.observed.asked.pass_started = Some(scene.now - hours(1));
    golden("one-tried-in-this-pass", &scene);
    let plan = plan_text(&scene.deploy().plan());
    assert!(plan.contains("guangzhou: failed in this pass"), "a person's insisting is heard once: {plan}");
}

#[test]
fn where_passes_follow_each_other_a_node_that_does_not_answer_is_tried_after_1_2_5_and_then_every_10_minutes() {
    for (failures, minutes) in [(1, 1), (2, 2), (3, 5), (4, 10), (40, 10)] {
        let mut scene = fleet().serves_former("guangzhou", SERVICE);
        scene.observed.asked.short_retries = true;
        let now = scene.now;
        let mut scene = scene.delivery_failed("guangzhou", SERVICE, |attempts| {
            (attempts.failures, attempts.last) = (failures, now);
        });
        let until = now + SignedDuration::from_mins(minutes);
        scene.observed.asked.pass_started = Some(now);
        assert_eq!(scene.plan().next, Some(until), "the plan of the pass that it failed in tells when to come again");
        scene.observed.asked.pass_started = None;
        assert_eq!((scene.plan().steps.len(), scene.plan().next), (0, Some(until)));
        scene.now = until;
        assert_eq!(scene.plan().steps.len(), 1);
    }
}

/// Four nodes whose certificate of 90 days has this many hours left; the named ones went back two minutes ago, the
/// others were skipped.
fn refused_by(refusing: &[&str], left: i64) -> Scene {
    let certificates = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n");
    let all = ["a", "b", "c", "d"];
    let mut scene = Scene::of_nodes(&certificates, &all.map(|node| (node, ""))).stored(hours(1), days(90));
    scene.observed.asked.short_retries = true;
    let last = scene.now - SignedDuration::from_mins(2);
    let served = leaf("former", &names(&[SERVICE]), hours(left) - days(90), hours(left));
    for node in all {
        scene.set(&name(node), &cert(SERVICE), show(&served));
        let back = refusing.contains(&node);
        scene = scene.delivery_failed(node, SERVICE, |attempts| {
            (attempts.failures, attempts.rolled_back, attempts.last) = (u32::from(back), back, last);
        });
    }
    scene
}

#[test]
fn nodes_skipped_for_one_refusal_go_on_at_once_and_the_refusing_node_waits_alone() {
    let scene = refused_by(&["b"], 24 * 30);
    let plan = scene.plan();
    let [Step::Deliver(deliver)] = &plan.steps[..] else { panic!("{plan:?}") };
    let nodes: Vec<&str> = deliver.nodes.iter().map(|task| task.node.as_str()).collect();
    assert_eq!(nodes, ["a", "c", "d"]);
    assert_eq!(deliver.refused, [name("b")].into(), "a second one says that it is the certificate");
    assert_eq!(plan.next, Some(scene.now + SignedDuration::from_mins(8)), "its own pause");
    let mut later = scene.clone();
    later.now += SignedDuration::from_mins(8);
    let plan = later.plan();
    let [Step::Deliver(deliver)] = &plan.steps[..] else { panic!("{plan:?}") };
    let last: Vec<bool> = deliver.nodes.iter().map(|task| task.failed_before).collect();
    assert_eq!(last, [false, true, false, false], "it is canary last");
}

#[test]
fn nodes_skipped_for_two_refusals_wait_with_them_unless_what_they_serve_ends_soon() {
    let mut scene = refused_by(&["b", "c"], 24 * 30);
    assert_eq!((scene.plan().steps.len(), scene.plan().next), (0, Some(scene.now + SignedDuration::from_mins(8))));
    let hurried = refused_by(&["b", "c"], 24 * 20);
    let plan = hurried.plan();
    let [Step::Deliver(deliver)] = &plan.steps[..] else { panic!("{plan:?}") };
    let nodes: Vec<(&str, bool)> = deliver.nodes.iter().map(|task| (task.node.as_str(), task.hurry)).collect();
    assert_eq!(nodes, [("a", true), ("d", true)]);
    scene.now += SignedDuration::from_mins(8);
    let plan = plan_text(&scene.plan());
    assert!(["a", "b", "c", "d"].iter().all(|node| plan.contains(&format!("to {node}:"))), "{plan}");
    // A delivery interrupted by a signal goes on at once.
    let last = fleet().now - SignedDuration::from_mins(2);
    let skipped = |attempts: &mut DeliveryAttempts| (attempts.failures, attempts.last) = (0, last);
    let mut scene = fleet().serves_former("shenzhen", SERVICE).delivery_failed("shenzhen", SERVICE, skipped);
    scene.observed.asked.short_retries = true;
    assert_eq!(scene.plan().steps.len(), 1);
}

#[test]
fn two_nodes_that_refuse_in_turns_keep_the_others_waiting_no_longer_than_one_of_them_waits() {
    let mut scene = refused_by(&["b", "c"], 24 * 30);
    let now = scene.now;
    // Each has refused for the fifth time, one in the middle of the other's pause.
    let skipped = now - hours(5);
    for (node, last) in [("a", skipped), ("b", now - hours(1)), ("c", now - hours(4)), ("d", skipped)] {
        let attempts = scene.observed.state.delivery.get_mut(&name(node)).unwrap().get_mut(&cert(SERVICE)).unwrap();
        (attempts.failures, attempts.last) = (attempts.failures * 5, last);
    }
    assert_eq!((scene.plan().steps.len(), scene.plan().next), (0, Some(now + hours(1))));
    scene.now += hours(1);
    let plan = scene.plan();
    let [Step::Deliver(deliver)] = &plan.steps[..] else { panic!("{plan:?}") };
    let nodes: Vec<&str> = deliver.nodes.iter().map(|task| task.node.as_str()).collect();
    assert_eq!(nodes, ["a", "d"]);
}

#[test]
fn deploy_issues_nothing_whatever_is_due() {
    golden("deploy-with-nothing-stored", &Scene::new().deploy());
    let due = Scene::new().stored(days(61), days(90)).serves_former("guangzhou", SERVICE);
    golden("deploy-what-is-stored", &due.deploy().force());
}

#[test]
fn deploy_to_one_node_touches_only_that() {
    let mut scene = fleet().serves_former("guangzhou", SERVICE).serves_former("shenzhen", SERVICE).deploy();
    scene.observed.asked.nodes.insert(name("shenzhen"));
    golden("deploy-one-node", &scene);
}

#[test]
fn what_cannot_be_renewed_now_is_delivered_meanwhile_and_what_is_due_is_not() {
    let stale = || Scene::new().stored(days(61), days(90)).serves_former("guangzhou", SERVICE);
    golden("due-and-stale", &stale());
    golden("held-up-and-stale", &stale().failed(4, hours(1), None));
}

#[test]
fn certificates_with_the_same_nodes_are_one_rollout() {
    let scene = two(TWO).serves_former("shenzhen", "two.example.com");
    golden("same-nodes", &scene);
    assert_eq!(scene.plan().steps.len(), 1);
}

#[test]
fn certificates_with_different_nodes_are_two_rollouts() {
    let apart = TWO.replacen("[\"*\"]", "[\"上海\", \"shenzhen\"]", 1);
    let scene = two(&apart);
    golden("different-nodes", &scene);
    assert_eq!(scene.plan().steps.len(), 2);
}

#[test]
fn a_certificate_that_failed_together_with_another_travels_alone() {
    let scene = two(TWO).delivery_failed("shenzhen", "two.example.com", |attempts| attempts.together = true);
    golden("travels-alone", &scene);
    assert_eq!(scene.plan().steps.len(), 2);
    let three = format!("{TWO}[[certificate]]\ndomains = [\"three.example.com\"]\nnodes = [\"*\"]\n");
    let scene =
        two(&three).stored_as("three.example.com", days(1), days(90)).serves_former("上海", "three.example.com");
    let scene = scene.delivery_failed("shenzhen", "one.example.com", |attempts| attempts.together = true);
    assert_eq!(scene.plan().steps.len(), 2, "the other two still travel together: {}", plan_text(&scene.plan()));
}

#[test]
fn the_operators_canary_counts_whichever_certificate_names_it() {
    for (first, second) in [("shenzhen", ""), ("", "shenzhen")] {
        let canary = |node: &str| if node.is_empty() { String::new() } else { format!("canary = \"{node}\"\n") };
        let certificates = format!(
            "[[certificate]]\ndomains = [\"one.example.com\"]\nnodes = [\"*\"]\n{}\
             [[certificate]]\ndomains = [\"two.example.com\"]\nnodes = [\"*\"]\n{}",
            canary(first),
            canary(second)
        );
        let plan = two(&certificates).plan();
        let [Step::Deliver(deliver)] = &plan.steps[..] else { panic!("one rollout: {}", plan_text(&plan)) };
        assert_eq!(deliver.canary, Some(name("shenzhen")), "{certificates}");
    }
}

#[test]
fn one_certificate_of_two_may_be_asked_for() {
    let mut scene = two(TWO);
    scene.observed.asked.certificates.insert(cert("two.example.com"));
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("two.example.com") && !plan.contains("one.example.com"), "{plan}");
}

#[test]
fn a_node_of_which_nothing_was_seen_is_not_called_well() {
    let mut scene = fleet();
    scene.observed.served.retain(|served| served.node != name("shenzhen"));
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("to shenzhen: it was not probed"), "{plan}");
}

#[test]
fn every_port_of_a_node_has_to_show_the_certificate() {
    let scene = fleet();
    let mut at_993 = scene.observed.served.iter().find(|served| served.node == name("shenzhen")).unwrap().clone();
    at_993.address = Some("192.0.2.3:993".parse().unwrap());
    let with = |seen: Seen| {
        let mut scene = scene.clone();
        scene.observed.served.push(Served { seen, ..at_993.clone() });
        plan_text(&scene.plan())
    };
    assert!(!with(at_993.seen.clone()).contains("to shenzhen"));
    let old = leaf("old", &names(&[SERVICE]), days(-60), days(30));
    assert!(with(show(&old)).contains("to shenzhen"));
    assert!(with(Seen::Silence(ProbeError::Refused)).contains("to shenzhen"));
}

#[test]
fn of_several_addresses_the_worst_counts() {
    let certificates = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n");
    let mut scene = Scene::of_nodes(&certificates, &[("上海", "")]).stored(days(30), days(90));
    let mut other = scene.observed.served[0].clone();
    other.address = Some("[2001:db8::1]:443".parse().unwrap());
    other.seen = Seen::Silence(ProbeError::TimedOut);
    scene.observed.served.push(other);
    golden("one-address-silent", &scene);
    let before = |scene: &Scene| match &scene.plan().steps[0] {
        Step::Deliver(deliver) => deliver.nodes[0].before,
        Step::Issue(_) | Step::Rehearse(_) => panic!("nothing is due"),
    };
    assert_eq!(before(&scene), Before::Nothing, "no canary, but what it serves can be seen, and so reloaded");
    scene.observed.served[0].seen = Seen::Silence(ProbeError::Refused);
    assert_eq!(before(&scene), Before::Silent);
}

/// Both stored, both lacking at two nodes.
fn two(certificates: &str) -> Scene {
    let scene = Scene::with(certificates).stored_as("one.example.com", days(1), days(90));
    let scene = scene.stored_as("two.example.com", days(2), days(90));
    scene.serves_former("shenzhen", "one.example.com").serves_former("上海", "two.example.com")
}
