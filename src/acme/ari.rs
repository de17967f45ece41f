//! Renewal information (RFC 9773): when the CA suggests to renew a certificate. A plain GET, without account and nonce. (The
//! ACME crate's own call reports every error as a missing Retry-After.)
//!
//! After an error there is no suggestion today; it never prevents a renewal.

use core::time::Duration;

use ::http::Method;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;

use super::http::{LONGEST_WAIT, judge};
use super::{AcmeError, Http};
use crate::http::retry_after;
use crate::text::escape;

/// Windows beyond this are rejected: no certificate lives that long (CA/Browser Forum: 200 days).
const FURTHEST: jiff::SignedDuration = jiff::SignedDuration::from_hours(400 * 24);

/// The CA's suggestion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalWindow {
    pub start: Timestamp,
    pub end: Timestamp,
    /// URL of a page for people; escaped.
    pub explanation: Option<String>,
    /// The CA's Retry-After: when to ask again.
    pub ask_again: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation: Option<String>,
}

#[derive(Deserialize)]
struct Window {
    start: Timestamp,
    end: Timestamp,
}

/// The window of the certificate with this ARI identifier (RFC 9773 section 4.1).
pub async fn renewal_window(http: &Http, ari_id: &str, now: Timestamp) -> Result<RenewalWindow, AcmeError> {
    let Some(base) = http.directory().await?.renewal_info else {
        return Err(AcmeError::Unsupported { url: http.directory_url().to_owned(), feature: "renewal information" });
    };
    // RFC 9773 section 4.1: "url = renewalInfo || '/' || id".
    let url = format!("{}/{ari_id}", base.trim_end_matches('/'));
    let answer = judge(&url, http.send(Method::GET, &url, Bytes::new()).await?)?;
    let ask_again = retry_after(answer.headers(), LONGEST_WAIT);
    let window = read(answer.body(), now).map_err(|what| AcmeError::malformed(&url, what))?;
    Ok(RenewalWindow { ask_again, ..window })
}

fn read(body: &[u8], now: Timestamp) -> Result<RenewalWindow, String> {
    let document: Document = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Window { start, end } = document.suggested_window;
    // RFC 9773 section 4.2: "end: A timestamp … This value MUST be later than start."
    if end <= start {
        return Err(format!("the window ends ({end}) before it starts ({start})"));
    }
    if start.duration_since(now) > FURTHEST {
        return Err(format!("the window starts at {start}"));
    }
    Ok(RenewalWindow { start, end, explanation: document.explanation.map(|url| escape(&url, 300)), ask_again: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(start: &str, end: &str) -> Result<RenewalWindow, String> {
        let body = format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#);
        read(body.as_bytes(), "2026-11-23T06:15:00Z".parse().unwrap())
    }

    #[test]
    fn a25_a_window_in_the_past_is_accepted() {
        assert!(window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z").is_ok());
    }

    #[test]
    fn a26_an_impossible_window_is_rejected() {
        assert!(window("2026-12-02T00:00:00Z", "2026-12-01T00:00:00Z").is_err());
        assert!(window("9999-12-01T00:00:00Z", "9999-12-02T00:00:00Z").is_err());
        assert!(read(b"<html>", Timestamp::UNIX_EPOCH).is_err());
    }
}
