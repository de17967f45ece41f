//! The report of `certd doctor`: one line per test, with advice.

mod issuing;
mod node;
#[cfg(test)]
mod tests;

use core::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Code, Finding, Severity};
use crate::text::list;

pub use crate::model::Area;

use super::{Exit, Style, worst};

pub use issuing::{of_plan, of_room, of_skew};
pub use node::of_looked;

/// Version of the JSON shape, like [`super::SCHEMA`].
pub const SCHEMA: &str = "certd.doctor/1";

/// All tests.
#[derive(Clone, Debug, Serialize)]
pub struct Checkup {
    pub schema: &'static str,
    pub at: Timestamp,
    /// The exit code, and every code that applies.
    pub exit: u8,
    pub exits: Vec<u8>,
    pub findings: Vec<CheckupItem>,
}

/// One test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckupItem {
    pub area: Area,
    pub state: State,
    /// A stable code; `null`: ok.
    pub code: Option<Code>,
    /// The file, CA, zone, certificate or node.
    pub object: String,
    pub what: String,
    /// Advice; `null`: nothing to do.
    pub next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The next renewal would fail.
    Failure,
    Warning,
    Ok,
}

fn title(area: Area) -> &'static str {
    match area {
        Area::Configuration => "configuration",
        Area::State => "state directory",
        Area::Ca => "certificate authority",
        Area::Dns => "DNS",
        Area::Issuing => "issuing",
        Area::Nodes => "nodes",
        Area::Health => "health",
    }
}

impl CheckupItem {
    pub fn ok(area: Area, object: impl ToString, what: impl ToString) -> Self {
        let (object, what) = (object.to_string(), what.to_string());
        Self { area, state: State::Ok, code: None, object, what, next: None }
    }

    /// As severe as it will be on renewal day.
    pub fn bad(area: Area, failure: &Finding) -> Self {
        let Finding { code, object, next, .. } = failure.clone();
        let what = failure.named();
        let what = what.strip_prefix(&format!("{object}: ")).map(str::to_owned).unwrap_or(what);
        let state = match failure.severity.in_rehearsal() {
            Severity::Failure | Severity::Obstacle => State::Failure,
            Severity::Warning | Severity::Risk => State::Warning,
            Severity::Note => State::Ok,
        };
        Self { area, state, code: Some(code), object, what, next: Some(next) }
    }

    fn exit(&self) -> Exit {
        match self.state {
            State::Ok => Exit::Ok,
            State::Warning => Exit::Warning,
            State::Failure => self.area.exit(),
        }
    }
}

impl Checkup {
    /// Sorts worst first within each area, otherwise in the given order.
    pub fn new(mut findings: Vec<CheckupItem>, now: Timestamp) -> Self {
        findings.sort_by_key(|finding| (finding.area, finding.state));
        let mut exits: Vec<Exit> = findings.iter().map(CheckupItem::exit).filter(|exit| *exit != Exit::Ok).collect();
        exits.sort_unstable_by_key(|exit| exit.rank());
        exits.dedup();
        let exit = worst(&exits).code();
        Self { schema: SCHEMA, at: now, exit, exits: exits.into_iter().map(Exit::code).collect(), findings }
    }

    /// Ends with a newline.
    pub fn text(&self, style: Style) -> String {
        let mut out = String::new();
        for area in Area::ALL {
            let mut of_area = self.findings.iter().filter(|finding| finding.area == area).peekable();
            if of_area.peek().is_some() {
                let _ = writeln!(out, "{}", title(area));
            }
            for finding in of_area {
                let _ = line(&mut out, finding, style);
            }
        }
        let count = |state| self.findings.iter().filter(|finding| finding.state == state).count();
        let (ok, warnings, failures) = (count(State::Ok), count(State::Warning), count(State::Failure));
        let (warnings, failures) = (list::count(warnings, "warning"), list::count(failures, "failure"));
        let _ = writeln!(out, "{ok} ok, {warnings}, {failures} (exit {})", self.exit);
        out
    }
}

fn line(out: &mut String, finding: &CheckupItem, style: Style) -> core::fmt::Result {
    let (word, exit) = match finding.state {
        State::Ok => ("ok     ", Exit::Ok),
        State::Warning => ("warning", Exit::Warning),
        State::Failure => ("FAILURE", Exit::Hurt),
    };
    writeln!(out, "  {}  {}: {}", style.paint(word, exit), finding.object, finding.what)?;
    match &finding.next {
        Some(next) => writeln!(out, "           next: {next}"),
        None => Ok(()),
    }
}
