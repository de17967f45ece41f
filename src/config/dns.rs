//! `[dns]` and `[network]`: who publishes TXT records, who is asked whether they are seen, and how to get out.

use url::Url;

use super::defaults::CLOUDFLARE_API;
use super::mistake::Mistakes;
use super::value::{dns_server, is_loopback, local_path, url};
use super::written::{At, Section};
use super::{Dns, Network, Provider};

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
    section.finish();

    let provider = provider?;
    if provider.value != "cloudflare" {
        mistakes.at(&provider, format!("{:?} is no known provider", provider.value), "\"cloudflare\"");
        return None;
    }
    let api_base = api_base.or_else(|| Url::parse(CLOUDFLARE_API).ok())?;
    Some(Dns { provider: Provider::Cloudflare { token_file: token_file?, zone_id, api_base }, resolvers, nameservers })
}

pub(super) fn network(mut section: Section<'_>) -> Network {
    let mistakes = section.mistakes();
    // socks5:// would look names up here, where a proxy is usually needed because that fails.
    let proxy = section.string("proxy").and_then(|proxy| url(&proxy, &["http", "https", "socks5h"], mistakes));
    section.finish();
    Network { proxy }
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
