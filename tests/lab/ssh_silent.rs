//! Peers that say nothing, stop in the middle or drip: each wait has an end, is reported with what was waited for, and leaves
//! no thread behind.

use crate::lab::plain_sshd as sshd;
use crate::lab::throttle;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::lab::alone::ran_elsewhere;
use certd::ssh::{Endpoint, Session, SshError};
use sshd::{Sshd, free_address};
use throttle::{Then, Throttle};

const LIMIT: Duration = Duration::from_secs(20);
/// For a peer that is dead.
const DEADLINE: Duration = Duration::from_secs(4);

/// The threads that own sessions, by their name.
fn threads() -> usize {
    let all = fs::read_dir("/proc/self/task").unwrap().flatten();
    all.filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "ssh")).count()
}

async fn no_thread_is_left() {
    let ended = async {
        while threads() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.unwrap_or_else(|_| panic!("{} threads are left", threads()));
}

/// Logs in, starts a program that says 3000 bytes, and hears them all.
async fn talk(session: &mut Session) -> Result<(), SshError> {
    session.ready().await?;
    let mut heard = 0;
    while heard < 3000 {
        heard += session.read().await?.len();
    }
    Ok(())
}

async fn talk_in_time(endpoint: Endpoint, limit: Duration) -> Result<(), SshError> {
    let mut session = Session::start(endpoint, "head -c 3000 /dev/zero; cat").unwrap();
    match tokio::time::timeout(limit, talk(&mut session)).await {
        Ok(end) => end,
        Err(_) => Err(session.overdue(limit)),
    }
}

#[tokio::test]
async fn s08_a_peer_that_stops_or_drips_at_any_point_costs_the_deadline_and_is_told_with_its_phase() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let sshd = Sshd::with(free_address(), "MaxStartups 200\n");
    let whole = Throttle::start(free_address(), sshd.address, usize::MAX, Then::Silence);
    talk_in_time(Endpoint { address: whole.at, ..sshd.endpoint() }, LIMIT).await.unwrap();
    let bytes = whole.heard();

    // From before the banner to the middle of the answer, and more closely where the login is, whose packets are small.
    let coarse = (0..20).map(|part| (bytes - 500) * part / 20);
    let points: Vec<usize> = coarse.chain((1..=8).map(|step| bytes - 3000 - 80 * step)).collect();
    let mut phases = BTreeSet::new();
    for then in [Then::Silence, Then::Drip(Duration::from_secs(1))] {
        let waits = points.iter().map(|point| {
            let throttle = Throttle::start(free_address(), sshd.address, *point, then);
            let endpoint = Endpoint { address: throttle.at, ..sshd.endpoint() };
            async move { (point, talk_in_time(endpoint, DEADLINE).await) }
        });
        let ends = tokio::time::timeout(LIMIT, futures_util::future::join_all(waits)).await.expect("in time");
        for (point, end) in ends {
            let Err(SshError::Deadline { phase, .. }) = end else { panic!("{point} {then:?}: {end:?}") };
            phases.insert(phase);
        }
    }
    let expected = ["connecting", "exchanging keys", "logging in", "starting the program", "waiting for the answer"];
    assert!(phases.iter().all(|phase| expected.contains(&phase.as_str())), "{phases:?}");
    for phase in ["exchanging keys", "logging in", "waiting for the answer"] {
        assert!(phases.contains(phase), "{phases:?}");
    }
    no_thread_is_left().await;
}
