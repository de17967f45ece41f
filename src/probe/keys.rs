//! Which of a server's pairs a handshake is about. A server may have one for each key algorithm, and what the client offers
//! decides which one it shows: nobody sees the RSA pair beside an ECDSA one but clients that offer RSA alone.

use core::time::Duration;

use super::{Answer, Handshake, Route, algorithm, connect};
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
    /// What the first handshake offers; `None`: every algorithm.
    pub(super) fn offer(self) -> Option<KeyAlgorithm> {
        match self.keys {
            Keys::Only(keys) => Some(keys),
            Keys::Any | Keys::Prefer(_) | Keys::Both(_) => None,
        }
    }

    /// One answer. A second handshake is made only where the first does not show the pair that is asked for.
    pub(super) async fn ask(self, route: &Route, deadline: Duration) -> Result<Handshake, ProbeError> {
        let first = connect(route, self.sni, self.offer(), deadline).await;
        let Keys::Only(keys) = self.keys else {
            let first = first?;
            return Ok(match self.own(&first.chain, route, deadline).await {
                Some(own) => Handshake { preferred: Some(first.chain), ..own },
                None => first,
            });
        };
        match first.and_then(|first| self.takes(&first.chain).map(|()| first)) {
            // A server without such a pair ends the handshake, as a broken one does. Some refuse a chain for the
            // signatures of its issuers too (RFC 8446 section 4.2.3), and show it when those are offered.
            Err(error @ ProbeError::Tls(_)) => match connect(route, self.sni, None, deadline).await {
                Ok(shown) if algorithm(&shown.chain) == Some(keys) => Ok(shown),
                Ok(_) => Err(ProbeError::NoSuchKey(keys)),
                Err(nothing @ ProbeError::NothingInCommon(_)) => Err(nothing),
                Err(_) => Err(error),
            },
            answer => answer,
        }
    }

    /// A server may send a chain of its choice whatever is offered (RFC 8446 section 4.4.2.2).
    pub(super) fn takes(self, shown: &[Vec<u8>]) -> Result<(), ProbeError> {
        match self.offer() {
            Some(keys) if algorithm(shown) != Some(keys) => Err(another_key()),
            _ => Ok(()),
        }
    }

    /// The pair that is asked for, where a handshake that offers every algorithm has shown one of the other algorithm.
    pub(super) async fn own(self, shown: &[Vec<u8>], route: &Route, deadline: Duration) -> Option<Handshake> {
        let (Keys::Prefer(keys) | Keys::Both(keys)) = self.keys else { return None };
        if algorithm(shown) != Some(keys.other()) {
            return None;
        }
        only(keys, route, self.sni, deadline).await.ok()
    }

    /// The answer's chain, and what the server has beside it.
    pub(super) async fn with_beside(
        self,
        answer: Result<Handshake, ProbeError>,
        route: &Route,
        deadline: Duration,
    ) -> (Answer, Option<Beside>) {
        match answer {
            Ok(Handshake { chain, preferred, open }) => {
                drop(open);
                let beside = self.beside(&chain, preferred, route, deadline).await;
                (Ok(chain), beside)
            }
            Err(silence) => (Err(silence), None),
        }
    }

    /// What the server has beside the pair that it showed, where no certificate of ours is expected there. `preferred`:
    /// what it shows to a client that takes every algorithm, where that is another pair.
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

async fn only(keys: KeyAlgorithm, route: &Route, sni: &DnsName, deadline: Duration) -> Result<Handshake, ProbeError> {
    let shown = connect(route, sni, Some(keys), deadline).await?;
    if algorithm(&shown.chain) == Some(keys) { Ok(shown) } else { Err(another_key()) }
}

fn another_key() -> ProbeError {
    ProbeError::Tls("another key was shown".to_owned())
}
