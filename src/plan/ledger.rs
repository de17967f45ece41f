//! The CA's rate limits, estimated from a durable record of our own orders. A lower bound: others may issue for the
//! same names, and then the CA's 429 wins and is recorded here too.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::backoff::{LONGEST_RETRY_AFTER, counts};
use crate::cert::NameSet;
use crate::config::Config;
use crate::model::{Intent, LedgerEntry, LedgerEvent};

/// Certificates per exact name set and week that are reserved for an emergency.
const RESERVE: usize = 2;
/// One fewer than Let's Encrypt's 5 failed authorizations per identifier, account and hour.
pub const FAILED_AUTHORIZATIONS_PER_HOUR: usize = 4;

/// Replacements inside their ARI window are exempt from the CA's limits, but not from ours: a CA whose window is always
/// now would have us order without end. One is a renewal; the second is for a mishap on the same day.
pub const EXEMPT_PER_DAY: usize = 2;
/// Let's Encrypt: "Up to 300 new orders can be created by a single account every 3 hours". The rest is for orders that
/// yield no certificate, which the ledger does not record.
pub const PER_ACCOUNT: usize = 250;
const PER_ACCOUNT_WITHIN: SignedDuration = SignedDuration::from_hours(3);

const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);
const DAY: SignedDuration = SignedDuration::from_hours(24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The limit that forbids an order now, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "limit", rename_all = "snake_case")]
pub enum LimitReached {
    /// Certificates finalized within seven days.
    Certificates { used: usize, room: usize, until: Timestamp },
    /// Replacements inside their ARI windows, finalized within a day.
    Replacements { used: usize, room: usize, until: Timestamp },
    /// Certificates of any names ordered by this account within three hours.
    Account { used: usize, room: usize, until: Timestamp },
    /// Failed authorizations of one name within an hour.
    Authorizations { name: String, failed: usize, until: Timestamp },
    /// The CA answered 429.
    ByTheCa { until: Timestamp },
}

impl LimitReached {
    pub fn until(&self) -> Timestamp {
        match self {
            Self::Certificates { until, .. }
            | Self::Replacements { until, .. }
            | Self::Account { until, .. }
            | Self::Authorizations { until, .. }
            | Self::ByTheCa { until } => *until,
        }
    }
}

/// Certificates per exact name set and week in ordinary use, at a CA that allows `most`.
pub fn ordinary(most: usize) -> usize {
    most.saturating_sub(RESERVE).max(1)
}

/// The order to check against the limits.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub ca: &'a str,
    pub names: &'a NameSet,
    /// Certificates of these names that the CA allows within a week.
    pub per_week: usize,
    /// The reserve may be used.
    pub emergency: bool,
    /// Ordered with `replaces` inside its ARI window: exempt from the CA's limits, and counted separately by us.
    pub exempt: bool,
    /// Orders of other certificates at this CA that this plan makes, and the ledger does not have yet.
    pub planned: usize,
    /// Of these, those for the same names that count as this one does.
    pub planned_alike: usize,
    /// Certificates of the configuration with these names: at least 1, and one for each key type.
    pub alike: usize,
}

/// Certificates of the configuration with these names.
pub fn alike(config: &Config, names: &NameSet) -> usize {
    config.certificates.iter().filter(|certificate| &certificate.names == names).count().max(1)
}

/// # Errors
/// The limit that is reached; of several, the one that lasts longest.
pub fn check_limits(ledger: &[LedgerEntry], question: Question<'_>, now: Timestamp) -> Result<(), LimitReached> {
    // An entry by a clock that ran far ahead would block everything until that day.
    let ours = || ledger.iter().filter(|entry| entry.ca == question.ca && counts(entry.at, now));
    let of_these = || ours().filter(|entry| &entry.names == question.names);
    let limited = of_these().filter_map(|entry| match entry.event {
        LedgerEvent::Limited { until } => {
            let until = until.min(entry.at.saturating_add(LONGEST_RETRY_AFTER).unwrap_or(Timestamp::MAX));
            (until > now).then_some(LimitReached::ByTheCa { until })
        }
        _ => None,
    });
    let failed = question.names.iter().filter_map(|name| {
        let at =
            ours().filter(|entry| matches!(&entry.event, LedgerEvent::AuthorizationFailed { name: n } if n == name));
        let (failed, until) = reached_until(at.map(|entry| entry.at), HOUR, FAILED_AUTHORIZATIONS_PER_HOUR, now)?;
        Some(LimitReached::Authorizations { name: name.to_string(), failed, until })
    });
    let finalized = |entry: &&LedgerEntry| entry.event == LedgerEvent::Finalize { exempt: question.exempt };
    let certificates = || {
        let planned = core::iter::repeat_n(now, question.planned_alike);
        let at = of_these().filter(finalized).map(|entry| entry.at).chain(planned);
        if question.exempt {
            let room = EXEMPT_PER_DAY * question.alike;
            let (used, until) = reached_until(at, DAY, room, now)?;
            return Some(LimitReached::Replacements { used, room, until });
        }
        let room = if question.emergency { question.per_week } else { ordinary(question.per_week) };
        let (used, until) = reached_until(at, WEEK, room, now)?;
        Some(LimitReached::Certificates { used, room, until })
    };
    let account = || {
        if question.exempt {
            return None;
        }
        let at = ours().filter(finalized).map(|entry| entry.at).chain(core::iter::repeat_n(now, question.planned));
        let (used, until) = reached_until(at, PER_ACCOUNT_WITHIN, PER_ACCOUNT, now)?;
        Some(LimitReached::Account { used, room: PER_ACCOUNT, until })
    };
    match limited.chain(failed).chain(certificates()).chain(account()).max_by_key(LimitReached::until) {
        Some(full) => Err(full),
        None => Ok(()),
    }
}

/// Whether the ledger has the finalize of this intent's order: then a certificate may exist, and the order is already
/// counted.
pub fn holds_finalize(ledger: &[LedgerEntry], intent: &Intent) -> bool {
    let Some(url) = &intent.order_url else { return false };
    let is_ours = |entry: &LedgerEntry| {
        entry.ca == intent.ca
            && entry.names == intent.names
            && matches!(entry.event, LedgerEvent::Finalize { .. })
            // Earlier versions wrote entries without the order.
            && entry.order.as_ref().map_or(entry.at >= intent.begun_at, |noted| noted == url)
    };
    ledger.iter().any(is_ours)
}

/// When `room` or more events lie within `span` before `now`: their number, and when there are fewer again.
fn reached_until(
    at: impl Iterator<Item = Timestamp>,
    span: SignedDuration,
    room: usize,
    now: Timestamp,
) -> Option<(usize, Timestamp)> {
    let mut recent: Vec<Timestamp> = at.filter(|at| now.duration_since(*at) < span).collect();
    if recent.len() < room {
        return None;
    }
    recent.sort_unstable();
    let frees = recent[recent.len() - room];
    Some((recent.len(), frees.saturating_add(span).unwrap_or(Timestamp::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::DnsName;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn names() -> NameSet {
        [DnsName::parse("newapi.example.com").unwrap()].into_iter().collect()
    }

    fn entry(when: &str, event: LedgerEvent) -> LedgerEntry {
        LedgerEntry { at: at(when), ca: "ca".into(), names: names(), event, order: None }
    }

    fn ask(ledger: &[LedgerEntry], emergency: bool, exempt: bool) -> Result<(), LimitReached> {
        let names = names();
        let question = Question {
            ca: "ca",
            names: &names,
            per_week: 5,
            emergency,
            exempt,
            planned: 0,
            planned_alike: 0,
            alike: 1,
        };
        check_limits(ledger, question, at("2026-11-23T00:00:00Z"))
    }

    fn finalized(days: &[&str]) -> Vec<LedgerEntry> {
        days.iter()
            .map(|day| entry(&format!("2026-11-{day}T12:00:00Z"), LedgerEvent::Finalize { exempt: false }))
            .collect()
    }

    #[test]
    fn a_fourth_certificate_in_a_week_waits_until_the_first_is_a_week_old() {
        let ledger = finalized(&["10", "18", "20", "21"]);
        let Err(LimitReached::Certificates { used, room, until }) = ask(&ledger, false, false) else { panic!() };
        assert_eq!((used, room, until), (3, 3, at("2026-11-25T12:00:00Z")));
    }

    #[test]
    fn an_emergency_may_use_the_reserve_but_not_more_than_the_ca_allows() {
        assert_eq!(ask(&finalized(&["18", "20", "21"]), true, false), Ok(()));
        assert!(ask(&finalized(&["17", "18", "19", "20", "21"]), true, false).is_err());
    }

    #[test]
    fn a_ca_of_ones_own_allows_what_the_configuration_says_and_two_are_kept_back() {
        assert_eq!([1, 2, 3, 5, 100].map(ordinary), [1, 1, 1, 3, 98]);
        let (names, ledger) = (names(), finalized(&["18", "20", "21"]));
        let ask = |per_week, emergency| {
            let (planned, planned_alike, alike, exempt) = (0, 0, 1, false);
            let question =
                Question { ca: "ca", names: &names, per_week, emergency, exempt, planned, planned_alike, alike };
            check_limits(&ledger, question, at("2026-11-23T00:00:00Z"))
        };
        assert_eq!((ask(6, false), ask(4, true)), (Ok(()), Ok(())));
        assert!(ask(5, false).is_err() && ask(3, true).is_err());
    }

    #[test]
    fn a_replacement_inside_its_ari_window_needs_no_room() {
        assert_eq!(ask(&finalized(&["18", "20", "21"]), false, true), Ok(()));
    }

    #[test]
    fn what_was_exempt_does_not_count() {
        let ledger = vec![entry("2026-11-22T00:00:00Z", LedgerEvent::Finalize { exempt: true }); 9];
        assert_eq!(ask(&ledger, false, false), Ok(()));
    }

    #[test]
    fn four_failed_authorizations_of_a_name_close_the_hour() {
        let name = DnsName::parse("newapi.example.com").unwrap();
        let ledger = vec![entry("2026-11-22T23:30:00Z", LedgerEvent::AuthorizationFailed { name }); 4];
        let Err(full) = ask(&ledger, true, true) else { panic!() };
        assert_eq!(full.until(), at("2026-11-23T00:30:00Z"));
    }

    #[test]
    fn a02_a_429_of_the_ca_wins_over_every_exemption() {
        let ledger = vec![entry("2026-11-22T00:00:00Z", LedgerEvent::Limited { until: at("2026-11-24T00:00:00Z") })];
        assert_eq!(ask(&ledger, true, true), Err(LimitReached::ByTheCa { until: at("2026-11-24T00:00:00Z") }));
    }

    #[test]
    fn a_ca_whose_window_is_always_now_gets_two_orders_a_day() {
        let exempt = |when| entry(when, LedgerEvent::Finalize { exempt: true });
        let mut ledger = vec![exempt("2026-11-21T23:00:00Z"), exempt("2026-11-22T12:00:00Z")];
        assert_eq!(ask(&ledger, true, true), Ok(()), "one of them was yesterday");
        ledger.push(exempt("2026-11-22T18:00:00Z"));
        let until = at("2026-11-23T12:00:00Z");
        assert_eq!(ask(&ledger, true, true), Err(LimitReached::Replacements { used: 2, room: EXEMPT_PER_DAY, until }));
    }

    #[test]
    fn a05_no_word_of_a_ca_is_obeyed_for_longer_than_two_days() {
        let until = at("2036-11-22T00:00:00Z");
        let ledger = vec![entry("2026-11-22T00:00:00Z", LedgerEvent::Limited { until })];
        assert_eq!(ask(&ledger, false, false).unwrap_err().until(), at("2026-11-24T00:00:00Z"));
    }

    #[test]
    fn k03_what_was_noted_while_the_clock_was_ten_years_ahead_fills_nothing() {
        let name = DnsName::parse("newapi.example.com").unwrap();
        let noted = [
            LedgerEvent::Finalize { exempt: false },
            LedgerEvent::AuthorizationFailed { name },
            LedgerEvent::Limited { until: at("2036-11-24T00:00:00Z") },
        ];
        let ledger: Vec<_> =
            noted.iter().flat_map(|event| vec![entry("2036-11-23T00:00:00Z", event.clone()); 9]).collect();
        assert_eq!(ask(&ledger, false, false), Ok(()));
    }
}
