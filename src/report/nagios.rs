//! The report for a monitoring system: the convention of the Monitoring Plugins (Nagios, Icinga, Naemon, Checkmk).
//!
//! ```text
//! CERTD CRITICAL - 广州 newapi.example.com: expired | 'days newapi.example.com'=60;30;9;; …
//! further lines, the worst first
//! ```

use core::fmt::Write as _;

use jiff::Timestamp;

use crate::model::Severity;
use crate::report::{CertificateReport, Exit, HealthReport, Report, words};
use crate::text::escape;

/// The states of the convention, by exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    Ok = 0,
    Warning = 1,
    Critical = 2,
    Unknown = 3,
}

impl State {
    /// From certd's own exit code.
    pub fn of(exit: u8) -> Self {
        const CRITICAL: [Exit; 3] = [Exit::Hurt, Exit::IssuanceFailed, Exit::NotDelivered];
        match exit {
            code if code == Exit::Ok.code() => Self::Ok,
            code if code == Exit::Warning.code() => Self::Warning,
            code if CRITICAL.iter().any(|exit| exit.code() == code) => Self::Critical,
            _ => Self::Unknown,
        }
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// Ends with a newline. `|` begins the performance data, so it must not occur in any text.
pub fn nagios(report: &Report) -> String {
    let state = State::of(report.exit);
    let findings = findings(report);
    let first = match findings.as_slice() {
        [] => summary(report),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    };
    let mut out = format!("CERTD {} - {}", state.word(), plain(&first));
    let numbers = numbers(report);
    if !numbers.is_empty() {
        let _ = write!(out, " | {}", numbers.join(" "));
    }
    out.push('\n');
    for finding in findings.iter().skip(usize::from(findings.len() == 1)) {
        let _ = writeln!(out, "{}", plain(finding));
    }
    out
}

/// The output when there is no report.
pub fn nagios_unknown(why: &str) -> String {
    format!("CERTD UNKNOWN - {}\n", plain(why.lines().next().unwrap_or("no report")))
}

fn summary(report: &Report) -> String {
    let nodes = report.certificates.iter().flat_map(|certificate| &certificate.nodes);
    let (certificates, nodes, watched) = (report.certificates.len(), nodes.count(), report.watched.len());
    let soonest = report.certificates.iter().filter_map(|it| Some((it.current.as_ref()?.not_after, &it.name))).min();
    let soonest = soonest.map(|(at, name)| format!("; the first to end is {name}, {}", words::until(at, report.at)));
    let watched = if watched == 0 { String::new() } else { format!(", {watched} watched") };
    format!("certificates: {certificates}, served by nodes: {nodes}{watched}{}", soonest.unwrap_or_default())
}

/// A sentence for each problem, worst first.
fn findings(report: &Report) -> Vec<String> {
    let mut found: Vec<(Exit, String)> = Vec::new();
    for certificate in &report.certificates {
        let name = &certificate.name;
        for node in &certificate.nodes {
            if let Some(until) = node.paused_until {
                let why = node.paused_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                let until = words::from(until);
                found.push((Exit::Warning, format!("{} {name}: paused until {until}{why}", node.node)));
                continue;
            }
            for served in &node.served {
                let at = served.address.map(|address| format!(" {address}")).unwrap_or_default();
                let (word, exit) = node.state(served);
                let Some((what, next)) = node.sentence(served, node.last_failure.as_ref()) else { continue };
                let sentence = super::verdict::joined(&what, &next);
                found.push((exit, format!("{}{at} {name}: {word}: {sentence}", node.node)));
            }
            for beside in &node.beside {
                let at = beside.served.address.map(|address| format!(" {address}")).unwrap_or_default();
                let (what, next) = beside.sentence();
                let sentence = super::verdict::joined(&what, &next);
                found.push((beside.exit(), format!("{}{at} {name}: {}: {sentence}", node.node, beside.word())));
            }
            if node.served.is_empty() {
                found.push((Exit::NotDelivered, format!("{} {name}: not probed", node.node)));
            }
        }
    }
    let mut in_dns: Vec<String> = Vec::new();
    for finding in report.inventory.iter().flat_map(|name| &name.findings) {
        let text = format!("{}: {}", finding.object, finding.what);
        // Several certificates may share the name.
        if finding.severity == Severity::Warning && !in_dns.contains(&text) {
            in_dns.push(text);
        }
    }
    for finding in report.health.iter().flat_map(HealthReport::findings) {
        found.push((finding.exit(), format!("health: {}: {}", finding.named(), finding.next)));
    }
    found.extend(in_dns.into_iter().map(|text| (Exit::Warning, text)));
    for watched in &report.watched {
        for served in &watched.served {
            let at = served.address.map(|address| format!(" {address}")).unwrap_or_default();
            let (word, sentence) = (served.verdict.word(), served.verdict.sentence_of_watched());
            found.push((watched.exit_of(served), format!("{}{at}: {word}: {sentence}", watched.name)));
        }
    }
    for disk in &report.disks {
        let certificate = disk.certificate.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let (word, sentence) = (disk.verdict.word(), disk.sentence());
        found.push((disk.exit(), format!("{}{certificate} on disk: {word}: {sentence}", disk.node)));
    }
    for failure in &report.failures {
        found.push((failure.exit(), failure.named()));
    }
    found.retain(|(exit, _)| *exit != Exit::Ok);
    found.sort_by_key(|(exit, _)| exit.rank());
    let mut found: Vec<String> = found.into_iter().map(|(_, text)| text).collect();
    if found.is_empty() && report.exit != Exit::Ok.code() {
        // Waits of the plan have no line of their own.
        found.push(format!("exit code {}: see `certd check`", report.exit));
    }
    found
}

/// Days left by certificate and node, with warning and critical thresholds. The thresholds are informational: the state
/// is judged by each certificate's own lifetime.
fn numbers(report: &Report) -> Vec<String> {
    let mut numbers = Vec::new();
    for certificate in &report.certificates {
        let thresholds = thresholds(certificate);
        for node in &certificate.nodes {
            let first = node.served.iter().filter_map(|served| served.not_after).min();
            let Some(not_after) = first else { continue };
            let label = format!("{} {}", node.node, certificate.name);
            numbers.push(format!("{}={};{thresholds};;", quoted(&label), days(not_after, report.at)));
        }
    }
    for watched in &report.watched {
        let first = watched.served.iter().filter_map(|served| served.not_after).min();
        let Some(not_after) = first else { continue };
        numbers.push(format!("{}={};;;;", quoted(watched.name.as_str()), days(not_after, report.at)));
    }
    numbers
}

/// `WARN;CRIT` as ranges: alert below this number of days.
fn thresholds(certificate: &CertificateReport) -> String {
    let Some(current) = &certificate.current else { return ";".into() };
    let lifetime = current.not_after.duration_since(current.not_before);
    let late = current.not_after.duration_since(current.renew_at) - lifetime / super::verdict::OVERDUE_PART;
    let days = |span: jiff::SignedDuration| format!("{:.2}:", span.as_secs_f64().max(0.0) / 86_400.0);
    format!("{};{}", days(late), days(jiff::SignedDuration::ZERO))
}

fn days(not_after: Timestamp, now: Timestamp) -> String {
    format!("{:.2}", not_after.duration_since(now).as_secs_f64() / 86_400.0)
}

/// A label in single quotes; quotes inside are doubled, and `=` is not allowed.
fn quoted(label: &str) -> String {
    format!("'{}'", plain(label).replace('\'', "''").replace('=', "_"))
}

fn plain(text: &str) -> String {
    escape(text, 1_000).replace('|', "¦")
}
