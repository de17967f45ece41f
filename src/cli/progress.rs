//! What happens while it happens, on stderr: on a terminal one line that counts the nodes by phase, above it what failed;
//! elsewhere, and with -v, one line per event.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};

use crate::cert::NodeName;
use crate::context::progress::{Event, Phase, Progress};
use crate::mutex::lock;

use super::Options;

pub(super) fn progress(options: &Options) -> Progress {
    if options.quiet {
        return Progress::new(|_| {});
    }
    if options.verbose || !std::io::stderr().is_terminal() {
        return lines(options);
    }
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("a template that was tried");
    bar.set_style(style);
    let phases: Mutex<BTreeMap<NodeName, Phase>> = Mutex::new(BTreeMap::new());
    Progress::new(move |event| {
        let Some(text) = words(&event) else { return bar.finish_and_clear() };
        let message = match event {
            Event::Checked { .. } => return,
            Event::Issue { .. } | Event::Account { .. } | Event::Over => text,
            Event::Node { node, phase, .. } => {
                if phase == Phase::Failed {
                    bar.println(text);
                }
                let mut phases = lock(&phases);
                phases.insert(node, phase);
                count(&phases)
            }
        };
        bar.set_message(message);
        bar.tick();
    })
}

/// One line for each event, on a terminal too.
pub(super) fn lines(options: &Options) -> Progress {
    let (quiet, verbose) = (options.quiet, options.verbose);
    Progress::new(move |event| {
        let told = !quiet && (verbose || !matches!(event, Event::Checked { .. }));
        if let Some(text) = words(&event).filter(|_| told) {
            line(&text);
        }
    })
}

pub(super) fn line(text: &str) {
    // Progress that nobody reads is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// `None`: there is nothing more to tell.
fn words(event: &Event) -> Option<String> {
    Some(match event {
        Event::Issue { certificate, step } => format!("{certificate}: {step}"),
        Event::Checked { certificate, found } => format!("{certificate}: checked {found}"),
        Event::Account { ca, step } => format!("{ca}: {step}"),
        Event::Node { node, phase, detail } if detail.is_empty() => format!("{node}: {}", word(*phase)),
        Event::Node { node, phase, detail } => {
            // Some errors name their node themselves.
            let named = detail.strip_prefix(node.as_str()).and_then(|rest| rest.strip_prefix(": "));
            format!("{node}: {}: {}", word(*phase), named.unwrap_or(detail))
        }
        Event::Over => return None,
    })
}

/// `2 preparing, 1 verifying, 97 served`.
fn count(phases: &BTreeMap<NodeName, Phase>) -> String {
    let mut counts: BTreeMap<Phase, usize> = BTreeMap::new();
    for phase in phases.values() {
        *counts.entry(*phase).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(phase, count)| format!("{count} {}", word(*phase))).collect();
    counts.join(", ")
}

fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Preparing => "preparing",
        Phase::Prepared => "prepared",
        Phase::Committing => "committing",
        Phase::Verifying => "verifying",
        Phase::Served => "served",
        Phase::Failed => "failed",
    }
}
