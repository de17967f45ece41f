//! A tenth of the lifetime before a renewal, everything but the order is tried, so that what would fail is known in
//! time.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cert::{CertName, NodeName};
use crate::config::{Certificate, Config};
use crate::model::{Kept, Observed, Rehearsal, Stored};

use super::backoff;
use super::renewal::{ari_of, due, lifetime};

/// Lead of a rehearsal, as a part of the lifetime.
const AHEAD: i32 = 10;
/// A failed rehearsal is repeated after this, or after …
const AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// … this part of the lifetime, whichever is shorter: a six-day certificate has no days to wait.
const AGAIN_PART: i32 = 40;

/// `renew --dry-run`'s work, for one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Rehearse {
    pub certificate: CertName,
    pub renew_at: Timestamp,
    /// An earlier rehearsal failed.
    pub again: bool,
    /// The nodes to prepare; paused ones are left out.
    pub nodes: Vec<NodeName>,
}

/// When the rehearsal of a renewal at `renew_at` is due.
pub fn rehearse_at(kept: &Kept, renew_at: Timestamp) -> Timestamp {
    let ahead = lifetime(&kept.leaf) / AHEAD;
    renew_at.saturating_sub(ahead).unwrap_or(Timestamp::MIN).max(kept.leaf.not_before)
}

/// Only a complete pass rehearses: an operator's command does not wait for it.
pub(super) fn decide(
    config: &Config,
    certificate: &Certificate,
    stored: &Stored,
    observed: &Observed,
    now: Timestamp,
) -> Option<Rehearse> {
    let asked = &observed.asked;
    if !asked.may_issue || !asked.wants_every_node() || !asked.certificates.is_empty() {
        return None;
    }
    let kept = stored.current.as_ref()?;
    let (renew_at, _) = due(&kept.leaf, ari_of(observed, &certificate.name, &kept.leaf), observed.state.seed);
    if now < rehearse_at(kept, renew_at) || now >= renew_at {
        return None;
    }
    let before = last(observed, &certificate.name, kept);
    match before {
        Some(rehearsal) if rehearsal.failures.is_empty() => return None,
        Some(rehearsal) if backoff::counts(rehearsal.at, now) => {
            let again = AGAIN.min(lifetime(&kept.leaf) / AGAIN_PART);
            if now.duration_since(rehearsal.at) < again {
                return None;
            }
        }
        _ => {}
    }
    let nodes = certificate.nodes.iter().filter(|node| config.paused_until(node, now).is_none()).cloned().collect();
    Some(Rehearse { certificate: certificate.name.clone(), renew_at, again: before.is_some(), nodes })
}

/// The last rehearsal for this certificate's renewal.
pub fn last<'a>(observed: &'a Observed, name: &CertName, kept: &Kept) -> Option<&'a Rehearsal> {
    observed.state.rehearsals.get(name).filter(|rehearsal| rehearsal.fingerprint == kept.leaf.fingerprint)
}
