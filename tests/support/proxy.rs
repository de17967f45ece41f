//! An HTTPS proxy in front of Pebble, which has no limits, no outages and no lost answers of its own.
//!
//! The Host header is kept, so that the URLs that Pebble makes lead back here. Each request is counted by kind, and a
//! `Script` holds it or spoils it.

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;

use super::http::{Client, Engine};
use super::pki::Authority;
use super::script::Script;

/// Pebble's paths and the kinds that a `Script` knows them by.
const KINDS: [(&str, &str); 12] = [
    ("/dir", "directory"),
    ("/nonce-plz", "nonce"),
    ("/sign-me-up", "new-account"),
    ("/my-account", "account"),
    ("/order-plz", "new-order"),
    ("/my-order/", "order"),
    ("/authZ/", "authorization"),
    ("/chalZ/", "challenge"),
    ("/finalize-order/", "finalize"),
    ("/certZ/", "certificate"),
    ("/revoke-cert", "revoke"),
    ("/rollover-account-key", "key-change"),
];

pub struct Proxy {
    pub at: SocketAddr,
    pub script: Script,
}

impl Proxy {
    pub fn start(engine: &Engine, ip: IpAddr, authority: &Authority, client: Client, pebble: SocketAddr) -> Self {
        let script = Script::default();
        let rules = script.clone();
        let router = Router::new().fallback(move |request: Request| {
            let (rules, client) = (rules.clone(), client.clone());
            async move { rules.run(kind(request.uri().path()), forward(client, pebble, request)).await }
        });
        let config = authority.server_config(&[ip.to_string(), "ca.invalid".into()]);
        let at = engine.serve_tls(ip, config, router);
        Self { at, script }
    }

    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.at)
    }
}

fn kind(path: &str) -> &'static str {
    if path.contains("renewalInfo") {
        return "renewal-info";
    }
    KINDS.iter().find(|(prefix, _)| path.starts_with(prefix)).map_or("other", |(_, kind)| kind)
}

async fn forward(client: Client, pebble: SocketAddr, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let url = format!("https://{pebble}{}", parts.uri);
    let body = to_bytes(body, 1 << 20).await.expect("a request of certd is small");
    let answer = client.inner.request(parts.method, url).headers(parts.headers).body(body).send().await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let response = Response::builder().status(502).body(Body::from(error.to_string()));
            return response.expect("a plain response");
        }
    };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != "transfer-encoding" && name != "connection" {
            response = response.header(name, value);
        }
    }
    let body = answer.bytes().await.unwrap_or_default();
    response.body(Body::from(body)).expect("what was a response is one")
}
