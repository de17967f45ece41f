//! The HTTPS client beneath the ACME crate: deadlines, size limits, own roots, a proxy, and the headers that the crate
//! drops.
//!
//! Error answers become an [`AcmeError`] here, with their Retry-After and Link, and do not reach the crate (but `badNonce`,
//! which it handles itself). Requests go only to hosts listed in the CA's directory.

use core::pin::Pin;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::response::Parts;
use ::http::{Method, Request, Response};
use bytes::Bytes;
use http_body_util::BodyExt;
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use jiff::Timestamp;
use reqwest::{ClientBuilder, Url};
use serde::Deserialize;

use super::error::shown;
use super::{AcmeError, Kind, Problem, link};
use crate::http::{self, HttpOptions, TimeLimits, retry_after};
use crate::mutex::lock;
use crate::text::escape;

/// TCP and TLS.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// One request, from name lookup to the last byte. Boulder's own limit for a request is lower.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// A chain has some ten kilobytes, a directory one.
const BODY_LIMIT: usize = 1024 * 1024;
/// Header lines of one answer; Boulder sends a dozen. (hyper caps their size at some 400 kB.)
const HEADER_LIMIT: usize = 64;
/// Nonces kept: one for each concurrent request, and a reserve.
const MOST_NONCES: usize = 32;
/// RFC 8555 section 6.5: base64url. Boulder's have 43 characters.
const LONGEST_NONCE: usize = 200;
/// The longest wait of Let's Encrypt's limits is 34 hours (for one more certificate of the same exact set of names).
pub(super) const LONGEST_WAIT: Duration = Duration::from_hours(48);

/// RFC 8555 section 6.5.1.
const REPLAY_NONCE: &str = "replay-nonce";

/// How to reach a CA; holds no secrets.
#[derive(Clone, Debug)]
pub struct Settings {
    pub directory: Url,
    pub options: HttpOptions,
    /// For one request, from name lookup to the last byte: [`REQUEST_LIMIT`].
    pub limit: Duration,
}

/// One CA's HTTPS client. Cheap to clone; clones share connections and the directory.
#[derive(Clone)]
pub struct Http(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    directory_url: Url,
    directory: Mutex<Option<(Parts, Bytes)>>,
    /// `host:port` of the directory's URL and of every URL in it: the only hosts that get requests.
    allowed_hosts: Mutex<BTreeSet<String>>,
    /// The Retry-After of the last successful answer.
    retry_after: Mutex<Option<Duration>>,
    /// The Date of the last answer.
    date: Mutex<Option<Timestamp>>,
    /// From every answer, for every request, whether sent by the crate or by us. The newest is used first, since CAs expire
    /// old ones.
    nonces: Mutex<Vec<String>>,
}

/// The directory entries used outside of the crate (RFC 8555 section 7.1.1).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) key_change: Option<String>,
    pub(super) revoke_cert: Option<String>,
    pub(super) renewal_info: Option<String>,
    #[serde(default)]
    pub(super) meta: Meta,
}

/// The directory's metadata (RFC 8555 section 7.1.1; profiles: draft-ietf-acme-profiles).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    pub(super) terms_of_service: Option<String>,
    pub(super) website: Option<String>,
    #[serde(default)]
    pub(super) caa_identities: Vec<String>,
    #[serde(default)]
    pub(super) external_account_required: bool,
    /// Name and description.
    #[serde(default)]
    pub(super) profiles: BTreeMap<String, String>,
}

/// Marks an answer that had a nonce, as every answer of a CA to a POST must.
#[derive(Clone, Copy)]
pub(super) struct BroughtNonce;

impl Http {
    pub fn new(settings: &Settings) -> Result<Self, AcmeError> {
        let limits = TimeLimits { connect: CONNECT_LIMIT, request: settings.limit };
        let builder = settings.options.client(limits).map(ClientBuilder::http1_only);
        let client = builder.and_then(|it| it.https_only(true).http1_max_headers(HEADER_LIMIT).build());
        let client = client.map_err(|source| AcmeError::Client { source })?;
        Ok(Self(Arc::new(Inner {
            client,
            directory_url: settings.directory.clone(),
            directory: Mutex::default(),
            allowed_hosts: Mutex::new(host_and_port(&settings.directory).into_iter().collect()),
            retry_after: Mutex::default(),
            date: Mutex::default(),
            nonces: Mutex::default(),
        })))
    }

    pub fn directory_url(&self) -> &str {
        self.0.directory_url.as_str()
    }

    pub(super) async fn directory(&self) -> Result<Directory, AcmeError> {
        let url = self.0.directory_url.as_str();
        let answer = judge(url, self.send(Method::GET, url, Bytes::new()).await?)?;
        serde_json::from_slice(answer.body()).map_err(|error| AcmeError::malformed(url, error.to_string()))
    }

    /// The CA's clock at its last answer (RFC 9110 section 6.6.1).
    pub fn date(&self) -> Option<Timestamp> {
        *lock(&self.0.date)
    }

    /// Sends a request only for the Date of the answer, whatever its status.
    ///
    /// # Errors
    /// The CA cannot be reached.
    pub async fn greet(&self) -> Result<(), AcmeError> {
        let url = self.0.directory_url.as_str();
        self.send(Method::GET, url, Bytes::new()).await.map(|_| ())
    }

    /// The Retry-After of the last successful answer.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        *lock(&self.0.retry_after)
    }

    /// An unused nonce.
    pub(super) async fn nonce(&self) -> Result<String, AcmeError> {
        if let Some(nonce) = lock(&self.0.nonces).pop() {
            return Ok(nonce);
        }
        let url = self.directory().await?.new_nonce;
        judge(&url, self.send(Method::HEAD, &url, Bytes::new()).await?)?;
        let fresh = lock(&self.0.nonces).pop();
        fresh.ok_or_else(|| AcmeError::malformed(&url, "an answer without a nonce"))
    }

    /// Sends one request and returns the answer, whatever its status. The directory is cached.
    pub(super) async fn send(&self, method: Method, url: &str, body: Bytes) -> Result<Response<Bytes>, AcmeError> {
        let target = self.allowed(url)?;
        let is_directory = method == Method::GET && target == self.0.directory_url;
        if is_directory && let Some((parts, body)) = lock(&self.0.directory).clone() {
            return Ok(Response::from_parts(parts, body));
        }
        let unreachable =
            |source: reqwest::Error| AcmeError::Unreachable { url: shown(url), source: source.without_url() };
        let mut request = self.0.client.request(method.clone(), target);
        if method == Method::POST {
            // RFC 8555 section 6.2: "the Content-Type header field set to application/jose+json".
            request = request.header(CONTENT_TYPE, "application/jose+json").body(body);
        } else {
            request = request.header(ACCEPT, "application/json");
        }
        let mut answer = request.send().await.map_err(unreachable)?;
        let collected = http::body(&mut answer, BODY_LIMIT).await.map_err(unreachable)?;
        let collected = collected.ok_or_else(|| AcmeError::TooLong { url: shown(url), limit: BODY_LIMIT })?;
        let mut whole = Response::new(Bytes::from(http::without_nulls(collected)));
        *whole.status_mut() = answer.status();
        *whole.headers_mut() = core::mem::take(answer.headers_mut());
        *lock(&self.0.date) = http::date(whole.headers());
        self.keep_nonce(&mut whole);
        if whole.status().is_success() {
            *lock(&self.0.retry_after) = retry_after(whole.headers(), LONGEST_WAIT);
            if is_directory {
                self.keep_directory(&whole);
            }
        }
        Ok(whole)
    }

    /// Moves the nonce from the answer to the pool; the crate would use it a second time.
    fn keep_nonce(&self, answer: &mut Response<Bytes>) {
        let nonce = answer.headers_mut().remove(REPLAY_NONCE).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let Some(nonce) = nonce.filter(|nonce| !nonce.is_empty() && nonce.len() <= LONGEST_NONCE) else { return };
        answer.extensions_mut().insert(BroughtNonce);
        let mut nonces = lock(&self.0.nonces);
        nonces.push(nonce);
        if nonces.len() > MOST_NONCES {
            nonces.remove(0);
        }
    }

    /// Caches the directory, and allows the hosts that it lists.
    fn keep_directory(&self, answer: &Response<Bytes>) {
        let entries: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(answer.body()).unwrap_or_default();
        let urls = entries.values().filter_map(|entry| Url::parse(entry.as_str()?).ok());
        lock(&self.0.allowed_hosts).extend(urls.filter_map(|url| host_and_port(&url)));
        if serde_json::from_slice::<Directory>(answer.body()).is_err() {
            return;
        }
        let mut kept = Response::new(());
        *kept.headers_mut() = answer.headers().clone();
        *lock(&self.0.directory) = Some((kept.into_parts().0, answer.body().clone()));
    }

    /// Parses a URL and requires HTTPS and an allowed host.
    fn allowed(&self, url: &str) -> Result<Url, AcmeError> {
        let listed = |host: String| lock(&self.0.allowed_hosts).contains(&host);
        let parsed = Url::parse(url).ok();
        let parsed = parsed.filter(|url| url.scheme() == "https" && host_and_port(url).is_some_and(listed));
        parsed.ok_or_else(|| AcmeError::UnexpectedHost { url: shown(url) })
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let other = |error: AcmeError| instant_acme::Error::Other(Box::new(error));
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let url = parts.uri.to_string();
            if parts.method == Method::HEAD {
                // The crate's only HEAD request is newNonce.
                let nonce = this.nonce().await.map_err(other)?;
                let answer = Response::builder().header(REPLAY_NONCE, nonce).body(Bytes::new())?;
                let (parts, body) = answer.into_parts();
                return Ok(BytesResponse { parts, body: Box::new(body) });
            }
            let answer = this.send(parts.method, &url, body.to_bytes()).await.map_err(other)?;
            let answer = match judge(&url, answer.clone()) {
                Err(error) if error.kind() == Some(Kind::BadNonce) => answer,
                judged => judged.map_err(other)?,
            };
            let (parts, body) = answer.into_parts();
            Ok(BytesResponse { parts, body: Box::new(body) })
        })
    }
}

/// Turns an answer without a success status into its error.
pub(super) fn judge(url: &str, answer: Response<Bytes>) -> Result<Response<Bytes>, AcmeError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = retry_after(answer.headers(), LONGEST_WAIT);
    match Problem::parse(answer.body(), status.as_u16()) {
        Some(problem) => {
            let link = link(&answer);
            Err(AcmeError::Problem { url: shown(url), problem: Box::new(problem), retry_after, link })
        }
        None => Err(AcmeError::Status { url: shown(url), status: status.as_u16(), retry_after }),
    }
}

/// Where the operator can read on (RFC 8555 section 6.7: a "help" link; section 7.3.3: the new terms).
fn link(answer: &Response<Bytes>) -> Option<String> {
    let of = |relation| link::targets(answer.headers(), relation).into_iter().next();
    of("help").or_else(|| of("terms-of-service")).map(|target| escape(&target, 300))
}

fn host_and_port(url: &Url) -> Option<String> {
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}
