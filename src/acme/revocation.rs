//! Revocation (RFC 8555 section 7.6): by the account that ordered the certificate, or by the certificate's own key.

use serde_json::json;

use super::account::Account;
use super::jws::{By, Signer, encode};
use super::signed::post;
use super::{AcmeError, Http, Kind};
use crate::cert::{PrivateKey, RevocationReason};

/// Result of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    Now,
    /// It was revoked before.
    Already,
}

impl Account {
    /// `der`: the leaf.
    pub async fn revoke(&self, der: &[u8], reason: RevocationReason) -> Result<Revoked, AcmeError> {
        let requests = &self.requests;
        send(&requests.http, &requests.signer, By::Account(self.url()), der, reason).await
    }
}

/// Revokes with the certificate's key, for a certificate whose account is gone.
pub async fn revoke_by_key(
    http: &Http,
    key: &PrivateKey,
    der: &[u8],
    reason: RevocationReason,
) -> Result<Revoked, AcmeError> {
    let signer = Signer::of_pem(key.pem());
    let signer = signer.ok_or(AcmeError::Key { why: "the certificate's own key cannot sign".to_owned() })?;
    send(http, &signer, By::Key, der, reason).await
}

async fn send(
    http: &Http,
    signer: &Signer,
    by: By<'_>,
    der: &[u8],
    reason: RevocationReason,
) -> Result<Revoked, AcmeError> {
    let Some(url) = http.directory().await?.revoke_cert else {
        return Err(AcmeError::Unsupported { url: http.directory_url().to_owned(), feature: "revocation" });
    };
    let mut payload = json!({ "certificate": encode(der) });
    // RFC 5280 section 5.3.1: "the reason code CRL entry extension SHOULD be absent instead of using the unspecified (0)
    // reasonCode value".
    if reason != RevocationReason::Unspecified {
        payload["reason"] = reason.code().into();
    }
    match post(http, signer, by, &url, Some(&payload)).await {
        Ok(_) => Ok(Revoked::Now),
        Err(error) if error.kind() == Some(Kind::AlreadyRevoked) => Ok(Revoked::Already),
        Err(error) => Err(error),
    }
}
