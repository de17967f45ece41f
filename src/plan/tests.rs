//! Whole plans as text files: from a configuration and what was observed to each step, each wait and each reason.

mod cas;
mod deliveries;
mod disks;
mod ends;
mod fences;
mod histories;
mod hostile;
mod key_types;
mod laws;
mod places;
mod policy;
mod rehearsals;
mod scene;
mod year;

pub(super) use laws::Draw;
use scene::{SERVICE, Scene, days, hours};

use crate::cert::KeyType;
use crate::model::CaClock;
use crate::report::plan_text;

#[test]
fn k03_by_a_clock_that_cannot_be_right_nothing_is_issued_delivered_or_awaited() {
    let mut scene = Scene::new().stored(days(61), days(90)).serves_former("shenzhen", SERVICE).force();
    scene.observed.state.last_seen = Some(scene.now + days(3700));
    golden("clock-behind", &scene);
    scene.observed.state.last_seen = Some(scene.now - days(3700));
    golden("clock-ahead", &scene);
    scene.observed.ca_clock = Some(CaClock { ours: scene.now, theirs: scene.now });
    assert!(plan_text(&scene.plan()).starts_with("issue"), "the CA says that it is right");
}

#[test]
fn without_a_certificate_one_is_issued() {
    golden("nothing-stored", &Scene::new());
}

#[test]
fn a_certificate_with_more_than_a_third_of_its_life_is_not_due() {
    golden("not-due", &Scene::new().stored(days(30), days(90)));
}

#[test]
fn a20_the_schedule_follows_the_actual_lifetime_and_a_short_one_is_renewed_at_its_half() {
    golden("not-due-short", &Scene::new().stored(days(1), hours(160)));
    golden("not-due-of-45-days", &Scene::new().stored(days(29), days(45)));
}

#[test]
fn the_cas_window_decides_with_an_instant_drawn_within_it() {
    let scene = Scene::new().stored(days(30), days(90)).ari("2026-12-22T00:00:00Z", "2026-12-23T19:00:00Z");
    golden("not-due-ari", &scene);
}

#[test]
fn with_a_third_of_the_lifetime_left_it_is_due() {
    golden("due-by-lifetime", &Scene::new().stored(days(60), days(90)));
}

#[test]
fn a_replacement_inside_its_window_is_exempt_and_does_not_ask_the_ledger() {
    let scene = Scene::new().stored(days(58), days(90)).ari("2026-11-22T00:00:00Z", "2026-11-24T00:00:00Z");
    golden("exempt", &scene.finalized(&[hours(1), hours(2), hours(3), hours(4), hours(5)]));
}

#[test]
fn a25_a_window_in_the_past_is_due_at_once_and_not_exempt() {
    let scene = Scene::new().stored(days(2), days(90)).ari("2026-11-23T11:00:00Z", "2026-11-23T11:30:00Z");
    golden("due-by-ari-in-the-past", &scene);
}

#[test]
fn a26_a_window_that_cannot_be_leaves_the_lifetime_rule() {
    let backwards = Scene::new().stored(days(30), days(90)).ari("2026-12-02T00:00:00Z", "2026-12-01T00:00:00Z");
    golden("ari-backwards", &backwards);
    let wide = Scene::new().stored(days(30), days(90)).ari("2026-11-01T00:00:00Z", "2027-11-01T00:00:00Z");
    golden("ari-wider-than-the-life", &wide);
}

#[test]
fn a26_a_window_of_another_certificate_is_none() {
    let mut scene = Scene::new().stored(days(30), days(90)).ari("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z");
    scene.kept().leaf.fingerprint = crate::cert::Fingerprint::of(b"renewed since");
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("not due until 2026-12-23 12:00 UTC (1/3"), "{plan}");
}

#[test]
fn a27_of_a_late_window_and_the_emergency_floor_the_earlier_one_counts() {
    let scene = Scene::new().stored(days(30), days(90)).ari("2027-01-20T00:00:00Z", "2027-01-21T00:00:00Z");
    golden("ari-later-than-the-floor", &scene);
}

#[test]
fn changed_names_are_issued_at_once_and_listed_one_by_one() {
    let mut scene = Scene::new().stored(days(1), days(90));
    scene.kept().leaf.names = scene::names(&[SERVICE, "old.example.com"]);
    let domains = format!("[[certificate]]\ndomains = [\"{SERVICE}\", \"*.example.org\"]\nnodes = [\"*\"]\n");
    scene.config = Scene::with(&domains).config;
    golden("names-changed", &scene);
}

#[test]
fn a_changed_key_type_or_profile_is_issued_at_once() {
    let mut scene = Scene::new().stored(days(1), days(90));
    scene.kept().meta.key_type = KeyType::Rsa2048;
    golden("key-type-changed", &scene);
    let profile = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\nprofile = \"tlsserver\"\n");
    let mut scene = Scene::with(&profile).stored(days(1), days(90));
    scene.kept().meta.profile = None;
    golden("profile-changed", &scene);
}

#[test]
fn force_issues_what_is_not_due() {
    golden("forced", &Scene::new().stored(days(1), days(90)).force());
}

#[test]
fn an_order_at_another_ca_does_not_replace_a_certificate_that_it_did_not_issue() {
    let mut scene = Scene::new().stored(days(58), days(90)).ari("2026-11-22T00:00:00Z", "2026-11-24T00:00:00Z").force();
    scene.kept().meta.ca = "acme.zerossl.com".into();
    let plan = plan_text(&scene.plan());
    assert!(plan.contains("--force") && !plan.contains("replaces"), "{plan}");
}

#[test]
fn an_unfinished_order_is_resumed_before_anything_else_is_asked() {
    let url = "https://acme-v02.api.letsencrypt.org/acme/order/1/2";
    golden("resumed", &Scene::new().stored(days(61), days(90)).intent(Some(url), |_| {}));
    golden("resumed-before-its-order", &Scene::new().intent(None, |_| {}));
}

#[test]
fn a_resumed_order_whose_finalize_is_counted_already_needs_no_room() {
    let scene = Scene::new().intent(Some("https://ca/order/1"), |_| {});
    let plan = plan_text(&scene.finalized(&[hours(2), hours(30), hours(40)]).plan());
    assert!(plan.contains("an order begun 2026-11-23 09:00 UTC is unfinished"), "{plan}");
}

#[test]
fn an_intent_that_is_no_longer_wanted_is_not_resumed() {
    let scene = |change: fn(&mut crate::model::Intent)| {
        Scene::new().stored(days(61), days(90)).intent(Some("https://ca/order/1"), change)
    };
    golden("intent-of-other-names", &scene(|intent| intent.names = scene::names(&["other.example.com"])));
    for other in [
        scene(|intent| intent.key_type = KeyType::Rsa2048),
        scene(|intent| intent.profile = Some("shortlived".into())),
        scene(|intent| intent.ca = "acme-staging-v02.api.letsencrypt.org".into()),
    ] {
        let plan = plan_text(&other.plan());
        assert!(plan.contains("due since 2026-11-22 12:00 UTC"), "{plan}");
    }
}

#[test]
fn after_failures_the_ca_is_asked_after_1_10_100_minutes_and_then_daily() {
    for failures in 1..=5 {
        let ago = jiff::SignedDuration::from_secs(30);
        let scene = Scene::new().stored(days(61), days(90)).failed(failures, ago, None);
        golden(&format!("back-off-{failures}"), &scene);
    }
}

#[test]
fn when_the_ladder_has_passed_it_is_tried_again() {
    let scene = Scene::new().stored(days(61), days(90)).failed(3, hours(2), None);
    let plan = plan_text(&scene.plan());
    assert!(plan.starts_with("issue"), "{plan}");
}

#[test]
fn k07_in_the_last_quarter_of_its_life_it_is_tried_again_within_six_hours() {
    let next = |age: i64| Scene::new().stored(days(age), days(90)).failed(9, hours(0), None).plan().next;
    assert_eq!(next(67), Some(scene::now() + hours(24)));
    assert_eq!(next(68), Some(scene::now() + hours(6)));
    let next = Scene::new().stored(days(80), days(90)).failed(1, hours(0), Some("2026-11-24T12:00:00Z")).plan().next;
    assert_eq!(next, Some(scene::now() + hours(24)), "the Retry-After is obeyed");
}

#[test]
fn a02_a_retry_after_is_obeyed_when_it_is_later_than_the_ladder_and_by_force_too() {
    let scene = Scene::new().failed(1, hours(1), Some("2026-11-23T18:00:00Z"));
    golden("retry-after", &scene);
    golden("retry-after-forced", &scene.stored(days(1), days(90)).force());
}

#[test]
fn force_does_not_wait_for_our_own_ladder() {
    let plan = plan_text(&Scene::new().failed(4, hours(1), None).force().plan());
    assert!(plan.contains("--force"), "{plan}");
}

#[test]
fn a_full_ledger_says_so_and_when_it_frees() {
    let scene = Scene::new().stored(days(1), days(90)).force();
    golden("ledger-full", &scene.finalized(&[hours(24), hours(48), hours(100), hours(200)]));
}

#[test]
fn the_reserve_is_for_emergencies() {
    let three = [hours(24), hours(48), hours(100)];
    let under_a_sixth = Scene::new().stored(days(76), days(90)).finalized(&three);
    golden("reserve-under-a-sixth", &under_a_sixth);
    let revoked = Scene::new().stored(days(2), days(90)).ari("2026-11-23T11:00:00Z", "2026-11-23T11:30:00Z");
    golden("reserve-revoked", &revoked.finalized(&three));
    let five = [hours(24), hours(48), hours(100), hours(120), hours(140)];
    golden("reserve-used-up", &Scene::new().stored(days(76), days(90)).finalized(&five));
    let plan = plan_text(&Scene::new().stored(days(61), days(90)).finalized(&three).plan());
    assert!(plan.contains("3 allowed"), "a third left is no emergency: {plan}");
}

#[test]
fn other_names_and_other_cas_do_not_count() {
    let mut scene = Scene::new().finalized(&[hours(1), hours(2), hours(3), hours(4), hours(5), hours(6)]);
    for (number, entry) in scene.observed.ledger.iter_mut().enumerate() {
        match number % 2 {
            0 => entry.ca = "acme-staging-v02.api.letsencrypt.org".into(),
            _ => entry.names = scene::names(&[SERVICE, "www.example.com"]),
        }
    }
    assert!(plan_text(&scene.plan()).starts_with("issue"));
}

fn golden(case: &str, scene: &Scene) {
    snapshot(case, &plan_text(&scene.plan()));
}

fn snapshot(case: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "testdata", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(case, text);
    });
}
