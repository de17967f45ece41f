//! `[dns]`: who publishes TXT records, and who is asked whether they are seen.

use core::time::Duration;

use url::Url;

use super::defaults::{CLOUDFLARE_API, DOH, LONGEST_SEEN_TIMEOUT, SEEN_TIMEOUT, SHORTEST_SEEN_TIMEOUT};
use super::mistake::Mistakes;
use super::value::{dns_server, duration, is_loopback, local_path, url};
use super::written::{At, Section};
use super::{Dns, Provider, SilentServers};

pub(super) fn read(mut section: Section<'_>) -> Option<Dns> {
    let mistakes = section.mistakes();
    section.needs("provider", "provider = \"cloudflare\"");
    let provider = section.string("provider");
    section.needs("token_file", "token_file = \"/etc/certd/cloudflare.token\", a file that holds the API token");
    let token_file = section.string("token_file").and_then(|path| local_path(&path, mistakes));
    let zone_id = section.string("zone_id").and_then(|id| cloudflare_zone(&id, mistakes));
    let api_base = section.string("api_base").and_then(|base| api_base(&base, mistakes));
    let mut servers = |key| {
        let list = section.strings(key).map(|list| list.value).unwrap_or_default();
        list.iter().filter_map(|server| dns_server(server, mistakes)).collect()
    };
    let (resolvers, nameservers) = (servers("resolvers"), servers("nameservers"));
    let doh = section.strings("doh").map(|list| list.value.iter().filter_map(|one| doh(one, mistakes)).collect());
    let silent_servers = section.string("silent_servers").and_then(|written| silent_servers(&written, mistakes));
    let timeout = section.string("timeout").and_then(|time| seen_timeout(&time, mistakes));
    section.finish();

    let provider = provider?;
    if provider.value != "cloudflare" {
        mistakes.at(&provider, format!("{:?} is no known provider", provider.value), "\"cloudflare\"");
        return None;
    }
    let api_base = api_base.or_else(|| Url::parse(CLOUDFLARE_API).ok())?;
    let provider = Provider::Cloudflare { token_file: token_file?, zone_id, api_base };
    let doh = doh.unwrap_or_else(|| DOH.iter().filter_map(|url| Url::parse(url).ok()).collect());
    let (silent_servers, timeout) = (silent_servers.unwrap_or_default(), timeout.unwrap_or(SEEN_TIMEOUT));
    Some(Dns { provider, resolvers, nameservers, doh, silent_servers, timeout })
}

/// RFC 8484 section 4.1: a POST goes to the URI without its template's variable.
fn doh(written: &At<String>, mistakes: &Mistakes<'_>) -> Option<Url> {
    if let Some((plain, _)) = written.value.split_once('{') {
        mistakes.at(written, "is a template, and questions are posted to the plain URL", format!("{plain:?}"));
        return None;
    }
    url(written, &["https"], mistakes)
}

fn silent_servers(written: &At<String>, mistakes: &Mistakes<'_>) -> Option<SilentServers> {
    match written.value.as_str() {
        "pass-over" => Some(SilentServers::PassOver),
        "wait" => Some(SilentServers::Wait),
        other => {
            let what = format!("{other:?} is not what can be done with a server that never answers");
            mistakes.at(written, what, "\"pass-over\" or \"wait\"");
            None
        }
    }
}

fn seen_timeout(written: &At<String>, mistakes: &Mistakes<'_>) -> Option<Duration> {
    let time = duration(written, mistakes)?;
    if (SHORTEST_SEEN_TIMEOUT..=LONGEST_SEEN_TIMEOUT).contains(&time) {
        return Some(time);
    }
    let (least, most) = (SHORTEST_SEEN_TIMEOUT.as_secs(), LONGEST_SEEN_TIMEOUT.as_secs() / 60);
    mistakes.at(written, format!("{:?} is out of bounds", written.value), format!("from \"{least}s\" to \"{most}m\""));
    None
}

/// The API token travels in a header of every request.
fn api_base(written: &At<String>, mistakes: &Mistakes<'_>) -> Option<Url> {
    let base = url(written, &["https", "http"], mistakes)?;
    if base.scheme() == "http" && !is_loopback(&base) {
        let what = "would send the API token unencrypted over the network";
        mistakes.at(written, what, "an https:// URL; http:// is for 127.0.0.1, [::1] and localhost");
        return None;
    }
    if base.query().is_some() || base.fragment().is_some() {
        mistakes.at(written, "has a query or a fragment, and paths are appended to it", "the URL without '?' and '#'");
        return None;
    }
    Url::parse(base.as_str().trim_end_matches('/')).ok()
}

/// "Identifier", 32 hexadecimal digits, on the zone's overview page.
fn cloudflare_zone(written: &At<String>, mistakes: &Mistakes<'_>) -> Option<String> {
    let id = &written.value;
    if id.len() != 32 || !id.chars().all(|c| c.is_ascii_hexdigit()) {
        let what = format!("{id:?} is not a zone's identifier");
        mistakes.at(written, what, "the zone's \"Zone ID\" (32 hexadecimal digits), or leave the key out");
        return None;
    }
    Some(id.to_ascii_lowercase())
}
