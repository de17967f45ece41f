//! Nodes and agents that mean harm, or are merely broken: what they say without end, what they give away, and where
//! another address does better.

#![allow(clippy::unwrap_used, reason = "helpers of tests may unwrap as tests do")]
#![allow(clippy::disallowed_methods, reason = "time and processor time are what is measured")]
#![allow(dead_code, reason = "the helpers are shared with other tests")]

#[path = "ssh_hostile/addresses.rs"]
mod addresses;
#[path = "ssh_hostile/agents.rs"]
mod agents;
#[path = "node_program/sshd.rs"]
mod sshd;
#[path = "ssh_hostile/words.rs"]
mod words;

use std::fs;
use std::time::Duration;

use certd::ssh::{Endpoint, Session, SshError};
use tokio::sync::Mutex;

const LIMIT: Duration = Duration::from_secs(30);
/// Threads, descriptors and processor time are counted over the whole process.
static ALONE: Mutex<()> = Mutex::const_new(());

async fn login(endpoint: Endpoint, limit: Duration) -> Result<(), SshError> {
    let mut session = Session::start(endpoint, "cat").unwrap();
    match tokio::time::timeout(limit, session.ready()).await {
        Ok(ready) => ready,
        Err(_) => Err(session.overdue(limit)),
    }
}

/// The threads that own sessions, by their name.
fn threads() -> usize {
    let all = fs::read_dir("/proc/self/task").unwrap().flatten();
    all.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "ssh")).count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

async fn waited_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, so).await.unwrap_or_else(|_| panic!("{what}"));
}
