//! DNS over HTTPS (RFC 8484) where port 53 is blocked: public resolvers, queried by POST.
//!
//! A resolver caches that a name does not exist (RFC 2308), for half an hour in some zones. So each resolver that was
//! queried before a record was made is marked, and its negative answers no longer count.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, OnceLock};

use hickory_proto::op::Message;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use url::Url;

use super::DnsError;
use super::wire::{QueryError, Question, answers, encode};
use crate::http::{self, HttpOptions, TimeLimits};
use crate::text::escape;

const LIMITS: TimeLimits = TimeLimits { connect: Duration::from_secs(5), request: Duration::from_secs(10) };
/// RFC 8484 section 6: the body is one DNS message.
const BODY_LIMIT: usize = 65_535;
/// RFC 8484 section 6: "application/dns-message".
const MEDIA_TYPE: &str = "application/dns-message";

/// The configured servers. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Doh(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    servers: Vec<Server>,
    options: HttpOptions,
    /// Built on first use, which is rare.
    client: OnceLock<Result<reqwest::Client, String>>,
    /// Index of the server that answered last.
    good: AtomicUsize,
}

#[derive(Debug)]
struct Server {
    url: Url,
    asked: AtomicBool,
}

impl Doh {
    pub fn new(urls: &[Url], options: HttpOptions) -> Self {
        let server = |url: &Url| Server { url: url.clone(), asked: AtomicBool::new(false) };
        Self(Arc::new(Inner { servers: urls.iter().map(server).collect(), options, ..Inner::default() }))
    }

    /// Servers are identified by their index.
    pub(super) fn count(&self) -> usize {
        self.0.servers.len()
    }

    pub(super) fn name(&self, server: usize) -> &str {
        self.0.servers[server].url.as_str()
    }

    /// Whether the server may have cached a negative answer.
    pub(super) fn was_asked(&self, server: usize) -> bool {
        self.0.servers[server].asked.load(Ordering::Relaxed)
    }

    /// Queries the servers in turn, beginning with the one that answered last, until an answer is `good`.
    ///
    /// # Errors
    /// The last server's error.
    pub(super) async fn first(&self, question: &Question, good: impl Fn(&Message) -> bool) -> Result<Message, String> {
        let mut why = String::new();
        let begin = self.0.good.load(Ordering::Relaxed);
        for server in (0..self.count()).map(|n| (begin + n) % self.count()) {
            self.0.servers[server].asked.store(true, Ordering::Relaxed);
            match self.ask(server, question).await {
                Ok(answer) if good(&answer) => {
                    self.0.good.store(server, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(answer) => why = format!("{}: {}", self.name(server), answer.metadata.response_code),
                Err(error) => why = format!("{}: {error}", self.name(server)),
            }
        }
        Err(why)
    }

    fn client(&self) -> Result<&reqwest::Client, QueryError> {
        let make = || {
            let client = self.0.options.client(LIMITS).and_then(|builder| builder.https_only(true).build());
            client.map_err(|source| DnsError::Client { source: source.into() }.to_string())
        };
        let made = self.0.client.get_or_init(make);
        made.as_ref().map_err(|why| QueryError::Http(why.clone()))
    }

    pub(super) async fn ask(&self, server: usize, question: &Question) -> Result<Message, QueryError> {
        // RFC 8484 section 4.1: "DoH clients SHOULD use a DNS ID of 0". TLS authenticates the answer.
        let request = encode(0, question)?;
        let request = self.client()?.post(self.0.servers[server].url.clone()).body(request);
        let sent = request.header(CONTENT_TYPE, MEDIA_TYPE).header(ACCEPT, MEDIA_TYPE).send().await;
        let mut answer = sent.map_err(query_error)?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(QueryError::Http(format!("HTTP status {}", answer.status().as_u16())));
        }
        let kind = answer.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(MEDIA_TYPE) {
            return Err(QueryError::Http(format!("no DNS message but {:?}", escape(kind, 60))));
        }
        let body = http::body(&mut answer, BODY_LIMIT).await.map_err(query_error)?.ok_or(QueryError::Malformed)?;
        let answer = Message::from_vec(&body).map_err(|_| QueryError::Malformed)?;
        if answers(&answer, 0, question) { Ok(answer) } else { Err(QueryError::Malformed) }
    }
}

fn query_error(error: reqwest::Error) -> QueryError {
    if error.is_timeout() { QueryError::TimedOut } else { QueryError::Http(http::root_cause(error)) }
}
