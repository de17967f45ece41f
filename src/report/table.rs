//! Tables of short cells, worst first, aligned by display width (names may be Chinese), and coloured by severity on
//! request. Cells are never folded or cut; sentences go below the table.

use anstyle::AnsiColor;
use jiff::{SignedDuration, Timestamp};
use textwrap::core::display_width;

use super::{BesideReport, DiskReport, Exit, NodeHealth, NodeReport, ServedReport, WatchedReport, words};

/// The style of text output.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    pub colour: bool,
    /// Columns of the terminal at which sentences are folded; `None`: no folding.
    pub width: Option<usize>,
    /// Show every node, not only those with problems.
    pub all: bool,
}

impl Style {
    pub(super) fn paint(self, text: &str, exit: Exit) -> String {
        let colour = match exit {
            Exit::Ok => AnsiColor::Green,
            Exit::Warning => AnsiColor::Yellow,
            _ => AnsiColor::Red,
        };
        let colour = colour.on_default();
        if self.colour { format!("{colour}{text}{colour:#}") } else { text.to_owned() }
    }
}

/// Up to this many nodes without problems are listed; more would make the others scroll away.
const WELL: usize = 5;

/// A look takes less than this; older observations come from an earlier command.
const FRESH: SignedDuration = SignedDuration::from_mins(3);

struct Row<const N: usize> {
    cells: [String; N],
    /// Severity of the last cell.
    exit: Exit,
}

pub(super) fn nodes(nodes: &[NodeReport], style: Style, now: Timestamp) -> String {
    let well: Vec<&NodeReport> = nodes.iter().filter(|node| node.is_well()).collect();
    let folded = !style.all && well.len() > WELL;
    let mut rows = Vec::new();
    for node in nodes.iter().filter(|node| !(folded && node.is_well())) {
        for served in &node.served {
            rows.push(row(node.node.as_str(), served, node.state(served), now));
        }
        for beside in &node.beside {
            let (word, exit) = node.state_beside(beside);
            rows.push(row(node.node.as_str(), &beside.served, (word, exit), now));
        }
        if node.served.is_empty() {
            let [name, address, serves, ends] = [node.node.as_str(), "-", "-", "-"].map(str::to_owned);
            rows.push(Row { cells: [name, address, serves, ends, "not probed".to_owned()], exit: Exit::NotDelivered });
        }
    }
    let mut out = if rows.is_empty() { String::new() } else { aligned(HEADER, &rows, style) };
    if folded {
        let more = if rows.is_empty() { "" } else { " more" };
        out.push_str(&format!("  {}{more} are {} (-v shows them)\n", well.len(), style.paint("ok", Exit::Ok)));
    }
    out
}

pub(super) fn watched(watched: &[WatchedReport], style: Style, now: Timestamp) -> String {
    let mut rows = Vec::new();
    for endpoint in watched {
        let state = |served: &ServedReport| (served.verdict.word(), endpoint.exit_of(served));
        rows.extend(endpoint.served.iter().map(|served| row(endpoint.name.as_str(), served, state(served), now)));
    }
    aligned(["ENDPOINT", "ADDRESS", "SERVES", "EXPIRES", "VERDICT"], &rows, style)
}

pub(super) fn health(nodes: &[NodeHealth], style: Style) -> String {
    let well = nodes.iter().filter(|node| node.is_well()).count();
    let folded = !style.all && well > WELL;
    let time = |ms: Option<u32>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms"));
    let row = |node: &NodeHealth| {
        let answer = node.status.map_or_else(|| "-".to_owned(), |status| status.to_string());
        let answer = node.http.as_ref().map_or(answer.clone(), |http| format!("{answer} {http}"));
        let address = node.address.map_or_else(|| "-".to_owned(), |address| address.to_string());
        let cells = [node.node.to_string(), address, answer, time(node.took_ms), time(node.p50_ms), time(node.p95_ms)];
        let [name, address, answer, took, p50, p95] = cells;
        Row { cells: [name, address, answer, took, p50, p95, node.verdict.word().to_owned()], exit: node.exit() }
    };
    let rows: Vec<Row<7>> = nodes.iter().filter(|node| !(folded && node.is_well())).map(row).collect();
    let header = ["NODE", "ADDRESS", "ANSWERS", "TIME", "P50", "P95", "HEALTH"];
    let mut out = if rows.is_empty() { String::new() } else { aligned(header, &rows, style) };
    if folded {
        let more = if rows.is_empty() { "" } else { " more" };
        out.push_str(&format!("  {well}{more} are {} (-v shows them)\n", style.paint("ok", Exit::Ok)));
    }
    out
}

pub(super) fn disks(disks: &[DiskReport], style: Style, now: Timestamp) -> String {
    let rows: Vec<Row<3>> = disks
        .iter()
        .map(|disk| {
            let about = disk.certificate.as_ref().map_or("-", |name| name.as_str());
            let cells = [disk.node.to_string(), about.to_owned(), disk.verdict.word()];
            Row { cells, exit: disk.exit() }
        })
        .collect();
    let mut out = aligned(["NODE", "CERTIFICATE", "DISK"], &rows, style);
    // Mark observations of an earlier command.
    let old = disks.iter().filter(|disk| now.duration_since(disk.at) > FRESH).map(|disk| disk.at).min();
    if let Some(at) = old {
        out.push_str(&format!("  (seen {} or later)\n", words::minute(at)));
    }
    out
}

/// Rows of cells, each with the severity of its last.
pub(super) fn aligned_rows<const N: usize>(header: [&str; N], rows: Vec<([String; N], Exit)>, style: Style) -> String {
    let rows: Vec<Row<N>> = rows.into_iter().map(|(cells, exit)| Row { cells, exit }).collect();
    aligned(header, &rows, style)
}

const HEADER: [&str; 5] = ["NODE", "ADDRESS", "SERVES", "EXPIRES", "VERDICT"];

fn row(name: &str, served: &ServedReport, (word, exit): (String, Exit), now: Timestamp) -> Row<5> {
    let address = served.at();
    let serves = served.fingerprint.map_or_else(|| "-".to_owned(), |fingerprint| fingerprint.short());
    let ends = served.not_after.map_or_else(|| "-".to_owned(), |at| words::ends(at, now));
    Row { cells: [name.to_owned(), address, serves, ends, word], exit }
}

fn aligned<const N: usize>(header: [&str; N], rows: &[Row<N>], style: Style) -> String {
    let widths: [usize; N] = core::array::from_fn(|column| {
        let cells = rows.iter().map(|row| display_width(&row.cells[column]));
        cells.chain([display_width(header[column])]).max().unwrap_or(0)
    });
    let line = |cells: [&str; N], exit: Option<Exit>| {
        let mut line = String::new();
        for (column, cell) in cells.into_iter().enumerate() {
            line.push_str("  ");
            let last = column == N - 1;
            match exit.filter(|_| last) {
                Some(exit) => line.push_str(&style.paint(cell, exit)),
                None => line.push_str(cell),
            }
            if !last {
                line.push_str(&" ".repeat(widths[column] - display_width(cell)));
            }
        }
        line + "\n"
    };
    let rows = rows.iter().map(|row| line(row.cells.each_ref().map(String::as_str), Some(row.exit)));
    core::iter::once(line(header, None)).chain(rows).collect()
}

impl NodeReport {
    /// Sort key, worst first: by the handshakes, then by the delivery.
    pub(super) fn rank(&self) -> (bool, usize) {
        let seen = self.seen().map(Exit::rank);
        let done = self.delivery.iter().map(|delivery| super::exit::of_delivery(delivery).rank());
        let beside = self.beside.iter().map(|beside| beside.exit().rank());
        (self.paused_until.is_some(), seen.chain(done).chain(beside).min().unwrap_or(0))
    }

    /// Whether the node has no problem to report.
    fn is_well(&self) -> bool {
        let well = self.served.iter().all(|served| self.exit_of(served) == Exit::Ok);
        let delivered = self.delivery.iter().all(|delivery| super::exit::of_delivery(delivery) == Exit::Ok);
        well && delivered && !self.served.is_empty() && self.beside.is_empty() && self.paused_until.is_none()
    }

    /// The word for one of its handshakes, and its severity.
    pub(super) fn state(&self, served: &ServedReport) -> (String, Exit) {
        let (word, exit) = (served.verdict.word(), self.exit_of(served));
        if self.paused_until.is_some() {
            (format!("{word}, paused"), Exit::Warning)
        } else if self.window_opens.is_some() && exit == Exit::NotDelivered {
            (format!("{word}, waits"), Exit::Warning)
        } else {
            (word.to_owned(), exit)
        }
    }

    /// The same for what its server has beside.
    pub(super) fn state_beside(&self, beside: &BesideReport) -> (String, Exit) {
        match self.paused_until {
            Some(_) => (format!("{}, paused", beside.word()), Exit::Warning),
            None => (beside.word(), beside.exit()),
        }
    }
}
