//! The token's status and expiry, to warn before a renewal fails.

use core::time::Duration;

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use tokio::time::timeout;

use super::api::{Api, segment};
use super::zones::Zones;
use crate::dns::DnsError;
use crate::model::KnownToken;
use crate::text::escape;

/// A pass waits no longer for it than for a node that does not answer.
const LIMIT: Duration = Duration::from_secs(8);

/// https://developers.cloudflare.com/api/resources/user/subresources/tokens/methods/verify/
#[derive(Deserialize)]
struct Verified {
    status: String,
    expires_on: Option<Timestamp>,
}

/// The token's status: the cached one while it is fresh, or if the query fails.
pub(super) async fn ask(
    api: &Api,
    zones: &Zones,
    zone_id: Option<&str>,
    known: Option<KnownToken>,
) -> Option<KnownToken> {
    let (digest, now) = (api.digest(), api.now());
    let known = known.filter(|known| known.digest == digest);
    if known.as_ref().is_some_and(|known| !known.is_old(digest, now)) {
        return known;
    }
    match timeout(LIMIT, verify(api, zones, zone_id)).await {
        Ok(Ok(Verified { status, expires_on })) => {
            let (digest, status) = (digest.to_owned(), escape(&status, 40));
            Some(KnownToken { digest, asked_at: now, status, expires_on })
        }
        Ok(Err(_)) | Err(_) => known,
    }
}

/// User tokens and account tokens are verified at different URLs, and no call tells which kind a token is. The account is
/// only known after a zone was fetched.
async fn verify(api: &Api, zones: &Zones, zone_id: Option<&str>) -> Result<Verified, DnsError> {
    let at = async |path: &str| -> Result<Verified, DnsError> { Ok(api.call(Method::GET, path, &[], None).await?) };
    let status = |status: &str| Ok(Verified { status: status.to_owned(), expires_on: None });
    match at("user/tokens/verify").await {
        Err(DnsError::Token { .. } | DnsError::Forbidden { .. }) => {}
        verified => return verified,
    }
    if let Some(id) = zone_id.filter(|_| zones.account().is_none()) {
        zones.look_at(id).await;
    }
    let Some(account) = zones.account() else {
        // It may be an account's token, which cannot be verified before the account is known.
        return status("unknown");
    };
    match at(&format!("accounts/{}/tokens/verify", segment(&account)?)).await {
        Err(DnsError::Token { .. }) => status("refused"),
        verified => verified,
    }
}
