//! Locates a challenge's record: the CNAMEs of `_acme-challenge`, the zone at their end, and the addresses of that zone's
//! name servers. Recursive resolvers answer these queries, or DoH servers where no resolver does. The TXT record itself is
//! never queried here, since a resolver would cache that it does not exist yet.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::wire::{Question, ask};
use super::{DnsError, Doh};
use crate::mutex::lock;
use crate::text::escape;

/// Boulder's resolver follows a few more; no setup needs as many.
const MOST_CNAMES: usize = 8;
/// Name servers of one zone. The root has thirteen.
const MOST_SERVERS: usize = 16;
/// Addresses of one server, for IPv4 and IPv6 each.
const MOST_ADDRESSES: usize = 4;
const ROUNDS: usize = 2;
const RESOLV_CONF: &str = "/etc/resolv.conf";

#[derive(Clone, Debug)]
pub struct Resolvers {
    /// Recursive resolvers; if none, the configured name servers.
    lookup: Vec<SocketAddr>,
    /// If not empty, queried instead of a zone's own.
    nameservers: Vec<SocketAddr>,
    doh: Doh,
    found: Arc<Found>,
}

/// The cache of one run.
#[derive(Debug, Default)]
struct Found {
    /// No resolver answered, but a DoH server did.
    silent: AtomicBool,
    /// The zone of each name.
    cuts: Mutex<BTreeMap<Name, Name>>,
    /// By zone, since the names of a certificate mostly share one.
    servers: Mutex<BTreeMap<Name, Arc<OnceCell<Vec<Server>>>>>,
}

/// An authoritative server with all its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    pub addresses: Vec<SocketAddr>,
    /// Why there is no address.
    pub missing: Option<String>,
}

/// A name and its CNAMEs' targets, in order.
#[derive(Debug)]
pub struct Chain {
    /// Never empty.
    pub names: Vec<String>,
    /// Why the last name is not the end.
    pub broken: Option<DnsError>,
}

/// The name at which the CA looks up the TXT record for `base` (RFC 8555 section 8.4).
pub fn challenge_name(base: &str) -> String {
    format!("_acme-challenge.{base}")
}

impl Resolvers {
    /// `resolvers`: empty for the system's. `nameservers`: queried instead of a zone's own.
    pub fn new(resolvers: &[SocketAddr], nameservers: &[SocketAddr], doh: Doh) -> Result<Self, DnsError> {
        let lookup = match (resolvers, nameservers) {
            ([], []) => match std::fs::read_to_string(RESOLV_CONF) {
                Ok(text) => system(&text),
                Err(_) if doh.count() > 0 => Vec::new(),
                Err(error) => return Err(DnsError::NoResolvers { why: error.to_string() }),
            },
            ([], nameservers) => nameservers.to_vec(),
            (resolvers, _) => resolvers.to_vec(),
        };
        if lookup.is_empty() && doh.count() == 0 {
            return Err(DnsError::NoResolvers { why: "names no name server".to_owned() });
        }
        Ok(Self { lookup, nameservers: nameservers.to_vec(), doh, found: Arc::default() })
    }

    pub(super) fn doh(&self) -> &Doh {
        &self.doh
    }

    /// Those that resolve names here. Each may have cached that a record does not exist.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.lookup
    }

    /// The name at the end of the CNAMEs, where the record must be made. It need not exist yet.
    pub async fn follow(&self, name: &str) -> Result<String, DnsError> {
        let Chain { mut names, broken } = self.chain(name).await?;
        match broken {
            Some(error) => Err(error),
            None => Ok(names.pop().unwrap_or_default()),
        }
    }

    /// The CNAMEs of a name.
    ///
    /// A query for another type returns the whole chain at once, with the zone of its end. If a link is broken, queries for
    /// single CNAMEs show which one.
    pub async fn chain(&self, name: &str) -> Result<Chain, DnsError> {
        let mut chain = vec![parse(name)?];
        let broken = loop {
            let last = chain[chain.len() - 1].clone();
            let (answer, failed) = match self.lookup(&last, RecordType::SOA).await {
                Ok(answer) => (answer, None),
                Err(error) => match self.lookup(&last, RecordType::CNAME).await {
                    Ok(answer) => (answer, Some(error)),
                    Err(_) => break Some(error),
                },
            };
            let mut looped = false;
            while let Some(target) = cname(&answer, &chain[chain.len() - 1]).filter(|_| !looped) {
                looped = chain.contains(&target) || chain.len() > MOST_CNAMES;
                chain.push(target);
            }
            if looped {
                let chain: Vec<String> = chain.iter().map(text).collect();
                break Some(DnsError::Loop { name: name.to_owned(), chain: chain.join(" -> ") });
            }
            let end = &chain[chain.len() - 1];
            if let Some(apex) = apex(&answer, end) {
                self.keep_cut(end, &apex);
                break None;
            }
            if *end == last {
                break failed;
            }
        };
        Ok(Chain { names: chain.iter().map(text).collect(), broken })
    }

    /// Whether a wildcard makes the CNAME of `name` to `target`: one that stands there for all names of the same parent, and
    /// ends at this name as soon as anything is made there (RFC 4592 section 2.2.1). Returns the zone that holds the name.
    pub async fn wildcard_zone(&self, name: &str, target: &str) -> Option<String> {
        let (name, target) = (parse(name).ok()?, parse(target).ok()?);
        let parent = name.base_name();
        let wildcard = parent.prepend_label("*").ok()?;
        let answer = self.lookup(&wildcard, RecordType::CNAME).await.ok()?;
        if name == wildcard || cname(&answer, &wildcard)? != target {
            return None;
        }
        // A query for the name itself would be answered with the zone of the target.
        let zone = self.zone(parent).await.ok()?;
        self.keep_cut(&name, &zone);
        Some(text(&zone))
    }

    /// The name of the zone that holds `name`, according to DNS.
    pub async fn apex(&self, name: &str) -> Result<String, DnsError> {
        Ok(text(&self.zone(parse(name)?).await?))
    }

    /// The authoritative servers of the zone that holds `name`.
    pub async fn authorities(&self, name: &str) -> Result<Vec<Server>, DnsError> {
        if !self.nameservers.is_empty() {
            let one = |at: &SocketAddr| Server { name: at.to_string(), addresses: vec![*at], missing: None };
            return Ok(self.nameservers.iter().map(one).collect());
        }
        let zone = self.zone(parse(name)?).await?;
        let cell = {
            let mut servers = lock(&self.found.servers);
            Arc::clone(servers.entry(zone.clone()).or_default())
        };
        cell.get_or_try_init(|| self.servers(name, &zone)).await.cloned()
    }

    async fn servers(&self, name: &str, zone: &Name) -> Result<Vec<Server>, DnsError> {
        let answer = self.lookup(zone, RecordType::NS).await?;
        let names = answer.answers.iter().filter_map(|record| match &record.data {
            RData::NS(server) if record.name == *zone => Some(server.0.clone()),
            _ => None,
        });
        let mut found = JoinSet::new();
        for server in names.take(MOST_SERVERS) {
            let this = self.clone();
            found.spawn(async move {
                let (v4, v6) =
                    tokio::join!(this.lookup(&server, RecordType::A), this.lookup(&server, RecordType::AAAA));
                let (mut addresses, mut missing) = (Vec::new(), "it has no address".to_owned());
                for answer in [v4, v6] {
                    match answer {
                        Ok(answer) => {
                            let found = answer.answers.iter().filter_map(|record| address(&record.data));
                            addresses.extend(found.take(MOST_ADDRESSES));
                        }
                        Err(error) => missing = error.to_string(),
                    }
                }
                let missing = addresses.is_empty().then_some(missing);
                Server { name: text(&server), addresses, missing }
            });
        }
        let mut servers = found.join_all().await;
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        if servers.iter().all(|server| server.addresses.is_empty()) {
            let why = |server: &Server| Some(format!("{}: {}", server.name, server.missing.as_ref()?));
            let why: Vec<String> = servers.iter().filter_map(why).collect();
            return Err(DnsError::NoServers { name: name.to_owned(), zone: text(zone), why: why.join(", ") });
        }
        Ok(servers)
    }

    fn keep_cut(&self, name: &Name, apex: &Name) {
        self.cuts().insert(name.clone(), apex.clone());
    }

    fn cuts(&self) -> std::sync::MutexGuard<'_, BTreeMap<Name, Name>> {
        lock(&self.found.cuts)
    }

    /// RFC 2308: a negative answer holds the SOA of its zone, so that one query is enough. If a server leaves the SOA out,
    /// the parent name is queried.
    async fn zone(&self, name: Name) -> Result<Name, DnsError> {
        if let Some(apex) = self.cuts().get(&name) {
            return Ok(apex.clone());
        }
        let mut at = name.clone();
        while !at.is_root() {
            let answer = self.lookup(&at, RecordType::SOA).await?;
            if let Some(apex) = apex(&answer, &name) {
                self.keep_cut(&name, &apex);
                return Ok(apex);
            }
            at = at.base_name();
        }
        let why = "no zone above it has a SOA record".to_owned();
        Err(DnsError::NoServers { name: text(&name), zone: text(&name), why })
    }

    /// Queries the resolvers, then DoH after the first round; DoH alone once only it has answered.
    pub(super) async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Message, DnsError> {
        let question = Question { name: name.clone(), kind, recursion: true };
        let conclusive =
            |answer: &Message| matches!(answer.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain);
        let mut whys: Vec<String> = Vec::new();
        let mut silent = true;
        for round in 0..ROUNDS {
            if !self.found.silent.load(Ordering::Relaxed) {
                for server in &self.lookup {
                    let why = match ask(*server, &question).await {
                        Ok(answer) if conclusive(&answer) => return Ok(answer),
                        Ok(answer) => {
                            silent = false;
                            answer.metadata.response_code.to_string()
                        }
                        Err(error) => error.to_string(),
                    };
                    whys.push(format!("{server}: {why}"));
                }
            }
            if round == 0 && self.doh.count() > 0 {
                match self.doh.first(&question, conclusive).await {
                    Ok(answer) => {
                        if silent {
                            self.found.silent.store(true, Ordering::Relaxed);
                        }
                        return Ok(answer);
                    }
                    Err(why) => whys.push(why),
                }
            }
        }
        whys.sort();
        whys.dedup();
        Err(DnsError::Lookup { name: text(name), why: whys.join(", ") })
    }
}

fn cname(answer: &Message, name: &Name) -> Option<Name> {
    answer.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if record.name == *name => Some(target.0.clone()),
        _ => None,
    })
}

fn apex(answer: &Message, name: &Name) -> Option<Name> {
    let records = answer.answers.iter().chain(&answer.authorities);
    let zones = records.filter(|record| matches!(record.data, RData::SOA(_))).map(|record| &record.name);
    zones.filter(|apex| apex.zone_of(name)).max_by_key(|apex| apex.num_labels()).cloned()
}

/// The `nameserver` lines of a resolv.conf (resolv.conf(5)).
fn system(conf: &str) -> Vec<SocketAddr> {
    let lines = conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    lines.filter_map(|rest| Some(SocketAddr::new(rest.trim().parse().ok()?, 53))).collect()
}

fn address(data: &RData) -> Option<SocketAddr> {
    match data {
        RData::A(ip) => Some(SocketAddr::new(ip.0.into(), 53)),
        RData::AAAA(ip) => Some(SocketAddr::new(ip.0.into(), 53)),
        _ => None,
    }
}

pub(super) fn parse(name: &str) -> Result<Name, DnsError> {
    let dotted = format!("{}.", name.trim_end_matches('.'));
    Name::from_ascii(&dotted).map_err(|_| DnsError::Name { name: escape(name, 260) })
}

/// Lower case, without the trailing dot, escaped.
fn text(name: &Name) -> String {
    escape(name.to_lowercase().to_ascii().trim_end_matches('.'), 260)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_resolvers_are_read_from_resolv_conf() {
        let conf =
            "# made by somebody\nsearch example.com\nnameserver 192.0.2.53\n nameserver 2001:db8::53\nnameserver x\n";
        let expected: Vec<SocketAddr> = vec!["192.0.2.53:53".parse().unwrap(), "[2001:db8::53]:53".parse().unwrap()];
        assert_eq!(system(conf), expected);
    }
}
