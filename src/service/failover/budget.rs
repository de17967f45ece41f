//! How many calls of providers failover may make.

use jiff::SignedDuration;

use crate::context::clock;

/// Calls of providers: Cloudflare takes 1,200 in five minutes, of which renewals need some.
const MOST_CALLS: i64 = 300;
const CALLS_A_SECOND: i64 = 2;
const CALLS_OF_A_STEP: i64 = 8;

/// Calls that may be made now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: i64,
    at: SignedDuration,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: MOST_CALLS, at: clock::monotonic() }
    }
}

impl Budget {
    /// Whether a step may be made now.
    pub(super) fn take_step(&mut self) -> bool {
        self.take(CALLS_OF_A_STEP, clock::monotonic())
    }

    fn take(&mut self, calls: i64, now: SignedDuration) -> bool {
        let whole = (now - self.at).as_secs();
        self.at += SignedDuration::from_secs(whole);
        self.left = self.left.saturating_add(whole.saturating_mul(CALLS_A_SECOND)).min(MOST_CALLS);
        let has = self.left >= calls;
        self.left -= if has { calls } else { 0 };
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_five_minutes_there_are_no_more_calls_than_half_of_what_cloudflare_takes_and_a_burst() {
        let at = |seconds| SignedDuration::from_secs(seconds);
        let mut budget = Budget { left: MOST_CALLS, at: at(0) };
        let mut calls = 0;
        for second in 0..300 {
            while budget.take(CALLS_OF_A_STEP, at(second)) {
                calls += CALLS_OF_A_STEP;
            }
        }
        assert!((800..=900).contains(&calls), "{calls}");
        assert!(!budget.take(CALLS_OF_A_STEP, at(0)), "a clock that goes back gives none");
    }
}
