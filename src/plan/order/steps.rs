//! The vocabulary of the order: events, actions, and why an order is given up.

use core::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{SIGNING_BOUND, VALIDATION_BOUND};
use crate::cert::DnsName;
use crate::model::{Authorization, Status};
use crate::plan::ledger::LimitReached;

/// A permanent record that must exist before the CA validates. certd neither makes nor removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistRecord {
    /// With `*.` for a wildcard.
    pub name: DnsName,
    pub issuers: Vec<DnsName>,
}

/// A TXT record that must be visible while the CA validates.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Txt {
    /// Without `*.`: the record's name is `_acme-challenge.` and this.
    pub base: String,
    pub value: String,
}

/// The result of a step.
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
    /// The limit that forbids another order, if any.
    LimitsChecked(Option<LimitReached>),
    Failed(ErrorClass),
}

/// Result of our own checks of the downloaded certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    ForeignKey,
    /// Valid from `until` on, and otherwise good.
    Early {
        until: Timestamp,
        flaws: Vec<String>,
    },
    Flawed(Vec<String>),
    /// A younger certificate exists, valid since then: this order comes from an old state directory.
    Superseded {
        since: Timestamp,
    },
    /// The stored certificate ends later, at `than`, and only its age speaks against it. An order made from `anew_from`
    /// on would outlive it.
    EndsEarlier {
        than: Timestamp,
        anew_from: Timestamp,
    },
}

/// The class of an error, as far as it matters to the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// 409 or 403 for an order with `replaces` (RFC 9773 section 5).
    ReplacesRefused,
    /// The CA no longer knows the order.
    Gone,
    /// Not found, but perhaps not by the CA itself (a proxy): it may come back.
    Missing,
    /// `orderNotReady` in answer to a finalize.
    NotReady,
    /// Likely to pass by itself.
    Passing { after_ms: Option<u64> },
    /// Needs an operator, or a later run.
    Lasting,
}

/// The next steps, carried out in this order. Those that produce an [`Event`] come last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    NewOrder {
        replaces: Option<String>,
    },
    /// Checks the ledger before an order that the plan did not foresee.
    CheckLimits {
        replaces: Option<String>,
    },
    Fetch {
        url: String,
    },
    /// Writes the URL to disk before any other request about the order.
    NoteUrl {
        url: String,
    },
    /// Removes the URL from disk: the order is dead.
    ForgetUrl,
    /// Removes the whole intent from disk: nothing is left to resume.
    ClearPending,
    Authorize,
    Publish {
        records: Vec<Txt>,
    },
    AwaitSeen,
    /// Checks that the permanent records exist.
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
    /// Fetches the errors of the authorizations.
    FetchErrors,
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

/// Why the order was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GiveUp {
    /// The last failed step has the reason.
    #[error("a step failed")]
    Failed,
    #[error("the CA refused the order")]
    Invalid,
    #[error("the CA does not offer the challenge that `acme.challenge` asks for, for {0}")]
    NoChallenge(DnsName),
    #[error("the CA had not validated after {} minutes", VALIDATION_BOUND.as_mins())]
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
    /// Only another order would help, and a limit forbids it.
    #[error("{}", Self::wait_for(.why, .full))]
    LimitReached { why: Box<Self>, full: LimitReached },
    /// An event that does not answer the last action.
    #[error("the order's steps came out of order")]
    OutOfOrder,
}

impl GiveUp {
    /// Why the order is dead, and when another is allowed.
    pub fn wait_for(why: impl fmt::Display, full: &LimitReached) -> String {
        format!("{why}; another order has to wait until {}", full.until())
    }
}

/// For progress output.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewOrder { replaces: Some(id) } => write!(f, "make an order that replaces {id}"),
            Self::NewOrder { replaces: None } => f.write_str("make an order"),
            Self::CheckLimits { replaces: Some(_) } => f.write_str("check the limits (with `replaces`)"),
            Self::CheckLimits { replaces: None } => f.write_str("check the limits"),
            Self::Fetch { url } => write!(f, "resume the order {url}"),
            Self::NoteUrl { url } => write!(f, "note the order's URL {url}"),
            Self::ForgetUrl => f.write_str("forget the order"),
            Self::ClearPending => f.write_str("clear the pending order"),
            Self::Authorize => f.write_str("fetch the authorizations"),
            Self::Publish { records } => {
                f.write_str("publish")?;
                records.iter().try_for_each(|record| write!(f, " _acme-challenge.{}", record.base))
            }
            Self::AwaitSeen => f.write_str("wait until every name server shows the TXT records"),
            Self::CheckPersistRecord { wanted } => {
                f.write_str("look for")?;
                wanted.iter().try_for_each(|wanted| write!(f, " {}", wanted.record()))
            }
            Self::Challenge { indexes } => write!(f, "ask the CA to validate ({})", indexes.len()),
            Self::Poll { after_ms } => write!(f, "poll the order after {after_ms} ms"),
            Self::NoteFinalize => f.write_str("note the certificate in the ledger"),
            Self::Finalize => f.write_str("send the certificate request"),
            Self::Download => f.write_str("download the certificate"),
            Self::Check => f.write_str("check the certificate"),
            Self::Store => f.write_str("keep the certificate"),
            Self::Reject { flaws } => write!(f, "reject the certificate: {}", flaws.join("; ")),
            Self::FetchErrors => f.write_str("fetch the errors"),
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
