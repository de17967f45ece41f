//! The report for a person: what is wrong first, and what to do about it.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use crate::cert::Fingerprint;
use crate::plan::{RenewalWait, Wait};

use super::words;
use super::{CertificateReport, Current, Delivery, HeldReport, Issuance, Report, ServedReport, Style, table};

/// Ends with a newline. Everything that a peer said is escaped already where it was read.
pub fn text(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for certificate in &report.certificates {
        let _ = head(&mut out, certificate, report);
        out.push_str(&table::nodes(&certificate.nodes, style, report.at));
        let _ = notes(&mut out, certificate, report);
        out.push('\n');
    }
    if !report.watched.is_empty() {
        out.push_str("watched\n");
        out.push_str(&table::watched(&report.watched, style, report.at));
        out.push('\n');
    }
    out.push_str(&super::inventory::text(&report.inventory));
    if !report.disks.is_empty() {
        out.push_str("on the nodes' disks\n");
        out.push_str(&table::disks(&report.disks, style, report.at));
        out.push('\n');
    }
    for wait in &report.plan.waits {
        if let Wait::Clock { doubt } = wait {
            let _ = writeln!(out, "! {}\n  next: {}", words::clock(doubt), words::SET_THE_CLOCK);
        }
    }
    if !report.left_out.is_empty() {
        let nodes: Vec<&str> = report.left_out.iter().map(|node| node.as_str()).collect();
        let _ = writeln!(out, "left out, and not looked at: {}", nodes.join(", "));
    }
    for failure in &report.failures {
        let _ = writeln!(out, "! {}\n  next: {}", words::named(failure), failure.next);
    }
    out.push_str(&summary(report));
    out
}

fn head(out: &mut String, certificate: &CertificateReport, report: &Report) -> core::fmt::Result {
    writeln!(out, "{}  ({})", certificate.name, certificate.names)?;
    let Some(current) = &certificate.current else {
        return writeln!(out, "  stored: nothing was issued yet");
    };
    writeln!(
        out,
        "  stored: {} by {}, {}, until {}; renewal {}",
        current.fingerprint.short(),
        current.issuer,
        current.key_type.as_str(),
        words::until(current.not_after, report.at),
        words::from(current.renew_at),
    )?;
    let Some(HeldReport { held, ends }) = &certificate.held else { return Ok(()) };
    let by = held.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
    writeln!(
        out,
        "  held: generation {} ({}) since {}{by};",
        held.generation,
        held.fingerprint.short(),
        words::minute(held.since)
    )?;
    writeln!(
        out,
        "    what is stored since waits for `certd deploy {} --latest`, or for {} at the latest",
        certificate.name,
        words::from(*ends)
    )
}

fn notes(out: &mut String, certificate: &CertificateReport, report: &Report) -> core::fmt::Result {
    match &certificate.issuance {
        Some(Issuance::Issued { generation, ca, passed_over }) => {
            let by = if passed_over.is_empty() { String::new() } else { format!(" by {ca}") };
            writeln!(out, "  issued: generation {generation}{by}")?;
            for passed in passed_over {
                writeln!(out, "    {}", words::passed_over(passed))?;
            }
        }
        Some(Issuance::Failed { failure }) => {
            writeln!(out, "  not issued: {}", words::named(failure))?;
            writeln!(out, "    next: {}", failure.next)?;
        }
        Some(Issuance::Rehearsed) => writeln!(out, "  rehearsed: a TXT record was made, seen and removed; no order")?,
        Some(Issuance::RehearsedStanding) => {
            writeln!(
                out,
                "  rehearsed: TXT records that stay were looked for, as far as an account tells them; no order"
            )?;
        }
        None => {
            for wait in &report.plan.waits {
                if let Wait::Renewal { certificate: name, reason } = wait
                    && name == &certificate.name
                {
                    let prefix = match reason {
                        // `deploy` of what is stored: that nothing is issued is no news.
                        RenewalWait::MayNotIssue { stored: true } => continue,
                        RenewalWait::MayNotIssue { stored: false } => "not delivered",
                        RenewalWait::NotDue { .. } => "nothing to issue",
                        // What is due and held up is something to issue.
                        _ => "not issued",
                    };
                    writeln!(out, "  {prefix}: {}", words::renewal_wait(reason))?;
                }
            }
        }
    }
    if let Some(current) = &certificate.current {
        of_revocation(out, certificate, current)?;
    }
    for node in &certificate.nodes {
        let whose = |served: &'_ ServedReport| Some((served.fingerprint?, served.whose.as_ref()?.sentence()));
        // Several addresses serve one.
        let each: BTreeMap<Fingerprint, String> = node.served.iter().filter_map(whose).collect();
        for (fingerprint, whose) in each {
            writeln!(out, "  {} serves {}, not ours: {whose}", node.node, fingerprint.short())?;
        }
    }
    for node in &certificate.nodes {
        let (what, next) = match &node.delivery {
            None => continue,
            Some(Delivery::Ended(outcome)) => words::outcome(outcome),
            Some(Delivery::Rehearsed { test: None }) => ("rehearsed: prepared, nothing was changed".into(), None),
            Some(Delivery::Rehearsed { test: Some(words) }) => (
                format!("rehearsed: prepared, but its configuration test fails: {words}"),
                Some("mend the server's configuration on the node; before a first install it fails for want of the files".into()),
            ),
        };
        writeln!(out, "  {}: {what}", node.node)?;
        if let Some(next) = next {
            writeln!(out, "    next: {next}")?;
        }
    }
    Ok(())
}

fn of_revocation(out: &mut String, certificate: &CertificateReport, current: &Current) -> core::fmt::Result {
    let crl = current.crl.as_ref();
    if let Some(revoked) = crl.and_then(|crl| crl.revoked) {
        writeln!(out, "  revoked by its CA on {} (reason {} of RFC 5280)", words::day(revoked.at), revoked.reason)?;
    } else if let Some(failure) = crl.and_then(|crl| crl.failure.as_ref()) {
        writeln!(out, "  note: {}", words::named(failure))?;
    }
    if let Some(begun) = current.revocation_begun {
        let (name, begun) = (&certificate.name, words::minute(begun));
        writeln!(out, "  a revocation was begun {begun} and not ended: `certd revoke {name}` goes on with it")?;
    }
    Ok(())
}

/// One line, so that the end of a log says it all.
fn summary(report: &Report) -> String {
    let all = || report.certificates.iter().flat_map(|certificate| &certificate.nodes);
    let counted = || all().filter(|node| node.paused_until.is_none());
    let well = counted().filter(|node| node.served.iter().all(|served| served.verdict.is_meant()));
    let meaning = match report.exit {
        0 => "all is well",
        3 => "a warning",
        4 => "visitors are hurt now",
        5 => "issuance failed",
        6 => "a node lacks the certificate that is meant for it",
        _ => "certd failed",
    };
    let nodes = || {
        let well = well.filter(|node| !node.served.is_empty()).count();
        format!("{well} of {} serve the certificate that is meant for them", counted().count())
    };
    // Only watched endpoints were asked for.
    let nodes = (report.watched.is_empty() || !report.certificates.is_empty()).then(nodes);
    let watched = (!report.watched.is_empty()).then(|| {
        let well = report.watched.iter().filter(|watched| watched.is_well()).count();
        format!("{well} of {} watched are well", report.watched.len())
    });
    let told: Vec<String> = nodes.into_iter().chain(watched).collect();
    format!("{}: {meaning} (exit {})\n", told.join(", "), report.exit)
}
