//! A table of one certificate's nodes or of the watched endpoints, worst first, right with double-width names, coloured by severity when asked.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, Color, ContentArrangement, Table};

use super::{DiskReport, Exit, NodeReport, ServedReport, WatchedReport};

/// How text is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    pub colour: bool,
    /// Fold long cells to the width of the terminal.
    pub fold: bool,
}

/// A look takes no longer than this: what is older was seen by another command.
const FRESH: jiff::SignedDuration = jiff::SignedDuration::from_mins(3);

/// Columns below which folded cells are harder to read than long lines (a terminal that does not tell says 0).
const NARROWEST: u16 = 80;

pub(super) fn nodes(nodes: &[NodeReport], style: Style, now: jiff::Timestamp) -> String {
    let mut table = empty("NODE", style);
    for node in nodes {
        for served in &node.served {
            let (word, sentence) = match node.paused_until {
                Some(until) => (
                    format!("{}, paused", served.verdict.word()),
                    format!("does not count until {}{}", super::words::from(until), reason(node)),
                ),
                None if node.window_opens.is_some() && served.verdict.exit() == Exit::NotDelivered => (
                    format!("{}, waits", served.verdict.word()),
                    node.window_opens
                        .map(|opens| format!("its window opens {}", super::words::from(opens)))
                        .unwrap_or_default(),
                ),
                None => (served.verdict.word().to_owned(), served.sentence()),
            };
            table.add_row(row(node.node.as_str(), served, (word, sentence), style, now));
        }
        if node.served.is_empty() {
            table.add_row([
                Cell::new(&node.node),
                Cell::new("-"),
                Cell::new("-"),
                Cell::new("-"),
                Cell::new("not probed"),
            ]);
        }
    }
    indented(&table)
}

fn reason(node: &NodeReport) -> String {
    node.paused_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

pub(super) fn watched(watched: &[WatchedReport], style: Style, now: jiff::Timestamp) -> String {
    let mut table = empty("ENDPOINT", style);
    for endpoint in watched {
        for served in &endpoint.served {
            let words = (served.verdict.word().to_owned(), served.verdict.sentence_of_watched());
            table.add_row(row(endpoint.name.as_str(), served, words, style, now));
        }
    }
    indented(&table)
}

pub(super) fn disks(disks: &[DiskReport], style: Style, now: jiff::Timestamp) -> String {
    let mut table = with(&["NODE", "CERTIFICATE", "DISK", ""], style);
    for disk in disks {
        let verdict = Cell::new(disk.verdict.word());
        let verdict = if style.colour { verdict.fg(colour(disk.exit())) } else { verdict };
        let about = disk.certificate.as_ref().map_or("-", |name| name.as_str());
        // What is told from memory says so.
        let old = now.duration_since(disk.at) > FRESH;
        let seen = if old { format!(" (seen {})", super::words::minute(disk.at)) } else { String::new() };
        table.add_row([Cell::new(&disk.node), Cell::new(about), verdict, Cell::new(disk.sentence() + &seen)]);
    }
    indented(&table)
}

fn empty(of: &str, style: Style) -> Table {
    with(&[of, "ADDRESS", "SERVES", "UNTIL", "VERDICT", ""], style)
}

fn with(header: &[&str], style: Style) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    let wide_enough = table.width().is_some_and(|width| width >= NARROWEST);
    let arrangement =
        if style.fold && wide_enough { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
    table.set_content_arrangement(arrangement);
    if style.colour {
        table.enforce_styling();
    }
    table.set_header(header);
    table
}

fn indented(table: &Table) -> String {
    let text = table.to_string();
    text.lines().map(|line| format!("  {}\n", line.trim_end())).collect()
}

/// `words`: the verdict's, and what it means here.
fn row(name: &str, served: &ServedReport, words: (String, String), style: Style, now: jiff::Timestamp) -> [Cell; 6] {
    let address = served.address.map_or_else(|| "-".to_owned(), |address| served.over.at(address));
    let (word, sentence) = words;
    let verdict = Cell::new(word);
    let verdict = if style.colour { verdict.fg(colour(served.verdict.exit())) } else { verdict };
    [
        Cell::new(name),
        Cell::new(address),
        Cell::new(served.fingerprint.map_or_else(|| "-".to_owned(), |fingerprint| fingerprint.short())),
        Cell::new(served.not_after.map_or_else(|| "-".to_owned(), |at| super::words::until(at, now))),
        verdict,
        Cell::new(sentence),
    ]
}

fn colour(exit: Exit) -> Color {
    match exit {
        Exit::Ok => Color::Green,
        Exit::Warning => Color::Yellow,
        _ => Color::Red,
    }
}

impl NodeReport {
    /// The worst first: by what its visitors see, then by what was done about it.
    pub(super) fn rank(&self) -> (bool, usize) {
        let seen = self.seen().map(Exit::rank);
        let done = self.delivery.iter().map(|delivery| super::exit::of_delivery(delivery).rank());
        (self.paused_until.is_some(), seen.chain(done).min().unwrap_or(0))
    }
}
