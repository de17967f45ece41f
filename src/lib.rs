//! `certd` issues a certificate that several nodes share and sees to it that every node *serves* it.
//!
//! One idea: reconcile. The modules stand here in the order of the story, each above all that it may import;
//! `tests/it/layers.rs` holds them to it.
//!
//! ```text
//! observe  ->  plan  ->  execute  ->  report
//!    ^           |          |
//!    +-----------+----------+   rounds, until only waits remain
//! ```

// What the user typed; one file a command.
pub mod cli;
// `certd run`: wake-ups, events, systemd's notifications.
pub mod service;
// Commands that are no reconciliation: doctor, account, revoke, receiver.
pub mod ops;

// The loop, and the only place that joins several effects.
pub mod execute;
pub mod observe;
pub mod reconcile;
// What every step borrows: secrets, clients, the clock, the stop signal.
pub mod context;

// Pure, without I/O, clock or randomness: every word, and every decision.
pub mod plan;
pub mod report;

// Protocols, one attempt each.
pub mod acme;
pub mod dns;
pub mod node;
pub mod probe;
pub mod ssh;
pub mod store;

// How the protocols over HTTP speak it.
pub mod http;

// What several of them speak of.
pub mod cert;
pub mod config;
pub mod model;

// Of everybody.
pub mod mutex;
pub mod text;
