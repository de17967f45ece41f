//! Servers that wait for the header of the PROXY protocol, and those that do not.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};
use std::time::Duration;

use certd::cert::{KeyType, Pair};
use certd::config::ProxyProtocol;
use certd::model::ProbeError;
use certd::probe::{Route, Verified, handshake, verify};

use super::nginx::Nginx;
use super::{LONG, SOON, leaf, pair, sni};

const VERSIONS: [ProxyProtocol; 2] = [ProxyProtocol::V1, ProxyProtocol::V2];

fn behind(address: SocketAddr, version: ProxyProtocol) -> Route {
    Route::Tcp { address, proxy_protocol: Some(version), starttls: None }
}

/// In the foreground, with one front end that accepts the header.
struct HaProxy {
    _folder: tempfile::TempDir,
    address: SocketAddr,
    process: Child,
}

impl HaProxy {
    async fn start(pair: &Pair) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let combined = folder.path().join("combined.pem");
        fs::write(&combined, pair.chain().pem() + pair.key().pem()).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let configuration = format!(
            "defaults\n  mode http\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n\
             frontend tls\n  bind {address} ssl crt {} accept-proxy\n  http-request return status 200\n",
            combined.display()
        );
        let path = folder.path().join("haproxy.cfg");
        fs::write(&path, configuration).unwrap();
        let process = Command::new("haproxy").arg("-db").arg("-q").arg("-f").arg(path).spawn();
        let haproxy = Self { _folder: folder, address, process: process.expect("haproxy is installed") };
        while handshake(haproxy.address, &sni(), LONG).await == Err(ProbeError::Refused) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        haproxy
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn serves_with_either_header(address: SocketAddr, pair: &Pair) {
    for version in VERSIONS {
        let shown = handshake(behind(address, version), &sni(), LONG).await;
        assert_eq!(shown.as_deref(), Ok(pair.chain().ders()), "{version:?}");
        let verified = verify(behind(address, version), &sni(), leaf(pair), LONG).await;
        assert!(matches!(verified, Verified::Expected(_)), "{version:?}: {verified:?}");
    }
    let text = handshake(address, &sni(), LONG).await.unwrap_err().to_string();
    assert!(text.contains("closed the connection") && text.contains("set `probe.proxy_protocol`"), "{text}");
}

#[tokio::test]
async fn n12_nginx_that_waits_for_a_proxy_header_takes_both_versions_and_none_is_told_what_to_set() {
    let pair = pair(KeyType::EcdsaP256);
    let nginx = Nginx::start(&pair, "server { LISTEN proxy_protocol; PAIR; }").await;
    serves_with_either_header(nginx.address, &pair).await;
}

#[tokio::test]
async fn n12_haproxy_that_waits_for_a_proxy_header_takes_both_versions_and_none_is_told_what_to_set() {
    let pair = pair(KeyType::EcdsaP256);
    let haproxy = HaProxy::start(&pair).await;
    serves_with_either_header(haproxy.address, &pair).await;
}

#[tokio::test]
async fn n12_a_header_for_a_server_that_wants_none_is_named_as_what_may_be_wrong() {
    let pair = pair(KeyType::EcdsaP256);
    let nginx = Nginx::start(&pair, "server { LISTEN; PAIR; }").await;
    for version in VERSIONS {
        let silence = handshake(behind(nginx.address, version), &sni(), LONG).await.unwrap_err();
        let text = silence.to_string();
        assert!(silence.somebody_there() && text.contains("a PROXY header was sent before it"), "{text}");
    }
    let verified = verify(behind(nginx.address, ProxyProtocol::V2), &sni(), leaf(&pair), SOON).await;
    assert!(matches!(verified, Verified::Silent(ProbeError::Tls(_))), "{verified:?}");
}
