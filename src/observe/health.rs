//! Health checks: one HTTPS request to each address of a node, with the service's name. One attempt each.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{CertName, DnsName, NodeName, Roots};
use crate::config::{Certificate, Config, Health as HealthConfig, Host, Node, Probe, Via};
use crate::context::{Context, Secrets, clock};
use crate::model::{Health, HealthAnswer, HealthPlace, ProbeError, Scope, Seen};
use crate::mutex::lock;
use crate::plan::health::{AT_ONCE, Answered, after};
use crate::probe::{Get, HttpError, Response, Route, get};

use super::route::{LOOPBACK, resolve};
use super::ssh_tunnel::{PortOpener, session_each};

/// Requests at once, below the usual limit of 1,024 open files with the handshakes beside them.
pub(crate) const REQUESTS: usize = 200;
/// Addresses of one name that are asked: DNS may show a thousand.
const MOST_ADDRESSES: usize = 16;

/// What the requests of one round share: the logins at each node, and what jump hosts have refused. The next round tries again
/// what has failed.
pub(crate) struct Round {
    config: Arc<Config>,
    secrets: Arc<Secrets>,
    roots: Roots,
    openers: Mutex<BTreeMap<NodeName, PortOpener>>,
}

impl Round {
    /// `config`: with the nodes that DNS names.
    pub(crate) fn new(config: Arc<Config>, secrets: Arc<Secrets>, roots: Roots) -> Self {
        Self { config, secrets, roots, openers: Mutex::default() }
    }

    /// One for all certificates of a node, since it limits the logins there. `None`: the configuration has lost the node.
    fn opener(&self, node: &NodeName) -> Option<PortOpener> {
        let node = self.config.node(node)?;
        let mut openers = lock(&self.openers);
        let new = || session_each(&self.config, &self.secrets, node);
        Some(Arc::clone(openers.entry(node.name.clone()).or_insert_with(new)))
    }
}

/// One host of a node, asked for the service of a certificate.
#[derive(Clone)]
pub(crate) struct HealthTarget {
    pub(crate) certificate: CertName,
    pub(crate) node: NodeName,
    pub(crate) health: Arc<HealthConfig>,
    name: DnsName,
    probe: Probe,
    address: Address,
}

#[derive(Clone)]
enum Address {
    Host(Host),
    /// The node's own loopback, through SSH.
    Loopback,
}

/// A host of a node; `None`: its loopback, through SSH.
pub(crate) type TargetKey = (CertName, NodeName, Option<Host>);

impl HealthTarget {
    pub(crate) fn key(&self) -> TargetKey {
        let host = match &self.address {
            Address::Host(host) => Some(host.clone()),
            Address::Loopback => None,
        };
        (self.certificate.clone(), self.node.clone(), host)
    }

    /// Whether this can be one of its places.
    pub(crate) fn is_at(&self, place: &HealthPlace) -> bool {
        let same = (&self.certificate, &self.node) == (&place.certificate, &place.node);
        let address = match (&self.address, place.address) {
            (Address::Host(Host::Ip(ip)), Some(address)) => address == SocketAddr::new(*ip, self.probe.port),
            (Address::Loopback, Some(address)) => address.ip() == LOOPBACK,
            _ => true,
        };
        same && address
    }

    /// Every host of every node that a certificate in the scope is for.
    pub(crate) fn all(config: &Config, scope: &Scope) -> Vec<Self> {
        let mut targets = Vec::new();
        for certificate in config.certificates.iter().filter(|certificate| scope.wants(&certificate.name)) {
            for node in certificate.nodes.iter().filter(|node| scope.wants_node(node)) {
                let Some(node) = config.node(node) else { continue };
                targets.extend(Self::of(config, certificate, node));
            }
        }
        targets
    }

    fn of(config: &Config, certificate: &Certificate, node: &Node) -> Vec<Self> {
        let Some(health) = config.health(certificate, node) else { return Vec::new() };
        let (Some(probe), Some(name)) = (health.probe(node.probes_of(&certificate.name)), certificate.sni.first())
        else {
            return Vec::new();
        };
        let health = Arc::new(health);
        let addresses = match probe.via {
            Via::Direct => node.addresses.iter().cloned().map(Address::Host).collect(),
            Via::Ssh => vec![Address::Loopback],
        };
        let target = |address| Self {
            certificate: certificate.name.clone(),
            node: node.name.clone(),
            health: Arc::clone(&health),
            name: name.clone(),
            probe: probe.clone(),
            address,
        };
        addresses.into_iter().map(target).collect()
    }

    /// What every resolved address of the host answers. An answer of no address concerns them all.
    pub(crate) async fn ask(&self, round: &Round) -> Vec<Answered> {
        let headers = match &self.health.headers_file {
            Some(file) => round.secrets.health_headers.of(file),
            None => Ok(HeaderMap::new()),
        };
        let headers = match headers {
            Ok(headers) => headers,
            Err(failure) => return vec![self.answered(None, HealthAnswer::Unknown { why: failure.named() }, None)],
        };
        let Probe { port, proxy_protocol, .. } = self.probe;
        let routes: Vec<(SocketAddr, Route)> = match &self.address {
            Address::Loopback => {
                let Some(open) = round.opener(&self.node) else { return Vec::new() };
                let route = Route::Through { open: open(port), port, proxy_protocol, starttls: None };
                vec![(SocketAddr::new(LOOPBACK, port), route)]
            }
            Address::Host(host) => match resolve(host, port).await {
                Ok(found) => {
                    let route = |address| (address, Route::Tcp { address, proxy_protocol, starttls: None });
                    found.into_iter().take(MOST_ADDRESSES).map(route).collect()
                }
                Err(error) => return vec![self.answered(None, unanswered(HttpError::Probe(error)), None)],
            },
        };
        let mut asked = Vec::new();
        for (address, route) in routes {
            asked.push(self.ask_at(address, route, headers.clone(), &round.roots));
        }
        futures_util::future::join_all(asked).await
    }

    async fn ask_at(&self, address: SocketAddr, route: Route, headers: HeaderMap, roots: &Roots) -> Answered {
        let ask = Get { name: &self.name, path: &self.health.path, headers, version: self.health.http };
        let accept = |ders| match Seen::of(ders, roots, clock::now()) {
            Seen::Silence(silence) => Err(silence.into()),
            seen => match seen.refused(&self.name, clock::now()) {
                Some(refused) => Err(HttpError::Refused(refused.to_string())),
                None => Ok(()),
            },
        };
        let begun = clock::monotonic();
        let got = get(&route, ask, accept, self.health.timeout).await;
        let took = u32::try_from((clock::monotonic() - begun).as_millis()).unwrap_or(u32::MAX);
        let answer = match got {
            Ok(response) => judged(&self.health, response),
            Err(error) => unanswered(error),
        };
        // Through SSH, a login is most of it.
        let took = matches!(self.address, Address::Host(_)).then_some(took).filter(|_| answer.is_a_response());
        self.answered(Some(address), answer, took)
    }

    fn answered(&self, address: Option<SocketAddr>, answer: HealthAnswer, took_ms: Option<u32>) -> Answered {
        let place = HealthPlace { certificate: self.certificate.clone(), node: self.node.clone(), address };
        Answered { place, name: self.name.clone(), answer, took_ms, at: clock::now() }
    }
}

fn judged(health: &HealthConfig, response: Response) -> HealthAnswer {
    let Response { status, version, location, body } = response;
    let http = version.to_owned();
    if !health.status.contains(&status) {
        return HealthAnswer::Status { status, http, location };
    }
    let holds = |text: &String| body.windows(text.len()).any(|part| part == text.as_bytes());
    match health.body.as_ref().is_none_or(holds) {
        true => HealthAnswer::Well { status, http },
        false => HealthAnswer::Body { status, http },
    }
}

fn unanswered(error: HttpError) -> HealthAnswer {
    let why = error.to_string();
    match error {
        // Without an address nobody was asked.
        HttpError::Probe(ProbeError::Unresolved(_)) => HealthAnswer::Unknown { why },
        HttpError::Probe(ProbeError::NoRoute(_)) => HealthAnswer::NoRoute { why },
        HttpError::Probe(error) if error.says_nothing_of_visitors() => HealthAnswer::Unknown { why },
        HttpError::Probe(ProbeError::Tls(_)) | HttpError::NoTls | HttpError::Refused(_) => HealthAnswer::Tls { why },
        HttpError::Probe(_) => HealthAnswer::NoAnswer { why },
        HttpError::Late(_) | HttpError::Closed(_) | HttpError::NoResponse(_) => HealthAnswer::NoResponse { why },
        HttpError::NotHttp(_) => HealthAnswer::NotHttp { why },
    }
}

/// Older states say nothing of now.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// Whether what was noted earlier still says something of now.
pub(crate) fn is_recent(health: &Health, now: Timestamp) -> bool {
    now.duration_since(health.at).abs() < REMEMBERED
}

/// Asks every place in the scope once, and judges by that. What `certd run` has noted adds since when, and the response
/// times of the last hour.
pub(crate) async fn look(context: &Context, scope: &Scope) -> Vec<Health> {
    let targets = HealthTarget::all(&context.config, scope);
    let (config, secrets) = (Arc::clone(&context.config), Arc::clone(&context.secrets));
    let round = Arc::new(Round::new(config, secrets, context.roots.clone()));
    let permits = Arc::new(Semaphore::new(REQUESTS));
    let mut asked = JoinSet::new();
    for target in targets {
        let (round, permits) = (Arc::clone(&round), Arc::clone(&permits));
        let (progress, node) = (context.progress.clone(), target.node.clone());
        asked.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let _waiting = progress.waiting("health of", node);
            target.ask(&round).await
        });
    }
    let mut known: BTreeMap<HealthPlace, Health> = BTreeMap::new();
    let now = clock::now();
    for health in context.store.health().unwrap_or_default().into_iter().filter(|health| is_recent(health, now)) {
        known.insert(health.place.clone(), health);
    }
    // A panic loses only that request.
    let (mut found, mut all) = (Vec::new(), Vec::new());
    while let Some(joined) = asked.join_next().await {
        all.extend(joined.into_iter().flatten());
    }
    // One look is one instant: none of these answers is older than another.
    let at = clock::now();
    for answered in all {
        found.push(after(known.remove(&answered.place), Answered { at, ..answered }, AT_ONCE));
    }
    found.sort_by(|a, b| a.place.cmp(&b.place));
    found
}
