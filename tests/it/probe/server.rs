//! A TLS server that shows one certificate after another, a connection each, and ends with the test.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use certd::cert::PrivateKey;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What happens to a connection after its handshake.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    Close,
    /// Until the client ends it.
    Wait,
}

/// A chain, the key that signs, and what comes after.
pub(crate) type Shown = (Vec<Vec<u8>>, PrivateKey, Then);

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// The names that clients asked for, one a connection.
    pub(crate) fn asked_for(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) async fn serve(shown: Vec<Shown>) -> Server {
    serve_at("127.0.0.1:0".parse().unwrap(), shown).await
}

/// The last of what is shown is shown to all who come after.
pub(crate) async fn serve_at(address: SocketAddr, shown: Vec<Shown>) -> Server {
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&asked);
    let task = tokio::spawn(async move {
        let mut remaining = shown.iter();
        let mut now = remaining.next().unwrap();
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(tcp, acceptor(now, Arc::clone(&noted)), now.2));
            now = remaining.next().unwrap_or(now);
        }
    });
    Server { address, asked, task }
}

async fn answer(tcp: TcpStream, acceptor: TlsAcceptor, then: Then) {
    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
    match then {
        Then::Close => drop(stream.shutdown().await),
        Then::Wait => while stream.read(&mut [0; 16]).await.is_ok_and(|count| count > 0) {},
    }
}

/// Answers one connection with these bytes, whatever it asks.
pub(crate) async fn say(listener: &TcpListener, printed: &[u8]) {
    let (mut tcp, _) = listener.accept().await.unwrap();
    let _ = tcp.read(&mut [0; 4096]).await;
    let _ = tcp.write_all(printed).await;
    let _ = tcp.shutdown().await;
}

fn acceptor((chain, key, _): &Shown, asked: Arc<Mutex<Vec<String>>>) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_slice(key.pem().as_bytes()).unwrap();
    let provider = aws_lc_rs::default_provider();
    let signer = provider.key_provider.load_private_key(key).unwrap();
    let chain = chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    // Built by hand, since rustls would refuse a key that does not belong to the certificate.
    let certified = Arc::new(CertifiedKey::new(chain, signer));
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows { certified, asked }));
    TlsAcceptor::from(Arc::new(config))
}

#[derive(Debug)]
struct Shows {
    certified: Arc<CertifiedKey>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.asked.lock().unwrap().push(hello.server_name().unwrap_or("-").to_owned());
        Some(Arc::clone(&self.certified))
    }
}
