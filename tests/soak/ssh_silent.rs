//! A peer that vanishes: noticed by its silence, and not before.

use std::time::Duration;

use certd::ssh::{Endpoint, Session};

use crate::lab::plain_sshd::{Sshd, free_address};
use crate::lab::throttle::{Then, Throttle};

/// Time is what is tested: three keep-alives of 15 s.
#[tokio::test]
async fn s08_a_peer_that_vanishes_is_noticed_by_its_silence_parked_and_while_it_is_waited_for() {
    // Of its own accord sshd would notice a client that is silent.
    let sshd = Sshd::with(free_address(), "ClientAliveInterval 0\n");
    // Those that answer keep-alives are kept, however long they have nothing to say and however quick they are.
    let mut kept = Vec::new();
    for _ in 0..10 {
        let mut session = Session::start(sshd.endpoint(), "sleep 200").unwrap();
        session.ready().await.unwrap();
        kept.push(session);
    }
    let vanish = async |waits: bool| {
        let probe = Throttle::start(free_address(), sshd.address, usize::MAX, Then::Silence);
        let mut session = Session::start(Endpoint { address: probe.at, ..sshd.endpoint() }, "sleep 100").unwrap();
        session.ready().await.unwrap();
        probe.silence();
        if !waits {
            tokio::time::sleep(Duration::from_secs(55)).await;
        }
        let limit = if waits { Duration::from_secs(60) } else { Duration::from_secs(1) };
        tokio::time::timeout(limit, session.read()).await.expect("noticed").unwrap_err()
    };
    let (parked, waiting) = tokio::join!(vanish(false), vanish(true));
    for error in [parked, waiting] {
        assert!(error.to_string().ends_with("no answer to keep-alives for 45 s"), "{error}");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    for session in kept {
        assert!(tokio::time::timeout(Duration::from_millis(100), session.read()).await.is_err(), "it is still there");
    }
}
