//! One HTTPS request to one server. The certificate is judged before anything is sent, since the request may hold secrets.
//! No redirect is followed, nothing is kept, and what is read is bounded.

use core::sync::atomic::{AtomicU8, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex, Weak};

use http::header::{CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::plain::Recorded;
use super::{Route, in_common, tls};
use crate::cert::DnsName;
use crate::config::HttpVersion;
use crate::model::ProbeError;
use crate::mutex::lock;
use crate::text::escape;

/// Bytes of a body that are read.
const BODY: usize = 64 * 1024;
/// Bytes of all header fields of a response.
const HEADERS: usize = 32 * 1024;
/// Characters of a `Location`, and of an error.
const SHOWN: usize = 200;

// RFC 7301 section 6, RFC 9113 section 3.2.
const H1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";

/// A GET request.
pub struct Get<'a> {
    /// SNI and Host.
    pub name: &'a DnsName,
    /// With its query.
    pub path: &'a str,
    pub headers: HeaderMap,
    pub version: HttpVersion,
}

/// The beginning of an answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    /// Escaped.
    pub location: Option<String>,
    /// At most 64 KiB.
    pub body: Vec<u8>,
}

/// Why there is no answer. Texts are escaped.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection, or no TLS.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The caller's word on the chain: nothing was sent.
    #[error("{0}")]
    Refused(String),
    #[error("TCP answers, and no TLS handshake")]
    NoTls,
    #[error("{0}")]
    Late(&'static str),
    #[error("the server closed the connection {0}")]
    Closed(&'static str),
    #[error("no response: {0}")]
    NoResponse(String),
    #[error("{0}")]
    NotHttp(String),
}

/// How far a request came.
#[repr(u8)]
enum Phase {
    Connect,
    Tls,
    Response,
    Body,
}

/// One attempt. `accept` judges the chain (DER, leaf first), and says why a visitor would refuse it. `limit` covers all of
/// it, the opening of a caller's stream included.
///
/// # Errors
/// How far it came.
pub async fn get(
    route: &Route,
    ask: Get<'_>,
    accept: impl FnOnce(Vec<Vec<u8>>) -> Result<(), HttpError>,
    limit: Duration,
) -> Result<Response, HttpError> {
    let _room = route.room().await;
    let (phase, name) = (AtomicU8::new(Phase::Connect as u8), ask.name);
    match timeout(limit, attempt(route, ask, accept, &phase)).await {
        // As for a handshake: the server may take others.
        Ok(Err(HttpError::Probe(ProbeError::NothingInCommon(why)))) => {
            Err(in_common::judged(route, name, limit).await.unwrap_or(ProbeError::Tls(why)).into())
        }
        Ok(done) => done,
        Err(_) => Err(match phase.into_inner() {
            at if at == Phase::Connect as u8 => match route {
                // As a failure of SSH, it shows nothing of what visitors get.
                Route::Through { .. } => ProbeError::NoWay(format!("not open after {} s", limit.as_secs())).into(),
                _ => ProbeError::TimedOut.into(),
            },
            at if at == Phase::Tls as u8 => HttpError::NoTls,
            at if at == Phase::Response as u8 => HttpError::Late("TLS answers, and no response to the request"),
            _ => HttpError::Late("a response begins, and does not end"),
        }),
    }
}

async fn attempt(
    route: &Route,
    ask: Get<'_>,
    accept: impl FnOnce(Vec<Vec<u8>>) -> Result<(), HttpError>,
    phase: &AtomicU8,
) -> Result<Response, HttpError> {
    let Ok(name) = ServerName::try_from(ask.name.as_str().to_owned()) else {
        return Err(ProbeError::Tls(format!("no server can be asked for {}", ask.name)).into());
    };
    let Some(opened) = route.stream().await else { return Err(ProbeError::NoQuic.into()) };
    let (stream, prelude) = opened?;
    let alpn: &[&[u8]] = match ask.version {
        HttpVersion::Any => &[H2, H1],
        HttpVersion::One => &[H1],
        HttpVersion::Two => &[H2],
    };
    phase.store(Phase::Tls as u8, Ordering::Relaxed);
    let (chain, stream) = tls::over_alpn(stream, name, ask.name, prelude, alpn).await?;
    accept(chain)?;
    phase.store(Phase::Response as u8, Ordering::Relaxed);
    let over_h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
    if ask.version == HttpVersion::Two && !over_h2 {
        return Err(HttpError::NotHttp("the server does not speak HTTP/2".to_owned()));
    }
    let connection = Connection::default();
    let answer =
        if over_h2 { over_two(stream, &ask, &connection).await } else { over_one(stream, &ask, &connection).await };
    let (head, mut incoming) = answer?.into_parts();
    phase.store(Phase::Body as u8, Ordering::Relaxed);
    let mut body = Vec::new();
    while body.len() < BODY {
        let Some(frame) = incoming.frame().await else { break };
        let frame = frame.map_err(|_| HttpError::Closed("before the end of the response"))?;
        if let Some(data) = frame.data_ref() {
            body.extend_from_slice(&data[..data.len().min(BODY - body.len())]);
        }
    }
    let location = head.headers.get(LOCATION).map(|to| escape(&String::from_utf8_lossy(to.as_bytes()), SHOWN));
    let version = if head.version == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" };
    Ok(Response { status: head.status.as_u16(), version, location, body })
}

/// The tasks of one connection, also those that hyper starts itself. They end with it, and with them the socket: hyper's own
/// executor detaches the task that holds it, which a server that reads nothing keeps for ever.
#[derive(Default)]
struct Connection(Arc<Mutex<JoinSet<()>>>);

/// What starts tasks of a connection, as long as there is one.
#[derive(Clone)]
struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl Connection {
    fn spawner(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.0))
    }

    fn spawn<T>(&self, task: impl Future<Output = T> + Send + 'static) {
        self.spawner().execute(async move {
            let _ = task.await;
        });
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            lock(&tasks).spawn(task);
        }
    }
}

async fn over_one(
    stream: TlsStream<Recorded>,
    ask: &Get<'_>,
    connection: &Connection,
) -> Result<http::Response<Incoming>, HttpError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEADERS);
    let (mut sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
    connection.spawn(driver);
    let mut request = request(ask, ask.path)?;
    let host = HeaderValue::from_str(ask.name.as_str()).map_err(|error| HttpError::NotHttp(error.to_string()))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    sender.send_request(request).await.map_err(no_answer)
}

async fn over_two(
    stream: TlsStream<Recorded>,
    ask: &Get<'_>,
    connection: &Connection,
) -> Result<http::Response<Incoming>, HttpError> {
    let mut builder = http2::Builder::new(connection.spawner());
    builder.max_header_list_size(HEADERS as u32).initial_stream_window_size(BODY as u32);
    builder.initial_connection_window_size(BODY as u32);
    let (mut sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
    connection.spawn(driver);
    // The authority stands for the Host (RFC 9113 section 8.3.1).
    let request = request(ask, &format!("https://{}{}", ask.name, ask.path))?;
    let answer = sender.send_request(request).await.map_err(no_answer)?;
    // The connection would end with the sender, before the body.
    connection.spawn(async move {
        let _sender = sender;
        core::future::pending::<()>().await;
    });
    Ok(answer)
}

fn request(ask: &Get<'_>, uri: &str) -> Result<Request<Empty<Bytes>>, HttpError> {
    let request = Request::get(uri).body(Empty::new());
    // The configuration's path was tried.
    let mut request = request.map_err(|error| HttpError::NotHttp(error.to_string()))?;
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("certd"));
    request.headers_mut().extend(ask.headers.clone());
    Ok(request)
}

/// A text of hyper's holds nothing of the request.
fn no_answer(error: hyper::Error) -> HttpError {
    // hyper has a question for this only as a server.
    if error.is_parse() && error.to_string().contains("too large") {
        let what = format!("the head of the response is longer than the {} KiB that certd reads", HEADERS / 1024);
        return HttpError::NotHttp(what);
    }
    if error.is_parse() || error.is_parse_status() {
        return HttpError::NotHttp(format!("the answer is not HTTP: {}", escape(&error.to_string(), SHOWN)));
    }
    let cause = core::error::Error::source(&error);
    // Neither has a code to go by. rustls' words about an end without a farewell lead to a page for programmers; HTTP/2 can
    // end one request (RFC 9113 section 5.4.2), as nginx's `return 444` does.
    let is_an_end = |cause: &str| cause.contains("close_notify") || cause.contains("stream error received");
    let words = cause.map_or_else(|| error.to_string(), ToString::to_string);
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || is_an_end(&words) {
        return HttpError::Closed("without a response");
    }
    HttpError::NoResponse(escape(&words, SHOWN))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// RFC 9113 section 4.1: length, type, flags, stream.
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];

    fn acceptor(alpn: &[u8]) -> TlsAcceptor {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["a.example.com".to_owned()]).unwrap();
        let leaf = CertificateDer::from(params.self_signed(&key).unwrap().der().to_vec());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut config = config.with_no_client_auth().with_single_cert(vec![leaf], key).unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_server_that_pings_and_never_reads_keeps_no_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut stream = acceptor(H2).accept(listener.accept().await.unwrap().0).await.unwrap();
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(&SETTINGS).await.unwrap();
            let pings = PING.repeat(1_000);
            // Until the client closes.
            while stream.write_all(&pings).await.is_ok() {}
        });
        let name = DnsName::parse("a.example.com").unwrap();
        let ask = Get { name: &name, path: "/", headers: HeaderMap::new(), version: HttpVersion::Any };
        let got = get(&Route::from(address), ask, |_| Ok(()), Duration::from_secs(2)).await;
        assert!(got.is_err(), "{got:?}");
        timeout(Duration::from_secs(20), server).await.expect("the client has closed").unwrap();
    }

    /// What is made of an answer in HTTP/1.1 and the end of the connection, without TLS's farewell.
    async fn answered_with(answer: Vec<u8>) -> Result<Response, HttpError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let mut stream = acceptor(H1).accept(listener.accept().await.unwrap().0).await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            let _ = stream.write_all(&answer).await;
            let _ = stream.flush().await;
        });
        let name = DnsName::parse("a.example.com").unwrap();
        let ask = Get { name: &name, path: "/", headers: HeaderMap::new(), version: HttpVersion::Any };
        let got = get(&Route::from(address), ask, |_| Ok(()), Duration::from_secs(5)).await;
        server.await.unwrap();
        got
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_long_head_and_an_end_are_named_as_what_they_are() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(200_000));
        let said = answered_with(long.into_bytes()).await.unwrap_err().to_string();
        assert_eq!(said, "the head of the response is longer than the 32 KiB that certd reads");
        let said = answered_with(Vec::new()).await.unwrap_err().to_string();
        assert_eq!(said, "the server closed the connection without a response");
        let said = answered_with(b"SSH-2.0-OpenSSH\r\n".to_vec()).await.unwrap_err().to_string();
        assert!(said.starts_with("the answer is not HTTP"), "{said}");
    }
}
