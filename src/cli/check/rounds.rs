//! `check --watch`: repeats the check until a signal ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use crate::report::{self, Report};

use super::super::fault::Fault;
use super::super::{Options, Output, output, setup};
use super::Look;

/// Clears the screen and moves the cursor to the upper left corner (ECMA-48: ED, CUP).
const FROM_THE_TOP: &str = "\x1b[H\x1b[2J\x1b[3J";

/// Returns the exit code of the last completed check.
pub(super) fn run(look: &Look, pause: Duration, options: &Options) -> Result<u8, Fault> {
    let runtime = setup::runtime()?;
    let mut stop = look.stop.subscribe();
    setup::install_signal_handlers(&runtime, look.stop.clone(), &Options { quiet: true, ..options.clone() })?;
    let ended = runtime.block_on(async {
        let mut exit = 0;
        let mut before = None;
        loop {
            let report = tokio::select! {
                report = look.report() => report?,
                () = crate::context::stopped(&mut stop) => return Ok(exit),
            };
            exit = report.exit;
            let states = states(&report);
            show(&report, &changes(before.as_ref(), &states), options);
            before = Some(states);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = crate::context::stopped(&mut stop) => return Ok(exit),
            }
        }
    });
    // Do not wait for a handshake that hangs.
    runtime.shutdown_background();
    ended
}

fn show(report: &Report, changes: &[String], options: &Options) {
    if options.output == Output::Json {
        output::json_line(report);
        return;
    }
    let terminal = std::io::stdout().is_terminal();
    let mut text = String::new();
    if terminal {
        text.push_str(FROM_THE_TOP);
    }
    let _ = writeln!(text, "== {}", report::minute(report.at));
    for change in changes {
        let _ = writeln!(text, "* {change}");
    }
    text.push_str(&report::text(report, output::style(options)));
    if !terminal {
        text.push('\n');
    }
    output::text(&text);
}

type States = BTreeMap<String, String>;

/// The verdict of each object. With the fingerprint, so that a node that serves another certificate counts as changed
/// even when it is ok.
fn states(report: &Report) -> States {
    let mut states = States::new();
    for certificate in &report.certificates {
        for node in &certificate.nodes {
            for served in &node.served {
                let at = served.address.map(|address| format!(" at {address}")).unwrap_or_default();
                let shown = served.fingerprint.map(|it| format!(" ({})", it.short())).unwrap_or_default();
                let about = format!("{} {} for {}{at}", node.node, certificate.name, served.sni);
                states.insert(about, format!("{}{shown}", served.verdict.word()));
            }
            for beside in &node.beside {
                let served = &beside.served;
                let at = served.address.map(|address| format!(" at {address}")).unwrap_or_default();
                let about = format!(
                    "{} {}, {} beside it, for {}{at}",
                    node.node, certificate.name, beside.algorithm, served.sni
                );
                states.insert(about, served.verdict.word().to_owned());
            }
        }
    }
    for watched in &report.watched {
        for served in &watched.served {
            let at = served.address.map(|address| format!(" at {address}")).unwrap_or_default();
            let shown = served.fingerprint.map(|it| format!(" ({})", it.short())).unwrap_or_default();
            states.insert(format!("{}{at}", watched.name), format!("{}{shown}", served.verdict.word()));
        }
    }
    for health in &report.health {
        for node in &health.nodes {
            let at = node.address.map(|address| format!(" at {address}")).unwrap_or_default();
            let about = format!("{} {}, health{at}", node.node, health.certificate);
            states.insert(about, node.verdict.word().to_owned());
        }
    }
    for disk in &report.disks {
        let certificate = disk.certificate.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let state = states.entry(format!("{}{certificate} on disk", disk.node)).or_default();
        let more = if state.is_empty() { "" } else { ", " };
        let _ = write!(state, "{more}{}", disk.verdict.word());
    }
    states
}

fn changes(before: Option<&States>, now: &States) -> Vec<String> {
    let Some(before) = before else { return Vec::new() };
    let every: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let none = "nothing".to_owned();
    let changed = every.into_iter().filter_map(|about| {
        let (was, is) = (before.get(about).unwrap_or(&none), now.get(about).unwrap_or(&none));
        (was != is).then(|| format!("{about}: was {was}, is {is}"))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_with_its_old_and_new_state() {
        let states = |list: &[(&str, &str)]| -> States {
            list.iter().map(|(about, state)| ((*about).to_owned(), (*state).to_owned())).collect()
        };
        let (one, two) = (states(&[("a", "ok"), ("b", "ok")]), states(&[("a", "ok"), ("b", "expired"), ("c", "ok")]));
        assert_eq!(changes(None, &one), [""; 0]);
        assert_eq!(changes(Some(&one), &one), [""; 0]);
        assert_eq!(changes(Some(&one), &two), ["b: was ok, is expired", "c: was nothing, is ok"]);
        assert_eq!(changes(Some(&two), &one), ["b: was expired, is ok", "c: was ok, is nothing"]);
    }
}
