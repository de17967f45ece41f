//! What a node's answers add up to: thresholds, and whose fault it is.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::cert::DnsName;
use crate::config;
use crate::model::{Blame, Health, HealthAnswer, HealthPlace, HealthState};

/// Intervals without an answer after which the last one says nothing of now.
const STALE_AFTER: i32 = 3;

/// Answers in a row that change the state.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    pub rise: u32,
    pub fall: u32,
    /// How long an answer says something; `None`: for ever, as far as a look is concerned.
    pub fresh_for: Option<SignedDuration>,
}

impl From<&config::Health> for Thresholds {
    fn from(health: &config::Health) -> Self {
        let seconds = |time| SignedDuration::try_from(time).unwrap_or(SignedDuration::MAX);
        let fresh_for = seconds(health.interval).saturating_mul(STALE_AFTER).saturating_add(seconds(health.timeout));
        Self { rise: health.rise, fall: health.fall, fresh_for: Some(fresh_for) }
    }
}

/// One answer decides: for a look that asks once.
pub const AT_ONCE: Thresholds = Thresholds { rise: 1, fall: 1, fresh_for: None };

/// The answer to one request, and how long it took.
#[derive(Clone, Debug)]
pub struct Answered {
    pub place: HealthPlace,
    pub name: DnsName,
    pub answer: HealthAnswer,
    pub took_ms: Option<u32>,
    pub at: Timestamp,
}

/// The state after this answer.
pub fn after(before: Option<Health>, answered: Answered, thresholds: Thresholds) -> Health {
    let Answered { place, name, answer, took_ms, at } = answered;
    let same_run = |before: &Health| before.answer.is_well() == answer.is_well();
    let run_since = before.as_ref().filter(|before| same_run(before)).and_then(|before| before.run_since).or(Some(at));
    let stale_at = thresholds.fresh_for.and_then(|fresh_for| at.checked_add(fresh_for).ok());
    let mut health = match before {
        Some(before) => Health { name, at, answer, took_ms, run_since, stale_at, ..before },
        None => Health {
            place,
            name,
            at,
            answer,
            took_ms,
            state: HealthState::Unknown,
            since: at,
            against: 0,
            against_since: None,
            run_since,
            backend_since: None,
            otherwise: 0,
            stale_at,
            times: Default::default(),
        },
    };
    if let (Some(took_ms), true) = (took_ms, health.answer.is_a_response()) {
        health.times.note(took_ms, at);
    }
    let Some(well) = health.answer.is_well() else { return health };
    let now = if well { HealthState::Well } else { HealthState::Failing };
    health.otherwise = match (well, health.answer.blame()) {
        (false, Blame::Nobody) => health.otherwise.saturating_add(1),
        _ => 0,
    };
    if health.otherwise >= thresholds.fall {
        health.backend_since = None;
    }
    if health.state == now {
        (health.against, health.against_since) = (0, None);
        return health;
    }
    let since = *health.against_since.get_or_insert(at);
    health.against = health.against.saturating_add(1);
    let enough = match (health.state, well) {
        // Nothing has fallen yet.
        (HealthState::Unknown, true) => 1,
        (_, true) => thresholds.rise,
        (_, false) => thresholds.fall,
    };
    if health.against >= enough {
        (health.state, health.since) = (now, since);
        (health.against, health.against_since) = (0, None);
    }
    health
}

/// What is to be said of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Well,
    /// It fails, by its own fault.
    Failing,
    /// It says that the backend does not answer, as every node does that answers at all.
    Backend,
    /// So many bad answers since the last good one, which are too few yet.
    Falling(u32),
    /// So many good answers since the last bad one, which are too few yet.
    Rising(u32),
    Unknown,
}

/// The places of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Since when the backend does not answer any node.
    pub backend: Option<Timestamp>,
    /// In the order of the places.
    pub standings: Vec<Standing>,
}

/// As of the latest of their answers. `places`: all of one certificate.
pub fn judge<'a>(places: impl IntoIterator<Item = &'a Health>) -> Judged {
    let places: Vec<&Health> = places.into_iter().collect();
    let now = places.iter().map(|place| place.at).max().unwrap_or(Timestamp::MIN);
    judge_at(places, now)
}

/// As of `now`: a place that has not been asked for long is not known. `places`: all of one certificate.
pub fn judge_at<'a>(places: impl IntoIterator<Item = &'a Health>, now: Timestamp) -> Judged {
    let places: Vec<&Health> = places.into_iter().collect();
    let fresh: Vec<&Health> = places.iter().copied().filter(|place| place.is_fresh(now)).collect();
    let backend = backend(&fresh);
    let back_since = back_since(&fresh);
    let is_older =
        |place: &Health| back_since.is_some_and(|back| place.state == HealthState::Failing && place.at < back);
    let is_backends = |place: &Health| match place.answer.blame() {
        Blame::Nobody => backend.is_some() && place.backend_since.is_some(),
        Blame::Backend | Blame::Either => backend.is_some() || is_older(place),
    };
    let standing = |place: &&Health| match (place.state, place.answer.is_well()) {
        _ if !place.is_fresh(now) => Standing::Unknown,
        (_, None) => Standing::Unknown,
        (_, Some(false)) if is_backends(place) => Standing::Backend,
        (HealthState::Failing, Some(true)) => Standing::Rising(place.against),
        (HealthState::Failing, Some(false)) => Standing::Failing,
        (_, Some(true)) => Standing::Well,
        (_, Some(false)) => Standing::Falling(place.against),
    };
    Judged { backend, standings: places.iter().map(standing).collect() }
}

/// Keeps the verdict on the backend with the places, for the next one: it holds until one of them is well, or until none
/// speaks of it any more. A single other answer ends nothing.
pub fn keep_backend<'a>(places: impl IntoIterator<Item = &'a mut Health>, judged: &Judged) {
    for (place, standing) in places.into_iter().zip(&judged.standings) {
        match (judged.backend, standing) {
            (None, _) => place.backend_since = None,
            (Some(since), Standing::Backend) => place.backend_since = Some(since),
            _ => {}
        }
    }
}

/// Since when the backend answers no node.
fn backend(places: &[&Health]) -> Option<Timestamp> {
    if places.iter().any(|place| place.is_well()) {
        return None;
    }
    let known = places.iter().filter(|place| place.answer.is_well().is_some());
    let kept = known.filter_map(|place| place.backend_since).min();
    kept.or_else(|| said_by_all(places))
}

/// Every place that took a request says that the backend does not answer, or that it may be the backend.
fn said_by_all(places: &[&Health]) -> Option<Timestamp> {
    let mut took = places.iter().filter(|place| place.answer.is_past_tls());
    if !took.all(|place| place.answer.blame() != Blame::Nobody) {
        return None;
    }
    let blaming = || places.iter().filter(|place| place.answer.blame() != Blame::Nobody);
    let is_certain = blaming().any(|place| place.answer.blame() == Blame::Backend);
    // What one node alone says may be its own fault.
    let nodes: BTreeSet<_> = blaming().map(|place| &place.place.node).collect();
    let fails = blaming().any(|place| place.state == HealthState::Failing);
    // Before the last of them said so, another had an answer of the backend.
    let since = blaming().filter_map(|place| since_bad(place)).max();
    since.filter(|_| fails && (is_certain || nodes.len() > 1))
}

/// Since when some node has good answers, where no node has others than those and the backend's silence: what another node
/// answered before that is no fault of it.
fn back_since(places: &[&Health]) -> Option<Timestamp> {
    let mut since = None;
    for place in places.iter().filter(|place| place.answer.is_past_tls() && place.answer.blame() == Blame::Nobody) {
        if place.answer.is_well() != Some(true) {
            return None;
        }
        since = since.into_iter().chain(place.run_since).min();
    }
    since
}

/// Since when its answers are bad.
fn since_bad(place: &Health) -> Option<Timestamp> {
    match place.state {
        HealthState::Failing => Some(place.since),
        _ => place.against_since,
    }
}

#[cfg(test)]
mod tests {
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
        let place = HealthPlace {
            certificate: CertName::parse("a").unwrap(),
            node: NodeName::parse(node).unwrap(),
            address: None,
        };
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
        assert_eq!(next([status(502), status(502)]).backend, None);
        for _ in 0..2 {
            next([status(502), status(502)]);
        }
        assert!(next([status(502), status(502)]).backend.is_some());
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
        let health = crate::config::Health::default();
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
}
