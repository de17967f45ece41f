//! TLS over a stream.

use std::io;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::plain::{self, Recorded};
use super::route::{Prelude, Stream};
use super::{accept_any, proxy, starttls};
use crate::cert::DnsName;
use crate::model::ProbeError;
use crate::text::escape;

/// Characters of an error that are shown.
const SHOWN: usize = 200;

/// An open connection.
pub(super) struct OverStream(TlsStream<Recorded>);

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
    let connecting = TlsConnector::from(accept_any::config()).connect(name, Recorded::new(stream));
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
