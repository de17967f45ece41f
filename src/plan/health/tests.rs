use jiff::SignedDuration;

use super::*;
use crate::cert::fixture::NOW;
use crate::cert::{CertName, NodeName};

const USUAL: Thresholds = Thresholds { rise: 2, fall: 3, fresh_for: Some(SignedDuration::from_secs(100)) };

fn at(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

fn status(status: u16) -> HealthAnswer {
    let http = "HTTP/2".to_owned();
    match status {
        200 => HealthAnswer::Well { status, http },
        _ => HealthAnswer::Status { status, http, location: None },
    }
}

fn answered(node: &str, answer: HealthAnswer, seconds: i64) -> Answered {
    let place =
        HealthPlace { certificate: CertName::parse("a").unwrap(), node: NodeName::parse(node).unwrap(), address: None };
    Answered { place, name: DnsName::parse("a.example.com").unwrap(), answer, took_ms: Some(10), at: at(seconds) }
}

/// The health of a node after these answers, one every 30 s.
fn history(node: &str, answers: &[HealthAnswer]) -> Health {
    let mut health = None;
    for (number, answer) in answers.iter().enumerate() {
        health = Some(after(health, answered(node, answer.clone(), 30 * number as i64), USUAL));
    }
    health.unwrap()
}

fn dead() -> HealthAnswer {
    HealthAnswer::NoAnswer { why: "no answer".into() }
}

#[test]
fn a_state_changes_after_enough_answers_in_a_row_and_dates_from_the_first_of_them() {
    let well = || status(200);
    let state = |answers: &[HealthAnswer]| {
        let health = history("one", answers);
        (health.state, health.since.duration_since(NOW).as_secs(), health.against)
    };
    use HealthState::{Failing, Unknown, Well};
    assert_eq!(state(&[well()]), (Well, 0, 0), "nothing has fallen yet");
    assert_eq!(state(&[dead(), dead()]), (Unknown, 0, 2));
    assert_eq!(state(&[dead(), dead(), dead()]), (Failing, 0, 0));
    assert_eq!(state(&[well(), dead(), status(500)]), (Well, 0, 2));
    assert_eq!(state(&[well(), dead(), dead(), well(), dead(), dead()]), (Well, 0, 2), "not in a row");
    assert_eq!(state(&[well(), dead(), status(500), dead()]), (Failing, 30, 0), "for whatever reason");
    assert_eq!(state(&[dead(), dead(), dead(), well()]), (Failing, 0, 1));
    assert_eq!(state(&[dead(), dead(), dead(), well(), dead(), well()]), (Failing, 0, 1));
    assert_eq!(state(&[dead(), dead(), dead(), well(), well()]), (Well, 90, 0));
}

#[test]
fn what_cannot_be_found_out_from_here_changes_no_state() {
    let unknown = || HealthAnswer::Unknown { why: "no route".into() };
    let health = history("one", &[status(200), unknown(), unknown(), unknown(), unknown()]);
    assert_eq!(health.state, HealthState::Well);
    assert_eq!(judge([&health]).standings, [Standing::Unknown]);
    assert_eq!(history("one", &[dead(), unknown(), dead(), dead()]).state, HealthState::Failing);
}

#[test]
fn one_answer_decides_a_single_look() {
    let before = history("one", &[status(200), status(200)]);
    let now = after(Some(before), answered("one", dead(), 90), AT_ONCE);
    assert_eq!((now.state, now.since), (HealthState::Failing, at(90)));
    let back = after(Some(now), answered("one", status(200), 120), AT_ONCE);
    assert_eq!((back.state, back.since), (HealthState::Well, at(120)));
    assert_eq!(back.times.count(back.at), 3, "what has no answer has no time of one");
}

#[test]
fn where_every_node_that_answers_says_502_the_backend_is_at_fault_and_no_node() {
    let bad = |node, code| history(node, &[status(code), status(code), status(code)]);
    let judged = judge([&bad("one", 502), &bad("two", 504), &bad("three", 502)]);
    assert_eq!(judged, Judged { backend: Some(NOW), standings: vec![Standing::Backend; 3] });
    // A dead node is dead all the same.
    let nobody = history("three", &[dead(), dead(), dead()]);
    let judged = judge([&bad("one", 502), &bad("two", 502), &nobody]);
    assert_eq!(judged.standings, [Standing::Backend, Standing::Backend, Standing::Failing]);
    // One that has another answer shows that the backend is there, or that the node alone is at fault.
    for other in [history("two", &[status(200)]), bad("two", 500), bad("two", 404)] {
        let judged = judge([&bad("one", 502), &other]);
        assert_eq!((judged.backend, judged.standings[0]), (None, Standing::Failing), "{other:?}");
    }
    assert_eq!(judge([&nobody]).backend, None, "nobody has said anything of it");
    assert_eq!(judge([]), Judged { backend: None, standings: Vec::new() });
}

#[test]
fn the_first_node_to_fall_is_not_blamed_while_the_others_say_502_too() {
    let first = history("one", &[status(200), status(502), status(502), status(502)]);
    let others = history("two", &[status(200), status(200), status(502), status(502)]);
    assert_eq!(others.state, HealthState::Well);
    let judged = judge([&first, &others]);
    assert_eq!(judged, Judged { backend: Some(at(60)), standings: vec![Standing::Backend; 2] });
    // None has fallen yet.
    let few = history("one", &[status(200), status(502)]);
    assert_eq!(judge([&few]), Judged { backend: None, standings: vec![Standing::Falling(1)] });
    // And it comes back.
    let back = history("one", &[status(502), status(502), status(502), status(502), status(200)]);
    let other = history("two", &[status(502), status(502), status(502), status(502)]);
    assert_eq!(judge([&back, &other]).standings, [Standing::Rising(1), Standing::Backend], "it was asked before");
    let late = history("two", &[status(502), status(502), status(502), status(502), status(502)]);
    assert_eq!(judge([&back, &late]).standings, [Standing::Rising(1), Standing::Failing]);
    let well = history("one", &[status(502), status(502), status(502), status(502), status(200), status(200)]);
    assert_eq!(judge([&well, &other]).standings, [Standing::Well, Standing::Backend], "it is only slower");
}

fn silent() -> HealthAnswer {
    HealthAnswer::NoResponse { why: "no response".into() }
}

#[test]
fn a_503_and_a_request_without_response_are_the_backends_fault_only_where_all_nodes_say_so() {
    let thrice = |node: &str, answer: HealthAnswer| history(node, &[answer.clone(), answer.clone(), answer]);
    for (one, two) in
        [(status(503), status(503)), (silent(), silent()), (status(503), silent()), (status(502), silent())]
    {
        let judged = judge([&thrice("one", one), &thrice("two", two), &thrice("three", dead())]);
        assert_eq!(judged.backend, Some(NOW));
        assert_eq!(judged.standings, [Standing::Backend, Standing::Backend, Standing::Failing]);
    }
    for odd in [status(503), silent()] {
        for others in [status(200), status(404)] {
            let judged = judge([&thrice("one", odd.clone()), &thrice("two", others)]);
            assert_eq!((judged.backend, judged.standings[0]), (None, Standing::Failing));
        }
        // Nobody else is there to ask: it may be this node.
        let judged = judge([&thrice("one", odd.clone()), &thrice("two", dead())]);
        assert_eq!((judged.backend, judged.standings[0]), (None, Standing::Failing));
    }
}

#[test]
fn a_verdict_on_the_backend_outlives_single_other_answers_and_ends_when_a_node_is_well() {
    let mut places = [
        history("one", &[status(502), status(502), status(502)]),
        history("two", &[status(502), status(502), status(502)]),
    ];
    let mut seconds = 90;
    let mut next = |answers: [HealthAnswer; 2]| {
        seconds += 30;
        for (place, answer) in places.iter_mut().zip(answers) {
            let node = place.place.node.clone();
            *place = after(Some(place.clone()), answered(node.as_str(), answer, seconds), USUAL);
        }
        let judged = judge(&places);
        keep_backend(&mut places, &judged);
        judged
    };
    let both = [Standing::Backend, Standing::Backend];
    let down = Judged { backend: Some(NOW), standings: both.to_vec() };
    assert_eq!(next([status(502), status(502)]), down);
    for odd in [status(404), status(301), status(500), dead()] {
        assert_eq!(next([odd, status(502)]), down, "one odd answer");
        assert_eq!(next([status(502), status(502)]), down);
    }
    let judged = next([status(200), status(502)]);
    assert_eq!((judged.backend, judged.standings[0]), (Some(NOW), Standing::Rising(1)), "not well yet");
    assert_eq!(next([status(200), status(502)]).backend, None, "one is well");
    // Where nobody is well, and each has said something else often enough, it is no more the backend.
    for _ in 0..3 {
        assert!(next([status(502), status(502)]).backend.is_some(), "the second has not risen in between");
    }
    for _ in 0..2 {
        assert!(next([status(404), status(404)]).backend.is_some());
    }
    assert_eq!(next([status(404), status(404)]), Judged { backend: None, standings: vec![Standing::Failing; 2] });
}

#[test]
fn what_was_not_asked_for_long_is_not_known_and_says_nothing_of_the_backend() {
    let old = history("one", &[status(502), status(502), status(502)]);
    let well = history("one", &[status(200)]);
    assert_eq!(judge_at([&old], at(159)).backend, Some(NOW));
    let nothing = Judged { backend: None, standings: vec![Standing::Unknown] };
    assert_eq!(judge_at([&old], at(160)), nothing, "three intervals and a timeout after the last answer");
    assert_eq!(judge_at([&well], at(160)), nothing);
    // Without a clock the latest answer is one: the first was not asked beside it.
    let new = history("two", &core::array::from_fn::<_, 8, _>(|_| status(502)));
    let judged = judge([&well, &new]);
    assert_eq!((judged.backend, judged.standings), (Some(NOW), vec![Standing::Unknown, Standing::Backend]));
    let health = config::Health::default();
    let expected = i64::try_from(3 * health.interval.as_secs() + health.timeout.as_secs()).unwrap();
    assert_eq!(Thresholds::from(&health).fresh_for, Some(SignedDuration::from_secs(expected)));
}

#[test]
fn a_state_of_an_earlier_version_is_read() {
    let health = history("one", &[status(502)]);
    let mut json = serde_json::to_value(&health).unwrap();
    for new in ["backend_since", "otherwise", "stale_at"] {
        assert!(json.as_object_mut().unwrap().remove(new).is_some(), "{new}");
    }
    let read: Health = serde_json::from_value(json).unwrap();
    assert_eq!((read.answer, read.stale_at), (health.answer, None));
}
