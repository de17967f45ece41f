//! The probe: one TLS handshake with the service name as SNI, over TCP (after a dialogue in plain text, where the protocol
//! begins so), over QUIC or through a caller's stream.
//!
//! Any chain is accepted and returned; the caller judges it. A failure is an observation too: a [`ProbeError`] shows how far
//! the handshake came.

mod accept_any;
mod h3;
mod in_common;
mod keys;
mod plain;
mod proxy;
mod quic;
mod quic_look;
mod request;
mod route;
mod starttls;
mod tls;
mod verify;

use core::net::SocketAddr;
use core::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::timeout;

use crate::cert::{DnsName, KeyAlgorithm};
use crate::model::ProbeError;

pub use h3::{Http3, Offer, look_for_h3};
pub use keys::{Asked, Beside, Keys};
pub use quic_look::{QuicLook, look_over_quic, verify_over_quic};
pub use request::{Get, HttpError, Response, get};
pub use route::{Opener, Route, Stream};
pub use verify::{Verified, verify};

use quic::OverQuic;
use route::Prelude;
use tls::OverStream;

/// The chain (DER, leaf first) that is presented for `sni`. One attempt; `deadline` covers all of it but the opening of a
/// caller's stream, and is longer for a server that greets first. The handshake's signature proves that the server has the leaf's key. TLS 1.2 and 1.3 (over QUIC 1.3),
/// no resumption, no ALPN but QUIC's `h3`.
///
/// # Errors
/// How far it came.
pub async fn handshake(route: impl Into<Route>, sni: &DnsName, deadline: Duration) -> Result<Vec<Vec<u8>>, ProbeError> {
    let route = route.into();
    let _room = route.room().await;
    Ok(connect(&route, sni, None, deadline).await?.chain)
}

/// Whether something there completes a handshake, whatever it shows. `host`: a name, or an address, of which none is sent.
pub async fn speaks_tls(address: SocketAddr, host: &str, deadline: Duration) -> bool {
    let Ok(name) = ServerName::try_from(host.to_owned()) else { return false };
    let _room = Route::from(address).room().await;
    let attempt = async { tls::completes(route::tcp(address).await?, name).await };
    timeout(deadline, attempt).await.is_ok_and(|done| done.is_ok())
}

/// The chain (DER, leaf first) that a handshake showed.
pub type Answer = Result<Vec<Vec<u8>>, ProbeError>;

/// What a fresh handshake shows of the pair that is asked for, and what the server has beside it.
pub async fn look<'a>(
    route: impl Into<Route>,
    asked: impl Into<Asked<'a>>,
    deadline: Duration,
) -> (Answer, Option<Beside>) {
    let (route, asked) = (route.into(), asked.into());
    let _room = route.room().await;
    asked.with_beside(asked.ask(&route, deadline).await, &route, deadline).await
}

/// A completed handshake whose connection is still open.
struct Handshake {
    /// Never empty; rustls reads at most 64 kB of it.
    chain: Vec<Vec<u8>>,
    /// What the server shows to a client that takes every algorithm, where that is another pair.
    preferred: Option<Vec<Vec<u8>>>,
    open: Open,
}

/// The algorithm of the leaf's key.
fn algorithm(chain: &[Vec<u8>]) -> Option<KeyAlgorithm> {
    chain.first().and_then(|leaf| KeyAlgorithm::of(leaf))
}

enum Open {
    Stream(Box<OverStream>),
    Quic(OverQuic),
}

impl Open {
    /// Returns when the server ends the connection.
    async fn until_end(self) {
        match self {
            Self::Stream(stream) => stream.until_end().await,
            Self::Quic(connection) => connection.until_end().await,
        }
    }
}

/// `offer`: only signatures of these keys are offered.
async fn connect(
    route: &Route,
    sni: &DnsName,
    offer: Option<KeyAlgorithm>,
    deadline: Duration,
) -> Result<Handshake, ProbeError> {
    match attempt(route, sni, offer, deadline).await {
        // A guess so far. With fewer signatures than certd has it is none: the server may have no such pair.
        Err(ProbeError::NothingInCommon(why)) => Err(match offer {
            None => in_common::judged(route, sni, deadline).await.unwrap_or(ProbeError::Tls(why)),
            Some(_) => ProbeError::Tls(why),
        }),
        done => done,
    }
}

async fn attempt(
    route: &Route,
    sni: &DnsName,
    offer: Option<KeyAlgorithm>,
    deadline: Duration,
) -> Result<Handshake, ProbeError> {
    let Ok(name) = ServerName::try_from(sni.as_str().to_owned()) else {
        return Err(ProbeError::Tls(format!("no server can be asked for {sni}")));
    };
    // A timeout is reported as a timeout whatever it interrupts: a slow answer is no TLS failure.
    let (chain, open) = match *route {
        Route::Tcp { address, proxy_protocol, starttls } => {
            let prelude = Prelude { port: address.port(), proxy_protocol, starttls };
            let attempt = async { tls::over(route::tcp(address).await?, name, sni, prelude, offer).await };
            let (chain, stream) =
                timeout(prelude.within(deadline), attempt).await.unwrap_or(Err(ProbeError::TimedOut))?;
            (chain, Open::Stream(Box::new(stream)))
        }
        Route::Through { ref open, port, proxy_protocol, starttls } => {
            let prelude = Prelude { port, proxy_protocol, starttls };
            let attempt = tls::over(open().await?, name, sni, prelude, offer);
            let (chain, stream) =
                timeout(prelude.within(deadline), attempt).await.unwrap_or(Err(ProbeError::TimedOut))?;
            (chain, Open::Stream(Box::new(stream)))
        }
        Route::Quic { address } => {
            let attempt = quic::over(address, sni, offer);
            let (chain, connection) = timeout(deadline, attempt).await.unwrap_or(Err(ProbeError::NoQuic))?;
            (chain, Open::Quic(connection))
        }
    };
    if chain.is_empty() {
        return Err(ProbeError::Tls("the server showed no certificate".to_owned()));
    }
    Ok(Handshake { chain, preferred: None, open })
}
