//! What is served over HTTP/3: Caddy (quic-go), and QUIC servers that behave as configured.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certd::cert::{KeyAlgorithm, KeyType, Pair};
use certd::model::ProbeError;
use certd::probe::{
    Asked, Http3, Keys, Route, Verified, handshake, look_for_h3, look_over_quic, verify, verify_over_quic,
};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

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
        Self::with(pair, host, "", "").await
    }

    /// With more lines for all servers, and for this one.
    async fn with(pair: &Pair, host: &str, servers: &str, site: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().display();
        fs::write(folder.path().join("fullchain.pem"), pair.chain().pem()).unwrap();
        fs::write(folder.path().join("privkey.pem"), pair.key().pem()).unwrap();
        let address = TcpListener::bind((host, 0)).unwrap().local_addr().unwrap();
        let port = address.port();
        let text = format!(
            "{{\n  admin off\n  auto_https disable_redirects\n  skip_install_trust\n  {servers}\n}}\n\
             https://a.example.com:{port} {{\n  bind {host}\n  tls {path}/fullchain.pem {path}/privkey.pem\n  {site}\n  respond \"here\"\n}}\n",
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

/// Pairs, of which the first is shown that the client's offer allows.
#[derive(Debug)]
struct Pairs(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Pairs {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|pair| pair.key.choose_scheme(hello.signature_schemes()).is_some()).cloned()
    }
}

fn tls(pairs: &[&Pair]) -> rustls::ServerConfig {
    let certified = |pair: &&Pair| {
        let key = PrivateKeyDer::from_pem_slice(pair.key().pem().as_bytes()).unwrap();
        let chain = pair.chain().ders().iter().map(|der| CertificateDer::from(der.clone())).collect();
        Arc::new(CertifiedKey::new(chain, any_supported_type(&key).unwrap()))
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
    let pairs = Arc::new(Pairs(pairs.iter().map(certified).collect()));
    builder.unwrap().with_no_client_auth().with_cert_resolver(pairs)
}

fn server(pair: &Pair, alpn: &[u8]) -> quinn::ServerConfig {
    of_several(&[pair], alpn)
}

fn of_several(pairs: &[&Pair], alpn: &[u8]) -> quinn::ServerConfig {
    let mut tls = tls(pairs);
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
        let look = look_over_quic(caddy.address, &sni()).await;
        assert_eq!(look.answers, [shown], "all of several are the same");
        assert_eq!((look.handshakes.asked, look.handshakes.answered), (5, 5));
        assert!(verify_over_quic(caddy.address, &sni(), leaf(&pair), LONG).await.shows(leaf(&pair)));
        let offer = look_for_h3(caddy.address, None, &sni(), LONG).await;
        assert_eq!(offer.chain.as_deref(), Ok(pair.chain().ders()));
        assert_eq!(offer.h3, Some(Http3::Answers(caddy.address)));
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
    let look = verify_over_quic(tcp.address, &sni(), leaf(&new), SOON).await;
    assert_eq!(look.answers, [Ok(old.chain().ders().to_vec())]);
}

#[tokio::test]
async fn n09_an_old_quic_server_is_waited_for_and_asked_again() {
    let (old, new) = (pair(KeyType::EcdsaP256), pair(KeyType::EcdsaP256));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (address, name) = (socket.local_addr().unwrap(), sni());
    let next = socket.try_clone().unwrap();
    let worker = Worker::on(socket, server(&old, b"h3"));
    let (look, _worker) = tokio::join!(verify_over_quic(address, &name, leaf(&new), LONG), async {
        assert_eq!(handshake(quic(address), &name, LONG).await.as_deref(), Ok(old.chain().ders()));
        drop(worker);
        Worker::on(next, server(&new, b"h3"))
    });
    assert!(look.shows(leaf(&new)), "{look:?}");
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
        let look = look_over_quic(address, &sni()).await;
        assert_eq!(look.shows(leaf(&new)), look.answers == [Ok(new.chain().ders().to_vec())]);
        most = most.max(look.answers.len());
    }
    assert_eq!(most, 2, "each look reaches both workers in fifteen of sixteen cases");
    drop(lingering);
    while handshake(quic(address), &sni(), SOON).await.as_deref() != Ok(new.chain().ders()) {}
    let before = worker.accepted.load(Ordering::SeqCst);
    assert!(verify_over_quic(address, &sni(), leaf(&new), LONG).await.shows(leaf(&new)));
    assert!(worker.accepted.load(Ordering::SeqCst) >= before + 5, "one handshake would prove one worker");
}

#[tokio::test]
async fn n09_handshakes_that_an_old_worker_swallows_are_a_share_beside_the_answer_of_the_others() {
    let new = pair(KeyType::EcdsaP256);
    let socket = shared("127.0.0.1:0".parse().unwrap());
    let address = socket.local_addr().unwrap();
    // It reads what the kernel deals to it, as nginx's old workers do, and answers nothing.
    let _old = shared(address);
    let _new = Worker::on(socket, server(&new, b"h3"));
    // In one of 32 looks every handshake meets the new worker.
    for _ in 0..6 {
        let look = look_over_quic(address, &sni()).await;
        assert_eq!(look.answers, [Ok(new.chain().ders().to_vec())], "silence is no answer of its own: {look:?}");
        assert!(look.shows(leaf(&new)));
        if look.handshakes.unanswered() > 0 {
            return;
        }
    }
    panic!("the old worker got nothing");
}

#[tokio::test]
async fn no_answer_over_udp_is_told_as_such_at_the_deadline_or_as_soon_as_the_host_says_that_the_port_is_closed() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (address, asked, limit) in [(silent.local_addr().unwrap(), 15, LONG), (closed, 5, Duration::from_secs(1))] {
        let name = sni();
        let look = tokio::time::timeout(limit, look_over_quic(address, &name)).await.expect("within the limit");
        assert_eq!(look.answers, [Err(ProbeError::NoQuic)]);
        assert_eq!((look.handshakes.asked, look.handshakes.answered), (asked, 0));
        let one = tokio::time::timeout(SOON * 3, handshake(quic(address), &name, SOON)).await;
        assert_eq!(one.expect("the deadline holds for all of it").unwrap_err(), ProbeError::NoQuic);
    }
}

#[tokio::test]
async fn http_3_is_found_by_alt_svc_where_udp_is_silent_and_only_http_servers_are_asked() {
    let pair = pair(KeyType::EcdsaP256);
    let chain = pair.chain().ders().to_vec();
    let one = "servers {\n    protocols h1 h2\n  }";
    let caddy = Caddy::with(&pair, "127.0.0.1", one, "header Alt-Svc `h3=\":7443\"; ma=60`").await;
    let offer = look_for_h3(caddy.address, None, &sni(), LONG).await;
    assert_eq!((offer.chain, offer.h3), (Ok(chain.clone()), Some(Http3::AltSvc("127.0.0.1:7443".parse().unwrap()))));
    let caddy = Caddy::with(&pair, "127.0.0.1", one, "").await;
    assert_eq!(look_for_h3(caddy.address, None, &sni(), LONG).await.h3, None);
    // Of another protocol, without ALPN or with one of its own.
    for alpn in [Vec::new(), vec![b"smtp".to_vec()]] {
        let mail = mail_server(&pair, alpn).await;
        let offer = look_for_h3(mail.address, None, &sni(), LONG).await;
        assert_eq!((offer.chain, offer.h3), (Ok(chain.clone()), None));
        assert_eq!(mail.read(), b"", "nothing is said to it");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let offer = look_for_h3(closed, None, &sni(), LONG).await;
    assert_eq!((offer.chain, offer.h3), (Err(ProbeError::Refused), None));
}

/// A TLS server that speaks no HTTP, and keeps what it is sent.
struct Mail {
    address: SocketAddr,
    read: Arc<std::sync::Mutex<Vec<u8>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Mail {
    fn read(&self) -> Vec<u8> {
        self.read.lock().unwrap().clone()
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn mail_server(pair: &Pair, alpn: Vec<Vec<u8>>) -> Mail {
    use tokio::io::AsyncReadExt;
    let mut tls = tls(&[pair]);
    tls.alpn_protocols = alpn;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let read = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&read);
    let task = tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(tcp).await else { continue };
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            kept.lock().unwrap().extend(all);
        }
    });
    Mail { address, read, task }
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
    let stolen = CertifiedKey::new(chain, signer);
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

#[tokio::test]
async fn over_quic_too_each_of_two_pairs_is_asked_for_by_its_own_algorithm() {
    let (ecdsa, rsa) = (pair(KeyType::EcdsaP256), pair(KeyType::Rsa2048));
    let name = sni();
    for (pairs, shown) in [
        (&[&ecdsa, &rsa][..], Ok(rsa.chain().ders().to_vec())),
        (&[&ecdsa], Err(ProbeError::NoSuchKey(KeyAlgorithm::Rsa))),
    ] {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let _worker = Worker::on(socket, of_several(pairs, b"h3"));
        for keys in [Keys::Any, Keys::Prefer(KeyAlgorithm::Ecdsa), Keys::Only(KeyAlgorithm::Ecdsa)] {
            let look = look_over_quic(address, Asked { sni: &name, keys }).await;
            assert!(look.shows(leaf(&ecdsa)), "{keys:?}: {look:?}");
        }
        let look = look_over_quic(address, Asked { sni: &name, keys: Keys::Only(KeyAlgorithm::Rsa) }).await;
        assert_eq!((look.answers, look.handshakes.answered), (vec![shown], 5));
    }
}
