//! What comes from outside, as it may be shown.

mod escape;
mod redact;

pub use escape::{as_word, escape};
pub use redact::redact;
