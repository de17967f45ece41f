//! What comes from outside, as it may be shown.

mod escape;
pub mod list;
mod redact;

pub use escape::{as_word, escape};
pub use redact::redact;
