//! The clock. Nobody else reads it: decisions take `now` as an argument, events carry their own instant.

use jiff::Timestamp;

/// The wall clock, now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
