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
mod tests;
