//! A certificate chain, leaf first, and what its leaf says.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Fingerprint, KeyType, NameSet};

/// What a decision may depend on of a leaf: plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub fingerprint: Fingerprint,
    pub names: NameSet,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Lower-case hex, no leading zero byte beyond DER's own.
    pub serial: String,
    /// The issuer's common name, else its whole name; escaped.
    pub issuer: String,
    /// `None`: of a type that we do not issue.
    pub key_type: Option<KeyType>,
    /// RFC 9773 section 4.1: base64url(authority key identifier) "." base64url(serial).
    pub ari_id: Option<String>,
}

/// One or more certificates, leaf first, as PEM and DER.
#[derive(Clone, Debug)]
pub struct Chain {
    pub leaf: Leaf,
    ders: Vec<Vec<u8>>,
}

impl Chain {
    /// From PEM as a CA sends it (RFC 8555 section 7.4.2). Anything but certificates is refused.
    pub fn parse(_pem: &str) -> Result<Self, Malformed> {
        todo!()
    }

    /// From the DERs that a server sent in its handshake.
    pub fn from_ders(_ders: Vec<Vec<u8>>) -> Result<Self, Malformed> {
        todo!()
    }

    /// The whole chain, leaf first: what a server's `fullchain.pem` holds.
    pub fn pem(&self) -> String {
        todo!()
    }

    /// The leaf alone: `cert.pem`.
    pub fn leaf_pem(&self) -> String {
        todo!()
    }

    /// What stands above the leaf: `chain.pem`.
    pub fn issuers_pem(&self) -> String {
        todo!()
    }

    pub fn ders(&self) -> &[Vec<u8>] {
        &self.ders
    }
}

/// Bytes that are not the certificate or key that they should be.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Malformed {
    /// What it should have been: "certificate 2 of the chain".
    pub what: String,
    pub why: String,
}
