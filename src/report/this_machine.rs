//! What this machine could not ask: addresses to which it has no route, and handshakes for which it had no more open files.
//! No node is at fault: one that has other addresses is judged by those, and the whole report has one finding of each kind.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use crate::model::{Code, Finding, HealthAnswer, Observed, ProbeError, Seen};
use crate::text::list;

use super::verdict::{Blind, NO_FILES, NO_ROUTE};
use super::{Exit, NodeReport, ServedReport, Verdict, WatchedReport};

/// Addresses that are named; a hundred nodes may have one each.
const SHOWN: usize = 4;

pub(super) const THIS_MACHINE: &str = "this machine";

impl ServedReport {
    fn was_not_asked(&self) -> bool {
        matches!(self.verdict, Verdict::Unknown { because: Blind::NoRoute | Blind::NoSocket, .. })
    }

    /// Whether another address decides instead.
    fn is_passed_over(&self, all: &[Self]) -> bool {
        self.was_not_asked() && all.iter().any(|other| !other.was_not_asked())
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

/// About this machine.
pub(super) fn findings(observed: &Observed) -> impl Iterator<Item = Finding> {
    let mut no_route = Missed::default();
    let mut no_files = Missed::default();
    let nodes = observed.served.iter().map(|served| (served.address, &served.seen));
    let watched = observed.watched.iter().map(|watched| (watched.address, &watched.seen));
    for (address, seen) in nodes.chain(watched) {
        match seen {
            Seen::Silence(ProbeError::NoRoute(why)) => no_route.add(address, why),
            Seen::Silence(ProbeError::NoSocket(why)) => no_files.add(address, why),
            _ => {}
        }
    }
    for health in &observed.health {
        if let HealthAnswer::NoRoute { why } = &health.answer {
            no_route.add(health.place.address, why);
        }
    }
    [no_route.no_route(), no_files.no_files()].into_iter().flatten()
}

/// What was not asked for one reason.
#[derive(Default)]
struct Missed<'a> {
    handshakes: usize,
    addresses: BTreeSet<IpAddr>,
    first: Option<&'a str>,
}

impl<'a> Missed<'a> {
    fn add(&mut self, address: Option<SocketAddr>, why: &'a str) {
        self.handshakes += 1;
        self.addresses.extend(address.map(|address| address.ip()));
        self.first.get_or_insert(why);
    }

    fn no_route(self) -> Option<Finding> {
        let why = self.first?;
        let route = if self.addresses.iter().all(IpAddr::is_ipv6) { "no IPv6 route" } else { "no route" };
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        let what = format!(
            "it has {route} to {} ({why}): what is served there is not known, and a node with other addresses is judged by those",
            list::first(SHOWN, &addresses)
        );
        Some(Finding::for_a_person(Code::NoRoute, THIS_MACHINE, what, NO_ROUTE))
    }

    fn no_files(self) -> Option<Finding> {
        let why = self.first?;
        let handshakes = if self.handshakes == 1 { "handshake" } else { "handshakes" };
        let what = format!(
            "it had no more open files for {} {handshakes} ({why}): what is served there is not known",
            self.handshakes
        );
        Some(Finding::for_a_person(Code::NoFiles, THIS_MACHINE, what, NO_FILES))
    }
}
