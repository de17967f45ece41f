//! How long to wait after failures. Two ladders: one for the CA, one for each node.

use jiff::{SignedDuration, Timestamp};

use crate::observed::{Attempts, DeliveryAttempts};

/// Minutes after the first, second, third and every further failure to issue. Let's Encrypt's advice: "1st retry after
/// 1 minute, 2nd after 10 minutes, 3rd after 100 minutes, 4th and subsequent retries after 1 day".
const ISSUANCE_MINUTES: [i64; 4] = [1, 10, 100, 24 * 60];

/// A day is too long a wait where the end is near: then no step of the ladder is longer than this.
const PRESSING_MINUTES: i64 = 6 * 60;

/// Minutes after a node went back to what it had: its cause is seldom gone at once, and each try reloads a live server.
const ROLLED_BACK_MINUTES: [i64; 3] = [10, 60, 6 * 60];

/// Minutes after a node merely failed to answer, where one pass follows another (`run`): it is back as soon as may be, and
/// a node that is gone for days costs six logins an hour.
const NO_ANSWER_MINUTES: [i64; 4] = [1, 2, 5, 10];

/// How far ahead of now an attempt may lie: clocks are set back by seconds, and by years where one ran wrong.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// Whether an attempt at `last` counts. One that was noted by a clock that ran far ahead would otherwise hold things up
/// until that day comes.
pub fn counts(last: Timestamp, now: Timestamp) -> bool {
    last.duration_since(now) < AHEAD
}

/// When issuing may be tried again: by our own ladder, or when the CA said so if that is later. `pressing`: what is stored
/// ends soon.
pub fn issuance(attempts: &Attempts, pressing: bool) -> Timestamp {
    let minutes = step(&ISSUANCE_MINUTES, attempts.failures);
    let own = after(attempts.last, if pressing { minutes.min(PRESSING_MINUTES) } else { minutes });
    attempts.not_before.map_or(own, |not_before| own.max(not_before))
}

/// When a node may be tried again with the same generation. A node that merely failed to answer is tried in every pass,
/// unless they follow each other closely (`patient`).
pub fn delivery(attempts: &DeliveryAttempts, patient: bool) -> Timestamp {
    let minutes = match (attempts.rolled_back, patient) {
        (true, _) => step(&ROLLED_BACK_MINUTES, attempts.failures),
        (false, true) => step(&NO_ANSWER_MINUTES, attempts.failures),
        (false, false) => 0,
    };
    after(attempts.last, minutes)
}

/// When a pass is tried again that could not be made at all (a full disk, a state directory that cannot be read).
pub fn again(last: Timestamp, failures: u32) -> Timestamp {
    after(last, step(&NO_ANSWER_MINUTES, failures))
}

fn step(ladder: &[i64], failures: u32) -> i64 {
    let index = usize::try_from(failures.saturating_sub(1)).unwrap_or(usize::MAX).min(ladder.len() - 1);
    ladder[index]
}

fn after(instant: Timestamp, minutes: i64) -> Timestamp {
    instant.saturating_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX)
}
