//! How long the token is good for, known before a renewal needs it.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;

use super::api::{Api, segment};
use super::zones::Zones;
use crate::dns::DnsError;
use crate::observed::KnownToken;
use crate::report::escape;

/// https://developers.cloudflare.com/api/resources/user/subresources/tokens/methods/verify/
#[derive(Deserialize)]
struct Verified {
    status: String,
    expires_on: Option<Timestamp>,
}

/// What is known of this token, asked for when that is old. A question that is not answered changes nothing.
///
/// A user's token is verified at one place, an account's at another, and neither says of which kind a token is: an account
/// is only known once a zone was seen.
pub(super) async fn ask(
    api: &Arc<Api>,
    zones: &Zones,
    zone_id: Option<&str>,
    known: Option<KnownToken>,
) -> Option<KnownToken> {
    let (digest, now) = (api.digest().to_owned(), api.now());
    let known = known.filter(|known| known.digest == digest);
    if let Some(known) = known.as_ref().filter(|known| !known.is_old(&digest, now)) {
        return Some(known.clone());
    }
    let told = |status: String, expires_on| KnownToken { digest, asked_at: now, status, expires_on };
    match verify(api, "user/tokens/verify").await {
        Ok(verified) => return Some(told(escape(&verified.status, 40), verified.expires_on)),
        Err(DnsError::Token { .. } | DnsError::Forbidden { .. }) => {}
        Err(_) => return known,
    }
    if let Some(id) = zone_id.filter(|_| zones.account().is_none()) {
        zones.look_at(id).await;
    }
    let account = zones.account().filter(|account| segment(account).is_ok());
    // It may be an account's token, and the account is not known: another day.
    let Some(account) = account else { return Some(told("unknown".to_owned(), None)) };
    match verify(api, &format!("accounts/{account}/tokens/verify")).await {
        Ok(verified) => Some(told(escape(&verified.status, 40), verified.expires_on)),
        Err(DnsError::Token { .. }) => Some(told("refused".to_owned(), None)),
        Err(_) => known,
    }
}

async fn verify(api: &Api, path: &str) -> Result<Verified, DnsError> {
    Ok(api.call(Method::GET, path, &[], None).await?)
}
