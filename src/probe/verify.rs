//! After a reload: is the new leaf what a fresh handshake shows? A reload takes its time, and until it is over an old
//! process may answer, or nobody. So it is asked again, first soon and then more seldom, until the deadline.

use core::net::SocketAddr;
use core::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::connect;
use crate::cert::{DnsName, Fingerprint};
use crate::observed::Silence;

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
/// answers is waited for by its end of the connection, or for a growing pause, whichever comes first. When the first
/// answer is the expected one, it is the only connection.
pub async fn verify(address: SocketAddr, sni: &DnsName, expected: Fingerprint, deadline: Duration) -> Verified {
    let mut last = Verified::Silent(Silence::TimedOut);
    let asking = async {
        let mut pause = PAUSE;
        loop {
            let open = match connect(address, sni, ATTEMPT).await {
                Ok(shaken) if shaken.chain.first().is_some_and(|leaf| Fingerprint::of(leaf) == expected) => {
                    last = Verified::Expected(shaken.chain);
                    return;
                }
                Ok(shaken) => {
                    last = Verified::Other(shaken.chain);
                    Some(shaken.stream)
                }
                Err(silence) => {
                    last = Verified::Silent(silence);
                    None
                }
            };
            match open {
                Some(stream) => {
                    let ended = timeout(pause, until_end(stream));
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

/// nginx's old workers close idle connections when they end; whatever a server sends before is of no interest.
async fn until_end(mut stream: TlsStream<TcpStream>) {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
}
