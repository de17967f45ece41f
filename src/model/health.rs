//! The health of a node: what it answers to requests for a service, judged over several of them.

use core::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ResponseTimes;
use crate::cert::{CertName, DnsName, NodeName};

/// One address of a node, asked for the service of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HealthPlace {
    pub certificate: CertName,
    pub node: NodeName,
    /// `None`: the node's name has not been resolved.
    pub address: Option<SocketAddr>,
}

/// What a place answers, as of its last request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    #[serde(flatten)]
    pub place: HealthPlace,
    /// SNI and Host of the requests.
    pub name: DnsName,
    /// When the last request ended, and with what.
    pub at: Timestamp,
    pub answer: HealthAnswer,
    pub took_ms: Option<u32>,
    pub state: HealthState,
    /// The first answer of those that led to the state.
    pub since: Timestamp,
    /// Answers in a row that contradict the state, and the first of them.
    #[serde(default)]
    pub against: u32,
    #[serde(default)]
    pub against_since: Option<Timestamp>,
    /// The first of the latest answers that are all good, or all bad.
    #[serde(default)]
    pub run_since: Option<Timestamp>,
    /// Since when its bad answers are the backend's fault.
    #[serde(default)]
    pub backend_since: Option<Timestamp>,
    /// Bad answers in a row that do not speak of the backend.
    #[serde(default)]
    pub otherwise: u32,
    /// From when on the last answer says nothing of now. `None`: not known.
    #[serde(default)]
    pub stale_at: Option<Timestamp>,
    #[serde(default)]
    pub times: ResponseTimes,
}

/// The state after the thresholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// There were too few answers.
    Unknown,
    Well,
    Failing,
}

/// The answer to one request. Texts are escaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum HealthAnswer {
    Well {
        status: u16,
        http: String,
    },
    /// No connection.
    NoAnswer {
        why: String,
    },
    /// TLS answers, with a certificate that visitors accept; no whole response follows.
    NoResponse {
        why: String,
    },
    /// No handshake, or a certificate that visitors' clients refuse: no request was sent.
    Tls {
        why: String,
    },
    /// A status that is none of the good ones.
    Status {
        status: u16,
        http: String,
        #[serde(default)]
        location: Option<String>,
    },
    /// A good status, and the body lacks the text.
    Body {
        status: u16,
        http: String,
    },
    /// Not in the HTTP that was asked for.
    NotHttp {
        why: String,
    },
    /// It cannot be found from here.
    Unknown {
        why: String,
    },
    /// This machine has no route to the address, most often no IPv6: nobody was asked.
    NoRoute {
        why: String,
    },
}

/// What an answer says of what stands behind the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The backend does not answer (RFC 9110 sections 15.6.3 and 15.6.5: 502 and 504 are said of an inbound server).
    Backend,
    /// It may be the backend, and it may be the node: 503, by which several proxies say the same (RFC 9110 section 15.6.4
    /// has it for the server itself), and a request without a response. Only what other nodes say tells them apart.
    Either,
    Nobody,
}

impl Health {
    /// It counts as well, and so is its last answer.
    pub fn is_well(&self) -> bool {
        self.state == HealthState::Well && self.answer.is_well() == Some(true)
    }

    /// Whether the last answer still says something of `now`.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.stale_at.is_none_or(|stale_at| now < stale_at)
    }
}

impl HealthAnswer {
    /// `None`: neither, since it says nothing of the node.
    pub fn is_well(&self) -> Option<bool> {
        match self {
            Self::Well { .. } => Some(true),
            Self::Unknown { .. } | Self::NoRoute { .. } => None,
            _ => Some(false),
        }
    }

    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Well { status, .. } | Self::Status { status, .. } | Self::Body { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub fn http(&self) -> Option<&str> {
        match self {
            Self::Well { http, .. } | Self::Status { http, .. } | Self::Body { http, .. } => Some(http),
            _ => None,
        }
    }

    pub fn blame(&self) -> Blame {
        match self {
            Self::Status { status: 502 | 504, .. } => Blame::Backend,
            Self::Status { status: 503, .. } | Self::NoResponse { .. } => Blame::Either,
            _ => Blame::Nobody,
        }
    }

    /// The node took a request.
    pub fn is_past_tls(&self) -> bool {
        self.is_a_response() || matches!(self, Self::NoResponse { .. } | Self::NotHttp { .. })
    }

    /// The node answered a request.
    pub fn is_a_response(&self) -> bool {
        self.status().is_some()
    }
}
