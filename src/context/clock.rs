//! The clock. Nobody else reads it: decisions take `now` as an argument, events carry their own instant.

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

/// The wall clock, now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A clock that nobody sets: since some instant before this process, and without the time that the machine slept
/// (clock_gettime(2), CLOCK_MONOTONIC). It is compared with itself alone.
pub fn monotonic() -> SignedDuration {
    let read = clock_gettime(ClockId::CLOCK_MONOTONIC);
    read.map_or(SignedDuration::ZERO, |time| {
        SignedDuration::from_secs(time.tv_sec()).saturating_add(SignedDuration::from_nanos(time.tv_nsec()))
    })
}
