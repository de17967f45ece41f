//! Errors of a DNS program, with the end of its output.

use core::time::Duration;
use std::io;
use std::process::ExitStatus;
use std::sync::Arc;

use crate::model::{Advice, Code};

/// Cloneable, since a program that cannot be run fails for every record.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("{program}: cannot be run: {source}")]
    Start { program: String, source: Arc<io::Error> },
    /// `output`: the end of its output, escaped.
    #[error("{program}: {call}: {status}; {}", shown(output))]
    Failed { program: String, call: String, status: ExitStatus, output: String },
    #[error("{program}: {call}: killed after {} s; {}", limit.as_secs(), shown(output))]
    TooLong { program: String, call: String, limit: Duration, output: String },
    /// Nothing was changed.
    #[error("{program}: other calls of it took longer than {} s; nothing was changed", limit.as_secs())]
    Busy { program: String, limit: Duration },
    /// Where its standard output is read.
    #[error("{program}: {call}: it prints {what}")]
    Malformed { program: String, call: String, what: String },
}

fn shown(output: &str) -> String {
    if output.is_empty() { "no output".to_owned() } else { format!("output: {output}") }
}

impl ProgramError {
    /// The program, not the record, is the cause.
    pub(super) fn affects_every_record(&self) -> bool {
        !matches!(self, Self::Failed { .. } | Self::Malformed { .. })
    }

    pub fn code(&self) -> Code {
        match self {
            Self::Start { .. } => Code::DnsProgramStart,
            Self::Failed { .. } | Self::Malformed { .. } => Code::DnsProgramFailed,
            Self::TooLong { .. } | Self::Busy { .. } => Code::DnsProgramTimeout,
        }
    }

    pub fn advice(&self) -> Advice {
        match self {
            Self::Start { .. } | Self::Malformed { .. } => Advice::Person,
            Self::Failed { .. } | Self::TooLong { .. } | Self::Busy { .. } => Advice::Retry { after_seconds: None },
        }
    }

    /// The operator's next step.
    pub fn next(&self) -> &'static str {
        match self {
            Self::Start { .. } => {
                "see `dns.command`: the program has to be there and executable for the user that certd runs as, and so has the interpreter in its first line"
            }
            Self::Failed { .. } => {
                "run the program by hand as certd does (`env -i PATH=… PROGRAM TASK NAME. …`); it gets no secret from certd; certd tries again by itself"
            }
            Self::Malformed { .. } => {
                "let the program print what docs/dns.md says, and everything else to its standard error; or leave `dns.addresses` out"
            }
            Self::TooLong { .. } | Self::Busy { .. } => {
                "see what the program waits for, or raise `dns.timeout`; certd tries again by itself"
            }
        }
    }
}
