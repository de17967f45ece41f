//! What keeps a command from giving a report at all.

use std::io::Write as _;

use crate::model::{Advice, Finding};
use crate::report::Exit;
use crate::store::owner::OwnerError;

pub(super) struct Fault {
    pub(super) exit: Exit,
    /// What is shown, one entry each; the last line of each says what to do.
    pub(super) texts: Vec<String>,
}

impl Fault {
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, texts: vec![text.into()] }
    }

    /// A failure that is the configuration's: a file that it names is missing or unfit.
    pub(super) fn of_configuration(failure: &Finding) -> Self {
        Self { exit: Exit::Usage, ..Self::from(failure) }
    }

    pub(super) fn locked(waited: &str) -> Self {
        let text =
            format!("another certd holds the lock (waited {waited})\n  next: let it finish, or give --wait more");
        Self { exit: Exit::Locked, texts: vec![text] }
    }
}

impl From<&Finding> for Fault {
    fn from(failure: &Finding) -> Self {
        let bug = if failure.advice == Advice::Bug { " [bug]" } else { "" };
        // Some errors name their object themselves.
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
        // Nobody is left to tell when stderr is gone.
        let _ = writeln!(stderr, "certd: {text}");
    }
    fault.exit.code()
}
