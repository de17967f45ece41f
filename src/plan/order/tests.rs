//! Whole event sequences: what happened (`>`), what is done next. The expected texts are files beside this one.

use super::*;
use crate::cert::{KeyType, NameSet};

const URL: &str = "https://ca.example/order/1";

/// Plays events against the machine, a second apart, and writes down what it answers.
struct Play {
    order: Order,
    now: Timestamp,
    script: String,
}

impl Play {
    fn start(url: Option<&str>, replaces: Option<&str>) -> Self {
        let now: Timestamp = "2026-11-23T06:15:00Z".parse().unwrap();
        let intent = Intent {
            names: [name("example.com"), name("*.example.com")].into_iter().collect::<NameSet>(),
            key_type: KeyType::EcdsaP256,
            profile: None,
            ca: "ca.example".to_owned(),
            replaces: replaces.map(str::to_owned),
            begun_at: now,
            order_url: url.map(str::to_owned),
            key_of: None,
        };
        let (order, actions) = begin(&intent, false, now);
        let mut play = Self { order, now, script: String::new() };
        play.write(&actions);
        play
    }

    fn tell(self, event: Event) -> Self {
        self.tell_after(SignedDuration::from_secs(1), event)
    }

    fn tell_after(mut self, later: SignedDuration, event: Event) -> Self {
        self.now += later;
        self.script += &format!("> {event:?}\n");
        let (order, actions) = on(self.order, event, self.now);
        self.order = order;
        self.write(&actions);
        self
    }

    fn write(&mut self, actions: &[Action]) {
        for action in actions {
            self.script += &format!("{action}\n");
        }
    }
}

fn name(text: &str) -> DnsName {
    DnsName::parse(text).unwrap()
}

fn both(state: AuthorizationState) -> Event {
    let one = |index, text| Authorization {
        index,
        name: name(text),
        state,
        proof: Some(Proof::Value(format!("value-{index}"))),
    };
    Event::Authorizations(vec![one(0, "example.com"), one(1, "*.example.com")])
}

fn polled(status: Status) -> Event {
    Event::Polled { status, retry_after_ms: None }
}

fn ordered(status: Status) -> Event {
    Event::Ordered { url: URL.to_owned(), status }
}

fn to_challenge(play: Play) -> Play {
    play.tell(both(AuthorizationState::Pending)).tell(Event::Published).tell(Event::Seen).tell(Event::Challenged)
}

fn to_good(play: Play) -> Play {
    play.tell(polled(Status::Valid)).tell(Event::Downloaded).tell(Event::Checked(Verdict::Good))
}

#[test]
fn a_good_day() {
    let play = to_challenge(Play::start(None, None).tell(ordered(Status::Pending)))
        .tell(polled(Status::Pending))
        .tell(polled(Status::Ready))
        .tell(Event::Finalized { status: Status::Processing });
    insta::assert_snapshot!(to_good(play).script);
}

#[test]
fn a30_authorizations_that_are_valid_already_need_no_record() {
    let play = Play::start(None, None).tell(ordered(Status::Pending)).tell(both(AuthorizationState::Valid));
    let play = play.tell(polled(Status::Ready)).tell(Event::Finalized { status: Status::Processing });
    insta::assert_snapshot!(to_good(play).script);
}

#[test]
fn a_pending_order_is_resumed_where_it_stood() {
    let play = to_challenge(Play::start(Some(URL), None).tell(Event::Fetched { status: Status::Pending }))
        .tell(polled(Status::Ready))
        .tell(Event::Finalized { status: Status::Processing });
    insta::assert_snapshot!(to_good(play).script);
}

#[test]
fn a_ready_order_is_finalized_when_it_is_resumed() {
    let play = Play::start(Some(URL), None)
        .tell(Event::Fetched { status: Status::Ready })
        .tell(Event::Finalized { status: Status::Processing });
    insta::assert_snapshot!(to_good(play).script);
}

#[test]
fn a11_an_order_that_is_being_signed_is_polled_and_left_to_a_later_run() {
    let play = Play::start(Some(URL), None)
        .tell(Event::Fetched { status: Status::Processing })
        .tell(Event::Polled { status: Status::Processing, retry_after_ms: Some(3_000) })
        .tell_after(SignedDuration::from_mins(6), polled(Status::Processing));
    insta::assert_snapshot!(play.script);
}

#[test]
fn a_valid_order_is_downloaded_when_it_is_resumed() {
    let play = Play::start(Some(URL), None)
        .tell(Event::Fetched { status: Status::Valid })
        .tell(Event::Downloaded)
        .tell(Event::Checked(Verdict::Good));
    insta::assert_snapshot!(play.script);
}

#[test]
fn an_order_that_is_dead_when_resumed_is_made_anew_once() {
    let play = Play::start(Some(URL), None)
        .tell(Event::Fetched { status: Status::Invalid })
        .tell(Event::ErrorsFetched { names: vec![name("example.com")] })
        .tell(Event::LimitsChecked(None))
        .tell(ordered(Status::Pending))
        .tell(both(AuthorizationState::Dead))
        .tell(Event::ErrorsFetched { names: Vec::new() });
    insta::assert_snapshot!(play.script);
}

#[test]
fn an_order_that_the_ca_has_forgotten_is_made_anew() {
    let play = Play::start(Some(URL), None)
        .tell(Event::Failed(ErrorClass::Gone))
        .tell(Event::LimitsChecked(None))
        .tell(ordered(Status::Pending));
    insta::assert_snapshot!(play.script);
}

#[test]
fn a28_replaces_is_dropped_once_when_it_is_refused() {
    let play = Play::start(None, Some("aki.serial"))
        .tell(Event::Failed(ErrorClass::ReplacesRefused))
        .tell(Event::LimitsChecked(None))
        .tell(Event::Failed(ErrorClass::ReplacesRefused));
    insta::assert_snapshot!(play.script);
}

#[test]
fn a10_an_invalid_authorization_is_noted_with_its_error_and_ends_the_order() {
    let play = to_challenge(Play::start(None, None).tell(ordered(Status::Pending)))
        .tell(polled(Status::Invalid))
        .tell(Event::ErrorsFetched { names: vec![name("example.com")] });
    insta::assert_snapshot!(play.script);
}

#[test]
fn c20_records_that_are_never_seen_cost_no_validation() {
    let play = Play::start(None, None)
        .tell(ordered(Status::Pending))
        .tell(both(AuthorizationState::Pending))
        .tell(Event::Published)
        .tell(Event::Failed(ErrorClass::Lasting));
    insta::assert_snapshot!(play.script);
}

#[test]
fn a_ca_that_never_looks_is_given_up() {
    let play = to_challenge(Play::start(None, None).tell(ordered(Status::Pending)))
        .tell_after(SignedDuration::from_mins(6), polled(Status::Pending));
    insta::assert_snapshot!(play.script);
}

#[test]
fn a12_a_finalize_that_another_run_sent_is_polled_and_its_foreign_certificate_discarded_once() {
    let foreign = |play: Play| {
        play.tell(Event::Failed(ErrorClass::NotReady))
            .tell(polled(Status::Processing))
            .tell(polled(Status::Valid))
            .tell(Event::Downloaded)
            .tell(Event::Checked(Verdict::ForeignKey))
    };
    let play = foreign(Play::start(None, None).tell(ordered(Status::Ready)));
    insta::assert_snapshot!(foreign(play.tell(Event::LimitsChecked(None)).tell(ordered(Status::Ready))).script);
}

#[test]
fn a13_a_finalize_whose_answer_was_lost_is_looked_for_before_it_is_sent_again() {
    let play = Play::start(None, None)
        .tell(ordered(Status::Ready))
        .tell(Event::Failed(ErrorClass::Passing { after_ms: None }))
        .tell(polled(Status::Ready))
        .tell(Event::Finalized { status: Status::Processing });
    insta::assert_snapshot!(to_good(play).script);
}

#[test]
fn a14_a_download_that_fails_is_tried_again_and_no_more_than_four_times() {
    let passing = || Event::Failed(ErrorClass::Passing { after_ms: None });
    let play = Play::start(Some(URL), None)
        .tell(Event::Fetched { status: Status::Valid })
        .tell(passing())
        .tell(passing())
        .tell(passing())
        .tell(passing());
    insta::assert_snapshot!(play.script);
}

#[test]
fn a02_a_long_retry_after_ends_the_run() {
    let play = Play::start(None, None).tell(Event::Failed(ErrorClass::Passing { after_ms: Some(3_600_000) }));
    insta::assert_snapshot!(play.script);
}

#[test]
fn a02_a_retry_after_of_a_finalize_is_obeyed_too() {
    let finalize = |seconds: u64| {
        let play = Play::start(None, None).tell(ordered(Status::Ready));
        play.tell(Event::Failed(ErrorClass::Passing { after_ms: Some(seconds * 1000) })).script
    };
    assert!(finalize(30).ends_with("poll the order after 30000 ms\n"), "{}", finalize(30));
    assert!(finalize(3600).ends_with("remove the TXT records\ngive up: a step failed\n"), "{}", finalize(3600));
}

#[test]
fn a15_a_certificate_that_fails_our_checks_is_rejected_and_ordered_anew_after_a_day() {
    let flawed = || Event::Checked(Verdict::Flawed(vec!["the chain ends early".to_owned()]));
    let play = Play::start(Some(URL), None)
        .tell(Event::Fetched { status: Status::Valid })
        .tell(Event::Downloaded)
        .tell(flawed());
    insta::assert_snapshot!("rejected_at_once", play.script);

    let play = Play::start(Some(URL), None)
        .tell_after(SignedDuration::from_hours(24), Event::Fetched { status: Status::Valid })
        .tell(Event::Downloaded)
        .tell(flawed())
        .tell(Event::LimitsChecked(None));
    insta::assert_snapshot!("ordered_anew_after_a_day", play.script);
}

#[test]
fn k07_an_order_that_leads_nowhere_is_made_anew_after_a_day_or_when_a_person_forces() {
    let tries: [fn(Play) -> Play; 3] = [
        // Never signed.
        |play| {
            play.tell(Event::Fetched { status: Status::Processing })
                .tell_after(SignedDuration::from_mins(6), polled(Status::Processing))
        },
        // A 404 without the CA's problem document: of the order, and of the certificate.
        |play| play.tell(Event::Failed(ErrorClass::Missing)),
        |play| play.tell(Event::Fetched { status: Status::Valid }).tell(Event::Failed(ErrorClass::Missing)),
    ];
    for play in tries {
        let start = || Play::start(Some(URL), None);
        let young = play(start()).script;
        assert!(young.contains("remove the TXT records\ngive up: "), "{young}");
        let (mut old, mut forced) = (start(), start());
        old.now += RESUMED_FOR;
        forced.order = forced.order.forced();
        for play in [play(old), play(forced)] {
            assert!(play.script.ends_with("check the limits\n"), "{}", play.script);
            let script = play.tell(Event::LimitsChecked(None)).script;
            assert!(script.ends_with("forget the order\nremove the TXT records\nmake an order\n"), "{script}");
        }
    }
}

#[test]
fn a15_a_forced_renewal_replaces_a_rejected_order_within_the_limits() {
    let flawed = || Event::Checked(Verdict::Flawed(vec!["the chain ends early".to_owned()]));
    let forced = |url: Option<&str>| {
        let mut play = Play::start(url, None);
        play.order = play.order.forced();
        play
    };
    let again = |play: Play| play.tell(Event::Fetched { status: Status::Valid }).tell(Event::Downloaded).tell(flawed());
    insta::assert_snapshot!(
        "ordered_anew_when_forced",
        again(forced(Some(URL))).tell(Event::LimitsChecked(None)).script
    );
    // A certificate that a forced run has just ordered is rejected like any other: forcing gives one order.
    let first = forced(None).tell(ordered(Status::Valid)).tell(Event::Downloaded).tell(flawed());
    assert!(first.script.ends_with("give up: the certificate fails our checks: the chain ends early\n"));
}

#[test]
fn a19_a_certificate_that_begins_in_seconds_is_waited_for_and_one_of_tomorrow_is_rejected() {
    let early = |at: &str| {
        let flaws = vec!["the leaf is valid only from …".to_owned()];
        Event::Checked(Verdict::Early { until: at.parse().unwrap(), flaws })
    };
    let downloaded =
        || Play::start(Some(URL), None).tell(Event::Fetched { status: Status::Valid }).tell(Event::Downloaded);
    let soon = downloaded().tell(early("2026-11-23T06:15:06Z")).tell(Event::Checked(Verdict::Good));
    insta::assert_snapshot!("waited_for_until_it_begins", soon.script);
    let tomorrow = downloaded().tell(early("2026-11-24T06:15:00Z"));
    assert!(tomorrow.script.contains("reject the certificate: the leaf is valid only from"), "{}", tomorrow.script);
    // A clock that is set back again and again is not followed for ever.
    let mut stuck = downloaded();
    for _ in 0..ATTEMPTS {
        stuck = stuck.tell(early("2026-11-23T06:15:30Z"));
    }
    assert!(stuck.script.contains("give up"), "{}", stuck.script);
}

#[test]
fn k07_a_failed_authorization_of_a_resumed_order_is_noted_before_the_ledger_is_asked() {
    let until = "2026-11-23T07:15:00Z".parse().unwrap();
    let full = LimitReached::Authorizations { name: "example.com".to_owned(), failed: 4, until };
    let play = Play::start(Some(URL), None)
        .tell(Event::Fetched { status: Status::Pending })
        .tell(both(AuthorizationState::Dead))
        .tell(Event::ErrorsFetched { names: vec![name("example.com")] })
        .tell(Event::LimitsChecked(Some(full)));
    insta::assert_snapshot!(play.script);
}

#[test]
fn p08_an_order_of_an_old_backup_is_forgotten_when_something_younger_is_served() {
    let since = "2026-11-20T06:15:00Z".parse().unwrap();
    let play = Play::start(Some(URL), None)
        .tell(Event::Fetched { status: Status::Valid })
        .tell(Event::Downloaded)
        .tell(Event::Checked(Verdict::Superseded { since }));
    insta::assert_snapshot!(play.script);
}

#[test]
fn a19_a_certificate_that_ends_too_early_is_left_and_ordered_anew_when_another_would_outlive() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let early = || {
        let (than, anew_from) = (at("2026-12-23T00:00:00Z"), at("2026-12-18T00:00:00Z"));
        Event::Checked(Verdict::EndsEarlier { than, anew_from })
    };
    let valid = Event::Fetched { status: Status::Valid };
    let play = Play::start(Some(URL), None).tell(valid.clone()).tell(Event::Downloaded).tell(early());
    insta::assert_snapshot!("left_until_another_would_outlive", play.script);
    let later = SignedDuration::from_hours(30 * 24);
    let play = Play::start(Some(URL), None).tell_after(later, valid).tell(Event::Downloaded).tell(early());
    insta::assert_snapshot!("ordered_anew_when_another_would_outlive", play.script);
}

#[test]
fn i06_no_second_order_is_made_that_the_ledger_has_no_room_for() {
    let until = "2026-11-30T06:15:00Z".parse().unwrap();
    let full = || Event::LimitsChecked(Some(LimitReached::Certificates { used: 3, room: 3, until }));
    let refused = Play::start(None, Some("aki.serial")).tell(Event::Failed(ErrorClass::ReplacesRefused)).tell(full());
    insta::assert_snapshot!("no_room_without_replaces", refused.script);
    let flawed = Play::start(Some(URL), None)
        .tell_after(SignedDuration::from_hours(24), Event::Fetched { status: Status::Valid })
        .tell(Event::Downloaded)
        .tell(Event::Checked(Verdict::Flawed(vec!["the chain ends early".to_owned()])))
        .tell(full());
    insta::assert_snapshot!("no_room_for_another_after_a_day", flawed.script);
}

#[test]
fn an_answer_to_another_question_ends_the_order_and_removes_the_records() {
    let play = Play::start(None, None).tell(Event::Downloaded);
    insta::assert_snapshot!(play.script);
}

#[test]
fn a_record_that_stays_is_looked_for_and_neither_made_nor_waited_for() {
    let issuers = vec![name("ca.example")];
    let one = |index, text| Authorization {
        index,
        name: name(text),
        state: AuthorizationState::Pending,
        proof: Some(Proof::PersistRecord { issuers: issuers.clone() }),
    };
    let play = Play::start(None, None)
        .tell(Event::Ordered { url: URL.to_owned(), status: Status::Pending })
        .tell(Event::Authorizations(vec![one(0, "example.com"), one(1, "*.example.com")]));
    let asked = "look for _validation-persist.example.com _validation-persist.example.com\n";
    assert!(play.script.ends_with(asked), "{}", play.script);
    let there = play.tell(Event::Seen);
    assert!(there.script.ends_with("ask the CA to validate (2)\n"), "{}", there.script);
    assert!(!there.script.contains("publish"), "{}", there.script);
}
