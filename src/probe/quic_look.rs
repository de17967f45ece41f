//! What a server shows over QUIC. One handshake sees one worker, and may meet one that answers no new connection, so that
//! several are made at once, each from a port of its own.

use core::net::SocketAddr;
use core::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};

use super::{Asked, Route, h3};
use crate::cert::Fingerprint;
use crate::descriptors;
use crate::model::{Handshakes, ProbeError};

/// Handshakes at once. nginx's old workers go on reading the UDP sockets until their last request ends, and drop what they
/// get of new connections; the kernel spreads datagrams over the workers.
const AT_ONCE: u16 = 5;
/// While none of them is answered, others are begun …
const NEXT: Duration = Duration::from_secs(1);
/// … up to this many: what a client does that tries again.
const MOST: u16 = 15;
/// For all of them. A lost packet is sent again after a second (RFC 9002 section 6.2.2), and a round trip is shorter than
/// two.
const DEADLINE: Duration = Duration::from_secs(3);

/// The first pause between two looks after a reload.
const PAUSE: Duration = Duration::from_millis(250);

/// The answers of several handshakes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicLook {
    /// The distinct ones: usually one chain. Never empty. A missing answer is among them only where nothing has answered.
    pub answers: Vec<Result<Vec<Vec<u8>>, ProbeError>>,
    pub handshakes: Handshakes,
}

impl QuicLook {
    /// Whether every answer shows this leaf; missing ones do not count.
    pub fn shows(&self, expected: Fingerprint) -> bool {
        let is_expected = |leaf: &Vec<u8>| Fingerprint::of(leaf) == expected;
        self.answers.iter().all(|answer| answer.as_ref().is_ok_and(|chain| chain.first().is_some_and(is_expected)))
    }
}

pub async fn look_over_quic<'a>(address: SocketAddr, asked: impl Into<Asked<'a>>) -> QuicLook {
    // A socket for each handshake, and one that hears whether anything listens.
    let _room = descriptors::for_handshakes(usize::from(MOST) / 3 + 1).await;
    let (route, asked) = (Route::Quic { address }, asked.into());
    let one = async || asked.ask(&route, DEADLINE).await.map(|handshake| handshake.chain);
    let mut asking: FuturesUnordered<_> = (0..AT_ONCE).map(|_| one()).collect();
    let mut look =
        QuicLook { answers: Vec::new(), handshakes: Handshakes { asked: AT_ONCE, answered: 0, before: false } };
    let mut lacking: Vec<ProbeError> = Vec::new();
    let all = async {
        let (refused, next) = (h3::refused(address), sleep(NEXT));
        tokio::pin!(refused, next);
        loop {
            let answer = tokio::select! {
                answer = asking.next() => answer,
                () = &mut refused, if look.handshakes.answered == 0 => return,
                () = &mut next, if look.handshakes.answered == 0 && look.handshakes.asked < MOST => {
                    asking.extend((0..AT_ONCE).map(|_| one()));
                    look.handshakes.asked += AT_ONCE;
                    next.set(sleep(NEXT));
                    continue;
                }
            };
            match answer {
                None => return,
                // Without a socket of our own nothing was asked.
                Some(Err(error @ ProbeError::NoSocket(_))) => lacking.push(error),
                Some(Err(ProbeError::NoQuic | ProbeError::Network(_))) => {}
                Some(answer) => {
                    look.handshakes.answered += 1;
                    if !look.answers.contains(&answer) {
                        look.answers.push(answer);
                    }
                }
            }
        }
    };
    let _ = timeout(DEADLINE, all).await;
    if look.answers.is_empty() {
        let none_was_asked = lacking.len() == usize::from(look.handshakes.asked);
        look.answers.push(Err(lacking.pop().filter(|_| none_was_asked).unwrap_or(ProbeError::NoQuic)));
    }
    look
}

/// Looks until all that answer show the expected leaf, or until `patience` has passed; the last look counts.
pub async fn verify_over_quic<'a>(
    address: SocketAddr,
    asked: impl Into<Asked<'a>>,
    expected: Fingerprint,
    patience: Duration,
) -> QuicLook {
    let (asked, patience) = (asked.into(), sleep(patience));
    tokio::pin!(patience);
    let mut pause = PAUSE;
    loop {
        let look = look_over_quic(address, asked).await;
        if look.shows(expected) {
            return look;
        }
        tokio::select! {
            () = &mut patience => return look,
            () = sleep(pause) => {}
        }
        pause *= 2;
    }
}
