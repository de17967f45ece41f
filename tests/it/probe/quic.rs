//! What is served over HTTP/3: Caddy (quic-go), and QUIC servers that behave as configured.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certd::cert::{KeyType, Pair};
use certd::model::ProbeError;
use certd::probe::{Route, Verified, handshake, look, verify};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::server::{Then, serve_at};
use super::{LONG, SOON, leaf, pair, sni};

fn quic(address: SocketAddr) -> Route {
    Route::Quic { address }
}

/// Serves one pair over TCP and QUIC at one port number.
struct Caddy {
    _folder: tempfile::TempDir,
    address: SocketAddr,
    process: Child,
}

impl Caddy {
    async fn start(pair: &Pair, host: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        fs::write(folder.path().join("fullchain.pem"), pair.chain().pem()).unwrap();
        fs::write(folder.path().join("privkey.pem"), pair.key().pem()).unwrap();
        let address = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap();
        let port = address.port();
        let text = format!(
            "{{\n  admin off\n  auto_https disable_redirects\n  skip_install_trust\n}}\n\
             https://a.example.com:{port} {{\n  bind {host}\n  tls {path}/fullchain.pem {path}/privkey.pem\n  respond \"here\"\n}}\n",
        );
        fs::write(folder.path().join("Caddyfile"), text).unwrap();
        let mut command = Command::new("caddy");
        command.args(["run", "--config", "Caddyfile"]).current_dir(folder.path()).env("HOME", folder.path());
        command.env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path());
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("caddy is installed");
        let caddy = Self { _folder: folder, address, process };
        while handshake(caddy.address, &sni(), LONG).await == Err(ProbeError::Refused) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        caddy
    }
}

impl Drop for Caddy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn server(pair: &Pair, alpn: &[u8]) -> quinn::ServerConfig {
    let key = PrivateKeyDer::from_pem_slice(pair.key().pem().as_bytes()).unwrap();
    let chain = pair.chain().ders().iter().map(|der| CertificateDer::from(der.clone())).collect();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let mut tls = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

/// Accepts every connection until it is dropped.
struct Worker {
    task: tokio::task::JoinHandle<()>,
    accepted: Arc<AtomicUsize>,
}

impl Worker {
    fn on(socket: UdpSocket, config: quinn::ServerConfig) -> Self {
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = quinn::Endpoint::new(quinn::EndpointConfig::default(), Some(config), socket, runtime).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        connection.closed().await;
                    }
                });
            }
        });
        Self { task, accepted }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn what_caddy_serves_over_http_3_is_seen_by_name_and_chain_over_ipv4_and_ipv6() {
    for host in ["127.0.0.1", "::1"] {
        let pair = pair(KeyType::EcdsaP256);
        let caddy = Caddy::start(&pair, host).await;
        let shown = handshake(quic(caddy.address), &sni(), LONG).await;
        assert_eq!(shown.as_deref(), Ok(pair.chain().ders()));
        assert_eq!(look(&quic(caddy.address), &sni(), LONG).await.0, [shown], "all of several are the same");
        let verified = verify(quic(caddy.address), &sni(), leaf(&pair), LONG).await;
        assert!(matches!(verified, Verified::Expected(_)), "{verified:?}");
        let other = certd::cert::DnsName::parse("b.example.com").unwrap();
        let silence = handshake(quic(caddy.address), &other, LONG).await.unwrap_err();
        assert!(matches!(&silence, ProbeError::Tls(why) if why.contains("over QUIC")), "{silence}");
    }
}

#[tokio::test]
async fn n09_a_server_that_has_the_new_certificate_over_tcp_and_the_old_one_over_quic_is_found_out() {
    let (old, new) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    let tcp =
        serve_at("127.0.0.1:0".parse().unwrap(), vec![(new.chain().ders().to_vec(), new.key().clone(), Then::Wait)]);
    let tcp = tcp.await;
    let _udp = Worker::on(UdpSocket::bind(tcp.address).unwrap(), server(&old, b"h3"));
    assert!(matches!(verify(tcp.address, &sni(), leaf(&new), LONG).await, Verified::Expected(_)));
    let verified = verify(quic(tcp.address), &sni(), leaf(&new), SOON).await;
    assert!(matches!(&verified, Verified::Other(chain) if chain == old.chain().ders()), "{verified:?}");
}

#[tokio::test]
async fn n09_an_old_quic_server_is_waited_for_and_asked_again() {
    let (old, new) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, name) = (socket.local_addr().unwrap(), sni());
    let next = socket.try_clone().unwrap();
    let worker = Worker::on(socket, server(&old, b"h3"));
    let (verified, _worker) = tokio::join!(verify(quic(address), &name, leaf(&new), LONG), async {
        assert_eq!(handshake(quic(address), &name, LONG).await.as_deref(), Ok(old.chain().ders()));
        drop(worker);
        Worker::on(next, server(&new, b"h3"))
    });
    assert!(matches!(verified, Verified::Expected(_)), "{verified:?}");
}

/// One of several sockets at one address, among which the kernel deals datagrams out.
fn shared(address: SocketAddr) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.into()
}

#[tokio::test]
async fn n09_an_old_worker_that_shares_the_udp_port_with_a_new_one_is_seen_beside_it() {
    let (old, new) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    let socket = shared("127.0.0.1:0".parse().unwrap());
    let address = socket.local_addr().unwrap();
    let lingering = Worker::on(shared(address), server(&old, b"h3"));
    let worker = Worker::on(socket, server(&new, b"h3"));
    let mut most = 0;
    for _ in 0..20 {
        most = most.max(look(&quic(address), &sni(), LONG).await.0.len());
    }
    assert_eq!(most, 2, "each look reaches both workers in seven of eight cases");
    drop(lingering);
    while handshake(quic(address), &sni(), SOON).await.as_deref() != Ok(new.chain().ders()) {}
    let before = worker.accepted.load(Ordering::SeqCst);
    let verified = verify(quic(address), &sni(), leaf(&new), LONG).await;
    assert!(matches!(verified, Verified::Expected(_)), "{verified:?}");
    assert!(worker.accepted.load(Ordering::SeqCst) >= before + 4, "one handshake would prove one worker");
}

#[tokio::test]
async fn no_answer_over_udp_is_told_as_such_at_the_deadline_whether_the_port_is_open_or_closed() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), closed] {
        let name = sni();
        let asked = handshake(quic(address), &name, SOON);
        let silence = tokio::time::timeout(SOON * 3, asked).await.expect("the deadline holds for all of it");
        assert_eq!(silence.unwrap_err(), ProbeError::NoQuic);
        let verified = verify(quic(address), &sni(), leaf(&pair(KeyType::EcdsaP256)), SOON).await;
        assert!(matches!(verified, Verified::Silent(ProbeError::NoQuic)), "{verified:?}");
    }
}

#[tokio::test]
async fn a_quic_server_without_http_3_or_without_the_key_is_no_tls() {
    let (shown, held) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let _worker = Worker::on(socket, server(&shown, b"doq"));
    let silence = handshake(quic(address), &sni(), LONG).await.unwrap_err();
    assert!(matches!(&silence, ProbeError::Tls(why) if why.contains("no HTTP/3")), "{silence}");

    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = PrivateKeyDer::from_pem_slice(held.key().pem().as_bytes()).unwrap();
    let signer = provider.key_provider.load_private_key(key).unwrap();
    let chain = shown.chain().ders().iter().map(|der| CertificateDer::from(der.clone())).collect();
    let stolen = rustls::sign::CertifiedKey::new(chain, signer);
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(stolen));
    let builder = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13]);
    let mut tls = builder.unwrap().with_no_client_auth().with_cert_resolver(resolver);
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let _worker = Worker::on(socket, config);
    let silence = handshake(quic(address), &sni(), LONG).await.unwrap_err();
    assert!(matches!(&silence, ProbeError::Tls(why) if why.contains("over QUIC")), "{silence}");
}
