//! A TLS client whose verifier accepts any certificate, so that a wrong one can be seen and judged. The handshake's
//! signature is still checked: the server holds the leaf's key.

use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureAlgorithm, SignatureScheme};

use crate::cert::KeyAlgorithm;

/// No session is resumed: a resumed one shows the certificate of an earlier handshake. `offer`: the signature algorithms
/// that are offered, and in TLS 1.2 the cipher suites, are those of these keys alone.
pub(super) fn config(offer: Option<KeyAlgorithm>) -> Arc<ClientConfig> {
    static ALL: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| build(None));
    static ECDSA: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| build(Some(KeyAlgorithm::Ecdsa)));
    static RSA: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| build(Some(KeyAlgorithm::Rsa)));
    Arc::clone(match offer {
        None => &ALL,
        Some(KeyAlgorithm::Ecdsa) => &ECDSA,
        Some(KeyAlgorithm::Rsa) => &RSA,
    })
}

fn build(offer: Option<KeyAlgorithm>) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(keys) = offer {
        provider.cipher_suites.retain(|suite| suite.usable_for_signature_algorithm(of_rustls(keys)));
    }
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider's own cipher suites cover its default protocol versions");
    // `dangerous` only if data follows, and none does. A refused handshake would hide the certificate; `cert::trusted`
    // judges the chain afterwards and gives the reason.
    let accept_any = Arc::new(AcceptAny { provider, offer });
    let mut config = builder.dangerous().with_custom_certificate_verifier(accept_any).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn of_rustls(keys: KeyAlgorithm) -> SignatureAlgorithm {
    match keys {
        KeyAlgorithm::Ecdsa => SignatureAlgorithm::ECDSA,
        KeyAlgorithm::Rsa => SignatureAlgorithm::RSA,
    }
}

/// The keys that make signatures of this scheme.
fn made_by(scheme: SignatureScheme) -> Option<KeyAlgorithm> {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
        | SignatureScheme::ECDSA_NISTP384_SHA384
        | SignatureScheme::ECDSA_NISTP521_SHA512 => Some(KeyAlgorithm::Ecdsa),
        SignatureScheme::RSA_PKCS1_SHA256
        | SignatureScheme::RSA_PKCS1_SHA384
        | SignatureScheme::RSA_PKCS1_SHA512
        | SignatureScheme::RSA_PSS_SHA256
        | SignatureScheme::RSA_PSS_SHA384
        | SignatureScheme::RSA_PSS_SHA512 => Some(KeyAlgorithm::Rsa),
        _ => None,
    }
}

#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
    offer: Option<KeyAlgorithm>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self.provider.signature_verification_algorithms.supported_schemes();
        schemes.retain(|scheme| self.offer.is_none_or(|keys| made_by(*scheme) == Some(keys)));
        schemes
    }
}
