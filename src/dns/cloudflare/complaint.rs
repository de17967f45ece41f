//! What the API says against a call: a code, a message, and what lies behind it.

use serde::Deserialize;

/// Nested messages shown of one complaint.
const LONGEST_CHAIN: usize = 5;

#[derive(Deserialize)]
pub(super) struct Complaint {
    #[serde(default)]
    pub(super) code: u64,
    #[serde(default)]
    message: String,
    /// What lies behind it, often the only one that helps: "Invalid request headers" has "Invalid format for Authorization
    /// header".
    #[serde(default)]
    error_chain: Vec<Self>,
}

impl Complaint {
    /// It, and those behind it.
    pub(super) fn all(&self) -> Vec<&Self> {
        let behind = self.error_chain.iter().flat_map(Self::all);
        core::iter::once(self).chain(behind).take(LONGEST_CHAIN).collect()
    }

    pub(super) fn text(&self) -> String {
        let behind = self.all().into_iter().skip(1).map(|one| format!(": {} (code {})", one.message, one.code));
        core::iter::once(self.message.clone()).chain(behind).collect()
    }
}
