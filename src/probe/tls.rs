//! TLS over a stream.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::route::Stream;
use super::{accept_any, proxy};
use crate::cert::KeyAlgorithm;
use crate::config::ProxyProtocol;
use crate::model::ProbeError;
use crate::text::escape;

/// Characters of an error that are shown.
const SHOWN: usize = 200;

/// An open connection.
pub(super) struct OverStream(TlsStream<Box<dyn Stream>>);

impl OverStream {
    /// nginx's old workers close idle connections when they end; whatever a server sends before is of no interest.
    pub(super) async fn until_end(mut self) {
        let mut ignored = [0; 1024];
        while self.0.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    }
}

pub(super) async fn over(
    mut stream: Box<dyn Stream>,
    name: ServerName<'static>,
    proxy_protocol: Option<ProxyProtocol>,
    offer: Option<KeyAlgorithm>,
) -> Result<(Vec<Vec<u8>>, OverStream), ProbeError> {
    let failed = |error: io::Error| no_tls(&error, proxy_protocol);
    if let Some(version) = proxy_protocol {
        stream.write_all(proxy::header(version)).await.map_err(failed)?;
    }
    let stream = TlsConnector::from(accept_any::config(offer)).connect(name, stream).await.map_err(failed)?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = shown.iter().map(|certificate| certificate.to_vec()).collect();
    Ok((chain, OverStream(stream)))
}

/// The server was there. What rustls says of it can hold the server's own words.
fn no_tls(error: &io::Error, proxy_protocol: Option<ProxyProtocol>) -> ProbeError {
    let ended = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    let closed = ended.contains(&error.kind());
    let what = match closed {
        true => "the server closed the connection during the handshake".to_owned(),
        false => escape(&error.to_string(), SHOWN),
    };
    ProbeError::Tls(what + proxy::hint(proxy_protocol, closed))
}
