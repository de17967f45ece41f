//! Revocation lists: when to fetch one, and what an answer changes. Browsers refuse a certificate that its CA has
//! revoked, however long it would still be valid.

use jiff::{SignedDuration, Timestamp};

use crate::cert::RevokedByCa;
use crate::cert::{CertName, Fingerprint, Generation};
use crate::model::{Crl, Observed, PersistedState, Revoked};

use super::{backoff, hold};

/// CAs publish lists every few hours or days, and browsers update their own extracts at the same pace.
const EVERY: SignedDuration = SignedDuration::from_hours(24);
/// After a failure: a missing list decides nothing.
const AGAIN: SignedDuration = SignedDuration::from_hours(6);

/// The generations whose lists this pass fetches.
pub fn due(observed: &Observed, now: Timestamp) -> Vec<(CertName, Generation)> {
    let asked = &observed.asked;
    if !asked.may_issue || !asked.nodes.is_empty() {
        return Vec::new();
    }
    let is_due = |fingerprint: &Fingerprint| match observed.state.crls.get(fingerprint) {
        None => true,
        // The certificate names no list, or it is revoked for good.
        Some(crl) if crl.url.is_none() || crl.revoked.is_some() => false,
        Some(crl) => {
            let wait = if crl.failure.is_some() { AGAIN } else { EVERY };
            !backoff::counts(crl.asked_at, now) || now.duration_since(crl.asked_at) >= wait
        }
    };
    let due = desired(observed, now).filter(|(_, _, fingerprint)| is_due(fingerprint));
    due.map(|(name, generation, _)| (name, generation)).collect()
}

/// All CRLs, due or not.
pub fn all(observed: &Observed, now: Timestamp) -> Vec<(CertName, Generation)> {
    desired(observed, now).map(|(name, generation, _)| (name, generation)).collect()
}

/// The stored generation, and the held one, which visitors get.
fn desired(observed: &Observed, now: Timestamp) -> impl Iterator<Item = (CertName, Generation, Fingerprint)> {
    observed.store.iter().flat_map(move |(name, stored)| {
        let newest = stored.current.as_ref().map(|kept| (kept.generation.clone(), kept.leaf.fingerprint));
        let held = hold::held(name, stored, &observed.state, now);
        let held = held.map(|held| (held.generation.clone(), held.fingerprint));
        let other = held.filter(|(_, held)| newest.as_ref().is_none_or(|(_, newest)| newest != held));
        newest.into_iter().chain(other).map(|(generation, fingerprint)| (name.clone(), generation, fingerprint))
    })
}

/// Records an answer. A certificate that the CA has revoked counts as given up from the date in the list.
pub fn record(state: &mut PersistedState, fingerprint: Fingerprint, mut crl: Crl, now: Timestamp) {
    if let Some(before) = state.crls.get(&fingerprint) {
        crl.revoked = crl.revoked.or(before.revoked);
        if crl.failure.is_some() {
            crl.next_update = before.next_update;
        }
    }
    if let Some(RevokedByCa { at, reason }) = crl.revoked {
        state.revoked.entry(fingerprint).or_insert(Revoked { at: at.min(now), reason });
    }
    state.crls.insert(fingerprint, crl);
    state.crls.retain(|_, crl| crl.not_after > now);
}

/// The revocation of this certificate, if a list has it.
pub fn revoked(state: &PersistedState, fingerprint: &Fingerprint) -> Option<RevokedByCa> {
    state.crls.get(fingerprint)?.revoked
}
