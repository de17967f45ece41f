//! What is served: one TCP connection and one TLS handshake to one address, with the service name as SNI.
//!
//! The chain is taken as it comes; whether it is the right one is decided elsewhere, from the bytes returned here.
//! Failure is an observation like any other: a [`Silence`] that says how far the handshake came.

mod verify;
mod witness;

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::cert::DnsName;
use crate::observed::Silence;
use crate::report::escape;

pub use verify::{Verified, verify};

/// Characters of an error that are shown.
const SHOWN: usize = 200;

/// The chain (DER, leaf first) that `address` presents for `sni`. One attempt; `deadline` holds for all of it. That the
/// server has the leaf's key was proven by its signature. TLS 1.2 and 1.3, nothing resumed, no ALPN.
///
/// # Errors
/// How far it came.
pub async fn handshake(address: SocketAddr, sni: &DnsName, deadline: Duration) -> Result<Vec<Vec<u8>>, Silence> {
    Ok(connect(address, sni, deadline).await?.chain)
}

/// A completed handshake whose connection is still open.
struct Shaken {
    /// Never empty; rustls reads at most 64 kB of it.
    chain: Vec<Vec<u8>>,
    stream: TlsStream<TcpStream>,
}

async fn connect(address: SocketAddr, sni: &DnsName, deadline: Duration) -> Result<Shaken, Silence> {
    let Ok(name) = ServerName::try_from(sni.as_str().to_owned()) else {
        return Err(Silence::Tls(format!("no server can be asked for {sni}")));
    };
    let attempt = async {
        let tcp = TcpStream::connect(address).await.map_err(no_tcp)?;
        // Small writes follow each other; none may wait for the acknowledgement of the one before.
        tcp.set_nodelay(true).map_err(no_tcp)?;
        TlsConnector::from(witness::config()).connect(name, tcp).await.map_err(|error| no_tls(&error))
    };
    // A slow answer must not be taken for a broken TLS, so a timeout is one whatever it interrupts.
    let stream = timeout(deadline, attempt).await.unwrap_or(Err(Silence::TimedOut))?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain: Vec<Vec<u8>> = shown.iter().map(|certificate| certificate.to_vec()).collect();
    if chain.is_empty() {
        return Err(Silence::Tls("the server showed no certificate".to_owned()));
    }
    Ok(Shaken { chain, stream })
}

fn no_tcp(error: io::Error) -> Silence {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Silence::Refused,
        io::ErrorKind::TimedOut => Silence::TimedOut,
        _ => Silence::Network(error.to_string()),
    }
}

/// TCP was there. What rustls says of the peer can hold the peer's own words.
fn no_tls(error: &io::Error) -> Silence {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            Silence::Tls("the server closed the connection during the handshake".to_owned())
        }
        _ => Silence::Tls(escape(&error.to_string(), SHOWN)),
    }
}
