//! When the CA is asked for its renewal window (RFC 9773), and what is made of an answer or of none.

use jiff::{SignedDuration, Timestamp};

use super::backoff::counts;
use crate::cert::{CertName, Leaf};
use crate::observed::{Advice, Ari, AriFailed, Failure, Tried};

/// RFC 9773 section 4.3: a client should ask "at least twice per day".
pub const LONGEST: SignedDuration = SignedDuration::from_hours(12);
/// No sooner, whatever the CA says: a pass may come every few minutes.
pub const SHORTEST: SignedDuration = SignedDuration::from_mins(5);
/// What Boulder says, for a CA that says nothing. RFC 9773 section 4.3.2 has the same six hours after an error that
/// stays.
pub const USUAL: SignedDuration = SignedDuration::from_hours(6);

/// Minutes after the first, second and third question that came to nothing; [`USUAL`] after every further one.
const FAILED_MINUTES: [i64; 3] = [5, 30, 120];

/// The code of an answer that is no renewal window.
const MAKES_NO_SENSE: &str = "acme-strange-answer";

/// When the CA is to be asked about this leaf: an instant that has passed when it never was. `None`: it cannot be asked.
pub fn ask_at(tried: &Tried, name: &CertName, leaf: &Leaf, now: Timestamp) -> Option<Timestamp> {
    leaf.ari_id.as_ref()?;
    let known = tried.ari.get(name).filter(|ari| ari.fingerprint == leaf.fingerprint);
    let failed = tried.ari_failed.get(name).filter(|failed| failed.fingerprint == leaf.fingerprint);
    let known = known.map(|ari| (ari.asked_at, ari.ask_again));
    let failed = failed.map(|failed| (failed.last, failed.ask_again));
    // What was noted by a clock that ran ahead puts nothing off, and no answer holds for longer than half a day.
    let noted = known.into_iter().chain(failed).filter(|(at, _)| counts(*at, now));
    Some(noted.map(|(at, again)| again.min(later(at, LONGEST))).max().unwrap_or(now))
}

/// The CA gave a window.
pub fn answered(tried: &mut Tried, name: CertName, ari: Ari) {
    tried.ari_failed.remove(&name);
    tried.ari.insert(name, ari);
}

/// It gave none. A window that is known counts on; once more than a passing fault stands behind it, or the answer made no
/// sense, only as far as that makes us earlier: a renewal is not put off on the strength of an answer that cannot be had
/// any more.
pub fn failed(tried: &mut Tried, name: CertName, leaf: &Leaf, failure: &Failure, now: Timestamp) {
    let before = tried.ari_failed.get(&name).filter(|failed| failed.fingerprint == leaf.fingerprint);
    let failures = before.map_or(0, |failed| failed.failures).saturating_add(1);
    let step = usize::try_from(failures - 1).ok().and_then(|index| FAILED_MINUTES.get(index));
    let step = step.map_or(USUAL, |minutes| SignedDuration::from_mins(*minutes));
    let wait = match failure.advice {
        Advice::Retry { after_seconds: Some(seconds) } => {
            SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)).clamp(SHORTEST, LONGEST)
        }
        Advice::Retry { after_seconds: None } => step,
        Advice::Person | Advice::Bug => USUAL,
    };
    let ask_again = later(now, wait);
    let passing = matches!(failure.advice, Advice::Retry { .. }) && failure.code != MAKES_NO_SENSE;
    let known = tried.ari.get_mut(&name).filter(|ari| ari.fingerprint == leaf.fingerprint);
    if let Some(ari) = known {
        ari.doubted |= !passing || usize::try_from(failures).is_ok_and(|failures| failures > FAILED_MINUTES.len());
    }
    tried.ari_failed.insert(name, AriFailed { fingerprint: leaf.fingerprint, failures, last: now, ask_again });
}

fn later(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.saturating_add(span).unwrap_or(Timestamp::MAX)
}
