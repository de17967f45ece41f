//! `make soak`: what takes minutes or hours. The short forms of these tests are in `tests/lab/`.

#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]
#![allow(clippy::print_stdout, reason = "`make soak` shows its figures")]

#[path = "../support/mod.rs"]
mod lab;

mod consumers;
mod dialogue_kills;
mod dns;
mod health;
mod http3;
mod hundred;
mod import;
mod key_types;
mod kill_everywhere;
mod node_program;
mod nonces;
mod roots;
mod rotations;
mod ssh_jump_many;
mod ssh_many;
mod ssh_silent;
mod starttls;
mod story;
mod update_servers;
mod userlands;
