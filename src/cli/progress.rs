//! Progress on stderr. On a terminal: one status line that names what certd waits for, with failures above it.
//! Elsewhere, and with -v: one line per event, and a reminder when nothing has been printed for some seconds.

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
use crate::text::list;

use super::Options;

/// After this long without output a person wonders what is going on.
const SILENCE: SignedDuration = SignedDuration::from_secs(5);
/// The longest interval between reminders; they become less frequent so that a log is not flooded.
const LONGEST_SILENCE: SignedDuration = SignedDuration::from_secs(40);
/// Names listed before "and N more".
const NAMED: usize = 3;

pub(super) fn progress(options: &Options) -> Progress {
    if options.quiet {
        return Progress::silent();
    }
    let is_terminal = std::io::stderr().is_terminal() && !options.verbose;
    Screen::progress(is_terminal, options.verbose)
}

/// For read-only commands: off a terminal, their report is the only output.
pub(super) fn for_a_look(options: &Options) -> Progress {
    let wanted = !options.quiet && (options.verbose || std::io::stderr().is_terminal());
    if wanted { progress(options) } else { Progress::silent() }
}

/// For a service's log: one line per event, even on a terminal, and no reminders.
pub(super) fn lines(options: &Options) -> Progress {
    let (quiet, verbose) = (options.quiet, options.verbose);
    Progress::new(move |event| {
        let wanted = !quiet && (verbose || !matches!(event, Event::Checked { .. }));
        if let Some(text) = words(&event).filter(|_| wanted) {
            line(&text);
        }
    })
}

pub(super) fn line(text: &str) {
    // A closed stderr must not stop the work.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Shows events and keeps what is under way.
struct Screen {
    /// `None`: print lines.
    bar: Option<ProgressBar>,
    verbose: bool,
    doing: Mutex<Doing>,
    ticker: Once,
}

#[derive(Default)]
struct Doing {
    phases: BTreeMap<NodeName, Phase>,
    /// By activity ("handshake with") and object: the number under way.
    waiting: BTreeMap<&'static str, BTreeMap<String, usize>>,
    /// The latest step of a certificate or an account.
    step: String,
    /// The last time a line was printed or the spinner's text changed.
    since: SignedDuration,
    /// When the next reminder is due.
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
        // Started with the first event: dropping root privileges requires a single-threaded process.
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
        let wanted = self.verbose || !matches!(event, Event::Checked { .. });
        let Some(bar) = &self.bar else {
            if let Some(text) = words(event).filter(|_| wanted) {
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

    /// The thread ends when the screen is dropped or its work is over.
    fn tick_every_second(self: &Arc<Self>) {
        let screen = Arc::downgrade(self);
        // If the thread cannot start, only reminders are missing.
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

    /// The reminder to print when one is due; the interval doubles each time.
    fn reminder(&mut self, now: SignedDuration) -> Option<String> {
        let text = self.text();
        if now < self.reminder || text.is_empty() {
            return None;
        }
        let silent = now - self.since;
        self.reminder = now + silent.min(LONGEST_SILENCE);
        Some(format!("still, after {} s: {text}", silent.as_secs()))
    }

    /// `handshake with 上海, 广州; 2 preparing (a, b), 97 served`, or the latest step when nothing else is under way.
    fn text(&self) -> String {
        let waiting = self.waiting.iter().filter(|(_, these)| !these.is_empty());
        let mut parts: Vec<String> =
            waiting.map(|(doing, these)| format!("{doing} {}", list::first(NAMED, these.keys()))).collect();
        if self.phases.values().any(|phase| is_going_on(*phase)) {
            parts.push(count(&self.phases));
        }
        if parts.is_empty() && self.phases.is_empty() {
            return self.step.clone();
        }
        if parts.is_empty() { count(&self.phases) } else { parts.join("; ") }
    }
}

/// `None`: the event has no line of its own.
fn words(event: &Event) -> Option<String> {
    Some(match event {
        Event::Issue { certificate, step } => format!("{certificate}: {step}"),
        Event::Checked { certificate, found } => format!("{certificate}: checked {found}"),
        Event::Account { ca, step } => format!("{ca}: {step}"),
        Event::Node { node, phase, detail } if detail.is_empty() => format!("{node}: {}", word(*phase)),
        Event::Node { node, phase, detail } => {
            // Some errors begin with the node's name; do not print it twice.
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
        if is_going_on(phase) { format!("{count} ({})", list::first(NAMED, nodes)) } else { count }
    };
    by_phase.into_iter().map(one).collect::<Vec<_>>().join(", ")
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
    fn nodes_under_way_are_named_and_finished_ones_are_counted() {
        let mut doing = Doing::default();
        let mut after = |event: Event| {
            doing.learn(&event);
            doing.text()
        };
        let step = Event::Issue { certificate: CertName::parse("a").unwrap(), step: "new order".to_owned() };
        assert_eq!(after(step), "a: new order");
        assert_eq!(after(waiting("上海", false)), "handshake with 上海");
        after(waiting("上海", false));
        assert_eq!(after(waiting("上海", true)), "handshake with 上海", "another address of it is still being probed");
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
    fn the_first_reminder_comes_after_five_seconds_and_later_ones_less_often() {
        let mut doing = Doing::default();
        let seconds = SignedDuration::from_secs;
        assert_eq!(doing.reminder(seconds(60)), None, "nothing is under way");
        doing.learn(&waiting("上海", false));
        (doing.since, doing.reminder) = (seconds(100), seconds(105));
        let reminded: Vec<i64> = (101..=200).filter(|now| doing.reminder(seconds(*now)).is_some()).collect();
        assert_eq!(reminded, [105, 110, 120, 140, 180]);
        (doing.since, doing.reminder) = (seconds(100), seconds(105));
        assert_eq!(doing.reminder(seconds(105)).as_deref(), Some("still, after 5 s: handshake with 上海"));
    }
}
