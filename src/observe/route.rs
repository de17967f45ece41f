//! One name at one host of a node, and every route to it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cert::{CertName, DnsName, NodeName, Roots};
use crate::config::{Certificate, Config, Host, Node, Probe, Via};
use crate::model::{Beside, Code, Over, ProbeError, Seen, Served};
use crate::probe::{self, Asked, Keys, Opener, Route};

use crate::context::failure::{bug, failure};
use crate::context::{Secrets, clock};
use crate::model::{Advice, Finding};
use crate::ssh::Endpoint;

/// For TCP and TLS together. Nodes are probed concurrently, so a black hole delays a pass by no more than this.
pub(crate) const PROBE_DEADLINE: Duration = Duration::from_secs(8);
/// The address shown for a node that is probed through SSH.
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// One service name at one address of a node.
#[derive(Clone)]
pub(crate) struct ProbeTarget {
    node: NodeName,
    certificate: CertName,
    address: Address,
    probe: Probe,
    sni: DnsName,
    keys: Keys,
}

/// As configured.
#[derive(Clone)]
enum Address {
    Host(Host),
    /// The node's own loopback, through an SSH tunnel.
    Loopback(Opener),
}

/// One resolved address and the route to it.
#[derive(Clone)]
pub(crate) struct SocketRoute {
    pub(crate) address: SocketAddr,
    pub(crate) over: Over,
    pub(crate) route: Route,
}

impl ProbeTarget {
    /// Every name at every address; through SSH, where the only address is the loopback, every name once.
    pub(crate) fn all(config: &Config, certificate: &Certificate, node: &Node, tunnel: &Opener) -> Vec<Self> {
        let addresses: Vec<Address> = match node.probe.via {
            Via::Direct => node.addresses.iter().cloned().map(Address::Host).collect(),
            Via::Ssh => vec![Address::Loopback(Arc::clone(tunnel))],
        };
        let target = |address: &Address, sni: &DnsName| Self {
            node: node.name.clone(),
            certificate: certificate.name.clone(),
            address: address.clone(),
            probe: node.probe.clone(),
            sni: sni.clone(),
            keys: match config.has_beside(certificate, &node.name, sni) {
                true => Keys::Only(certificate.key_type.algorithm()),
                false => Keys::Prefer(certificate.key_type.algorithm()),
            },
        };
        addresses.iter().flat_map(|address| certificate.sni.iter().map(move |sni| target(address, sni))).collect()
    }

    /// Looks with the other key algorithm too, unless another certificate does.
    pub(crate) fn with_beside(mut self) -> Self {
        if let Keys::Prefer(keys) = self.keys {
            self.keys = Keys::Both(keys);
        }
        self
    }

    /// Fresh handshakes with every address of the host, over every route; and what the server has beside that.
    pub(crate) async fn look(&self, roots: &Roots) -> (Vec<Served>, Vec<Beside>) {
        let sockets = match self.sockets().await {
            Ok(sockets) => sockets,
            Err(silence) => return (vec![self.unresolved(silence)], Vec::new()),
        };
        let mut looks = JoinSet::new();
        for socket in sockets {
            let (target, roots) = (self.clone(), roots.clone());
            looks.spawn(async move {
                let (answers, beside) = probe::look(&socket.route, target.asked(), PROBE_DEADLINE).await;
                let now = clock::now();
                let beside = beside.map(|probe::Beside { algorithm, chain, preferred }| {
                    let served = target.served(&socket, Seen::of(chain, &roots, now));
                    Beside { served, algorithm, preferred }
                });
                let seen = |answer| match answer {
                    Ok(ders) => Seen::of(ders, &roots, now),
                    Err(silence) => Seen::Silence(silence),
                };
                let served = answers.into_iter().map(|answer| target.served(&socket, seen(answer)));
                (served.collect::<Vec<_>>(), beside)
            });
        }
        let (served, beside): (Vec<_>, Vec<_>) = looks.join_all().await.into_iter().unzip();
        let mut served: Vec<Served> = served.into_iter().flatten().collect();
        served.sort_by_key(|served| (served.address, served.over));
        let mut beside: Vec<Beside> = beside.into_iter().flatten().collect();
        beside.sort_by_key(|beside| beside.served.address);
        (served, beside)
    }

    pub(crate) fn served(&self, socket: &SocketRoute, seen: Seen) -> Served {
        Served { over: socket.over, ..self.seen(Some(socket.address), seen) }
    }

    /// The host has no address.
    pub(crate) fn unresolved(&self, silence: ProbeError) -> Served {
        self.seen(None, Seen::Silence(silence))
    }

    fn seen(&self, address: Option<SocketAddr>, seen: Seen) -> Served {
        let (node, certificate, sni) = (self.node.clone(), self.certificate.clone(), self.sni.clone());
        Served { node, certificate, address, sni, over: Over::Tcp, seen }
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { sni: &self.sni, keys: self.keys }
    }

    /// Every resolved address, over TCP and, where it is probed, QUIC.
    pub(crate) async fn sockets(&self) -> Result<Vec<SocketRoute>, ProbeError> {
        let Probe { port, proxy_protocol, quic, .. } = self.probe;
        let host = match &self.address {
            Address::Host(host) => host,
            Address::Loopback(open) => {
                let route = Route::Through { open: Arc::clone(open), proxy_protocol };
                return Ok(vec![SocketRoute { address: SocketAddr::new(LOOPBACK, port), over: Over::Ssh, route }]);
            }
        };
        let mut sockets = Vec::new();
        for address in resolve(host, port).await? {
            sockets.push(SocketRoute { address, over: Over::Tcp, route: Route::Tcp { address, proxy_protocol } });
            if quic {
                sockets.push(SocketRoute { address, over: Over::Quic, route: Route::Quic { address } });
            }
        }
        Ok(sockets)
    }
}

/// All addresses of a host, in a stable order.
pub async fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    let name = match host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => name,
    };
    let looked_up = tokio::time::timeout(PROBE_DEADLINE, tokio::net::lookup_host((name.as_str(), port))).await;
    let mut addresses: Vec<SocketAddr> = match looked_up {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(ProbeError::Unresolved(format!("{name}: {error}"))),
        Err(_) => return Err(ProbeError::Unresolved(format!("{name}: no answer from DNS"))),
    };
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() { Err(ProbeError::Unresolved(format!("{name} has no address"))) } else { Ok(addresses) }
}

/// The SSH endpoint of a node: its resolved addresses, and the keys that were read before.
pub(crate) async fn endpoint(config: &Config, secrets: &Secrets, node: &NodeName) -> Result<Endpoint, Finding> {
    let unknown = || bug(node, "a node that the configuration does not have");
    let node = config.node(node).ok_or_else(unknown)?;
    let host = node.addresses.first().ok_or_else(unknown)?;
    endpoint_at(secrets, node, host).await
}

/// The same, with the node at `host`.
pub(crate) async fn endpoint_at(secrets: &Secrets, node: &Node, host: &Host) -> Result<Endpoint, Finding> {
    let unresolved = |silence: ProbeError| {
        failure(
            Code::NodeUnresolved,
            &node.name,
            silence,
            "check the node's address in the configuration",
            Advice::Retry { after_seconds: None },
        )
    };
    let nowhere = || bug(&node.name, "a host without an address");
    let all = async |host: &Host, port: u16| resolve(host, port).await.map_err(unresolved);
    let addresses = all(host, node.ssh.port).await?;
    let mut jumps = Vec::new();
    for jump in &node.ssh.jumps {
        jumps.push(all(&jump.host, jump.port).await?);
    }
    secrets.endpoint(node, &addresses, &jumps).ok_or_else(nowhere)
}
