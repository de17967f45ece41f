//! Several CAs: which one is asked, which are passed over, and why.

use jiff::SignedDuration;

use super::scene::{SERVICE, Scene, at, cert, days, failure, hours};
use super::{golden, snapshot};
use crate::cert::Fingerprint;
use crate::model::{Advice, Attempts, LedgerEntry, LedgerEvent};
use crate::plan::{Issue, RenewalReason, RenewalWait, Step, Wait};
use crate::report::plan_text;

const FIRST: &str = "acme-v02.api.letsencrypt.org";
const SECOND: &str = "ca.example.org";
const THIRD: &str = "ca.example.net";

fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

/// Three CAs; the certificate is stored since `age` days of 90.
fn scene(age: i64) -> Scene {
    Scene::with_cas(
        &format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\nprofile = \"tlsserver\"\n"),
        &[
            &format!("directory = \"https://{SECOND}/dir\"\nprofile = \"ninety\""),
            &format!("directory = \"https://{THIRD}/dir\""),
        ],
    )
    .stored(days(age), days(90))
}

impl Scene {
    /// Failures at one CA, the last `ago`.
    fn failed_at(mut self, ca: &str, failures: u32, ago: SignedDuration, change: impl FnOnce(&mut Attempts)) -> Self {
        let failure = failure("acme-status", "HTTP status 503");
        let mut attempts = Attempts { failures, first: None, last: self.now - ago, not_before: None, failure };
        change(&mut attempts);
        self.observed.state.issuance.entry(cert(SERVICE)).or_default().insert(ca.into(), attempts);
        self
    }

    fn issue(&self) -> Option<Issue> {
        self.plan().steps.into_iter().find_map(|step| match step {
            Step::Issue(issue) => Some(*issue),
            Step::Deliver(_) | Step::Rehearse(_) => None,
        })
    }

    /// The host of the CA that is asked now.
    fn asked(&self) -> String {
        self.issue().map(|issue| issue.ca).unwrap_or_default()
    }

    fn waits_for(&self) -> String {
        let waits = self.plan().waits;
        let ca = waits.iter().find_map(|wait| match wait {
            Wait::Renewal { reason: RenewalWait::BackOff { ca, .. } | RenewalWait::Ledger { ca, .. }, .. } => Some(ca),
            _ => None,
        });
        ca.cloned().unwrap_or_default()
    }
}

fn retry_after(text: &str) -> impl FnOnce(&mut Attempts) {
    let until = at(text);
    move |attempts| attempts.not_before = Some(until)
}

#[test]
fn a06_a_ca_that_says_to_come_again_in_two_hours_is_passed_over() {
    golden("passed-over", &scene(61).failed_at(FIRST, 1, minutes(1), retry_after("2026-11-23T14:00:00Z")));
}

#[test]
fn a_ca_that_is_free_again_within_the_hour_is_waited_for() {
    let short = scene(61).failed_at(FIRST, 1, minutes(0), |_| ());
    golden("waits-for-the-first", &short);
    assert_eq!(scene(61).failed_at(FIRST, 2, minutes(1), |_| ()).waits_for(), FIRST, "9 minutes are left");
    assert_eq!(scene(61).failed_at(FIRST, 3, minutes(1), |_| ()).asked(), SECOND, "99 minutes are left");
    assert_eq!(scene(61).failed_at(FIRST, 3, minutes(50), |_| ()).waits_for(), FIRST, "50 minutes are left");
}

#[test]
fn in_an_emergency_no_ca_is_waited_for_while_another_is_free() {
    assert_eq!(scene(76).failed_at(FIRST, 1, minutes(0), |_| ()).asked(), SECOND);
    assert_eq!(scene(70).failed_at(FIRST, 1, minutes(0), |_| ()).waits_for(), FIRST, "a sixth is left yet");
}

#[test]
fn a23_a33_what_only_a_person_can_mend_at_one_ca_is_not_waited_for() {
    let paused = |attempts: &mut Attempts| {
        attempts.failure = failure("acme-paused", "paused, see https://ca.example/unpause");
        attempts.failure.advice = Advice::Person;
    };
    golden("paused-at-the-first", &scene(61).failed_at(FIRST, 1, minutes(0), paused));
}

#[test]
fn when_every_ca_is_held_up_the_earliest_is_waited_for() {
    let all = scene(61).failed_at(FIRST, 4, hours(1), |_| ()).failed_at(SECOND, 3, minutes(10), |_| ()).failed_at(
        THIRD,
        1,
        hours(1),
        retry_after("2026-11-24T12:00:00Z"),
    );
    golden("every-ca-is-held-up", &all);
}

#[test]
fn what_is_no_cas_doing_holds_them_all_back() {
    for code in ["dns-not-seen", "dns-api-limited", "txt-left", "store-full", "secret-unreadable", "bug"] {
        let failed = scene(61).failed_at(FIRST, 3, minutes(1), |attempts| attempts.failure = failure(code, "what"));
        assert_eq!((failed.asked(), failed.waits_for()), (String::new(), FIRST.into()), "{code}");
    }
    let dns = scene(61).failed_at(SECOND, 3, minutes(1), |attempts| {
        attempts.failure = failure("dns-not-seen", "no name server shows the TXT records");
    });
    golden("dns-holds-every-ca-back", &dns);
}

#[test]
fn force_skips_our_own_ladder_at_the_first_ca_and_never_its_retry_after() {
    assert_eq!(scene(1).force().failed_at(FIRST, 4, minutes(0), |_| ()).asked(), FIRST);
    let not_before = || retry_after("2026-11-23T15:00:00Z");
    assert_eq!(scene(1).force().failed_at(FIRST, 4, minutes(0), not_before()).asked(), SECOND);
    let soon = retry_after("2026-11-23T12:30:00Z");
    assert_eq!(scene(1).force().failed_at(FIRST, 4, minutes(0), soon).waits_for(), FIRST);
}

#[test]
fn a_full_ledger_at_one_ca_leaves_room_at_the_next() {
    golden("ledger-full-at-the-first", &scene(61).finalized(&[hours(24), hours(48), hours(100)]));
}

#[test]
fn a_wait_for_the_ledger_ends_when_the_reserve_may_be_used() {
    let scene = Scene::new().stored(days(3), days(6)).finalized(&[hours(1), hours(2), hours(3)]);
    let expected = scene.now + days(2) + SignedDuration::from_secs(1);
    assert_eq!(scene.plan().next, Some(expected), "with a day of six left, and not in a week");
    let mut then = scene;
    then.now = expected;
    assert!(then.issue().is_some());
}

#[test]
fn an_order_at_a_fallback_has_the_profile_of_that_ca_and_tells_it_nothing_of_anothers_certificate() {
    let issue = scene(61).ari("2026-11-22T00:00:00Z", "2026-11-24T00:00:00Z");
    let first = issue.issue().unwrap();
    assert_eq!((first.profile.as_deref(), first.replaces.is_some(), first.exempt), (Some("tlsserver"), true, true));
    let issue = issue.failed_at(FIRST, 4, minutes(0), |_| ()).issue().unwrap();
    assert_eq!((issue.profile.as_deref(), issue.replaces, issue.exempt), (Some("ninety"), None, false));
}

#[test]
fn a_certificate_of_a_fallback_is_no_reason_to_renew_and_its_renewal_goes_to_the_first_again() {
    let of_fallback = |age| {
        let mut scene = scene(age);
        let meta = &mut scene.kept().meta;
        (meta.ca, meta.profile) = (SECOND.into(), Some("ninety".into()));
        scene
    };
    assert!(of_fallback(1).issue().is_none());
    assert_eq!(of_fallback(61).asked(), FIRST);
    let mut other_profile = of_fallback(1);
    other_profile.kept().meta.profile = None;
    let reason = other_profile.issue().unwrap().reason;
    assert_eq!(reason, RenewalReason::ProfileChanged { from: None, to: Some("ninety".into()) });
}

const ORDER: &str = "https://ca.example.org/order/1";

/// An order at the second CA that an earlier run made.
fn begun(age: i64) -> Scene {
    scene(age).intent(Some(ORDER), |intent| (intent.ca, intent.profile) = (SECOND.into(), Some("ninety".into())))
}

fn finalized_at_second(mut scene: Scene) -> Scene {
    let (names, at) = (scene.config.certificates[0].names.clone(), scene.now - hours(1));
    let event = LedgerEvent::Finalize { exempt: false };
    scene.observed.ledger.push(LedgerEntry { at, ca: SECOND.into(), names, event, order: Some(ORDER.into()) });
    scene
}

#[test]
fn an_order_that_was_begun_at_a_fallback_is_ended_there_though_the_first_is_free() {
    golden("resumed-at-the-fallback", &begun(61));
}

#[test]
fn an_order_at_a_ca_that_is_passed_over_makes_room_for_one_at_the_next() {
    let held = begun(61).failed_at(SECOND, 3, minutes(1), |_| ());
    golden("begun-anew-at-the-first", &held);
}

#[test]
fn i06_where_a_certificate_may_exist_it_is_waited_for_but_in_an_emergency() {
    let counted = |age| finalized_at_second(begun(age)).failed_at(SECOND, 4, minutes(1), |_| ());
    golden("waits-where-a-certificate-may-exist", &counted(61));
    assert_eq!(counted(76).asked(), FIRST);
    assert_eq!(finalized_at_second(begun(76)).asked(), SECOND, "free, it is asked first");
}

#[test]
fn k04_a_clock_that_stepped_back_after_the_finalize_costs_no_second_certificate() {
    let three = [hours(24), hours(48), hours(100)];
    let mut scene = Scene::new().intent(Some(ORDER), |_| ()).finalized(&three);
    let full = plan_text(&scene.plan());
    assert!(!full.starts_with("issue"), "{full}");
    let entry = scene.observed.ledger.last_mut().unwrap();
    entry.order = Some(ORDER.into());
    assert!(plan_text(&scene.plan()).starts_with("issue"), "the order is counted, however long ago the clock says");
    let pending = scene.observed.store.get_mut(&cert(SERVICE)).unwrap().pending.as_mut().unwrap();
    pending.order_url = Some("https://ca.example.org/order/2".into());
    assert!(!plan_text(&scene.plan()).starts_with("issue"), "another order is another certificate");
}

#[test]
fn a_fleet_larger_than_the_cas_limit_of_orders_is_ordered_in_parts() {
    let certificates: String =
        (0..300).map(|n| format!("[[certificate]]\ndomains = [\"n{n}.example.com\"]\nnodes = [\"*\"]\n")).collect();
    let plan = Scene::with(&certificates).plan();
    assert_eq!(plan.steps.len(), 250);
    let last = plan.waits.iter().find(|wait| matches!(wait, Wait::Renewal { .. })).unwrap();
    let Wait::Renewal { certificate, reason: RenewalWait::Ledger { full, .. } } = last else { panic!("{last:?}") };
    assert_eq!((certificate, full.until()), (&cert("n250.example.com"), at("2026-11-23T15:00:00Z")));
    snapshot("full-account", &plan_text(&crate::plan::Plan { waits: vec![last.clone()], ..Default::default() }));
}

#[test]
fn a_certificate_that_was_given_up_is_replaced_at_once_from_the_reserve_and_not_exempt() {
    let mut scene = scene(2).ari("2026-11-22T00:00:00Z", "2026-11-24T00:00:00Z");
    let fingerprint = scene.kept().leaf.fingerprint;
    let revoked = crate::model::Revoked { at: at("2026-11-23T11:00:00Z"), reason: 1 };
    scene.observed.state.revoked.insert(fingerprint, revoked);
    golden("given-up", &scene.finalized(&[hours(24), hours(48), hours(100)]));
}

#[test]
fn a_key_is_used_again_when_that_is_wanted_and_never_when_it_may_be_somebody_elses() {
    let reuse = |age| {
        let text = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\nreuse_key = true\n");
        Scene::with(&text).stored(days(age), days(90))
    };
    golden("reused-key", &reuse(61));
    let keeps = |scene: &Scene| scene.issue().unwrap().keep_key;
    let mut other_type = reuse(1);
    other_type.kept().meta.key_type = crate::cert::KeyType::Rsa2048;
    assert!(!keeps(&other_type));
    let given_up = |of: fn(&mut Scene) -> Fingerprint, reason, when: &str| {
        let mut scene = reuse(61);
        let fingerprint = of(&mut scene);
        let revoked = crate::model::Revoked { at: at(when), reason };
        scene.observed.state.revoked.insert(fingerprint, revoked);
        keeps(&scene)
    };
    let current = |scene: &mut Scene| scene.kept().leaf.fingerprint;
    let former = |scene: &mut Scene| {
        let former = Fingerprint::of(b"former");
        scene.observed.store.get_mut(&cert(SERVICE)).unwrap().former.insert(former);
        former
    };
    assert!(given_up(current, 4, "2026-11-23T11:00:00Z"), "superseded");
    assert!(!given_up(current, 1, "2026-11-23T11:00:00Z"), "compromised");
    assert!(!given_up(former, 1, "2026-11-23T11:00:00Z"), "it may have had the same key");
    assert!(given_up(former, 1, "2026-01-01T11:00:00Z"), "what is stored was issued after that");
}

#[test]
fn an_intent_with_another_key_than_desired_is_not_resumed() {
    let resumed = |reuse: bool, key_of: Option<Fingerprint>| {
        let text = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\nreuse_key = {reuse}\n");
        let scene = Scene::with(&text).stored(days(61), days(90)).intent(Some(ORDER), |intent| intent.key_of = key_of);
        matches!(scene.issue().unwrap().reason, RenewalReason::Resumed { .. })
    };
    let stored = Some(Fingerprint::of(format!("stored {SERVICE}").as_bytes()));
    assert!(resumed(false, None) && resumed(true, stored));
    assert!(!resumed(true, None) && !resumed(false, stored) && !resumed(true, Some(Fingerprint::of(b"other"))));
}
