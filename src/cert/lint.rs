//! Is a chain one that every client accepts? Checked before it is kept and again for what is served.

use jiff::Timestamp;

use super::{Chain, NameSet, Pair};

/// The roots that visitors trust, or the one that the configuration names. Built by whoever may read files.
#[derive(Clone, Debug)]
pub struct Roots {
    #[expect(dead_code, reason = "read by the lint")]
    store: std::sync::Arc<rustls::RootCertStore>,
}

/// One thing wrong with a chain. The text says what, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("placeholder {0}")]
    Placeholder(String),
}

/// Everything that must be true of an issued pair before it is kept: names equal, leaf first, each link signed, a path
/// to a trusted root, valid at `now`, lifetime sane. Empty: keep it.
pub fn lint(_pair: &Pair, _names: &NameSet, _roots: &Roots, _now: Timestamp) -> Vec<Flaw> {
    todo!()
}

/// Whether a client that trusts `roots` accepts the chain at `now` (names and dates aside: those have verdicts of their own).
pub fn trusted(_chain: &Chain, _roots: &Roots, _now: Timestamp) -> Result<(), Flaw> {
    todo!()
}
