//! The route to a server for one handshake.

use core::fmt;
use core::net::SocketAddr;
use core::pin::Pin;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::{ProxyProtocol, StartTls};
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
    let stream = TcpStream::connect(address).await.map_err(no_tcp)?;
    // The handshake is a series of small writes: none may wait for an acknowledgement.
    stream.set_nodelay(true).map_err(no_tcp)?;
    Ok(Box::new(stream))
}

fn no_tcp(error: io::Error) -> ProbeError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeError::Refused,
        io::ErrorKind::TimedOut => ProbeError::TimedOut,
        _ => ProbeError::Network(error.to_string()),
    }
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
