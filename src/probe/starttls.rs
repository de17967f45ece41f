//! The dialogue in plain text that leads to TLS (STARTTLS, and what databases do instead).
//!
//! The peer is hostile: what it sends is bounded, each answer is the whole of what the protocol allows there, and TLS
//! does not begin while anything that came in plain text is left over: it would count as part of what is encrypted.

mod reply;
mod script;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::plain::{self, Spoken};
use crate::cert::DnsName;
use crate::config::StartTls;
use crate::model::ProbeError;

use reply::{Expect, Refusal, parse};
use script::Step;

/// Two round trips.
const FAREWELL: Duration = Duration::from_secs(2);

/// All that a server may send before TLS. Greetings and lists of capabilities have less than a tenth.
const MOST: usize = 16 * 1024;

/// Returns when TLS may begin. `name`: the one that the handshake asks for. `port` is for errors.
pub(super) async fn speak(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    protocol: StartTls,
    name: &DnsName,
    port: u16,
) -> Result<(), ProbeError> {
    let mut server = Server { stream, protocol, port, unread: Vec::new(), count: 0, greeted: false };
    for step in script::of(protocol) {
        match step {
            Step::Send(bytes) => server.send(bytes).await?,
            Step::Name(text) => server.send(text.replace("{name}", name.as_str()).as_bytes()).await?,
            Step::Expect(expect) => server.expect(*expect).await?,
        }
    }
    // RFC 3207 section 4.2 and CVE-2011-0411.
    server.has_ended()
}

struct Server<'s, S> {
    stream: &'s mut S,
    protocol: StartTls,
    port: u16,
    /// What was read and belongs to no answer yet.
    unread: Vec<u8>,
    /// Bytes read in all.
    count: usize,
    /// The first answer was the expected one: it speaks this protocol.
    greeted: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Server<'_, S> {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), ProbeError> {
        self.has_ended()?;
        self.stream.write_all(bytes).await.map_err(|error| self.failed(&words(&error)))
    }

    async fn expect(&mut self, expect: Expect) -> Result<(), ProbeError> {
        let refusal = loop {
            match parse(expect, &self.unread) {
                Ok(Some(length)) => {
                    self.unread.drain(..length);
                    self.greeted = true;
                    return Ok(());
                }
                Ok(None) if self.count >= MOST => {
                    return Err(self.failed("the server sends more than any greeting has"));
                }
                Ok(None) => {}
                Err(refusal) => break refusal,
            }
            let mut more = [0; 2048];
            match self.stream.read(&mut more).await {
                Ok(0) if self.unread.is_empty() => return Err(self.failed("the server closed the connection")),
                // It will not become complete.
                Ok(0) => break Refusal::Foreign,
                Ok(length) => {
                    self.count += length;
                    self.unread.extend_from_slice(&more[..length]);
                }
                Err(error) => return Err(self.failed(&words(&error))),
            }
        };
        Err(self.refused(refusal))
    }

    fn refused(&self, refusal: Refusal) -> ProbeError {
        let Self { protocol, port, ref unread, greeted, .. } = *self;
        let answered = plain::shown(unread);
        match refusal {
            Refusal::Foreign if !greeted && plain::spoken(unread, port) != Some(Spoken::StartTls(protocol)) => {
                plain::instead_of(protocol, unread, port)
            }
            // `Foreign` is here the protocol's own, such as IMAP's BYE.
            Refusal::TurnedAway | Refusal::Foreign if !greeted => {
                ProbeError::TurnedAway(format!("port {port} turns certd away, and may serve others: {answered}"))
            }
            Refusal::NotOffered => self.failed(&format!("the server offers no TLS: {answered}")),
            Refusal::Foreign | Refusal::TurnedAway | Refusal::Other => {
                self.failed(&format!("the server answers {answered}"))
            }
        }
    }

    /// Whether it waits for the client, as it should before each request and before TLS.
    fn has_ended(&self) -> Result<(), ProbeError> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let more = plain::shown(&self.unread);
        Err(self.failed(&format!("the server goes on in plain text after its answer: {more}")))
    }

    fn failed(&self, what: &str) -> ProbeError {
        ProbeError::Tls(format!("before TLS, in {}: {what}", self.protocol.as_str()))
    }
}

/// What a server wants to hear before the connection ends; no answer to it changes what the handshake has shown.
pub(super) async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: StartTls) {
    if protocol == StartTls::Mysql {
        // MySQL and MariaDB shut out an address after 100 handshakes in a row without an attempt to log in
        // (`max_connect_errors`); failed ones do not count. MySQL asks for the password once more, by another method.
        let login = async {
            stream.write_all(script::MYSQL_LOGIN).await?;
            let mut answer = [0; 512];
            let length = stream.read(&mut answer).await?;
            if let [_, _, _, number, 0xfe, ..] = answer[..length] {
                stream.write_all(&[0, 0, 0, number.wrapping_add(1)]).await?;
                stream.read(&mut answer).await.map(drop)?;
            }
            io::Result::Ok(())
        };
        let _ = timeout(FAREWELL, login).await;
    }
}

fn words(error: &io::Error) -> String {
    match plain::closed(error) {
        true => "the server closed the connection".to_owned(),
        false => plain::shown(error.to_string().as_bytes()),
    }
}
