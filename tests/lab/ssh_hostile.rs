//! Nodes and agents that mean harm, or are merely broken: what they say without end, what they give away, and where
//! another address does better.

#![allow(clippy::disallowed_methods, reason = "time and processor time are what is measured")]

mod addresses;
mod agents;
mod words;

use crate::lab::plain_sshd as sshd;

use std::fs;
use std::time::Duration;

use certd::ssh::{Endpoint, Session, SshError};

const LIMIT: Duration = Duration::from_secs(30);

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
