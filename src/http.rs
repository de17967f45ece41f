//! The HTTP client shared by all modules: no redirects, no proxy but the configured one, bounded in size and time.

use core::error::Error;
use core::iter::successors;
use core::time::Duration;

use ::http::HeaderMap;
use ::http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, ClientBuilder, NoProxy, Response};
use serde_json::Value;

use crate::config::Proxy;
use crate::text::escape;

/// RFC 8555 section 6.1 requires a User-Agent.
const AGENT: &str = concat!("certd/", env!("CARGO_PKG_VERSION"));
/// Characters shown of an error's causes.
const SHOWN: usize = 400;

/// The proxy and the roots to trust. The only secret is a password in the proxy's URL, which `Debug` does not show.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    pub proxy: Option<Proxy>,
    pub trust: Trust,
}

/// Trusted roots, in PEM.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    #[default]
    System,
    /// Beside the system's.
    Also(String),
    /// Instead of the system's.
    Only(String),
}

#[derive(Clone, Copy)]
pub struct TimeLimits {
    /// TCP and TLS, including a proxy.
    pub connect: Duration,
    /// One request, from the name lookup to the last byte.
    pub request: Duration,
}

impl HttpOptions {
    pub fn client(&self, limits: TimeLimits) -> reqwest::Result<ClientBuilder> {
        let certificates = |pem: &String| Certificate::from_pem_bundle(pem.as_bytes());
        // reqwest must not read the environment: the configuration already took a proxy from it.
        let builder = Client::builder().user_agent(AGENT).redirect(Policy::none()).no_proxy();
        let builder = builder.connect_timeout(limits.connect).timeout(limits.request);
        let builder = match &self.trust {
            Trust::System => builder,
            Trust::Also(pem) => builder.tls_certs_merge(certificates(pem)?),
            Trust::Only(pem) => builder.tls_certs_only(certificates(pem)?),
        };
        Ok(match &self.proxy {
            Some(Proxy { url, except }) => {
                builder.proxy(reqwest::Proxy::all(url.clone())?.no_proxy(NoProxy::from_string(except)))
            }
            None => builder,
        })
    }
}

/// `None`: the body is longer than `limit` bytes.
pub async fn body(response: &mut Response, limit: usize) -> reqwest::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// A JSON text without its `null`s: many servers write one for a member that is absent, which parsers (ours, and that of
/// the ACME crate) take for a member of the wrong type. Everything else stays as it is.
pub fn without_nulls(body: Vec<u8>) -> Vec<u8> {
    const NULL: &[u8] = b"null";
    if !body.trim_ascii_start().starts_with(b"{") || !body.windows(NULL.len()).any(|part| part == NULL) {
        return body;
    }
    let Ok(mut value) = serde_json::from_slice(&body) else { return body };
    drop_nulls(&mut value);
    serde_json::to_vec(&value).unwrap_or(body)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(elements) => {
            elements.retain(|element| !element.is_null());
            elements.iter_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds or a date, at most `longest`. A date is measured against the `Date`
/// of the same response, independently of our clock. `None`: the header is missing or unreadable.
pub fn retry_after(headers: &HeaderMap, longest: Duration) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => Duration::try_from(parsed_date(text)?.duration_since(date(headers)?)).unwrap_or(Duration::ZERO),
    };
    Some(wait.min(longest))
}

/// The server's clock when it sent the response (RFC 9110 section 6.6.1).
pub fn date(headers: &HeaderMap) -> Option<Timestamp> {
    parsed_date(headers.get(DATE)?.to_str().ok()?)
}

fn parsed_date(text: &str) -> Option<Timestamp> {
    DateTimeParser::new().parse_timestamp(text).ok()
}

/// The causes of an error, without the URL of reqwest's own text, which our texts begin with.
pub fn causes(error: &reqwest::Error) -> String {
    let causes: Vec<String> = sources(error).map(ToString::to_string).collect();
    let text = match causes.as_slice() {
        [] if error.is_timeout() => "timed out".to_owned(),
        [] => error.to_string(),
        causes => causes.join(": "),
    };
    escape(&text, SHOWN)
}

/// The innermost cause, for short texts.
pub fn root_cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let text = sources(&error).last().map_or_else(|| error.to_string(), ToString::to_string);
    escape(&text, SHOWN / 2)
}

fn sources(error: &reqwest::Error) -> impl Iterator<Item = &dyn Error> {
    successors(error.source(), |cause| (*cause).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_hours(48);

    #[test]
    fn a_null_member_is_an_absent_one_and_other_texts_stay() {
        let cleaned = |text: &str| String::from_utf8(without_nulls(text.into())).unwrap();
        assert_eq!(cleaned(r#"{"a":null,"b":[null,{"c":null,"d":"null"}],"e":0}"#), r#"{"b":[{"d":"null"}],"e":0}"#);
        for other in [r#"{"a": "null" "#, "null", "-----BEGIN null", "<html>null", r#"{ "a" : 1 }"#] {
            assert_eq!(cleaned(other), other);
        }
    }

    fn read(value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        headers.insert(DATE, "Mon, 23 Nov 2026 06:15:00 GMT".parse().unwrap());
        retry_after(&headers, LONGEST)
    }

    #[test]
    fn a02_seconds_are_obeyed() {
        assert_eq!(read("3600"), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn a03_a_date_is_measured_against_the_responses_date() {
        assert_eq!(read("Mon, 23 Nov 2026 07:15:00 GMT"), Some(Duration::from_secs(3600)));
        assert_eq!(read("Mon, 23 Nov 2026 05:15:00 GMT"), Some(Duration::ZERO));
    }

    #[test]
    fn a05_absurd_values_are_clamped_or_ignored() {
        assert_eq!(read("315360000"), Some(LONGEST));
        assert_eq!(read("Fri, 23 Nov 2136 07:15:00 GMT"), Some(LONGEST));
        for nonsense in ["-5", "soon", "", "99999999999999999999"] {
            assert_eq!(read(nonsense), None, "{nonsense}");
        }
    }
}
