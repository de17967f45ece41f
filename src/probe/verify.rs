//! After a reload: do fresh handshakes show the new leaf? Until the reload is over, an old process may answer, or none. So
//! the probe repeats with growing pauses until the deadline.

use core::time::Duration;

use tokio::time::{sleep, timeout};

use super::{Asked, Handshake, Route};
use crate::cert::Fingerprint;
use crate::model::ProbeError;

/// The time for one handshake: a hanging server must leave time for the new one. With 150 ms to the node, a handshake takes
/// half a second.
const ATTEMPT: Duration = Duration::from_secs(5);

/// The first pause: nginx starts new workers well within it.
const PAUSE: Duration = Duration::from_millis(250);

/// Factor from one pause to the next …
const GROWTH: u32 = 4;

/// … up to this one, so that the last answer is recent at the deadline.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The part of a pause that a closed connection cannot shorten: a server that closes every connection at once is not
/// probed in a tight loop.
const LEAST_PART: u32 = 4;

/// The answer of fresh handshakes after a reload.
#[derive(Debug)]
pub enum Verified {
    /// The expected leaf is served (its chain, DER, as the server sends it).
    Expected(Vec<Vec<u8>>),
    /// Until the deadline another leaf was served (its chain, DER).
    Other(Vec<Vec<u8>>),
    Silent(ProbeError),
}

/// Probes until `expected` is served or `deadline` has passed; the last answer counts. While an old worker answers, the
/// next attempt waits for it to close the connection or for a growing pause, whichever comes first; through a caller's
/// stream, for the pause.
pub async fn verify<'a>(
    route: impl Into<Route>,
    asked: impl Into<Asked<'a>>,
    expected: Fingerprint,
    deadline: Duration,
) -> Verified {
    let (route, asked) = (route.into(), asked.into());
    let _room = route.room().await;
    let is_expected =
        |handshake: &Handshake| handshake.chain.first().is_some_and(|leaf| Fingerprint::of(leaf) == expected);
    let mut last = Verified::Silent(ProbeError::TimedOut);
    let asking = async {
        let mut pause = PAUSE;
        loop {
            let open = match asked.ask(&route, ATTEMPT).await {
                Ok(handshake) if is_expected(&handshake) => {
                    last = Verified::Expected(handshake.chain);
                    return;
                }
                Ok(handshake) => {
                    last = Verified::Other(handshake.chain);
                    // A caller's stream is closed at once: other names wait for it.
                    (!matches!(route, Route::Through { .. })).then_some(handshake.open)
                }
                Err(silence) => {
                    let waits = !matches!(silence, ProbeError::NoRoute(_));
                    last = Verified::Silent(silence);
                    if !waits {
                        return;
                    }
                    None
                }
            };
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
    // At the deadline, `last` already holds the last answer.
    let _ = timeout(deadline, asking).await;
    last
}
