//! Gather facts and change nothing: what the store holds, what each node serves.

mod target;

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{CertName, Roots};
use crate::config::{Certificate, Config, Host, Via};
use crate::observed::{Asked, Observed, Served, Silence};
use crate::report::Done;
use crate::store::{Store, StoreError};

use super::failure::of_damage;
use super::secrets::Secrets;
use super::through;

pub(super) use target::{LOOPBACK, Target};

/// TCP and TLS together. A black hole costs the whole pass this long and no longer, since all nodes are asked at once.
pub(super) const PROBE_DEADLINE: Duration = Duration::from_secs(8);
/// Handshakes in flight: well below the usual limit of 1,024 open files.
const PROBES: usize = 400;

/// # Errors
/// The state directory cannot be read. What a node does or fails to do is a fact and no error.
pub async fn observe(
    config: &Arc<Config>,
    secrets: &Arc<Secrets>,
    store: &Store,
    roots: &Roots,
    asked: Asked,
) -> Result<Observed, StoreError> {
    let mut observed = known(config, store, asked)?;
    observed.served = probe_all(config, secrets, &observed.asked, roots).await;
    Ok(observed)
}

/// What was found broken in the store while it was read.
pub fn damages(store: &Store) -> Done {
    Done { failures: store.damages().iter().map(of_damage).collect(), ..Done::default() }
}

/// Revocations that were begun and not ended, and when. One that cannot be read is a damage that the store tells.
pub fn revocations(store: &Store, observed: &Observed) -> BTreeMap<CertName, Timestamp> {
    let begun = |name: &CertName| Some((name.clone(), store.revocation(name).ok()??.begun_at));
    observed.store.keys().filter_map(begun).collect()
}

/// What the store holds.
pub(super) fn known(config: &Config, store: &Store, asked: Asked) -> Result<Observed, StoreError> {
    let mut observed = Observed { asked, tried: store.tried()?, ledger: store.ledger()?, ..Observed::default() };
    for certificate in wanted(config, &observed.asked) {
        observed.store.insert(certificate.name.clone(), store.stored(&certificate.name)?);
    }
    Ok(observed)
}

/// What each node serves, in the configuration's order.
pub(super) async fn probe_all(
    config: &Arc<Config>,
    secrets: &Arc<Secrets>,
    asked: &Asked,
    roots: &Roots,
) -> Vec<Served> {
    let (direct, sessions) = (Arc::new(Semaphore::new(PROBES)), Arc::new(Semaphore::new(config.sessions)));
    let mut probes = JoinSet::new();
    // One for all certificates of a node: it counts the logins there.
    let mut openers = BTreeMap::new();
    for certificate in wanted(config, asked) {
        for node in certificate.nodes.iter().filter(|node| asked.wants_node(node)) {
            let Some(node) = config.node(node) else { continue };
            let open = openers.entry(&node.name).or_insert_with(|| through::session_each(config, secrets, node));
            for target in Target::all(certificate, node, open) {
                let number = probes.len();
                let permits = if node.probe.via == Via::Ssh { &sessions } else { &direct };
                let (roots, permits) = (roots.clone(), Arc::clone(permits));
                probes.spawn(async move {
                    let _permit = permits.acquire_owned().await;
                    (number, target.look(&roots).await)
                });
            }
        }
    }
    // A panic in one handshake leaves that one unseen.
    let mut served: Vec<(usize, Vec<Served>)> = Vec::new();
    while let Some(joined) = probes.join_next().await {
        served.extend(joined.ok());
    }
    served.sort_by_key(|(number, _)| *number);
    served.into_iter().flat_map(|(_, served)| served).collect()
}

fn wanted<'a>(config: &'a Config, asked: &'a Asked) -> impl Iterator<Item = &'a Certificate> {
    config.certificates.iter().filter(|certificate| asked.wants(&certificate.name))
}

/// All addresses of a host, in a stable order.
pub async fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, Silence> {
    let name = match host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => name,
    };
    let looked_up = tokio::time::timeout(PROBE_DEADLINE, tokio::net::lookup_host((name.as_str(), port))).await;
    let mut addresses: Vec<SocketAddr> = match looked_up {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(Silence::Unresolved(format!("{name}: {error}"))),
        Err(_) => return Err(Silence::Unresolved(format!("{name}: no answer from DNS"))),
    };
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err(Silence::Unresolved(format!("{name} has no address"))) } else { Ok(addresses) }
}
