//! The desired generation: the newest, or the one that an operator holds.
//!
//! A hold outlasts every renewal, but never its certificate: it ends when that certificate is revoked, or when so
//! little of its life is left that visitors would soon meet an expired one.

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, Fingerprint, Generation};
use crate::model::{Held, Observed, PersistedState, Stored};

/// In the last twentieth of its lifetime a certificate is too near its end for caution: holds end, and maintenance
/// windows no longer apply. Renewal's emergency floor is the same: with four passes a day it leaves several tries.
pub const NEAR_THE_END: i32 = 20;

/// The generation that nodes should serve.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    pub generation: &'a Generation,
    pub fingerprint: Fingerprint,
    /// Set when the generation is held; it may not be the newest.
    pub held: Option<&'a Held>,
}

/// Why a hold ended without being released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "ended", rename_all = "snake_case")]
pub enum HoldEnd {
    /// The held certificate is revoked.
    Revoked { at: Timestamp },
    /// The held certificate ends soon, and a later one is stored.
    NearItsEnd { not_after: Timestamp },
}

/// `None`: nothing is stored yet.
pub fn desired<'a>(
    name: &CertName,
    stored: &'a Stored,
    state: &'a PersistedState,
    now: Timestamp,
) -> Option<Desired<'a>> {
    let kept = stored.current.as_ref()?;
    let newest = Desired { generation: &kept.generation, fingerprint: kept.leaf.fingerprint, held: None };
    Some(held(name, stored, state, now).map_or(newest, |held| {
        // The held one may be the newest itself, renumbered since.
        let generation = if held.fingerprint == newest.fingerprint { newest.generation } else { &held.generation };
        Desired { generation, fingerprint: held.fingerprint, held: Some(held) }
    }))
}

/// The hold of a certificate, while it lasts.
pub fn held<'a>(name: &CertName, stored: &Stored, state: &'a PersistedState, now: Timestamp) -> Option<&'a Held> {
    state.held.get(name).filter(|held| end(held, stored, state, now).is_none())
}

/// Holds that have ended.
pub fn ended(observed: &Observed, now: Timestamp) -> Vec<(CertName, Held, HoldEnd)> {
    let of = |(name, held): (&CertName, &Held)| {
        let end = end(held, observed.store.get(name)?, &observed.state, now)?;
        Some((name.clone(), held.clone(), end))
    };
    observed.state.held.iter().filter_map(of).collect()
}

/// Finds a generation by its folder's name, its number, its serial, or the beginning of one of them.
///
/// # Errors
/// The candidates, newest first: none, or several.
pub fn choose<'a>(generations: &'a [Generation], written: &str) -> Result<&'a Generation, Vec<&'a Generation>> {
    let written = written.to_ascii_lowercase();
    let begins = |generation: &&Generation| {
        generation.to_string().starts_with(&written) || generation.serial().starts_with(&written)
    };
    let exact = |generation: &Generation| {
        generation.to_string() == written
            || generation.serial() == written
            || generation.number().to_string() == written
    };
    let candidates: Vec<&Generation> = generations.iter().rev().filter(begins).collect();
    let exactly: Vec<&Generation> = candidates.iter().copied().filter(|generation| exact(generation)).collect();
    match (&exactly[..], &candidates[..]) {
        ([one], _) | (_, [one]) if !written.is_empty() => Ok(one),
        _ => Err(candidates),
    }
}

/// When the hold ends by itself, if nothing else happens.
pub fn ends(held: &Held) -> Timestamp {
    let lifetime = held.not_after.duration_since(held.not_before);
    held.not_after.saturating_sub(lifetime / NEAR_THE_END).unwrap_or(Timestamp::MIN)
}

fn end(held: &Held, stored: &Stored, state: &PersistedState, now: Timestamp) -> Option<HoldEnd> {
    if let Some(revoked) = state.revoked.get(&held.fingerprint) {
        return Some(HoldEnd::Revoked { at: revoked.at });
    }
    // Releasing the hold gains nothing when the stored certificate ends no later.
    let better = stored.current.as_ref().is_some_and(|kept| kept.leaf.not_after > held.not_after);
    (better && now >= ends(held)).then_some(HoldEnd::NearItsEnd { not_after: held.not_after })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_found_by_a_unique_prefix_of_its_name_or_serial() {
        let generations = ["20261123061500-04c3", "20261123061501-04d4", "20261224061500-20261123061500"];
        let generations: Vec<Generation> = generations.iter().map(|text| text.parse().unwrap()).collect();
        let chosen = |text: &str| choose(&generations, text).map(ToString::to_string).map_err(|many| many.len());
        let first = Ok("20261123061500-04c3".to_owned());
        assert_eq!(chosen("20261123061500-04c3"), first);
        assert_eq!(chosen("04C3"), first);
        assert_eq!(chosen("04c"), first);
        assert_eq!(chosen("20261123061500-"), first);
        assert_eq!(chosen("202612"), Ok("20261224061500-20261123061500".to_owned()));
        assert_eq!(chosen("04"), Err(2));
        assert_eq!(chosen("20261123061500"), Err(2), "the number of one and the serial of another");
        assert_eq!(chosen("ff"), Err(0));
        assert_eq!(chosen(""), Err(3), "nothing is no choice, however few there are");
        assert_eq!(choose(&generations[..1], ""), Err(vec![&generations[0]]));
    }
}
