//! When `certd run` wakes, and what for. Pure: the loop around it sleeps, and asks again.

use jiff::{SignedDuration, Timestamp};

use crate::config::Run;

use super::{Plan, backoff};

/// A wall clock is looked at again at least this often: it may be set, and a machine that slept does not count its sleep.
pub const LOOK_AT_THE_CLOCK: SignedDuration = SignedDuration::from_secs(60);
/// More than this between two clocks that should agree is a jump. NTP slews by a few milliseconds in that time.
const JUMP: SignedDuration = SignedDuration::from_secs(30);
/// A CA that a thousand fleets ask at one instant refuses them all; within ten minutes it does not notice them.
const SPREAD: SignedDuration = SignedDuration::from_mins(10);
/// The same for what is made up for after a start, where somebody may be watching.
const SPREAD_AT_START: SignedDuration = SignedDuration::from_secs(30);
/// No more than this part of the time between two passes, so that a close schedule stays one.
const SPREAD_PART: i32 = 10;
/// A pass that begins this much later than it was meant to was missed: the machine was off, asleep, or busy.
const LATE: SignedDuration = SignedDuration::from_mins(11);

/// What is remembered from one wake to the next.
#[derive(Clone, Debug, Default)]
pub struct ScheduleState {
    /// This process started then, or woke up, or the clock was set.
    pub since: Timestamp,
    /// Begun; also by an earlier process, and by hand.
    pub last_pass: Option<Timestamp>,
    /// In this process, and by the clock as it runs now.
    pub last_look: Option<Timestamp>,
    /// The last plan's own next instant.
    pub next: Option<Timestamp>,
    /// The last look found something to do.
    pub found: bool,
    /// Passes in a row that could not be made at all, and when the last of them ended.
    pub failed: Option<(u32, Timestamp)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakeUp {
    /// Not after now: at once.
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
    /// This installation has made none yet.
    First,
    Scheduled {
        slot: Timestamp,
    },
    /// Nobody was awake then.
    Missed {
        slot: Timestamp,
    },
    /// A wait of the last plan ends.
    Waited {
        until: Timestamp,
    },
    /// A look found something to do.
    Found,
    /// The last one could not be made.
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

    /// A look, or what a pass saw at its end: what to do next.
    pub fn looked(&mut self, at: Timestamp, plan: &Plan) {
        self.last_look = Some(at);
        self.next = plan.next;
        self.found = !plan.steps.is_empty();
        self.failed = None;
    }

    /// One over everything, which began then; also by hand. What a clock noted that runs ahead is no pass.
    pub fn passed(&mut self, began: Option<Timestamp>, now: Timestamp) {
        self.last_pass = self.last_pass.max(began.filter(|began| *began <= now));
    }

    /// A pass, with what it left.
    pub fn ended(&mut self, began: Timestamp, at: Timestamp, plan: &Plan) {
        self.looked(at, plan);
        self.last_pass = Some(began);
        if self.found {
            // So many rounds were not enough: at once would be for ever.
            self.found = false;
            self.next = Some(backoff::again(at, 1));
        }
    }

    /// A pass or a look that could not be made.
    pub fn could_not(&mut self, at: Timestamp) {
        let failures = self.failed.map_or(0, |(failures, _)| failures);
        self.failed = Some((failures.saturating_add(1), at));
    }

    /// There is a reason to look that no clock tells of.
    pub fn look_anew(&mut self, now: Timestamp) {
        self.since = now;
        self.last_look = None;
    }

    /// The clock was set, or the machine slept: instants of before tell nothing about when to look. A pass that a clock
    /// noted which ran ahead was made now, at the latest; else no slot would come before that day.
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
    let look_at = state.last_look.map_or(state.since, |last| add(last, run.check_every));
    let scheduled = run.schedule.after(last).map(|slot| scheduled(run, slot, state.since, seed));
    let waited = state.next.map(|until| {
        let at = if until < state.since { add(state.since, at_start(run, state.since, seed)) } else { until };
        pass(at, Trigger::Waited { until })
    });
    let look = WakeUp { at: look_at, work: Work::Look };
    // Of two at one instant the first: a pass looks too.
    [waited, scheduled, Some(look)]
        .into_iter()
        .flatten()
        .min_by_key(|wake| wake.at)
        .unwrap_or(pass(now, Trigger::First))
}

/// When the next pass comes that is known of. `None`: at once, or nobody knows.
pub fn next_pass(run: &Run, state: &ScheduleState, seed: u64) -> Option<Timestamp> {
    let slot = run.schedule.after(state.last_pass?).map(|slot| scheduled(run, slot, state.since, seed).at);
    [slot, state.next].into_iter().flatten().min()
}

/// How the wall clock moved beyond what has really passed (by a clock that nobody sets and that stops in a suspend);
/// `None`: as it should.
pub fn jump(wall: SignedDuration, passed: SignedDuration) -> Option<SignedDuration> {
    let beyond = wall - passed;
    (beyond.abs() > JUMP).then_some(beyond)
}

fn scheduled(run: &Run, slot: Timestamp, since: Timestamp, seed: u64) -> WakeUp {
    let at = add(slot, jitter(run, slot, SPREAD, seed));
    if at >= since {
        return pass(at, Trigger::Scheduled { slot });
    }
    let why = if since.duration_since(slot) > LATE { Trigger::Missed { slot } } else { Trigger::Scheduled { slot } };
    pass(add(since, at_start(run, since, seed)), why)
}

fn at_start(run: &Run, since: Timestamp, seed: u64) -> SignedDuration {
    jitter(run, since, SPREAD_AT_START, seed)
}

/// The same for the same installation and instant, and spread evenly over many of them.
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

fn add(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.saturating_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
