//! The dialogue in plain text that leads to TLS (STARTTLS, and what databases do instead).
//!
//! The peer is hostile: what it sends is bounded, each answer is the whole of what the protocol allows there, and TLS
//! does not begin while anything that came in plain text is left over: it would count as part of what is encrypted.

mod reply;
mod script;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests;

use core::time::Duration;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::plain::{self, Spoken};
use crate::cert::DnsName;
use crate::config::StartTls;
use crate::model::ProbeError;

use reply::{Refusal, parse};
use script::Step;

/// Postfix's postscreen holds its greeting back for 6 s, to see who does not wait.
pub(super) const GREETING: Duration = Duration::from_secs(7);

/// All that a server may send before TLS. Greetings and lists of capabilities have less than a tenth.
const MOST: usize = 16 * 1024;

/// Returns when TLS may begin. `name`: the one that the handshake asks for. `port` is for errors.
pub(super) async fn speak(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    protocol: StartTls,
    name: &DnsName,
    port: u16,
) -> Result<(), ProbeError> {
    let failed = |what: &str| Err(ProbeError::Tls(format!("before TLS, in {}: {what}", protocol.as_str())));
    let (mut unread, mut count, mut greeted) = (Vec::new(), 0, false);
    for step in script::of(protocol) {
        let expect = match step {
            Step::Send(bytes) => {
                if let Err(error) = stream.write_all(bytes).await {
                    return failed(&words(&error));
                }
                continue;
            }
            Step::Name(text) => {
                if let Err(error) = stream.write_all(text.replace("{name}", name.as_str()).as_bytes()).await {
                    return failed(&words(&error));
                }
                continue;
            }
            Step::Expect(expect) => *expect,
        };
        loop {
            let answer = match parse(expect, &unread) {
                Ok(Some(length)) => {
                    unread.drain(..length);
                    break;
                }
                Ok(None) if count < MOST => {
                    let mut more = [0; 2048];
                    match stream.read(&mut more).await {
                        Ok(0) if unread.is_empty() => return failed("the server closed the connection"),
                        // It will not become complete.
                        Ok(0) => Refusal::Foreign,
                        Ok(length) => {
                            count += length;
                            unread.extend_from_slice(&more[..length]);
                            continue;
                        }
                        Err(error) => return failed(&words(&error)),
                    }
                }
                Ok(None) => return failed("the server sends more than any greeting has"),
                Err(refusal) => refusal,
            };
            let answered = plain::shown(&unread);
            return match (answer, plain::spoken(&unread, port)) {
                (Refusal::Foreign, spoken) if !greeted && spoken != Some(Spoken::StartTls(protocol)) => {
                    Err(plain::instead_of(protocol, &unread, port))
                }
                (Refusal::TurnedAway, _) if !greeted => {
                    let what = format!("port {port} turns certd away, and may serve others: {answered}");
                    Err(ProbeError::Unspoken(what))
                }
                (Refusal::NotOffered, _) => failed(&format!("the server offers no TLS: {answered}")),
                _ => failed(&format!("the server answers {answered}")),
            };
        }
        greeted = true;
    }
    // RFC 3207 section 4.2 and CVE-2011-0411.
    match unread.is_empty() {
        true => Ok(()),
        false => failed(&format!("the server goes on in plain text where TLS begins: {}", plain::shown(&unread))),
    }
}

fn words(error: &io::Error) -> String {
    match plain::closed(error) {
        true => "the server closed the connection".to_owned(),
        false => plain::shown(error.to_string().as_bytes()),
    }
}
