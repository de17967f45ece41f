//! PROXY protocol headers of a health check (UNKNOWN, v2 LOCAL): the server uses the connection's real addresses.
//! <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>

use crate::config::ProxyProtocol;

/// "If the announced transport protocol is "UNKNOWN", then the receiver knows that the sender speaks the correct PROXY
/// protocol with the appropriate version, and SHOULD accept the connection and use the real connection's parameters"
const V1: &[u8] = b"PROXY UNKNOWN\r\n";

/// Twelve bytes of signature; version 2 and LOCAL: "the connection was established on purpose by the proxy without being
/// relayed […] Such connections exist when the proxy sends health-checks to the server"; family unspecified; no addresses.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

pub(super) fn header(version: ProxyProtocol) -> &'static [u8] {
    match version {
        ProxyProtocol::V1 => V1,
        ProxyProtocol::V2 => V2,
    }
}

/// What a handshake that failed may have to do with this header. Nobody says so on the wire: a server that waits for a
/// header just hangs up, and one that waits for none answers in plain HTTP, or not at all.
pub(super) fn hint(sent: Option<ProxyProtocol>, closed: bool) -> &'static str {
    match (sent, closed) {
        (None, true) => "; if it waits for the PROXY protocol, set `probe.proxy_protocol`",
        (None, false) => "",
        (Some(_), _) => "; a PROXY header was sent before it, as `probe.proxy_protocol` says",
    }
}
