//! One call of Cloudflare's API v4: token, envelope, error codes, limits.

use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::complaint::Complaint;
use super::limit::{self, Budget};
use super::refusal::Refusal;
use crate::cert::Fingerprint;
use crate::config::Proxy;
use crate::dns::DnsError;
use crate::http::{self, HttpOptions, TimeLimits};
use crate::mutex::lock;
use crate::text::escape;

const LIMITS: TimeLimits = TimeLimits { connect: Duration::from_secs(10), request: Duration::from_secs(30) };
/// A page of a hundred records has some fifty kilobytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// Attempts after a transient fault; the first pause, which doubles.
pub(super) const ATTEMPTS: u32 = 3;
pub(super) const PAUSE: Duration = Duration::from_millis(300);
/// How long a call waits for the rate limit: two of its windows.
const PATIENCE: Duration = Duration::from_secs(600);
/// Hex digits of the token's SHA-256 that identify it; too few to test guessed tokens against.
const DIGEST: usize = 16;
/// Pages read of one list. Zones are queried by name, records by name and type: one page is usual.
const MOST_PAGES: u32 = 20;
/// "Invalid API Token", "Invalid request headers", "Invalid format for Authorization header", "Missing headers", "Invalid
/// access token".
const TOKEN_CODES: [u64; 5] = [1000, 6003, 6111, 9106, 9109];
/// Of a token with a client IP address filter. Its code is that of "Invalid access token"; only the message differs.
const FROM_ELSEWHERE: &str = "access token from location";
/// "Authentication error": the token lacks a permission, or is invalid.
const FORBIDDEN: u64 = 10000;

pub(super) struct Api {
    client: reqwest::Client,
    base: Url,
    clock: fn() -> Timestamp,
    /// The beginning of the token's SHA-256.
    digest: String,
    budget: Arc<Mutex<Budget>>,
}

/// What follows on a call without an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    Repeat,
    Return,
}

/// https://developers.cloudflare.com/fundamentals/api/reference/responses/ — `success: false` can come with status 200.
#[derive(Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default)]
    errors: Vec<Complaint>,
    result: Option<T>,
    #[serde(default)]
    result_info: Option<Paging>,
}

#[derive(Deserialize)]
struct Paging {
    total_pages: Option<u32>,
}

impl Api {
    pub(super) fn new(
        base: &Url,
        token: &Zeroizing<String>,
        options: &HttpOptions,
        clock: fn() -> Timestamp,
    ) -> Result<Self, DnsError> {
        if base.scheme() != "https" && !is_this_machine(base) {
            return Err(DnsError::Insecure);
        }
        let api = base.host_str().unwrap_or_default().to_owned();
        let header = Zeroizing::new(format!("Bearer {}", token.trim()));
        let mut value = HeaderValue::from_str(&header).map_err(|_| DnsError::Token {
            api,
            code: 0,
            message: "its file holds more than a token".to_owned(),
        })?;
        value.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        let client =
            without_remote_proxy(base, options).client(LIMITS).and_then(|it| it.default_headers(headers).build());
        let client = client.map_err(|source| DnsError::Client { source: source.into() })?;
        let digest = Fingerprint::of(token.trim().as_bytes()).to_string().chars().take(DIGEST).collect::<String>();
        let budget = limit::budget(&digest);
        Ok(Self { client, base: base.clone(), clock, digest, budget })
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// The API's host.
    pub(super) fn name(&self) -> String {
        self.base.host_str().unwrap_or("the DNS provider").to_owned()
    }

    /// All pages of a list. `whole`: a list that does not say how many it has is an error, and not taken for all.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        whole: bool,
    ) -> Result<Vec<T>, DnsError> {
        let mut all = Vec::new();
        let mut page = 0;
        loop {
            page += 1;
            let number = page.to_string();
            let query: Vec<(&str, &str)> = query.iter().copied().chain([("page", number.as_str())]).collect();
            let envelope: Envelope<Vec<T>> = self.with_retries(Method::GET, path, &query, None).await?;
            let pages = envelope.result_info.and_then(|paging| paging.total_pages);
            if whole && pages.is_none() {
                return Err(self.malformed(200, "a list that does not say how many pages it has").into());
            }
            all.extend(envelope.result.unwrap_or_default());
            if page >= pages.unwrap_or_default() {
                return Ok(all);
            }
            if page == MOST_PAGES {
                return Err(self.malformed(200, &format!("a list of more than {MOST_PAGES} pages")).into());
            }
        }
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<T, Refusal> {
        let envelope: Envelope<T> = self.with_retries(method, path, query, body).await?;
        envelope.result.ok_or_else(|| self.malformed(200, "a success without a result"))
    }

    /// A change that is not repeated if no answer came, even if that could do no harm by itself: the caller looks whether it
    /// was made. Nor does it wait: what it is based on would be old by then.
    pub(super) async fn once_only(
        &self,
        method: Method,
        path: &str,
        body: Option<&Map<String, Value>>,
    ) -> Result<(), Refusal> {
        let body = body.cloned().map(Value::Object);
        if let Some(wait) = self.budget().turn(self.now()) {
            return Err(self.limited(Some(wait)));
        }
        self.once::<Value>(method, path, &[], body.as_ref()).await.map(drop)
    }

    /// A call whose result does not matter, or that has none.
    pub(super) async fn done(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(), Refusal> {
        self.with_retries::<Value>(method, path, &[], body).await.map(drop)
    }

    /// Repeats a call after a transient fault. A POST is not repeated: the caller first checks whether it was carried out.
    async fn with_retries<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Envelope<T>, Refusal> {
        let unanswered = if method == Method::POST { Unanswered::Return } else { Unanswered::Repeat };
        self.calls(method, path, query, body, unanswered).await
    }

    async fn calls<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
        unanswered: Unanswered,
    ) -> Result<Envelope<T>, Refusal> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            self.turn().await?;
            let refusal = match self.once(method.clone(), path, query, body).await {
                Ok(envelope) => return Ok(envelope),
                Err(refusal) => refusal,
            };
            let wait = match &refusal {
                // `turn` waits until the API accepts calls again.
                Refusal::Error { error: DnsError::Limited { .. }, .. } => Duration::ZERO,
                _ if unanswered == Unanswered::Repeat && refusal.may_have_happened() => pause,
                _ => return Err(refusal),
            };
            if attempt == ATTEMPTS {
                return Err(refusal);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
            attempt += 1;
        }
    }

    /// Waits until the rate limit allows a call.
    async fn turn(&self) -> Result<(), Refusal> {
        let mut waited = Duration::ZERO;
        loop {
            let Some(wait) = self.budget().turn(self.now()) else { return Ok(()) };
            waited += wait;
            if waited > PATIENCE {
                return Err(self.limited(Some(wait)));
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn once<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Envelope<T>, Refusal> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let reading = method == Method::GET;
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let unreachable = |source: reqwest::Error| {
            Refusal::NoAnswer(DnsError::Unreachable { api: self.name(), source: source.without_url().into() })
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        if status == 429 {
            let retry_after = http::retry_after(answer.headers(), limit::LONGEST);
            let wait = self.budget().close(self.now(), retry_after);
            return Err(self.limited(Some(wait)));
        }
        if let Some(wait) = header("ratelimit").and_then(limit::used_up) {
            self.budget().close(self.now(), Some(wait));
        }
        let bytes = http::body(&mut answer, BODY_LIMIT).await.map_err(unreachable)?;
        let bytes =
            bytes.ok_or_else(|| self.malformed(status, &format!("an answer of more than {BODY_LIMIT} bytes")))?;
        let bytes = http::without_nulls(bytes);
        match serde_json::from_slice::<Envelope<T>>(&bytes) {
            Ok(envelope) if envelope.success && status < 300 => Ok(envelope),
            Ok(envelope) => Err(self.refused(reading, status, &envelope.errors)),
            Err(_) => match serde_json::from_slice::<Envelope<Value>>(&bytes) {
                Ok(envelope) if !envelope.success => Err(self.refused(reading, status, &envelope.errors)),
                Ok(_) => Err(self.malformed(status, "a result that is not the one of this call")),
                Err(_) => Err(self.malformed(status, &format!("no JSON (HTTP status {status})"))),
            },
        }
    }

    /// `reading`: the call was a GET.
    fn refused(&self, reading: bool, status: u16, complaints: &[Complaint]) -> Refusal {
        let codes: Vec<u64> = complaints.iter().flat_map(Complaint::all).map(|complaint| complaint.code).collect();
        let messages: Vec<String> = complaints.iter().map(Complaint::text).collect();
        let (api, message) = (self.name(), escape(&messages.join("; "), 300));
        let code = codes.first().copied().unwrap_or(0);
        // "Unauthorized to access requested resource" has the code of "Invalid access token"; only the message differs.
        let forbidden = codes.contains(&FORBIDDEN) || status == 403 && message.contains("requested resource");
        let token = status == 401 || codes.iter().any(|code| TOKEN_CODES.contains(code));
        let error = if message.contains(FROM_ELSEWHERE) {
            DnsError::TokenAddress { api, code, message }
        } else if forbidden {
            DnsError::Forbidden { api, code, message, reading }
        } else if token {
            DnsError::Token { api, code, message }
        } else {
            DnsError::Refused { api, status, code, message }
        };
        Refusal::Error { error, codes, status }
    }

    fn malformed(&self, status: u16, what: &str) -> Refusal {
        let error = DnsError::MalformedResponse { api: self.name(), what: what.to_owned() };
        Refusal::Error { error, codes: Vec::new(), status }
    }

    /// It was to wait for so long that what it was decided by is old.
    pub(super) fn too_late(&self) -> DnsError {
        DnsError::Limited { api: self.name(), retry_after: None }
    }

    fn limited(&self, retry_after: Option<Duration>) -> Refusal {
        let error = DnsError::Limited { api: self.name(), retry_after };
        Refusal::Error { error, codes: Vec::new(), status: 429 }
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        lock(&self.budget)
    }
}

/// Checks an id for use as a path segment. The API's ids are hex digits; other characters could change the path.
pub(super) fn segment(id: &str) -> Result<&str, DnsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || id.len() > 64 || !id.chars().all(allowed) {
        return Err(DnsError::MalformedResponse {
            api: "DNS provider".to_owned(),
            what: format!("{:?} is no id", escape(id, 80)),
        });
    }
    Ok(id)
}

/// Drops a proxy on another machine if the API's URL is http:// (a loopback address), since the proxy could read the token.
fn without_remote_proxy(base: &Url, options: &HttpOptions) -> HttpOptions {
    let reads = |proxy: &Proxy| base.scheme() == "http" && !is_this_machine(&proxy.url);
    HttpOptions { proxy: options.proxy.clone().filter(|proxy| !reads(proxy)), trust: options.trust.clone() }
}

fn is_this_machine(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse::<core::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Trust;

    fn complaints(text: &str) -> Vec<Complaint> {
        let envelope: Envelope<Value> = serde_json::from_slice(&http::without_nulls(text.into())).unwrap();
        assert!(!envelope.success && envelope.result.is_none());
        envelope.errors
    }

    fn api() -> Api {
        let base = "https://api.cloudflare.com/client/v4".parse().unwrap();
        Api::new(&base, &Zeroizing::new("token".to_owned()), &HttpOptions::default(), || Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn the_reason_behind_a_complaint_is_shown() {
        let text = r#"{"success": false, "errors": [{"code": 6003, "message": "Invalid request headers", "error_chain":
            [{"code": 6111, "message": "Invalid format for Authorization header", "error_chain": null}]}],
            "messages": null, "result": null, "result_info": null}"#;
        let error = DnsError::from(api().refused(true, 400, &complaints(text)));
        assert_eq!(
            error.to_string(),
            "api.cloudflare.com: the token is not accepted: Invalid request headers: Invalid format for Authorization \
             header (code 6111) (code 6003)"
        );
    }

    #[test]
    fn a_token_for_other_addresses_is_distinguished_from_one_that_is_wrong() {
        let text = r#"{"success": false, "errors": [{"code": 9109, "message":
            "Cannot use the access token from location: 203.0.113.7"}], "messages": [], "result": null}"#;
        let error = DnsError::from(api().refused(true, 403, &complaints(text)));
        assert_eq!(error.code(), crate::model::Code::DnsTokenAddress);
        assert!(error.to_string().contains("203.0.113.7"), "{error}");
        assert!(error.next().contains("Client IP Address Filtering"), "{}", error.next());
    }

    #[test]
    fn a_token_sent_unencrypted_goes_through_no_remote_proxy() {
        let proxied = |base: &str, proxy: &str| {
            let proxy = Some(Proxy { url: proxy.parse().unwrap(), except: String::new() });
            let options = HttpOptions { proxy, trust: Trust::Also("root".to_owned()) };
            let options = without_remote_proxy(&base.parse().unwrap(), &options);
            assert!(matches!(options.trust, Trust::Also(pem) if pem == "root"));
            options.proxy.is_some()
        };
        assert!(!proxied("http://127.0.0.1:8080/client/v4", "http://proxy.example.com:3128"));
        assert!(!proxied("http://localhost/client/v4", "socks5h://192.0.2.1:1080"));
        assert!(proxied("http://127.0.0.1:8080/client/v4", "http://[::1]:3128"));
        assert!(proxied("https://api.cloudflare.com/client/v4", "http://proxy.example.com:3128"));
    }
}
