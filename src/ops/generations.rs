//! Lists the stored generations of a certificate and where each was delivered, for an operator who wants to go back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, Fingerprint, Generation, NodeName};
use crate::context::clock;
use crate::model::{Held, Kept, PersistedState, Revoked, Stored};
use crate::plan::hold;
use crate::report::minute;
use crate::store::{Store, StoreError};

/// Version of the JSON shape.
const SCHEMA: &str = "certd.generations/1";

#[derive(Debug, Serialize)]
pub struct Generations {
    pub schema: &'static str,
    pub at: Timestamp,
    pub certificate: CertName,
    /// While the hold lasts.
    pub held: Option<Held>,
    /// The newest first.
    pub generations: Vec<Listed>,
}

#[derive(Debug, Serialize)]
pub struct Listed {
    pub generation: Generation,
    /// The newest complete one, which nodes should serve unless another is held.
    pub current: bool,
    pub held: bool,
    /// `None`: it is incomplete.
    pub leaf: Option<Details>,
    /// Nodes whose last delivery was of this one.
    pub delivered: Vec<Delivered>,
    /// The argument for `certd deploy NAME --generation`.
    pub deploy: Option<String>,
    /// Why that command would refuse it.
    pub refused: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Details {
    pub fingerprint: Fingerprint,
    pub serial: String,
    pub issuer: String,
    /// Host of the CA's directory.
    pub ca: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub seconds_left: i64,
    /// Part of the lifetime, 0 to 100.
    pub percent_left: i64,
    pub revoked: Option<Revoked>,
}

#[derive(Debug, Serialize)]
pub struct Delivered {
    pub node: NodeName,
    pub at: Timestamp,
}

/// # Errors
/// The state directory cannot be read.
pub fn list(store: &Store, name: &CertName) -> Result<Generations, StoreError> {
    let now = clock::now();
    let (stored, state) = (store.stored(name)?, store.state()?);
    let last = store.last_deliveries(name)?;
    let all = store.generations(name)?;
    let listed = all.iter().rev().map(|generation| {
        let kept = store.kept(name, generation);
        let held = state.held.get(name).is_some_and(|held| held.generation == *generation);
        let refused = match &kept {
            Ok(kept) => refused(name, kept, &stored, &state, now),
            Err(error) => Some(format!("it is incomplete: {error}")),
        };
        Listed {
            generation: generation.clone(),
            current: stored.current.as_ref().is_some_and(|kept| kept.generation == *generation),
            held,
            leaf: kept.ok().map(|kept| Details::of(kept, &state, now)),
            delivered: delivered(&last, generation),
            deploy: refused.is_none().then(|| shortest(&all, generation)),
            refused,
        }
    });
    let generations = listed.collect();
    let held = hold::held(name, &stored, &state, now).cloned();
    Ok(Generations { schema: SCHEMA, at: now, certificate: name.clone(), held, generations })
}

impl Details {
    fn of(kept: Kept, state: &PersistedState, now: Timestamp) -> Self {
        let Kept { leaf, meta, .. } = kept;
        let (life, left) = (leaf.not_after.duration_since(leaf.not_before), leaf.not_after.duration_since(now));
        let percent = left.as_secs().saturating_mul(100).checked_div(life.as_secs()).unwrap_or(0);
        Self {
            fingerprint: leaf.fingerprint,
            serial: leaf.serial,
            issuer: leaf.issuer,
            ca: meta.ca,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            seconds_left: left.as_secs(),
            percent_left: percent.clamp(0, 100),
            revoked: state.revoked.get(&leaf.fingerprint).cloned(),
        }
    }
}

/// Why a hold would be refused, as far as is known without a handshake; `deploy` also checks the chain.
fn refused(name: &CertName, kept: &Kept, stored: &Stored, state: &PersistedState, now: Timestamp) -> Option<String> {
    let leaf = &kept.leaf;
    if leaf.not_after <= now {
        return Some(format!("it expired {}", minute(leaf.not_after)));
    }
    let held = Held {
        generation: kept.generation.clone(),
        fingerprint: leaf.fingerprint,
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        since: now,
        by: None,
    };
    let mut state = PersistedState { revoked: state.revoked.clone(), ..PersistedState::default() };
    state.held.insert(name.clone(), held);
    if hold::held(name, stored, &state, now).is_some() {
        return None;
    }
    Some(match state.revoked.get(&leaf.fingerprint) {
        Some(revoked) => format!("it was given up {}", minute(revoked.at)),
        None => format!("it expires {}, which is too soon to hold it", minute(leaf.not_after)),
    })
}

fn delivered(last: &BTreeMap<NodeName, (Timestamp, Generation)>, generation: &Generation) -> Vec<Delivered> {
    // A renumbered generation is the same certificate.
    let of_it = last.iter().filter(|(_, (_, other))| other.serial() == generation.serial());
    of_it.map(|(node, (at, _))| Delivered { node: node.clone(), at: *at }).collect()
}

/// Its number if that is unambiguous, or else its full name.
fn shortest(all: &[Generation], generation: &Generation) -> String {
    let number = generation.number().to_string();
    let whole = generation.to_string();
    if hold::choose(all, &number).is_ok_and(|chosen| chosen == generation) { number } else { whole }
}
