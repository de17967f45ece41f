//! The doubles' side of HTTP: one small runtime for a lab, servers on it, and a client that waits.

use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use tokio::runtime::{Builder, Handle, Runtime};

/// Tests are not async; a runtime ends without waiting for what a test holds.
pub struct Engine(Option<Runtime>);

impl Engine {
    pub fn start() -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).thread_name("lab").enable_all().build();
        Self(Some(runtime.expect("threads can be started")))
    }

    pub fn handle(&self) -> Handle {
        self.0.as_ref().expect("it is taken on drop alone").handle().clone()
    }

    /// Plain HTTP on a free port of this address.
    pub fn serve(&self, ip: IpAddr, router: Router) -> SocketAddr {
        let (at, listener) = listen(ip);
        self.handle().spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
            axum::serve(listener, router).await
        });
        at
    }

    /// HTTPS on a free port of this address.
    pub fn serve_tls(&self, ip: IpAddr, config: Arc<ServerConfig>, router: Router) -> SocketAddr {
        let (at, listener) = listen(ip);
        self.handle().spawn(async move {
            let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(config));
            server.expect("it does not block").serve(router.into_make_service()).await
        });
        at
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn listen(ip: IpAddr) -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind((ip, 0)).expect("the address is on loopback");
    listener.set_nonblocking(true).expect("a socket option can be set");
    (listener.local_addr().expect("it is bound"), listener)
}

/// A client that trusts the lab's own authority alone.
#[derive(Clone)]
pub struct Client {
    pub inner: reqwest::Client,
    handle: Handle,
}

pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Client {
    pub fn new(engine: &Engine, authority_pem: &str) -> Self {
        let root = reqwest::Certificate::from_pem(authority_pem.as_bytes()).expect("the lab's own certificate");
        let inner = reqwest::Client::builder()
            .tls_certs_only([root])
            .no_proxy()
            // HTTP/2 has no Host header that could be kept on the way to Pebble.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("certd-lab")
            .build();
        Self { inner: inner.expect("a client can be built"), handle: engine.handle() }
    }

    /// Sends, waits, returns whatever was answered.
    pub fn send(&self, method: &str, url: &str, body: Option<String>) -> Reply {
        self.send_with(method, url, &[], body)
    }

    pub fn send_with(&self, method: &str, url: &str, headers: &[(&str, &str)], body: Option<String>) -> Reply {
        self.try_send(method, url, headers, body).unwrap_or_else(|error| panic!("{method} {url}: {error:?}"))
    }

    /// An error when there is no answer at all.
    pub fn try_send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Result<Reply, reqwest::Error> {
        let mut request = self.inner.request(method.parse().expect("a method"), url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.unwrap_or_default());
        self.wait(async move {
            let response = request.send().await?;
            let status = response.status().as_u16();
            Ok(Reply { status, body: response.text().await? })
        })
    }

    /// Waits on the lab's runtime, so that a test may also be async itself.
    pub fn wait<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (done, result) = mpsc::channel();
        self.handle.spawn(async move { done.send(future.await) });
        result.recv().expect("the lab's runtime runs as long as the lab")
    }
}
