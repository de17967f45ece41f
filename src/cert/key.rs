//! Private keys, and the pair of key and chain that cannot be built mismatched.

use core::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Chain, Malformed};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyType {
    #[default]
    EcdsaP256,
    EcdsaP384,
    #[serde(rename = "rsa2048")]
    Rsa2048,
    #[serde(rename = "rsa3072")]
    Rsa3072,
    #[serde(rename = "rsa4096")]
    Rsa4096,
}

impl KeyType {
    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa2048",
            Self::Rsa3072 => "rsa3072",
            Self::Rsa4096 => "rsa4096",
        }
    }
}

/// A private key as PKCS#8 PEM. It has no `Display`, its `Debug` shows nothing, and its memory is wiped (best effort).
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<String>);

impl PrivateKey {
    pub fn generate(_key_type: KeyType) -> Result<Self, Malformed> {
        todo!()
    }

    pub fn parse(_pem: Zeroizing<String>) -> Result<Self, Malformed> {
        todo!()
    }

    pub fn pem(&self) -> &str {
        &self.0
    }

    /// A certificate request (PKCS#10, DER) for the names, signed with this key.
    pub fn request(&self, _names: &super::NameSet) -> Result<Vec<u8>, Malformed> {
        todo!()
    }
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
    pub fn new(_chain: Chain, _key: PrivateKey) -> Result<Self, Unpaired> {
        todo!()
    }

    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    pub fn key(&self) -> &PrivateKey {
        &self.key
    }
}

/// The key is not the key of the chain's leaf.
#[derive(Debug, thiserror::Error)]
#[error("the private key does not belong to the certificate with serial {serial}")]
pub struct Unpaired {
    pub serial: String,
}
