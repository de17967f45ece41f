//! Fetching a CA's revocation list. CAs often publish it over plain HTTP: its signature protects it.

use core::time::Duration;

use reqwest::{ClientBuilder, StatusCode, Url};

use super::AcmeError;
use super::error::shown;
use crate::cert::LONGEST_CRL;
use crate::http::{self, HttpOptions, TimeLimits};

/// A list of a few megabytes takes a second or two.
const LIMITS: TimeLimits = TimeLimits { connect: Duration::from_secs(8), request: Duration::from_secs(20) };

/// The list at this URL, in DER. One attempt; redirects are not followed.
///
/// # Errors
/// No answer, a status other than 200, or more than [`LONGEST_CRL`] bytes.
pub async fn fetch_crl(url: &str, options: &HttpOptions) -> Result<Vec<u8>, AcmeError> {
    let target = Url::parse(url).map_err(|error| AcmeError::malformed(url, error.to_string()))?;
    let client = options.client(LIMITS).and_then(ClientBuilder::build);
    let client = client.map_err(|source| AcmeError::Client { source })?;
    let unreachable = |source: reqwest::Error| AcmeError::Unreachable { url: shown(url), source: source.without_url() };
    let mut answer = client.get(target).send().await.map_err(unreachable)?;
    if answer.status() != StatusCode::OK {
        let status = answer.status().as_u16();
        return Err(AcmeError::Status { url: shown(url), status, retry_after: None });
    }
    let list = http::body(&mut answer, LONGEST_CRL).await.map_err(unreachable)?;
    list.ok_or_else(|| AcmeError::TooLong { url: shown(url), limit: LONGEST_CRL })
}
