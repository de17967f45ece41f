//! One call of Cloudflare's API v4: the token, the envelope, the codes, the caps.

use core::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::dns::{DnsError, Way};
use crate::report::escape;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// A page of a hundred records is some fifty kilobytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// Attempts at a call that meets a passing fault; the first pause, which doubles.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
/// "then everything is refused for 5 minutes": longer than we wait within a run, and no Retry-After is longer.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// A Retry-After up to this is waited for within the call.
const PATIENCE: Duration = Duration::from_secs(10);
/// "Invalid request headers", "Missing headers", "Invalid access token", "Authentication error".
const TOKEN_CODES: [u64; 5] = [6003, 9106, 9109, 10000, 1000];

pub(super) struct Api {
    client: reqwest::Client,
    base: Url,
}

/// Why a call did not succeed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody knows whether it was carried out.
    NoAnswer(DnsError),
    Error {
        error: DnsError,
        codes: Vec<u64>,
        status: u16,
    },
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
struct Complaint {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    message: String,
}

#[derive(Default, Deserialize)]
struct Paging {
    #[serde(default)]
    total_pages: u32,
}

impl Api {
    pub(super) fn new(base: &Url, token: &Zeroizing<String>, way: &Way) -> Result<Self, DnsError> {
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
        let builder = way
            .client()?
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]))
            .connect_timeout(CONNECT_LIMIT)
            .timeout(CALL_LIMIT);
        let client = builder.build().map_err(|source| DnsError::Client { source })?;
        Ok(Self { client, base: base.clone() })
    }

    /// One page of a list, and how many there are.
    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<(Vec<T>, u32), DnsError> {
        let envelope: Envelope<Vec<T>> = self.patiently(Method::GET, path, query, None).await?;
        let pages = envelope.result_info.unwrap_or_default().total_pages;
        Ok((envelope.result.unwrap_or_default(), pages))
    }

    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<T, Refusal> {
        let envelope: Envelope<T> = self.patiently(method, path, query, body).await?;
        envelope.result.ok_or_else(|| self.strange(200, "a success without a result"))
    }

    /// A creation is never repeated blindly: the caller looks first.
    async fn patiently<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Envelope<T>, Refusal> {
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let refusal = match self.once(method.clone(), path, query, body).await {
                Ok(envelope) => return Ok(envelope),
                Err(refusal) => refusal,
            };
            let wait = match &refusal {
                Refusal::Error { error: DnsError::Limited { retry_after, .. }, .. } => retry_after.unwrap_or(pause),
                _ if method != Method::POST && refusal.may_have_happened() => pause,
                _ => return Err(refusal),
            };
            if attempt == ATTEMPTS || wait > PATIENCE {
                return Err(refusal);
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
            attempt += 1;
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
        let mut request = self.client.request(method, url);
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let unreachable = |source: reqwest::Error| {
            Refusal::NoAnswer(DnsError::Unreachable { api: self.name(), source: source.without_url() })
        };
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER));
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > BODY_LIMIT {
                return Err(self.strange(status, &format!("an answer of more than {BODY_LIMIT} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if status == 429 {
            let error = DnsError::Limited { api: self.name(), status, retry_after };
            return Err(Refusal::Error { error, codes: Vec::new(), status });
        }
        match serde_json::from_slice::<Envelope<T>>(&bytes) {
            Ok(envelope) if envelope.success && status < 300 => Ok(envelope),
            Ok(envelope) => Err(self.refused(status, &envelope.errors)),
            Err(_) => match serde_json::from_slice::<Envelope<Value>>(&bytes) {
                Ok(envelope) if !envelope.success => Err(self.refused(status, &envelope.errors)),
                Ok(_) => Err(self.strange(status, "a result that is not the one of this call")),
                Err(_) => Err(self.strange(status, &format!("no JSON (HTTP status {status})"))),
            },
        }
    }

    fn refused(&self, status: u16, complaints: &[Complaint]) -> Refusal {
        let codes: Vec<u64> = complaints.iter().map(|complaint| complaint.code).collect();
        let messages: Vec<&str> = complaints.iter().map(|complaint| complaint.message.as_str()).collect();
        let (api, message) = (self.name(), escape(&messages.join("; "), 300));
        let code = codes.first().copied().unwrap_or(0);
        let token = status == 401 || codes.iter().any(|code| TOKEN_CODES.contains(code));
        let error = if token {
            DnsError::Token { api, code, message }
        } else {
            DnsError::Refused { api, status, code, message }
        };
        Refusal::Error { error, codes, status }
    }

    fn strange(&self, status: u16, what: &str) -> Refusal {
        let error = DnsError::Strange { api: self.name(), what: what.to_owned() };
        Refusal::Error { error, codes: Vec::new(), status }
    }

    fn name(&self) -> String {
        self.base.host_str().unwrap_or("the DNS provider").to_owned()
    }
}

impl Refusal {
    pub(super) fn has_code(&self, wanted: &[u64]) -> bool {
        matches!(self, Self::Error { codes, .. } if codes.iter().any(|code| wanted.contains(code)))
    }

    /// The API may have done it and not told us.
    pub(super) fn may_have_happened(&self) -> bool {
        match self {
            Self::NoAnswer(_) => true,
            Self::Error { error, status, .. } => *status >= 500 || matches!(error, DnsError::Strange { .. }),
        }
    }
}

impl From<Refusal> for DnsError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoAnswer(error) | Refusal::Error { error, .. } => error,
        }
    }
}

/// An id as a path's segment. The API's are hex; what else one holds is no id, and never a path.
pub(super) fn segment(id: &str) -> Result<&str, DnsError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || id.len() > 64 || !id.chars().all(allowed) {
        return Err(DnsError::Strange {
            api: "DNS provider".to_owned(),
            what: format!("{:?} is no id", escape(id, 80)),
        });
    }
    Ok(id)
}

fn is_this_machine(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => host.trim_matches(['[', ']']).parse::<core::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => false,
    }
}
