//! `certd dns check`: every record of a name, and what answers at each address. What differs is judged by the inventory,
//! as everywhere.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, DnsName, NodeName};
use crate::config::Config;
use crate::model::{Finding, InDns, Observed, Over, Rotation, Seen, ServerAnswer};
use crate::plan::cloudflare;
use crate::text::list;

use super::health_text;
use super::notes::{fold, item};
use super::severity::with_severity;
use super::table::aligned_rows;
use super::{Exit, HealthReport, HealthVerdict, Report, ServedReport, Style, Verdict, worst};

const SCHEMA: &str = "certd.dns/1";
/// Addresses listed in a cell, and rows of a name's addresses.
const MOST_LISTED: usize = 8;
const MOST_ROWS: usize = 50;

/// What answers at an address that is no node's.
pub struct Stranger {
    pub name: DnsName,
    pub at: SocketAddr,
    pub seen: Seen,
}

#[derive(Clone, Debug, Serialize)]
pub struct DnsCheck {
    pub schema: &'static str,
    pub at: Timestamp,
    pub exit: u8,
    pub exits: Vec<u8>,
    pub names: Vec<NameInDns>,
    /// Absent without health checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthReport>,
    pub failures: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub struct NameInDns {
    pub certificate: CertName,
    pub name: DnsName,
    pub alias: Option<String>,
    pub servers: Vec<ServerShows>,
    pub addresses: Vec<AddressInDns>,
    /// Nodes of the certificate to which no record leads.
    pub unlisted: Vec<NodeName>,
    pub rotation: Vec<Rotation>,
    #[serde(serialize_with = "with_severity")]
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ServerShows {
    pub server: String,
    /// One of the zone's own; else a public resolver.
    pub authoritative: bool,
    /// `null`: it did not answer.
    pub addresses: Option<BTreeSet<IpAddr>>,
    pub ttl: Option<u32>,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct AddressInDns {
    pub address: IpAddr,
    /// Those that have it; empty: it is no node's.
    pub nodes: Vec<NodeName>,
    /// Cloudflare's proxies answer there (the orange cloud).
    pub proxied: bool,
    pub served: Vec<ServedReport>,
    /// Absent without health checks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health: Vec<HealthVerdict>,
    /// How often it was the first of an answer of the zone's own servers, and how many answers there were.
    pub first: u32,
    pub answers: u32,
    #[serde(skip)]
    exit: Exit,
}

/// `looked`: the usual report of the same observation.
pub fn dns_check(
    config: &Config,
    observed: &Observed,
    looked: Report,
    strangers: &[Stranger],
    mut rotations: BTreeMap<DnsName, Vec<Rotation>>,
    now: Timestamp,
) -> DnsCheck {
    let mut names = Vec::new();
    let mut exits: Vec<Exit> = Vec::new();
    for inventory in &looked.inventory {
        let Some(found) = observed.inventory.as_ref() else { continue };
        let Some(in_dns) = found.names.iter().find(|look| look.name == inventory.name) else { continue };
        let rotation = rotations.remove(&in_dns.name).unwrap_or_default();
        let scene = Scene { looked: &looked, certificate: &inventory.certificate, strangers, now };
        let shown = in_dns.addresses();
        let of_nodes = |address: &IpAddr| {
            let at = |(node, at): (&NodeName, &Result<BTreeSet<IpAddr>, String>)| {
                at.as_ref().is_ok_and(|at| at.contains(address)).then(|| node.clone())
            };
            found.nodes.iter().filter_map(at).collect::<Vec<NodeName>>()
        };
        let addresses: Vec<AddressInDns> =
            shown.iter().map(|address| scene.address(*address, of_nodes(address), in_dns, &rotation)).collect();
        let certificate = config.certificate(&inventory.certificate);
        let unlisted = certificate.into_iter().flat_map(|certificate| &certificate.nodes);
        let unlisted = unlisted.filter(|node| matches!(found.nodes.get(*node), Some(Ok(at)) if at.is_disjoint(&shown)));
        exits.extend(addresses.iter().map(|address| address.exit));
        exits.extend(inventory.findings.iter().map(Finding::exit));
        names.push(NameInDns {
            certificate: inventory.certificate.clone(),
            name: inventory.name.clone(),
            alias: inventory.alias.clone(),
            servers: servers(in_dns),
            unlisted: unlisted.cloned().collect(),
            addresses,
            rotation,
            findings: inventory.findings.clone(),
        });
    }
    exits.extend(looked.health.iter().flat_map(HealthReport::findings).map(Finding::exit));
    exits.extend(looked.failures.iter().map(Finding::exit));
    exits.sort_unstable_by_key(|exit| exit.rank());
    exits.dedup();
    exits.retain(|exit| *exit != Exit::Ok);
    let exit = worst(&exits).code();
    DnsCheck {
        schema: SCHEMA,
        at: now,
        exit,
        exits: exits.into_iter().map(Exit::code).collect(),
        names,
        health: looked.health,
        failures: looked.failures,
    }
}

fn servers(in_dns: &InDns) -> Vec<ServerShows> {
    let shows = |authoritative: bool| {
        move |answer: &ServerAnswer| ServerShows {
            server: answer.server.clone(),
            authoritative,
            addresses: answer.says.as_ref().ok().map(|says| says.all.clone()),
            ttl: answer.says.as_ref().ok().and_then(|says| says.ttl),
            error: answer.says.as_ref().err().cloned(),
        }
    };
    in_dns.authoritative.iter().map(shows(true)).chain(in_dns.public.iter().map(shows(false))).collect()
}

struct Scene<'a> {
    looked: &'a Report,
    certificate: &'a CertName,
    strangers: &'a [Stranger],
    now: Timestamp,
}

impl Scene<'_> {
    fn address(&self, address: IpAddr, nodes: Vec<NodeName>, in_dns: &InDns, rotation: &[Rotation]) -> AddressInDns {
        let is_here = |at: Option<SocketAddr>| at.is_some_and(|at| at.ip() == address);
        let certificates = self.looked.certificates.iter().filter(|it| it.name == *self.certificate);
        let at_nodes = certificates.flat_map(|it| &it.nodes).filter(|node| nodes.contains(&node.node));
        // Through SSH a node is seen at its loopback alone.
        let is_seen = |served: &&ServedReport| is_here(served.address) || served.over == Over::Ssh;
        let seen =
            at_nodes.flat_map(|node| node.served.iter().filter(is_seen).map(|served| (served, node.state(served).1)));
        let (mut served, mut exits): (Vec<ServedReport>, Vec<Exit>) =
            seen.map(|(served, exit)| (served.clone(), exit)).unzip();
        for stranger in self.strangers.iter().filter(|it| it.name == in_dns.name && it.at.ip() == address) {
            let verdict = Verdict::of_watched(&stranger.seen, &stranger.name, self.now);
            exits.push(verdict.exit());
            let name = stranger.name.clone();
            served.push(ServedReport::new(Some(stranger.at), name, Over::Tcp, &stranger.seen, verdict));
        }
        let health = self.looked.health.iter().filter(|it| it.certificate == *self.certificate);
        let health = health.flat_map(|it| &it.nodes).filter(|it| nodes.contains(&it.node));
        let health: Vec<_> =
            health.filter(|it| is_here(it.address) || it.address.is_some_and(|at| at.ip().is_loopback())).collect();
        exits.extend(health.iter().map(|it| it.exit()));
        let own = rotation.iter().filter(|it| !in_dns.public.iter().any(|public| public.server == it.server));
        let own: Vec<&Rotation> =
            own.filter(|it| it.first.keys().any(|first| first.is_ipv4() == address.is_ipv4())).collect();
        let by_provider = in_dns.provider.iter().any(|record| record.proxied);
        AddressInDns {
            address,
            proxied: nodes.is_empty() && (by_provider || cloudflare::is_proxy(address)),
            nodes,
            served,
            health: health.iter().map(|it| it.verdict).collect(),
            first: own.iter().filter_map(|it| it.first.get(&address)).sum(),
            answers: own.iter().map(|it| it.answers).sum(),
            exit: worst(&exits),
        }
    }
}

impl DnsCheck {
    /// Ends with a newline. Texts of servers were escaped where they were read.
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        let mut findings: Vec<&Finding> = Vec::new();
        for name in &self.names {
            name.text(&mut out, style);
            // A finding about a name that several certificates share is shown once.
            for finding in &name.findings {
                if !findings.contains(&finding) {
                    findings.push(finding);
                    let mark = if finding.exit() == Exit::Ok { "- " } else { "! " };
                    out.push_str(&item(
                        mark,
                        &format!("{}: {}", finding.object, finding.what),
                        Some(&finding.next),
                        style,
                    ));
                }
            }
            out.push('\n');
        }
        out.push_str(&health_text::text(&self.health, style));
        for failure in &self.failures {
            out.push_str(&item("! ", &failure.named(), Some(&failure.next), style));
        }
        let summary = match self.names.len() {
            0 => "no name is compared with DNS (`inventory = false`)".to_owned(),
            _ => format!("exit {}", self.exit),
        };
        out.push_str(&fold("", "  ", &summary, style));
        out
    }
}

impl NameInDns {
    fn text(&self, out: &mut String, style: Style) {
        let alias = self.alias.as_ref().map(|alias| format!(", a CNAME of {alias}")).unwrap_or_default();
        out.push_str(&fold("", "    ", &format!("{}  (certificate {}{alias})", self.name, self.certificate), style));
        let seconds = |ttl: Option<u32>| ttl.map_or_else(|| "-".to_owned(), |ttl| format!("{ttl} s"));
        let rows = self.servers.iter().map(|server| {
            let shows = match (&server.addresses, &server.error) {
                (Some(all), _) if all.is_empty() => "no address".to_owned(),
                (Some(all), _) => list::first(MOST_LISTED, all),
                (None, error) => error.clone().unwrap_or_default(),
            };
            let exit = if server.error.is_some() { Exit::Warning } else { Exit::Ok };
            let whose = if server.authoritative { "its own" } else { "resolver" };
            ([server.server.clone(), whose.to_owned(), seconds(server.ttl), shows], exit)
        });
        let rows: Vec<_> = rows.collect();
        if !rows.is_empty() {
            out.push_str(&aligned_rows(["SERVER", "IS", "TTL", "SHOWS"], rows, style));
        }
        let rows: Vec<_> = self.addresses.iter().take(MOST_ROWS).map(AddressInDns::row).collect();
        if !rows.is_empty() {
            out.push_str(&aligned_rows(["ADDRESS", "NODE", "FIRST", "SERVES", "HEALTH", "VERDICT"], rows, style));
        }
        if let Some(more) = self.addresses.len().checked_sub(MOST_ROWS).filter(|more| *more > 0) {
            out.push_str(&format!("  and {more} more (JSON lists all)\n"));
        }
        for rotation in &self.rotation {
            let first = rotation.first.iter().map(|(address, count)| format!("{address} {count}"));
            let first = list::first(MOST_LISTED, first);
            let (kind, asked, answers) = (rotation.kind.as_str(), rotation.questions, rotation.answers);
            let cut = if rotation.cut_short { " (cut short: it took too long)" } else { "" };
            let line = format!(
                "{}: first of {answers} answers to {asked} questions for {kind}{cut}: {first}",
                rotation.server
            );
            out.push_str(&fold("  ", "    ", &line, style));
        }
    }
}

impl AddressInDns {
    fn row(&self) -> ([String; 6], Exit) {
        let nodes = match (self.nodes.as_slice(), self.proxied) {
            ([], true) => "(Cloudflare's proxy)".to_owned(),
            ([], false) => "(no node)".to_owned(),
            (nodes, _) => list::first(MOST_LISTED, nodes),
        };
        let each = |of: &dyn Fn(&ServedReport) -> String| {
            let all: BTreeSet<String> = self.served.iter().map(of).collect();
            let all: Vec<String> = all.into_iter().collect();
            if all.is_empty() { "-".to_owned() } else { all.join(", ") }
        };
        let serves = each(&|served| served.fingerprint.map_or_else(|| "-".to_owned(), |it| it.short()));
        let verdict = each(&|served| served.verdict.word());
        let health: Vec<&str> = self.health.iter().map(|verdict| verdict.word()).collect();
        let health = if health.is_empty() { "-".to_owned() } else { health.join(", ") };
        let first = if self.answers == 0 { "-".to_owned() } else { format!("{} of {}", self.first, self.answers) };
        ([self.address.to_string(), nodes, first, serves, health, verdict], self.exit)
    }
}
