//! `[probe]` and a node's own `probe`: how handshakes are made. Merged key by key.

use super::defaults::PROBE_PORT;
use super::error::ConfigErrors;
use super::value::port;
use super::written::{Section, Spanned};

/// How handshakes with a node are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub port: u16,
    pub via: Via,
    /// The header that the server expects before TLS.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Probe QUIC too, at the same UDP port. `None`: where the node offers HTTP/3.
    pub quic: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    #[default]
    Direct,
    /// Through the node's SSH connection, with its own loopback address.
    Ssh,
}

/// <https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    V1,
    V2,
}

/// One layer as written.
#[derive(Default)]
pub(super) struct ProbeSpec {
    port: Option<u16>,
    via: Option<Via>,
    proxy_protocol: Option<Option<ProxyProtocol>>,
    quic: Option<bool>,
}

impl ProbeSpec {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let errors = section.errors();
        let port = section.integer("port").and_then(|number| port(&number, errors));
        let ways = [("direct", Via::Direct), ("ssh", Via::Ssh)];
        let via = section.string("via").and_then(|written| one_of(&written, &ways, errors));
        let versions = [("none", None), ("v1", Some(ProxyProtocol::V1)), ("v2", Some(ProxyProtocol::V2))];
        let proxy_protocol = section.string("proxy_protocol").and_then(|written| one_of(&written, &versions, errors));
        let quic = section.boolean("quic");
        section.finish();
        Self { port, via, proxy_protocol, quic }
    }

    /// Merges this layer over the one below and the defaults.
    pub(super) fn over(&self, below: &Self) -> Probe {
        Probe {
            port: self.port.or(below.port).unwrap_or(PROBE_PORT),
            via: self.via.or(below.via).unwrap_or_default(),
            proxy_protocol: self.proxy_protocol.or(below.proxy_protocol).flatten(),
            quic: self.quic.or(below.quic),
        }
    }
}

fn one_of<T: Copy>(written: &Spanned<String>, known: &[(&str, T)], errors: &ConfigErrors<'_>) -> Option<T> {
    let found = known.iter().find(|(word, _)| *word == written.value).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<String> = known.iter().map(|(word, _)| format!("{word:?}")).collect();
        errors.at(written, format!("{:?} is not known here", written.value), format!("one of {}", words.join(", ")));
    }
    found
}
