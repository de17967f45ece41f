//! The route to a server for one handshake.

use core::fmt;
use core::net::SocketAddr;
use core::pin::Pin;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::ProxyProtocol;
use crate::model::ProbeError;

/// The transport below TLS.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, ProbeError>> + Send>>;

/// Opens a stream to the server at each call, or fails within a deadline of its own.
pub type Opener = Arc<dyn Fn() -> Opening + Send + Sync>;

#[derive(Clone)]
pub enum Route {
    /// `proxy_protocol`: the header that is sent before TLS.
    Tcp {
        address: SocketAddr,
        proxy_protocol: Option<ProxyProtocol>,
    },
    Quic {
        address: SocketAddr,
    },
    /// A stream that the caller opens.
    Through {
        open: Opener,
        proxy_protocol: Option<ProxyProtocol>,
    },
}

impl From<SocketAddr> for Route {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp { address, proxy_protocol: None }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { address, .. } => write!(f, "{address}/tcp"),
            Self::Quic { address } => write!(f, "{address}/udp"),
            Self::Through { .. } => f.write_str("through a caller's stream"),
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
