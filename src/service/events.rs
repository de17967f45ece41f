//! The events of the service. Each is one line of its journal.

mod failover;
mod health;

use core::fmt;
use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

pub use self::failover::FailoverEvent;
pub use self::health::HealthEvent;
use crate::cert::{CertName, DnsName, NodeName, WatchName};
use crate::model::{Code, Finding, Over};
use crate::plan::ClockDoubt;
use crate::plan::rollout::Outcome;
use crate::plan::schedule::{Trigger, Work};
use crate::reconcile::record_outcome::failed;
use crate::report::{self, CertificateReport, Delivery, Issuance, NodeReport, Report, ServedReport, Verdict};
use crate::text::list;

#[derive(Clone, Debug)]
pub enum ServiceEvent {
    Started {
        certificates: usize,
        nodes: usize,
    },
    Pass(Trigger),
    /// Another certd holds the lock (this file); the pass begins when it is released.
    Locked(PathBuf),
    /// A node or a watched endpoint serves something else than at the last look.
    Changed {
        place: Place,
        from: Option<Verdict>,
        to: Verdict,
    },
    Jumped {
        by: SignedDuration,
        now: Timestamp,
    },
    Doubt(ClockDoubt),
    DoubtEnded,
    Reloaded {
        certificates: usize,
        nodes: usize,
    },
    /// The new configuration, or a file that it names, is invalid; the old configuration stays in use.
    NotReloaded {
        why: Vec<String>,
    },
    /// A secret or a root cannot be read again; the values from memory stay in use.
    FilesKept(Finding),
    Health(HealthEvent),
    Failover(FailoverEvent),
    /// A look or a pass could not be made.
    Failed(Finding),
    Stopping,
}

/// Where a handshake was made, and for which name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub subject: Subject,
    pub address: Option<SocketAddr>,
    pub sni: DnsName,
    pub over: Over,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    Node {
        node: NodeName,
        certificate: CertName,
    },
    /// An endpoint that others maintain.
    Watched(WatchName),
}

/// The verdict of each handshake in a report, without paused nodes.
pub(crate) fn verdicts(report: &Report) -> BTreeMap<Place, Verdict> {
    let mut verdicts = BTreeMap::new();
    let mut add = |subject: &Subject, served: &[ServedReport]| {
        for served in served {
            let (address, sni, over) = (served.address, served.sni.clone(), served.over);
            let place = Place { subject: subject.clone(), address, sni, over };
            // Two workers may answer differently: keep the worse verdict, which comes first.
            verdicts.entry(place).or_insert_with(|| served.verdict.clone());
        }
    };
    for certificate in &report.certificates {
        for node in certificate.nodes.iter().filter(|node| node.paused_until.is_none()) {
            let subject = Subject::Node { node: node.node.clone(), certificate: certificate.name.clone() };
            add(&subject, &node.served);
        }
    }
    for watched in &report.watched {
        add(&Subject::Watched(watched.name.clone()), &watched.served);
    }
    verdicts
}

/// The verdicts that changed. A different message of the same verdict is no change, and a new place counts only when it
/// is not ok.
pub(crate) fn changes(before: &BTreeMap<Place, Verdict>, now: &BTreeMap<Place, Verdict>) -> Vec<ServiceEvent> {
    let changed = |(place, to): (&Place, &Verdict)| {
        // When the name could not be resolved, its place had no address.
        let from = before.get(place).or_else(|| before.get(&Place { address: None, over: Over::Tcp, ..place.clone() }));
        let same = from.map_or(*to == Verdict::Ok, |from| from.word() == to.word());
        (!same).then(|| ServiceEvent::Changed { place: place.clone(), from: from.cloned(), to: to.clone() })
    };
    now.iter().filter_map(changed).collect()
}

/// The failures of a pass, by code: without messages, which differ each time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    exit: u8,
    /// Code and object of failures that concern no single certificate or node.
    failures: Vec<(Code, String)>,
    /// Of certificates and nodes.
    codes: Vec<(CertName, Option<NodeName>, Code)>,
}

impl Failures {
    pub(crate) fn of(report: &Report) -> Self {
        let mut codes = Vec::new();
        for certificate in &report.certificates {
            if let Some(Issuance::Failed { failure }) = &certificate.issuance {
                codes.push((certificate.name.clone(), None, failure.code.clone()));
            }
            for node in &certificate.nodes {
                if let Some(Delivery::Ended(outcome)) = &node.delivery
                    && let Some(failure) = failed(&node.node, outcome)
                {
                    codes.push((certificate.name.clone(), Some(node.node.clone()), failure.code));
                }
            }
        }
        codes.sort();
        let mut failures: Vec<_> = report.failures.iter().map(|it| (it.code.clone(), it.object.clone())).collect();
        let findings = report.inventory.iter().flat_map(|name| &name.findings);
        failures.extend(findings.map(|finding| (finding.code.clone(), finding.object.clone())));
        failures.sort();
        Self { exit: report.exit, failures, codes }
    }
}

pub(crate) fn did_something(report: &Report) -> bool {
    let served = |node: &NodeReport| matches!(node.delivery, Some(Delivery::Ended(Outcome::Served)));
    let of = |certificate: &CertificateReport| {
        matches!(certificate.issuance, Some(Issuance::Issued { .. })) || certificate.nodes.iter().any(served)
    };
    report.certificates.iter().any(of)
}

/// The status line for the service manager: what comes next, and the worst node.
pub(crate) fn status(work: &Work, at: Timestamp, pass_at: Option<Timestamp>, all: &BTreeMap<Place, Verdict>) -> String {
    let worst = worst(all);
    match (work, pass_at) {
        (Work::Pass(_), _) => format!("next pass {}{worst}", report::minute(at)),
        (Work::Look, Some(pass)) => format!("next pass {}{worst}", report::minute(pass)),
        (Work::Look, None) => format!("looking{worst}"),
    }
}

/// Like [`status`], while another certd holds the lock.
pub(crate) fn waiting(all: &BTreeMap<Place, Verdict>) -> String {
    format!("waiting for another certd, which holds the lock{}", worst(all))
}

fn worst(all: &BTreeMap<Place, Verdict>) -> String {
    let worst = all.iter().filter(|(_, verdict)| **verdict != Verdict::Ok).min_by_key(|(_, v)| v.exit().rank());
    match worst {
        _ if all.is_empty() => String::new(),
        None => format!("; {} of {} ok", all.len(), all.len()),
        Some((place, verdict)) => format!("; {} is {}", place.subject.name(), verdict.word()),
    }
}

impl Subject {
    fn name(&self) -> &dyn fmt::Display {
        match self {
            Self::Node { node, .. } => node,
            Self::Watched(name) => name,
        }
    }
}

impl fmt::Display for ServiceEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { certificates, nodes } => write!(f, "started: {}", fleet(*certificates, *nodes)),
            Self::Pass(why) => match why {
                Trigger::First => f.write_str("pass: the first of this installation"),
                Trigger::Scheduled { slot } => write!(f, "pass: scheduled for {}", report::minute(*slot)),
                Trigger::Missed { slot } => {
                    write!(f, "pass: makes up for {}, which was missed", report::minute(*slot))
                }
                Trigger::Waited { until } => write!(f, "pass: a wait ended {}", report::minute(*until)),
                Trigger::Found => f.write_str("pass: the last look found something to do"),
                Trigger::Again { failures: 1 } => f.write_str("pass: the last one could not be made"),
                Trigger::Again { failures } => write!(f, "pass: the last {failures} could not be made"),
            },
            Self::Locked(lock) => {
                let lock = lock.display();
                write!(f, "another certd holds the lock; the pass begins when it ends (`fuser -v {lock}` shows it)")
            }
            Self::Changed { place, from, to } => {
                let at = place.address.map_or_else(String::new, |address| format!(" ({})", place.over.at(address)));
                let was = from.as_ref().map_or_else(String::new, |from| format!(", was {}", from.word()));
                let sentence = match &place.subject {
                    Subject::Node { node, certificate } => {
                        write!(f, "{node}{at}: {certificate} is {}{was}", to.word())?;
                        to.sentence()
                    }
                    Subject::Watched(name) => {
                        write!(f, "watched {name}{at} is {}{was}", to.word())?;
                        to.sentence_of_watched()
                    }
                };
                match sentence {
                    sentence if sentence.is_empty() => Ok(()),
                    sentence => write!(f, ": {sentence}"),
                }
            }
            Self::Jumped { by, now } => {
                let (seconds, side) = (by.as_secs().abs(), if by.is_negative() { "back" } else { "ahead" });
                let now = report::minute(*now);
                write!(f, "the clock went {side} by {seconds} s, or this machine slept: it is {now}; looking again")
            }
            Self::Doubt(doubt) => write!(f, "{}; {}", report::clock(doubt), report::SET_THE_CLOCK),
            Self::DoubtEnded => f.write_str("the clock is plausible again"),
            Self::Reloaded { certificates, nodes } => write!(f, "reloaded: {}", fleet(*certificates, *nodes)),
            Self::NotReloaded { why } => {
                write!(f, "not reloaded; the old configuration stays in use:")?;
                why.iter().try_for_each(|why| write!(f, "\n{why}"))
            }
            Self::FilesKept(failure) => {
                write!(f, "{}; the old value stays in use\n  next: {}", failure.named(), failure.next)
            }
            Self::Health(event) => event.fmt(f),
            Self::Failover(event) => event.fmt(f),
            Self::Failed(failure) => write!(f, "{}\n  next: {}", failure.named(), failure.next),
            Self::Stopping => f.write_str("stopped"),
        }
    }
}

fn fleet(certificates: usize, nodes: usize) -> String {
    format!("{}, {}", list::count(certificates, "certificate"), list::count(nodes, "node"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_resolves_again_is_reported_as_a_change() {
        let place = |address: Option<&str>| Place {
            subject: Subject::Watched(WatchName::parse("backend").unwrap()),
            address: address.map(|address| address.parse().unwrap()),
            sni: DnsName::parse("api.example.com").unwrap(),
            over: Over::Tcp,
        };
        let lost = BTreeMap::from([(place(None), Verdict::Unreachable { why: "no answer from DNS".into() })]);
        let there = BTreeMap::from([(place(Some("192.0.2.1:443")), Verdict::Ok)]);
        let lines = |before, now| -> Vec<String> { changes(before, now).iter().map(ToString::to_string).collect() };
        assert_eq!(lines(&lost, &there), ["watched backend (192.0.2.1:443) is ok, was unreachable"]);
        assert!(lines(&there, &lost)[0].starts_with("watched backend is unreachable: no answer from DNS"));
        assert!(lines(&there, &there).is_empty());
    }
}
