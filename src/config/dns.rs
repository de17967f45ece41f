//! `[dns]`: the provider that publishes TXT records, and the servers queried for them. `[dns.NAME]`: another provider, for
//! some zones.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use url::Url;

use super::defaults::{DOH, LONGEST_SEEN_TIMEOUT, SEEN_TIMEOUT, SHORTEST_SEEN_TIMEOUT};
use super::error::ConfigErrors;
use super::provider::{self, Provider, dns_name};
use super::value::{dns_server, duration, url};
use super::written::{Section, Spanned};

#[derive(Clone, Debug)]
pub struct Dns {
    /// Of all names that no section has.
    pub provider: Provider,
    pub sections: Vec<DnsSection>,
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

/// `[dns.NAME]`
#[derive(Clone, Debug)]
pub struct DnsSection {
    pub name: String,
    pub provider: Provider,
    /// Never empty. Lower case, without a dot at the end; no other section has one of these.
    pub zones: Vec<String>,
}

impl Dns {
    /// The provider of records at this name.
    pub fn provider_of(&self, name: &str) -> &Provider {
        section_of(&self.sections, name).map_or(&self.provider, |at| &self.sections[at].provider)
    }

    /// Each provider with its section's name; the first, without a name, is that of `[dns]` itself.
    pub fn providers(&self) -> impl Iterator<Item = (Option<&str>, &Provider)> {
        let sections = self.sections.iter().map(|section| (Some(section.name.as_str()), &section.provider));
        core::iter::once((None, &self.provider)).chain(sections)
    }
}

/// The section with the longest zone that holds the name. `None`: `[dns]` itself has it.
pub fn section_of<'s>(sections: impl IntoIterator<Item = &'s DnsSection>, name: &str) -> Option<usize> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let holds = |zone: &str| name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let longest = |section: &DnsSection| section.zones.iter().filter(|zone| holds(zone)).map(String::len).max();
    let found = sections.into_iter().enumerate().filter_map(|(at, section)| Some((longest(section)?, at)));
    found.max().map(|(_, at)| at)
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
    let sections = sections(provider.as_ref(), section.other_sections(), errors);
    section.finish();
    let doh = doh.unwrap_or_else(|| DOH.iter().filter_map(|url| Url::parse(url).ok()).collect());
    let (silent_servers, timeout) = (silent_servers.unwrap_or_default(), timeout.unwrap_or(SEEN_TIMEOUT));
    Some(Dns {
        provider: provider?,
        sections,
        resolvers,
        nameservers,
        inventory_resolvers,
        doh,
        silent_servers,
        timeout,
    })
}

fn sections(
    own: Option<&Provider>,
    written: Vec<(Spanned<String>, Section<'_>)>,
    errors: &ConfigErrors<'_>,
) -> Vec<DnsSection> {
    let mut sections = Vec::new();
    let mut zones_so_far: BTreeMap<String, String> = BTreeMap::new();
    let mut files: Vec<_> = own.and_then(Provider::secret_file).into_iter().map(|(_, path)| path.to_owned()).collect();
    for (name, mut section) in written {
        let here = section.here();
        if name.value.is_empty() || !name.value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            errors.at(&name, "is a name that would have to be quoted", "[dns.NAME], of letters, digits, '-' and '_'");
        }
        let provider = provider::read(&mut section);
        let zones = zones(&mut section, &mut zones_so_far, errors);
        section.finish();
        let Some(provider) = provider else { continue };
        if let Some((key, file)) = provider.secret_file() {
            // In $CREDENTIALS_DIRECTORY one would stand for both.
            if let Some(other) = files.iter().find(|other| *other != file && other.file_name() == file.file_name()) {
                let what = format!("has the file name of another provider's file, {}", other.display());
                let write = "a file of another name: systemd's credentials (LoadCredential=) are found by it";
                errors.at(&here.under(key), what, write);
            }
            files.push(file.to_owned());
        }
        sections.push(DnsSection { name: name.value, provider, zones });
    }
    sections
}

/// `so_far`: the zones of other sections, each with its place.
fn zones(section: &mut Section<'_>, so_far: &mut BTreeMap<String, String>, errors: &ConfigErrors<'_>) -> Vec<String> {
    const WRITE: &str = "[\"example.org\"], the zones whose records this provider makes";
    section.required("zones", &format!("zones = {WRITE}"));
    let Some(written) = section.strings("zones") else { return Vec::new() };
    if written.value.is_empty() {
        errors.at(&written, "is empty, and the provider would make no record", WRITE);
    }
    let mut zones = Vec::new();
    for one in &written.value {
        let Some(zone) = dns_name(one, "zone", "\"example.org\"", errors) else { continue };
        if let Some(other) = so_far.insert(zone.clone(), one.key.clone()) {
            errors.at(one, format!("{zone:?} is {other}, too"), "each zone once, in the section of its provider");
        }
        zones.push(zone);
    }
    zones
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
