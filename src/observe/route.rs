//! One name at one host of a node, and every route to it.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cert::{CertName, DnsName, Fingerprint, NodeName, Roots};
use crate::config::{Certificate, Config, Host, Node, Probe, Via};
use crate::model::{Beside, Code, Over, ProbeError, Seen, Served};
use crate::observe::ssh_tunnel::PortOpener;
use crate::probe::{self, Answer, Asked, Http3, Keys, QuicLook, Route};

use crate::context::failure::{bug, failure};
use crate::context::{Secrets, clock};
use crate::descriptors;
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
    Loopback(PortOpener),
}

/// One resolved address and the route to it.
#[derive(Clone)]
pub(crate) struct SocketRoute {
    pub(crate) address: SocketAddr,
    pub(crate) over: Over,
    pub(crate) route: Route,
}

impl ProbeTarget {
    /// Every name at every port of every address; through SSH, where the only address is the loopback, at every port.
    pub(crate) fn all(config: &Config, certificate: &Certificate, node: &Node, tunnel: &PortOpener) -> Vec<Self> {
        let mut targets = Vec::new();
        for probe in node.probes_of(&certificate.name) {
            let addresses: Vec<Address> = match probe.via {
                Via::Direct => node.addresses.iter().cloned().map(Address::Host).collect(),
                Via::Ssh => vec![Address::Loopback(Arc::clone(tunnel))],
            };
            let target = |address: &Address, sni: &DnsName| Self {
                node: node.name.clone(),
                certificate: certificate.name.clone(),
                address: address.clone(),
                probe: probe.clone(),
                sni: sni.clone(),
                keys: match config.has_beside(certificate, node, probe, sni) {
                    true => Keys::Only(certificate.key_type.algorithm()),
                    false => Keys::Prefer(certificate.key_type.algorithm()),
                },
            };
            let names = &certificate.sni;
            targets.extend(addresses.iter().flat_map(|address| names.iter().map(move |sni| target(address, sni))));
        }
        targets
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
            looks.spawn(async move { target.look_at(&socket, &roots).await });
        }
        let (served, beside): (Vec<_>, Vec<_>) = looks.join_all().await.into_iter().unzip();
        let mut served: Vec<Served> = served.into_iter().flatten().collect();
        served.sort_by_key(|served| (served.address, served.over));
        let mut beside: Vec<Beside> = beside.into_iter().flatten().collect();
        beside.sort_by_key(|beside| beside.served.address);
        (served, beside)
    }

    /// The socket itself, and QUIC where the configuration or the server itself says so.
    async fn look_at(&self, socket: &SocketRoute, roots: &Roots) -> (Vec<Served>, Option<Beside>) {
        let asked = self.asked();
        let over_stream = |chain, beside| self.over_stream(socket, chain, beside, roots);
        match (self.probe.quic, &socket.route) {
            (None, Route::Tcp { address, proxy_protocol, starttls: None }) => {
                let offer = probe::look_for_h3(*address, *proxy_protocol, asked, PROBE_DEADLINE).await;
                let (mut served, beside) = over_stream(offer.chain, offer.beside);
                if let Some(h3) = offer.h3 {
                    let look = probe::look_over_quic(h3.address(), asked).await;
                    served.extend(self.over_quic(h3, look, roots));
                }
                (served, beside)
            }
            (Some(true), Route::Tcp { address, .. }) => {
                let tcp = probe::look(socket.route.clone(), asked, PROBE_DEADLINE);
                let ((chain, beside), look) = tokio::join!(tcp, probe::look_over_quic(*address, asked));
                let has_route = !matches!(chain, Err(ProbeError::NoRoute(_)));
                let (mut served, beside) = over_stream(chain, beside);
                if has_route {
                    served.extend(self.over_quic(Http3::Configured(*address), look, roots));
                }
                (served, beside)
            }
            _ => {
                let (chain, beside) = probe::look(socket.route.clone(), asked, PROBE_DEADLINE).await;
                over_stream(chain, beside)
            }
        }
    }

    fn over_stream(
        &self,
        socket: &SocketRoute,
        chain: Answer,
        beside: Option<probe::Beside>,
        roots: &Roots,
    ) -> (Vec<Served>, Option<Beside>) {
        let beside = beside.map(|probe::Beside { algorithm, chain, preferred }| Beside {
            served: self.served(socket, seen(Ok(chain), roots)),
            algorithm,
            preferred,
        });
        (vec![self.served(socket, seen(chain, roots))], beside)
    }

    /// After TCP has shown the expected leaf at this socket: whether QUIC shows it too.
    pub(crate) async fn prove_over_quic(
        &self,
        socket: &SocketRoute,
        expected: Fingerprint,
        patience: Duration,
        roots: &Roots,
    ) -> Vec<Served> {
        let h3 = match (self.probe.quic, &socket.route) {
            (None, Route::Tcp { address, proxy_protocol, starttls: None }) => {
                probe::look_for_h3(*address, *proxy_protocol, self.asked(), PROBE_DEADLINE).await.h3
            }
            (Some(true), Route::Tcp { address, .. }) => Some(Http3::Configured(*address)),
            _ => None,
        };
        let Some(h3) = h3 else { return Vec::new() };
        let look = probe::verify_over_quic(h3.address(), self.asked(), expected, patience).await;
        self.over_quic(h3, look, roots)
    }

    /// One for each distinct answer: usually one.
    fn over_quic(&self, h3: Http3, look: QuicLook, roots: &Roots) -> Vec<Served> {
        let refuses = |answer: &Answer| {
            answer.as_ref().is_err_and(|silence| !matches!(silence, ProbeError::NoQuic | ProbeError::NoSuchKey(_)))
        };
        // Something else speaks QUIC there, such as DNS.
        if matches!(h3, Http3::Answers(_)) && look.answers.iter().all(refuses) {
            return Vec::new();
        }
        let handshakes = Some(look.handshakes);
        let of = |answer| Served {
            over: Over::Quic,
            starttls: None,
            handshakes,
            ..self.seen(Some(h3.address()), seen(answer, roots))
        };
        look.answers.into_iter().map(of).collect()
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
        Served {
            node,
            certificate,
            address,
            sni,
            over: Over::Tcp,
            starttls: self.probe.starttls,
            seen,
            handshakes: None,
        }
    }

    /// After a reload.
    pub(crate) fn served_within(&self) -> Duration {
        self.probe.served_within
    }

    pub(crate) fn through_ssh(&self) -> bool {
        self.probe.via == Via::Ssh
    }

    pub(crate) fn certificate(&self) -> &CertName {
        &self.certificate
    }

    pub(crate) fn asked(&self) -> Asked<'_> {
        Asked { sni: &self.sni, keys: self.keys }
    }

    /// Every resolved address, over TCP; through SSH the loopback.
    pub(crate) async fn sockets(&self) -> Result<Vec<SocketRoute>, ProbeError> {
        let Probe { port, starttls, proxy_protocol, .. } = self.probe;
        let host = match &self.address {
            Address::Host(host) => host,
            Address::Loopback(open) => {
                let route = Route::Through { open: open(port), port, proxy_protocol, starttls };
                return Ok(vec![SocketRoute { address: SocketAddr::new(LOOPBACK, port), over: Over::Ssh, route }]);
            }
        };
        let mut sockets = Vec::new();
        for address in resolve(host, port).await? {
            let route = Route::Tcp { address, proxy_protocol, starttls };
            sockets.push(SocketRoute { address, over: Over::Tcp, route });
        }
        Ok(sockets)
    }
}

fn seen(answer: Answer, roots: &Roots) -> Seen {
    match answer {
        Ok(ders) => Seen::of(ders, roots, clock::now()),
        Err(silence) => Seen::Silence(silence),
    }
}

/// All addresses of a host, in a stable order.
pub async fn resolve(host: &Host, port: u16) -> Result<Vec<SocketAddr>, ProbeError> {
    let name = match host {
        Host::Ip(ip) => return Ok(vec![SocketAddr::new(*ip, port)]),
        Host::Name(name) => name,
    };
    let room = descriptors::for_a_handshake().await;
    let looked_up = tokio::time::timeout(PROBE_DEADLINE, tokio::net::lookup_host((name.as_str(), port))).await;
    let mut addresses: Vec<SocketAddr> = match looked_up {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) if descriptors::ran_out(&error) => return Err(ProbeError::NoSocket(error.to_string())),
        Ok(Err(error)) => return Err(ProbeError::Unresolved(format!("{name}: {error}"))),
        Err(_) => return Err(ProbeError::Unresolved(format!("{name}: no answer from DNS"))),
    };
    drop(room);
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
