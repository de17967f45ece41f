//! Why bytes are not what they should be.

/// Bytes that are not the certificate or key that they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Malformed {
    /// What it should have been: "certificate 2 of the chain".
    pub what: String,
    pub why: String,
}

impl Malformed {
    pub(super) fn chain(why: String) -> Self {
        Self { what: "the chain".to_owned(), why }
    }
}
