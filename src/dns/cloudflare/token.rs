//! How long the token is good for, known before a renewal needs it.

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

/// No pass waits longer to learn it: as long as for a node that does not answer.
const LIMIT: Duration = Duration::from_secs(8);

/// https://developers.cloudflare.com/api/resources/user/subresources/tokens/methods/verify/
#[derive(Deserialize)]
struct Verified {
    status: String,
    expires_on: Option<Timestamp>,
}

/// What is known of this token, asked for when that is old. A question that is not answered changes nothing.
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

/// A user's token is verified at one place, an account's at another, and neither says of which kind a token is: an account
/// is only known once a zone was seen.
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
        // It may be an account's token: another day.
        return status("unknown");
    };
    match at(&format!("accounts/{}/tokens/verify", segment(&account)?)).await {
        Err(DnsError::Token { .. }) => status("refused"),
        verified => verified,
    }
}
