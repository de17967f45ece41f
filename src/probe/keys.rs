//! Which of a server's pairs a handshake is about. A server may have one for each key algorithm, and what the client offers
//! decides which one it shows: nobody sees the RSA pair beside an ECDSA one but clients that offer RSA alone.

use core::time::Duration;

use super::{Handshake, Route, algorithm, connect};
use crate::cert::{DnsName, KeyAlgorithm};
use crate::model::ProbeError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// Whatever the server shows to a client that takes every algorithm.
    Any,
    /// The pair of this algorithm where the server has one beside its other; else whatever it shows.
    Prefer(KeyAlgorithm),
    /// The same, and what the server has of the other one.
    Both(KeyAlgorithm),
    /// The pair of this algorithm alone: a certificate of its own is expected for the other one.
    Only(KeyAlgorithm),
}

/// A pair of the other algorithm, which the server has for the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside {
    pub algorithm: KeyAlgorithm,
    /// DER, leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The server shows it to clients that take every algorithm.
    pub preferred: bool,
}

/// What a handshake asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub sni: &'a DnsName,
    pub keys: Keys,
}

impl<'a> From<&'a DnsName> for Asked<'a> {
    fn from(sni: &'a DnsName) -> Self {
        Self { sni, keys: Keys::Any }
    }
}

impl Asked<'_> {
    /// One answer. A second handshake is made only where the first does not show the pair that is asked for.
    pub(super) async fn ask(self, route: &Route, deadline: Duration) -> Result<Handshake, ProbeError> {
        let sni = self.sni;
        match self.keys {
            Keys::Any => connect(route, sni, None, deadline).await,
            Keys::Prefer(keys) | Keys::Both(keys) => {
                let first = connect(route, sni, None, deadline).await?;
                if algorithm(&first.chain) != Some(keys.other()) {
                    return Ok(first);
                }
                match only(keys, route, sni, deadline).await {
                    Ok(own) => Ok(Handshake { preferred: Some(first.chain), ..own }),
                    Err(_) => Ok(first),
                }
            }
            Keys::Only(keys) => match only(keys, route, sni, deadline).await {
                // A server without such a pair ends the handshake, as a broken one does. Some refuse a chain for the
                // signatures of its issuers too (RFC 8446 section 4.2.3), and show it when those are offered.
                Err(error @ ProbeError::Tls(_)) => match connect(route, sni, None, deadline).await {
                    Ok(shown) if algorithm(&shown.chain) == Some(keys) => Ok(shown),
                    Ok(_) => Err(ProbeError::NoSuchKey(keys)),
                    Err(_) => Err(error),
                },
                answer => answer,
            },
        }
    }

    /// What the server has beside the pair that it showed, where no certificate of ours is expected there.
    pub(super) async fn beside(
        self,
        shown: &[Vec<u8>],
        preferred: Option<Vec<Vec<u8>>>,
        route: &Route,
        deadline: Duration,
    ) -> Option<Beside> {
        let (Keys::Prefer(keys) | Keys::Both(keys)) = self.keys else { return None };
        let other = keys.other();
        if let Some(chain) = preferred {
            return Some(Beside { algorithm: other, chain, preferred: true });
        }
        if self.keys != Keys::Both(keys) || algorithm(shown) != Some(keys) {
            return None;
        }
        let chain = only(other, route, self.sni, deadline).await.ok()?.chain;
        Some(Beside { algorithm: other, chain, preferred: false })
    }
}

/// A server may send a chain of its choice whatever is offered (RFC 8446 section 4.4.2.2).
async fn only(keys: KeyAlgorithm, route: &Route, sni: &DnsName, deadline: Duration) -> Result<Handshake, ProbeError> {
    let shown = connect(route, sni, Some(keys), deadline).await?;
    if algorithm(&shown.chain) == Some(keys) {
        Ok(shown)
    } else {
        Err(ProbeError::Tls("another key was shown".to_owned()))
    }
}
