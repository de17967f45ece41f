//! Revocation lists: when to ask for one, and what an answer changes. A certificate that its CA has revoked is refused by
//! browsers, however long it would still be valid.

use jiff::{SignedDuration, Timestamp};

use crate::cert::{CertName, Fingerprint};
use crate::observed::{Crl, Observed, Revoked, RevokedByCa, Stored, Tried};

use super::backoff;

/// Lists are made anew every few hours or days, and browsers take their own extracts of them at such a pace too.
const EVERY: SignedDuration = SignedDuration::from_hours(24);
/// After a failure: a list that cannot be had decides nothing.
const AGAIN: SignedDuration = SignedDuration::from_hours(6);

/// The certificates whose lists this pass asks for.
pub fn due(observed: &Observed, now: Timestamp) -> Vec<CertName> {
    let asked = &observed.asked;
    if !asked.may_issue || !asked.nodes.is_empty() {
        return Vec::new();
    }
    let is_due = |stored: &Stored| {
        let Some(kept) = &stored.current else { return false };
        match observed.tried.crls.get(&kept.leaf.fingerprint) {
            None => true,
            // It names none, or what is revoked stays so.
            Some(crl) if crl.url.is_none() || crl.revoked.is_some() => false,
            Some(crl) => {
                let wait = if crl.failure.is_some() { AGAIN } else { EVERY };
                !backoff::counts(crl.asked_at, now) || now.duration_since(crl.asked_at) >= wait
            }
        }
    };
    observed.store.iter().filter(|(_, stored)| is_due(stored)).map(|(name, _)| name.clone()).collect()
}

/// Keeps an answer. What the CA has revoked counts as given up, from the day that it says.
pub fn learned(tried: &mut Tried, fingerprint: Fingerprint, mut crl: Crl, now: Timestamp) {
    if let Some(before) = tried.crls.get(&fingerprint) {
        crl.revoked = crl.revoked.or(before.revoked);
        if crl.failure.is_some() {
            crl.next_update = before.next_update;
        }
    }
    if let Some(RevokedByCa { at, reason }) = crl.revoked {
        tried.revoked.entry(fingerprint).or_insert(Revoked { at: at.min(now), reason });
    }
    tried.crls.insert(fingerprint, crl);
    tried.crls.retain(|_, crl| crl.not_after > now);
}

/// What a list said of this certificate, if it said that it is revoked.
pub fn revoked(tried: &Tried, fingerprint: &Fingerprint) -> Option<RevokedByCa> {
    tried.crls.get(fingerprint)?.revoked
}
