//! One order (RFC 8555 section 7.4), a step a call. Around each call the nonce is renewed as often as a restless CA wants
//! (the crate does it three times; at Pebble's 50 % that is not enough).

use core::time::Duration;

use instant_acme::{AuthorizationStatus, CertificateIdentifier, ChallengeType, Identifier, NewOrder, OrderStatus};

use super::account::Account;
use super::{AcmeError, Http, Problem};
use crate::cert::{DnsName, NameSet};
use crate::plan::order::{Authorization, AuthorizationState, Status};

/// Rounds of the crate's own three tries.
const NONCE_ROUNDS: usize = 5;
/// A chain of four RSA-4096 certificates is under 10 kB of PEM.
const CHAIN_LIMIT: usize = 100_000;
/// Authorizations for each name that was ordered. RFC 8555 section 7.1.3: "there may not be a 1:1 relationship between
/// the order identifiers and the authorizations required"; each costs requests and a TXT record, and CAs ask for one.
const MOST_FOR_A_NAME: usize = 3;
/// RFC 8555 section 8.1: base64url, at least 128 bits. Boulder sends 43 characters.
const LONGEST_TOKEN: usize = 200;

/// Runs a call of the crate again while the CA rejects its nonces.
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
    http: Http,
    names: NameSet,
}

/// An order's state, and how long the CA asks us to wait before the next look.
#[derive(Clone, Copy, Debug)]
pub struct Polled {
    pub status: Status,
    pub retry_after: Option<Duration>,
}

impl Account {
    /// Makes an order. `replaces`: the ARI identifier of the certificate that it renews (RFC 9773 section 5).
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
        let inner = made.map_err(|error| AcmeError::from_crate(self.http.directory_url(), error))?;
        Ok(Order { inner, http: self.http.clone(), names: names.clone() })
    }

    /// Gets an order back that an earlier run made.
    pub async fn order(&self, url: &str, names: &NameSet) -> Result<Order, AcmeError> {
        let fetched = with_nonces!(NONCE_ROUNDS, self.inner.order(url.to_owned()));
        let inner = fetched.map_err(|error| AcmeError::from_crate(url, error))?;
        Ok(Order { inner, http: self.http.clone(), names: names.clone() })
    }
}

impl Order {
    pub fn url(&self) -> &str {
        self.inner.url()
    }

    /// As of the last answer.
    pub fn status(&mut self) -> Status {
        status(self.inner.state().status)
    }

    /// What is to be proven, and with which TXT value.
    pub async fn authorizations(&mut self) -> Result<Vec<Authorization>, AcmeError> {
        let url = self.inner.url().to_owned();
        // Those that were fetched are not fetched again when one of them needs another nonce.
        let rounds = NONCE_ROUNDS + self.names.len();
        let listed = with_nonces!(rounds, list(&mut self.inner, self.names.len(), false));
        let listed = listed.map_err(|error| AcmeError::from_crate(&url, error))?;
        let mut authorizations = Vec::new();
        for (index, raw) in listed.into_iter().enumerate() {
            let name = DnsName::parse(&raw.name).ok().filter(|name| self.names.iter().any(|ours| ours == name));
            let Some(name) = name else {
                return Err(AcmeError::strange(
                    &url,
                    format!("an authorization for {}, which we did not order", raw.name),
                ));
            };
            if raw.token.as_deref().is_some_and(|token| !is_token(token)) {
                return Err(AcmeError::strange(
                    &url,
                    "a challenge whose token is not base64url (RFC 8555 section 8.1)",
                ));
            }
            authorizations.push(Authorization { index, name, state: raw.state, value: raw.value });
        }
        Ok(authorizations)
    }

    /// Asks the CA to look at the TXT record of the authorization at `index`.
    pub async fn set_ready(&mut self, index: usize) -> Result<(), AcmeError> {
        let url = self.inner.url().to_owned();
        let told = tell_ready(&mut self.inner, index).await;
        told.map_err(|error| AcmeError::from_crate(&url, error))
    }

    pub async fn refresh(&mut self) -> Result<Polled, AcmeError> {
        let url = self.inner.url().to_owned();
        let polled = with_nonces!(NONCE_ROUNDS, self.inner.refresh());
        let status = status(polled.map_err(|error| AcmeError::from_crate(&url, error))?.status);
        Ok(Polled { status, retry_after: self.http.wish() })
    }

    /// `csr`: PKCS#10, DER.
    pub async fn finalize(&mut self, csr: &[u8]) -> Result<Status, AcmeError> {
        let url = self.inner.url().to_owned();
        let sent = with_nonces!(NONCE_ROUNDS, self.inner.finalize_csr(csr));
        sent.map_err(|error| AcmeError::from_crate(&url, error))?;
        Ok(self.status())
    }

    /// The chain as PEM, of an order that is valid.
    pub async fn certificate(&mut self) -> Result<String, AcmeError> {
        let url = self.inner.url().to_owned();
        let got = with_nonces!(NONCE_ROUNDS, self.inner.certificate());
        let pem = got.map_err(|error| AcmeError::from_crate(&url, error))?;
        let pem = pem.ok_or_else(|| AcmeError::strange(&url, "a valid order without a certificate"))?;
        if pem.len() > CHAIN_LIMIT {
            return Err(AcmeError::TooLong { url: super::error::shown(&url), limit: CHAIN_LIMIT });
        }
        Ok(pem)
    }

    /// Why the order is invalid: the problems of its authorizations by name, and its own.
    pub async fn blame(&mut self) -> Result<(Vec<(DnsName, Problem)>, Option<Problem>), AcmeError> {
        let url = self.inner.url().to_owned();
        let own = self.inner.state().error.as_ref().map(Problem::inner);
        let rounds = NONCE_ROUNDS + self.names.len();
        let listed = with_nonces!(rounds, list(&mut self.inner, self.names.len(), true));
        let listed = listed.map_err(|error| AcmeError::from_crate(&url, error))?;
        let blamed = listed.into_iter().filter(|raw| raw.state == AuthorizationState::Dead);
        let named = blamed.filter_map(|raw| Some((DnsName::parse(&raw.name).ok()?, raw.problem?)));
        Ok((named.filter(|(name, _)| self.names.iter().any(|ours| ours == name)).collect(), own))
    }
}

/// An authorization as the CA tells it.
struct Raw {
    name: String,
    state: AuthorizationState,
    token: Option<String>,
    value: Option<String>,
    problem: Option<Problem>,
}

async fn list(order: &mut instant_acme::Order, names: usize, afresh: bool) -> Result<Vec<Raw>, instant_acme::Error> {
    if order.state().authorizations.len() > names * MOST_FOR_A_NAME {
        return Err(instant_acme::Error::Str("an order with more authorizations than its names can need"));
    }
    let mut listed = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(next) = authorizations.next().await {
        let mut handle = next?;
        if afresh {
            handle.refresh().await?;
        }
        let state = match handle.status {
            AuthorizationStatus::Pending => AuthorizationState::Pending,
            AuthorizationStatus::Valid => AuthorizationState::Valid,
            _ => AuthorizationState::Dead,
        };
        let name = handle.identifier().to_string();
        let problem = handle.challenges.iter().find_map(|challenge| challenge.error.as_ref().map(Problem::inner));
        let challenge = handle.challenge(ChallengeType::Dns01);
        let token = challenge.as_ref().map(|challenge| challenge.token.clone());
        let value = challenge.map(|challenge| challenge.key_authorization().dns_value());
        listed.push(Raw { name, state, token, value, problem });
    }
    Ok(listed)
}

async fn tell_ready(order: &mut instant_acme::Order, index: usize) -> Result<(), instant_acme::Error> {
    let mut authorizations = order.authorizations();
    let mut at = 0;
    while let Some(next) = authorizations.next().await {
        let mut handle = next?;
        if at == index {
            let Some(mut challenge) = handle.challenge(ChallengeType::Dns01) else { break };
            return with_nonces!(NONCE_ROUNDS, challenge.set_ready());
        }
        at += 1;
    }
    Err(instant_acme::Error::Str("dns-01 challenge"))
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

fn is_token(token: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !token.is_empty() && token.len() <= LONGEST_TOKEN && token.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::is_token;

    #[test]
    fn a34_a_token_is_base64url_and_nothing_else() {
        assert!(is_token("evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"));
        for token in ["", "../../x", "a b", "a;b", "a=", &"a".repeat(201)] {
            assert!(!is_token(token), "{token}");
        }
    }
}
