//! Fences: what a node claims to hold, and how far that is trusted.

use super::scene::{SERVICE, Scene, cert, days, failure, hours, name};
use crate::model::Code;
use crate::model::ProbeError;
use crate::plan::Step;
use crate::plan::delivery::prune;
use crate::plan::fence::{self, renumber_above};
use crate::report::plan_text;

/// Stored, not due, and served by every node.
fn fleet() -> Scene {
    Scene::new().stored(days(30), days(90))
}

#[test]
fn a_number_of_a_time_to_come_gives_way_to_a_later_certificate_and_to_no_other() {
    let refused = |scene: Scene, node| {
        scene.delivery_failed(node, SERVICE, |attempts| attempts.failure = failure(Code::NodeForeignNewer, "newer"))
    };
    let fenced = |mut scene: Scene, number| {
        for node in ["guangzhou", "shenzhen"] {
            fence::record(&mut scene.observed.state, &cert(SERVICE), &name(node), Some(number), scene.now);
        }
        renumber_above(&cert(SERVICE), &scene.observed, scene.now)
    };
    // It is noon of 2026-11-23, and a scene's certificates were issued before.
    let number = 20_261_123_235_959;
    let former = || refused(fleet().serves_former("guangzhou", SERVICE), "guangzhou");
    assert_eq!(fenced(former(), number), Some(number), "what is served there is ours of earlier");
    assert_eq!(fenced(former(), 20_250_101_000_000), None, "the number is no reason any more");
    assert_eq!(fenced(fleet().serves_former("guangzhou", SERVICE), number), None, "nobody refused");
    let later = || refused(fleet().serves_foreign("shenzhen"), "shenzhen");
    assert_eq!(fenced(later(), number), None, "another controller issued it after ours");
    assert_eq!(fenced(refused(former().serves_foreign("shenzhen"), "shenzhen"), number), None, "one of them did");
    let silent = refused(fleet().silent("guangzhou", ProbeError::Refused), "guangzhou");
    assert_eq!(fenced(silent, number), None, "nothing to compare with");
    for number in [20_261_124_110_001, 20_261_124_120_001, 29_991_231_235_959, 9_999_999_999_999_999_999, u64::MAX] {
        assert_eq!(fenced(former(), number), None, "{number}: nobody can have given it, or a receiver may refuse it");
    }
}

#[test]
fn on_one_nodes_word_a_certificate_is_numbered_anew_once_and_nobody_elses_back_off_is_lost() {
    let mut scene = fleet().serves_former("guangzhou", SERVICE).serves_former("shenzhen", SERVICE);
    let refuses = |scene: Scene, number: u64| {
        let mut scene = scene.delivery_failed("guangzhou", SERVICE, |attempts| {
            attempts.failure = failure(Code::NodeForeignNewer, "newer");
        });
        fence::record(&mut scene.observed.state, &cert(SERVICE), &name("guangzhou"), Some(number), scene.now);
        scene
    };
    scene = scene.delivery_failed("shenzhen", SERVICE, |attempts| attempts.rolled_back = true);
    scene = refuses(scene, 20_261_123_150_000);
    let above = renumber_above(&cert(SERVICE), &scene.observed, scene.now).expect("it may be honest");
    let to = scene.kept().generation.above(above);
    assert_eq!(to.number(), 20_261_123_150_001);
    fence::renumbered(&mut scene.observed, &cert(SERVICE), &to);
    scene.kept().generation = to.clone();
    let attempts_there = |scene: &Scene, node: &str| scene.observed.state.delivery.get(&name(node)).cloned();
    assert!(attempts_there(&scene, "guangzhou").is_none(), "it is attempted there again");
    let other = attempts_there(&scene, "shenzhen").expect("it refused for another reason")[&cert(SERVICE)].clone();
    assert!(other.rolled_back && other.generation == to, "{other:?}");
    // The node accepted, and then claims another number; or has another one at once.
    for took in [true, false] {
        if took {
            fence::record(&mut scene.observed.state, &cert(SERVICE), &name("guangzhou"), None, scene.now);
        }
        let scene = refuses(scene.clone(), 20_261_123_180_000);
        assert_eq!(renumber_above(&cert(SERVICE), &scene.observed, scene.now), None, "once was enough");
    }
    // Another node's claim still counts, …
    let mut scene = scene.delivery_failed("shenzhen", SERVICE, |attempts| {
        attempts.failure = failure(Code::NodeForeignNewer, "newer");
    });
    fence::record(&mut scene.observed.state, &cert(SERVICE), &name("shenzhen"), Some(20_261_123_170_000), scene.now);
    assert_eq!(renumber_above(&cert(SERVICE), &scene.observed, scene.now), Some(20_261_123_170_000));
    // … and the first node's does with the next certificate.
    scene.kept().leaf.fingerprint = crate::cert::Fingerprint::of(b"the next");
    let scene = refuses(scene, 20_261_123_180_000);
    assert_eq!(renumber_above(&cert(SERVICE), &scene.observed, scene.now), Some(20_261_123_180_000));
}

#[test]
fn what_a_node_says_that_it_holds_is_named_in_the_plan_of_the_next_certificate_and_forgotten_when_it_took_one() {
    let mut scene = fleet().force();
    let seen = |scene: &Scene| match &scene.plan().steps[..] {
        [Step::Issue(issue)] => (issue.seen, issue.above.clone().map(|above| above.node)),
        other => panic!("{other:?}"),
    };
    let stored = scene.kept().generation.number();
    let say = |scene: &mut Scene, number| {
        fence::record(&mut scene.observed.state, &cert(SERVICE), &name("guangzhou"), number, scene.now);
    };
    say(&mut scene, Some(20_261_124_100_000));
    assert_eq!(seen(&scene), (20_261_124_100_000, Some(name("guangzhou"))));
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("numbered above 20261124100000, which guangzhou holds"), "{plan}");
    // An impossible number, kept in the state by an earlier certd.
    for number in [20_261_125_000_000, 99_999_999_999_999, u64::MAX] {
        say(&mut scene, Some(number));
        assert_eq!(seen(&scene), (stored, None), "{number}");
    }
    say(&mut scene, Some(20_261_124_100_000));
    say(&mut scene, None);
    assert_eq!(seen(&scene), (stored, None));
}

#[test]
fn a_pass_that_has_issued_a_certificate_issues_no_second_one_of_that_name_whatever_the_store_shows() {
    for scene in [Scene::new(), fleet().force(), Scene::new().intent(Some("https://ca.example/order/1"), |_| ())] {
        assert!(matches!(&scene.plan().steps[..], [Step::Issue(_)]));
        let mut scene = scene;
        scene.observed.issued.insert(cert(SERVICE));
        let plan = scene.plan();
        assert!(!plan.steps.iter().any(|step| matches!(step, Step::Issue(_))), "{plan:?}");
        let text = plan_text(&plan);
        assert!(text.contains("this pass has issued one already"), "{text}");
    }
}

#[test]
fn a_person_who_names_a_node_whose_number_nobody_can_have_given_goes_beneath_it() {
    let older = |code: Code, change: &dyn Fn(&mut Scene)| {
        let mut scene = fleet().serves_former("guangzhou", SERVICE);
        scene = scene.delivery_failed("guangzhou", SERVICE, |attempts| attempts.failure = failure(code.clone(), "no"));
        scene = scene.deploy();
        change(&mut scene);
        match &scene.plan().steps[..] {
            [Step::Deliver(deliver)] => deliver.nodes[0].older.contains(&cert(SERVICE)),
            other => panic!("{other:?}"),
        }
    };
    let named = |scene: &mut Scene| _ = scene.observed.asked.ignore_window.insert(name("guangzhou"));
    assert!(older(Code::NodeFenceImplausible, &named));
    assert!(!older(Code::NodeFenceImplausible, &|_| ()), "nobody named it");
    assert!(!older(Code::NodeForeignNewer, &named), "that may be another controller's");
}

#[test]
fn a_node_that_is_none_any_more_keeps_no_certificate_from_the_others() {
    let gone = |scene: Scene, back: bool| {
        scene.delivery_failed("192.0.2.99", SERVICE, move |attempts| {
            attempts.failure = failure(Code::NodeForeignNewer, "newer");
            (attempts.rolled_back, attempts.failures) = (back, 3);
        })
    };
    let mut scene =
        gone(fleet().serves_former("guangzhou", SERVICE), false).delivery_failed("guangzhou", SERVICE, |attempts| {
            attempts.failure = failure(Code::NodeForeignNewer, "newer")
        });
    let number = 20_261_123_235_959;
    for (node, number) in [("guangzhou", number), ("192.0.2.99", number + 1)] {
        fence::record(&mut scene.observed.state, &cert(SERVICE), &name(node), Some(number), scene.now);
    }
    assert_eq!(renumber_above(&cert(SERVICE), &scene.observed, scene.now), None, "nothing to compare with");
    prune(&mut scene.observed.state, &scene.config, scene.now);
    fence::prune(&mut scene.observed.state, &scene.config);
    assert_eq!(renumber_above(&cert(SERVICE), &scene.observed, scene.now), Some(number));
    assert!(scene.observed.state.delivery.contains_key(&name("guangzhou")), "it still is one");
    let mut back = gone(fleet(), true);
    prune(&mut back.observed.state, &back.config, back.now);
    assert!(back.observed.state.delivery.contains_key(&name("192.0.2.99")), "DNS may name it again in a minute");
    back.now += hours(6);
    prune(&mut back.observed.state, &back.config, back.now);
    assert!(back.observed.state.delivery.is_empty());
}
