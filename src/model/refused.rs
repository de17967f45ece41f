//! Why a visitor's client refuses what a handshake shows.

use jiff::Timestamp;

use super::Seen;
use crate::cert::{DnsName, Leaf};

/// The first reason that a browser gives too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate's validity has not begun")]
    NotYetValid,
    #[error("a certificate for another name")]
    WrongName,
    #[error("clients refuse the certificate: {0}")]
    Untrusted(String),
}

impl Seen {
    /// `None`: a client accepts it, or no handshake was completed.
    pub fn refused(&self, sni: &DnsName, now: Timestamp) -> Option<Refused> {
        match self {
            Self::Leaf { leaf, distrust } => refused(leaf, distrust.as_ref(), sni, now),
            Self::Silence(_) => None,
        }
    }
}

fn refused(leaf: &Leaf, distrust: Option<&String>, sni: &DnsName, now: Timestamp) -> Option<Refused> {
    if now >= leaf.not_after {
        return Some(Refused::Expired);
    }
    if now < leaf.not_before {
        return Some(Refused::NotYetValid);
    }
    if !leaf.names.covers(sni) {
        return Some(Refused::WrongName);
    }
    distrust.map(|why| Refused::Untrusted(why.clone()))
}
