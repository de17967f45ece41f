//! Watched endpoints, which others maintain. Probed like nodes; the result only appears in the report.

use core::net::SocketAddr;
use tokio::task::JoinSet;

use crate::cert::{DnsName, Roots, WatchName};
use crate::config::{Config, Host, StartTls};
use crate::model::{Scope, Seen, Watched};
use crate::probe::{self, Route};

use crate::context::clock;
use crate::context::watch_roots::WatchRoots;
use crate::observe::route::{PROBE_DEADLINE, resolve};

/// What each selected endpoint serves, in the configuration's order.
pub async fn look(config: &Config, scope: &Scope, roots: &WatchRoots) -> Vec<Watched> {
    let mut looks = JoinSet::new();
    for watch in config.watches.iter().filter(|watch| scope.wants_watch(&watch.name)) {
        let roots = roots.of(&watch.name).cloned();
        for (host, sni) in watch.targets.iter().cloned() {
            let (number, endpoint) =
                (looks.len(), Endpoint { name: watch.name.clone(), starttls: watch.starttls, sni });
            let (port, roots) = (watch.port, roots.clone());
            looks.spawn(async move { (number, at_host(endpoint, host, port, roots).await) });
        }
    }
    let mut watched: Vec<(usize, Vec<Watched>)> = looks.join_all().await;
    watched.sort_by_key(|(number, _)| *number);
    watched.into_iter().flat_map(|(_, watched)| watched).collect()
}

#[derive(Clone)]
struct Endpoint {
    name: WatchName,
    starttls: Option<StartTls>,
    sni: DnsName,
}

impl Endpoint {
    fn watched(&self, address: Option<SocketAddr>, seen: Seen) -> Watched {
        Watched { name: self.name.clone(), address, sni: self.sni.clone(), starttls: self.starttls, seen }
    }
}

/// One handshake with every address of the host.
async fn at_host(endpoint: Endpoint, host: Host, port: u16, roots: Option<Roots>) -> Vec<Watched> {
    let addresses = match resolve(&host, port).await {
        Ok(addresses) => addresses,
        Err(silence) => return vec![endpoint.watched(None, Seen::Silence(silence))],
    };
    let mut looks = JoinSet::new();
    for address in addresses {
        let (endpoint, roots) = (endpoint.clone(), roots.clone());
        looks.spawn(async move {
            let route = Route::Tcp { address, proxy_protocol: None, starttls: endpoint.starttls };
            let handshake = probe::handshake(route, &endpoint.sni, PROBE_DEADLINE).await;
            endpoint.watched(Some(address), seen(handshake, roots.as_ref()))
        });
    }
    let mut looks = looks.join_all().await;
    looks.sort_by_key(|watched| watched.address);
    looks
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
