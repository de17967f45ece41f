//! JSON Web Signatures (RFC 7515) as ACME uses them: with an account's URL, or with the public key of an account or a
//! certificate. The ACME crate signs only orders, and only with keys that it generated.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair,
    RSA_PKCS1_SHA256,
};
use aws_lc_rs::{digest, hmac};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Binding;

/// A private key that signs requests. No `Debug`.
pub(super) enum Signer {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

/// How a request identifies its signer (RFC 8555 section 6.2: "jwk" or "kid", never both).
#[derive(Clone, Copy)]
pub(super) enum By<'a> {
    Key,
    /// The account's URL.
    Account(&'a str),
}

impl Signer {
    /// An account's key: P-256, the one curve that every CA accepts. `None`: not a P-256 key in PKCS#8.
    pub(super) fn new(pkcs8: &[u8]) -> Option<Self> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok().map(Self::P256)
    }

    /// A certificate's key, of any type that certd issues for.
    pub(super) fn of_pem(pem: &str) -> Option<Self> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
        let ecdsa =
            |curve: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::from_private_key_der(curve, der.secret_der()).ok();
        let rsa = || match &der {
            PrivateKeyDer::Pkcs8(key) => RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
            other => RsaKeyPair::from_der(other.secret_der()).ok(),
        };
        ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map(Self::P256)
            .or_else(|| ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Self::P384))
            .or_else(|| rsa().map(Self::Rsa))
    }

    /// `None`: another type of key.
    pub(super) fn p256_pkcs8(&self) -> Option<Zeroizing<Vec<u8>>> {
        let Self::P256(key) = self else { return None };
        Some(Zeroizing::new(key.to_pkcs8v1().ok()?.as_ref().to_vec()))
    }

    pub(super) fn generate() -> Option<Vec<u8>> {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
        Some(key.as_ref().to_vec())
    }

    /// RFC 7517, RFC 7518 section 6. The members have the order and form of RFC 7638 section 3, so that a thumbprint is the
    /// digest of this text.
    pub(super) fn jwk(&self) -> Value {
        match self {
            Self::P256(key) => point("P-256", key),
            Self::P384(key) => point("P-384", key),
            Self::Rsa(key) => {
                let public = key.public_key();
                let (e, n) = (public.exponent(), public.modulus());
                json!({ "e": encode(e.big_endian_without_leading_zero()), "kty": "RSA",
                    "n": encode(n.big_endian_without_leading_zero()) })
            }
        }
    }

    /// RFC 7638; part of a key authorization.
    pub(super) fn thumbprint(&self) -> String {
        encode(digest::digest(&digest::SHA256, self.jwk().to_string().as_bytes()))
    }

    /// RFC 8555 section 6.2: flattened, with "alg", "nonce", "url" and "jwk" or "kid". Without `nonce`: the inner
    /// signature of a key change (section 7.3.5). Without `payload`: POST-as-GET (section 6.3).
    pub(super) fn sign(&self, by: By<'_>, url: &str, nonce: Option<&str>, payload: Option<&Value>) -> Option<Value> {
        let mut protected = json!({ "alg": self.algorithm(), "url": url });
        match by {
            By::Key => protected["jwk"] = self.jwk(),
            By::Account(account) => protected["kid"] = account.into(),
        }
        if let Some(nonce) = nonce {
            protected["nonce"] = nonce.into();
        }
        let payload = payload.map(Value::to_string).unwrap_or_default();
        let (protected, payload) = (encode(protected.to_string()), encode(payload));
        let signature = self.signature(format!("{protected}.{payload}").as_bytes())?;
        Some(flattened(&protected, &payload, &signature))
    }

    /// RFC 8555 section 7.3.4: the account's public key, signed with the external account's HMAC key.
    pub(super) fn bind(&self, url: &str, binding: &Binding) -> Value {
        let protected = json!({ "alg": "HS256", "kid": binding.kid, "url": url });
        let (protected, payload) = (encode(protected.to_string()), encode(self.jwk().to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &binding.hmac);
        let tag = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
        flattened(&protected, &payload, tag.as_ref())
    }

    /// RFC 7518 section 3.1.
    fn algorithm(&self) -> &'static str {
        match self {
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Rsa(_) => "RS256",
        }
    }

    fn signature(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::P256(key) | Self::P384(key) => Some(key.sign(&random, message).ok()?.as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

fn point(curve: &str, key: &EcdsaKeyPair) -> Value {
    // Uncompressed: 4, x, y.
    let both = &key.public_key().as_ref()[1..];
    let (x, y) = both.split_at(both.len() / 2);
    json!({ "crv": curve, "kty": "EC", "x": encode(x), "y": encode(y) })
}

fn flattened(protected: &str, payload: &str, signature: &[u8]) -> Value {
    json!({ "protected": protected, "payload": payload, "signature": encode(signature) })
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::{KeyType, PrivateKey};

    #[test]
    fn a_thumbprint_is_of_the_members_in_their_order() {
        let signer = Signer::new(&Signer::generate().unwrap()).unwrap();
        let text = signer.jwk().to_string();
        assert!(text.starts_with(r#"{"crv":"P-256","kty":"EC","x":""#), "{text}");
        assert_eq!(signer.thumbprint().len(), 43);
    }

    #[test]
    fn a_certificates_key_signs_with_each_key_type() {
        for (key_type, alg, length) in
            [(KeyType::EcdsaP256, "ES256", 64), (KeyType::EcdsaP384, "ES384", 96), (KeyType::Rsa2048, "RS256", 256)]
        {
            let key = PrivateKey::generate(key_type).unwrap();
            let signed = Signer::of_pem(key.pem()).unwrap().sign(By::Key, "https://ca/x", Some("n"), None).unwrap();
            let decoded = |member: &str| BASE64_URL_SAFE_NO_PAD.decode(signed[member].as_str().unwrap()).unwrap();
            let protected: Value = serde_json::from_slice(&decoded("protected")).unwrap();
            assert_eq!((protected["alg"].as_str(), protected["nonce"].as_str()), (Some(alg), Some("n")));
            assert!(protected["kid"].is_null() && signed["payload"] == "");
            assert_eq!(decoded("signature").len(), length);
        }
        assert!(Signer::of_pem("no key").is_none());
    }
}
