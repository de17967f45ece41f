//! Errors that keep a command from producing a report.

use std::io::Write as _;

use crate::model::{Advice, Finding};
use crate::report::Exit;
use crate::store::owner::OwnerError;

pub(super) struct Fault {
    pub(super) exit: Exit,
    /// The messages; the last line of each is the advice.
    pub(super) texts: Vec<String>,
}

impl Fault {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, texts: vec![text.into()] }
    }

    /// A file that the configuration names is missing or unusable.
    pub(super) fn of_configuration(failure: &Finding) -> Self {
        Self { exit: Exit::Usage, ..Self::from(failure) }
    }

    pub(super) fn locked(waited: &str) -> Self {
        let text = format!(
            "another certd holds the lock (waited {waited})\n  next: wait for it to finish, or give a longer --wait"
        );
        Self { exit: Exit::Locked, texts: vec![text] }
    }
}

impl From<&Finding> for Fault {
    fn from(failure: &Finding) -> Self {
        let bug = if failure.advice == Advice::Bug { " [bug]" } else { "" };
        // Some errors name their object; do not print it twice.
        let object =
            if failure.what.contains(&failure.object) { String::new() } else { format!("{}: ", failure.object) };
        let text = format!("{object}{}{bug}\n  next: {}", failure.what, failure.next);
        Self { exit: Exit::Internal, texts: vec![text] }
    }
}

impl From<&OwnerError> for Fault {
    fn from(error: &OwnerError) -> Self {
        Self::from(&Finding::from(error))
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
