//! The route to a server for one handshake.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::pin::Pin;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::time::sleep;

use crate::config::{ProxyProtocol, StartTls};
use crate::descriptors;
use crate::model::ProbeError;

/// Postfix's postscreen holds its greeting back for 6 s, to see who does not wait.
const GREETING: Duration = Duration::from_secs(7);

/// The transport below TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, ProbeError>> + Send>>;

/// Opens a stream to the server at each call, or fails within a deadline of its own.
pub type Opener = Arc<dyn Fn() -> Opening + Send + Sync>;

#[derive(Clone)]
pub enum Route {
    Tcp {
        address: SocketAddr,
        proxy_protocol: Option<ProxyProtocol>,
        starttls: Option<StartTls>,
    },
    Quic {
        address: SocketAddr,
    },
    /// A stream that the caller opens to the server's `port`.
    Through {
        open: Opener,
        port: u16,
        proxy_protocol: Option<ProxyProtocol>,
        starttls: Option<StartTls>,
    },
}

/// What comes before TLS, and at which port.
#[derive(Clone, Copy)]
pub(super) struct Prelude {
    pub(super) port: u16,
    /// The header that is sent first of all.
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    /// The protocol whose dialogue leads to TLS.
    pub(super) starttls: Option<StartTls>,
}

impl Prelude {
    /// A server may hold its greeting back.
    pub(super) fn within(&self, deadline: Duration) -> Duration {
        deadline + self.starttls.map_or(Duration::ZERO, |_| GREETING)
    }
}

impl Route {
    /// To be held while handshakes are made by this route, one after the other, and asked for before their deadline begins.
    /// `None`: a caller's stream has the caller's room.
    pub(super) async fn room(&self) -> Option<SemaphorePermit<'static>> {
        match self {
            Self::Tcp { .. } | Self::Quic { .. } => descriptors::for_a_handshake().await,
            Self::Through { .. } => None,
        }
    }

    /// A new stream to the server; `None`: over QUIC there is none.
    pub(super) async fn stream(&self) -> Option<Result<(Box<dyn Stream>, Prelude), ProbeError>> {
        let (stream, prelude) = match *self {
            Self::Tcp { address, proxy_protocol, starttls } => {
                (tcp(address).await, Prelude { port: address.port(), proxy_protocol, starttls })
            }
            Self::Through { ref open, port, proxy_protocol, starttls } => {
                (open().await, Prelude { port, proxy_protocol, starttls })
            }
            Self::Quic { .. } => return None,
        };
        Some(stream.map(|stream| (stream, prelude)))
    }
}

impl From<SocketAddr> for Route {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { address, proxy_protocol: None, starttls: None }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => write!(f, "{address}/tcp"),
            Self::Quic { address } => write!(f, "{address}/udp"),
            Self::Through { port, .. } => write!(f, "{port}/tcp through a caller's stream"),
        }
    }
}

pub(super) async fn tcp(address: SocketAddr) -> Result<Box<dyn Stream>, ProbeError> {
    let failed = |error: io::Error| no_tcp(&error, address);
    let mut left = descriptors::ATTEMPTS;
    let stream = loop {
        left -= 1;
        match TcpStream::connect(address).await {
            Err(error) if descriptors::ran_out(&error) && left > 0 => sleep(descriptors::PAUSE).await,
            connected => break connected.map_err(failed)?,
        }
    };
    // The handshake is a series of small writes: none may wait for an acknowledgement.
    stream.set_nodelay(true).map_err(failed)?;
    Ok(Box::new(stream))
}

fn no_tcp(error: &io::Error, address: SocketAddr) -> ProbeError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeError::Refused,
        io::ErrorKind::TimedOut => ProbeError::TimedOut,
        _ if descriptors::ran_out(error) => ProbeError::NoSocket(error.to_string()),
        kind if has_no_route(address, kind) => ProbeError::NoRoute(error.to_string()),
        _ => ProbeError::Network(error.to_string()),
    }
}

/// Whether it is this machine that cannot reach the address. A router on the way gives the same errors, as for a host that is
/// down. The kernel alone decides about a UDP socket, which sends nothing when it is connected: it has no route, no address
/// of that family, or for a public address one that is known within the own network only, from which no answer comes back
/// unless it is translated. With a translated one "host unreachable" comes from a router, and is about that host.
fn has_no_route(address: SocketAddr, kind: io::ErrorKind) -> bool {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let from = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(address)?;
        socket.local_addr()
    });
    match (from, address) {
        (Ok(SocketAddr::V6(from)), SocketAddr::V6(to)) => {
            kind != io::ErrorKind::HostUnreachable && is_of_own_network(*from.ip()) && !is_of_own_network(*to.ip())
        }
        (Ok(_), _) => false,
        // Without a socket nothing is known.
        (Err(error), _) => !descriptors::ran_out(&error),
    }
}

/// RFC 4193, and loopback and link-local addresses.
fn is_of_own_network(ip: Ipv6Addr) -> bool {
    ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_greets_first_has_time_for_that() {
        let within = |starttls| {
            let prelude = Prelude { port: 25, proxy_protocol: None, starttls };
            prelude.within(Duration::from_secs(5)).as_secs()
        };
        assert_eq!(within(None), 5);
        assert!(within(Some(StartTls::Smtp)) > 5 + 6, "postscreen waits for six seconds");
    }
}
