//! One name at one host of a node, and every way that leads to it.

use core::net::SocketAddr;

use tokio::task::JoinSet;

use crate::cert::{CertName, DnsName, NodeName, Roots};
use crate::config::{Certificate, Host, Node, Probe};
use crate::observed::{Over, Seen, Served, Silence};
use crate::probe::{self, Way};

use super::super::clock;
use super::{PROBE_DEADLINE, resolve};

#[derive(Clone)]
pub(in crate::pass) struct Target {
    node: NodeName,
    certificate: CertName,
    host: Host,
    probe: Probe,
    sni: DnsName,
}

/// One address, and how a handshake gets there.
#[derive(Clone)]
pub(in crate::pass) struct Door {
    pub(in crate::pass) address: SocketAddr,
    pub(in crate::pass) over: Over,
    pub(in crate::pass) way: Way,
}

impl Target {
    pub(in crate::pass) fn new(certificate: &Certificate, node: &Node, host: &Host, sni: &DnsName) -> Self {
        Self {
            node: node.name.clone(),
            certificate: certificate.name.clone(),
            host: host.clone(),
            probe: node.probe.clone(),
            sni: sni.clone(),
        }
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
        let mut doors = Vec::new();
        for address in resolve(&self.host, port).await? {
            doors.push(Door { address, over: Over::Tcp, way: Way::Tcp { address, proxy_protocol } });
            if quic {
                doors.push(Door { address, over: Over::Quic, way: Way::Quic { address } });
            }
        }
        Ok(doors)
    }
}
