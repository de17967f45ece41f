//! certd and its parts against real peers: CAs, name servers, SSH servers and web servers, on this machine.
//!
//! One program, so that all of these tests run beside one another; one that counts what its whole process has runs in a
//! process of its own (`lab::alone`).

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]

#[path = "../support/mod.rs"]
mod lab;

mod acme_account;
mod acme_chains;
mod acme_faults;
mod acme_kinds;
mod acme_persist;
mod acme_profiles;
mod caddy;
mod chains;
mod check;
mod clean;
mod cloudflare;
mod commands;
mod consumers;
mod dialogue_kills;
mod discovery;
mod dns;
mod doctor;
mod emergency;
mod failover;
mod fallback;
mod fence;
mod guarded;
mod health;
mod hundred;
mod import;
mod init;
mod interrupted;
mod inventory;
mod issue_lab;
mod key_types;
mod kill;
mod kill_everywhere;
mod lab_smoke;
mod node_over_ssh;
mod node_program;
mod nonces;
mod policy;
mod probes;
mod providers;
mod proxies;
mod readme;
mod receiver;
mod renames;
mod renew;
mod revoke;
mod rotations;
mod rows_nodes;
mod rows_process;
mod run;
mod secrets;
mod setup;
mod silent;
mod slow_node;
mod ssh_hostile;
mod ssh_jump;
mod ssh_login;
mod ssh_silent;
mod ssh_tunnel;
mod takeover;
mod watch;
