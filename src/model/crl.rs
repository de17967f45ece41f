//! What a revocation list (RFC 5280 section 5) has about one of our certificates.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::RevokedByCa;

use super::Finding;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Crl {
    /// The last request, successful or not.
    pub asked_at: Timestamp,
    /// `None`: the certificate names no list.
    pub url: Option<String>,
    /// `nextUpdate` of the last list.
    pub next_update: Option<Timestamp>,
    /// A revocation is final, whatever a later list or a failure shows.
    pub revoked: Option<RevokedByCa>,
    /// Set when the last request failed.
    #[serde(default)]
    pub failure: Option<Finding>,
    /// The certificate's end, after which the record is dropped.
    pub not_after: Timestamp,
}
