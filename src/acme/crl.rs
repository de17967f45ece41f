//! A revocation list, as a CA publishes it: often over plain HTTP, so that its signature and not the way is what counts.

use core::time::Duration;

use ::http::header::USER_AGENT;
use reqwest::Url;

use super::AcmeError;
use super::error::shown;
use super::http::AGENT;
use crate::cert::LONGEST_CRL;
use crate::config::Proxy;

/// From name lookup to the last byte. A list of a few megabytes takes a second or two.
const LIMIT: Duration = Duration::from_secs(20);
const CONNECT_LIMIT: Duration = Duration::from_secs(8);

/// The list at this URL, which a certificate of ours names, DER. One attempt; redirects are not followed. `more_pem`: a
/// root that is trusted beside the system's.
///
/// # Errors
/// No answer, another status than 200, or more than [`LONGEST_CRL`] bytes.
pub async fn fetch_crl(url: &str, proxy: Option<&Proxy>, more_pem: Option<&str>) -> Result<Vec<u8>, AcmeError> {
    let target = Url::parse(url).map_err(|error| AcmeError::strange(url, error.to_string()))?;
    let client = |source| AcmeError::Client { source };
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_LIMIT)
        .timeout(LIMIT)
        .no_proxy();
    if let Some(pem) = more_pem {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(client)?);
    }
    if let Some(Proxy { url, except }) = proxy {
        let proxy = reqwest::Proxy::all(url.clone()).map_err(client)?;
        builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(except)));
    }
    let unreachable = |source: reqwest::Error| AcmeError::Unreachable { url: shown(url), source: source.without_url() };
    let request = builder.build().map_err(client)?.get(target).header(USER_AGENT, AGENT);
    let mut answer = request.send().await.map_err(unreachable)?;
    if answer.status() != ::http::StatusCode::OK {
        let status = answer.status().as_u16();
        return Err(AcmeError::Status { url: shown(url), status, retry_after: None });
    }
    let mut list = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        if list.len() + chunk.len() > LONGEST_CRL {
            return Err(AcmeError::TooLong { url: shown(url), limit: LONGEST_CRL });
        }
        list.extend_from_slice(&chunk);
    }
    Ok(list)
}
