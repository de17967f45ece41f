//! TLS over a stream.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, Error, PeerMisbehaved};
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

/// A handshake of whose chain nothing is wanted.
pub(super) async fn completes(stream: Box<dyn Stream>, name: ServerName<'static>) -> Result<(), ProbeError> {
    let done = TlsConnector::from(accept_any::config(None)).connect(name, stream).await;
    done.map(drop).map_err(|error| ProbeError::Tls(escape(&error.to_string(), SHOWN)))
}

/// With these protocols as ALPN, for a caller that speaks them.
pub(super) async fn over_alpn(
    stream: Box<dyn Stream>,
    name: ServerName<'static>,
    sni: &DnsName,
    prelude: Prelude,
    alpn: &[&[u8]],
) -> Result<(Vec<Vec<u8>>, TlsStream<Recorded>), ProbeError> {
    let mut config = (*accept_any::config(None)).clone();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    let (chain, OverStream(stream)) = with(Arc::new(config), stream, name, sni, prelude).await?;
    Ok((chain, stream))
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
    stream: Box<dyn Stream>,
    name: ServerName<'static>,
    sni: &DnsName,
    prelude: Prelude,
) -> Result<(Vec<Vec<u8>>, OverStream), ProbeError> {
    let stream = begin(stream, sni, prelude).await?;
    let connecting = TlsConnector::from(config).connect(name, Recorded::new(stream));
    let mut stream =
        connecting.into_fallible().await.map_err(|(error, stream)| no_tls(&error, stream.first(), prelude))?;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = shown.iter().map(|certificate| certificate.to_vec()).collect();
    if let Some(protocol) = prelude.starttls {
        starttls::end(&mut stream, protocol).await;
    }
    Ok((chain, OverStream(stream)))
}

/// What comes before TLS.
pub(super) async fn begin(
    mut stream: Box<dyn Stream>,
    sni: &DnsName,
    prelude: Prelude,
) -> Result<Box<dyn Stream>, ProbeError> {
    let Prelude { port, proxy_protocol, starttls } = prelude;
    if let Some(version) = proxy_protocol {
        stream.write_all(proxy::header(version)).await.map_err(|error| no_tls(&error, b"", prelude))?;
    }
    if let Some(protocol) = starttls {
        starttls::speak(&mut stream, protocol, sni, port).await?;
    }
    Ok(stream)
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
        let what = what + proxy::hint(proxy_protocol, closed);
        if may_lack_common_ground(error, first) { ProbeError::NothingInCommon(what) } else { ProbeError::Tls(what) }
    })
}

/// How a server ends a handshake in which it finds no version, suite or group that it has: by an alert, by a choice that was
/// not offered, or (Windows) by closing the connection. Each can have other reasons.
fn may_lack_common_ground(error: &io::Error, first: &[u8]) -> bool {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return plain::closed(error) && first.is_empty();
    };
    matches!(
        error,
        Error::AlertReceived(
            AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity
        ) | Error::PeerIncompatible(_)
            | Error::PeerMisbehaved(
                PeerMisbehaved::SelectedUnofferedCipherSuite
                    | PeerMisbehaved::SelectedUnofferedKxGroup
                    | PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedNamedGroup
            )
    )
}
