//! What a revocation list (RFC 5280 section 5) said of one certificate of ours.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::RevokedByCa;

use super::Finding;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Crl {
    /// When it was asked for last, with or without success.
    pub asked_at: Timestamp,
    /// `None`: the certificate names no list.
    pub url: Option<String>,
    /// When the list that was read last is followed by another.
    pub next_update: Option<Timestamp>,
    /// Once revoked is revoked for ever, whatever a later list or a failure says.
    pub revoked: Option<RevokedByCa>,
    /// The last question came to nothing.
    #[serde(default)]
    pub failure: Option<Finding>,
    /// The certificate's end: from then on nobody needs to know.
    pub not_after: Timestamp,
}
