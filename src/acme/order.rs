//! One order (RFC 8555 section 7.4), one step per call. Each call is repeated with a new nonce while the CA rejects nonces:
//! the crate repeats it three times, too few for Pebble, which rejects half of them.

use core::time::Duration;

use ::http::Response;
use bytes::Bytes;
use instant_acme::{CertificateIdentifier, Identifier, NewOrder, OrderStatus};

use super::account::Account;
use super::error::shown;
use super::signed::Requests;
use super::{AcmeError, Problem, authorization, link};
use crate::cert::{DnsName, NameSet};
use crate::config::Challenge;
use crate::model::{Authorization, Status};

/// Rounds of the crate's own three tries.
const NONCE_ROUNDS: usize = 5;
/// A chain of four RSA-4096 certificates is under 10 kB of PEM.
const CHAIN_LIMIT: usize = 100_000;
/// Authorizations for each name that was ordered. RFC 8555 section 7.1.3: "there may not be a 1:1 relationship between
/// the order identifiers and the authorizations required"; each costs requests and a TXT record, and CAs ask for one.
const MOST_FOR_A_NAME: usize = 3;
/// Alternate chains of one certificate. Let's Encrypt has offered two at most.
const MOST_ALTERNATES: usize = 8;

/// Repeats a call of the crate while the CA rejects its nonces.
macro_rules! with_nonces {
    ($rounds:expr, $call:expr) => {{
        let mut round = 1;
        loop {
            match $call.await {
                Err(instant_acme::Error::Api(problem))
                    if round < $rounds && problem.r#type.as_deref().is_some_and(|it| it.ends_with(":badNonce")) =>
                {
                    round += 1;
                }
                other => break other,
            }
        }
    }};
}

pub struct Order {
    inner: instant_acme::Order,
    requests: Requests,
    names: NameSet,
    /// Challenge URLs, by the index of the authorization.
    challenges: Vec<Option<String>>,
}

/// A certificate with the CA's default chain (RFC 8555 section 7.4.2).
#[derive(Clone, Debug)]
pub struct Download {
    /// The chain, leaf first.
    pub pem: String,
    /// URLs of alternate chains: "the server MAY provide one or more link relation header fields with relation "alternate"".
    pub alternates: Vec<String>,
}

/// An order's state, and the CA's Retry-After for the next poll.
#[derive(Clone, Copy, Debug)]
pub struct Polled {
    pub status: Status,
    pub retry_after: Option<Duration>,
}

impl Account {
    /// Creates an order. `replaces`: the ARI identifier of the certificate that it renews (RFC 9773 section 5).
    pub async fn new_order(
        &self,
        names: &NameSet,
        profile: Option<&str>,
        replaces: Option<&str>,
    ) -> Result<Order, AcmeError> {
        let identifiers: Vec<_> = names.iter().map(|name| Identifier::Dns(name.as_str().to_owned())).collect();
        let mut wanted = NewOrder::new(&identifiers);
        if let Some(profile) = profile {
            wanted = wanted.profile(profile);
        }
        if let Some((aki, serial)) = replaces.and_then(|id| id.split_once('.')) {
            let id = CertificateIdentifier { authority_key_identifier: aki.into(), serial: serial.into() };
            wanted = wanted.replaces(id);
        }
        let made = with_nonces!(NONCE_ROUNDS, self.inner.new_order(&wanted));
        let inner = made.map_err(|error| AcmeError::from_crate(self.requests.http.directory_url(), error))?;
        Ok(self.joined(inner, names))
    }

    /// Fetches an order that an earlier run created.
    pub async fn order(&self, url: &str, names: &NameSet) -> Result<Order, AcmeError> {
        let fetched = with_nonces!(NONCE_ROUNDS, self.inner.order(url.to_owned()));
        let inner = fetched.map_err(|error| AcmeError::from_crate(url, error))?;
        Ok(self.joined(inner, names))
    }

    fn joined(&self, inner: instant_acme::Order, names: &NameSet) -> Order {
        Order { inner, requests: self.requests.clone(), names: names.clone(), challenges: Vec::new() }
    }
}

impl Order {
    pub fn url(&self) -> &str {
        self.inner.url()
    }

    /// The status in the CA's last answer.
    pub fn status(&mut self) -> Status {
        status(self.inner.state().status)
    }

    /// The authorizations, each with the proof for this challenge.
    pub async fn authorizations(&mut self, challenge: Challenge) -> Result<Vec<Authorization>, AcmeError> {
        let fetched = self.fetch().await?;
        let (mut authorizations, mut challenges) = (Vec::new(), Vec::new());
        for (index, document) in fetched.into_iter().enumerate() {
            let (authorization, challenge) =
                document.read(index, &self.names, challenge, &self.requests, self.inner.url())?;
            authorizations.push(authorization);
            challenges.push(challenge);
        }
        self.challenges = challenges;
        Ok(authorizations)
    }

    /// Asks the CA to validate the authorizations at `indexes`.
    pub async fn set_ready(&mut self, indexes: &[usize]) -> Result<(), AcmeError> {
        let urls = indexes.iter().map(|index| self.challenges.get(*index).cloned().flatten());
        let Some(urls) = urls.collect::<Option<Vec<String>>>() else {
            return Err(AcmeError::malformed(self.inner.url(), "an authorization without the challenge that it had"));
        };
        authorization::answer(&self.requests, urls).await
    }

    pub async fn refresh(&mut self) -> Result<Polled, AcmeError> {
        let url = self.inner.url().to_owned();
        let polled = with_nonces!(NONCE_ROUNDS, self.inner.refresh());
        let status = status(polled.map_err(|error| AcmeError::from_crate(&url, error))?.status);
        Ok(Polled { status, retry_after: self.requests.http.retry_after() })
    }

    /// `csr`: PKCS#10, DER.
    pub async fn finalize(&mut self, csr: &[u8]) -> Result<Status, AcmeError> {
        let url = self.inner.url().to_owned();
        let sent = with_nonces!(NONCE_ROUNDS, self.inner.finalize_csr(csr));
        sent.map_err(|error| AcmeError::from_crate(&url, error))?;
        Ok(self.status())
    }

    /// The certificate of a valid order.
    pub async fn certificate(&mut self) -> Result<Download, AcmeError> {
        let Some(url) = self.inner.state().certificate.clone() else {
            return Err(AcmeError::malformed(self.inner.url(), "a valid order without a certificate"));
        };
        let answer = self.requests.get(&url).await?;
        let mut alternates = link::targets(answer.headers(), "alternate");
        alternates.truncate(MOST_ALTERNATES);
        Ok(Download { pem: chain(&url, &answer)?, alternates })
    }

    /// One of [`Download::alternates`].
    pub async fn alternate(&self, url: &str) -> Result<String, AcmeError> {
        chain(url, &self.requests.get(url).await?)
    }

    /// Why the order is invalid: the problems of its authorizations by name, and its own.
    pub async fn errors(&mut self) -> Result<(Vec<(DnsName, Problem)>, Option<Problem>), AcmeError> {
        let own = self.inner.state().error.as_ref().map(Problem::inner);
        let fetched = self.fetch().await?;
        Ok((fetched.into_iter().filter_map(|document| document.error(&self.names)).collect(), own))
    }

    async fn fetch(&mut self) -> Result<Vec<authorization::Document>, AcmeError> {
        let urls: Vec<String> = self.inner.state().authorizations.iter().map(|one| one.url.clone()).collect();
        if urls.len() > self.names.len() * MOST_FOR_A_NAME {
            let what = "an order with more authorizations than its names can need";
            return Err(AcmeError::malformed(self.inner.url(), what));
        }
        authorization::fetch(&self.requests, urls).await
    }
}

/// The PEM text; `cert` checks its content.
fn chain(url: &str, answer: &Response<Bytes>) -> Result<String, AcmeError> {
    if answer.body().len() > CHAIN_LIMIT {
        return Err(AcmeError::TooLong { url: shown(url), limit: CHAIN_LIMIT });
    }
    let text = core::str::from_utf8(answer.body());
    text.map(str::to_owned).map_err(|_| AcmeError::malformed(url, "a certificate that is not text"))
}

fn status(status: OrderStatus) -> Status {
    match status {
        OrderStatus::Pending => Status::Pending,
        OrderStatus::Ready => Status::Ready,
        OrderStatus::Processing => Status::Processing,
        OrderStatus::Valid => Status::Valid,
        OrderStatus::Invalid => Status::Invalid,
    }
}
