//! The judgements about clocks and nodes, shared by check, plan, renew and doctor: same words, same severity. The only
//! difference is that doctor raises severities with [`Severity::in_rehearsal`].

use jiff::{SignedDuration, Timestamp};

use crate::cert::NodeName;
use crate::model::{CaClock, Code, Drift, Finding, NodeClock, Severity};
use crate::plan::{clock, disks};
use crate::text::{as_word, list};

use super::disks::DiskVerdict;
use super::{not_asked, renewals, words};

/// File names listed before "and N more".
const SHOWN: usize = 10;
/// A key that other users could read may have been copied.
const EXPOSED: &str = "restrict it there (chmod go-rwx), or wait for the next delivery; if the server's own user reads it, set owner, \
     group or key_mode in [install] first; if other people log in there, consider a new key: certd revoke";

/// This machine's clock compared with that of the CA at `host`.
pub fn own_clock(host: &str, clocks: CaClock) -> Option<Finding> {
    let (ahead, severity) = clock::noticeable(clocks)?;
    let side = if ahead.is_positive() { "ahead of" } else { "behind" };
    let (minutes, here, there) = (ahead.as_mins().abs(), second(clocks.ours), second(clocks.theirs));
    let what = format!("it is {minutes} minutes {side} {host}: here {here}, there {there}");
    let next = "set it (timedatectl): beyond a day, certd stops renewing";
    Some(Finding::for_a_person(Code::ClockSkew, "this machine's clock", what, next).of_severity(severity))
}

/// A node's clock, as read by a delivery or a rehearsal.
pub(super) fn clock_of(node: &NodeName, clocks: NodeClock) -> Option<Finding> {
    let ahead_seconds = disks::clock_off(clocks)?.as_secs();
    DiskVerdict::ClockOff { ahead_seconds }.finding(node)
}

impl DiskVerdict {
    /// `None`: nothing is wrong.
    pub fn finding(&self, node: &NodeName) -> Option<Finding> {
        let of = |code, what: String, next: &str| Some(Finding::for_a_person(code, node, what, next));
        match self {
            Self::Same | Self::Mended { .. } => None,
            // What blocks a look also blocks a delivery.
            Self::NotLooked { failure } => Some(failure.clone().of_severity(Severity::Obstacle)),
            Self::TestFails { output, before_first: false } => of(
                Code::NodeTestFails,
                format!("its configuration test fails, so a reload would change nothing: {output}"),
                not_asked::advice(output).unwrap_or("fix the server's configuration on the node"),
            ),
            Self::TestFails { output, before_first: true } => of(
                Code::NodeTestFails,
                format!("its configuration test fails: {output}"),
                not_asked::advice(output)
                    .unwrap_or("nothing if only the files are missing: the first delivery brings them"),
            )
            .map(|finding| finding.of_severity(Severity::Warning)),
            Self::ClockOff { ahead_seconds } => {
                let side = if *ahead_seconds > 0 { "ahead of" } else { "behind" };
                let off = words::span(SignedDuration::from_secs(ahead_seconds.saturating_abs()));
                let next = "set it on the node (timedatectl): a server sends its certificate whatever its clock shows, \
                            but a receiver judges certificates by it";
                of(Code::NodeClock, format!("its clock is {off} {side} this machine's"), next)
            }
            Self::LittleRoom { kib } => {
                let finding = of(Code::NodeRoom, format!("{kib} KiB are free there"), "free some space on the node")?;
                Some(finding.of_severity(disks::disk_space(*kib)?))
            }
            Self::Renewers { found, renewals } if renewals.is_empty() => of(
                Code::NodeRenewers,
                format!("another ACME client may overwrite what certd delivers: {}", list::first(SHOWN, found)),
                "take the names that certd delivers there out of its configuration; what else it renews goes on",
            ),
            Self::Renewers { renewals, .. } => {
                let (what, next) = renewals::words(renewals);
                let node = as_word(node.as_str());
                of(
                    Code::NodeRenewers,
                    what,
                    &format!("certd node takeover {node} switches off what is certd's alone; by hand, {next}"),
                )
            }
            Self::OldWorkers => of(
                Code::NodeOldWorkers,
                "its nginx serves HTTP/3 without worker_shutdown_timeout: after a reload, old workers get new QUIC \
                 handshakes and do not answer them, until their last request ends"
                    .to_owned(),
                "write worker_shutdown_timeout into its nginx.conf, outside of its http block, as long as a request may last \
                 (such as `worker_shutdown_timeout 60s;`); it ends longer ones",
            ),
            Self::Exposed { files } => {
                let files: Vec<String> =
                    files.iter().map(|file| format!("{} ({})", as_word(&file.path), file.mode)).collect();
                let what = format!("more users can read a key than should: {}", files.join(", "));
                of(Code::NodeKeyExposed, what, EXPOSED)
            }
            Self::Left { folders } => {
                let folders: Vec<String> = folders.iter().map(|folder| as_word(folder)).collect();
                let what = format!("keys of certificates that are not configured there: {}", folders.join(", "));
                let next = format!("certd node clean {} shows what can go, and removes it", as_word(node.as_str()));
                of(Code::NodeLeft, what, &next)
            }
            Self::Drifted(drift) => {
                let (code, next) = match drift {
                    Drift::Newer { .. } => (
                        Code::NodeDrifted,
                        "find out whether another controller delivers there: certd does not go back, and the next delivery \
                         shows whether it accepts the node's number",
                    ),
                    Drift::Foreign { .. } => {
                        (Code::NodePath, "put a plain file or nothing there, or configure another path")
                    }
                    Drift::Overwritten { .. } | Drift::Changed { .. } => (
                        Code::NodeDrifted,
                        "nothing: the next pass delivers; a reload before that would serve what is there",
                    ),
                    Drift::Flattened | Drift::Older { .. } | Drift::Missing => {
                        (Code::NodeDrifted, "nothing: the next pass delivers")
                    }
                };
                of(code, words::drift(drift), next)
            }
        }
    }
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s21_a_nodes_clock_that_is_two_hours_off_is_reported_with_its_direction() {
        let at = |text: &str| text.parse().unwrap();
        let clocks = NodeClock { ours: at("2026-11-23T06:00:00Z"), theirs: at("2026-11-23T08:00:00Z") };
        let finding = clock_of(&NodeName::parse("上海").unwrap(), clocks).expect("two hours are noticed");
        assert_eq!((&finding.code, &*finding.object), (&Code::NodeClock, "上海"));
        assert_eq!(finding.what, "its clock is 2 h ahead of this machine's");
    }

    #[test]
    fn a_rehearsal_raises_the_severity_of_future_problems() {
        let node = NodeName::parse("a").unwrap();
        let severities = |verdict: DiskVerdict| {
            let severity = verdict.finding(&node).unwrap().severity;
            (severity, severity.in_rehearsal())
        };
        let room = |kib| severities(DiskVerdict::LittleRoom { kib });
        assert_eq!(room(1023), (Severity::Obstacle, Severity::Failure));
        assert_eq!(room(1024), (Severity::Warning, Severity::Warning));
        let test = |before_first| severities(DiskVerdict::TestFails { output: "no".into(), before_first });
        assert_eq!(test(false), (Severity::Obstacle, Severity::Failure));
        assert_eq!(test(true), (Severity::Warning, Severity::Warning));
        let renewers =
            severities(DiskVerdict::Renewers { found: vec!["/etc/cron.d/acme".into()], renewals: Vec::new() });
        assert_eq!(renewers, (Severity::Risk, Severity::Warning));
        let foreign = severities(DiskVerdict::Drifted(Drift::Foreign { why: "a link".into() }));
        assert_eq!(foreign, (Severity::Obstacle, Severity::Failure));
    }
}
