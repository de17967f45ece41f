//! `certd` issues a certificate that several nodes share and makes sure that every node *serves* it.
//!
//! One idea: reconcile. The modules are listed top down: each may import only what is below it, which
//! `tests/it/layers.rs` checks.
//!
//! ```text
//! observe  ->  plan  ->  execute  ->  report
//!    ^           |          |
//!    +-----------+----------+   rounds, until only waits remain
//! ```

// The command line; one file a command.
pub mod cli;
// `certd run`: wake-ups, events, systemd notifications.
pub mod service;
// Commands other than reconciliation: init, doctor, account, generations, revoke, receiver.
pub mod ops;

// The loop, and what it joins: looking and doing.
pub mod execute;
pub mod observe;
pub mod reconcile;
// Shared by every step: secrets, clients, the clock, the stop signal.
pub mod context;

// Pure, without I/O, clock or randomness: every decision, and every sentence.
pub mod import;
pub mod plan;
pub mod report;

// Protocols, one attempt each.
pub mod acme;
pub mod dns;
pub mod node;
pub mod probe;
pub mod ssh;
pub mod store;

// The HTTP client of the protocols.
pub mod http;

// Types that several protocols share.
pub mod cert;
pub mod config;
pub mod model;

// Used everywhere.
pub mod descriptors;
pub mod mutex;
pub mod text;
