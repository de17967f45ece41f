//! Errors of a CA, with its problem document, its Retry-After and the operator's next step.

use core::time::Duration;

use super::{Kind, Problem};
use crate::http::causes;
use crate::model::{Advice, Code};
use crate::text::escape;

#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// No answer: the name lookup, the connection or TLS failed, or the time limit expired.
    #[error("{url}: no answer: {}", causes(.source))]
    Unreachable { url: String, source: reqwest::Error },
    /// An error answer without a problem document, such as a page of a proxy or load balancer.
    #[error("{url}: HTTP status {status}")]
    Status { url: String, status: u16, retry_after: Option<Duration> },
    #[error("{url}: {problem}")]
    Problem {
        url: String,
        problem: Box<Problem>,
        retry_after: Option<Duration>,
        /// The answer's `Link` with relation `help` or `terms-of-service`.
        link: Option<String>,
    },
    #[error("{url}: the answer is longer than {limit} bytes")]
    TooLong { url: String, limit: usize },
    /// An answer that ACME does not allow.
    #[error("{url}: {what}")]
    MalformedResponse { url: String, what: String },
    /// The URL's host and port are none of the directory's, or its scheme is not HTTPS.
    #[error("{url}: the URL is not on a host listed in the CA's directory")]
    UnexpectedHost { url: String },
    #[error("ACME account key: {why}")]
    Key { why: String },
    #[error("the HMAC key of the external account (`acme.eab`): {why}")]
    BindingKey { why: &'static str },
    /// The CA refused a new account because of its external account binding.
    #[error("{url}: the CA refuses the external account key {kid:?}: {problem}")]
    BindingRefused { url: String, kid: String, problem: Box<Problem> },
    #[error("HTTP client for the CA: {}", causes(.source))]
    Client { source: reqwest::Error },
    #[error("{url}: the CA offers no {feature}")]
    Unsupported { url: String, feature: &'static str },
}

impl AcmeError {
    pub(super) fn malformed(url: &str, what: impl AsRef<str>) -> Self {
        Self::MalformedResponse { url: shown(url), what: escape(what.as_ref(), 300) }
    }

    /// Converts an error of the ACME crate about `url`; an [`AcmeError`] that passed through the crate is unwrapped.
    pub(super) fn from_crate(url: &str, error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Other(inner) => match inner.downcast::<Self>() {
                Ok(ours) => *ours,
                Err(other) => Self::malformed(url, other.to_string()),
            },
            instant_acme::Error::Api(problem) => {
                let problem = Box::new(Problem::inner(&problem));
                Self::Problem { url: shown(url), problem, retry_after: None, link: None }
            }
            instant_acme::Error::KeyRejected | instant_acme::Error::Crypto => {
                Self::Key { why: "not a P-256 key in PKCS#8".to_owned() }
            }
            instant_acme::Error::Unsupported(feature) => Self::Unsupported { url: shown(url), feature },
            other => Self::malformed(url, other.to_string()),
        }
    }

    /// The error of a request for an account with this binding.
    pub(super) fn of_binding(self, kid: &str) -> Self {
        match self {
            Self::Problem { url, problem, .. } if problem.may_be_of_binding() => {
                Self::BindingRefused { url, kid: escape(kid, 100), problem }
            }
            other => other,
        }
    }

    pub fn kind(&self) -> Option<Kind> {
        match self {
            Self::Problem { problem, .. } => Some(problem.kind),
            _ => None,
        }
    }

    /// The HTTP status of an error answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Problem { problem, .. } => problem.status,
            _ => None,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } | Self::Problem { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } => Code::AcmeUnreachable,
            Self::Status { .. } => Code::AcmeStatus,
            Self::TooLong { .. } | Self::MalformedResponse { .. } => Code::AcmeStrangeAnswer,
            Self::UnexpectedHost { .. } => Code::AcmeElsewhere,
            Self::Key { .. } => Code::AcmeAccountKey,
            Self::BindingKey { .. } | Self::BindingRefused { .. } => Code::AcmeEab,
            Self::Client { .. } => Code::AcmeClient,
            Self::Unsupported { .. } => Code::AcmeUnsupported,
            Self::Problem { problem, .. } => match problem.kind {
                Kind::BadNonce => Code::AcmeBadNonce,
                Kind::RateLimited => Code::AcmeRateLimited,
                Kind::Paused => Code::AcmePaused,
                Kind::UserActionRequired => Code::AcmeTerms,
                Kind::AccountDoesNotExist | Kind::AccountDead => Code::AcmeAccount,
                Kind::BindingRequired => Code::AcmeEab,
                Kind::Caa => Code::AcmeCaa,
                Kind::RejectedIdentifier => Code::AcmeRejectedName,
                Kind::InvalidProfile => Code::AcmeProfile,
                Kind::NotFound | Kind::Unauthorized => Code::AcmeValidation,
                Kind::AlreadyReplaced
                | Kind::AlreadyRevoked
                | Kind::OrderNotReady
                | Kind::ServerInternal
                | Kind::Other => Code::AcmeProblem,
            },
        }
    }

    pub fn advice(&self) -> Advice {
        let again = Advice::Retry { after_seconds: self.retry_after().map(|wait| wait.as_secs()) };
        match self {
            Self::Status { status, .. } if *status >= 500 || *status == 429 => again,
            Self::Unreachable { .. } | Self::TooLong { .. } | Self::MalformedResponse { .. } => again,
            Self::Problem { problem, .. } => match problem.kind {
                Kind::Paused
                | Kind::UserActionRequired
                | Kind::AccountDoesNotExist
                | Kind::AccountDead
                | Kind::BindingRequired
                | Kind::Caa
                | Kind::RejectedIdentifier
                | Kind::InvalidProfile => Advice::Person,
                _ => again,
            },
            _ => Advice::Person,
        }
    }

    /// The operator's next step.
    pub fn next(&self) -> String {
        let text = match self {
            Self::Unreachable { .. } => {
                "see that this machine reaches the CA (DNS, firewall, `network.proxy`) and trusts its root (`acme.ca_file` for a private CA); certd tries again by itself"
            }
            Self::Status { .. } | Self::TooLong { .. } | Self::MalformedResponse { .. } => {
                "see the CA's status page, and whether a proxy stands in between; certd tries again by itself"
            }
            Self::UnexpectedHost { .. } => "do not follow it; see that `acme.directory` is the CA's own",
            Self::Key { .. } => "put the account's key back from a backup; certd makes no second account by itself",
            Self::BindingKey { .. } => {
                "write the HMAC key as the CA shows it (base64url), and nothing else, into the file of `acme.eab.hmac_file`"
            }
            Self::BindingRefused { .. } => {
                "such a key is good for one account, and expires if it is not used (Google's after seven days): get a new one from the CA, and write its id into `acme.eab.kid` and its HMAC key into the file of `acme.eab.hmac_file`"
            }
            Self::Client { .. } => "see `acme.ca_file` and `network.ca_file` (PEM) and `network.proxy`",
            Self::Unsupported { .. } => "nothing: certd works without",
            Self::Problem { problem, link, .. } => return next_of(problem, link.as_deref()),
        };
        text.to_owned()
    }
}

fn next_of(problem: &Problem, link: Option<&str>) -> String {
    let text = match problem.kind {
        Kind::RateLimited => "wait: certd asks no earlier than the CA allows; see the CA's page on rate limits",
        Kind::Paused => "open the link in the CA's words and lift the pause; until then every order fails",
        Kind::UserActionRequired => "read and accept the CA's new terms at the link, then run `certd renew`",
        Kind::AccountDoesNotExist => {
            "the CA does not know this account (any more). certd makes no new one by itself, since that voids `replaces` and CAA accounturi: put the account back, or move its folder under accounts/ away to begin with a new one"
        }
        Kind::AccountDead => {
            "the account is deactivated, which is irreversible. To begin with a new one, move its folder under accounts/ away and run `certd account register`; records that name the account (CAA accounturi, _validation-persist) need its new URL"
        }
        Kind::BindingRequired => "this CA wants an external account: write `eab` under [acme]",
        Kind::Caa => "allow this CA in the CAA records of the name, or use the CA that they allow",
        Kind::RejectedIdentifier => "this CA does not issue for the name: take it out of `domains`, or use another CA",
        Kind::InvalidProfile => "write a `profile` that this CA offers, or none",
        Kind::NotFound | Kind::Unauthorized => {
            "see that the name's zone is the one that the DNS provider serves, and that all its name servers answer from outside"
        }
        _ => "certd tries again by itself; if it stays, see the CA's status page",
    };
    match link {
        Some(link) => format!("{text} ({link})"),
        None => text.to_owned(),
    }
}

/// A URL from outside, escaped for display.
pub(super) fn shown(url: &str) -> String {
    escape(url, 200)
}
