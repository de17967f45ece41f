//! After a reload: is the new leaf what a fresh handshake shows? A reload takes its time, and until it is over an old
//! process may answer, or nobody. So it is asked again, first soon and then more seldom, until the deadline.

use core::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Route, Shaken, ask};
use crate::cert::{DnsName, Fingerprint};
use crate::model::Silence;

/// One handshake; a server that hangs must not use up the time in which a new one comes up. At 150 ms to the node a
/// handshake takes half a second.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The first pause: nginx starts its new workers well within it.
const PAUSE: Duration = Duration::from_millis(250);

/// Each pause is so many times the one before …
const GROWTH: u32 = 4;

/// … up to this one, so that the last answer is never much older than the deadline.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The part of a pause that the end of a connection cannot shorten: a server that ends every connection at once is not
/// to be asked without pause.
const LEAST_PART: u32 = 4;

/// What fresh handshakes said after a reload.
#[derive(Debug)]
pub enum Verified {
    /// The expected leaf is served (its chain, DER, as the server sends it).
    Expected(Vec<Vec<u8>>),
    /// Until the deadline another leaf was served (its chain, DER).
    Other(Vec<Vec<u8>>),
    Silent(Silence),
}

/// Asks until `expected` is served or `deadline` has passed; what was seen last counts. An old worker that still
/// answers is waited for by its end of the connection, or for a growing pause, whichever comes first; through another's stream,
/// for the pause. When the first
/// answer is the expected one, it is the only connection over TCP; over QUIC all of several have to be.
pub async fn verify(route: impl Into<Route>, sni: &DnsName, expected: Fingerprint, deadline: Duration) -> Verified {
    let route = route.into();
    let is_expected = |shaken: &Shaken| shaken.chain.first().is_some_and(|leaf| Fingerprint::of(leaf) == expected);
    let over_quic = matches!(route, Route::Quic { .. });
    let mut last = Verified::Silent(if over_quic { Silence::NoQuic } else { Silence::TimedOut });
    let asking = async {
        let mut pause = PAUSE;
        loop {
            let mut answers = ask(&route, sni, ATTEMPT).await;
            let unexpected = answers.iter().position(|answer| !answer.as_ref().is_ok_and(is_expected));
            let open = match answers.swap_remove(unexpected.unwrap_or(0)) {
                Ok(shaken) if unexpected.is_none() => {
                    last = Verified::Expected(shaken.chain);
                    return;
                }
                Ok(shaken) => {
                    last = Verified::Other(shaken.chain);
                    // A stream of another's session is not kept: other names wait for it.
                    (!matches!(route, Route::Through { .. })).then_some(shaken.open)
                }
                Err(silence) => {
                    last = Verified::Silent(silence);
                    None
                }
            };
            drop(answers);
            match open {
                Some(open) => {
                    let ended = timeout(pause, open.until_end());
                    let (_, ()) = tokio::join!(ended, sleep(pause / LEAST_PART));
                }
                None => sleep(pause).await,
            }
            pause = (pause * GROWTH).min(LONGEST_PAUSE);
        }
    };
    // When it runs out, what was seen last is already there.
    let _ = timeout(deadline, asking).await;
    last
}
