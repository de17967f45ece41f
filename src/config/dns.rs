//! `[dns]` and `[network]`: who publishes TXT records, who is asked whether they are seen, and how to get out.

use super::value::{dns_server, url};
use super::written::Section;
use super::{Dns, Network, provider};

pub(super) fn read(mut section: Section<'_>) -> Option<Dns> {
    let mistakes = section.mistakes();
    let provider = provider::read(&mut section);
    let mut servers = |key| {
        let list = section.strings(key).map(|list| list.value).unwrap_or_default();
        list.iter().filter_map(|server| dns_server(server, mistakes)).collect()
    };
    let (resolvers, nameservers) = (servers("resolvers"), servers("nameservers"));
    section.finish();
    Some(Dns { provider: provider?, resolvers, nameservers })
}

pub(super) fn network(mut section: Section<'_>) -> Network {
    let mistakes = section.mistakes();
    // socks5:// would look names up here, where a proxy is usually needed because that fails.
    let proxy = section.string("proxy").and_then(|proxy| url(&proxy, &["http", "https", "socks5h"], mistakes));
    section.finish();
    Network { proxy }
}
