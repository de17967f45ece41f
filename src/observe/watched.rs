//! Watched endpoints, which others maintain. Probed like nodes; the result only appears in the report.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{DnsName, Roots, WatchName};
use crate::config::{Config, Host};
use crate::model::{Scope, Seen, Watched};
use crate::probe;

use crate::context::clock;
use crate::context::watch_roots::WatchRoots;
use crate::observe::route::{PROBE_DEADLINE, resolve};

/// Concurrent handshakes, in addition to those with nodes: both together stay below the usual limit of 1,024 open
/// files.
const PROBES: usize = 100;

/// What each selected endpoint serves, in the configuration's order.
pub async fn look(config: &Config, scope: &Scope, roots: &WatchRoots) -> Vec<Watched> {
    let permits = Arc::new(Semaphore::new(PROBES));
    let mut looks = JoinSet::new();
    for watch in config.watches.iter().filter(|watch| scope.wants_watch(&watch.name)) {
        let roots = roots.of(&watch.name).cloned();
        for (host, sni) in watch.targets.iter().cloned() {
            let (number, name, port) = (looks.len(), watch.name.clone(), watch.port);
            let (roots, permits) = (roots.clone(), Arc::clone(&permits));
            looks.spawn(async move { (number, at_host(name, host, port, sni, roots, &permits).await) });
        }
    }
    let mut watched: Vec<(usize, Vec<Watched>)> = looks.join_all().await;
    watched.sort_by_key(|(number, _)| *number);
    watched.into_iter().flat_map(|(_, watched)| watched).collect()
}

/// One handshake with every address of the host.
async fn at_host(
    name: WatchName,
    host: Host,
    port: u16,
    sni: DnsName,
    roots: Option<Roots>,
    permits: &Arc<Semaphore>,
) -> Vec<Watched> {
    let watched = {
        let (name, sni) = (name, sni.clone());
        move |address, seen| Watched { name: name.clone(), address, sni: sni.clone(), seen }
    };
    let addresses = match resolve(&host, port).await {
        Ok(addresses) => addresses,
        Err(silence) => return vec![watched(None, Seen::Silence(silence))],
    };
    let mut looks = JoinSet::new();
    for address in addresses {
        let (sni, roots, permits) = (sni.clone(), roots.clone(), Arc::clone(permits));
        looks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            (address, seen(probe::handshake(address, &sni, PROBE_DEADLINE).await, roots.as_ref()))
        });
    }
    let mut looks = looks.join_all().await;
    looks.sort_by_key(|(address, _)| *address);
    looks.into_iter().map(|(address, seen)| watched(Some(address), seen)).collect()
}

fn seen(handshake: Result<Vec<Vec<u8>>, crate::model::ProbeError>, roots: Option<&Roots>) -> Seen {
    let ders = match handshake {
        Ok(ders) => ders,
        Err(silence) => return Seen::Silence(silence),
    };
    match (roots, clock::now()) {
        (Some(roots), now) => Seen::of(ders, roots, now),
        (None, now) => match Seen::of(ders, &Roots::from_ders::<Vec<u8>>([]), now) {
            Seen::Leaf { leaf, .. } => Seen::Leaf { leaf, distrust: None },
            silence => silence,
        },
    }
}
