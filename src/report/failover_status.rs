//! `certd dns status` and `certd dns restore`: the records of each name, their nodes' health, and what failover would do.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{DnsName, NodeName};
use crate::config::{Config, FailoverMode};
use crate::model::{AddressRecord, Finding, Withdrawal, worst};
use crate::plan::failover::{Condition, Decision, Member};
use crate::text::list;

use super::failover::{WithdrawnReport, findings, outlook};
use super::notes::{fold, item};
use super::severity::with_severity;
use super::table::aligned_rows;
use super::words::{minute, span};
use super::{Exit, Style};

const SCHEMA: &str = "certd.failover/1";
/// Nodes listed in a cell.
const MOST_LISTED: usize = 8;

#[derive(Clone, Debug, Serialize)]
pub struct FailoverStatus {
    pub schema: &'static str,
    pub at: Timestamp,
    pub exit: u8,
    pub exits: Vec<u8>,
    /// Whether a host that is no node answers: this machine reaches the internet. `null`: there is none to ask.
    pub way_out: Option<bool>,
    pub names: Vec<FailoverName>,
    pub failures: Vec<Finding>,
}

/// The address records of one owner.
#[derive(Clone, Debug, Serialize)]
pub struct FailoverName {
    /// The end of CNAMEs.
    pub name: String,
    /// Those whose visitors come here.
    pub names: BTreeSet<DnsName>,
    pub mode: &'static str,
    /// Whether the provider's records could be read.
    pub read: bool,
    pub records: Vec<FailoverRecord>,
    #[serde(serialize_with = "with_severity")]
    pub findings: Vec<Finding>,
}

#[derive(Clone, Debug, Serialize)]
pub struct FailoverRecord {
    pub address: IpAddr,
    /// Configured nodes with this address; empty: it is no node's, and stays as it is.
    pub nodes: Vec<NodeName>,
    /// How many records of the address are in DNS; several are weights. `null`: they could not be read.
    pub records: Option<usize>,
    pub ttl: Option<u32>,
    pub proxied: bool,
    pub health: &'static str,
    pub health_since: Option<Timestamp>,
    pub withdrawn: Option<WithdrawnReport>,
    /// What failover does next, or what keeps it; `null`: nothing is to be done.
    pub next: Option<String>,
}

/// What is known of one owner.
pub struct FailoverScene<'a> {
    pub owner: &'a str,
    pub names: &'a BTreeSet<DnsName>,
    pub mode: FailoverMode,
    pub members: &'a [Member],
    pub records: Option<&'a [AddressRecord]>,
    pub journal: &'a [Withdrawal],
    pub decisions: &'a [Decision],
    /// What could not be read or done.
    pub findings: Vec<Finding>,
}

impl FailoverName {
    pub fn of(config: &Config, scene: FailoverScene<'_>) -> Self {
        let FailoverScene { owner, names, mode, members, records, journal, decisions, findings: mut said } = scene;
        let mut addresses: BTreeSet<IpAddr> = members.iter().map(|member| member.address).collect();
        addresses.extend(records.into_iter().flatten().map(|record| record.address));
        addresses.extend(journal.iter().map(|entry| entry.record.address));
        let record = |address: IpAddr| {
            let members: Vec<&Member> = members.iter().filter(|member| member.address == address).collect();
            let (health, health_since) = health_of(&members);
            let shown = records.map(|all| all.iter().filter(|record| record.address == address).collect::<Vec<_>>());
            let first = shown.as_ref().and_then(|shown| shown.first());
            FailoverRecord {
                address,
                nodes: members.iter().map(|member| member.node.clone()).collect(),
                ttl: first.map(|record| record.ttl),
                proxied: first.is_some_and(|record| record.proxied),
                records: shown.as_ref().map(Vec::len),
                health,
                health_since,
                withdrawn: journal.iter().find(|entry| entry.record.address == address).map(WithdrawnReport::of),
                next: outlook(decisions, mode, address),
            }
        };
        let records_of: Vec<FailoverRecord> = addresses.into_iter().map(record).collect();
        said.extend(findings(config, owner, records, journal, decisions));
        let (name, names, mode) = (owner.to_owned(), names.clone(), mode.as_str());
        Self { name, names, mode, read: records.is_some(), records: records_of, findings: said }
    }
}

/// The worst of them; one that is not known hides that others are well.
fn health_of(members: &[&Member]) -> (&'static str, Option<Timestamp>) {
    let mut by_word: BTreeMap<u8, (&'static str, Option<Timestamp>)> = BTreeMap::new();
    for member in members {
        let (rank, word, since) = match member.condition {
            Condition::Failing { since } => (0, "failing", Some(since)),
            Condition::Unknown => (1, "unknown", None),
            Condition::Well { since } => (2, "well", Some(since)),
        };
        by_word.insert(rank, (word, since));
    }
    by_word.into_values().next().unwrap_or(("-", None))
}

impl FailoverStatus {
    pub fn new(at: Timestamp, way_out: Option<bool>, names: Vec<FailoverName>, failures: Vec<Finding>) -> Self {
        let findings = names.iter().flat_map(|name| &name.findings).chain(&failures);
        let mut exits: Vec<Exit> = findings.map(Finding::exit).collect();
        exits.sort_unstable_by_key(|exit| exit.rank());
        exits.dedup();
        exits.retain(|exit| *exit != Exit::Ok);
        let exit = worst(&exits).code();
        let exits = exits.into_iter().map(Exit::code).collect();
        Self { schema: SCHEMA, at, exit, exits, way_out, names, failures }
    }

    /// Ends with a newline.
    pub fn text(&self, config: &Config, style: Style) -> String {
        let mut out = String::new();
        for name in &self.names {
            name.text(&mut out, config, self.at, style);
        }
        for failure in &self.failures {
            out.push_str(&item("! ", &failure.named(), Some(&failure.next), style));
        }
        if self.way_out == Some(false) {
            let next = "see this machine's network, and failover.witness";
            out.push_str(&item("! ", "no witness answers: this machine may be cut off", Some(next), style));
        }
        let withdrawn = self.names.iter().flat_map(|name| &name.records).filter(|record| record.withdrawn.is_some());
        let summary = match (self.names.is_empty(), withdrawn.count()) {
            (true, _) => "failover is off for every name, and nothing is withdrawn".to_owned(),
            (false, 0) => "nothing is withdrawn".to_owned(),
            (false, count) => format!("{} withdrawn", list::count(count, "record")),
        };
        out.push_str(&fold("", "  ", &format!("{summary} (exit {})", self.exit), style));
        out
    }
}

impl FailoverName {
    fn text(&self, out: &mut String, config: &Config, now: Timestamp, style: Style) {
        let others = self.names.iter().filter(|name| name.as_str() != self.name);
        let others: Vec<String> = others.map(ToString::to_string).collect();
        let others = match others.is_empty() {
            true => String::new(),
            false => format!(", also of {}", list::first(MOST_LISTED, others)),
        };
        let failover = &config.failover;
        let terms = match self.mode {
            "off" => "failover off".to_owned(),
            mode => format!(
                "failover {mode}: out after {}, back after {}",
                span(failover.after),
                span(failover.restore_after)
            ),
        };
        out.push_str(&fold("", "    ", &format!("{}  ({terms}{others})", self.name), style));
        let rows: Vec<_> = self.records.iter().map(|record| record.row(now)).collect();
        if !rows.is_empty() {
            out.push_str(&aligned_rows(["ADDRESS", "NODE", "TTL", "HEALTH", "RECORD"], rows, style));
        }
        for record in &self.records {
            if let Some(next) = &record.next {
                out.push_str(&fold("  ", "    ", &format!("{}: {next}", record.address), style));
            }
        }
        for finding in &self.findings {
            out.push_str(&item("! ", &finding.named(), Some(&finding.next), style));
        }
        out.push('\n');
    }
}

impl FailoverRecord {
    fn row(&self, now: Timestamp) -> ([String; 5], Exit) {
        let nodes = match self.nodes.as_slice() {
            [] => "(no node)".to_owned(),
            nodes => list::first(MOST_LISTED, nodes),
        };
        let ttl = self.ttl.or(self.withdrawn.as_ref().map(|entry| entry.ttl));
        let ttl = match ttl {
            // Cloudflare's word for a TTL of 1.
            Some(1) => "auto".to_owned(),
            Some(ttl) => format!("{ttl} s"),
            None => "-".to_owned(),
        };
        let health = match self.health_since {
            Some(since) => format!("{} for {}", self.health, span(now.duration_since(since))),
            None => self.health.to_owned(),
        };
        let (word, exit) = match (self.records, &self.withdrawn) {
            (Some(0) | None, Some(entry)) => (format!("withdrawn {}", minute(entry.since)), Exit::Warning),
            (None, None) => ("not read".to_owned(), Exit::Warning),
            (Some(0), None) => ("none".to_owned(), Exit::Ok),
            (Some(1), _) if self.proxied => ("proxied".to_owned(), Exit::Ok),
            (Some(1), _) => ("in DNS".to_owned(), Exit::Ok),
            (Some(count), _) => (format!("in DNS, {count} times"), Exit::Ok),
        };
        ([self.address.to_string(), nodes, ttl, health, word], exit)
    }
}

/// What `certd dns restore` did with one record.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    pub name: String,
    pub address: IpAddr,
    pub ttl: u32,
    /// `restored`, or `in-dns` where it was there already.
    pub done: &'static str,
    /// What did not come back with it, or what happens next; empty: nothing.
    pub notes: Vec<String>,
}

impl Restored {
    /// Ends with a newline.
    pub fn text(&self, style: Style) -> String {
        let Self { name, address, ttl, done, .. } = self;
        let what = match *done {
            "in-dns" => format!("{name} {address}: is in DNS already; its entry in the journal has ended"),
            _ => format!("{name} {address}: is in DNS again, with a TTL of {ttl} s"),
        };
        let mut out = fold("", "  ", &what, style);
        self.notes.iter().for_each(|note| out.push_str(&fold("  ", "    ", note, style)));
        out
    }
}
