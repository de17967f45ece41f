//! The vocabulary of the order: what may come of a step, what may be asked next, and why no certificate came of it.

use core::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{SIGNING_BOUND, VALIDATION_BOUND};
use crate::cert::DnsName;
use crate::model::{Authorization, Status};
use crate::plan::ledger::LimitReached;

/// A record that must stand before the CA is asked to look. It is not ours to make or to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistRecord {
    /// With `*.` for a wildcard.
    pub name: DnsName,
    pub issuers: Vec<DnsName>,
}

/// A TXT record that must be seen while the CA looks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Txt {
    /// Without `*.`: the record hangs at `_acme-challenge.` below it.
    pub base: String,
    pub value: String,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Ordered {
        url: String,
        status: Status,
    },
    Fetched {
        status: Status,
    },
    Authorizations(Vec<Authorization>),
    Published,
    Seen,
    Challenged,
    Polled {
        status: Status,
        retry_after_ms: Option<u64>,
    },
    Finalized {
        status: Status,
    },
    Downloaded,
    Checked(Verdict),
    ErrorsFetched {
        names: Vec<DnsName>,
    },
    /// The limit that stands in the way of another order.
    LimitsChecked(Option<LimitReached>),
    Failed(ErrorClass),
}

/// Our own checks of what was downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Issued for another key than ours.
    ForeignKey,
    /// Valid from `until` on, and well but for that.
    Early {
        until: Timestamp,
        flaws: Vec<String>,
    },
    Flawed(Vec<String>),
    /// A younger one is there, valid since then: this order is one of a state directory of long ago.
    Superseded {
        since: Timestamp,
    },
    /// The stored certificate ends later, at `than`, and nothing but its age speaks against it. One that is ordered
    /// from `anew_from` on would outlive it.
    EndsEarlier {
        than: Timestamp,
        anew_from: Timestamp,
    },
}

/// What a failed step means to the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// 409 or 403 for an order with `replaces` (RFC 9773 section 5).
    ReplacesRefused,
    /// The CA does not know the order (any more).
    Gone,
    /// What we look for is not there, and it is not sure that the CA itself says so: it may come back.
    Missing,
    /// `orderNotReady` in answer to a finalize.
    NotReady,
    /// Likely to pass by itself.
    Passing { after_ms: Option<u64> },
    /// A person, or a later run.
    Lasting,
}

/// The next steps, to be carried out in this order. Those that ask something bring one [`Event`] and come last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    NewOrder {
        replaces: Option<String>,
    },
    /// The ledger, before an order that the plan did not foresee.
    CheckLimits {
        replaces: Option<String>,
    },
    Fetch {
        url: String,
    },
    /// On disk, before anything else is asked of the order.
    NoteUrl {
        url: String,
    },
    /// From disk: the order is dead.
    ForgetUrl,
    /// From disk, the whole intent: nothing is left to be resumed.
    ClearPending,
    Authorize,
    Publish {
        records: Vec<Txt>,
    },
    AwaitSeen,
    /// Whether the records that stay are there.
    CheckPersistRecord {
        wanted: Vec<PersistRecord>,
    },
    Challenge {
        indexes: Vec<usize>,
    },
    Poll {
        after_ms: u64,
    },
    /// In the ledger, before the finalize is sent.
    NoteFinalize,
    Finalize,
    Download,
    Check,
    Store,
    Reject {
        flaws: Vec<String>,
    },
    /// Ask the authorizations what went wrong.
    FetchErrors,
    /// In the ledger.
    NoteFailed {
        names: Vec<DnsName>,
    },
    Unpublish,
    Pause {
        ms: u64,
    },
    Done,
    GiveUp(GiveUp),
}

/// Why no certificate came of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GiveUp {
    /// The last failed step says it all.
    #[error("a step failed")]
    Failed,
    #[error("the CA refused the order")]
    Invalid,
    #[error("the CA does not offer the challenge that `acme.challenge` asks for, for {0}")]
    NoChallenge(DnsName),
    #[error("the CA had not looked at the TXT records after {} minutes", VALIDATION_BOUND.as_mins())]
    NotValidated,
    #[error("the CA had not signed after {} minutes", SIGNING_BOUND.as_mins())]
    StillProcessing,
    #[error("the CA issued twice for a key that is not ours")]
    ForeignKey,
    #[error("the certificate fails our checks: {}", .0.join("; "))]
    Rejected(Vec<String>),
    #[error("a certificate for these names that is younger is there already, valid since {since}")]
    Superseded { since: Timestamp },
    #[error(
        "the new certificate would end before the stored one does ({than}); another is ordered from {anew_from} on"
    )]
    EndsEarlier { than: Timestamp, anew_from: Timestamp },
    #[error("the CA refuses `replaces`")]
    ReplacesRefused,
    /// Only another order would help, and there is no room for one.
    #[error("{}", Self::wait_for(.why, .full))]
    LimitReached { why: Box<Self>, full: LimitReached },
    /// An event that does not answer what was asked.
    #[error("the order's steps came out of order")]
    OutOfOrder,
}

impl GiveUp {
    /// Why the order is dead, and until when another has to wait.
    pub fn wait_for(why: impl fmt::Display, full: &LimitReached) -> String {
        format!("{why}; another order has to wait until {}", full.until())
    }
}

/// In words for whoever watches.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewOrder { replaces: Some(id) } => write!(f, "make an order that replaces {id}"),
            Self::NewOrder { replaces: None } => f.write_str("make an order"),
            Self::CheckLimits { replaces: Some(_) } => f.write_str("ask the ledger for room (with `replaces`)"),
            Self::CheckLimits { replaces: None } => f.write_str("ask the ledger for room"),
            Self::Fetch { url } => write!(f, "resume the order {url}"),
            Self::NoteUrl { url } => write!(f, "note the order's URL {url}"),
            Self::ForgetUrl => f.write_str("forget the order"),
            Self::ClearPending => f.write_str("forget that a certificate was to be ordered"),
            Self::Authorize => f.write_str("ask what is to be proven"),
            Self::Publish { records } => {
                f.write_str("publish")?;
                records.iter().try_for_each(|record| write!(f, " _acme-challenge.{}", record.base))
            }
            Self::AwaitSeen => f.write_str("wait until every name server shows the TXT records"),
            Self::CheckPersistRecord { wanted } => {
                f.write_str("look for")?;
                wanted.iter().try_for_each(|wanted| write!(f, " {}", wanted.record()))
            }
            Self::Challenge { indexes } => write!(f, "ask the CA to look ({})", indexes.len()),
            Self::Poll { after_ms } => write!(f, "look at the order after {after_ms} ms"),
            Self::NoteFinalize => f.write_str("note the certificate in the ledger"),
            Self::Finalize => f.write_str("send the certificate request"),
            Self::Download => f.write_str("download the certificate"),
            Self::Check => f.write_str("check the certificate"),
            Self::Store => f.write_str("keep the certificate"),
            Self::Reject { flaws } => write!(f, "reject the certificate: {}", flaws.join("; ")),
            Self::FetchErrors => f.write_str("ask what went wrong"),
            Self::NoteFailed { names } => {
                f.write_str("note the failed authorization of")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::Unpublish => f.write_str("remove the TXT records"),
            Self::Pause { ms } => write!(f, "wait {ms} ms"),
            Self::Done => f.write_str("done"),
            Self::GiveUp(why) => write!(f, "give up: {why}"),
        }
    }
}
