//! Why a call failed, and what that says about whether it was carried out.

use crate::dns::DnsError;

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is unknown whether the call was carried out.
    NoAnswer(DnsError),
    Error {
        error: DnsError,
        codes: Vec<u64>,
        status: u16,
    },
}

impl Refusal {
    pub(super) fn has_code(&self, wanted: &[u64]) -> bool {
        matches!(self, Self::Error { codes, .. } if codes.iter().any(|code| wanted.contains(code)))
    }

    /// The API has something against the request's fields, and not against the token or the zone.
    pub(super) fn is_about_the_body(&self) -> bool {
        matches!(self, Self::Error { error: DnsError::Refused { .. }, status: 400 | 422, .. })
    }

    /// It was not carried out, and may be made later.
    pub(super) fn is_limited(&self) -> bool {
        matches!(self, Self::Error { error: DnsError::Limited { .. }, .. })
    }

    /// The call may have been carried out although it failed.
    pub(super) fn may_have_happened(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Error { error, status, .. } => *status >= 500 || matches!(error, DnsError::MalformedResponse { .. }),
        }
    }
}

impl From<Refusal> for DnsError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoAnswer(error) | Refusal::Error { error, .. } => error,
        }
    }
}
