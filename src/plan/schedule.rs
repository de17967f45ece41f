//! When `certd run` wakes, and what for. Pure: the loop around it sleeps, and asks again.

use jiff::{SignedDuration, Timestamp};

use crate::config::Run;

use super::backoff::after;
use super::{Plan, backoff};

/// The wall clock is read at least this often: it may be set, and a machine that slept does not count its sleep.
pub const LOOK_AT_THE_CLOCK: SignedDuration = SignedDuration::from_secs(60);
/// A greater difference between two clocks that should agree is a jump. NTP slews by a few milliseconds in that time.
const JUMP: SignedDuration = SignedDuration::from_secs(30);
/// A CA refuses a thousand fleets that ask at one instant; within ten minutes it does not notice them.
const SPREAD: SignedDuration = SignedDuration::from_mins(10);
/// The spread of a pass that is made up for after a start, where an operator may be watching.
const SPREAD_AT_START: SignedDuration = SignedDuration::from_secs(30);
/// The spread is at most this part of the time between two passes, so that a close schedule stays close.
const SPREAD_PART: i32 = 10;
/// A pass that begins later than this after its slot was missed: the machine was off, asleep, or busy.
const LATE: SignedDuration = SignedDuration::from_mins(11);

/// What the service remembers from one wake-up to the next.
#[derive(Clone, Debug, Default)]
pub struct ScheduleState {
    /// When this process started or woke up, or the clock was set.
    pub since: Timestamp,
    /// Start of the last pass, also by an earlier process or by hand.
    pub last_pass: Option<Timestamp>,
    /// The last look of this process, by the clock as it runs now.
    pub last_look: Option<Timestamp>,
    pub next: Option<Timestamp>,
    pub found: bool,
    /// Failed passes in a row, and when the last of them ended.
    pub failed: Option<(u32, Timestamp)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakeUp {
    /// At once when this is not in the future.
    pub at: Timestamp,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Handshakes alone.
    Look,
    Pass(Trigger),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// This installation has made no pass yet.
    First,
    Scheduled {
        slot: Timestamp,
    },
    /// The service was not running at that time.
    Missed {
        slot: Timestamp,
    },
    /// A wait of the last plan ends.
    Waited {
        until: Timestamp,
    },
    /// A look found something to do.
    Found,
    /// The last pass failed.
    Again {
        failures: u32,
    },
}

impl ScheduleState {
    pub fn new(now: Timestamp, last_pass: Option<Timestamp>) -> Self {
        let mut state = Self { last_pass, ..Self::default() };
        state.jumped(now);
        state
    }

    /// After a look, or the look at the end of a pass.
    pub fn looked(&mut self, at: Timestamp, plan: &Plan) {
        self.last_look = Some(at);
        self.next = plan.next;
        self.found = !plan.steps.is_empty();
        self.failed = None;
    }

    /// A complete pass began then, perhaps by hand. A start in the future comes from a wrong clock and is ignored.
    pub fn passed(&mut self, began: Option<Timestamp>, now: Timestamp) {
        self.last_pass = self.last_pass.max(began.filter(|began| *began <= now));
    }

    /// After a pass, with the plan that it left.
    pub fn ended(&mut self, began: Timestamp, at: Timestamp, plan: &Plan) {
        self.looked(at, plan);
        self.last_pass = Some(began);
        if self.found {
            // Its rounds were not enough; starting again at once could go on for ever.
            self.found = false;
            self.next = Some(backoff::again(at, 1));
        }
    }

    /// After a pass or a look that failed.
    pub fn could_not(&mut self, at: Timestamp) {
        let failures = self.failed.map_or(0, |(failures, _)| failures);
        self.failed = Some((failures.saturating_add(1), at));
    }

    /// Forces a look, for a reason that no clock shows.
    pub fn look_anew(&mut self, now: Timestamp) {
        self.since = now;
        self.last_look = None;
    }

    /// The clock was set, or the machine slept: earlier instants no longer tell when to look. A last pass in the future
    /// was noted by a clock that ran ahead; it counts as made now, else no slot would come before that day.
    pub fn jumped(&mut self, now: Timestamp) {
        self.look_anew(now);
        self.last_pass = self.last_pass.map(|last| last.min(now));
        self.failed = self.failed.map(|(times, at)| (times, at.min(now)));
    }
}

/// When to wake and what for. `seed` is the installation's: it spreads the instants of many.
pub fn next(run: &Run, state: &ScheduleState, seed: u64, now: Timestamp) -> WakeUp {
    if let Some((failures, at)) = state.failed {
        return pass(backoff::again(at, failures), Trigger::Again { failures });
    }
    if state.found {
        return pass(now, Trigger::Found);
    }
    let Some(last) = state.last_pass else {
        return pass(now, Trigger::First);
    };
    let look_at = state.last_look.map_or(state.since, |last| after(last, run.check_every));
    let scheduled = run.schedule.after(last).map(|slot| scheduled(run, slot, state.since, seed));
    let waited = state.next.map(|until| {
        let at = if until < state.since { after(state.since, at_start(run, state.since, seed)) } else { until };
        pass(at, Trigger::Waited { until })
    });
    let look = WakeUp { at: look_at, work: Work::Look };
    // A tie goes to the pass, which looks too.
    [waited, scheduled, Some(look)]
        .into_iter()
        .flatten()
        .min_by_key(|wake| wake.at)
        .unwrap_or(pass(now, Trigger::First))
}

/// The next known pass. `None`: at once, or not known.
pub fn next_pass(run: &Run, state: &ScheduleState, seed: u64) -> Option<Timestamp> {
    let slot = run.schedule.after(state.last_pass?).map(|slot| scheduled(run, slot, state.since, seed).at);
    [slot, state.next].into_iter().flatten().min()
}

/// How far the wall clock moved beyond the time that really passed, measured by a clock that is never set and that
/// stops in a suspend. `None`: within bounds.
pub fn jump(wall: SignedDuration, passed: SignedDuration) -> Option<SignedDuration> {
    let beyond = wall - passed;
    (beyond.abs() > JUMP).then_some(beyond)
}

fn scheduled(run: &Run, slot: Timestamp, since: Timestamp, seed: u64) -> WakeUp {
    let at = after(slot, jitter(run, slot, SPREAD, seed));
    if at >= since {
        return pass(at, Trigger::Scheduled { slot });
    }
    let why = if since.duration_since(slot) > LATE { Trigger::Missed { slot } } else { Trigger::Scheduled { slot } };
    pass(after(since, at_start(run, since, seed)), why)
}

fn at_start(run: &Run, since: Timestamp, seed: u64) -> SignedDuration {
    jitter(run, since, SPREAD_AT_START, seed)
}

/// Deterministic for an installation and an instant, and spread evenly over many of them.
fn jitter(run: &Run, instant: Timestamp, most: SignedDuration, seed: u64) -> SignedDuration {
    let period = run.schedule.after(instant).map(|next| next.duration_since(instant)).unwrap_or(most * SPREAD_PART);
    let width = (period / SPREAD_PART).min(most).as_millis();
    let mut drawn = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    drawn.update(&seed.to_be_bytes());
    drawn.update(&instant.as_second().to_be_bytes());
    let number = drawn.finish().as_ref().iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let width = u64::try_from(width).unwrap_or(0).max(1);
    SignedDuration::from_millis(i64::try_from(number % width).unwrap_or(0))
}

fn pass(at: Timestamp, why: Trigger) -> WakeUp {
    WakeUp { at, work: Work::Pass(why) }
}

#[cfg(test)]
mod tests;
