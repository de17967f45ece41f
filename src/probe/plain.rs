//! What a server sends that speaks no TLS where it was expected, or another protocol than the configured one: by its
//! first bytes it is named, so that an error says which setting fits.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::route::Stream;
use crate::config::StartTls;
use crate::model::ProbeError;
use crate::text::escape;

/// Characters of an answer that are shown.
const SHOWN: usize = 200;

/// Bytes that are kept: each protocol is known by less.
const KEPT: usize = 256;

/// Where TLS begins with the first byte, so that a server that answers in plain text is at fault, and not `probe`: HTTPS,
/// mail (RFC 8314), news, directories, DNS over TLS, FTP, SIP, XMPP, HTTPS again, MQTT.
const OF_TLS: [u16; 13] = [443, 465, 563, 636, 853, 989, 990, 993, 995, 5061, 5223, 8443, 8883];

/// Where clients speak first, and a server that gets TLS just hangs up.
const SERVER_WAITS: [StartTls; 5] =
    [StartTls::Ldap, StartTls::Xmpp, StartTls::XmppServer, StartTls::Postgres, StartTls::Rdp];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    StartTls(StartTls),
    Http,
    Tls,
    Other,
}

/// By the first bytes that a server sent; `None`: it sent none.
pub(super) fn spoken(first: &[u8], port: u16) -> Option<Spoken> {
    const OF_PREFIXES: [(&[u8], Spoken); 13] = [
        (b"* OK", Spoken::StartTls(StartTls::Imap)),
        (b"* BYE", Spoken::StartTls(StartTls::Imap)),
        (b"* PREAUTH", Spoken::StartTls(StartTls::Imap)),
        (b"+OK", Spoken::StartTls(StartTls::Pop3)),
        (b"-ERR", Spoken::StartTls(StartTls::Pop3)),
        (b"\"IMPLEMENTATION\"", Spoken::StartTls(StartTls::Sieve)),
        (b"INFO {", Spoken::StartTls(StartTls::Nats)),
        (b"200 ", Spoken::StartTls(StartTls::Nntp)),
        (b"201 ", Spoken::StartTls(StartTls::Nntp)),
        (b"HTTP/", Spoken::Http),
        // Records of an alert and of a handshake (RFC 8446 section 5.1).
        (b"\x15\x03", Spoken::Tls),
        (b"\x16\x03", Spoken::Tls),
        (b"\x03\0\0", Spoken::StartTls(StartTls::Rdp)),
    ];
    if first.is_empty() {
        return None;
    }
    let of_port = |fit: &[StartTls]| StartTls::at(port).filter(|protocol| fit.contains(protocol));
    if let Some((_, spoken)) = OF_PREFIXES.iter().find(|(prefix, _)| first.starts_with(prefix)) {
        return Some(*spoken);
    }
    if first.starts_with(b"220 ") || first.starts_with(b"220-") || first.starts_with(b"554 ") {
        let mail = of_port(&[StartTls::Submission, StartTls::Ftp]).unwrap_or(StartTls::Smtp);
        let text = String::from_utf8_lossy(first).to_ascii_uppercase();
        let protocol = match (text.contains("SMTP"), text.contains("FTP")) {
            (false, true) => StartTls::Ftp,
            (true, _) if mail == StartTls::Ftp => StartTls::Smtp,
            _ => mail,
        };
        return Some(Spoken::StartTls(protocol));
    }
    if first.starts_with(b"<?xml") || first.starts_with(b"<stream:") {
        return Some(Spoken::StartTls(of_port(&[StartTls::XmppServer]).unwrap_or(StartTls::Xmpp)));
    }
    // The number of the first packet, and the protocol's version or an error.
    if let [_, _, 0, 0, 10 | 0xff, ..] = first {
        return Some(Spoken::StartTls(StartTls::Mysql));
    }
    Some(Spoken::Other)
}

/// A port without `starttls` that did not answer with TLS; `None`: it did, or it said nothing that shows what it speaks.
pub(super) fn instead_of_tls(first: &[u8], closed: bool, port: u16) -> Option<ProbeError> {
    let shown = shown(first);
    let set = |protocol: StartTls| format!("set `starttls = \"{}\"` for it", protocol.as_str());
    let (what, next) = match spoken(first, port) {
        Some(Spoken::Tls) => return None,
        // Of TLS's own records there are further kinds, and no text begins with their bytes.
        Some(Spoken::Other) if (0x14..=0x18).contains(&first[0]) => return None,
        None => {
            let waits = StartTls::at(port).filter(|protocol| closed && SERVER_WAITS.contains(protocol))?;
            ("does not begin with TLS".to_owned(), set(waits))
        }
        Some(Spoken::StartTls(protocol @ (StartTls::Mysql | StartTls::Rdp))) => {
            (format!("answers as {} does, before TLS", protocol.as_str()), set(protocol))
        }
        Some(Spoken::StartTls(protocol)) => (format!("answers in plain text ({shown})"), set(protocol)),
        Some(Spoken::Http) => ("answers in plain HTTP".to_owned(), "probe the port of HTTPS".to_owned()),
        Some(Spoken::Other) => (
            format!("answers without TLS, in a protocol that certd does not know ({shown})"),
            "probe a port of TLS".to_owned(),
        ),
    };
    Some(if OF_TLS.contains(&port) {
        ProbeError::Tls(format!("port {port} {what}, where TLS is expected from the first byte"))
    } else {
        ProbeError::Unspoken(format!("port {port} {what}: {next}"))
    })
}

/// A port with `starttls` that speaks something else.
pub(super) fn instead_of(protocol: StartTls, first: &[u8], port: u16) -> ProbeError {
    let (shown, configured) = (shown(first), protocol.as_str());
    let next = match spoken(first, port) {
        Some(Spoken::Tls) => "it speaks TLS from the first byte: leave `starttls` out".to_owned(),
        Some(Spoken::StartTls(other)) if other != protocol => format!("set `starttls = \"{}\"`", other.as_str()),
        Some(Spoken::Http) => "it speaks HTTP: probe the port of HTTPS, without `starttls`".to_owned(),
        _ => "certd does not know what it speaks".to_owned(),
    };
    ProbeError::Unspoken(format!("port {port} does not speak {configured} ({shown}): {next}"))
}

/// The first line, in quotes.
pub(super) fn shown(bytes: &[u8]) -> String {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    format!("\"{}\"", escape(&String::from_utf8_lossy(&line[..line.len().min(KEPT)]), SHOWN))
}

/// Whether the peer ended the connection.
pub(super) fn closed(error: &io::Error) -> bool {
    [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe].contains(&error.kind())
}

/// A stream of which the first bytes that come in are kept.
pub(super) struct Recorded {
    inner: Box<dyn Stream>,
    first: Vec<u8>,
}

impl Recorded {
    pub(super) fn new(inner: Box<dyn Stream>) -> Self {
        Self { inner, first: Vec::new() }
    }

    pub(super) fn first(&self) -> &[u8] {
        &self.first
    }
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let (new, room) = (&buffer.filled()[before..], KEPT - self.first.len());
        self.first.extend_from_slice(&new[..new.len().min(room)]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
