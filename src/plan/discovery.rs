//! Which addresses become nodes, where DNS names the nodes of a certificate. DNS is hostile input: it is bounded, and
//! never empties a fleet. It makes no machine trusted: certd logs in to an address only when its host key is pinned, so
//! that a forged record costs a handshake and delivers nothing.

use core::net::IpAddr;
use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::config::Families;
use crate::config::defaults::MOST_DISCOVERED;
use crate::model::LastSeen;

/// The nodes of a name in this pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub nodes: BTreeSet<IpAddr>,
    /// DNS answered, and its answer is to be remembered.
    pub fresh: bool,
    pub notes: Vec<DiscoveryNote>,
}

/// A remark for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryNote {
    /// DNS does not answer, or shows nothing: the nodes of this instant are kept.
    Kept { since: Timestamp, answered: bool, why: String },
    /// … and DNS has never answered.
    Nothing { why: String },
    /// Addresses that no node can have, or this machine's own without a pinned key.
    Refused { addresses: BTreeSet<IpAddr> },
    /// More than the limit; the first are taken.
    TooMany { shown: usize },
}

/// `shown`: the union over the authoritative servers, or why none answered. An address that is no longer shown is no
/// longer a node, as long as any other is shown. `pinned`: whether an address has a host key.
pub fn settle(
    shown: Result<BTreeSet<IpAddr>, String>,
    families: Families,
    last: Option<&LastSeen>,
    pinned: impl Fn(IpAddr) -> bool,
) -> Settled {
    let shown: BTreeSet<IpAddr> = match shown {
        Ok(shown) => shown.into_iter().filter(|address| families.take(*address)).collect(),
        Err(why) => return kept(last, false, why),
    };
    let (mut nodes, refused): (BTreeSet<IpAddr>, BTreeSet<IpAddr>) = shown
        .into_iter()
        .partition(|address| is_of_a_machine(*address) && (!address.is_loopback() || pinned(*address)));
    let mut notes = Vec::new();
    if nodes.len() > MOST_DISCOVERED {
        notes.push(DiscoveryNote::TooMany { shown: nodes.len() });
        // Trusted addresses first: they stay nodes, whatever else is shown.
        let mut order: Vec<IpAddr> = nodes.into_iter().collect();
        order.sort_by_key(|address| !pinned(*address));
        nodes = order.into_iter().take(MOST_DISCOVERED).collect();
    }
    if !refused.is_empty() {
        notes.push(DiscoveryNote::Refused { addresses: refused });
    }
    if nodes.is_empty() {
        let mut kept = kept(last, true, "it has no address that could be a node's".to_owned());
        kept.notes.extend(notes);
        return kept;
    }
    Settled { nodes, fresh: true, notes }
}

fn kept(last: Option<&LastSeen>, answered: bool, why: String) -> Settled {
    match last {
        Some(last) => {
            let notes = vec![DiscoveryNote::Kept { since: last.at, answered, why }];
            Settled { nodes: last.addresses.clone(), fresh: false, notes }
        }
        None => Settled { notes: vec![DiscoveryNote::Nothing { why }], ..Settled::default() },
    }
}

/// Private addresses count: a fleet may be reached through a tunnel, and split DNS shows them.
fn is_of_a_machine(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() && !ip.is_link_local(),
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().is_some();
            !ip.is_unspecified() && !ip.is_multicast() && !ip.is_unicast_link_local() && !mapped
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::NOW;

    fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn last(addresses: &[&str]) -> LastSeen {
        LastSeen { at: NOW, addresses: set(addresses) }
    }

    #[test]
    fn what_dns_shows_now_are_the_nodes_and_what_it_shows_no_more_is_none() {
        let before = last(&["192.0.2.1", "192.0.2.9"]);
        let settled = settle(Ok(set(&["192.0.2.1", "10.0.0.1"])), Families::Both, Some(&before), |_| false);
        assert_eq!(settled, Settled { nodes: set(&["192.0.2.1", "10.0.0.1"]), fresh: true, notes: Vec::new() });
    }

    #[test]
    fn dns_that_is_down_or_empty_leaves_the_nodes_that_it_showed_last() {
        let before = last(&["192.0.2.1"]);
        for shown in [Err("no answer".to_owned()), Ok(set(&[])), Ok(set(&["2001:db8::1"]))] {
            let settled = settle(shown, Families::Ipv4, Some(&before), |_| true);
            assert_eq!(settled.nodes, before.addresses);
            assert!(!settled.fresh && matches!(settled.notes[..], [DiscoveryNote::Kept { .. }]), "{settled:?}");
        }
        let settled = settle(Err("no answer".to_owned()), Families::Both, None, |_| true);
        assert!(settled.nodes.is_empty() && matches!(settled.notes[..], [DiscoveryNote::Nothing { .. }]));
    }

    #[test]
    fn an_address_of_no_machine_is_refused_and_a_loopback_address_unless_its_key_is_pinned() {
        let bad =
            ["0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::", "ff02::1", "fe80::1", "::ffff:127.0.0.1"];
        let shown = set(&[&bad[..], &["127.0.0.1", "::1", "127.0.0.2", "192.0.2.1"]].concat());
        let settled = settle(Ok(shown), Families::Both, None, |ip| ip == IpAddr::from([127, 0, 0, 2]));
        assert_eq!(settled.nodes, set(&["127.0.0.2", "192.0.2.1"]));
        let refused = set(&[&bad[..], &["127.0.0.1", "::1"]].concat());
        assert_eq!(settled.notes, [DiscoveryNote::Refused { addresses: refused }]);
    }

    #[test]
    fn a_flood_of_addresses_is_cut_and_keeps_the_nodes_that_are_trusted() {
        let flood: BTreeSet<IpAddr> = (0..=255).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        let ours = IpAddr::from([192, 0, 2, 1]);
        let shown = flood.iter().copied().chain([ours]).collect();
        let settled = settle(Ok(shown), Families::Both, None, |ip| ip == ours);
        assert_eq!(settled.nodes.len(), MOST_DISCOVERED);
        assert!(settled.nodes.contains(&ours));
        assert_eq!(settled.notes, [DiscoveryNote::TooMany { shown: 257 }]);
    }
}
