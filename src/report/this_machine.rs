//! Addresses to which this machine has no route. No node is at fault: one that has other addresses is judged by those, and
//! the whole report has one warning.

use core::net::IpAddr;
use std::collections::BTreeSet;

use crate::model::{Code, Finding, Observed, ProbeError, Seen};
use crate::text::list;

use super::verdict::{Blind, NO_ROUTE};
use super::{Exit, NodeReport, ServedReport, Verdict, WatchedReport};

/// Addresses that are named; a hundred nodes may have one each.
const SHOWN: usize = 4;

impl ServedReport {
    fn has_no_route(&self) -> bool {
        matches!(self.verdict, Verdict::Unknown { because: Blind::NoRoute, .. })
    }

    /// Whether another address decides instead.
    fn is_passed_over(&self, all: &[Self]) -> bool {
        self.has_no_route() && all.iter().any(|other| !other.has_no_route())
    }

    fn exit_among(&self, all: &[Self]) -> Exit {
        if self.is_passed_over(all) { Exit::Ok } else { self.verdict.exit() }
    }
}

impl NodeReport {
    pub(super) fn passes_over(&self, served: &ServedReport) -> bool {
        served.is_passed_over(&self.served)
    }

    /// The exit code of one of its handshakes.
    pub(super) fn exit_of(&self, served: &ServedReport) -> Exit {
        served.exit_among(&self.served)
    }

    /// Whether it serves what it should, as far as this machine can see; false: it was not probed.
    pub(super) fn is_as_desired(&self) -> bool {
        let mut counted = self.served.iter().filter(|served| !self.passes_over(served)).peekable();
        counted.peek().is_some() && counted.all(|served| served.verdict.is_desired())
    }
}

impl WatchedReport {
    pub(super) fn exit_of(&self, served: &ServedReport) -> Exit {
        served.exit_among(&self.served)
    }
}

/// About this machine; `None`: it has a route to every address.
pub(super) fn finding(observed: &Observed) -> Option<Finding> {
    let nodes = observed.served.iter().map(|served| (served.address, &served.seen));
    let watched = observed.watched.iter().map(|watched| (watched.address, &watched.seen));
    let mut addresses = BTreeSet::new();
    let mut first = None;
    for (address, seen) in nodes.chain(watched) {
        if let (Some(address), Seen::Silence(ProbeError::NoRoute(why))) = (address, seen) {
            addresses.insert(address.ip());
            first.get_or_insert(why);
        }
    }
    let why = first?;
    let route = if addresses.iter().all(IpAddr::is_ipv6) { "no IPv6 route" } else { "no route" };
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let what = format!(
        "it has {route} to {} ({why}): what is served there is not known, and a node with other addresses is judged by those",
        list::first(SHOWN, &addresses)
    );
    Some(Finding::for_a_person(Code::NoRoute, "this machine", what, NO_ROUTE))
}
