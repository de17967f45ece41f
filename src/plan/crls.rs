//! Revocation lists: when to ask for one, and what an answer changes. A certificate that its CA has revoked is refused by
//! browsers, however long it would still be valid.

use jiff::{SignedDuration, Timestamp};

use crate::cert::RevokedByCa;
use crate::cert::{CertName, Fingerprint, Generation};
use crate::model::{Crl, Observed, PersistedState, Revoked};

use super::{backoff, hold};

/// Lists are made anew every few hours or days, and browsers take their own extracts of them at such a pace too.
const EVERY: SignedDuration = SignedDuration::from_hours(24);
/// After a failure: a list that cannot be had decides nothing.
const AGAIN: SignedDuration = SignedDuration::from_hours(6);

/// The generations whose lists this pass asks for.
pub fn due(observed: &Observed, now: Timestamp) -> Vec<(CertName, Generation)> {
    let asked = &observed.asked;
    if !asked.may_issue || !asked.nodes.is_empty() {
        return Vec::new();
    }
    let is_due = |fingerprint: &Fingerprint| match observed.state.crls.get(fingerprint) {
        None => true,
        // It names none, or what is revoked stays so.
        Some(crl) if crl.url.is_none() || crl.revoked.is_some() => false,
        Some(crl) => {
            let wait = if crl.failure.is_some() { AGAIN } else { EVERY };
            !backoff::counts(crl.asked_at, now) || now.duration_since(crl.asked_at) >= wait
        }
    };
    let due = desired(observed, now).filter(|(_, _, fingerprint)| is_due(fingerprint));
    due.map(|(name, generation, _)| (name, generation)).collect()
}

/// Those of all, due or not.
pub fn all(observed: &Observed, now: Timestamp) -> Vec<(CertName, Generation)> {
    desired(observed, now).map(|(name, generation, _)| (name, generation)).collect()
}

/// What is stored, and what is held instead: visitors get that one.
fn desired(observed: &Observed, now: Timestamp) -> impl Iterator<Item = (CertName, Generation, Fingerprint)> {
    observed.store.iter().flat_map(move |(name, stored)| {
        let newest = stored.current.as_ref().map(|kept| (kept.generation.clone(), kept.leaf.fingerprint));
        let held = hold::held(name, stored, &observed.state, now);
        let held = held.map(|held| (held.generation.clone(), held.fingerprint));
        let other = held.filter(|(_, held)| newest.as_ref().is_none_or(|(_, newest)| newest != held));
        newest.into_iter().chain(other).map(|(generation, fingerprint)| (name.clone(), generation, fingerprint))
    })
}

/// Keeps an answer. What the CA has revoked counts as given up, from the day that it says.
pub fn learned(state: &mut PersistedState, fingerprint: Fingerprint, mut crl: Crl, now: Timestamp) {
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

/// What a list said of this certificate, if it said that it is revoked.
pub fn revoked(state: &PersistedState, fingerprint: &Fingerprint) -> Option<RevokedByCa> {
    state.crls.get(fingerprint)?.revoked
}
