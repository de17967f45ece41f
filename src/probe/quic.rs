//! TLS over QUIC (RFC 9001), as a browser begins HTTP/3.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::io;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectError, Connection, ConnectionError, Endpoint, TransportConfig, VarInt};
use rustls::pki_types::CertificateDer;
use tokio::time::sleep;

use super::accept_any;
use crate::cert::{DnsName, KeyAlgorithm};
use crate::descriptors;
use crate::model::ProbeError;
use crate::text::escape;

/// Characters of an error that are shown.
const SHOWN: usize = 200;

/// RFC 9114 section 3.1: "HTTP/3 endpoints MUST use […] the ALPN token "h3"".
const ALPN: &[u8] = b"h3";

/// Streams that the server may open: HTTP/3's control stream and QPACK's two (RFC 9114 section 6.2). Nothing of them is
/// read, and no more is taken in than this many bytes.
const SERVER_STREAMS: u32 = 3;
const UNREAD: u32 = 4096;

/// TLS alert `no_application_protocol` (RFC 7301 section 3.2), as QUIC carries alerts (RFC 9001 section 4.8).
const NO_ALPN: u64 = 0x100 + 120;

/// An open connection, and the socket that it has for itself: to be seen by another of the server's workers, a handshake
/// has to come from another port.
pub(super) struct OverQuic {
    connection: Connection,
    _socket: Endpoint,
}

impl OverQuic {
    pub(super) async fn until_end(self) {
        self.connection.closed().await;
    }
}

impl Drop for OverQuic {
    fn drop(&mut self) {
        // RFC 9114 section 8.1: H3_NO_ERROR. Without it the server keeps the connection until its idle timeout.
        self.connection.close(VarInt::from_u32(0x100), b"");
    }
}

pub(super) async fn over(
    address: SocketAddr,
    sni: &DnsName,
    offer: Option<KeyAlgorithm>,
) -> Result<(Vec<Vec<u8>>, OverQuic), ProbeError> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let mut left = descriptors::ATTEMPTS;
    let socket = loop {
        left -= 1;
        match Endpoint::client(any) {
            Err(error) if descriptors::ran_out(&error) && left > 0 => sleep(descriptors::PAUSE).await,
            made => break made.map_err(|error| no_socket(&error))?,
        }
    };
    let connecting = socket.connect_with(config(offer)?, address, sni.as_str()).map_err(|error| no_start(&error))?;
    let connection = connecting.await.map_err(|error| no_quic(&error))?;
    let shown = connection.peer_identity().and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let chain = shown.iter().flat_map(|shown| shown.iter()).map(|certificate| certificate.to_vec()).collect();
    Ok((chain, OverQuic { connection, _socket: socket }))
}

fn config(offer: Option<KeyAlgorithm>) -> Result<ClientConfig, ProbeError> {
    let mut tls = (*accept_any::config(offer)).clone();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicClientConfig::try_from(tls).map_err(|error| ProbeError::Tls(error.to_string()))?;
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0)).max_concurrent_uni_streams(SERVER_STREAMS.into());
    transport.receive_window(UNREAD.into()).stream_receive_window(UNREAD.into()).datagram_receive_buffer_size(None);
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

fn no_socket(error: &io::Error) -> ProbeError {
    match descriptors::ran_out(error) {
        true => ProbeError::NoSocket(error.to_string()),
        false => ProbeError::Network(error.to_string()),
    }
}

fn no_start(error: &ConnectError) -> ProbeError {
    ProbeError::Network(error.to_string())
}

/// What the peer gave as its reason is its own words.
fn no_quic(error: &ConnectionError) -> ProbeError {
    let what = match error {
        ConnectionError::TimedOut => return ProbeError::NoQuic,
        ConnectionError::ConnectionClosed(close) if u64::from(close.error_code) == NO_ALPN => {
            "the server speaks QUIC and no HTTP/3".to_owned()
        }
        other => other.to_string(),
    };
    ProbeError::Tls(format!("over QUIC: {}", escape(&what, SHOWN)))
}
