//! Discovers nodes through DNS at the beginning of every pass and look; from then on they are like other nodes. If DNS
//! is down, the nodes of the last answer stay.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::cert::{DnsName, NodeName};
use crate::config::defaults::PROBE_PORT;
use crate::config::{Config, Conflict, Families, Host};
use crate::dns::{self, Resolvers};
use crate::model::{Advice, Code, DnsCache, Finding, LastSeen};
use crate::plan::discovery::{self, DiscoveryNote, Settled};
use crate::report;
use crate::ssh::known_hosts;
use crate::store::StoreError;

use crate::context::failure::failure;
use crate::context::provider;
use crate::context::{Context, clock};
use crate::observe::route::resolve;

/// For all queries together; a working DNS answers in a fraction of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The result of discovery.
struct Discovered {
    /// The configuration with the discovered nodes.
    config: Config,
    failures: Vec<Finding>,
    /// Kept for when DNS does not answer.
    seen: BTreeMap<DnsName, LastSeen>,
}

impl Context {
    /// Adds the discovered nodes before a pass. Findings appear in the report of the pass.
    pub async fn discovered(self) -> Self {
        if self.config.discovers().is_empty() {
            return self;
        }
        let Discovered { config, failures, seen } = discovered(&self).await;
        provider::keep_discovered(&self, seen);
        failures.into_iter().for_each(|failure| self.dns.warn(failure));
        self.with_config(config)
    }
}

/// A context for one look, with the current state and the nodes that DNS names now. Writes nothing.
///
/// # Errors
/// The state directory cannot be read.
pub async fn for_a_look(context: &Context) -> Result<(Arc<Context>, Vec<Finding>), StoreError> {
    let (config, failures) = if context.config.discovers().is_empty() {
        (Arc::clone(&context.config), Vec::new())
    } else {
        let found = discovered(context).await;
        (Arc::new(found.config), found.failures)
    };
    Ok((Arc::new(context.for_a_look(&config)?), failures))
}

async fn discovered(context: &Context) -> Discovered {
    let dns_cache = context.store.dns_cache().unwrap_or_default();
    let resolvers = provider::resolvers(context).map(|(resolvers, _)| resolvers).map_err(|failure| failure.what);
    discover(&context.config, resolvers, &dns_cache).await
}

async fn discover(config: &Config, resolvers: Result<Resolvers, String>, dns_cache: &DnsCache) -> Discovered {
    let names = config.discovers();
    let mut asked = Vec::new();
    for name in &names {
        asked.push(shown(&resolvers, name));
    }
    let (shown, named) = tokio::join!(join_all(asked), named(config));
    let trusted = Trusted::new(config, &named);
    let (mut found, mut seen, mut failures) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (name, shown) in names.into_iter().zip(shown) {
        let last = dns_cache.discovered.get(name);
        let Settled { nodes, fresh, notes: notices } =
            discovery::settle(shown, families(config, name), last, |address| trusted.is_pinned(address));
        failures.extend(notices.iter().map(|notice| finding_of(name, notice)));
        let now = LastSeen { at: clock::now(), addresses: nodes.clone() };
        // An unchanged set is written only once a day: the time is only shown to people.
        let same =
            |last: &&LastSeen| last.addresses == now.addresses && now.at.duration_since(last.at).as_hours().abs() < 24;
        match last {
            Some(last) if !fresh || same(&last) => _ = seen.insert(name.clone(), last.clone()),
            _ if fresh => _ = seen.insert(name.clone(), now),
            _ => {}
        }
        found.insert(name.clone(), nodes);
    }
    let (config, conflicts) = config.with_discovered(&found, &named);
    failures.extend(conflicts.into_iter().map(|(node, certificate, other, conflict)| {
        let (what, next) = match conflict {
            Conflict::File => (
                format!("{node}: {certificate} and {other} would be in one file there"),
                "give each its own path, with {name} in it",
            ),
            Conflict::Handshake => (
                format!("{node}: one handshake would be for {certificate} and {other}, and a server shows one of them"),
                "make them one certificate with all names, or give each another `probe.sni`",
            ),
        };
        failure(Code::DiscoverConflict, node, what, next, Advice::Person)
    }));
    Discovered { config, failures, seen }
}

async fn shown(resolvers: &Result<Resolvers, String>, name: &DnsName) -> Result<BTreeSet<IpAddr>, String> {
    let resolvers = resolvers.as_ref().map_err(Clone::clone)?;
    match timeout(PATIENCE, dns::addresses(resolvers, name.as_str())).await {
        Ok(Ok((_, answers))) => Ok(dns::union(&answers)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{name}: no answer within {} s", PATIENCE.as_secs())),
    }
}

/// The families that any certificate wants; each certificate then takes its own.
fn families(config: &Config, name: &DnsName) -> Families {
    let of_name = config.certificates.iter().filter_map(|certificate| certificate.discover.as_ref());
    let mut all = of_name.filter(|discover| discover.name == *name).map(|discover| discover.families);
    let first = all.next().unwrap_or_default();
    if all.all(|other| other == first) { first } else { Families::Both }
}

/// The addresses of nodes that are configured by name; empty if the name does not resolve.
pub(crate) async fn named(config: &Config) -> BTreeMap<NodeName, BTreeSet<IpAddr>> {
    let mut asked = Vec::new();
    for node in &config.nodes {
        for host in node.addresses.iter().filter(|host| matches!(host, Host::Name(_))) {
            asked.push(async move {
                let looked_up = timeout(PATIENCE, resolve(host, PROBE_PORT)).await;
                (node.name.clone(), looked_up.ok().and_then(Result::ok).unwrap_or_default())
            });
        }
    }
    let mut named: BTreeMap<NodeName, BTreeSet<IpAddr>> = BTreeMap::new();
    for (node, addresses) in join_all(asked).await {
        named.entry(node).or_default().extend(addresses.iter().map(core::net::SocketAddr::ip));
    }
    named
}

/// The addresses for which a host key is pinned.
struct Trusted<'a> {
    config: &'a Config,
    named: &'a BTreeMap<NodeName, BTreeSet<IpAddr>>,
    known_hosts: BTreeMap<&'a Path, String>,
}

impl<'a> Trusted<'a> {
    fn new(config: &'a Config, named: &'a BTreeMap<NodeName, BTreeSet<IpAddr>>) -> Self {
        let discover = config.certificates.iter().filter_map(|certificate| certificate.discover.as_ref());
        let paths: BTreeSet<&Path> =
            discover.flat_map(|discover| &discover.ssh.known_hosts).map(PathBuf::as_path).collect();
        // A file that cannot be read pins nothing here; the login that needs it reports that.
        let read = |path: &'a Path| (path, std::fs::read_to_string(path).unwrap_or_default());
        Self { config, named, known_hosts: paths.into_iter().map(read).collect() }
    }

    fn is_pinned(&self, address: IpAddr) -> bool {
        let configured = self.config.nodes.iter().any(|node| node.addresses.contains(&Host::Ip(address)));
        let discover = self.config.certificates.iter().filter_map(|certificate| certificate.discover.as_ref());
        let pinned = |discover: &Arc<crate::config::Discover>| {
            let texts = discover.ssh.known_hosts.iter().filter_map(|path| self.known_hosts.get(path.as_path()));
            let known = || known_hosts(texts.map(String::as_str), &address.to_string(), discover.ssh.port);
            discover.host_keys.get(&address).is_some_and(|keys| !keys.is_empty()) || !known().keys.is_empty()
        };
        configured || self.named.values().any(|at| at.contains(&address)) || discover.clone().any(pinned)
    }
}

fn finding_of(name: &DnsName, notice: &DiscoveryNote) -> Finding {
    let add = "create A or AAAA records with the nodes' addresses there, or list them in [[node]]";
    let (code, what, next) = match notice {
        DiscoveryNote::Kept { since, answered, why } => {
            let what = format!("{why}; the nodes are those that it showed {}", report::minute(*since));
            let (code, next) = match answered {
                true => (
                    Code::DiscoverEmpty,
                    "if it should have no nodes any more, remove the certificate from the configuration",
                ),
                false => (Code::DiscoverKept, "nothing if DNS recovers; otherwise check `dns` in the configuration"),
            };
            (code, what, next)
        }
        DiscoveryNote::Nothing { why } => (Code::DiscoverNothing, format!("{why}; none of its nodes is known"), add),
        DiscoveryNote::Refused { addresses } => {
            let all: Vec<String> = addresses.iter().take(10).map(ToString::to_string).collect();
            let what = format!("shows {} that cannot belong to a node: {}", addresses.len(), all.join(", "));
            (
                Code::DiscoverRefused,
                what,
                "remove these records; an address of this machine itself needs its key pinned (certd trust ADDRESS)",
            )
        }
        DiscoveryNote::TooMany { shown } => {
            let what = format!(
                "shows {shown} addresses: those after the first {} are left out",
                crate::config::defaults::MOST_DISCOVERED
            );
            (Code::DiscoverTooMany, what, "find out who made these records; list that many nodes in [[node]]")
        }
    };
    failure(code, name, what, next, Advice::Person)
}
