//! How a DNS program failed, with its last words.

use core::time::Duration;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use crate::model::{Advice, Code};

/// Cloned, since a program that cannot be run fails for every record.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("{program}: cannot be run: {source}")]
    Start { program: String, source: Arc<io::Error> },
    /// `said`: the end of its output, escaped.
    #[error("{program}: {call}: {status}; {}", words(said))]
    Failed { program: String, call: String, status: ExitStatus, said: String },
    #[error("{program}: {call}: not done after {} s, and ended; {}", limit.as_secs(), words(said))]
    TooLong { program: String, call: String, limit: Duration, said: String },
}

fn words(said: &str) -> String {
    if said.is_empty() { "it said nothing".to_owned() } else { format!("it said: {said}") }
}

impl ProgramError {
    /// Of the program, and not of one record.
    pub(super) fn meets_every_record(&self) -> bool {
        !matches!(self, Self::Failed { .. })
    }

    /// Stable and greppable.
    pub fn code(&self) -> Code {
        match self {
            Self::Start { .. } => Code::DnsProgramStart,
            Self::Failed { .. } => Code::DnsProgramFailed,
            Self::TooLong { .. } => Code::DnsProgramTimeout,
        }
    }

    pub fn advice(&self) -> Advice {
        match self {
            Self::Start { .. } => Advice::Person,
            Self::Failed { .. } | Self::TooLong { .. } => Advice::Retry { after_seconds: None },
        }
    }

    /// What the operator does next.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Start { .. } => {
                "see `dns.command`: the program has to be there and executable for the user that certd runs as, and so has the interpreter in its first line"
            }
            Self::Failed { .. } => {
                "run the program by hand as certd does (`env -i PATH=… PROGRAM present NAME. VALUE`); it gets no secret from certd; certd tries again by itself"
            }
            Self::TooLong { .. } => {
                "see what the program waits for, or raise `dns.timeout`; certd tries again by itself"
            }
        }
    }
}
