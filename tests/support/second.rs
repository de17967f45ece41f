//! More name servers beside the lab's first: one that shows changes later, and resolvers that speak DNS over HTTPS.
//!
//! Each is BIND, as the first. An error means: named did not start.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::Response;

use super::cloudflare::Cloudflare;
use super::dns::{copy_named, spawn};
use super::process::Process;
use super::relay::{Datagrams, Relay};
use super::{Lab, free_ports, run_id, write_secret};

pub struct NameServer {
    pub at: SocketAddr,
    pub datagrams: Datagrams,
    pub streams: Relay,
    inside: SocketAddr,
    _process: Process,
}

/// A resolver whose clients post their questions.
pub struct DohServer {
    /// Where it answers without HTTPS.
    pub plain: SocketAddr,
    port: u16,
    _process: Process,
}

impl Lab {
    /// Another account at Cloudflare, which has this zone alone; the first has it no more. `token_file` is for its token.
    pub fn second_account(&self, zone: &str, token_file: &Path) -> Cloudflare {
        let token = format!("lab-second-token-{}", run_id());
        write_secret(token_file, &token);
        let second = Cloudflare::start(&self.engine, self.cloudflare.at.ip(), Arc::clone(&self.dns), &token);
        second.with(|account| account.zones.retain(|own| own.name == zone));
        self.cloudflare.with(|account| account.zones.retain(|own| own.name != zone));
        second
    }

    /// Serves these zones (none: refuses everything) with what their files held at the lab's start, from an address of its
    /// own. It changes as the first does, so much later.
    pub fn second_name_server(&self, zones: &[String], lag: Duration) -> NameServer {
        let folder = self.folder.join(format!("dns-{}", run_id()));
        fs::create_dir_all(&folder).expect("the lab's folder is ours");
        for zone in zones {
            let file = format!("{zone}.db");
            let text = fs::read_to_string(self.folder.join("dns").join(&file)).unwrap_or_else(|_| bare_zone());
            fs::write(folder.join(&file), text).expect("the lab's folder is ours");
        }
        copy_named(&folder);
        let key = fs::read_to_string(self.dns.key_file()).expect("the lab wrote it");
        let (process, inside) = spawn(&self.reaper, &folder, &key, zones, "recursion no;", "");
        let IpAddr::V4(first) = self.dns.at.ip() else { unreachable!("a lab's network is IPv4") };
        let [net, a, b, _] = first.octets();
        let standard = |last| SocketAddr::from((Ipv4Addr::new(net, a, b, last), self.dns.at.port()));
        let at = (5..10).map(standard).find(|at| TcpListener::bind(at).is_ok());
        let at = at.unwrap_or_else(|| free_ports::<1>(first.into())[0]);
        let datagrams = Datagrams::open(&self.engine.handle(), at, inside);
        let mut streams = Relay::new(self.engine.handle(), at, inside);
        streams.open();
        self.dns.mirror(inside, lag);
        NameServer { at, datagrams, streams, inside, _process: process }
    }

    /// Answers for the lab's zones by asking its first name server, at `https://…/dns-query`; from 127.0.0.1, with a
    /// certificate for `localhost` and `doh.invalid` too. What was not there it remembers for a minute and a half.
    pub fn doh_server(&self) -> DohServer {
        self.resolver(90)
    }

    /// The same, which answers at a plain port too, and remembers for so many seconds what was not there.
    pub fn resolver(&self, remembers: u32) -> DohServer {
        let folder = self.folder.join(format!("doh-{}", run_id()));
        fs::create_dir_all(&folder).expect("the lab's folder is ours");
        let names = ["127.0.0.1", "localhost", "doh.invalid"].map(String::from);
        let (cert, key) = self.authority.issue(&names, 30);
        fs::write(folder.join("doh.pem"), cert).expect("the lab's folder is ours");
        fs::write(folder.join("doh.key"), key).expect("the lab's folder is ours");
        copy_named(&folder);
        let (first, dir) = (self.dns.inside(), folder.display());
        let [https] = free_ports(Ipv4Addr::LOCALHOST.into());
        let options = format!(
            "recursion yes; allow-recursion {{ any; }}; min-ncache-ttl {remembers}; forward only; \
             forwarders {{ {ip} port {port}; }};\n  listen-on port {https} tls doh http doh {{ 127.0.0.1; }};",
            ip = first.ip(),
            port = first.port(),
            https = https.port(),
        );
        let end = format!(
            "http doh {{ endpoints {{ \"/dns-query\"; }}; }};\n\
             tls doh {{ cert-file \"{dir}/doh.pem\"; key-file \"{dir}/doh.key\"; }};\n"
        );
        let (process, plain) = spawn(&self.reaper, &folder, "", &[], &options, &end);
        DohServer { plain, port: https.port(), _process: process }
    }

    /// A web server that gives this answer to everything. Returns its URL.
    pub fn strange_doh_server(&self, status: u16, kind: &str, body: Vec<u8>) -> String {
        let kind = HeaderValue::from_bytes(kind.as_bytes()).expect("a test's header");
        let router = Router::new().fallback(move || {
            let (kind, body) = (kind.clone(), body.clone());
            async move {
                let response = Response::builder().status(status).header("content-type", kind);
                response.header("location", "https://elsewhere.invalid/").body(Body::from(body)).expect("it is HTTP")
            }
        });
        let ip = self.dns.at.ip();
        let at = self.engine.serve_tls(ip, self.authority.server_config(&[ip.to_string()]), router);
        format!("https://{at}/dns-query")
    }

    /// PEM of the authority of the lab's own servers.
    pub fn authority_file(&self) -> PathBuf {
        self.folder.join("api-root.pem")
    }
}

impl NameServer {
    /// Any line of nsupdate(1), at once.
    pub fn update(&self, lab: &Lab, line: &str) {
        lab.dns.update_at(self.inside, line);
    }

    /// From now on it hears nothing, and no connection is accepted.
    pub fn die(&mut self) {
        self.datagrams.lose(true);
        self.streams.close();
    }
}

impl DohServer {
    pub fn url(&self, host: &str) -> String {
        format!("https://{host}:{}/dns-query", self.port)
    }
}

/// A zone without a host of its own; its name server is named later.
fn bare_zone() -> String {
    "$TTL 1\n@ SOA ns admin 1 60 60 600 1\n@ NS ns\nns A 127.0.0.1\n".into()
}
