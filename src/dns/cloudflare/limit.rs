//! The API's rate limit, observed by counting our own calls: one budget for each token, shared by the whole process.
//!
//! "1200/5 minutes … If you exceed this limit, all API calls for the next five minutes will be blocked, receiving a HTTP
//! 429 response." (https://developers.cloudflare.com/fundamentals/api/reference/limits/)

use crate::mutex::lock;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

const WINDOW: Duration = Duration::from_secs(300);
/// Of the 1,200, since the dashboard and other clients of the account use the same limit.
const OURS: usize = 1_000;
/// The longest wait that the API asks for.
pub(super) const LONGEST: Duration = WINDOW;
/// After a 429 without the Retry-After that the API normally sends.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);

/// By the digest of a token; shared by all passes of one process.
static BUDGETS: Mutex<BTreeMap<String, Arc<Mutex<Budget>>>> = Mutex::new(BTreeMap::new());

/// Calls of the last five minutes, and until when the API accepts none.
#[derive(Debug, Default)]
pub(super) struct Budget {
    calls: VecDeque<Timestamp>,
    closed_until: Option<Timestamp>,
}

/// The budget of the token with this digest.
pub(super) fn budget(digest: &str) -> Arc<Mutex<Budget>> {
    let mut budgets = lock(&BUDGETS);
    Arc::clone(budgets.entry(digest.to_owned()).or_default())
}

impl Budget {
    /// `None`: the call may be made, and is counted. Otherwise ask again after this wait.
    pub(super) fn turn(&mut self, now: Timestamp) -> Option<Duration> {
        if let Some(wait) = self.closed_until.and_then(|until| between(now, until)) {
            // A wait longer than the longest means that the clock was set back.
            if wait <= LONGEST {
                return Some(wait);
            }
        }
        self.closed_until = None;
        self.calls.retain(|call| between(*call, now).is_none_or(|age| age < WINDOW) && *call <= now);
        let oldest = self.calls.front().filter(|_| self.calls.len() >= OURS).copied();
        if let Some(oldest) = oldest {
            return Some(WINDOW.saturating_sub(between(oldest, now).unwrap_or_default()));
        }
        self.calls.push_back(now);
        None
    }

    /// Allows no call for `retry_after`, or for a default. Returns that wait.
    pub(super) fn close(&mut self, now: Timestamp, retry_after: Option<Duration>) -> Duration {
        let wait = retry_after.unwrap_or(DEFAULT_WAIT).min(LONGEST);
        let until = jiff::SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
        self.closed_until = self.closed_until.max(until);
        wait
    }
}

/// `None`: `to` is not after `from`.
fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok().filter(|span| !span.is_zero())
}

/// The `Ratelimit` header, `"default";r=50;t=30`: the seconds until a used-up quota is renewed.
pub(super) fn used_up(header: &str) -> Option<Duration> {
    let item = |item: &str| {
        let value = |key: &str| item.split(';').find_map(|part| part.trim().strip_prefix(key)?.parse::<u64>().ok());
        value("t=").filter(|_| value("r=") == Some(0))
    };
    header.split(',').filter_map(item).max().map(|seconds| Duration::from_secs(seconds).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::NOW;
    use jiff::SignedDuration;

    fn at(seconds: i64) -> Timestamp {
        NOW + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn c04_a_thousand_calls_fit_five_minutes_and_the_next_waits_until_the_first_expires() {
        let mut budget = Budget::default();
        assert_eq!(budget.turn(at(0)), None);
        (1..OURS).for_each(|_| assert_eq!(budget.turn(at(100)), None));
        assert_eq!(budget.turn(at(120)), Some(Duration::from_secs(180)));
        assert_eq!(budget.turn(at(300)), None);
        assert_eq!(budget.turn(at(300)), Some(Duration::from_secs(100)));
    }

    #[test]
    fn c04_a_429_closes_the_api_for_every_call_until_its_retry_after() {
        let mut budget = Budget::default();
        assert_eq!(budget.close(at(0), Some(Duration::from_secs(120))), Duration::from_secs(120));
        assert_eq!(budget.close(at(1), None), DEFAULT_WAIT, "and does not open it sooner");
        assert_eq!(budget.turn(at(20)), Some(Duration::from_secs(100)));
        assert_eq!(budget.turn(at(120)), None);
        assert_eq!(budget.close(at(120), Some(Duration::from_secs(86_400))), LONGEST, "no wait is longer");
    }

    #[test]
    fn k04_a_clock_that_is_set_back_does_not_close_the_api_for_ever() {
        let mut budget = Budget::default();
        (0..OURS).for_each(|_| assert_eq!(budget.turn(at(86_400)), None));
        budget.close(at(86_400), Some(Duration::from_secs(60)));
        assert_eq!(budget.turn(at(0)), None);
    }

    #[test]
    fn c04_a_quota_that_is_used_up_is_read_before_it_is_exceeded() {
        assert_eq!(used_up("\"default\";r=50;t=30"), None);
        assert_eq!(used_up("\"burst\";r=3;t=9, \"default\"; r=0; t=30"), Some(Duration::from_secs(30)));
        assert_eq!(used_up("nonsense;r=0"), None);
    }
}
