//! What a token can look like; its status and expiry, to warn before a renewal fails.

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

/// Why a text cannot be a token: it would be refused by the API, in words that do not lead to the file.
pub(super) fn malformed(text: &str) -> Option<&'static str> {
    const GLOBAL_KEY: usize = 37;
    // RFC 6750 section 2.1: b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=".
    let of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let global = text.len() == GLOBAL_KEY && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    if global || text.starts_with("cfk_") {
        return Some("holds the account's global API key, and certd takes API tokens only");
    }
    if text.starts_with("v1.0-") {
        return Some("holds an Origin CA key, and certd takes API tokens only");
    }
    if text.starts_with('\u{feff}') {
        return Some("begins with a byte order mark (U+FEFF)");
    }
    if text.contains(['"', '\'', '`']) {
        return Some("has quotes beside the token");
    }
    if !text.trim_end_matches('=').chars().all(of_token) || text.trim_end_matches('=').is_empty() {
        return Some("holds characters that no token has, as those of an assignment, a header or an address");
    }
    None
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
        Err(DnsError::TokenAddress { .. }) => return status(KnownToken::ELSEWHERE),
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
        Err(DnsError::TokenAddress { .. }) => status(KnownToken::ELSEWHERE),
        verified => verified,
    }
}

#[cfg(test)]
mod tests {
    use super::malformed;

    #[test]
    fn what_no_token_can_be_is_named() {
        for token in
            ["lab-token-0123456789abcdefghijklmnopqrstuv", "cfut_a0Zb", "0123456789abcdef0123456789abcdef01234567"]
        {
            assert_eq!(malformed(token), None, "{token}");
        }
        for (text, part) in [
            ("0123456789abcdef0123456789abcdef01234", "global API key"),
            ("cfk_0123456789", "global API key"),
            ("v1.0-0123", "Origin CA key"),
            ("\"lab-token\"", "quotes"),
            ("'lab-token'", "quotes"),
            ("\u{feff}lab-token", "byte order mark"),
            ("CF_Token=lab-token", "assignment"),
            ("Bearer:lab-token", "header"),
            ("ops@example.com", "address"),
            ("<token>", "characters"),
            ("tok\u{e9}n", "characters"),
            ("=", "characters"),
        ] {
            assert!(malformed(text).is_some_and(|why| why.contains(part)), "{text}");
        }
    }
}
