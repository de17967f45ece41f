//! Compares DNS with the nodes: one query per name and server, in parallel with the handshakes and bounded in time.
//! Missing answers are reported but never block a renewal or a delivery.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::acme;
use crate::cert::{DnsName, NodeName};
use crate::config::{Acme, Certificate, Config, Host};
use crate::dns;
use crate::model::{Caa, Depth, InDns, Inventory, Named, Scope};
use crate::plan::inventory::strangers;
use crate::store::Store;

use crate::context::{Context, ca, provider};
use crate::observe::discover;

/// For all names together, which are queried at the same time.
const DEADLINE: Duration = Duration::from_secs(5);
/// For the additional queries to the provider's API and the CA's directory.
const EXTRA: Duration = Duration::from_secs(5);
/// Names queried at once. Each needs a few sockets for each of its servers.
const NAMES: usize = 24;

/// `None`: there is nothing to ask. Read-only commands query neither the provider's API nor the CA's directory.
pub async fn inventory(context: &Context, scope: &Scope) -> Option<Inventory> {
    let mut inventory = ask(context, scope).await?;
    if matches!(scope.depth, Depth::Rehearse | Depth::Due) {
        let _ = timeout(EXTRA, more(context, scope, &mut inventory)).await;
    }
    Some(inventory)
}

async fn ask(context: &Context, scope: &Scope) -> Option<Inventory> {
    let config = &context.config;
    let names: BTreeSet<DnsName> =
        wanted(config, scope).flat_map(|certificate| certificate.names.iter().cloned()).collect();
    if names.is_empty() {
        return None;
    }
    let resolvers = provider::resolvers(context).map(|(resolvers, _)| resolvers).map_err(|failure| failure.what);
    let permits = Arc::new(Semaphore::new(NAMES));
    let mut looks = JoinSet::new();
    for name in names {
        let (resolvers, permits) = (resolvers.clone(), Arc::clone(&permits));
        let public = config.dns.inventory_resolvers.clone();
        looks.spawn(async move {
            let look = async {
                let _permit = permits.acquire_owned().await;
                match &resolvers {
                    Ok(resolvers) => dns::in_dns(resolvers, &public, &name).await,
                    Err(why) => unasked(&name, why.clone()),
                }
            };
            let late = |_| unasked(&name, format!("no answer within {} s", DEADLINE.as_secs()));
            timeout(DEADLINE, look).await.unwrap_or_else(late)
        });
    }
    let (mut names, named) = tokio::join!(looks.join_all(), discover::named(config));
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let cas = config.cas().map(|ca| (ca.host.clone(), known(&context.store, ca))).collect();
    Some(Inventory { names, nodes: nodes(config, &named), cas })
}

fn wanted<'a>(config: &'a Config, scope: &'a Scope) -> impl Iterator<Item = &'a Certificate> {
    let whole = scope.wants_every_node();
    config.certificates.iter().filter(move |it| whole && it.inventory && scope.wants(&it.name))
}

fn unasked(name: &DnsName, why: String) -> InDns {
    InDns {
        name: name.clone(),
        alias: None,
        authoritative: Vec::new(),
        public: Vec::new(),
        caa: Caa::Unknown(why.clone()),
        provider: Vec::new(),
        trouble: Some(why),
    }
}

fn nodes(
    config: &Config,
    named: &BTreeMap<NodeName, BTreeSet<core::net::IpAddr>>,
) -> BTreeMap<NodeName, Result<BTreeSet<core::net::IpAddr>, String>> {
    let of = |node: &crate::config::Node| {
        let own = node.addresses.iter().filter_map(|host| match host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        });
        let all: BTreeSet<_> = own.chain(named.get(&node.name).into_iter().flatten().copied()).collect();
        let by_name = node.addresses.iter().any(|host| matches!(host, Host::Name(_)));
        let lost = by_name && named.get(&node.name).is_none_or(BTreeSet::is_empty);
        let at = if lost { Err("its name does not resolve".to_owned()) } else { Ok(all) };
        (node.name.clone(), at)
    };
    config.nodes.iter().map(of).collect()
}

fn known(store: &Store, ca: &Acme) -> Named {
    let account = store.account(&ca.host).ok().flatten().and_then(|account| account.url);
    Named { identities: ca.caa_identities().iter().map(|identity| (*identity).to_owned()).collect(), account }
}

/// Queries that only matter in some cases: whether a name is proxied, if DNS shows an address that belongs to no node;
/// and the CA's own issuer names, if CAA records restrict who may issue.
async fn more(context: &Context, scope: &Scope, inventory: &mut Inventory) {
    let config = &context.config;
    let strange = |name: &InDns| {
        let mut of_name =
            wanted(config, scope).filter(|certificate| certificate.names.iter().any(|own| *own == name.name));
        of_name.any(|certificate| !strangers(certificate, inventory, name).is_empty())
    };
    let strange: Vec<DnsName> = inventory.names.iter().filter(|name| strange(name)).map(|it| it.name.clone()).collect();
    let restricted = inventory.names.iter().any(|name| matches!(name.caa, Caa::Restricted(_)));
    for ca in config.cas() {
        let Some(named) = inventory.cas.get_mut(&ca.host).filter(|it| restricted && it.identities.is_empty()) else {
            continue;
        };
        let Ok(http) = ca::http(context, ca) else { continue };
        if let Ok(about) = acme::about(&http).await {
            named.identities = about.caa_identities.into_iter().collect();
        }
    }
    for name in strange {
        let Ok(records) = provider::at_provider(context, name.as_str()).await else { continue };
        if let Some(found) = inventory.names.iter_mut().find(|it| it.name == name) {
            found.provider = records;
        }
    }
}
