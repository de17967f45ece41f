//! TLS over a stream.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::plain::{self, Recorded};
use super::route::{Prelude, Stream};
use super::{accept_any, h3, proxy, starttls};
use crate::cert::{DnsName, KeyAlgorithm};
use crate::model::ProbeError;
use crate::text::escape;

/// Characters of an error that are shown.
const SHOWN: usize = 200;
/// RFC 7301 section 6.
const HTTP: &[u8] = b"http/1.1";
/// Bytes of an HTTP response that are read.
const RESPONSE: usize = 16 * 1024;

/// An open connection.
pub(super) struct OverStream(TlsStream<Recorded>);

impl OverStream {
    /// nginx's old workers close idle connections when they end; whatever a server sends before is of no interest.
    pub(super) async fn until_end(mut self) {
        let mut ignored = [0; 1024];
        while self.0.read(&mut ignored).await.is_ok_and(|count| count > 0) {}
    }

    /// The port at which the server offers HTTP/3, if it has taken the ALPN of HTTP/1.1.
    pub(super) async fn alt_svc(mut self, sni: &DnsName) -> Option<u16> {
        if self.0.get_ref().1.alpn_protocol() != Some(HTTP) {
            return None;
        }
        let request = format!("HEAD / HTTP/1.1\r\nHost: {sni}\r\nUser-Agent: certd\r\nConnection: close\r\n\r\n");
        self.0.write_all(request.as_bytes()).await.ok()?;
        let mut response = Vec::new();
        let mut part = [0; 1024];
        while response.len() < RESPONSE && !response.windows(4).any(|end| end == b"\r\n\r\n") {
            match self.0.read(&mut part).await {
                Ok(count) if count > 0 => response.extend_from_slice(&part[..count]),
                _ => break,
            }
        }
        h3::offered_port(&String::from_utf8_lossy(&response), sni)
    }
}

pub(super) async fn over(
    stream: Box<dyn Stream>,
    name: ServerName<'static>,
    sni: &DnsName,
    prelude: Prelude,
    offer: Option<KeyAlgorithm>,
) -> Result<(Vec<Vec<u8>>, OverStream), ProbeError> {
    with(accept_any::config(offer), stream, name, sni, prelude).await
}

/// With the ALPN of HTTP/1.1.
pub(super) async fn over_http(
    stream: Box<dyn Stream>,
    name: ServerName<'static>,
    sni: &DnsName,
    prelude: Prelude,
    offer: Option<KeyAlgorithm>,
) -> Result<(Vec<Vec<u8>>, OverStream), ProbeError> {
    let mut config = (*accept_any::config(offer)).clone();
    config.alpn_protocols = vec![HTTP.to_vec()];
    with(Arc::new(config), stream, name, sni, prelude).await
}

async fn with(
    config: Arc<ClientConfig>,
    mut stream: Box<dyn Stream>,
    name: ServerName<'static>,
    sni: &DnsName,
    prelude: Prelude,
) -> Result<(Vec<Vec<u8>>, OverStream), ProbeError> {
    let Prelude { port, proxy_protocol, starttls } = prelude;
    if let Some(version) = proxy_protocol {
        stream.write_all(proxy::header(version)).await.map_err(|error| no_tls(&error, b"", prelude))?;
    }
    if let Some(protocol) = starttls {
        starttls::speak(&mut stream, protocol, sni, port).await?;
    }
    let connecting = TlsConnector::from(config).connect(name, Recorded::new(stream));
    let mut stream =
        connecting.into_fallible().await.map_err(|(error, stream)| no_tls(&error, stream.first(), prelude))?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = shown.iter().map(|certificate| certificate.to_vec()).collect();
    if let Some(protocol) = starttls {
        starttls::end(&mut stream, protocol).await;
    }
    Ok((chain, OverStream(stream)))
}

/// The server was there. `first`: what it sent. What rustls says of it can hold the server's own words.
fn no_tls(error: &io::Error, first: &[u8], prelude: Prelude) -> ProbeError {
    let Prelude { port, proxy_protocol, starttls } = prelude;
    let closed = plain::closed(error);
    // After a PROXY header, what a server answers in plain text can be its complaint about that header.
    let plain =
        if proxy_protocol.is_none() && starttls.is_none() { plain::instead_of_tls(first, closed, port) } else { None };
    plain.unwrap_or_else(|| {
        let what = match closed {
            true => "the server closed the connection during the handshake".to_owned(),
            false => escape(&error.to_string(), SHOWN),
        };
        ProbeError::Tls(what + proxy::hint(proxy_protocol, closed))
    })
}
