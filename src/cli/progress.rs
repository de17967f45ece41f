//! What happens while it happens, on stderr: on a terminal one line that names what is waited for, above it what failed;
//! elsewhere, and with -v, one line per event, and one when nothing has been printed for some seconds.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, Once};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;

use crate::cert::NodeName;
use crate::context::clock::monotonic;
use crate::context::progress::{Event, Phase, Progress};
use crate::mutex::lock;

use super::Options;

/// A person wonders after so many seconds what is going on …
const SILENCE: SignedDuration = SignedDuration::from_secs(5);
/// … and a log needs to know it no more often than this.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_secs(40);
/// Of those that are waited for.
const NAMED: usize = 3;

pub(super) fn progress(options: &Options) -> Progress {
    if options.quiet {
        return Progress::silent();
    }
    let is_terminal = std::io::stderr().is_terminal() && !options.verbose;
    Screen::progress(is_terminal, options.verbose)
}

/// For what only looks: elsewhere than on a terminal its report is all that is wanted.
pub(super) fn of_a_look(options: &Options) -> Progress {
    let wanted = !options.quiet && (options.verbose || std::io::stderr().is_terminal());
    if wanted { progress(options) } else { Progress::silent() }
}

/// One line for each event, on a terminal too, and none for silence: a service's log.
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

/// Where events are shown, and what is going on.
struct Screen {
    /// `None`: lines.
    bar: Option<ProgressBar>,
    verbose: bool,
    doing: Mutex<Doing>,
    ticker: Once,
}

#[derive(Default)]
struct Doing {
    phases: BTreeMap<NodeName, Phase>,
    /// How many of each are under way.
    waiting: BTreeMap<&'static str, BTreeMap<String, usize>>,
    /// What was said last of a certificate or an account.
    step: String,
    /// When something was printed last, or the spinner's text changed.
    since: SignedDuration,
    /// When the silence is too long.
    reminder: SignedDuration,
    over: bool,
}

impl Screen {
    fn progress(is_terminal: bool, verbose: bool) -> Progress {
        let style = || ProgressStyle::with_template("{spinner} {wide_msg}").expect("a template that was tried");
        let bar = is_terminal.then(|| ProgressBar::new_spinner().with_style(style()));
        let screen = Arc::new(Self { bar, verbose, doing: Mutex::default(), ticker: Once::new() });
        Progress::new(move |event| screen.show(&event))
    }

    fn show(self: &Arc<Self>, event: &Event) {
        // Not before: until root is given up there is one thread.
        self.ticker.call_once(|| self.tick_every_second());
        let mut doing = self.doing();
        if doing.since.is_zero() {
            doing.printed();
        }
        doing.learn(event);
        if doing.over {
            self.bar.iter().for_each(ProgressBar::finish_and_clear);
            return;
        }
        let told = self.verbose || !matches!(event, Event::Checked { .. });
        let Some(bar) = &self.bar else {
            if let Some(text) = words(event).filter(|_| told) {
                line(&text);
                doing.printed();
            }
            return;
        };
        if let Event::Node { phase: Phase::Failed, .. } = event {
            bar.println(words(event).unwrap_or_default());
        }
        doing.printed();
        bar.set_message(doing.text());
        bar.tick();
    }

    /// Ends with the screen, or with what it shows.
    fn tick_every_second(self: &Arc<Self>) {
        let screen = Arc::downgrade(self);
        // Without the thread nothing but reminders is missing.
        let _ = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let Some(screen) = screen.upgrade() else { return };
                let mut doing = screen.doing();
                if doing.over {
                    return;
                }
                let text = doing.reminder(monotonic());
                match &screen.bar {
                    Some(bar) => {
                        let silent = monotonic() - doing.since;
                        let after = if silent < SILENCE { String::new() } else { format!(" ({} s)", silent.as_secs()) };
                        bar.set_message(doing.text() + &after);
                        bar.tick();
                    }
                    None => text.iter().for_each(|text| line(text)),
                }
            }
        });
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        lock(&self.doing)
    }
}

impl Doing {
    fn learn(&mut self, event: &Event) {
        match event {
            Event::Issue { .. } | Event::Account { .. } => self.step = words(event).unwrap_or_default(),
            Event::Node { node, phase, .. } => _ = self.phases.insert(node.clone(), *phase),
            Event::Waiting { doing, what, over: false } => {
                *self.waiting.entry(doing).or_default().entry(what.clone()).or_default() += 1;
            }
            Event::Waiting { doing, what, over: true } => {
                let Some(these) = self.waiting.get_mut(doing) else { return };
                if let Some(count) = these.get_mut(what) {
                    *count -= 1;
                }
                these.retain(|_, count| *count > 0);
            }
            Event::Checked { .. } => {}
            Event::Over => self.over = true,
        }
    }

    fn printed(&mut self) {
        self.since = monotonic();
        self.reminder = self.since + SILENCE;
    }

    /// What is to be printed after a silence, and again after twice that time.
    fn reminder(&mut self, now: SignedDuration) -> Option<String> {
        let text = self.text();
        if now < self.reminder || text.is_empty() {
            return None;
        }
        let silent = now - self.since;
        self.reminder = now + silent.min(LONGEST_SILENCE);
        Some(format!("still, after {} s: {text}", silent.as_secs()))
    }

    /// `handshake with 上海, 广州; 2 preparing (a, b), 97 served`; else what was said last.
    fn text(&self) -> String {
        let waiting = self.waiting.iter().filter(|(_, these)| !these.is_empty());
        let mut parts: Vec<String> =
            waiting.map(|(doing, these)| format!("{doing} {}", few(these.keys().map(String::as_str)))).collect();
        if self.phases.values().any(|phase| is_going_on(*phase)) {
            parts.push(count(&self.phases));
        }
        if parts.is_empty() && self.phases.is_empty() {
            return self.step.clone();
        }
        if parts.is_empty() { count(&self.phases) } else { parts.join("; ") }
    }
}

/// `None`: there is nothing to print.
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
        Event::Waiting { .. } | Event::Over => return None,
    })
}

/// `2 preparing (上海, 广州), 1 verifying (shenzhen), 97 served`.
fn count(phases: &BTreeMap<NodeName, Phase>) -> String {
    let mut by_phase: BTreeMap<Phase, Vec<&str>> = BTreeMap::new();
    for (node, phase) in phases {
        by_phase.entry(*phase).or_default().push(node.as_str());
    }
    let one = |(phase, nodes): (Phase, Vec<&str>)| {
        let count = format!("{} {}", nodes.len(), word(phase));
        if is_going_on(phase) { format!("{count} ({})", few(nodes.into_iter())) } else { count }
    };
    by_phase.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `a, b, c and 97 more`.
fn few<'a>(names: impl Iterator<Item = &'a str> + Clone) -> String {
    let shown = names.clone().take(NAMED).collect::<Vec<_>>().join(", ");
    match names.count().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn is_going_on(phase: Phase) -> bool {
    matches!(phase, Phase::Preparing | Phase::Committing | Phase::Verifying)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::CertName;

    fn node(name: &str, phase: Phase) -> Event {
        Event::Node { node: NodeName::parse(name).unwrap(), phase, detail: String::new() }
    }

    fn waiting(what: &str, over: bool) -> Event {
        Event::Waiting { doing: "handshake with", what: what.to_owned(), over }
    }

    #[test]
    fn the_nodes_that_are_waited_for_are_named_and_those_that_are_done_are_counted() {
        let mut doing = Doing::default();
        let mut after = |event: Event| {
            doing.learn(&event);
            doing.text()
        };
        let step = Event::Issue { certificate: CertName::parse("a").unwrap(), step: "new order".to_owned() };
        assert_eq!(after(step), "a: new order");
        assert_eq!(after(waiting("上海", false)), "handshake with 上海");
        after(waiting("上海", false));
        assert_eq!(after(waiting("上海", true)), "handshake with 上海", "another address of it is still asked");
        assert_eq!(after(waiting("上海", true)), "a: new order");
        after(node("a", Phase::Preparing));
        after(node("b", Phase::Served));
        assert_eq!(after(node("c", Phase::Verifying)), "1 preparing (a), 1 verifying (c), 1 served");
        assert_eq!(after(waiting("d", false)), "handshake with d; 1 preparing (a), 1 verifying (c), 1 served");
        for name in ["e", "f", "g", "h"] {
            after(waiting(name, false));
        }
        assert!(after(waiting("i", false)).starts_with("handshake with d, e, f and 3 more; "));
    }

    #[test]
    fn silence_is_broken_after_five_seconds_and_then_less_and_less_often() {
        let mut doing = Doing::default();
        let seconds = SignedDuration::from_secs;
        assert_eq!(doing.reminder(seconds(60)), None, "there is nothing to name");
        doing.learn(&waiting("上海", false));
        (doing.since, doing.reminder) = (seconds(100), seconds(105));
        let told: Vec<i64> = (101..=200).filter(|now| doing.reminder(seconds(*now)).is_some()).collect();
        assert_eq!(told, [105, 110, 120, 140, 180]);
        (doing.since, doing.reminder) = (seconds(100), seconds(105));
        assert_eq!(doing.reminder(seconds(105)).as_deref(), Some("still, after 5 s: handshake with 上海"));
    }
}
