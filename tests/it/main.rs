//! What needs no lab: the configuration, the store, the probe, and what holds of the repository itself.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]

mod config;
mod faults;
mod init;
mod key_types;
mod layers;
mod probe;
mod schema;
mod store;
mod supply;
mod systemd;
