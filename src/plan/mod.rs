//! Every decision, pure: what to do, why, and why not. A [`Plan`] has steps *and waits*, each with a typed reason.
//!
//! What must be decided while something runs is decided by two machines: [`rollout`] and [`order`].

pub mod order;
pub mod rollout;
