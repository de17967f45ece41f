//! How long to wait after failures. Three ladders: one for each CA, one for each node, one for each address record.

use jiff::{SignedDuration, Timestamp};

use crate::cert::Leaf;
use crate::model::{Attempts, DeliveryAttempts};

/// Minutes after the first, second, third and every further failure to issue. Let's Encrypt's advice: "1st retry after
/// 1 minute, 2nd after 10 minutes, 3rd after 100 minutes, 4th and subsequent retries after 1 day".
const ISSUANCE_MINUTES: [i64; 4] = [1, 10, 100, 24 * 60];

/// Minutes after a rollback on a node: its cause rarely disappears at once, and each try reloads a live server.
const ROLLED_BACK_MINUTES: [i64; 3] = [10, 60, 6 * 60];

/// Minutes after a node failed to answer, where one pass follows another (`run`): a node that returns is served
/// quickly, and one that is gone for days costs six logins an hour.
const NO_ANSWER_MINUTES: [i64; 4] = [1, 2, 5, 10];

/// Minutes after a DNS provider failed to withdraw or to restore an address record. The first is long enough for its API to
/// show what was done nevertheless; in the end one that refuses for ever is asked once an hour.
const ADDRESS_RECORD_MINUTES: [i64; 4] = [2, 5, 15, 60];

/// The longest Retry-After that is obeyed: Let's Encrypt's own limits ask for 34 hours at most (one certificate back
/// for an exact name set).
pub const LONGEST_RETRY_AFTER: SignedDuration = SignedDuration::from_hours(48);

/// Inside the last part of the lifetime a day is too long a wait.
const NEAR_THE_END: i32 = 4;
/// There a try is made each eighth of what is left, …
const TRIES_IN_WHAT_IS_LEFT: i32 = 8;
/// … at least this often, …
const LONGEST_NEAR_THE_END: SignedDuration = SignedDuration::from_hours(6);
/// … and no more often: an authorization that fails each hour stays far below the CA's five.
const SHORTEST_NEAR_THE_END: SignedDuration = SignedDuration::from_hours(1);

/// How far in the future an attempt may lie: clocks are set back by seconds, and by years where one ran wrong.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// Whether an attempt at `last` counts. One noted by a clock that ran far ahead would otherwise block until that day.
pub fn counts(last: Timestamp, now: Timestamp) -> bool {
    last.duration_since(now) < AHEAD
}

/// The longest pause between two tries while `leaf` is near its end, and for as long after it. `None`: it is not near,
/// and our own ladder applies unchanged.
pub fn cadence(leaf: &Leaf, now: Timestamp) -> Option<SignedDuration> {
    let left = leaf.not_after.duration_since(now);
    let near = leaf.not_after.duration_since(leaf.not_before) / NEAR_THE_END;
    let pause = left / TRIES_IN_WHAT_IS_LEFT;
    (left.abs() < near).then(|| pause.clamp(SHORTEST_NEAR_THE_END, LONGEST_NEAR_THE_END))
}

/// When issuing may be tried again: by our own ladder, no step of which exceeds `cadence`, or by the CA's Retry-After
/// if that is later.
pub fn issuance(attempts: &Attempts, cadence: Option<SignedDuration>) -> Timestamp {
    let step = SignedDuration::from_mins(step(&ISSUANCE_MINUTES, attempts.failures));
    let own = after(attempts.last, cadence.map_or(step, |longest| step.min(longest)));
    retry_after(attempts).map_or(own, |not_before| own.max(not_before))
}

/// The CA's Retry-After, which `--force` does not skip.
pub fn retry_after(attempts: &Attempts) -> Option<Timestamp> {
    attempts.not_before.map(|not_before| not_before.min(after(attempts.last, LONGEST_RETRY_AFTER)))
}

/// When a node may be tried again with the same generation. A node that only failed to answer is tried in every pass,
/// unless passes follow each other closely (`short_retries`).
pub fn delivery(attempts: &DeliveryAttempts, short_retries: bool) -> Timestamp {
    let minutes = match (attempts.rolled_back, short_retries) {
        (true, _) => step(&ROLLED_BACK_MINUTES, attempts.failures),
        (false, true) => step(&NO_ANSWER_MINUTES, attempts.failures),
        (false, false) => 0,
    };
    after(attempts.last, SignedDuration::from_mins(minutes))
}

/// When a node that was skipped, because others refused, is tried at the latest: after the longest step of their
/// ladder. Otherwise nodes that refuse in turns would keep it waiting for ever.
pub fn skipped(attempts: &DeliveryAttempts) -> Timestamp {
    after(attempts.last, SignedDuration::from_mins(step(&ROLLED_BACK_MINUTES, u32::MAX)))
}

/// When a withdrawal or a return that failed is tried again.
pub fn address_record(last: Timestamp, failures: u32) -> Timestamp {
    after(last, SignedDuration::from_mins(step(&ADDRESS_RECORD_MINUTES, failures)))
}

/// When a failed pass is tried again (a full disk, a state directory that cannot be read).
pub fn again(last: Timestamp, failures: u32) -> Timestamp {
    after(last, SignedDuration::from_mins(step(&NO_ANSWER_MINUTES, failures)))
}

fn step(ladder: &[i64], failures: u32) -> i64 {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(ladder.len() - 1);
    ladder[index]
}

pub(super) fn after(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.saturating_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::{Authority, NOW, days};
    use crate::model::{Advice, Code, Finding};

    /// A leaf of 80 days with this many hours left.
    fn leaf(hours_left: i64) -> Leaf {
        let pair = Authority::root("R").intermediate("I").issue(&["a.example.com"], days(-70, 10));
        let mut leaf = pair.chain().leaf.clone();
        leaf.not_after = NOW + SignedDuration::from_hours(hours_left);
        leaf.not_before = leaf.not_after - SignedDuration::from_hours(80 * 24);
        leaf
    }

    fn attempts(failures: u32, not_before: Option<Timestamp>) -> Attempts {
        let text = || "any".to_owned();
        let failure = Finding::new(Code::Bug, text(), text(), text(), Advice::Bug);
        Attempts { failures, first: None, last: NOW, not_before, failure }
    }

    #[test]
    fn k07_in_the_last_quarter_a_try_is_made_every_six_hours_and_more_often_near_the_end() {
        let hours = |left| cadence(&leaf(left), NOW).map(|pause| pause.as_hours());
        let expected = [
            (20 * 24, None),
            (20 * 24 - 1, Some(6)),
            (48, Some(6)),
            (24, Some(3)),
            (8, Some(1)),
            (0, Some(1)),
            (-19 * 24, Some(1)),
            (-21 * 24, None),
        ];
        for (left, pause) in expected {
            assert_eq!(hours(left), pause, "{left} hours before the end");
        }
        let again = |failures, left| issuance(&attempts(failures, None), cadence(&leaf(left), NOW)).duration_since(NOW);
        assert_eq!((again(4, 48).as_hours(), again(9, 8).as_hours(), again(9, 30 * 24).as_hours()), (6, 1, 24));
        assert_eq!((again(1, 8).as_mins(), again(2, 8).as_mins()), (1, 10), "no step becomes longer");
    }

    #[test]
    fn a05_no_wish_is_obeyed_for_longer_than_two_days_and_none_is_cut_short_near_the_end() {
        let wished = |hours| {
            let not_before = Some(NOW + SignedDuration::from_hours(hours));
            issuance(&attempts(1, not_before), cadence(&leaf(8), NOW)).duration_since(NOW).as_hours()
        };
        assert_eq!((wished(30), wished(10 * 365 * 24)), (30, 48));
    }
}
