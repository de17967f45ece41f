//! Changes of records in DNS, and what keeps failover from one.

use core::fmt;
use core::net::IpAddr;

use crate::model::{Code, Finding, Withdrawal};

#[derive(Clone, Debug)]
pub enum FailoverEvent {
    Withdrawn {
        owner: String,
        address: IpAddr,
        entry: Option<Withdrawal>,
    },
    /// And what it lacks now.
    Restored(Withdrawal, Option<String>),
    /// The record is in DNS by another's hand, or was never removed.
    Closed(Withdrawal),
    /// Another has changed the records since they were read: nothing was done.
    Changed {
        owner: String,
        what: String,
    },
    /// A guard, an error, or advice.
    Found(Finding),
}

impl FailoverEvent {
    /// By what it is the same as before, though its words have other times and counts. `None`: it was said when it was done.
    pub(crate) fn key(finding: &Finding) -> Option<String> {
        match finding.code {
            Code::FailoverWithdrawn => None,
            Code::FailoverHeld | Code::FailoverAdvised => Some(format!("{} {}", finding.code, finding.what)),
            _ => Some(format!("{} {}", finding.code, finding.object)),
        }
    }
}

impl fmt::Display for FailoverEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Withdrawn { owner, address, entry } => {
                write!(f, "failover: {address} of {owner} is withdrawn from DNS")?;
                entry.iter().try_for_each(|entry| write!(f, ": {}: {}", entry.node, entry.why))
            }
            Self::Restored(Withdrawal { node, record, .. }, without) => {
                write!(f, "failover: {} of {} is in DNS again: {node} is well", record.address, record.name)?;
                without.iter().try_for_each(|what| write!(f, "; it came back without {what}: set that by hand"))
            }
            Self::Closed(Withdrawal { record, .. }) => {
                let (address, owner) = (record.address, &record.name);
                write!(
                    f,
                    "failover: {address} of {owner} is in DNS, or was never taken out: its entry in the journal ends"
                )
            }
            Self::Changed { owner, what } => write!(f, "failover: {owner}: nothing was changed: {what}"),
            Self::Found(finding) => write!(f, "failover: {}\n  next: {}", finding.named(), finding.next),
        }
    }
}
