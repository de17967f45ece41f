//! A second opinion, of what is no node: whether this machine reaches the internet the way that visitors come.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;
use std::net::UdpSocket;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::route::resolve;
use crate::config::{Config, Host};
use crate::probe;

/// For a connection to a witness; farther ones take a fraction of a second.
const WITNESS: Duration = Duration::from_secs(5);
const AT_ONCE: usize = 32;
/// Where a proxy on the way takes every connection, it seldom completes a handshake.
const HTTPS: u16 = 443;

/// Over one a witness says nothing of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    Loopback,
    V4,
    V6,
}

impl Family {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            it if it.is_loopback() => Self::Loopback,
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Over what a witness was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WayOut(BTreeSet<Family>);

impl WayOut {
    pub(crate) fn everywhere() -> Self {
        Self([Family::Loopback, Family::V4, Family::V6].into())
    }

    #[cfg(test)]
    pub(crate) fn over(addresses: &[IpAddr]) -> Self {
        Self(addresses.iter().copied().map(Family::of).collect())
    }

    pub(crate) fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether a witness was reached as visitors reach this address.
    pub(crate) fn reaches(&self, address: IpAddr) -> bool {
        self.0.contains(&Family::of(address))
    }
}

/// `addresses`: of the records, and whatever else is a node's. None of them is a witness, nor is an address of this machine.
pub(crate) async fn way_out(config: &Config, addresses: impl IntoIterator<Item = IpAddr>) -> WayOut {
    let literal = config.nodes.iter().flat_map(|node| node.addresses.iter()).filter_map(|host| match host {
        Host::Ip(ip) => Some(*ip),
        Host::Name(_) => None,
    });
    let nodes: BTreeSet<IpAddr> = addresses.into_iter().chain(literal).map(|ip| ip.to_canonical()).collect();
    let mut witnesses = config.witnesses();
    // With failover.mode = "act" there is one.
    if witnesses.is_empty() {
        return WayOut::everywhere();
    }
    let is_own = |host: &Host| match host {
        Host::Name(name) => config.certificates.iter().any(|certificate| certificate.names.covers(name)),
        Host::Ip(_) => false,
    };
    witnesses.retain(|(host, _)| !is_own(host));
    let wanted: BTreeSet<Family> = nodes.iter().copied().map(Family::of).collect();
    let found = stream::iter(witnesses).map(async |(host, port)| {
        let addresses = timeout(WITNESS, resolve(&host, port)).await;
        let addresses = addresses.ok().and_then(Result::ok).unwrap_or_default();
        stream::iter(addresses.into_iter().map(move |address| (host.clone(), address)))
    });
    let found = found.buffer_unordered(AT_ONCE).flatten();
    let counts =
        found.filter(|(_, at)| core::future::ready(!nodes.contains(&at.ip().to_canonical()) && !is_here(at.ip())));
    let asked = counts.map(async |(host, at)| (Family::of(at.ip()), reaches(&host, at).await));
    let mut asked = core::pin::pin!(asked.buffer_unordered(AT_ONCE));
    let mut reached = WayOut::default();
    while let Some((family, is_reached)) = asked.next().await {
        if is_reached {
            reached.0.insert(family);
        }
        if wanted.is_subset(&reached.0) {
            break;
        }
    }
    reached
}

/// Has this machine the address? What it answers itself says nothing of the way out. (Its loopback does, of nodes that are there.)
fn is_here(address: IpAddr) -> bool {
    !address.is_loopback() && UdpSocket::bind(SocketAddr::new(address, 0)).is_ok()
}

async fn reaches(host: &Host, at: SocketAddr) -> bool {
    if at.port() == HTTPS {
        return probe::speaks_tls(at, &host.to_string(), WITNESS).await;
    }
    timeout(WITNESS, TcpStream::connect(at)).await.is_ok_and(|connected| connected.is_ok())
}
