//! Names, keys and chains: what a certificate is, before anyone issues, keeps, sends or checks one.
//!
//! A [`Pair`] cannot be built mismatched: the key that travels with a chain is the key of its leaf.

mod chain;
mod choice;
mod crl;
mod findings;
mod fingerprint;
#[cfg(test)]
pub(crate) mod fixture;
pub mod generation;
mod key;
mod key_type;
mod leaf;
mod lint;
mod malformed;
mod names;
mod pem;
mod reason;

pub use chain::Chain;
pub use choice::{Choice, Why, choose};
pub use crl::{CrlAnswer, LONGEST_CRL, RevokedByCa, crl_urls, read_crl};
pub use findings::{CertificateCheck, Check, findings};
pub use fingerprint::{Fingerprint, sha256_hex};
pub use generation::Generation;
pub use key::{Pair, PrivateKey, Unpaired};
pub use key_type::{KeyAlgorithm, KeyType};
pub use leaf::Leaf;
pub use lint::{Flaw, Place, Roots, caveats, early, lint, trusted};
pub use malformed::Malformed;
pub use names::{BadName, CertName, DnsName, NameSet, NodeName, WatchName};
pub use reason::RevocationReason;
