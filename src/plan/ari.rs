//! When the CA is asked for its renewal window (RFC 9773), and what follows from its answer or silence.

use jiff::{SignedDuration, Timestamp};

use super::backoff::{after, counts};
use crate::cert::{CertName, Leaf};
use crate::model::{Advice, Ari, AriFailed, Code, Finding, PersistedState};

/// RFC 9773 section 4.3: a client should ask "at least twice per day".
pub const LONGEST: SignedDuration = SignedDuration::from_hours(12);
/// A floor under the CA's Retry-After: a pass may come every few minutes.
pub const SHORTEST: SignedDuration = SignedDuration::from_mins(5);
/// Boulder's Retry-After, for a CA that sends none. RFC 9773 section 4.3.2 has the same six hours after an error that
/// stays.
pub const USUAL: SignedDuration = SignedDuration::from_hours(6);

/// Minutes to wait after the first, second and third failed request; [`USUAL`] after every further one.
const FAILED_MINUTES: [i64; 3] = [5, 30, 120];

/// When to ask the CA about this leaf; in the past if it was never asked. `None`: it cannot be asked.
pub fn ask_at(state: &PersistedState, name: &CertName, leaf: &Leaf, now: Timestamp) -> Option<Timestamp> {
    leaf.ari_id.as_ref()?;
    let known = state.ari.get(name).filter(|ari| ari.fingerprint == leaf.fingerprint);
    let failed = state.ari_failed.get(name).filter(|failed| failed.fingerprint == leaf.fingerprint);
    let known = known.map(|ari| (ari.asked_at, ari.ask_again));
    let failed = failed.map(|failed| (failed.last, failed.ask_again));
    // Records by a clock that ran ahead are ignored, and no answer holds for longer than half a day.
    let noted = known.into_iter().chain(failed).filter(|(at, _)| counts(*at, now));
    Some(noted.map(|(at, again)| again.min(after(at, LONGEST))).max().unwrap_or(now))
}

/// When the plan made at `now` has to ask next. A leaf issued just now needs no pass of its own: any pass asks, and
/// none is scheduled for it before [`USUAL`] has passed.
pub fn next_ask(state: &PersistedState, name: &CertName, leaf: &Leaf, now: Timestamp) -> Option<Timestamp> {
    let at = ask_at(state, name, leaf, now)?;
    Some(if at > now { at } else { after(now, USUAL) })
}

/// Records the CA's window.
pub fn answered(state: &mut PersistedState, name: CertName, ari: Ari) {
    state.ari_failed.remove(&name);
    state.ari.insert(name, ari);
}

/// Records a failed request. The known window still counts, but once the failure persists, or the answer made no sense,
/// only to renew earlier: a window that can no longer be confirmed must not delay a renewal.
pub fn failed(state: &mut PersistedState, name: CertName, leaf: &Leaf, failure: &Finding, now: Timestamp) {
    let before = state.ari_failed.get(&name).filter(|failed| failed.fingerprint == leaf.fingerprint);
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
    let ask_again = after(now, wait);
    let passing = matches!(failure.advice, Advice::Retry { .. }) && failure.code != Code::AcmeStrangeAnswer;
    let known = state.ari.get_mut(&name).filter(|ari| ari.fingerprint == leaf.fingerprint);
    if let Some(ari) = known {
        ari.doubted |= !passing || usize::try_from(failures).is_ok_and(|failures| failures > FAILED_MINUTES.len());
    }
    state.ari_failed.insert(name, AriFailed { fingerprint: leaf.fingerprint, failures, last: now, ask_again });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::{Authority, NOW, days};
    use crate::plan::renewal::{Basis, due};

    fn name() -> CertName {
        CertName::parse("a.example.com").unwrap()
    }

    fn leaf() -> Leaf {
        Authority::root("R").intermediate("I").issue(&["a.example.com"], days(-50, 40)).chain().leaf.clone()
    }

    fn hours(count: i64) -> SignedDuration {
        SignedDuration::from_hours(count)
    }

    /// A window between two days from now.
    fn window(leaf: &Leaf, from: i64, to: i64) -> Ari {
        let (start, end) = (NOW + hours(24 * from), NOW + hours(24 * to));
        let (fingerprint, explanation) = (leaf.fingerprint, None);
        Ari { fingerprint, start, end, explanation, asked_at: NOW, ask_again: NOW + hours(6), doubted: false }
    }

    fn failure(code: Code, advice: Advice) -> Finding {
        let text = || "any".to_owned();
        Finding::new(code, text(), text(), text(), advice)
    }

    fn passing() -> Finding {
        failure(Code::AcmeStatus, Advice::Retry { after_seconds: None })
    }

    #[test]
    fn the_ca_is_asked_after_its_retry_after_and_at_least_twice_a_day() {
        let (mut state, leaf) = (PersistedState::default(), leaf());
        assert_eq!(ask_at(&state, &name(), &leaf, NOW), Some(NOW), "never asked");
        assert_eq!(next_ask(&state, &name(), &leaf, NOW), Some(NOW + hours(6)), "and no reason to come for it alone");
        answered(&mut state, name(), window(&leaf, 10, 12));
        assert_eq!(ask_at(&state, &name(), &leaf, NOW), Some(NOW + hours(6)));
        state.ari.get_mut(&name()).unwrap().ask_again = NOW + hours(1_000);
        assert_eq!(ask_at(&state, &name(), &leaf, NOW), Some(NOW + hours(12)));
        state.ari.get_mut(&name()).unwrap().asked_at = NOW + hours(10_000);
        assert_eq!(ask_at(&state, &name(), &leaf, NOW), Some(NOW), "a clock that ran ahead puts nothing off");
        let mut renewed = leaf.clone();
        renewed.fingerprint = crate::cert::Fingerprint::of(b"renewed");
        assert_eq!(ask_at(&state, &name(), &renewed, NOW), Some(NOW), "another certificate, another question");
        renewed.ari_id = None;
        assert_eq!(ask_at(&state, &name(), &renewed, NOW), None);
    }

    #[test]
    fn a26_a_ca_that_does_not_answer_is_asked_again_after_5_30_120_minutes_and_then_every_six_hours() {
        let (mut state, leaf) = (PersistedState::default(), leaf());
        for minutes in [5, 30, 120, 360, 360] {
            failed(&mut state, name(), &leaf, &passing(), NOW);
            assert_eq!(ask_at(&state, &name(), &leaf, NOW), Some(NOW + SignedDuration::from_mins(minutes)));
        }
        answered(&mut state, name(), window(&leaf, 10, 12));
        assert_eq!(ask_at(&state, &name(), &leaf, NOW), Some(NOW + hours(6)), "an answer ends the ladder");
        for (retry_after, obeyed) in [(3_600, 3_600), (1, 300), (u64::MAX, 43_200)] {
            let limited = failure(Code::AcmeStatus, Advice::Retry { after_seconds: Some(retry_after) });
            failed(&mut state, name(), &leaf, &limited, NOW + hours(6));
            let again = ask_at(&state, &name(), &leaf, NOW + hours(6)).unwrap();
            assert_eq!(again.duration_since(NOW + hours(6)).as_secs(), obeyed, "{retry_after} s");
        }
    }

    #[test]
    fn a26_a_window_that_cannot_be_confirmed_puts_nothing_off_and_still_makes_us_earlier() {
        let leaf = leaf();
        let basis = |from, to, failures: &[Finding]| {
            let mut state = PersistedState::default();
            answered(&mut state, name(), window(&leaf, from, to));
            failures.iter().for_each(|failure| failed(&mut state, name(), &leaf, failure, NOW));
            due(&leaf, state.ari.get(&name()), 7).1
        };
        // By its lifetime it is due in ten days.
        let lifetime = Basis::Lifetime { left: 3 };
        assert_ne!(basis(20, 22, &[passing(), passing(), passing()]), lifetime, "a fault that may pass");
        assert_eq!(basis(20, 22, &[passing(), passing(), passing(), passing()]), lifetime);
        assert_eq!(basis(20, 22, &[failure(Code::AcmeStrangeAnswer, passing().advice)]), lifetime);
        assert_eq!(basis(20, 22, &[failure(Code::AcmeUnsupported, Advice::Person)]), lifetime);
        assert!(matches!(basis(-3, -2, &[failure(Code::AcmeStrangeAnswer, passing().advice)]), Basis::Ari { .. }));
    }
}
