//! Why a handshake showed no certificate.

use serde::{Deserialize, Serialize};

use crate::cert::KeyAlgorithm;

/// Why a handshake showed no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeError {
    #[error("the address could not be resolved: {0}")]
    Unresolved(String),
    #[error("connection refused")]
    Refused,
    #[error("no answer")]
    TimedOut,
    #[error("network error: {0}")]
    Network(String),
    /// TCP answers, TLS does not.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// UDP does not show whether it was refused, lost or not listened to.
    #[error("no answer over UDP")]
    NoQuic,
    /// The SSH path to the server is broken, which shows nothing about the server: visitors take another one.
    #[error("no way through SSH: {0}")]
    NoWay(String),
    /// The port answers, in a protocol by which it was not asked for TLS: `probe` is wrong, which shows nothing about what
    /// visitors get.
    #[error("{0}")]
    Unspoken(String),
    /// It speaks the right protocol and greets with a refusal, as a busy server does, or one that does not admit this
    /// machine: that shows nothing about what others get, nor about a certificate.
    #[error("{0}")]
    TurnedAway(String),
    /// This machine has no route to the address (most often no IPv6): nothing was asked.
    #[error("this machine has no route to it: {0}")]
    NoRoute(String),
    /// This machine has no more open files for a connection: nothing was asked.
    #[error("this machine could not ask: {0}")]
    NoSocket(String),
    /// TLS answers, and takes no version, cipher suite or group that certd offers, but others: visitors may have them.
    #[error("{0}")]
    NothingInCommon(String),
    /// The server shows a certificate, and none with such a key: it has other pairs for the name.
    #[error("the server has no {0} certificate for this name, only another")]
    NoSuchKey(KeyAlgorithm),
}

impl ProbeError {
    /// Whether what visitors get is unknown after this.
    pub fn says_nothing_of_visitors(&self) -> bool {
        matches!(
            self,
            Self::NoWay(_)
                | Self::Unspoken(_)
                | Self::TurnedAway(_)
                | Self::NoRoute(_)
                | Self::NoSocket(_)
                | Self::NothingInCommon(_)
        )
    }

    /// Whether nothing was asked, for a reason of this machine.
    pub fn is_of_this_machine(&self) -> bool {
        matches!(self, Self::NoRoute(_) | Self::NoSocket(_))
    }

    /// Whether a server accepted TCP, so that a change could hurt its visitors.
    pub fn somebody_there(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Unspoken(_) | Self::TurnedAway(_) | Self::NothingInCommon(_))
    }
}
