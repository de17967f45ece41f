//! One name at one host of a node, and every route to it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cert::{CertName, DnsName, NodeName, Roots};
use crate::config::{Certificate, Config, Host, Node, Probe, Via};
use crate::model::{Over, Seen, Served, Silence};
use crate::probe::{self, Opener, Route};

use crate::context::failure::{bug, failure};
use crate::context::{Secrets, clock};
use crate::model::{Advice, Failure};
use crate::ssh::Endpoint;

/// TCP and TLS together. A black hole costs the whole pass this long and no longer, since all nodes are asked at once.
pub(crate) const PROBE_DEADLINE: Duration = Duration::from_secs(8);
/// Where a node is asked through its own SSH connection.
pub(crate) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Clone)]
pub(crate) struct Target {
    node: NodeName,
    certificate: CertName,
    at: At,
    probe: Probe,
    sni: DnsName,
}

#[derive(Clone)]
enum At {
    Host(Host),
    /// The node as it sees itself.
    Loopback(Opener),
}

/// One address, and how a handshake gets there.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) over: Over,
    pub(crate) route: Route,
}

impl Target {
    /// Every name at every host; through SSH, where the node has one address for all, every name once.
    pub(crate) fn all(certificate: &Certificate, node: &Node, through: &Opener) -> Vec<Self> {
        let places: Vec<At> = match node.probe.via {
            Via::Direct => node.addresses.iter().cloned().map(At::Host).collect(),
            Via::Ssh => vec![At::Loopback(Arc::clone(through))],
        };
        let target = |at: &At, sni: &DnsName| Self {
            node: node.name.clone(),
            certificate: certificate.name.clone(),
            at: at.clone(),
            probe: node.probe.clone(),
            sni: sni.clone(),
        };
        places.iter().flat_map(|at| certificate.sni.iter().map(move |sni| target(at, sni))).collect()
    }

    /// Fresh handshakes with every address of the host, over every route.
    pub(crate) async fn look(&self, roots: &Roots) -> Vec<Served> {
        let doors = match self.doors().await {
            Ok(doors) => doors,
            Err(silence) => return vec![self.unresolved(silence)],
        };
        let mut looks = JoinSet::new();
        for door in doors {
            let (target, roots) = (self.clone(), roots.clone());
            looks.spawn(async move {
                let answers = probe::look(&door.route, &target.sni, PROBE_DEADLINE).await;
                let now = clock::now();
                let seen = |answer| match answer {
                    Ok(ders) => Seen::of(ders, &roots, now),
                    Err(silence) => Seen::Silence(silence),
                };
                answers.into_iter().map(|answer| target.served(&door, seen(answer))).collect::<Vec<_>>()
            });
        }
        let mut served: Vec<Served> = looks.join_all().await.into_iter().flatten().collect();
        served.sort_by_key(|served| (served.address, served.over));
        served
    }

    pub(crate) fn served(&self, door: &Door, seen: Seen) -> Served {
        Served { over: door.over, ..self.seen(Some(door.address), seen) }
    }

    /// There is no address to shake hands with.
    pub(crate) fn unresolved(&self, silence: Silence) -> Served {
        self.seen(None, Seen::Silence(silence))
    }

    fn seen(&self, address: Option<SocketAddr>, seen: Seen) -> Served {
        let (node, certificate, sni) = (self.node.clone(), self.certificate.clone(), self.sni.clone());
        Served { node, certificate, address, sni, over: Over::Tcp, seen }
    }

    pub(crate) fn sni(&self) -> &DnsName {
        &self.sni
    }

    /// The doors of all addresses.
    pub(crate) async fn doors(&self) -> Result<Vec<Door>, Silence> {
        let Probe { port, proxy_protocol, quic, .. } = self.probe;
        let host = match &self.at {
            At::Host(host) => host,
            At::Loopback(open) => {
                let route = Route::Through { open: Arc::clone(open), proxy_protocol };
                return Ok(vec![Door { address: SocketAddr::new(LOOPBACK, port), over: Over::Ssh, route }]);
            }
        };
        let mut doors = Vec::new();
        for address in resolve(host, port).await? {
            doors.push(Door { address, over: Over::Tcp, route: Route::Tcp { address, proxy_protocol } });
            if quic {
                doors.push(Door { address, over: Over::Quic, route: Route::Quic { address } });
            }
        }
        Ok(doors)
    }
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

/// Where the node is, and everything that logging in needs, in memory.
pub(crate) async fn endpoint(config: &Config, secrets: &Secrets, node: &NodeName) -> Result<Endpoint, Failure> {
    let unknown = || bug(node, "a node that the configuration does not have");
    let node = config.node(node).ok_or_else(unknown)?;
    let host = node.addresses.first().ok_or_else(unknown)?;
    way_to(secrets, node, host).await
}

/// The same for a node that is reached at `host`.
pub(crate) async fn way_to(secrets: &Secrets, node: &Node, host: &Host) -> Result<Endpoint, Failure> {
    let unresolved = |silence: Silence| {
        failure(
            "node-unresolved",
            &node.name,
            silence,
            "see the node's address in the configuration",
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
