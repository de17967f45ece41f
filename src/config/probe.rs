//! `[probe]` and a node's own `probe`: how handshakes are made. A table is merged key by key; a list of them, one for each
//! port, stands for itself.

use core::time::Duration;

use super::defaults::{LONGEST_SERVED_WITHIN, PROBE_PORT, SERVED_WITHIN, SHORTEST_SERVED_WITHIN};
use super::error::ConfigErrors;
use super::starttls::StartTls;
use super::value::{duration, port};
use super::written::{Section, Spanned};

/// How handshakes with one port of a node are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub port: u16,
    /// The protocol that leads to TLS; `None`: TLS from the first byte.
    pub starttls: Option<StartTls>,
    pub via: Via,
    /// The header that the server expects before everything else.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Probe QUIC too, at the same UDP port. `None`: where the node offers HTTP/3.
    pub quic: Option<bool>,
    /// After a reload, for the new certificate to be served.
    pub served_within: Duration,
}

impl Probe {
    /// Whether handshakes at both show what one server has. Through SSH, it is the one at the node's loopback.
    pub fn same_place(&self, other: &Self) -> bool {
        (self.port, self.via) == (other.port, other.via)
    }
}

/// Whether a server is probed by both.
pub(super) fn meet(some: &[Probe], others: &[Probe]) -> bool {
    some.iter().any(|probe| others.iter().any(|other| probe.same_place(other)))
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
#[derive(Clone, Default)]
pub(super) enum ProbeSpec {
    #[default]
    Nothing,
    One(PortSpec),
    /// Each port, with the place of its table.
    Each(Vec<Spanned<PortSpec>>),
}

/// One table as written.
#[derive(Clone, Copy, Default)]
pub(super) struct PortSpec {
    port: Option<u16>,
    starttls: Option<Option<StartTls>>,
    via: Option<Via>,
    proxy_protocol: Option<Option<ProxyProtocol>>,
    quic: Option<bool>,
    served_within: Option<Duration>,
}

impl ProbeSpec {
    /// The key `probe` of a section.
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let errors = section.errors();
        match section.section_or_sections("probe") {
            None => Self::Nothing,
            Some(Ok(one)) => Self::One(PortSpec::read(one)),
            Some(Err(each)) => {
                if each.is_empty {
                    errors.at(&each.at, "is empty: no handshake would prove what is served", "[{ port = 443 }]");
                }
                let read = |section: Section<'_>| section.here().with(PortSpec::read(section));
                let ports: Vec<Spanned<PortSpec>> = each.sections.into_iter().map(read).collect();
                for (index, spec) in ports.iter().enumerate() {
                    let number = spec.value.probe().port;
                    if ports[..index].iter().any(|earlier| earlier.value.probe().port == number) {
                        errors.at(spec, format!("is the port {number} a second time"), "each port once");
                    }
                }
                Self::Each(ports)
            }
        }
    }

    /// Merges this layer over the one below.
    pub(super) fn over(&self, below: &Self) -> Self {
        match (self, below) {
            (Self::Nothing, below) => below.clone(),
            (Self::One(spec), Self::One(below)) => Self::One(spec.over(*below)),
            (spec, _) => spec.clone(),
        }
    }

    /// With the defaults for what no layer says. Never empty.
    pub(super) fn probes(&self) -> Vec<Probe> {
        match self {
            Self::Nothing => vec![PortSpec::default().probe()],
            Self::One(spec) => vec![spec.probe()],
            Self::Each(specs) => specs.iter().map(|spec| spec.value.probe()).collect(),
        }
    }
}

impl PortSpec {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let errors = section.errors();
        let port = section.integer("port").and_then(|number| port(&number, errors));
        let starttls = section.string("starttls").and_then(|written| starttls(&written, errors));
        let ways = [("direct", Via::Direct), ("ssh", Via::Ssh)];
        let via = section.string("via").and_then(|written| one_of(&written, &ways, errors));
        let versions = [("none", None), ("v1", Some(ProxyProtocol::V1)), ("v2", Some(ProxyProtocol::V2))];
        let proxy_protocol = section.string("proxy_protocol").and_then(|written| one_of(&written, &versions, errors));
        let quic = section.boolean("quic");
        let served_within = section.string("served_within").and_then(|written| served_within(&written, errors));
        section.finish();
        Self { port, starttls, via, proxy_protocol, quic, served_within }
    }

    fn over(self, below: Self) -> Self {
        let starttls = self.starttls.or(below.starttls);
        // A port of the layer below belongs to the protocol there.
        let inherited = below.port.filter(|_| below.starttls.flatten() == starttls.flatten());
        Self {
            port: self.port.or(inherited),
            starttls,
            via: self.via.or(below.via),
            proxy_protocol: self.proxy_protocol.or(below.proxy_protocol),
            quic: self.quic.or(below.quic),
            served_within: self.served_within.or(below.served_within),
        }
    }

    fn probe(self) -> Probe {
        let starttls = self.starttls.flatten();
        Probe {
            port: self.port.or(starttls.map(StartTls::port)).unwrap_or(PROBE_PORT),
            starttls,
            via: self.via.unwrap_or_default(),
            proxy_protocol: self.proxy_protocol.flatten(),
            quic: self.quic,
            served_within: self.served_within.unwrap_or(SERVED_WITHIN),
        }
    }
}

/// Also of `[[watch]]`.
pub(super) fn starttls(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Option<StartTls>> {
    let known = StartTls::ALL.map(|(word, protocol, _)| (word, Some(protocol)));
    let known: Vec<(&str, Option<StartTls>)> = [("none", None)].into_iter().chain(known).collect();
    one_of(written, &known, errors)
}

fn served_within(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Duration> {
    let read = duration(written, errors)?;
    let fits = (SHORTEST_SERVED_WITHIN..=LONGEST_SERVED_WITHIN).contains(&read);
    if !fits {
        let (least, most) = (SHORTEST_SERVED_WITHIN.as_secs(), LONGEST_SERVED_WITHIN.as_secs() / 60);
        errors.at(
            written,
            format!("{:?} is too short or too long", written.value),
            format!("\"{least}s\" to \"{most}m\""),
        );
    }
    fits.then_some(read)
}

pub(super) fn one_of<T: Copy>(written: &Spanned<String>, known: &[(&str, T)], errors: &ConfigErrors<'_>) -> Option<T> {
    let found = known.iter().find(|(word, _)| *word == written.value).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<String> = known.iter().map(|(word, _)| format!("{word:?}")).collect();
        errors.at(written, format!("{:?} is not known here", written.value), format!("one of {}", words.join(", ")));
    }
    found
}
