//! `[failover]`, and a certificate's own mode: whether the address record of a failing node is withdrawn from DNS.

use core::net::IpAddr;
use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::certificate::CertificateSpec;
use super::defaults::{
    FAILOVER_AFTER, FAILOVER_INTERVAL, FAILOVER_RESTORE_AFTER, LONGEST_FAILOVER, MOST_RECORDS, MOST_WITNESSES,
    SHORTEST_FAILOVER, WITNESS_PORT,
};
use super::error::ConfigErrors;
use super::probe::one_of;
use super::written::{Section, Spanned};
use super::{Certificate, Config, Dns, Host, Nodes, Provider, Watch};
use crate::cert::{CertName, DnsName};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailoverMode {
    #[default]
    Off,
    /// Says what it would do.
    Advise,
    Act,
}

impl FailoverMode {
    pub const WORDS: [(&'static str, Self); 3] = [("off", Self::Off), ("advise", Self::Advise), ("act", Self::Act)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Advise => "advise",
            Self::Act => "act",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Of certificates that have none of their own.
    pub mode: FailoverMode,
    /// How long a node has to fail before its record is withdrawn.
    pub after: SignedDuration,
    /// How long it has to be well before its record comes back.
    pub restore_after: SignedDuration,
    /// Addresses of each family that stay in DNS; `None`: more than half.
    pub min_records: Option<usize>,
    /// From one change of a name's records to the next.
    pub interval: SignedDuration,
    /// Hosts and ports of which one has to take a connection. Empty: the watched endpoints stand for them.
    pub witness: Vec<(Host, u16)>,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            mode: FailoverMode::Off,
            after: FAILOVER_AFTER,
            restore_after: FAILOVER_RESTORE_AFTER,
            min_records: None,
            interval: FAILOVER_INTERVAL,
            witness: Vec::new(),
        }
    }
}

impl Config {
    /// Of what answers a second opinion of this machine's way out is got: what is configured for it, else every watched
    /// endpoint that is no node.
    pub fn witnesses(&self) -> Vec<(Host, u16)> {
        if !self.failover.witness.is_empty() {
            return self.failover.witness.clone();
        }
        of_watches(&self.watches, &self.nodes)
    }

    /// The mode of a name: the most cautious one of the certificates that have it.
    pub fn failover_of(&self, name: &DnsName) -> FailoverMode {
        let of_name = self.certificates.iter().filter(|certificate| certificate.names.iter().any(|own| own == name));
        of_name.map(|certificate| certificate.failover).min().unwrap_or_default()
    }

    /// Whether a record could be withdrawn, or would be.
    pub fn has_failover(&self) -> bool {
        self.certificates.iter().any(|certificate| certificate.failover != FailoverMode::Off)
    }
}

fn of_watches(watches: &[Watch], nodes: &Nodes) -> Vec<(Host, u16)> {
    let is_node = |host: &Host| nodes.iter().any(|node| node.addresses.contains(host));
    let targets = watches.iter().flat_map(|watch| watch.targets.iter().map(|(host, _)| (host.clone(), watch.port)));
    let targets: BTreeSet<(Host, u16)> = targets.filter(|(host, _)| !is_node(host)).collect();
    targets.into_iter().collect()
}

/// The section as written.
pub(super) struct FailoverSpec {
    pub(super) failover: Failover,
    mode_at: Option<Spanned<()>>,
    written_witness: Vec<Spanned<(Host, u16)>>,
}

impl FailoverSpec {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let errors = section.errors();
        let written_mode = section.string("mode");
        let mode_at = written_mode.as_ref().map(|mode| mode.with(()));
        let mode = written_mode.and_then(|written| mode(&written, errors));
        let mut span = |key| section.string(key).and_then(|written| within(&written, errors));
        let (after, restore_after) = (span("after"), span("restore_after"));
        let interval = span("interval");
        let min_records = section.integer("min_records").and_then(|number| min_records(&number, errors));
        let written = section.one_or_more("witness").map(|list| list.value).unwrap_or_default();
        let written_witness: Vec<_> = written.iter().filter_map(|one| witness(one, errors)).collect();
        if let Some(late) = written_witness.get(MOST_WITNESSES) {
            errors.at(late, "is one too many", format!("at most {MOST_WITNESSES}, of which one has to answer"));
        }
        section.finish();
        let none = Failover::default();
        let failover = Failover {
            mode: mode.unwrap_or_default(),
            after: after.unwrap_or(none.after),
            restore_after: restore_after.unwrap_or(none.restore_after),
            min_records,
            interval: interval.unwrap_or(none.interval),
            witness: written_witness.iter().map(|one| one.value.clone()).collect(),
        };
        Self { failover, mode_at, written_witness }
    }

    /// What several sections say together. `own`: the certificates that have a mode of their own, and where.
    pub(super) fn check(
        &self,
        own: &[(CertName, Spanned<()>)],
        certificates: &[Certificate],
        nodes: &Nodes,
        watches: &[Watch],
        dns: Option<&Dns>,
        errors: &ConfigErrors<'_>,
    ) {
        let place = |certificate: &Certificate| {
            let own = own.iter().find(|(name, _)| *name == certificate.name).map(|(_, at)| at);
            own.or(self.mode_at.as_ref())
        };
        let wanted = certificates.iter().filter(|certificate| certificate.failover != FailoverMode::Off);
        for certificate in wanted {
            // The twin of another key type has no checks of its own, and its names are those of the first.
            let is_twin = certificates.iter().any(|other| {
                other.name != certificate.name && other.names == certificate.names && has_health(other, nodes)
            });
            let Some(at) = place(certificate).filter(|_| !is_twin) else { continue };
            let name = &certificate.name;
            if !has_health(certificate, nodes) {
                let what = format!("{name} has no health check, by which a failing node would be known");
                errors.at(at, what, "[health] with `path`; or failover = \"off\" at that certificate");
            }
            let cannot = |name: &&DnsName| {
                let provider = dns.map(|dns| dns.provider_of(name.as_str()));
                !name.is_wildcard() && matches!(provider, Some(Provider::Exec { addresses: false, .. }))
            };
            if let Some(own) = certificate.names.iter().find(cannot) {
                let what = format!("the DNS provider of {own} makes TXT records alone");
                let write = "addresses = true beside the program that has the tasks for address records (docs/dns.md)";
                errors.at(at, what, format!("{write}; or failover = \"off\" at that certificate"));
            }
            if certificate.failover != FailoverMode::Act {
                continue;
            }
            if certificate.discover.is_some() {
                let what = format!("the nodes of {name} are those that DNS shows, and a withdrawn one would be none");
                errors.at(at, what, "its nodes as [[node]]; or failover = \"advise\" at that certificate");
            }
            let found_by = |other: &&Certificate| {
                let name = other.discover.as_ref().map(|discover| &discover.name);
                other.name != certificate.name && certificate.names.iter().any(|own| Some(own) == name)
            };
            if let Some(other) = certificates.iter().find(found_by) {
                let what = format!("{name} has a name whose records are the nodes of {}", other.name);
                errors.at(at, what, "the nodes of both as [[node]]; or failover = \"advise\" at that certificate");
            }
        }
        if certificates.iter().all(|certificate| certificate.failover != FailoverMode::Act) {
            return;
        }
        let first = certificates.iter().find(|certificate| certificate.failover == FailoverMode::Act);
        if let Some(at) = first.and_then(place)
            && self.written_witness.is_empty()
            && of_watches(watches, nodes).is_empty()
        {
            let what = "needs a second opinion, by which a node that fails is told from this machine's own way out";
            errors.at(at, what, "witness = [\"1.1.1.1:443\", \"dns.google:443\"] in [failover], or a [[watch]]");
        }
        let names: BTreeSet<&DnsName> = certificates.iter().flat_map(|it| it.names.iter()).collect();
        for one in &self.written_witness {
            let (host, _) = &one.value;
            let is_own = match host {
                Host::Name(name) => names.contains(name),
                Host::Ip(_) => false,
            };
            if is_own || nodes.iter().any(|node| node.addresses.contains(host)) {
                errors.at(one, "is a node, or leads to one", "a host that fails when no node does, and the reverse");
            }
        }
    }
}

fn has_health(certificate: &Certificate, nodes: &Nodes) -> bool {
    let base = certificate.health.as_ref();
    let on = |node: &super::Node| {
        let layer = node.health.is_some();
        (base.is_some() || layer) && base.is_none_or(|health| health.enabled)
    };
    match &certificate.discover {
        Some(_) => base.is_some_and(|health| health.enabled),
        None => certificate.nodes.iter().filter_map(|name| nodes.named(name)).any(on),
    }
}

pub(super) fn mode(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<FailoverMode> {
    one_of(written, &FailoverMode::WORDS, errors)
}

/// The mode of one certificate, with its place.
pub(super) fn own_mode(section: &mut Section<'_>) -> Option<Spanned<FailoverMode>> {
    let errors = section.errors();
    let written = section.string("failover")?;
    mode(&written, errors).map(|mode| written.with(mode))
}

/// Each certificate with a mode of its own, and where it is written.
pub(super) fn own_modes(certificates: &[CertificateSpec]) -> Vec<(CertName, Spanned<()>)> {
    let own = |spec: &CertificateSpec| Some((spec.name.as_ref()?.value.clone(), spec.failover.as_ref()?.with(())));
    certificates.iter().filter_map(own).collect()
}

fn within(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<SignedDuration> {
    let span = written.value.parse::<SignedDuration>().ok();
    let fits = span.filter(|span| (SHORTEST_FAILOVER..=LONGEST_FAILOVER).contains(span));
    fits.or_else(|| {
        let what = match span {
            None => format!("{:?} is not a time with its unit", written.value),
            Some(_) => format!("{:?} is too short or too long", written.value),
        };
        let (least, most) = (SHORTEST_FAILOVER.as_secs(), LONGEST_FAILOVER.as_hours());
        errors.none(written, what, format!("\"{least}s\" to \"{most}h\", such as \"5m\""))
    })
}

fn min_records(number: &Spanned<i64>, errors: &ConfigErrors<'_>) -> Option<usize> {
    let count = usize::try_from(number.value).ok().filter(|count| (1..=MOST_RECORDS).contains(count));
    let what = || format!("{} is not a number of records that stay", number.value);
    count.or_else(|| errors.none(number, what(), format!("a number from 1 to {MOST_RECORDS}")))
}

/// An address or a name, with a port or without: `1.1.1.1`, `dns.google:443`, `[2001:db8::1]:443`.
fn witness(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Spanned<(Host, u16)>> {
    let text = written.value.as_str();
    let name = |text: &str| DnsName::parse(text).ok().filter(|name| !name.is_wildcard()).map(Host::Name);
    let of_ip = |ip: IpAddr| (!ip.is_unspecified() && !ip.is_multicast()).then_some(Host::Ip(ip));
    let found = match (text.parse::<IpAddr>(), text.parse::<core::net::SocketAddr>()) {
        (Ok(ip), _) => of_ip(ip).map(|host| (host, WITNESS_PORT)),
        (_, Ok(at)) => of_ip(at.ip()).map(|host| (host, at.port())),
        _ => match text.rsplit_once(':') {
            Some((host, port)) => name(host).zip(port.parse::<u16>().ok()),
            None => name(text).map(|host| (host, WITNESS_PORT)),
        },
    };
    let found = found.filter(|(_, port)| *port != 0);
    let what = || format!("{text:?} is not a host with a port");
    let found = found.or_else(|| errors.none(written, what(), "\"1.1.1.1:443\", or \"dns.google:443\""));
    found.map(|found| written.with(found))
}
