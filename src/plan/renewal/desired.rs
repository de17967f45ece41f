//! The configuration compared with what is stored, served and pending.

use jiff::Timestamp;

use crate::config::{Acme, Certificate, Config};
use crate::model::{Intent, KEY_COMPROMISE, Kept, PersistedState, Seen, Stored, UNKNOWN_CA};
use crate::plan::ServedBy;

/// The profile of a certificate at one CA. Profile names are the CA's own, so the certificate's profile applies to the
/// preferred CA alone.
pub(super) fn profile_at(ca: &Acme, certificate: &Certificate, config: &Config) -> Option<String> {
    if ca.host == config.acme.host { certificate.profile.clone() } else { ca.profile.clone() }
}

/// The desired profile, when it differs from the certificate's. The CA that issued the certificate decides: coming from
/// a fallback is no reason to renew.
pub(super) fn profile_changed(kept: &Kept, certificate: &Certificate, config: &Config) -> Option<Option<String>> {
    if kept.meta.ca == UNKNOWN_CA {
        return None;
    }
    let issuer = config.ca(&kept.meta.ca).unwrap_or(&config.acme);
    let desired = profile_at(issuer, certificate, config);
    (kept.meta.profile != desired).then_some(desired)
}

/// An intent is resumed while the configuration still asks for the same.
pub(super) fn still_wanted(
    intent: &Intent,
    certificate: &Certificate,
    stored: &Stored,
    keep_key: bool,
    config: &Config,
) -> bool {
    let Some(ca) = config.ca(&intent.ca) else { return false };
    let ours = |fingerprint| {
        let current = stored.current.as_ref().is_some_and(|kept| kept.leaf.fingerprint == fingerprint);
        current || stored.former.contains(&fingerprint)
    };
    let key = match intent.key_of {
        None => !keep_key,
        Some(fingerprint) => keep_key && ours(fingerprint),
    };
    key && intent.names == certificate.names
        && intent.key_type == certificate.key_type
        && intent.profile == profile_at(ca, certificate, config)
}

/// Whether the key of the stored certificate is reused: the configuration wants it, its type is right, and it is not
/// compromised.
pub(super) fn keeps_key(certificate: &Certificate, stored: &Stored, state: &PersistedState) -> bool {
    let Some(kept) = &stored.current else { return false };
    // A key may have served several certificates. What was issued after one of them was revoked has another key.
    let compromised = stored.former.iter().chain([&kept.leaf.fingerprint]).any(|fingerprint| {
        let revoked = state.revoked.get(fingerprint).filter(|revoked| revoked.reason == KEY_COMPROMISE);
        revoked.is_some_and(|revoked| kept.meta.issued_at <= revoked.at)
    });
    certificate.reuse_key && kept.meta.key_type == certificate.key_type && !compromised
}

/// Start of validity of the youngest certificate for these names, among those served and stored. Certificates that
/// clients would refuse do not count.
pub(super) fn served_since(
    certificate: &Certificate,
    stored: &Stored,
    served: &ServedBy<'_>,
    now: Timestamp,
) -> Option<Timestamp> {
    let served = served.of_certificate(&certificate.name).iter().filter_map(|served| match &served.seen {
        Seen::Leaf { leaf, distrust: None } => Some(&**leaf),
        _ => None,
    });
    let leaves = served.chain(stored.current.as_ref().map(|kept| &kept.leaf));
    let valid = leaves.filter(|leaf| leaf.names == certificate.names && now < leaf.not_after);
    valid.map(|leaf| leaf.not_before).max()
}
