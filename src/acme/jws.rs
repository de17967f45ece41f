//! One signed request: newAccount (RFC 8555 section 7.3). The ACME crate signs all others; this one it can only make with
//! a key of its own making, or without contacts and external binding, and the key must be on disk before the CA hears
//! of it.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::{Value, json};

use super::account::Binding;

/// P-256, the one curve that every CA takes.
pub(super) struct Signer(EcdsaKeyPair);

impl Signer {
    /// `None`: not a P-256 key in PKCS#8.
    pub(super) fn new(pkcs8: &[u8]) -> Option<Self> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok().map(Self)
    }

    pub(super) fn generate() -> Option<Vec<u8>> {
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
        Some(key.as_ref().to_vec())
    }

    /// RFC 7517, RFC 7518 section 6.2.
    fn jwk(&self) -> Value {
        // Uncompressed: 4, x, y.
        let (x, y) = self.0.public_key().as_ref()[1..].split_at(32);
        json!({ "crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y) })
    }

    /// RFC 8555 section 6.2: flattened, with "alg", "nonce", "url" and, before there is an account, "jwk".
    pub(super) fn sign(&self, url: &str, nonce: &str, payload: &Value) -> Option<Vec<u8>> {
        let protected = json!({ "alg": "ES256", "jwk": self.jwk(), "nonce": nonce, "url": url });
        let (protected, payload) = (encode(protected.to_string()), encode(payload.to_string()));
        let signature = self.0.sign(&SystemRandom::new(), format!("{protected}.{payload}").as_bytes()).ok()?;
        Some(flattened(&protected, &payload, signature.as_ref()).to_string().into_bytes())
    }

    /// RFC 8555 section 7.3.4: the account's public key, signed with the key that the CA's customer service gave out.
    pub(super) fn bind(&self, url: &str, binding: &Binding) -> Value {
        let protected = json!({ "alg": "HS256", "kid": binding.kid, "url": url });
        let (protected, payload) = (encode(protected.to_string()), encode(self.jwk().to_string()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, &binding.hmac);
        let tag = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
        flattened(&protected, &payload, tag.as_ref())
    }
}

fn flattened(protected: &str, payload: &str, signature: &[u8]) -> Value {
    json!({ "protected": protected, "payload": payload, "signature": encode(signature) })
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
