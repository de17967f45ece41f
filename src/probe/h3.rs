//! Does a server offer HTTP/3? It does if it answers a QUIC packet at the same port of UDP, or says so in `Alt-Svc`.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::io;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustls::pki_types::ServerName;
use tokio::net::UdpSocket;
use tokio::time::{sleep, timeout};

use super::route::Prelude;
use super::{Answer, Asked, Beside, Route, route, tls};
use crate::cert::DnsName;
use crate::config::ProxyProtocol;
use crate::descriptors;
use crate::model::ProbeError;

/// Ports from which packets are sent: one of several workers may drop what it gets.
const PORTS: usize = 2;
/// Until a packet is sent again.
const AGAIN: Duration = Duration::from_millis(200);
/// For an answer over UDP once TLS is done, which took two round trips at least: a packet may have been lost.
const GRACE: Duration = Duration::from_millis(300);
/// For the answer to the HTTP request: whatever the server asks for it may be slow.
const HTTP: Duration = Duration::from_secs(3);

/// RFC 9000 section 14.1: a server discards an Initial in a smaller datagram, and need not answer one.
const LEAST_DATAGRAM: usize = 1200;
/// RFC 9000 section 15: versions of this pattern exercise version negotiation, and no server ever speaks one.
const NO_VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];
/// A connection ID, of 8 to 20 bytes.
const ID: usize = 8;

/// What TLS over TCP shows, and where the server offers HTTP/3.
pub struct Offer {
    pub chain: Answer,
    /// What the server has beside it.
    pub beside: Option<Beside>,
    pub h3: Option<Http3>,
}

/// Where HTTP/3 is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http3 {
    /// The configuration says so.
    Configured(SocketAddr),
    /// Something at this port speaks QUIC, though perhaps not HTTP/3.
    Answers(SocketAddr),
    /// `Alt-Svc` says so; over UDP nothing has answered.
    AltSvc(SocketAddr),
}

impl Http3 {
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Configured(address) | Self::Answers(address) | Self::AltSvc(address) => address,
        }
    }
}

/// A handshake over TCP with the ALPN `http/1.1`, which HTTP servers take, beside packets over UDP. Where those have no
/// answer, `HEAD /` is sent to a server that has taken the ALPN, and to no other.
pub async fn look_for_h3<'a>(
    address: SocketAddr,
    proxy_protocol: Option<ProxyProtocol>,
    asked: impl Into<Asked<'a>>,
    deadline: Duration,
) -> Offer {
    let _room = descriptors::for_a_handshake().await;
    let (asked, plain) = (asked.into(), Route::Tcp { address, proxy_protocol, starttls: None });
    let late = sleep(deadline);
    let udp = answers_over_udp(address);
    let over_tls = over_http(address, proxy_protocol, asked, deadline);
    tokio::pin!(late, udp, over_tls);
    let mut answers = None;
    let done = loop {
        tokio::select! {
            answer = &mut udp, if answers.is_none() => answers = Some(answer),
            done = &mut over_tls => break done,
        }
    };
    let (chain, stream) = match done {
        Ok(done) => done,
        // A server of another protocol may refuse the ALPN; and one may have no pair of the algorithm that is asked for.
        Err(ProbeError::Tls(_) | ProbeError::NothingInCommon(_)) => {
            let answer = tokio::select! {
                answer = asked.ask(&plain, deadline) => answer,
                () = late => Err(ProbeError::TimedOut),
            };
            let (chain, beside) = asked.with_beside(answer, &plain, deadline).await;
            return Offer { chain, beside, h3: None };
        }
        Err(error) => return Offer { chain: Err(error), beside: None, h3: None },
    };
    let answers = match answers {
        Some(answers) => answers,
        None => timeout(GRACE, udp).await.unwrap_or(false),
    };
    let h3 = if answers {
        Some(Http3::Answers(address))
    } else {
        let port = timeout(HTTP, stream.alt_svc(asked.sni)).await.ok().flatten();
        port.map(|port| Http3::AltSvc(SocketAddr::new(address.ip(), port)))
    };
    let (chain, preferred) = match asked.own(&chain, &plain, deadline).await {
        Some(own) => (own.chain, Some(chain)),
        None => (chain, None),
    };
    let beside = asked.beside(&chain, preferred, &plain, deadline).await;
    Offer { chain: Ok(chain), beside, h3 }
}

async fn over_http(
    address: SocketAddr,
    proxy_protocol: Option<ProxyProtocol>,
    asked: Asked<'_>,
    deadline: Duration,
) -> Result<(Vec<Vec<u8>>, tls::OverStream), ProbeError> {
    let sni = asked.sni;
    let Ok(name) = ServerName::try_from(sni.as_str().to_owned()) else {
        return Err(ProbeError::Tls(format!("no server can be asked for {sni}")));
    };
    let prelude = Prelude { port: address.port(), proxy_protocol, starttls: None };
    let attempt = async { tls::over_http(route::tcp(address).await?, name, sni, prelude, asked.offer()).await };
    let (chain, stream) = timeout(deadline, attempt).await.unwrap_or(Err(ProbeError::TimedOut))?;
    if chain.is_empty() {
        return Err(ProbeError::Tls("the server showed no certificate".to_owned()));
    }
    asked.takes(&chain)?;
    Ok((chain, stream))
}

/// Returns as soon as something speaks QUIC, or nothing listens. It does not end where nothing answers at all.
pub(super) async fn answers_over_udp(address: SocketAddr) -> bool {
    let mut asking: FuturesUnordered<_> = (0..PORTS).map(|_| negotiates(address)).collect();
    while let Some(answer) = asking.next().await {
        if answer.is_ok() {
            return true;
        }
    }
    false
}

/// Returns when the host says that nothing listens at this UDP port.
pub(super) async fn refused(address: SocketAddr) {
    // Any other error is about this machine, or about nothing.
    if !negotiates(address).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        core::future::pending::<()>().await;
    }
}

/// RFC 9000 section 6.1: a server that gets a version which it does not speak answers with those that it does. An error
/// means that nothing listens there (ICMP), or that nothing can be sent.
async fn negotiates(address: SocketAddr) -> io::Result<()> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // A connected socket gets the error that an ICMP message brings.
    socket.connect(address).await?;
    let mut ids = [0; 2 * ID];
    aws_lc_rs::rand::fill(&mut ids).map_err(|_| io::Error::other("no randomness"))?;
    let question = question(&ids);
    let mut answer = [0; 1500];
    loop {
        socket.send(&question).await?;
        tokio::select! {
            received = socket.recv(&mut answer) => {
                if is_negotiation(&answer[..received?], &ids) {
                    return Ok(());
                }
            }
            () = sleep(AGAIN) => {}
        }
    }
}

/// RFC 9000 section 17.2: a long header, and nothing but padding.
fn question(ids: &[u8; 2 * ID]) -> Vec<u8> {
    let (destination, source) = ids.split_at(ID);
    let id = |id: &[u8]| [&[ID as u8], id].concat();
    let mut packet = [&[0xc0][..], &NO_VERSION, &id(destination), &id(source)].concat();
    packet.resize(LEAST_DATAGRAM, 0);
    packet
}

/// RFC 9000 section 17.2.1: version 0, and our connection IDs the other way round.
fn is_negotiation(packet: &[u8], ids: &[u8; 2 * ID]) -> bool {
    let (destination, source) = ids.split_at(ID);
    let wanted = [&[0; 4][..], &[ID as u8], source, &[ID as u8], destination].concat();
    packet.first().is_some_and(|first| first & 0x80 != 0)
        && packet.get(1..).is_some_and(|rest| rest.starts_with(&wanted))
}

/// The port of UDP at which an HTTP response offers HTTP/3 on the same host (RFC 7838 section 3).
pub(super) fn offered_port(response: &str, sni: &DnsName) -> Option<u16> {
    let headers = response.lines().skip(1).take_while(|line| !line.is_empty());
    let values = headers.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("alt-svc").then_some(value)
    });
    values.flat_map(|value| value.split(',')).find_map(|alternative| {
        let (protocol, rest) = alternative.split_once('=')?;
        let (authority, _) = rest.trim().strip_prefix('"')?.split_once('"')?;
        let (host, port) = authority.rsplit_once(':')?;
        let here = host.is_empty() || host.eq_ignore_ascii_case(sni.as_str());
        let port: u16 = port.parse().ok()?;
        (protocol.trim() == "h3" && here && port != 0).then_some(port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alt_svc_names_a_port_of_the_same_host_or_none() {
        let sni = DnsName::parse("a.example.com").unwrap();
        let port = |value: &str| offered_port(&format!("HTTP/1.1 404 No\r\nServer: x\r\n{value}\r\n\r\n"), &sni);
        assert_eq!(port("Alt-Svc: h3=\":443\"; ma=86400"), Some(443));
        assert_eq!(port("alt-svc: h2=\":1\", h3-29=\":2\", h3=\":8443\"; ma=60; persist=1"), Some(8443));
        assert_eq!(port("ALT-SVC:h3=\"A.example.com:444\""), Some(444));
        for none in [
            "alt-svc: clear",
            "alt-svc: h3=\"b.example.com:443\"",
            "alt-svc: h3=\":0\"",
            "alt-svc: h3=443",
            "x: h3=\":443\"",
        ] {
            assert_eq!(port(none), None, "{none}");
        }
        assert_eq!(offered_port("HTTP/1.1 200 OK\r\n\r\nalt-svc: h3=\":443\"", &sni), None, "that is the body");
    }

    #[tokio::test]
    async fn only_a_port_where_nothing_listens_is_refused() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        timeout(HTTP, refused(free)).await.unwrap();
        // Without SO_BROADCAST nothing can be sent there.
        let error = negotiates("255.255.255.255:9".parse().unwrap()).await.unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(timeout(GRACE, refused("255.255.255.255:9".parse().unwrap())).await.is_err());
    }

    #[test]
    fn only_the_answer_to_this_question_is_one() {
        let mut ids = [7; 2 * ID];
        ids[ID] = 9;
        let packet = question(&ids);
        assert_eq!(packet.len(), LEAST_DATAGRAM);
        assert!(!is_negotiation(&packet, &ids), "an echo");
        let answer = [&[0x80, 0, 0, 0, 0, 8][..], &ids[ID..], &[8], &ids[..ID], &[0, 0, 0, 1]].concat();
        assert!(is_negotiation(&answer, &ids));
        for length in 0..answer.len() - 4 {
            assert!(!is_negotiation(&answer[..length], &ids), "{length}");
        }
        assert!(!is_negotiation(&answer, &[7; 2 * ID]), "another's");
    }
}
