//! The report on stdout: as text or as JSON.

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use crate::report::{self, Report, Style};

use super::{Options, Output, When};

/// Columns below which folding sentences makes them harder to read than long lines.
const NARROWEST: usize = 60;

pub(super) fn report(report: &Report, options: &Options) -> u8 {
    match options.output {
        Output::Text => text(&report::text(report, style(options))),
        Output::Json => json(report),
    }
    report.exit
}

pub(super) fn text(text: &str) {
    // A closed pipe (`| head`) is not an error.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

pub(super) fn json(value: &impl Serialize) {
    let text = serde_json::to_string_pretty(value).expect("plain data with string keys");
    self::text(&format!("{text}\n"));
}

/// One report a line (JSON Lines), for `check --watch`.
pub(super) fn json_line(value: &impl Serialize) {
    let text = serde_json::to_string(value).expect("plain data with string keys");
    self::text(&format!("{text}\n"));
}

pub(super) fn style(options: &Options) -> Style {
    let terminal = std::io::stdout().is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = match options.color {
        When::Always => true,
        When::Never => false,
        When::Auto => terminal && !no_color,
    };
    Style { colour, width: terminal.then(|| textwrap::termwidth().max(NARROWEST)), all: options.verbose }
}
