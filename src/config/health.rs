//! `[health]`, and a certificate's and a node's own: whether each node answers requests for the service as it should.

use core::time::Duration;
use std::collections::BTreeSet;
use std::path::PathBuf;

use http::uri::PathAndQuery;

use super::defaults::{
    HEALTH_FALL, HEALTH_INTERVAL, HEALTH_PATH, HEALTH_RISE, HEALTH_STATUS, HEALTH_TIMEOUT, LONGEST_HEALTH_INTERVAL,
    LONGEST_HEALTH_TEXT, LONGEST_HEALTH_TIMEOUT, MOST_HEALTH_ANSWERS, SHORTEST_HEALTH_INTERVAL,
};
use super::error::ConfigErrors;
use super::probe::one_of;
use super::value::{duration, local_path, port, printable};
use super::written::{Section, Spanned};
use super::{Certificate, Config, Node, Probe};
use crate::cert::CertName;

/// The request, and which answers are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub enabled: bool,
    /// With a query, if it has one.
    pub path: String,
    /// Never empty.
    pub status: BTreeSet<u16>,
    /// A text that the body has to hold.
    pub body: Option<String>,
    /// Further header fields of the request; secret.
    pub headers_file: Option<PathBuf>,
    pub http: HttpVersion,
    /// `None`: the first port at which the node is probed with TLS from the first byte.
    pub port: Option<u16>,
    pub interval: Duration,
    /// For the whole request, from the connection to the end of the body.
    pub timeout: Duration,
    /// Good answers in a row after which a node counts as healthy again.
    pub rise: u32,
    /// Bad answers in a row after which it no longer does.
    pub fall: u32,
}

/// What is offered to the server (ALPN).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// Both; the server chooses, as it does for a browser.
    #[default]
    Any,
    One,
    Two,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            enabled: true,
            path: HEALTH_PATH.to_owned(),
            status: HEALTH_STATUS.into(),
            body: None,
            headers_file: None,
            http: HttpVersion::Any,
            port: None,
            interval: HEALTH_INTERVAL,
            timeout: HEALTH_TIMEOUT,
            rise: HEALTH_RISE,
            fall: HEALTH_FALL,
        }
    }
}

impl Health {
    /// How the node is reached for it. `None`: every port of the node begins in plain text, and none is configured.
    pub fn probe(&self, probes: &[Probe]) -> Option<Probe> {
        let tls = || probes.iter().find(|probe| probe.starttls.is_none());
        let Some(port) = self.port else { return tls().cloned() };
        let at_port = probes.iter().find(|probe| probe.port == port);
        let elsewhere = || probes.first().map(|first| Probe { port, proxy_protocol: None, ..first.clone() });
        let probe = at_port.cloned().or_else(elsewhere)?;
        Some(Probe { starttls: None, ..probe })
    }
}

impl Config {
    /// `None`: the node's health for this certificate is not checked.
    pub fn health(&self, certificate: &Certificate, node: &Node) -> Option<Health> {
        let health = match (&certificate.health, &node.health) {
            (None, None) => return None,
            (base, None) => base.clone()?,
            (base, Some(layer)) => {
                let base = base.clone().unwrap_or_default();
                Health { enabled: base.enabled && layer.enabled != Some(false), ..layer.over(base) }
            }
        };
        health.enabled.then_some(health)
    }

    /// Each file with header fields of requests for one of these certificates; for none of them: of all.
    pub fn health_headers_of(&self, certificates: &BTreeSet<CertName>) -> BTreeSet<PathBuf> {
        let wanted = |certificate: &&Certificate| certificates.is_empty() || certificates.contains(&certificate.name);
        let of = |certificate: &Certificate| {
            let nodes = certificate.nodes.iter().filter_map(|node| self.node(node));
            nodes.filter_map(|node| self.health(certificate, node)?.headers_file).collect::<Vec<_>>()
        };
        self.certificates.iter().filter(wanted).flat_map(of).collect()
    }

    /// Each file with header fields of requests.
    pub fn health_headers(&self) -> BTreeSet<&PathBuf> {
        let of_certificates = self.certificates.iter().filter_map(|it| it.health.as_ref()?.headers_file.as_ref());
        let of_nodes = self.nodes.iter().filter_map(|node| node.health.as_ref()?.headers_file.as_ref());
        of_certificates.chain(of_nodes).collect()
    }
}

/// One layer as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthLayer {
    enabled: Option<bool>,
    path: Option<String>,
    status: Option<BTreeSet<u16>>,
    body: Option<String>,
    headers_file: Option<PathBuf>,
    http: Option<HttpVersion>,
    port: Option<u16>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
}

impl HealthLayer {
    /// The key `health` of a section; `None`: it is not there.
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let mut section = section.section("health")?;
        let errors = section.errors();
        let enabled = section.boolean("enabled");
        let path = section.string("path").and_then(|written| path(&written, errors));
        let status = section.one_or_more_integers("status").and_then(|written| status(&written, errors));
        let body = section.string("body").and_then(|written| body(&written, errors));
        let headers_file = section.string("headers_file").and_then(|written| local_path(&written, errors));
        let versions = [("any", HttpVersion::Any), ("1.1", HttpVersion::One), ("2", HttpVersion::Two)];
        let http = section.string("http").and_then(|written| one_of(&written, &versions, errors));
        let port = section.integer("port").and_then(|number| port(&number, errors));
        let interval = section.string("interval");
        let interval = interval.and_then(|written| within(&written, LONGEST_HEALTH_INTERVAL, errors));
        let timeout = section.string("timeout");
        let timeout = timeout.and_then(|written| within(&written, LONGEST_HEALTH_TIMEOUT, errors));
        let rise = section.integer("rise").and_then(|number| answers(&number, errors));
        let fall = section.integer("fall").and_then(|number| answers(&number, errors));
        section.finish();
        Some(Self { enabled, path, status, body, headers_file, http, port, interval, timeout, rise, fall })
    }

    /// Merges this layer over what is below.
    pub(super) fn over(&self, below: Health) -> Health {
        Health {
            enabled: self.enabled.unwrap_or(below.enabled),
            path: self.path.clone().unwrap_or(below.path),
            status: self.status.clone().unwrap_or(below.status),
            body: self.body.clone().or(below.body),
            headers_file: self.headers_file.clone().or(below.headers_file),
            http: self.http.unwrap_or(below.http),
            port: self.port.or(below.port),
            interval: self.interval.unwrap_or(below.interval),
            timeout: self.timeout.unwrap_or(below.timeout),
            rise: self.rise.unwrap_or(below.rise),
            fall: self.fall.unwrap_or(below.fall),
        }
    }
}

/// That of a certificate over `[health]`; `None`: neither is written.
pub(super) fn merged(own: Option<&HealthLayer>, defaults: Option<&HealthLayer>) -> Option<Health> {
    let below = defaults.map(|layer| layer.over(Health::default()));
    match own {
        Some(own) => Some(own.over(below.unwrap_or_default())),
        None => below,
    }
}

fn path(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<String> {
    let text = &written.value;
    let plain = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if plain && text.len() <= LONGEST_HEALTH_TEXT && text.parse::<PathAndQuery>().is_ok() {
        return Some(text.clone());
    }
    let what = format!("{text:?} is not the path of a request");
    errors.none(written, what, "\"/health\": from the first slash, without host, spaces and '#'; others as %20")
}

fn status(written: &Spanned<Vec<Spanned<i64>>>, errors: &ConfigErrors<'_>) -> Option<BTreeSet<u16>> {
    if written.value.is_empty() {
        return errors.none(written, "is empty, so that no answer would be good", "[200]");
    }
    let one = |number: &Spanned<i64>| {
        // An interim answer (1xx) is followed by another.
        let status = u16::try_from(number.value).ok().filter(|status| (200..=599).contains(status));
        let what = || format!("{} is not the status of an answer", number.value);
        status.or_else(|| errors.none(number, what(), "a number from 200 to 599"))
    };
    written.value.iter().map(one).collect()
}

fn body(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<String> {
    if written.value.len() > LONGEST_HEALTH_TEXT {
        return errors.none(written, "is too long", format!("at most {LONGEST_HEALTH_TEXT} bytes of the body"));
    }
    printable(written, errors).then(|| written.value.clone())
}

fn within(written: &Spanned<String>, longest: Duration, errors: &ConfigErrors<'_>) -> Option<Duration> {
    let read = duration(written, errors)?;
    if (SHORTEST_HEALTH_INTERVAL..=longest).contains(&read) {
        return Some(read);
    }
    let (least, most) = (SHORTEST_HEALTH_INTERVAL.as_secs(), longest.as_secs());
    errors.none(
        written,
        format!("{:?} is too short or too long", written.value),
        format!("\"{least}s\" to \"{most}s\""),
    )
}

fn answers(number: &Spanned<i64>, errors: &ConfigErrors<'_>) -> Option<u32> {
    let count = u32::try_from(number.value).ok().filter(|count| (1..=MOST_HEALTH_ANSWERS).contains(count));
    let what = || format!("{} is not a number of answers in a row", number.value);
    count.or_else(|| errors.none(number, what(), format!("a number from 1 to {MOST_HEALTH_ANSWERS}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ProxyProtocol, parse};

    const CONFIG: &str = r#"
[acme]
directory = "letsencrypt"
[dns]
provider = "exec"
command = ["/bin/true"]
[install]
fullchain = "/{name}.pem"
key = "/{name}.key"
test = ["true"]
reload = ["true"]
[health]
path = "/health-proxy"
status = [200, 401]
fall = 5
[[certificate]]
domains = ["a.example.com"]
key_type = ["ecdsa-p256", "rsa2048"]
nodes = ["*"]
[[certificate]]
domains = ["b.example.com"]
nodes = ["*"]
health = { enabled = false }
[[certificate]]
domains = ["c.example.com"]
nodes = ["*"]
health = { path = "/c", rise = 1 }
[[node]]
name = "one"
address = "192.0.2.1"
probe = [{ starttls = "smtp" }, { port = 8443, proxy_protocol = "v2" }]
[[node]]
name = "two"
address = "192.0.2.2"
health = { port = 8443, http = "2" }
[[node]]
name = "three"
address = "192.0.2.3"
health = { enabled = false }
[[node]]
name = "four"
address = "192.0.2.4"
probe = { starttls = "imap" }
"#;

    #[test]
    fn the_layers_are_merged_key_by_key_and_each_may_switch_it_off() {
        let config = parse(CONFIG).unwrap();
        let of =
            |certificate: usize, node: usize| config.health(&config.certificates[certificate], &config.nodes[node]);
        assert_eq!(of(1, 0), None, "the RSA twin has the same nodes");
        assert_eq!((of(2, 0), of(2, 1), of(0, 2)), (None, None, None));
        let (a, c, two) = (of(0, 0).unwrap(), of(3, 0).unwrap(), of(3, 1).unwrap());
        assert_eq!((a.path.as_str(), a.rise, a.fall), ("/health-proxy", HEALTH_RISE, 5));
        assert_eq!((c.path.as_str(), c.rise, c.fall), ("/c", 1, 5));
        assert_eq!(c.status, [200, 401].into());
        assert_eq!((two.path.as_str(), two.port, two.http), ("/c", Some(8443), HttpVersion::Two));
    }

    #[test]
    fn it_is_asked_where_tls_begins_at_once() {
        let config = parse(CONFIG).unwrap();
        let health = Health::default();
        let port =
            |node: usize| health.probe(&config.nodes[node].probes).map(|probe| (probe.port, probe.proxy_protocol));
        assert_eq!(port(0), Some((8443, Some(ProxyProtocol::V2))));
        assert_eq!(port(1), Some((443, None)));
        assert_eq!(port(3), None, "it speaks IMAP alone");
        let other = Health { port: Some(444), ..Health::default() };
        assert_eq!(other.probe(&config.nodes[3].probes).map(|probe| (probe.port, probe.starttls)), Some((444, None)));
    }
}
