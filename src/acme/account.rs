//! The account at a CA. Its key is returned to be stored *before* the CA gets it. An account that the CA does not know (any
//! more) is an error, and is never silently replaced.

use std::sync::Arc;

use ::http::header::LOCATION;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::jws::{By, Signer};
use super::signed::{Requests, post};
use super::{AcmeError, Binding, Http, Kind};

/// A P-256 key, PKCS#8 DER. No `Debug`.
pub struct AccountKey(Zeroizing<Vec<u8>>);

/// An account that can order. Cheap to clone.
#[derive(Clone)]
pub struct Account {
    pub(super) inner: instant_acme::Account,
    pub(super) requests: Requests,
}

/// The account object (RFC 8555 section 7.1.2). The texts are the CA's: escape them before showing them.
#[derive(Clone, Debug, Deserialize)]
pub struct Known {
    pub status: String,
    #[serde(default)]
    pub contact: Vec<String>,
}

impl AccountKey {
    pub fn generate() -> Result<Self, AcmeError> {
        let key = Signer::generate().ok_or(AcmeError::Key { why: "cannot be made (no randomness)".to_owned() })?;
        Ok(Self(Zeroizing::new(key)))
    }

    pub fn from_pkcs8(der: Zeroizing<Vec<u8>>) -> Self {
        Self(der)
    }

    /// From another client's PEM: PKCS#8, or SEC 1 as OpenSSL writes it. `None`: not a P-256 key.
    pub fn from_pem(pem: &str) -> Option<Self> {
        Signer::of_pem(pem)?.p256_pkcs8().map(Self)
    }

    pub fn pkcs8(&self) -> &Zeroizing<Vec<u8>> {
        &self.0
    }

    /// RFC 7638.
    pub fn thumbprint(&self) -> Result<String, AcmeError> {
        Ok(self.signer()?.thumbprint())
    }

    fn signer(&self) -> Result<Signer, AcmeError> {
        Signer::new(&self.0).ok_or(AcmeError::Key { why: "not a P-256 key in PKCS#8".to_owned() })
    }
}

/// Creates the account, or finds the one that this key already has. Returns its URL.
///
/// RFC 8555 section 7.3: "If the server receives a newAccount request signed with a key for which it already has an
/// account registered with the provided account key, then it MUST return a response with status code 200 (OK) and
/// provide the URL of that account in the Location header field."
pub async fn register(
    http: &Http,
    key: &AccountKey,
    contact: &[String],
    binding: Option<&Binding>,
) -> Result<String, AcmeError> {
    let signer = key.signer()?;
    let mut payload = json!({ "termsOfServiceAgreed": true });
    if !contact.is_empty() {
        payload["contact"] = contact.iter().map(|address| mailto(address)).collect();
    }
    if let Some(binding) = binding {
        payload["externalAccountBinding"] = signer.bind(&http.directory().await?.new_account, binding);
    }
    new_account(http, &signer, &payload).await.map_err(|error| match binding {
        Some(binding) => error.of_binding(&binding.kid),
        None => error,
    })
}

/// The URL of this key's account. `None`: the CA knows no such account.
pub async fn find(http: &Http, key: &AccountKey) -> Result<Option<String>, AcmeError> {
    existing(http, &key.signer()?).await
}

async fn existing(http: &Http, signer: &Signer) -> Result<Option<String>, AcmeError> {
    match new_account(http, signer, &json!({ "onlyReturnExisting": true })).await {
        Ok(url) => Ok(Some(url)),
        Err(error) if error.kind() == Some(Kind::AccountDoesNotExist) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens a known account. The only request is that for the directory, unless it is cached.
pub async fn open(http: &Http, key: &AccountKey, url: &str) -> Result<Account, AcmeError> {
    let signer = Arc::new(key.signer()?);
    let directory = http.directory_url().to_owned();
    let der = key.pkcs8().as_slice().into();
    let inner = instant_acme::Account::builder_with_http(Box::new(http.clone()))
        .from_parts(url.to_owned(), der, directory)
        .await
        .map_err(|error| AcmeError::from_crate(http.directory_url(), error))?;
    let requests = Requests { http: http.clone(), signer, account: url.to_owned() };
    Ok(Account { inner, requests })
}

/// Changes the account's key (RFC 8555 section 7.3.5). Store `next` before: if the answer is lost, either key may be the
/// valid one, and [`find`] shows which.
pub async fn roll_over(http: &Http, account: &str, key: &AccountKey, next: &AccountKey) -> Result<(), AcmeError> {
    change_key(http, account, &key.signer()?, next).await
}

/// The same for a key of any type that certd reads (PEM): another client's.
pub async fn roll_over_from(http: &Http, account: &str, pem: &str, next: &AccountKey) -> Result<(), AcmeError> {
    change_key(http, account, &foreign(pem)?, next).await
}

/// The URL of the account that another client's key (PEM) has. `None`: the CA knows no such account.
pub async fn find_by(http: &Http, pem: &str) -> Result<Option<String>, AcmeError> {
    existing(http, &foreign(pem)?).await
}

fn foreign(pem: &str) -> Result<Signer, AcmeError> {
    Signer::of_pem(pem).ok_or(AcmeError::Key { why: "not an RSA, P-256 or P-384 key".to_owned() })
}

async fn change_key(http: &Http, account: &str, old: &Signer, next: &AccountKey) -> Result<(), AcmeError> {
    let Some(url) = http.directory().await?.key_change else {
        return Err(AcmeError::Unsupported { url: http.directory_url().to_owned(), feature: "change of keys" });
    };
    let new = next.signer()?;
    let change = json!({ "account": account, "oldKey": old.jwk() });
    let inner = new.sign(By::Key, &url, None, Some(&change));
    let inner = inner.ok_or(AcmeError::Key { why: "cannot sign".to_owned() })?;
    post(http, old, By::Account(account), &url, Some(&inner)).await.map(drop)
}

impl Account {
    pub fn url(&self) -> &str {
        &self.requests.account
    }

    /// Fetches the account object.
    pub async fn known(&self) -> Result<Known, AcmeError> {
        self.requests.read(self.url()).await
    }

    /// Replaces the account's contacts (RFC 8555 section 7.3.2).
    pub async fn update_contact(&self, contact: &[String]) -> Result<(), AcmeError> {
        let contact: Vec<String> = contact.iter().map(|address| mailto(address)).collect();
        self.requests.post(self.url(), &json!({ "contact": contact })).await.map(drop)
    }

    /// Irreversible (RFC 8555 section 7.3.6): "there is no way to reactivate".
    pub async fn deactivate(&self) -> Result<(), AcmeError> {
        self.requests.post(self.url(), &json!({ "status": "deactivated" })).await.map(drop)
    }
}

async fn new_account(http: &Http, signer: &Signer, payload: &Value) -> Result<String, AcmeError> {
    let url = http.directory().await?.new_account;
    let answer = post(http, signer, By::Key, &url, Some(payload)).await?;
    let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    location.ok_or_else(|| AcmeError::malformed(&url, "an account without a URL"))
}

fn mailto(contact: &str) -> String {
    if contact.contains(':') { contact.to_owned() } else { format!("mailto:{contact}") }
}
