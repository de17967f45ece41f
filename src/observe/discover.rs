//! Nodes that DNS names. They are asked for at the beginning of every pass and of every look; from then on they are nodes
//! as others are. DNS that is down leaves those that it named last.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::cert::{DnsName, NodeName};
use crate::config::{Config, Families, Host};
use crate::dns::{self, Resolvers};
use crate::model::{Advice, Code, Finding, LastSeen, Learned};
use crate::plan::discovery::{self, DiscoveryNote, Settled};
use crate::report;
use crate::ssh::known_hosts;
use crate::store::StoreError;

use crate::context::failure::failure;
use crate::context::provider;
use crate::context::{Context, clock};
use crate::observe::route::resolve;

/// For everything: DNS that answers does it in a fraction of that.
const PATIENCE: Duration = Duration::from_secs(5);

/// What DNS came to.
struct Discovered {
    /// With the nodes that it named.
    config: Config,
    failures: Vec<Finding>,
    /// To be known when it does not answer.
    seen: BTreeMap<DnsName, LastSeen>,
}

impl Context {
    /// To be called before a pass. What a person should know of it is in the pass's report.
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

/// For one look: the state as it is now, and the nodes that DNS names now. Nothing is kept.
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
    Ok((Arc::new(context.of_a_look(&config)?), failures))
}

async fn discovered(context: &Context) -> Discovered {
    let learned = context.store.learned().unwrap_or_default();
    let resolvers = provider::resolvers(context).map(|(resolvers, _)| resolvers).map_err(|failure| failure.what);
    discover(&context.config, resolvers, &learned).await
}

async fn discover(config: &Config, resolvers: Result<Resolvers, String>, learned: &Learned) -> Discovered {
    let names = config.discovers();
    let mut asked = Vec::new();
    for name in &names {
        asked.push(shown(&resolvers, name));
    }
    let (shown, named) = tokio::join!(join_all(asked), named(config));
    let trusted = Trusted::new(config, &named);
    let (mut found, mut seen, mut failures) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for (name, shown) in names.into_iter().zip(shown) {
        let last = learned.discovered.get(name);
        let Settled { nodes, heard, notes } =
            discovery::settle(shown, families(config, name), last, |address| trusted.is_pinned(address));
        failures.extend(notes.iter().map(|note| of_note(name, note)));
        let now = LastSeen { at: clock::now(), addresses: nodes.clone() };
        // An equal set is written again once a day: the instant is for people.
        let same =
            |last: &&LastSeen| last.addresses == now.addresses && now.at.duration_since(last.at).as_hours().abs() < 24;
        match last {
            Some(last) if !heard || same(&last) => _ = seen.insert(name.clone(), last.clone()),
            _ if heard => _ = seen.insert(name.clone(), now),
            _ => {}
        }
        found.insert(name.clone(), nodes);
    }
    let (config, conflicts) = config.with_discovered(&found, &named);
    failures.extend(conflicts.into_iter().map(|(node, certificate)| {
        let what = format!("{node}: {} and another certificate would be in one file there", certificate.name);
        let next = "give each a path of its own, with {name} in it";
        failure(Code::DiscoverConflict, node, what, next, Advice::Person)
    }));
    Discovered { config, failures, seen }
}

async fn shown(resolvers: &Result<Resolvers, String>, name: &DnsName) -> Result<BTreeSet<IpAddr>, String> {
    let resolvers = resolvers.as_ref().map_err(Clone::clone)?;
    match timeout(PATIENCE, dns::addresses(resolvers, name.as_str())).await {
        Ok(Ok((_, told))) => Ok(dns::union(&told)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("{name}: no answer within {} s", PATIENCE.as_secs())),
    }
}

/// All that are asked for by any certificate; each takes its own then.
fn families(config: &Config, name: &DnsName) -> Families {
    let of_name = config.certificates.iter().filter_map(|certificate| certificate.discover.as_ref());
    let mut all = of_name.filter(|discover| discover.name == *name).map(|discover| discover.families);
    let first = all.next().unwrap_or_default();
    if all.all(|other| other == first) { first } else { Families::Both }
}

/// The addresses of nodes that are configured by a name; one that cannot be looked up has none.
pub(crate) async fn named(config: &Config) -> BTreeMap<NodeName, BTreeSet<IpAddr>> {
    let mut asked = Vec::new();
    for node in &config.nodes {
        for host in node.addresses.iter().filter(|host| matches!(host, Host::Name(_))) {
            asked.push(async move {
                let looked_up = timeout(PATIENCE, resolve(host, node.probe.port)).await;
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

/// For which addresses a host key is pinned.
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
        // One that cannot be read pins nothing here, and is told where it is needed.
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

fn of_note(name: &DnsName, note: &DiscoveryNote) -> Finding {
    let add = "make A or AAAA records with the nodes' addresses there, or name them in [[node]]";
    let (code, what, next) = match note {
        DiscoveryNote::Kept { since, answered, why } => {
            let what = format!("{why}; the nodes are those that it showed {}", report::minute(*since));
            let (code, next) = match answered {
                true => (
                    Code::DiscoverEmpty,
                    "if it is to have no nodes any more, remove the certificate from the configuration",
                ),
                false => (Code::DiscoverKept, "nothing, if DNS comes back; else see `dns` in the configuration"),
            };
            (code, what, next)
        }
        DiscoveryNote::Nothing { why } => (Code::DiscoverNothing, format!("{why}; no node of it is known"), add),
        DiscoveryNote::Refused { addresses } => {
            let all: Vec<String> = addresses.iter().take(10).map(ToString::to_string).collect();
            let what = format!("shows {} that can be no node's: {}", addresses.len(), all.join(", "));
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
            (Code::DiscoverTooMany, what, "see who made these records; name so many nodes in [[node]]")
        }
    };
    failure(code, name, what, next, Advice::Person)
}
