//! The DNS records of a certificate's name: its addresses, from every authoritative server of its zone and from public
//! resolvers, and its CAA records. Each server is queried once, without waiting for a change.
//!
//! An error means that the records are unknown, which is reported and is no alarm.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;

use futures_util::future::join_all;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::propagation_tally::is_answer;
use super::resolvers::parse;
use super::wire::{Question, ask};
use super::{DnsError, Doh, Resolvers, Server};
use crate::cert::DnsName;
use crate::model::{Addresses, Caa, CaaRecord, CaaSet, InDns, ServerAnswer};
use crate::text::escape;

/// CNAMEs followed in one answer.
const MOST_CNAMES: usize = 8;
const MOST_CAA: usize = 50;
const LONGEST_VALUE: usize = 300;
/// Levels between a name and the root.
const MOST_LEVELS: usize = 12;
/// A label that nobody has.
const NOBODY: &str = "certd-looks-for-a-wildcard";
/// For the levels above the name's zone, which rarely have CAA records.
const ABOVE: Duration = Duration::from_secs(2);

/// Looks up everything concurrently. A wildcard has CAA records, but no addresses.
pub async fn in_dns(resolvers: &Resolvers, public: &[SocketAddr], name: &DnsName) -> InDns {
    let none = InDns {
        name: name.clone(),
        alias: None,
        authoritative: Vec::new(),
        public: Vec::new(),
        caa: Caa::default(),
        provider: Vec::new(),
        trouble: None,
    };
    if name.is_wildcard() {
        return InDns { caa: caa(resolvers, name.base()).await, ..none };
    }
    let (shown, public, caa) = tokio::join!(
        addresses(resolvers, name.as_str()),
        at_resolvers(public, name.as_str()),
        caa(resolvers, name.base())
    );
    match shown {
        Ok((alias, authoritative)) => InDns { alias, authoritative, public, caa, ..none },
        Err(error) => InDns { trouble: Some(error.to_string()), public, caa, ..none },
    }
}

/// The end of the name's CNAMEs, if it has any, and the addresses that each authoritative server shows there. If all are
/// silent (mostly since port 53 is blocked) a DoH server is queried, or this network's resolver: for lasting records a resolver's answer is as good.
///
/// # Errors
/// The name's servers cannot be found, or neither they nor any DoH server answers.
pub async fn addresses(resolvers: &Resolvers, name: &str) -> Result<(Option<String>, Vec<ServerAnswer>), DnsError> {
    let end = resolvers.follow(name).await?;
    let owner = parse(&end)?;
    let servers = resolvers.authorities(&end).await?;
    let mut queries = Vec::new();
    for server in &servers {
        queries.push(Source::Server(server).query(&owner));
    }
    let mut answers = join_all(queries).await;
    if answers.iter().all(|answer| answer.says.is_err()) {
        let mut late = Source::Doh(resolvers.doh()).query(&owner).await;
        for at in resolvers.addresses() {
            if late.says.is_err() {
                late = Source::Resolver(*at).query(&owner).await;
            }
        }
        if late.says.is_err() {
            let silent = answers.iter().map(|answer| {
                let why = answer.says.as_ref().err().map_or("", String::as_str);
                format!("{}: {why}", answer.server)
            });
            return Err(DnsError::AllSilent { name: end, servers: silent.collect::<Vec<_>>().join(", ") });
        }
        answers = vec![late];
    }
    answers.sort_by(|a, b| a.server.cmp(&b.server));
    let alias = (!end.eq_ignore_ascii_case(name)).then_some(end);
    Ok((alias, answers))
}

async fn at_resolvers(public: &[SocketAddr], name: &str) -> Vec<ServerAnswer> {
    let Ok(owner) = parse(name) else { return Vec::new() };
    let mut queries = Vec::new();
    for server in public {
        queries.push(Source::Resolver(*server).query(&owner));
    }
    join_all(queries).await
}

/// Whether a name has its addresses from a wildcard record alone. Then it has none while a name below it exists, such as
/// `_acme-challenge.NAME` (RFC 4592 section 2.2.2: an empty non-terminal is no match of a wildcard). Such a wildcard answers for
/// what is below the name, too; one of the name's own would as well, and then the name's neighbours have no addresses.
///
/// # Errors
/// As [`addresses`].
pub async fn has_only_a_wildcard(resolvers: &Resolvers, name: &DnsName) -> Result<bool, DnsError> {
    let Some((_, above)) = name.base().split_once('.') else { return Ok(false) };
    let names = [name.as_str().to_owned(), format!("{NOBODY}.{name}"), format!("{NOBODY}.{above}")];
    let shown = names.each_ref().map(|name| addresses(resolvers, name));
    let [own, below, beside] = shown;
    let (own, below, beside) = tokio::try_join!(own, below, beside)?;
    let has_some = |(_, answers): &(Option<String>, Vec<ServerAnswer>)| !union(answers).is_empty();
    Ok(own.0.is_none() && [&own, &below, &beside].into_iter().all(has_some))
}

enum Source<'a> {
    /// Queried without recursion.
    Server(&'a Server),
    Resolver(SocketAddr),
    Doh(&'a Doh),
}

impl Source<'_> {
    async fn query(self, owner: &Name) -> ServerAnswer {
        let server = match &self {
            Self::Server(server) => server.name.clone(),
            Self::Resolver(at) => at.to_string(),
            Self::Doh(_) => "DoH".to_owned(),
        };
        ServerAnswer { server, says: self.addresses(owner).await }
    }

    /// Queries A and AAAA concurrently; both must be answered.
    async fn addresses(&self, owner: &Name) -> Result<Addresses, String> {
        let recursion = !matches!(self, Self::Server(_));
        let question = |kind| Question { name: owner.clone(), kind, recursion };
        let (v4, v6) = (question(RecordType::A), question(RecordType::AAAA));
        let (v4, v6) = tokio::join!(self.answer(&v4), self.answer(&v6));
        let (mut shown, v6) = (records(&v4?, owner), records(&v6?, owner));
        shown.all.extend(v6.all);
        shown.ttl = shown.ttl.max(v6.ttl);
        Ok(shown)
    }

    async fn answer(&self, question: &Question) -> Result<Message, String> {
        match self {
            Self::Server(server) => first(server, question).await,
            Self::Doh(doh) if doh.count() == 0 => Err("no DoH server is configured".to_owned()),
            Self::Doh(doh) => doh.first(question, is_answer).await,
            Self::Resolver(at) => match ask(*at, question).await {
                Ok(answer) if is_answer(&answer) => Ok(answer),
                Ok(answer) => Err(answer.metadata.response_code.to_string()),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// The first authoritative answer from any of the server's addresses.
///
/// # Errors
/// Why there is none.
async fn first(server: &Server, question: &Question) -> Result<Message, String> {
    let mut asked = JoinSet::new();
    for address in server.addresses.iter().copied() {
        let question = question.clone();
        asked.spawn(async move {
            match ask(address, &question).await {
                Ok(answer) if is_answer(&answer) && answer.metadata.authoritative => Ok(answer),
                Ok(answer) if is_answer(&answer) => Err("answers without authority".to_owned()),
                Ok(answer) => Err(answer.metadata.response_code.to_string()),
                Err(error) => Err(error.to_string()),
            }
        });
    }
    let mut why = server.missing.clone();
    while let Some(answered) = asked.join_next().await {
        match answered {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => why = Some(error),
            Err(_) => {}
        }
    }
    Err(why.unwrap_or_else(|| "no answer".to_owned()))
}

/// The addresses of the name behind the CNAMEs of this answer; unrelated records are ignored.
fn records(answer: &Message, owner: &Name) -> Addresses {
    let mut names = vec![owner.clone()];
    while let Some(next) = names.last().and_then(|last| {
        answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *last => Some(target.0.clone()),
            _ => None,
        })
    }) {
        if names.contains(&next) || names.len() > MOST_CNAMES {
            break;
        }
        names.push(next);
    }
    let mut shown = Addresses::default();
    for record in answer.answers.iter().filter(|record| names.contains(&record.name)) {
        let address: IpAddr = match &record.data {
            RData::A(ip) => ip.0.into(),
            RData::AAAA(ip) => ip.0.into(),
            _ => continue,
        };
        shown.all.insert(address);
        shown.ttl = shown.ttl.max(Some(record.ttl));
    }
    shown
}

/// RFC 8659 section 3: "The search for a CAA RRset climbs the DNS name tree from the specified label up to, but not
/// including, the DNS root '.' until a CAA RRset is found." All levels are queried concurrently. Those in the name's own zone
/// are queried from its servers, since a resolver's cache may be older than the CA's view.
async fn caa(resolvers: &Resolvers, name: &str) -> Caa {
    match caa_of(resolvers, name).await {
        Ok(found) => found,
        Err(error) => Caa::Unknown(error.to_string()),
    }
}

async fn caa_of(resolvers: &Resolvers, name: &str) -> Result<Caa, DnsError> {
    let owner = parse(name)?;
    let apex = parse(&resolvers.apex(name).await?)?;
    let servers = resolvers.authorities(name).await?;
    let mut levels = vec![owner];
    while let Some(above) = levels.last().map(Name::base_name)
        && !above.is_root()
        && levels.len() < MOST_LEVELS
    {
        levels.push(above);
    }
    let mut queries = Vec::new();
    for level in &levels {
        queries.push(at_level(resolvers, &servers, level, apex.zone_of(level)));
    }
    for (level, found) in levels.iter().zip(join_all(queries).await) {
        let records = match found {
            Ok(records) => records,
            Err(why) => return Ok(Caa::Unknown(why)),
        };
        if !records.is_empty() {
            let at = escape(level.to_lowercase().to_ascii().trim_end_matches('.'), 260);
            return Ok(Caa::Restricted(CaaSet { at, records }));
        }
    }
    Ok(Caa::Free)
}

/// The records of the server that answers first; a resolver follows a CNAME.
async fn at_level(
    resolvers: &Resolvers,
    servers: &[Server],
    level: &Name,
    in_zone: bool,
) -> Result<Vec<CaaRecord>, String> {
    if !in_zone {
        let above = timeout(ABOVE, resolvers.lookup(level, RecordType::CAA)).await;
        return Ok(above.ok().and_then(Result::ok).map(|answer| caa_records(&answer)).unwrap_or_default());
    }
    let question = Question { name: level.clone(), kind: RecordType::CAA, recursion: false };
    let every = Server {
        name: String::new(),
        addresses: servers.iter().flat_map(|server| server.addresses.iter().copied()).collect(),
        missing: None,
    };
    let answer = match first(&every, &question).await {
        Ok(answer) => answer,
        // Port 53 may be blocked.
        Err(why) => resolvers.lookup(level, RecordType::CAA).await.map_err(|_| why)?,
    };
    let aliased = answer.answers.iter().any(|record| matches!(record.data, RData::CNAME(_)));
    let answer = match caa_records(&answer) {
        found if !found.is_empty() => return Ok(found),
        _ if aliased => resolvers.lookup(level, RecordType::CAA).await.map_err(|error| error.to_string())?,
        _ => return Ok(Vec::new()),
    };
    Ok(caa_records(&answer))
}

fn caa_records(answer: &Message) -> Vec<CaaRecord> {
    let records = answer.answers.iter().filter_map(|record| match &record.data {
        RData::CAA(caa) => Some(CaaRecord {
            critical: caa.issuer_critical,
            tag: escape(&caa.tag.to_ascii_lowercase(), 50),
            value: escape(&String::from_utf8_lossy(&caa.value), LONGEST_VALUE),
        }),
        _ => None,
    });
    records.take(MOST_CAA).collect()
}

/// The addresses of all servers that answered.
pub fn union(answers: &[ServerAnswer]) -> BTreeSet<IpAddr> {
    answers.iter().filter_map(|answer| answer.says.as_ref().ok()).flat_map(|shown| shown.all.iter().copied()).collect()
}
