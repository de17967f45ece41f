//! Authorizations and their challenges (RFC 8555 sections 7.1.4 and 7.1.5), fetched and answered concurrently, since an
//! order may have a hundred.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::jws::encode;
use super::signed::Requests;
use super::{AcmeError, Problem, problem};
use crate::cert::{DnsName, NameSet};
use crate::config::Challenge;
use crate::model::{Authorization, AuthorizationState, Proof};

/// Concurrent requests. CAs limit them per second; HTTP/1.1 needs a connection for each.
const SIDE_BY_SIDE: usize = 8;
/// RFC 8555 section 8.1: base64url, at least 128 bits. Boulder sends 43 characters.
const LONGEST_TOKEN: usize = 200;
/// Issuers of one challenge. draft-ietf-acme-dns-persist section 3.1: "The array MUST NOT contain more than 10 entries."
const MOST_ISSUERS: usize = 10;

/// The JSON of an authorization.
#[derive(Deserialize)]
pub(super) struct Document {
    identifier: Identifier,
    status: String,
    #[serde(default)]
    wildcard: bool,
    #[serde(default)]
    challenges: Vec<ChallengeDocument>,
}

#[derive(Deserialize)]
struct Identifier {
    value: String,
}

#[derive(Deserialize)]
struct ChallengeDocument {
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    token: Option<String>,
    error: Option<problem::Document>,
    #[serde(rename = "issuer-domain-names", default)]
    issuers: Vec<String>,
}

pub(super) async fn fetch(requests: &Requests, urls: Vec<String>) -> Result<Vec<Document>, AcmeError> {
    let one = |url: String| {
        let requests = requests.clone();
        async move { requests.read(&url).await }
    };
    stream::iter(urls.into_iter().map(one)).buffered(SIDE_BY_SIDE).try_collect().await
}

/// Asks the CA to validate (RFC 8555 section 7.5.1: "the client sends … an empty JSON body").
pub(super) async fn answer(requests: &Requests, urls: Vec<String>) -> Result<(), AcmeError> {
    let one = |url: String| {
        let requests = requests.clone();
        async move { requests.post(&url, &json!({})).await.map(drop) }
    };
    stream::iter(urls.into_iter().map(one)).buffered(SIDE_BY_SIDE).try_collect().await
}

impl Document {
    /// With `*.` when it is for a wildcard.
    fn name(&self) -> String {
        format!("{}{}", if self.wildcard { "*." } else { "" }, self.identifier.value)
    }

    /// The authorization with its proof, and the URL of the challenge. `url`: the order's, for errors.
    pub(super) fn read(
        self,
        index: usize,
        ours: &NameSet,
        challenge: Challenge,
        requests: &Requests,
        url: &str,
    ) -> Result<(Authorization, Option<String>), AcmeError> {
        let name = DnsName::parse(&self.name()).ok().filter(|name| ours.iter().any(|ours| ours == name));
        let Some(name) = name else {
            let what = format!("an authorization for {}, which we did not order", self.name());
            return Err(AcmeError::malformed(url, what));
        };
        let kind = match challenge {
            Challenge::Dns01 => "dns-01",
            Challenge::DnsPersist01 => "dns-persist-01",
        };
        let state = self.state();
        let Some(offered) = self.challenges.into_iter().find(|offered| offered.kind == kind) else {
            return Ok((Authorization { index, name, state, proof: None }, None));
        };
        let proof = match challenge {
            Challenge::Dns01 => {
                let token = offered.token.filter(|token| is_token(token));
                let Some(token) = token else {
                    let what = "a challenge whose token is not base64url (RFC 8555 section 8.1)";
                    return Err(AcmeError::malformed(url, what));
                };
                Proof::Value(dns_value(&token, &requests.signer.thumbprint()))
            }
            Challenge::DnsPersist01 => {
                let issuers = offered.issuers.iter().take(MOST_ISSUERS).filter_map(|name| DnsName::parse(name).ok());
                Proof::PersistRecord { issuers: issuers.collect() }
            }
        };
        Ok((Authorization { index, name, state, proof: Some(proof) }, offered.url))
    }

    /// The name and the CA's problem, if this authorization made the order fail.
    pub(super) fn error(self, ours: &NameSet) -> Option<(DnsName, Problem)> {
        if self.state() != AuthorizationState::Dead {
            return None;
        }
        let name = DnsName::parse(&self.name()).ok().filter(|name| ours.iter().any(|ours| ours == name))?;
        let problem = self.challenges.into_iter().find_map(|challenge| challenge.error)?;
        Some((name, problem.into()))
    }

    fn state(&self) -> AuthorizationState {
        match self.status.as_str() {
            "pending" => AuthorizationState::Pending,
            "valid" => AuthorizationState::Valid,
            _ => AuthorizationState::Dead,
        }
    }
}

/// RFC 8555 sections 8.1 and 8.4: the digest of the token and the account key's thumbprint.
fn dns_value(token: &str, thumbprint: &str) -> String {
    let authorization = format!("{token}.{thumbprint}");
    encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, authorization.as_bytes()))
}

fn is_token(token: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !token.is_empty() && token.len() <= LONGEST_TOKEN && token.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a34_a_token_is_only_base64url() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"));
        for token in ["", "../../x", "a b", "a;b", "a=", &"a".repeat(201)] {
            assert!(!is_token(token), "{token}");
        }
    }

    #[test]
    fn a_wildcard_and_other_optional_members_may_be_null() {
        let body = br#"{"identifier": {"type": "dns", "value": "a.example.test"}, "status": "pending", "expires": null,
            "wildcard": null, "challenges": [{"type": "dns-01", "url": "https://ca.example/1", "status": "pending",
            "token": "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ", "error": null}, {"type": "other-01", "url": null}, null]}"#;
        let document: Document = serde_json::from_slice(&crate::http::without_nulls(body.to_vec())).unwrap();
        assert_eq!((document.name().as_str(), document.challenges.len()), ("a.example.test", 2));
    }

    #[test]
    fn a_txt_value_is_the_digest_of_token_and_thumbprint() {
        // `printf %s token.thumbprint | openssl sha256 -binary | basenc --base64url`
        assert_eq!(dns_value("token", "thumbprint"), "61rBZ_4knHblO0MNoxFsXZ_eTFUHum0B6IVRbhvUn5I");
    }
}
