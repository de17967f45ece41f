//! Errors that keep a command from producing a report.

use std::io::Write as _;

use crate::model::{Advice, Finding};
use crate::report::Exit;

pub(super) struct Fault {
    pub(super) exit: Exit,
    /// The messages; the last line of each is the advice.
    pub(super) texts: Vec<String>,
}

impl Fault {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, texts: vec![text.into()] }
    }

    pub(super) fn locked(waited: &str) -> Self {
        let text = format!(
            "another certd holds the lock (waited {waited})\n  next: wait for it to finish, or give a longer --wait"
        );
        Self { exit: Exit::Locked, texts: vec![text] }
    }
}

/// The exit code is that of the finding's area: a refusal by the CA or by DNS is not an internal error of certd.
impl<E: Into<Finding>> From<E> for Fault {
    fn from(error: E) -> Self {
        let failure: Finding = error.into();
        let bug = if failure.advice == Advice::Bug { " [bug]" } else { "" };
        let text = format!("{}{bug}\n  next: {}", failure.named(), failure.next);
        Self { exit: failure.code.area().exit(), texts: vec![text] }
    }
}

pub(super) fn show(fault: &Fault) -> u8 {
    let mut stderr = std::io::stderr().lock();
    for text in &fault.texts {
        // If stderr is closed, there is nowhere to report that.
        let _ = writeln!(stderr, "certd: {text}");
    }
    fault.exit.code()
}
