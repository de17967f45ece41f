//! Where a challenge's record really is: the CNAMEs of `_acme-challenge`, the zone that holds their end, and the addresses
//! of that zone's name servers. Asked of recursive resolvers; the TXT record itself never is (a resolver would remember
//! that it was not there yet).

use core::net::SocketAddr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;

use super::DnsError;
use super::wire::{Question, ask};
use crate::report::escape;

/// Boulder's resolver follows a few more; nobody needs as many.
const MOST_CNAMES: usize = 8;
/// Of one zone. The root has thirteen.
const MOST_SERVERS: usize = 16;
/// Of one server, IPv4 and IPv6 each.
const MOST_ADDRESSES: usize = 4;
const ROUNDS: usize = 2;
const RESOLV_CONF: &str = "/etc/resolv.conf";

#[derive(Clone, Debug)]
pub struct Resolvers {
    /// Recursive ones; else those that are configured as authoritative.
    lookup: Vec<SocketAddr>,
    /// Asked instead of a zone's own, when not empty.
    nameservers: Vec<SocketAddr>,
}

/// One authoritative server by its name, with every address that it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    pub addresses: Vec<SocketAddr>,
}

/// Where the CA looks for the proof of `base` (RFC 8555 section 8.4).
pub fn challenge_name(base: &str) -> String {
    format!("_acme-challenge.{base}")
}

impl Resolvers {
    /// `resolvers` empty: the system's; `nameservers`: asked instead of a zone's own.
    pub fn new(resolvers: &[SocketAddr], nameservers: &[SocketAddr]) -> Result<Self, DnsError> {
        let lookup = match (resolvers, nameservers) {
            ([], []) => {
                let text = std::fs::read_to_string(RESOLV_CONF)
                    .map_err(|error| DnsError::NoResolvers { why: error.to_string() })?;
                system(&text)
            }
            ([], nameservers) => nameservers.to_vec(),
            (resolvers, _) => resolvers.to_vec(),
        };
        if lookup.is_empty() {
            return Err(DnsError::NoResolvers { why: "names no name server".to_owned() });
        }
        Ok(Self { lookup, nameservers: nameservers.to_vec() })
    }

    /// The name at the end of the CNAMEs: where the record must be made.
    pub async fn follow(&self, name: &str) -> Result<String, DnsError> {
        let mut chain = vec![parse(name)?];
        loop {
            let last = &chain[chain.len() - 1];
            let answer = self.lookup(last, RecordType::CNAME).await?;
            let target = answer.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if record.name == *last => Some(target.0.clone()),
                _ => None,
            });
            let Some(target) = target else { return Ok(text(last)) };
            let looped = chain.contains(&target);
            chain.push(target);
            if looped || chain.len() > MOST_CNAMES + 1 {
                let chain: Vec<String> = chain.iter().map(text).collect();
                return Err(DnsError::Loop { name: name.to_owned(), chain: chain.join(" -> ") });
            }
        }
    }

    /// The name of the zone that holds `name`, as DNS shows it.
    pub async fn apex(&self, name: &str) -> Result<String, DnsError> {
        Ok(text(&self.zone(parse(name)?).await?))
    }

    /// The authoritative servers of the zone that holds `name`.
    pub async fn authorities(&self, name: &str) -> Result<Vec<Server>, DnsError> {
        if !self.nameservers.is_empty() {
            let one = |at: &SocketAddr| Server { name: at.to_string(), addresses: vec![*at] };
            return Ok(self.nameservers.iter().map(one).collect());
        }
        let zone = self.zone(parse(name)?).await?;
        let answer = self.lookup(&zone, RecordType::NS).await?;
        let names = answer.answers.iter().filter_map(|record| match &record.data {
            RData::NS(server) if record.name == zone => Some(server.0.clone()),
            _ => None,
        });
        let mut found = JoinSet::new();
        for server in names.take(MOST_SERVERS) {
            let this = self.clone();
            found.spawn(async move {
                let (v4, v6) =
                    tokio::join!(this.lookup(&server, RecordType::A), this.lookup(&server, RecordType::AAAA));
                let mut addresses = Vec::new();
                for answer in [v4, v6].into_iter().flatten() {
                    addresses
                        .extend(answer.answers.iter().filter_map(|record| address(&record.data)).take(MOST_ADDRESSES));
                }
                Server { name: text(&server), addresses }
            });
        }
        let mut servers = found.join_all().await;
        servers.retain(|server| !server.addresses.is_empty());
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        if servers.is_empty() {
            return Err(DnsError::NoServers { name: name.to_owned() });
        }
        Ok(servers)
    }

    /// RFC 2308: where there is no such record, the answer holds the SOA of the zone that says so. So one question is
    /// enough; a label less is tried where a server leaves the SOA out.
    async fn zone(&self, name: Name) -> Result<Name, DnsError> {
        let mut at = name.clone();
        while !at.is_root() {
            let answer = self.lookup(&at, RecordType::SOA).await?;
            let records = answer.answers.iter().chain(&answer.authorities);
            let apex = records.filter(|record| matches!(record.data, RData::SOA(_))).map(|record| &record.name);
            if let Some(apex) = apex.into_iter().find(|apex| apex.zone_of(&name)) {
                return Ok(apex.clone());
            }
            at = at.base_name();
        }
        Err(DnsError::NoServers { name: text(&name) })
    }

    async fn lookup(&self, name: &Name, kind: RecordType) -> Result<Message, DnsError> {
        let question = Question { name: name.clone(), kind, recursion: true };
        let mut why = String::new();
        for server in self.lookup.iter().cycle().take(self.lookup.len() * ROUNDS) {
            match ask(*server, &question).await {
                Ok(answer) => match answer.metadata.response_code {
                    ResponseCode::NoError | ResponseCode::NXDomain => return Ok(answer),
                    code => why = format!("{server}: {code}"),
                },
                Err(silence) => why = format!("{server}: {silence}"),
            }
        }
        Err(DnsError::Lookup { name: text(name), why })
    }
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

/// Lower case, no trailing dot, nothing that moves a cursor.
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
