//! A visitor: a new connection, a handshake, a request, its answer. By other code than certd's probe.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, Stream};

use crate::lab::SERVICE;
use crate::lab::pki::hex;

/// Nobody waits longer for a page.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Load {
    at: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Load {
    pub(crate) fn of(at: SocketAddr) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let witness = Arc::new(Witness(Arc::clone(&provider)));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .dangerous()
            .with_custom_certificate_verifier(witness)
            .with_no_client_auth();
        // A resumed session shows no certificate.
        config.resumption = rustls::client::Resumption::disabled();
        Self { at, config: Arc::new(config) }
    }

    /// SHA-256 of the leaf that answered; panics when anything fails.
    pub(crate) fn visit(&self) -> String {
        let name = ServerName::try_from(SERVICE).expect("it is one");
        let mut tls = ClientConnection::new(Arc::clone(&self.config), name).expect("it can be asked for");
        let mut tcp = TcpStream::connect(self.at).unwrap_or_else(|error| panic!("{}: no connection: {error}", self.at));
        tcp.set_read_timeout(Some(PATIENCE)).expect("a socket option can be set");
        let request = format!("GET / HTTP/1.1\r\nHost: {SERVICE}\r\nConnection: close\r\n\r\n");
        let mut answer = Vec::new();
        let mut stream = Stream::new(&mut tls, &mut tcp);
        let done = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        assert!(done.is_ok() && answer.starts_with("HTTP/1.1 200"), "{}: {done:?}, {answer:?}", self.at);
        let leaf = tls.peer_certificates().and_then(|chain| chain.first()).expect("it was shown");
        hex(digest(&SHA256, leaf).as_ref())
    }
}

/// That the server has the leaf's key is checked; the caller gets the leaf.
#[derive(Debug)]
struct Witness(Arc<CryptoProvider>);

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
