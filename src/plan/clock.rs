//! Whether our clock can be right. A machine without a battery for its clock starts in 1970, one with a bad battery in
//! 2036. By a clock that cannot be right no certificate is ordered, delivered or called expired.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::model::{CaClock, Observed, Severity};

/// No build of this program is older.
const WRITTEN: Timestamp = Timestamp::constant(1_793_491_200, 0);
/// Deviation that counts as wrong. Let's Encrypt backdates a certificate by an hour, and time zones set by hand stay
/// within a day.
const FAR: SignedDuration = SignedDuration::from_hours(24);
/// Deviation worth a warning: nothing breaks yet, but it grows.
const NOTICEABLE: SignedDuration = SignedDuration::from_hours(1);
/// The longest plausible gap between two runs. A machine may be off for months; after a year its certificates have
/// ended anyway, and asking the CA for the time costs nothing.
const LONG: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Evidence for or against the clock.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The last instant of a clock that was believed.
    pub last_seen: Option<Timestamp>,
    /// The latest `not_before` of a stored certificate, by its CA's clock.
    pub not_before: Option<Timestamp>,
    /// The Date of a CA's answer in this pass; of several CAs the one that agrees best with our clock.
    pub ca: Option<CaClock>,
}

/// Why the clock cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct ClockDoubt {
    pub now: Timestamp,
    pub against: Against,
    /// The instant that contradicts the clock.
    pub instant: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The clock is before this program was written.
    Program,
    /// The clock is before a stored certificate begins.
    Certificate,
    /// The clock is before an instant that has passed.
    Seen,
    /// The clock is more than a year after certd last ran.
    LongSince,
    /// The CA's clock differs.
    Ca,
}

impl Evidence {
    pub fn of(observed: &Observed) -> Self {
        let kept = observed.store.values().filter_map(|stored| stored.current.as_ref());
        Self {
            last_seen: observed.state.last_seen,
            not_before: kept.map(|kept| kept.leaf.not_before).max(),
            ca: observed.ca_clock,
        }
    }
}

/// The CA's clock decides alone when it is known: what this installation remembers may come from a wrong clock.
///
/// # Errors
/// The evidence against it.
pub fn plausible(now: Timestamp, evidence: &Evidence) -> Result<(), ClockDoubt> {
    let doubt = |against, instant| Err(ClockDoubt { now, against, instant });
    let before = |instant: Timestamp| instant.duration_since(now) > FAR;
    if let Some(ca) = evidence.ca {
        return if ca.ours.duration_since(ca.theirs).abs() > FAR { doubt(Against::Ca, ca.theirs) } else { Ok(()) };
    }
    if before(WRITTEN) {
        return doubt(Against::Program, WRITTEN);
    }
    if let Some(instant) = evidence.not_before.filter(|instant| before(*instant)) {
        return doubt(Against::Certificate, instant);
    }
    match evidence.last_seen {
        Some(instant) if before(instant) => doubt(Against::Seen, instant),
        Some(instant) if now.duration_since(instant) > LONG => doubt(Against::LongSince, instant),
        _ => Ok(()),
    }
}

/// How far our clock is ahead of the CA's, when worth a warning, and how severe that is: with a clock that is far off
/// nothing is ordered.
pub fn noticeable(ca: CaClock) -> Option<(SignedDuration, Severity)> {
    let ahead = ca.ours.duration_since(ca.theirs);
    let severity = if ahead.abs() > FAR { Severity::Obstacle } else { Severity::Warning };
    (ahead.abs() > NOTICEABLE).then_some((ahead, severity))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn doubt(now: &str, evidence: &Evidence) -> Option<Against> {
        plausible(at(now), evidence).err().map(|doubt| doubt.against)
    }

    #[test]
    fn k03_a_clock_ten_years_behind_or_ahead_is_not_believed() {
        let seen = Evidence { last_seen: Some(at("2026-11-23T12:00:00Z")), ..Evidence::default() };
        assert_eq!(doubt("2016-11-23T12:00:00Z", &Evidence::default()), Some(Against::Program));
        assert_eq!(doubt("1970-01-01T00:00:00Z", &seen), Some(Against::Program));
        assert_eq!(doubt("2036-11-23T12:00:00Z", &seen), Some(Against::LongSince));
        assert_eq!(doubt("2026-11-21T12:00:00Z", &seen), Some(Against::Seen));
        let stored = Evidence { not_before: Some(at("2027-01-01T00:00:00Z")), ..Evidence::default() };
        assert_eq!(doubt("2026-12-01T00:00:00Z", &stored), Some(Against::Certificate));
    }

    #[test]
    fn k01_a_machine_that_was_off_for_weeks_or_months_is_believed() {
        let seen = Evidence { last_seen: Some(at("2026-11-23T12:00:00Z")), ..Evidence::default() };
        for now in ["2026-11-23T11:00:00Z", "2026-12-14T12:00:00Z", "2027-10-01T12:00:00Z"] {
            assert_eq!(doubt(now, &seen), None, "{now}");
        }
    }

    #[test]
    fn k03_the_cas_clock_decides_over_what_was_remembered_from_a_wrong_one() {
        let remembered = |now: &str, ca: &str| {
            let ca = Some(CaClock { ours: at(now), theirs: at(ca) });
            Evidence { last_seen: Some(at("2036-01-01T00:00:00Z")), not_before: None, ca }
        };
        let now = "2026-11-23T12:00:00Z";
        assert_eq!(doubt(now, &remembered(now, "2026-11-23T12:00:30Z")), None);
        assert_eq!(doubt(now, &remembered(now, "2026-11-25T12:00:30Z")), Some(Against::Ca));
        assert_eq!(doubt(now, &remembered(now, "2026-11-21T12:00:30Z")), Some(Against::Ca));
    }

    #[test]
    fn k03_more_than_an_hour_beside_the_cas_clock_is_worth_a_warning() {
        let now = at("2026-11-23T12:00:00Z");
        let beside = |minutes| CaClock { ours: now + SignedDuration::from_mins(minutes), theirs: now };
        assert_eq!(noticeable(beside(59)), None);
        for minutes in [61, -61, 24 * 60] {
            assert_eq!(noticeable(beside(minutes)), Some((SignedDuration::from_mins(minutes), Severity::Warning)));
        }
        let far = SignedDuration::from_mins(24 * 60 + 1);
        assert_eq!(noticeable(beside(24 * 60 + 1)), Some((far, Severity::Obstacle)));
    }
}
