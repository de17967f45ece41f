//! Signed requests for which the ACME crate has no call, or none that survives a crash: accounts, keys, revocation,
//! concurrent authorizations, alternate chains.

use std::sync::Arc;

use ::http::Method;
use ::http::Response;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::http::{BroughtNonce, judge};
use super::jws::{By, Signer};
use super::{AcmeError, Http, Kind};

/// Attempts with fresh nonces while the CA rejects each.
const NONCES: usize = 10;

/// Sends requests that an account signs. Cheap to clone.
#[derive(Clone)]
pub(super) struct Requests {
    pub(super) http: Http,
    pub(super) signer: Arc<Signer>,
    /// The account's URL.
    pub(super) account: String,
}

impl Requests {
    pub(super) async fn post(&self, url: &str, payload: &Value) -> Result<Response<Bytes>, AcmeError> {
        post(&self.http, &self.signer, By::Account(&self.account), url, Some(payload)).await
    }

    /// POST-as-GET (RFC 8555 section 6.3).
    pub(super) async fn get(&self, url: &str) -> Result<Response<Bytes>, AcmeError> {
        post(&self.http, &self.signer, By::Account(&self.account), url, None).await
    }

    /// As [`Self::get`]; parses the answer's JSON.
    pub(super) async fn read<T: DeserializeOwned>(&self, url: &str) -> Result<T, AcmeError> {
        let answer = self.get(url).await?;
        serde_json::from_slice(answer.body()).map_err(|error| AcmeError::malformed(url, error.to_string()))
    }
}

/// Sends one request, and repeats it with another nonce while the CA rejects nonces. A request so rejected was not carried
/// out (RFC 8555 section 6.5: "the client SHOULD retry the request").
pub(super) async fn post(
    http: &Http,
    signer: &Signer,
    by: By<'_>,
    url: &str,
    payload: Option<&Value>,
) -> Result<Response<Bytes>, AcmeError> {
    let mut attempt = 1;
    loop {
        let nonce = http.nonce().await?;
        let signed = signer.sign(by, url, Some(&nonce), payload);
        let body = signed.ok_or(AcmeError::Key { why: "cannot sign".to_owned() })?.to_string();
        match judge(url, http.send(Method::POST, url, Bytes::from(body)).await?) {
            Err(error) if error.kind() == Some(Kind::BadNonce) && attempt < NONCES => attempt += 1,
            // RFC 8555 section 6.5: "The server MUST include a Replay-Nonce header field in every successful response to
            // a POST request". An answer without a nonce is another server's page, and the CA did nothing.
            Ok(answer) if answer.extensions().get::<BroughtNonce>().is_none() => {
                return Err(AcmeError::malformed(url, "an answer without a nonce, which no CA sends"));
            }
            judged => return judged,
        }
    }
}
