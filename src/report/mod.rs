//! One value says what was seen and done; everything that a person or a program reads is a rendering of it.

mod escape;

pub use escape::escape;
