//! The clock. Only this module reads it: decisions take `now` as an argument, and events carry their own instant.

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// The wall clock, now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that cannot be set: counts from some instant before this process started, without time in suspend
/// (clock_gettime(2), CLOCK_MONOTONIC). Only differences have a meaning.
pub fn monotonic() -> SignedDuration {
    let read = clock_gettime(ClockId::CLOCK_MONOTONIC);
    read.map_or(SignedDuration::ZERO, |time| {
        SignedDuration::from_secs(time.tv_sec()).saturating_add(SignedDuration::from_nanos(time.tv_nsec()))
    })
}
