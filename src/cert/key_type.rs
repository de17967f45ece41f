//! The kinds of keys that certificates are issued for.

use core::fmt;

use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
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

    pub fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::EcdsaP256 | Self::EcdsaP384 => KeyAlgorithm::Ecdsa,
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => KeyAlgorithm::Rsa,
        }
    }
}

/// A server has one pair of each for a name; what a client offers decides which of them it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyAlgorithm {
    Ecdsa,
    Rsa,
}

impl KeyAlgorithm {
    /// Of a certificate's key, also of a size or on a curve that we do not issue. `None`: another algorithm, or no
    /// certificate.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        match certificate.public_key().parsed().ok()? {
            PublicKey::EC(_) => Some(Self::Ecdsa),
            PublicKey::RSA(_) => Some(Self::Rsa),
            _ => None,
        }
    }

    pub fn other(self) -> Self {
        match self {
            Self::Ecdsa => Self::Rsa,
            Self::Rsa => Self::Ecdsa,
        }
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ecdsa => "ECDSA",
            Self::Rsa => "RSA",
        })
    }
}
