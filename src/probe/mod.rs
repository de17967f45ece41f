//! What is served: one TCP connection and one TLS handshake to one address, with the service name as SNI.
//!
//! The chain is taken as it comes; whether it is the right one is decided elsewhere, from the bytes returned here.

use core::net::SocketAddr;
use core::time::Duration;

use crate::cert::{DnsName, Fingerprint};
use crate::observed::Silence;

/// The chain (DER, leaf first) that `address` presents for `sni`. One attempt.
pub async fn handshake(_address: SocketAddr, _sni: &DnsName, _deadline: Duration) -> Result<Vec<Vec<u8>>, Silence> {
    todo!()
}

/// What fresh handshakes said after a reload.
#[derive(Debug)]
pub enum Verified {
    /// The expected leaf is served.
    Expected,
    /// Until the deadline another leaf was served (its chain, DER).
    Other(Vec<Vec<u8>>),
    Silent(Silence),
}

/// Asks until `expected` is served or `deadline` has passed. An old worker that still answers is waited for by its end
/// of the connection, or for a growing pause, whichever comes first.
pub async fn verify(_address: SocketAddr, _sni: &DnsName, _expected: Fingerprint, _deadline: Duration) -> Verified {
    todo!()
}
