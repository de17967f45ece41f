//! Private keys, and the pair of key and chain that cannot be built mismatched.

use core::fmt;

use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    RsaKeySize,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::{Chain, KeyType, Malformed};

/// Bytes of a private key's PEM. RSA 4096 has 3,272.
const MOST_BYTES: usize = 16 * 1024;

/// A private key as PKCS#8 PEM. It has no `Display`, its `Debug` shows nothing, and its memory is wiped (best effort).
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<String>);

impl PrivateKey {
    /// # Errors
    /// The system gave no randomness.
    pub fn generate(key_type: KeyType) -> Result<Self, Malformed> {
        let generated = match key_type {
            KeyType::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyType::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyType::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyType::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            KeyType::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        };
        let key = generated.map_err(|_| malformed("it could not be generated"))?;
        Ok(Self(Zeroizing::new(key.serialize_pem())))
    }

    /// From PEM: PKCS#8, or SEC 1 or PKCS#1 as older tools write them; kept as it came.
    ///
    /// # Errors
    /// Not exactly one unencrypted key of a kind that can sign a request. The text never shows any of it.
    pub fn parse(pem: Zeroizing<String>) -> Result<Self, Malformed> {
        if pem.len() > MOST_BYTES {
            return Err(malformed("it is far longer than any private key"));
        }
        let key = Self(pem);
        key.signing()?;
        Ok(key)
    }

    pub fn pem(&self) -> &str {
        &self.0
    }

    /// Whether it is ECDSA on P-256.
    pub fn is_p256(&self) -> bool {
        self.signing().is_ok_and(|key| key.is_compatible(&PKCS_ECDSA_P256_SHA256))
    }

    /// A certificate request (PKCS#10, DER) for the names, signed with this key. Its subject is empty: CAs copy names
    /// from the alternative names alone, and a common name has room for 64 characters only.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn request(&self, names: &super::NameSet) -> Result<Vec<u8>, Malformed> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).map_err(|_| malformed("its request cannot hold the names"))?;
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&self.signing()?).map_err(|_| malformed("it cannot sign a request"))?;
        Ok(request.der().to_vec())
    }

    /// The public half as it stands in a certificate's SubjectPublicKeyInfo: the point, or RSA's modulus and exponent.
    fn public(&self) -> Result<Vec<u8>, Malformed> {
        Ok(self.signing()?.public_key_raw().to_vec())
    }

    fn signing(&self) -> Result<KeyPair, Malformed> {
        let der = PrivateKeyDer::from_pem_slice(self.0.as_bytes()).map_err(|_| malformed("it is no PEM of a key"))?;
        KeyPair::try_from(&der).map_err(|_| malformed("it is not an ECDSA or RSA key"))
    }
}

fn malformed(why: &str) -> Malformed {
    Malformed { what: "the private key".to_owned(), why: why.to_owned() }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// A chain and the private key of its leaf. They are kept, sent and replaced together.
#[derive(Clone, Debug)]
pub struct Pair {
    chain: Chain,
    key: PrivateKey,
}

impl Pair {
    /// # Errors
    /// The key is not the key of the chain's first certificate.
    pub fn new(chain: Chain, key: PrivateKey) -> Result<Self, Unpaired> {
        let public = key.public().ok();
        let certificates = chain.certificates();
        let owner = certificates.iter().position(|certificate| {
            public.as_deref().is_some_and(|public| *certificate.public_key().subject_public_key.data == *public)
        });
        drop(certificates);
        match owner {
            Some(0) => Ok(Self { chain, key }),
            Some(at) => Err(Unpaired::Order { serial: chain.leaf.serial, position: at + 1 }),
            None => Err(Unpaired::OtherKey { serial: chain.leaf.serial }),
        }
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn key(&self) -> &PrivateKey {
        &self.key
    }
}

/// The key is not the key of the chain's first certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpaired {
    #[error("the private key does not belong to the certificate with serial {serial}")]
    OtherKey { serial: String },
    #[error(
        "the private key belongs to certificate {position} of the chain and not to the first (serial {serial}): \
         the leaf must come first"
    )]
    Order { serial: String, position: usize },
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::extensions::{GeneralName, ParsedExtension};
    use x509_parser::prelude::FromDer;

    use super::*;
    use crate::cert::fixture::{self, Authority, days};
    use crate::cert::{DnsName, NameSet, pem};

    #[test]
    fn every_key_type_is_generated_read_again_and_requests_exactly_the_names() {
        let names: NameSet =
            ["b.example.com", "*.example.com"].iter().map(|name| DnsName::parse(name).unwrap()).collect();
        for key_type in [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048, KeyType::Rsa3072] {
            let key = PrivateKey::generate(key_type).unwrap();
            let key = PrivateKey::parse(Zeroizing::new(key.pem().to_owned())).unwrap();
            assert!(key.pem().starts_with("-----BEGIN PRIVATE KEY-----\n"));
            let der = key.request(&names).unwrap();
            let request = X509CertificationRequest::from_der(&der).unwrap().1;
            request.verify_signature().unwrap();
            assert_eq!(request.certification_request_info.subject.to_string(), "");
            let mut asked = request.requested_extensions().unwrap();
            let Some(ParsedExtension::SubjectAlternativeName(asked)) = asked.next() else { panic!("no names") };
            assert_eq!(asked.general_names, ["*.example.com", "b.example.com"].map(GeneralName::DNSName));
            let pair = Authority::root("R").issue_for(&key, fixture::leaf(&["b.example.com"], days(0, 90)));
            assert_eq!(pair.chain().leaf.key_type, Some(key_type));
        }
    }

    #[test]
    fn a17_a_certificate_for_another_key_is_no_pair() {
        let pair = Authority::root("R").issue(&["a.example.com"], days(0, 90));
        let other = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let serial = pair.chain().leaf.serial.clone();
        let error = Pair::new(pair.chain().clone(), other).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the private key does not belong to the certificate with serial {serial}")
        );
    }

    #[test]
    fn a16_a_reversed_chain_is_no_pair_and_the_error_says_why() {
        let pair = Authority::root("R").intermediate("I").issue(&["a.example.com"], days(0, 90));
        let reversed = format!("{}{}", pair.chain().issuers_pem(), pair.chain().leaf_pem());
        let error = Pair::new(Chain::parse(&reversed).unwrap(), pair.key().clone()).unwrap_err();
        assert!(matches!(error, Unpaired::Order { position: 2, .. }), "{error}");
    }

    #[test]
    fn keys_as_older_tools_write_them_are_read() {
        // PKCS#8 holds the older form as its last element: behind 26 bytes for RSA, and for P-256 behind its parameters.
        for (key_type, label, skip) in [(KeyType::EcdsaP256, "EC", 29), (KeyType::Rsa2048, "RSA", 26)] {
            let key = PrivateKey::generate(key_type).unwrap();
            let der = key.signing().unwrap().serialize_der();
            let older = pem::block(&der[skip..]).replace("CERTIFICATE", &format!("{label} PRIVATE KEY"));
            let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
            let read = PrivateKey::parse(Zeroizing::new(format!("{parameters}{older}"))).unwrap();
            assert_eq!(read.public(), key.public());
        }
    }

    #[test]
    fn neither_debug_nor_an_error_shows_a_key() {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(…)");
        let broken = key.pem().replace("MIG", "MIH");
        let error = PrivateKey::parse(Zeroizing::new(broken)).unwrap_err();
        assert_eq!(error.to_string(), "the private key: it is not an ECDSA or RSA key");
        let none = PrivateKey::parse(Zeroizing::new("no key".to_owned())).unwrap_err();
        assert_eq!(none.to_string(), "the private key: it is no PEM of a key");
    }
}
