//! `[dns]`: the provider that publishes TXT records, and the servers queried for them.

use core::net::SocketAddr;
use core::time::Duration;

use url::Url;

use super::defaults::{DOH, LONGEST_SEEN_TIMEOUT, SEEN_TIMEOUT, SHORTEST_SEEN_TIMEOUT};
use super::error::ConfigErrors;
use super::provider::{self, Provider};
use super::value::{dns_server, duration, url};
use super::written::{Section, Spanned};

#[derive(Clone, Debug)]
pub struct Dns {
    pub provider: Provider,
    /// Recursive resolvers for zone cuts and for the addresses of name servers; empty: the system's.
    pub resolvers: Vec<SocketAddr>,
    /// If not empty, queried instead of the zone's own servers.
    pub nameservers: Vec<SocketAddr>,
    /// Public resolvers whose answers are compared with those of a name's own servers; may be empty.
    pub inventory_resolvers: Vec<SocketAddr>,
    /// DoH servers, queried in this order where port 53 is blocked; may be empty.
    pub doh: Vec<Url>,
    pub silent_servers: SilentServers,
    /// For records to be visible on every server.
    pub timeout: Duration,
}

/// How to treat an authoritative server that never answers, once all others show a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SilentServers {
    /// Ignore it, as the CA's resolvers do, which try the next server.
    #[default]
    PassOver,
    /// Request no validation before every server has shown the record.
    Wait,
}

pub(super) fn read(mut section: Section<'_>) -> Option<Dns> {
    let errors = section.errors();
    let provider = provider::read(&mut section);
    let mut servers = |key| {
        let list = section.strings(key).map(|list| list.value).unwrap_or_default();
        list.iter().filter_map(|server| dns_server(server, errors)).collect()
    };
    let (resolvers, nameservers) = (servers("resolvers"), servers("nameservers"));
    let inventory_resolvers = servers("inventory_resolvers");
    let doh = section.strings("doh").map(|list| list.value.iter().filter_map(|one| doh(one, errors)).collect());
    let silent_servers = section.string("silent_servers").and_then(|written| silent_servers(&written, errors));
    let timeout = section.string("timeout").and_then(|time| seen_timeout(&time, errors));
    section.finish();
    let doh = doh.unwrap_or_else(|| DOH.iter().filter_map(|url| Url::parse(url).ok()).collect());
    let (silent_servers, timeout) = (silent_servers.unwrap_or_default(), timeout.unwrap_or(SEEN_TIMEOUT));
    Some(Dns { provider: provider?, resolvers, nameservers, inventory_resolvers, doh, silent_servers, timeout })
}

/// RFC 8484 section 4.1: a POST goes to the URI without its template's variable.
fn doh(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Url> {
    if let Some((plain, _)) = written.value.split_once('{') {
        return errors.none(written, "is a template, and questions are posted to the plain URL", format!("{plain:?}"));
    }
    url(written, &["https"], errors)
}

fn silent_servers(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<SilentServers> {
    match written.value.as_str() {
        "pass-over" => Some(SilentServers::PassOver),
        "wait" => Some(SilentServers::Wait),
        other => {
            let what = format!("{other:?} is not what can be done with a server that never answers");
            errors.none(written, what, "\"pass-over\" or \"wait\"")
        }
    }
}

fn seen_timeout(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Duration> {
    let time = duration(written, errors)?;
    if (SHORTEST_SEEN_TIMEOUT..=LONGEST_SEEN_TIMEOUT).contains(&time) {
        return Some(time);
    }
    let (least, most) = (SHORTEST_SEEN_TIMEOUT.as_secs(), LONGEST_SEEN_TIMEOUT.as_secs() / 60);
    errors.none(written, format!("{:?} is out of bounds", written.value), format!("from \"{least}s\" to \"{most}m\""))
}
