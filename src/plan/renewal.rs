//! Is a new certificate due? An ordered chain of named reasons; the first that holds decides.

mod choice;
mod due;
mod meant;

pub use choice::{Obstacle, PassedOver};
pub use due::{Basis, ari_of, due, lifetime};

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cert::{CertName, DnsName, KeyType, NameSet, NodeName};
use crate::config::{Acme, Certificate, Config};
use crate::model::{Ari, Finding, Intent, Kept, Observed, Stored};

use super::fence::{self, Above};
use super::ledger::{self, Full, Question};
use super::{backoff, hold};
use choice::is_the_cas;
use meant::{keeps_key, profile_at, profile_changed, served_since, still_meant};

/// Under this part of the lifetime the ledger's reserve may be used.
const RESERVE_BELOW: i32 = 6;

/// A fully specified order: execution has nothing left to choose.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct Issue {
    pub certificate: CertName,
    /// Host of the CA.
    pub ca: String,
    pub reason: RenewalReason,
    pub names: NameSet,
    pub key_type: KeyType,
    /// What is meant for this CA.
    pub profile: Option<String>,
    /// The key of the stored certificate is used again.
    pub keep_key: bool,
    /// ARI identifier of the certificate that this order replaces (RFC 9773 section 5).
    pub replaces: Option<String>,
    /// The order is made inside the window of what it replaces.
    pub exempt: bool,
    /// CAs that come before this one and are not asked now.
    pub passed_over: Vec<PassedOver>,
    /// A person forces: what was rejected of an unfinished order is ordered anew, and not fetched again for a day.
    #[serde(skip)]
    pub insist: bool,
    /// The ledger's reserve may be used, for an order after this one too.
    #[serde(skip)]
    pub emergency: bool,
    /// A certificate that ends before this one does is no gain: the stored one is replaced only for its age.
    #[serde(skip)]
    pub outlives: Option<Timestamp>,
    /// Since when the youngest certificate for these names is valid, of those that nodes serve and the store holds.
    #[serde(skip)]
    pub youngest: Option<Timestamp>,
    /// The greatest generation number in the store and in any node's answer; the new one is above it.
    pub seen: u64,
    /// The node that holds it, where it is none of the store's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<Above>,
    /// Nodes that the next round will deliver to.
    pub then: Vec<NodeName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum RenewalReason {
    /// An earlier run set out to issue and did not finish.
    Resumed {
        begun_at: Timestamp,
        order_url: Option<String>,
    },
    Forced,
    /// The store has no certificate of this name.
    Nothing,
    /// A person has given the stored certificate up, or its CA has revoked it.
    Revoked {
        at: Timestamp,
        code: u8,
    },
    NamesChanged {
        missing: Vec<DnsName>,
        extra: Vec<DnsName>,
    },
    KeyTypeChanged {
        from: KeyType,
        to: KeyType,
    },
    ProfileChanged {
        from: Option<String>,
        to: Option<String>,
    },
    /// The instant that `basis` gave has come.
    Due {
        at: Timestamp,
        not_after: Timestamp,
        basis: Basis,
    },
}

/// Why no certificate is ordered now.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum RenewalWait {
    NotDue {
        at: Timestamp,
        not_after: Timestamp,
        basis: Basis,
        /// When the CA is asked again whether that still holds. `None`: it cannot be asked.
        ask_again: Option<Timestamp>,
    },
    /// Due, and a former attempt failed.
    BackOff {
        /// Host of the CA that is waited for.
        ca: String,
        until: Timestamp,
        failures: u32,
        failure: Box<Finding>,
        /// The CA itself said when to come again: `--force` does not come sooner.
        by_the_ca: bool,
        /// The other CAs that cannot be asked either, or not sooner.
        passed_over: Vec<PassedOver>,
        /// When the end is so near that more is allowed. `None`: it is already, or nothing is stored.
        emergency_from: Option<Timestamp>,
    },
    /// Due, and a limit stands in the way.
    Ledger { ca: String, full: Full, passed_over: Vec<PassedOver>, emergency_from: Option<Timestamp> },
    /// This command delivers and does not issue.
    MayNotIssue { stored: bool },
    /// This very pass has issued one, and whatever became of it, no pass issues two.
    IssuedNow,
}

impl RenewalWait {
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::NotDue { at, ask_again, .. } => Some(earlier(*at, *ask_again)),
            Self::BackOff { until, emergency_from, .. } => Some(earlier(*until, *emergency_from)),
            Self::Ledger { full, emergency_from, .. } => Some(earlier(full.until(), *emergency_from)),
            Self::MayNotIssue { .. } | Self::IssuedNow => None,
        }
    }
}

fn earlier(instant: Timestamp, other: Option<Timestamp>) -> Timestamp {
    other.map_or(instant, |other| other.min(instant))
}

/// `planned`: orders at each CA, by its host, that this plan makes for other certificates.
///
/// # Errors
/// Why not.
pub(super) fn decide(
    config: &Config,
    certificate: &Certificate,
    stored: &Stored,
    observed: &Observed,
    planned: &BTreeMap<String, usize>,
    now: Timestamp,
) -> Result<Issue, RenewalWait> {
    let current = stored.current.as_ref();
    if !observed.asked.may_issue {
        return Err(RenewalWait::MayNotIssue { stored: current.is_some() });
    }
    let ari = current.and_then(|kept| ari_of(observed, &certificate.name, &kept.leaf));
    let keep_key = keeps_key(certificate, stored, &observed.state);
    let intent = stored.pending.as_ref().filter(|intent| still_meant(intent, certificate, stored, keep_key, config));
    let by_itself = reason(config, certificate, stored, observed, ari, now);
    let outlives = match (&by_itself, current) {
        (Ok(RenewalReason::Due { basis: Basis::Lifetime { .. }, .. }), Some(kept)) => Some(kept.leaf.not_after),
        _ => None,
    };
    let forced = observed.asked.force.contains(&certificate.name);
    let mut reason = match intent {
        Some(intent) => RenewalReason::Resumed { begun_at: intent.begun_at, order_url: intent.order_url.clone() },
        None => by_itself?,
    };
    if observed.issued.contains(&certificate.name) {
        return Err(RenewalWait::IssuedNow);
    }

    let emergency = current.is_some_and(|kept| is_emergency(kept, ari, observed, now));
    // A second later, less than that part is left.
    let before = current.map(|kept| (kept, lifetime(&kept.leaf) / RESERVE_BELOW - SignedDuration::from_secs(1)));
    let emergency_from = before.and_then(|(kept, span)| kept.leaf.not_after.checked_sub(span).ok());
    let emergency_from = emergency_from.filter(|from| *from > now);
    let cadence = current.and_then(|kept| backoff::cadence(&kept.leaf, now));
    let attempts = observed.state.issuance.get(&certificate.name);
    let attempts = || attempts.into_iter().flatten();
    let held_back = |ca: &str, attempts| PassedOver::by_attempts(ca, attempts, cadence, forced, now);
    // What is no CA's doing would meet each of them alike.
    let elsewhere = attempts().filter(|(_, attempts)| !is_the_cas(&attempts.failure));
    let elsewhere = elsewhere.filter_map(|(ca, attempts)| held_back(ca, attempts));
    if let Some(held) = elsewhere.max_by_key(|held| held.until) {
        return Err(held.into_wait(Vec::new(), emergency_from));
    }

    let counted = intent.is_some_and(|intent| ledger::holds_finalize(&observed.ledger, intent));
    let terms =
        |ca: &Acme| Terms::of(ca, certificate, stored, intent.map(|intent| (intent, counted)), ari, observed, now);
    let obstacle = |ca: &Acme| {
        let tried = attempts().find(|(host, _)| **host == ca.host);
        let tried = tried.and_then(|(_, attempts)| held_back(&ca.host, attempts));
        let Terms { exempt, counted, .. } = terms(ca);
        let planned = planned.get(&ca.host).copied().unwrap_or_default();
        let (names, per_week) = (&certificate.names, ca.certificates_per_week);
        let question = Question { ca: &ca.host, names, per_week, emergency, exempt, planned };
        let full = if counted { None } else { ledger::room(&observed.ledger, question, now).err() };
        let full = full.map(|full| PassedOver::by_ledger(&ca.host, full));
        full.into_iter().chain(tried).max_by_key(|held| held.until)
    };
    // An order that was begun is ended where it was begun; when a certificate may have come of it, nowhere else.
    let begun = intent.filter(|intent| intent.order_url.is_some()).map(|intent| intent.ca.as_str());
    let first = begun.and_then(|host| config.ca(host));
    let others = config.cas().filter(|ca| begun != Some(&ca.host) && (!counted || emergency));
    let chosen = choice::choose(first.into_iter().chain(others), obstacle, emergency, now);
    let (ca, passed_over) = chosen.map_err(|(held, others)| held.into_wait(others, emergency_from))?;

    if let (RenewalReason::Resumed { order_url, .. }, Some(intent)) = (&mut reason, intent)
        && intent.ca != ca.host
    {
        *order_url = None;
    }
    let Terms { replaces, exempt, .. } = terms(ca);
    let above = fence::greatest(&certificate.name, &observed.state, now);
    let above = above.filter(|above| above.number > stored.greatest);
    Ok(Issue {
        certificate: certificate.name.clone(),
        ca: ca.host.clone(),
        reason,
        names: certificate.names.clone(),
        key_type: certificate.key_type,
        profile: profile_at(ca, certificate, config),
        keep_key,
        replaces,
        exempt,
        passed_over,
        insist: forced,
        emergency,
        outlives,
        youngest: served_since(certificate, stored, observed, now),
        seen: above.as_ref().map_or(stored.greatest, |above| above.number),
        above,
        then: then(certificate, stored, observed, now),
    })
}

/// How an order at one CA would stand.
struct Terms {
    replaces: Option<String>,
    exempt: bool,
    /// Its finalize stands in the ledger already: I6, one renewal is one certificate.
    counted: bool,
}

impl Terms {
    /// `intent`: and whether its finalize is counted.
    fn of(
        ca: &Acme,
        certificate: &Certificate,
        stored: &Stored,
        intent: Option<(&Intent, bool)>,
        ari: Option<&Ari>,
        observed: &Observed,
        now: Timestamp,
    ) -> Self {
        let current = stored.current.as_ref();
        let resumed = intent.filter(|(intent, _)| intent.ca == ca.host && intent.order_url.is_some());
        let replaces = match resumed {
            Some((intent, _)) => intent.replaces.clone(),
            None => {
                let replaced = current.filter(|kept| kept.meta.ca == ca.host && shares_a_name(kept, certificate));
                replaced.and_then(|kept| ari.and(kept.leaf.ari_id.clone()))
            }
        };
        let given_up = current.is_some_and(|kept| observed.state.revoked.contains_key(&kept.leaf.fingerprint));
        let within = ari.is_some_and(|ari| ari.start <= now && now <= ari.end);
        let exempt = replaces.is_some() && within && !given_up;
        let counted = intent.is_some_and(|(intent, counted)| counted && intent.ca == ca.host);
        Self { replaces, exempt, counted }
    }
}

/// Close to the end, revoked by the CA (its window lies in the past) or given up by a person.
fn is_emergency(kept: &Kept, ari: Option<&Ari>, observed: &Observed, now: Timestamp) -> bool {
    let left = kept.leaf.not_after.duration_since(now);
    left < lifetime(&kept.leaf) / RESERVE_BELOW
        || ari.is_some_and(|ari| ari.end < now)
        || observed.state.revoked.contains_key(&kept.leaf.fingerprint)
}

/// What speaks for a new certificate, apart from one that was set out for.
fn reason(
    config: &Config,
    certificate: &Certificate,
    stored: &Stored,
    observed: &Observed,
    ari: Option<&Ari>,
    now: Timestamp,
) -> Result<RenewalReason, RenewalWait> {
    if observed.asked.force.contains(&certificate.name) {
        return Ok(RenewalReason::Forced);
    }
    let Some(kept) = &stored.current else {
        return Ok(RenewalReason::Nothing);
    };
    if let Some(revoked) = observed.state.revoked.get(&kept.leaf.fingerprint) {
        return Ok(RenewalReason::Revoked { at: revoked.at, code: revoked.reason });
    }
    if kept.leaf.names != certificate.names {
        let without =
            |a: &NameSet, b: &NameSet| a.iter().filter(|name| !b.iter().any(|n| n == *name)).cloned().collect();
        return Ok(RenewalReason::NamesChanged {
            missing: without(&certificate.names, &kept.leaf.names),
            extra: without(&kept.leaf.names, &certificate.names),
        });
    }
    if kept.meta.key_type != certificate.key_type {
        return Ok(RenewalReason::KeyTypeChanged { from: kept.meta.key_type, to: certificate.key_type });
    }
    if let Some(to) = profile_changed(kept, certificate, config) {
        return Ok(RenewalReason::ProfileChanged { from: kept.meta.profile.clone(), to });
    }
    let (at, basis) = due(&kept.leaf, ari, observed.state.seed);
    let not_after = kept.leaf.not_after;
    if now < at {
        let ask_again = super::ari::next_ask(&observed.state, &certificate.name, &kept.leaf, now);
        return Err(RenewalWait::NotDue { at, not_after, basis, ask_again });
    }
    Ok(RenewalReason::Due { at, not_after, basis })
}

fn shares_a_name(kept: &Kept, certificate: &Certificate) -> bool {
    kept.leaf.names.iter().any(|name| certificate.names.iter().any(|n| n == name))
}

/// Nobody, while a person holds another generation.
fn then(certificate: &Certificate, stored: &Stored, observed: &Observed, now: Timestamp) -> Vec<NodeName> {
    if hold::held(&certificate.name, stored, &observed.state, now).is_some() {
        return Vec::new();
    }
    certificate.nodes.iter().filter(|node| observed.asked.wants_node(node)).cloned().collect()
}

#[cfg(test)]
mod tests;
