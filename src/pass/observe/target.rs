//! One name at one host of a node, and every way that leads to it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cert::{CertName, DnsName, NodeName, Roots};
use crate::config::{Certificate, Host, Node, Probe, Via};
use crate::observed::{Over, Seen, Served, Silence};
use crate::probe::{self, Opener, Way};

use super::super::clock;
use super::{PROBE_DEADLINE, resolve};

/// Where a node is asked through its own SSH connection.
pub(in crate::pass) const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Clone)]
pub(in crate::pass) struct Target {
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
pub(in crate::pass) struct Door {
    pub(in crate::pass) address: SocketAddr,
    pub(in crate::pass) over: Over,
    pub(in crate::pass) way: Way,
}

impl Target {
    /// Every name at every host; through SSH, where the node has one address for all, every name once.
    pub(in crate::pass) fn all(certificate: &Certificate, node: &Node, through: &Opener) -> Vec<Self> {
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

    /// Fresh handshakes with every address of the host, in every way.
    pub(in crate::pass) async fn look(&self, roots: &Roots) -> Vec<Served> {
        let doors = match self.doors().await {
            Ok(doors) => doors,
            Err(silence) => return vec![self.unresolved(silence)],
        };
        let mut looks = JoinSet::new();
        for door in doors {
            let (target, roots) = (self.clone(), roots.clone());
            looks.spawn(async move {
                let answers = probe::look(&door.way, &target.sni, PROBE_DEADLINE).await;
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

    pub(in crate::pass) fn served(&self, door: &Door, seen: Seen) -> Served {
        Served { over: door.over, ..self.seen(Some(door.address), seen) }
    }

    /// There is no address to shake hands with.
    pub(in crate::pass) fn unresolved(&self, silence: Silence) -> Served {
        self.seen(None, Seen::Silence(silence))
    }

    fn seen(&self, address: Option<SocketAddr>, seen: Seen) -> Served {
        let (node, certificate, sni) = (self.node.clone(), self.certificate.clone(), self.sni.clone());
        Served { node, certificate, address, sni, over: Over::Tcp, seen }
    }

    pub(in crate::pass) fn sni(&self) -> &DnsName {
        &self.sni
    }

    /// The doors of all addresses.
    pub(in crate::pass) async fn doors(&self) -> Result<Vec<Door>, Silence> {
        let Probe { port, proxy_protocol, quic, .. } = self.probe;
        let host = match &self.at {
            At::Host(host) => host,
            At::Loopback(open) => {
                let way = Way::Through { open: Arc::clone(open), proxy_protocol };
                return Ok(vec![Door { address: SocketAddr::new(LOOPBACK, port), over: Over::Ssh, way }]);
            }
        };
        let mut doors = Vec::new();
        for address in resolve(host, port).await? {
            doors.push(Door { address, over: Over::Tcp, way: Way::Tcp { address, proxy_protocol } });
            if quic {
                doors.push(Door { address, over: Over::Quic, way: Way::Quic { address } });
            }
        }
        Ok(doors)
    }
}
