//! Failover in words: what is withdrawn, since when and why; what would be done next, and which guard keeps it from being done.

use core::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::NodeName;
use crate::config::{Config, FailoverMode};
use crate::model::{AddressRecord, Code, Finding, Health, Observed, Withdrawal};
use crate::plan::failover::{Change, Decision, Hold};
use crate::plan::members::Refused;

use super::health;
use super::words::{from, minute, span};

/// What the service noted longer ago says nothing of now.
const NOTES: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);

/// A record that failover has taken out of DNS.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct WithdrawnReport {
    /// The name that has the record: the end of CNAMEs.
    pub name: String,
    pub address: IpAddr,
    pub node: NodeName,
    /// Seconds.
    pub ttl: u32,
    pub since: Timestamp,
    pub why: String,
}

impl WithdrawnReport {
    pub(super) fn of(entry: &Withdrawal) -> Self {
        let (record, node) = (&entry.record, entry.node.clone());
        let (name, address, ttl) = (record.name.clone(), record.address, record.ttl);
        Self { name, address, node, ttl, since: entry.at, why: entry.why.clone() }
    }
}

/// Of the journal, and what the service had to say beside it.
pub(super) fn of_look(config: &Config, observed: &Observed, now: Timestamp) -> Vec<Finding> {
    let entries = observed.failover.withdrawn.iter();
    let mut findings: Vec<Finding> = entries.map(|entry| of_entry(config, entry, None)).collect();
    let notes = observed.failover.notes.as_ref().filter(|notes| now.duration_since(notes.at).abs() < NOTES);
    let notes = notes.into_iter().flat_map(|notes| &notes.findings);
    findings.extend(notes.filter(|finding| finding.code != Code::FailoverWithdrawn).cloned());
    findings
}

/// What a person should know of one name: what is withdrawn, what would be done, and what is not done though a node fails.
/// `shown`: the records, as far as they could be read.
pub(crate) fn findings(
    config: &Config,
    owner: &str,
    shown: Option<&[AddressRecord]>,
    journal: &[Withdrawal],
    decisions: &[Decision],
) -> Vec<Finding> {
    let is_shown = |address: IpAddr| shown.is_some_and(|all| all.iter().any(|record| record.address == address));
    let is_out = |address: IpAddr| journal.iter().any(|entry| entry.record.address == address) && !is_shown(address);
    let held = |address: IpAddr| {
        decisions.iter().find_map(|decision| match decision {
            Decision::Hold { address: of, why, .. } if *of == address => Some(why),
            _ => None,
        })
    };
    let mut findings = Vec::new();
    for entry in journal.iter().filter(|entry| is_out(entry.record.address)) {
        findings.push(of_entry(config, entry, held(entry.record.address)));
    }
    for decision in decisions {
        match decision {
            Decision::Advise(Change::Withdraw { node, record }) => {
                let what = format!("{} of {owner} would be withdrawn from DNS, since its node fails", record.address);
                let next = "mend the node, or remove the record by hand; failover.mode = \"act\" lets certd do it";
                findings.push(Finding::for_a_person(Code::FailoverAdvised, node, what, next));
            }
            Decision::Advise(Change::Restore(entry)) => {
                let what = format!("{} of {owner} would be brought back, since its node is well", entry.record.address);
                let next = format!("certd dns restore {owner} {}", entry.record.address);
                findings.push(Finding::for_a_person(Code::FailoverAdvised, &entry.node, what, next));
            }
            Decision::Hold { node, address, why } if !is_out(*address) => {
                let Some(next) = next_of(why) else { continue };
                let what = format!("{address} of {owner} stays in DNS, though its node fails: {}", words(why));
                findings.push(Finding::for_a_person(Code::FailoverHeld, node, what, next));
            }
            _ => {}
        }
    }
    findings
}

/// `hold`: why it stays out; `None`: not decided here.
fn of_entry(config: &Config, entry: &Withdrawal, hold: Option<&Hold>) -> Finding {
    let Withdrawal { node, record, at, why, failed, .. } = entry;
    let (owner, address) = (&record.name, record.address);
    if !entry.is_done() {
        let what = format!("{address} of {owner} was to be withdrawn {}, and is not known to be: {why}", minute(*at));
        let next = "see whether it is in DNS, and what the provider said: `certd dns status`";
        return Finding::for_a_person(Code::FailoverFailed, node, what, next);
    }
    let mut what = format!("{address} of {owner} is withdrawn from DNS since {}: {why}", minute(*at));
    if *failed > 0 {
        what.push_str(&format!(" (the last attempts at a change failed: {failed})"));
    }
    let by_hand = format!("certd dns restore {owner} {address}");
    let next = match hold {
        Some(Hold::Off) => format!("bring it back when the node is well: {by_hand}"),
        Some(Hold::NotConfigured) => {
            format!("no [[node]] has this address any more: configure it, or bring the record back: {by_hand}")
        }
        Some(hold) if next_of(hold).is_some() => {
            what.push_str(&format!("; {}", words(hold)));
            next_of(hold).unwrap_or_default().to_owned()
        }
        Some(_) => comes_back(config),
        None if config.has_failover() => comes_back(config),
        None => format!("bring it back when the node is well: {by_hand}"),
    };
    Finding::for_a_person(Code::FailoverWithdrawn, node, what, next)
}

fn comes_back(config: &Config) -> String {
    let after = span(config.failover.restore_after);
    format!("mend the node: `certd run` brings the record back when it has been well for {after}")
}

/// Why an address stays as it is.
pub(crate) fn words(hold: &Hold) -> String {
    match hold {
        Hold::Until(at) => format!("not before {}", from(*at)),
        Hold::Interval(at) => format!("one change at a time (failover.interval): not before {}", from(*at)),
        Hold::Unread => "its records could not be read lately".to_owned(),
        Hold::Unsettled(at) => format!("a change was tried just now: certd looks again {}", from(*at)),
        Hold::NoRecords => "the name has no address record left, so another has changed it".to_owned(),
        Hold::NobodyWell => "no node whose address would stay is known to be well".to_owned(),
        Hold::NoWayOut => "this machine may be what is cut off: no witness answers".to_owned(),
        Hold::TooFew { stay, least } => format!("{stay} of its kind would stay, and {least} have to"),
        Hold::Proxied => "the DNS provider shows visitors its own addresses (proxied)".to_owned(),
        Hold::Repeated => "the address has several records, which are weights".to_owned(),
        Hold::Shared => "another node with this address is in another state".to_owned(),
        Hold::NotConfigured => "no configured node has this address any more".to_owned(),
        Hold::StillOut => "its node is not known to be well".to_owned(),
        Hold::Off => "failover is off".to_owned(),
        Hold::BackOff(at) => format!("the last attempts failed: not before {}", from(*at)),
    }
}

/// `None`: it passes by itself.
fn next_of(hold: &Hold) -> Option<&'static str> {
    match hold {
        Hold::Until(_) | Hold::Interval(_) | Hold::Unsettled(_) | Hold::StillOut | Hold::Off => None,
        Hold::Unread => Some("see whether the DNS provider answers: `certd dns status`"),
        Hold::NoRecords => Some("see the zone, and bring back what belongs there: `certd dns restore`"),
        Hold::NobodyWell => Some("mend the nodes: `certd check --health`"),
        Hold::NoWayOut => Some("see this machine's network, and failover.witness"),
        Hold::TooFew { .. } => Some("mend the node; if fewer can bear the load, lower failover.min_records"),
        Hold::Proxied => Some("set the record to \"DNS only\", or write failover = \"off\" at the certificate"),
        Hold::Repeated => Some("mend the node, or remove all its records by hand"),
        Hold::Shared => Some("mend the node; see which others have its address"),
        Hold::NotConfigured => Some("configure its node, or bring the record back: `certd dns restore`"),
        Hold::BackOff(_) => {
            Some("see the provider's words in the service's journal, or try by hand: `certd dns restore`")
        }
    }
}

/// What failover would do next with an address, or why not, in a few words; `None`: nothing is to be done.
pub(super) fn outlook(decisions: &[Decision], mode: FailoverMode, address: IpAddr) -> Option<String> {
    let acts = |done: &str| match mode {
        FailoverMode::Act => format!("`certd run` {done} now"),
        _ => format!("would be {done} now"),
    };
    decisions.iter().find_map(|decision| match decision {
        Decision::Hold { address: of, why, .. } if *of == address => Some(words(why)),
        Decision::Close(entry) if entry.record.address == address => {
            Some("it is in DNS: its entry in the journal ends".to_owned())
        }
        Decision::Do(Change::Withdraw { record, .. }) | Decision::Advise(Change::Withdraw { record, .. })
            if record.address == address =>
        {
            Some(acts(if mode == FailoverMode::Act { "withdraws it" } else { "withdrawn" }))
        }
        Decision::Do(Change::Restore(entry)) | Decision::Advise(Change::Restore(entry))
            if entry.record.address == address =>
        {
            Some(acts(if mode == FailoverMode::Act { "brings it back" } else { "brought back" }))
        }
        _ => None,
    })
}

/// Why a node's record is withdrawn, in the words of its health check. `healths`: all.
pub(crate) fn why(healths: &[Health], refused: &Refused, config: &Config, node: &NodeName, address: IpAddr) -> String {
    let of_node = |health: &&Health| {
        let at = health.place.address.map(|at| at.ip());
        health.place.node == *node && at.is_some_and(|at| at == address || at.is_loopback())
    };
    let failing = healths.iter().filter(of_node).find(|health| health.answer.is_well() == Some(false));
    if let Some(health) = failing {
        let good = config.certificate(&health.place.certificate).zip(config.node(node));
        let good = good.and_then(|(certificate, node)| config.health(certificate, node));
        let good = good.map(|good| health::wanted(&good.status)).unwrap_or_default();
        return format!("{} (failing since {})", health::words(&health.answer, &good), minute(health.since));
    }
    let refused = refused.iter().find(|((_, of, at, _), _)| of == node && *at == address);
    match refused {
        Some(((_, _, _, sni), since)) => {
            format!("it serves a certificate for {sni} that visitors refuse (since {})", minute(since.since))
        }
        None => "its node fails".to_owned(),
    }
}
