//! Endpoints that others keep. Each is asked as a node is, and nothing follows from the answer but the report.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{DnsName, Roots, WatchName};
use crate::config::{Config, Host, Watch};
use crate::observed::{Advice, Asked, Failure, Seen, Watched};
use crate::probe;

use super::clock;
use super::failure::failure;
use super::observe::{PROBE_DEADLINE, resolve};
use super::secrets::{public, system_roots};

/// Handshakes in flight, beside those with nodes: both together stay below the usual limit of 1,024 open files.
const PROBES: usize = 100;

/// What each endpoint's chain is judged by: the system's roots, whatever `acme.issuer_root_file` says, and its own
/// `ca_file`. A file that cannot be read keeps no certificate from being renewed: the endpoint's chain is not judged
/// then, and the report says so.
#[derive(Clone, Default)]
pub struct WatchRoots(BTreeMap<WatchName, Result<Roots, Failure>>);

impl WatchRoots {
    /// Before privileges are given up.
    pub fn read(config: &Config) -> Self {
        if config.watches.is_empty() {
            return Self::default();
        }
        let system = system_roots();
        Self(config.watches.iter().map(|watch| (watch.name.clone(), roots(config, watch, &system))).collect())
    }

    /// Of the endpoints that are asked for.
    pub fn failures(&self, asked: &Asked) -> Vec<Failure> {
        let failed = |(_, roots): (_, &Result<Roots, Failure>)| roots.as_ref().err().cloned();
        let mut failures: Vec<Failure> =
            self.0.iter().filter(|(name, _)| asked.wants_watch(name)).filter_map(failed).collect();
        failures.dedup();
        failures
    }
}

fn roots(config: &Config, watch: &Watch, system: &Roots) -> Result<Roots, Failure> {
    // One code for all: in the report it is a warning, since nothing but this judgement is lost.
    let bad = |object: &dyn core::fmt::Display, what: &dyn core::fmt::Display, next: &str| {
        failure(
            "watch-root",
            object,
            format!("{what}; the chain of {} is not judged", watch.name),
            next,
            Advice::Person,
        )
    };
    let Some(path) = &watch.ca_file else {
        let next = "install the package ca-certificates, or set ca_file below [[watch]]";
        let none = || bad(&"this system", &"trusts no root certificate", next);
        return if system.is_empty() { Err(none()) } else { Ok(system.clone()) };
    };
    let text = public(config, "watch.ca_file", path);
    let text = text.map_err(|failure| bad(&path.display(), &failure.what, &failure.next))?;
    let next = "write the PEM of the root certificate into it";
    system.and(&text).map_err(|malformed| bad(&path.display(), &malformed, next))
}

/// What each endpoint that is asked for serves, in the configuration's order.
pub async fn look(config: &Config, asked: &Asked, roots: &WatchRoots) -> Vec<Watched> {
    let permits = Arc::new(Semaphore::new(PROBES));
    let mut looks = JoinSet::new();
    for watch in config.watches.iter().filter(|watch| asked.wants_watch(&watch.name)) {
        let roots = roots.0.get(&watch.name).and_then(|roots| roots.as_ref().ok()).cloned();
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

fn seen(shaken: Result<Vec<Vec<u8>>, crate::observed::Silence>, roots: Option<&Roots>) -> Seen {
    let ders = match shaken {
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
