//! An order and its authorizations (RFC 8555 sections 7.1.3 and 7.1.4).

use serde::{Deserialize, Serialize};

use crate::cert::DnsName;

/// RFC 8555 section 7.1.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
}

/// One authorization of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// Position in the order's list.
    pub index: usize,
    /// With `*.` for a wildcard.
    pub name: DnsName,
    pub state: AuthorizationState,
    /// `None`: the CA does not offer the configured challenge.
    pub proof: Option<Proof>,
}

/// What proves control of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// dns-01: the value of a TXT record at `_acme-challenge.`.
    Value(String),
    /// dns-persist-01: a permanent TXT record at `_validation-persist.` that names one of these issuers and the
    /// account.
    #[serde(rename = "standing")]
    PersistRecord { issuers: Vec<DnsName> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationState {
    Pending,
    Valid,
    /// Invalid, expired, revoked or deactivated: the order cannot succeed.
    Dead,
}
