//! An order and its authorizations, as a CA tells of them (RFC 8555 sections 7.1.3 and 7.1.4).

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

/// What an authorization of the order asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// Its place in the order's list.
    pub index: usize,
    /// With `*.` when it is for a wildcard.
    pub name: DnsName,
    pub state: AuthorizationState,
    /// `None`: the CA does not offer the challenge that the configuration asks for.
    pub proof: Option<Proof>,
}

/// What proves control of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// dns-01: what a TXT record at `_acme-challenge.` must hold.
    Value(String),
    /// dns-persist-01: a TXT record at `_validation-persist.` that stays and names one of these, and the account.
    #[serde(rename = "standing")]
    PersistRecord { issuers: Vec<DnsName> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorizationState {
    Pending,
    Valid,
    /// Invalid, expired, revoked or deactivated: this order cannot succeed.
    Dead,
}
