//! What DNS shows of the certificates' names, and what answers at each address. Changes nothing.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use crate::cert::DnsName;
use crate::config::defaults::PROBE_PORT;
use crate::config::{Config, StartTls};
use crate::context::progress::Event;
use crate::context::{Context, clock, provider};
use crate::model::{Finding, InDns, RecordKind, Rotation, Scope, Seen};
use crate::observe::route::PROBE_DEADLINE;
use crate::observe::{self, discover, gather};
use crate::plan;
use crate::probe::{self, Route};
use crate::report::{self, DnsCheck, Stranger};
use crate::{dns, report::Report};

/// Addresses of one name that are no node's and are asked for their certificate: DNS may show a thousand.
const MOST_STRANGERS: usize = 32;
/// Names whose servers are asked at once.
const NAMES: usize = 8;
/// For all questions about one name's rotation; what is counted by then is shown.
const ROTATION: core::time::Duration = core::time::Duration::from_secs(30);

/// `questions`: for each name, server and kind of record, to see how answers rotate.
///
/// # Errors
/// The state directory cannot be read.
pub async fn check(context: &Context, scope: Scope, questions: u32) -> Result<DnsCheck, Finding> {
    let (context, discovery) = discover::for_a_look(context).await?;
    let observed = gather(&context, scope).await?;
    let names: &[InDns] = observed.inventory.as_ref().map(|inventory| inventory.names.as_slice()).unwrap_or_default();
    let plain = names.iter().filter(|name| !name.name.is_wildcard());
    let permits = Arc::new(Semaphore::new(NAMES));
    let (rotations, strangers) = tokio::join!(
        join_all(plain.clone().map(|name| rotation(&context, name, questions, &permits))),
        join_all(plain.clone().map(|name| strangers(&context, &observed, name, &permits))),
    );
    let mut done = observe::damages(&context.store);
    done.failures.extend(discovery);
    let now = clock::now();
    let plan = plan::plan(&context.config, &observed, now);
    let looked: Report = report::build("dns check", &context.config, &observed, plan, done, false, now);
    let rotations: BTreeMap<DnsName, Vec<Rotation>> = plain.map(|name| name.name.clone()).zip(rotations).collect();
    let strangers: Vec<Stranger> = strangers.into_iter().flatten().collect();
    context.progress.say(Event::Over);
    Ok(report::dns_check(&context.config, &observed, looked, &strangers, rotations, now))
}

/// Empty where the name has no address, or nobody answers: the inventory says so.
async fn rotation(context: &Context, name: &InDns, questions: u32, permits: &Semaphore) -> Vec<Rotation> {
    let addresses = name.addresses();
    let has = |of: fn(&IpAddr) -> bool| addresses.iter().any(of);
    let mut kinds = Vec::new();
    kinds.extend(has(IpAddr::is_ipv4).then_some(RecordKind::A));
    kinds.extend(has(IpAddr::is_ipv6).then_some(RecordKind::Aaaa));
    if questions == 0 || kinds.is_empty() {
        return Vec::new();
    }
    let Ok((resolvers, _)) = provider::resolvers(context) else { return Vec::new() };
    let _permit = permits.acquire().await;
    let _waiting = context.progress.waiting("rotation of", &name.name);
    let public = &context.config.dns.inventory_resolvers;
    dns::rotation(&resolvers, public, name.name.as_str(), &kinds, questions, ROTATION).await.unwrap_or_default()
}

/// How visitors of a name come, as far as the nodes that have its certificate show.
fn way_of_visitors(config: &Config, name: &DnsName) -> (u16, Option<StartTls>) {
    let of_name = config.certificates.iter().filter(|certificate| certificate.sni.contains(name));
    let mut probes = of_name.flat_map(|certificate| {
        let nodes = certificate.nodes.iter().filter_map(|node| config.node(node));
        nodes.filter_map(move |node| node.probes_of(&certificate.name).first())
    });
    probes.next().map_or((PROBE_PORT, None), |probe| (probe.port, probe.starttls))
}

/// What answers where DNS leads visitors, and no node of the configuration is.
async fn strangers(
    context: &Context,
    observed: &crate::model::Observed,
    name: &InDns,
    permits: &Semaphore,
) -> Vec<Stranger> {
    let Some(inventory) = &observed.inventory else { return Vec::new() };
    let nodes: BTreeSet<IpAddr> =
        inventory.nodes.values().filter_map(|at| at.as_ref().ok()).flatten().copied().collect();
    let asked = name.addresses().into_iter().filter(|address| !nodes.contains(address)).take(MOST_STRANGERS);
    let (port, starttls) = way_of_visitors(&context.config, &name.name);
    let ask = async |address: IpAddr| {
        let _permit = permits.acquire().await;
        let at = SocketAddr::new(address, port);
        let route = Route::Tcp { address: at, proxy_protocol: None, starttls };
        let seen = match probe::handshake(route, &name.name, PROBE_DEADLINE).await {
            Ok(ders) => Seen::of(ders, &context.roots, clock::now()),
            Err(silence) => Seen::Silence(silence),
        };
        Stranger { name: name.name.clone(), at, seen }
    };
    join_all(asked.map(ask)).await
}
