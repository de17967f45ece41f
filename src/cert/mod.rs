//! Names, keys and chains: what a certificate is, before anyone issues, keeps, sends or checks one.
//!
//! A [`Pair`] cannot be built mismatched: the key that travels with a chain is the key of its leaf.

mod chain;
mod fingerprint;
mod generation;
mod key;
mod lint;
mod names;

pub use chain::{Chain, Leaf, Malformed};
pub use fingerprint::Fingerprint;
pub use generation::Generation;
pub use key::{KeyType, Pair, PrivateKey, Unpaired};
pub use lint::{Flaw, Roots, lint, trusted};
pub use names::{BadName, CertName, DnsName, NameSet, NodeName};
