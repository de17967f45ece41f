//! The directory's metadata (RFC 8555 section 7.1.1): what an operator may want to know before ordering, such as the
//! profiles.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AcmeError, Http};
use crate::text::escape;

/// Profiles and identities; more than any CA has.
const MOST: usize = 50;
const LONGEST: usize = 300;

/// All texts are escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    pub terms: Option<String>,
    pub website: Option<String>,
    /// The CA's names in CAA records (RFC 8659).
    pub caa_identities: Vec<String>,
    pub external_account_required: bool,
    /// Whether the CA suggests renewal times (RFC 9773).
    pub renewal_information: bool,
    /// Whether an account's key can be changed (RFC 8555 section 7.3.5).
    #[serde(skip)]
    pub key_change: bool,
    /// Name and description (draft-ietf-acme-profiles).
    pub profiles: BTreeMap<String, String>,
}

/// Fetches the directory unless it is cached.
pub async fn about(http: &Http) -> Result<About, AcmeError> {
    let directory = http.directory().await?;
    let meta = directory.meta;
    let text = |text: String| escape(&text, LONGEST);
    Ok(About {
        terms: meta.terms_of_service.map(text),
        website: meta.website.map(text),
        caa_identities: meta.caa_identities.into_iter().take(MOST).map(text).collect(),
        external_account_required: meta.external_account_required,
        renewal_information: directory.renewal_info.is_some(),
        key_change: directory.key_change.is_some(),
        profiles: meta.profiles.into_iter().take(MOST).map(|(name, what)| (text(name), text(what))).collect(),
    })
}
