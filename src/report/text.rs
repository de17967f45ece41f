//! The report as text: problems first, with advice.

use std::collections::BTreeMap;

use crate::cert::Fingerprint;
use crate::model::Over;
use crate::plan::{RenewalWait, Wait};

use super::notes::{Notes, fold, item};
use super::{
    CertificateReport, Delivery, Exit, HealthReport, HeldReport, Issuance, LastFailure, NodeReport, Report,
    ServedReport, Style, not_asked, outcome, table, words,
};

/// Ends with a newline. Text from peers is already escaped where it is read.
pub fn text(report: &Report, style: Style) -> String {
    let mut out = String::new();
    let mut causes = Notes::default();
    for certificate in &report.certificates {
        out.push_str(&head(certificate, report, style));
        out.push_str(&table::nodes(&certificate.nodes, style, report.at));
        out.push_str(&of_issuance(certificate, report, style));
        let notes = of_nodes(certificate);
        out.push_str(&notes.text(style));
        causes.extend(notes);
        out.push('\n');
    }
    if !report.watched.is_empty() {
        out.push_str("watched\n");
        out.push_str(&table::watched(&report.watched, style, report.at));
        let mut notes = Notes::default();
        for endpoint in &report.watched {
            for served in endpoint.served.iter().filter(|served| endpoint.exit_of(served) != Exit::Ok) {
                let (meaning, next) = served.verdict.of_watched_words();
                let address = served.address.map(|address| format!(" {address}")).unwrap_or_default();
                notes.add(format!("{}{address}", endpoint.name), meaning, advice(next));
            }
        }
        out.push_str(&notes.text(style));
        out.push('\n');
    }
    out.push_str(&super::inventory::text(&report.inventory, style));
    out.push_str(&super::health_text::text(&report.health, style));
    if !report.disks.is_empty() {
        out.push_str("on the nodes' disks\n");
        out.push_str(&table::disks(&report.disks, style, report.at));
        let mut notes = Notes::default();
        for disk in &report.disks {
            if let Some((what, next)) = disk.words() {
                let about = disk.certificate.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
                notes.add(format!("{}{about}", disk.node), what, advice(&next));
            }
        }
        out.push_str(&notes.text(style));
        out.push('\n');
    }
    for wait in &report.plan.waits {
        if let Wait::Clock { doubt } = wait {
            out.push_str(&item("! ", &words::clock(doubt), Some(words::SET_THE_CLOCK), style));
        }
    }
    if !report.left_out.is_empty() {
        let nodes: Vec<&str> = report.left_out.iter().map(|node| node.as_str()).collect();
        out.push_str(&fold("", "  ", &format!("left out, not probed: {}", nodes.join(", ")), style));
    }
    for failure in report.failures.iter().filter(|failure| !causes.cover(failure)) {
        out.push_str(&item("! ", &failure.named(), Some(&failure.next), style));
    }
    out.push_str(&summary(report, style));
    out
}

fn advice(next: &str) -> Option<String> {
    (!next.is_empty()).then(|| next.to_owned())
}

fn head(certificate: &CertificateReport, report: &Report, style: Style) -> String {
    let mut out = fold("", "    ", &format!("{}  ({})", certificate.name, certificate.names), style);
    let Some(current) = &certificate.current else {
        out.push_str("  stored: nothing was issued yet\n");
        return out;
    };
    let stored = format!(
        "stored: {} by {}, {}, until {}; renewal {}",
        current.fingerprint.short(),
        current.issuer,
        current.key_type.as_str(),
        words::until(current.not_after, report.at),
        words::from(current.renew_at),
    );
    out.push_str(&fold("  ", "    ", &stored, style));
    if let Some(HeldReport { held, ends }) = &certificate.held {
        let by = held.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
        let held = format!(
            "held: generation {} ({}) since {}{by}; newer generations wait for `certd deploy {} --latest`, or until \
             {} at the latest",
            held.generation,
            held.fingerprint.short(),
            words::minute(held.since),
            certificate.name,
            words::from(*ends)
        );
        out.push_str(&fold("  ", "    ", &held, style));
    }
    out
}

fn of_issuance(certificate: &CertificateReport, report: &Report, style: Style) -> String {
    let mut out = String::new();
    let mut line = |text: &str| out.push_str(&fold("  ", "    ", text, style));
    match &certificate.issuance {
        Some(Issuance::Issued { generation, ca, passed_over }) => {
            let by = if passed_over.is_empty() { String::new() } else { format!(" by {ca}") };
            line(&format!("issued: generation {generation}{by}"));
            passed_over.iter().for_each(|passed| line(&words::passed_over(passed)));
        }
        Some(Issuance::Failed { failure }) => {
            let what = format!("not issued: {}", failure.named());
            out.push_str(&item("  ", &what, Some(&failure.next), style));
        }
        Some(Issuance::Rehearsed) => line("rehearsed: a TXT record was created, seen and removed; no order"),
        Some(Issuance::RehearsedStanding) => {
            line(
                "rehearsed: permanent TXT records were looked for, as far as they are known from an account; no order",
            );
        }
        None => {
            for wait in &report.plan.waits {
                if let Wait::Renewal { certificate: name, reason } = wait
                    && name == &certificate.name
                    && let Some((what, next)) = renewal_wait(reason, certificate)
                {
                    out.push_str(&item("  ", &what, next, style));
                }
            }
        }
    }
    out.push_str(&of_revocation(certificate, style));
    out
}

/// The sentence for a renewal that waits; "nothing to issue" only if it is not due.
fn renewal_wait<'a>(reason: &'a RenewalWait, certificate: &CertificateReport) -> Option<(String, Option<&'a str>)> {
    let wait = words::renewal_wait(reason);
    Some(match reason {
        // `deploy` never issues; do not mention it.
        RenewalWait::MayNotIssue { stored: true } => return None,
        RenewalWait::MayNotIssue { stored: false } => (format!("not delivered: {wait}"), None),
        RenewalWait::NotDue { .. } => (format!("nothing to issue: {wait}"), None),
        RenewalWait::BackOff { failure, .. } => {
            let since = certificate.failing_since.map(|since| format!("failing since {}; ", words::minute(since)));
            (format!("not issued: {}{wait}", since.unwrap_or_default()), Some(failure.next.as_str()))
        }
        _ => (format!("not issued: {wait}"), None),
    })
}

/// For each node: what is wrong with what it serves, why, and the result of this command's delivery.
fn of_nodes(certificate: &CertificateReport) -> Notes {
    let mut notes = Notes::default();
    for node in &certificate.nodes {
        let name = node.node.as_str();
        if let Some(until) = node.paused_until {
            let reason = node.paused_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            notes.add(name, format!("paused, and does not count until {}{reason}", words::from(until)), None);
        }
        // The result of this command explains more than that of an earlier one.
        let last = node.last_failure.as_ref().filter(|_| node.delivery.is_none());
        let done = node.delivery.as_ref().map_or(Exit::Ok, super::exit::of_delivery);
        for served in &node.served {
            if let Some((what, next)) = node.sentence(served, last) {
                notes.add(name, what, advice(&next).filter(|_| done == Exit::Ok));
            }
        }
        for beside in node.beside.iter().filter(|_| node.paused_until.is_none()) {
            let (what, next) = beside.sentence();
            notes.add(name, what, Some(next));
        }
        for served in node.served.iter().filter(|_| node.paused_until.is_none()) {
            served.note().into_iter().for_each(|note| notes.add(name, note, None));
        }
        let origin = |served: &'_ ServedReport| Some((served.fingerprint?, served.origin.as_ref()?.sentence()));
        let all = node.served.iter().chain(node.beside.iter().map(|beside| &beside.served));
        // Several addresses may serve the same certificate.
        let each: BTreeMap<Fingerprint, String> = all.filter_map(origin).collect();
        for (fingerprint, origin) in each {
            notes.add(name, format!("serves {}, not ours: {origin}", fingerprint.short()), None);
        }
        let (what, next) = match &node.delivery {
            None => continue,
            Some(Delivery::Ended(outcome)) => outcome::outcome(outcome),
            Some(Delivery::Rehearsed { test: None }) => ("rehearsed: prepared, nothing changed".into(), None),
            Some(Delivery::Rehearsed { test: Some(words) }) => (
                format!("rehearsed: prepared, but its configuration test fails: {words}"),
                Some(not_asked::advice_or(
                    words,
                    "fix the server's configuration on the node; before the first delivery it may fail because the files are missing",
                )),
            ),
        };
        notes.add(name, what, next);
    }
    notes
}

impl NodeReport {
    /// Whether QUIC alone shows a wrong certificate at an address where TCP shows the right one.
    fn lingers(&self, served: &ServedReport) -> bool {
        let ip = |served: &ServedReport| served.address.map(|address| address.ip());
        let beside = |other: &&ServedReport| {
            other.over == Over::Tcp && other.sni == served.sni && ip(other) == ip(served) && other.verdict.is_desired()
        };
        let wrong = served.over == Over::Quic && served.fingerprint.is_some() && !served.verdict.is_desired();
        wrong && self.served.iter().any(|other| beside(&other))
    }

    /// The problem of one handshake, with advice; `None`: no problem. If an earlier delivery failed, the advice is to
    /// fix its cause instead of delivering again.
    pub(super) fn sentence(&self, served: &ServedReport, last: Option<&LastFailure>) -> Option<(String, String)> {
        let exit = self.exit_of(served);
        if exit == Exit::Ok || self.paused_until.is_some() {
            return None;
        }
        let (meaning, next) = served.words();
        let next = if self.lingers(served) { outcome::RESTART } else { next };
        Some(match (self.window_opens, last) {
            (Some(opens), _) if exit == Exit::NotDelivered => {
                (format!("{meaning}; its window opens {}", words::from(opens)), String::new())
            }
            (_, Some(last)) => (format!("{meaning}; {}", words::last_failure(last)), last.failure.next.clone()),
            (_, None) => (meaning, next.to_owned()),
        })
    }
}

fn of_revocation(certificate: &CertificateReport, style: Style) -> String {
    let mut out = String::new();
    let Some(current) = &certificate.current else { return out };
    let crl = current.crl.as_ref();
    if let Some(revoked) = crl.and_then(|crl| crl.revoked) {
        let what = format!("revoked by its CA on {} (reason {} of RFC 5280)", words::day(revoked.at), revoked.reason);
        out.push_str(&fold("  ", "    ", &what, style));
    } else if let Some(failure) = crl.and_then(|crl| crl.failure.as_ref()) {
        out.push_str(&fold("  ", "    ", &format!("note: {}", failure.named()), style));
    }
    if let Some(begun) = current.revocation_begun {
        let what = format!("a revocation that began {} is unfinished", words::minute(begun));
        out.push_str(&item("  ", &what, Some(&format!("finish it: `certd revoke {}`", certificate.name)), style));
    }
    out
}

/// One line that summarizes the report and names the worst object, for the end of a log.
fn summary(report: &Report, style: Style) -> String {
    let all = || report.certificates.iter().flat_map(|certificate| &certificate.nodes);
    let counted = || all().filter(|node| node.paused_until.is_none());
    let well = counted().filter(|node| node.is_as_desired());
    let (exit, meaning) = match report.exit {
        0 => (Exit::Ok, "all is well"),
        3 => (Exit::Warning, "a warning"),
        4 => (Exit::Hurt, "visitors are hurt now"),
        5 => (Exit::IssuanceFailed, "issuance failed"),
        6 => (Exit::NotDelivered, "a node lacks its certificate"),
        _ => (Exit::Internal, "certd failed"),
    };
    let nodes = || format!("{} of {} serve the right certificate", well.count(), counted().count());
    // Omitted if only watched endpoints were selected.
    let nodes = (report.watched.is_empty() || !report.certificates.is_empty()).then(nodes);
    let watched = (!report.watched.is_empty()).then(|| {
        let well = report.watched.iter().filter(|watched| watched.is_well()).count();
        format!("{well} of {} watched are well", report.watched.len())
    });
    let health = (!report.health.is_empty()).then(|| {
        let all = report.health.iter().flat_map(|health| &health.nodes).filter(|node| !node.is_passed_over);
        format!("{} of {} are healthy", all.clone().filter(|node| node.is_well()).count(), all.count())
    });
    let counts: Vec<String> = nodes.into_iter().chain(watched).chain(health).collect();
    let meaning = match worst(report, exit) {
        Some(worst) => format!("{meaning}: {worst}"),
        None => meaning.to_owned(),
    };
    let line = format!("{}: {} (exit {})", counts.join(", "), style.paint(&meaning, exit), report.exit);
    fold("", "  ", &line, style)
}

/// The first object with this exit code, in a few words.
fn worst(report: &Report, exit: Exit) -> Option<String> {
    if exit == Exit::Ok {
        return None;
    }
    let of_certificate = |certificate: &'_ CertificateReport| {
        let node = certificate.nodes.iter().find_map(|node| {
            let mut served = node.served.iter().map(|served| node.state(served));
            let seen = served.find(|(_, of)| *of == exit).map(|(word, _)| format!("{} {word}", node.node));
            let missed = || {
                let delivery = node.delivery.as_ref().filter(|it| super::exit::of_delivery(it) == exit)?;
                Some(format!("{} {}", node.node, outcome::outcome_word(delivery)))
            };
            let beside = || {
                let mut beside = node.beside.iter().map(|beside| node.state_beside(beside));
                beside.find(|(_, of)| *of == exit).map(|(word, _)| format!("{} {word}", node.node))
            };
            seen.or_else(missed).or_else(beside)
        });
        let failed = exit == Exit::IssuanceFailed && matches!(certificate.issuance, Some(Issuance::Failed { .. }));
        node.or_else(|| failed.then(|| format!("{} not issued", certificate.name)))
    };
    let watched = || {
        report.watched.iter().find_map(|endpoint| {
            let served = endpoint.served.iter().find(|served| endpoint.exit_of(served) == exit)?;
            Some(format!("{} {}", endpoint.name, served.verdict.word()))
        })
    };
    let health = report.health.iter().flat_map(HealthReport::findings);
    let failure = || health.chain(&report.failures).find(|failure| failure.exit() == exit);
    let of_failure = || failure().map(|failure| format!("{} ({})", failure.object, failure.code));
    report.certificates.iter().find_map(of_certificate).or_else(watched).or_else(of_failure)
}
