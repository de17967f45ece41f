//! `certd` issues a certificate that several nodes share and sees to it that every node *serves* it.
//!
//! One idea: reconcile. The modules stand here in the order of the story.
//!
//! ```text
//! observe  ->  plan  ->  execute  ->  report
//!    ^           |          |
//!    +-----------+----------+   rounds, until only waits remain
//! ```
//!
//! - [`cli`]: one file per command; each command is a selection from the loop.
//! - [`pass`]: the loop itself; the only place that joins several effects, and the only one that reads the clock.
//! - effects, one attempt each, none imports another: [`acme`] (the CA), [`dns`] (TXT records and whether they are
//!   seen), [`store`] (the state directory), [`node`] over [`ssh`] (delivery), [`probe`] (what is served).
//! - pure, without I/O, clock or randomness: [`plan`] (every decision, and the machines `rollout` and `order`),
//!   [`report`] (one value, rendered as text or JSON, and the exit code), [`observed`] (everything that a decision may
//!   depend on), [`config`] (written form to runtime form), [`cert`] (names, keys, chains).
//!
//! A module may import those below it: cli -> pass -> effects -> pure. `tests/layers.rs` holds them to it.

pub mod cli;
pub mod pass;

pub mod acme;
pub mod dns;
pub mod node;
pub mod probe;
pub mod ssh;
pub mod store;

pub mod plan;
pub mod report;

pub mod cert;
pub mod config;
pub mod observed;
