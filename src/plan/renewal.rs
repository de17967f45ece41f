//! Is a new certificate due? An ordered chain of named reasons; the first that holds decides.

mod choice;
mod desired;
mod due;

pub use choice::{Obstacle, PassedOver};
pub use due::{Basis, ari_of, due, lifetime};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::cert::{CertName, DnsName, KeyType, NameSet, NodeName};
use crate::config::{Acme, Certificate, Config};
use crate::model::{Ari, Finding, Intent, Kept, Observed, Stored};

use super::fence::{self, Above};
use super::ledger::{self, LimitReached, Question};
use super::{ServedBy, backoff, hold};
use choice::is_the_cas;
use desired::{keeps_key, profile_at, profile_changed, served_since, still_wanted};

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
    pub profile: Option<String>,
    pub keep_key: bool,
    /// ARI identifier of the certificate that this order replaces (RFC 9773 section 5).
    pub replaces: Option<String>,
    /// The order replaces a certificate inside its ARI window.
    pub exempt: bool,
    /// Preferred CAs that are not asked now.
    pub passed_over: Vec<PassedOver>,
    /// Renewal is forced: a certificate that our checks rejected is ordered anew, instead of being fetched again for a
    /// day.
    #[serde(skip)]
    pub forced: bool,
    /// The ledger's reserve may be used, also for a second order.
    #[serde(skip)]
    pub emergency: bool,
    /// Set when only its age speaks against the stored certificate: one that ends before this instant is no gain.
    #[serde(skip)]
    pub outlives: Option<Timestamp>,
    /// Start of validity of the youngest certificate for these names, among those served and stored.
    #[serde(skip)]
    pub youngest: Option<Timestamp>,
    /// The greatest generation number in the store or claimed by a node; the new one exceeds it.
    pub seen: u64,
    /// The node that claims it, when the store does not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<Above>,
    /// Nodes that the next round will deliver to.
    pub then: Vec<NodeName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum RenewalReason {
    /// An earlier run began to issue and did not finish.
    Resumed {
        begun_at: Timestamp,
        order_url: Option<String>,
    },
    Forced,
    /// The store has no certificate of this name.
    Nothing,
    /// The stored certificate is revoked, by us or by its CA.
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
    /// Another one with the same names and another key type is renewed now, and this one is nearly due: servers then
    /// reload once.
    Together {
        with: CertName,
        not_after: Timestamp,
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
        /// When the CA is asked again for its window. `None`: it cannot be asked.
        ask_again: Option<Timestamp>,
    },
    /// Due, and a former attempt failed.
    BackOff {
        /// Host of the CA that is waited for.
        ca: String,
        until: Timestamp,
        failures: u32,
        failure: Box<Finding>,
        /// The CA sent a Retry-After: `--force` does not skip it.
        by_the_ca: bool,
        /// The other CAs, none of which can be asked sooner.
        passed_over: Vec<PassedOver>,
        /// When the emergency reserve opens. `None`: it is open, or nothing is stored.
        emergency_from: Option<Timestamp>,
    },
    /// Due, and a limit stands in the way.
    Ledger { ca: String, full: LimitReached, passed_over: Vec<PassedOver>, emergency_from: Option<Timestamp> },
    /// This command only delivers.
    MayNotIssue { stored: bool },
    /// This pass has already issued one; no pass issues two.
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

/// Orders that the plan makes for other certificates.
#[derive(Clone, Copy)]
pub(super) struct Planned<'a> {
    pub(super) issues: &'a [Issue],
    /// A certificate that is nearly due may be renewed together with one of them.
    pub(super) may_join: bool,
    /// What nodes serve.
    pub(super) served: &'a ServedBy<'a>,
}

/// # Errors
/// Why not.
pub(super) fn decide(
    config: &Config,
    certificate: &Certificate,
    stored: &Stored,
    observed: &Observed,
    planned: Planned<'_>,
    now: Timestamp,
) -> Result<Issue, RenewalWait> {
    let current = stored.current.as_ref();
    if !observed.asked.may_issue {
        return Err(RenewalWait::MayNotIssue { stored: current.is_some() });
    }
    let ari = current.and_then(|kept| ari_of(observed, &certificate.name, &kept.leaf));
    let keep_key = keeps_key(certificate, stored, &observed.state);
    let intent = stored.pending.as_ref().filter(|intent| still_wanted(intent, certificate, stored, keep_key, config));
    let by_itself = reason(config, certificate, stored, observed, ari, now);
    let by_itself = by_itself.or_else(|wait| together(certificate, stored, planned, ari, now).ok_or(wait));
    let outlives = match (&by_itself, current) {
        (Ok(RenewalReason::Due { basis: Basis::Lifetime { .. }, .. }), Some(kept)) => Some(kept.leaf.not_after),
        (Ok(RenewalReason::Together { .. }), Some(kept)) if ari.is_none() => Some(kept.leaf.not_after),
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
    // One second later, less than this part of the lifetime is left.
    let before = current.map(|kept| (kept, lifetime(&kept.leaf) / RESERVE_BELOW - SignedDuration::from_secs(1)));
    let emergency_from = before.and_then(|(kept, span)| kept.leaf.not_after.checked_sub(span).ok());
    let emergency_from = emergency_from.filter(|from| *from > now);
    let cadence = current.and_then(|kept| backoff::cadence(&kept.leaf, now));
    let attempts = observed.state.issuance.get(&certificate.name);
    let attempts = || attempts.into_iter().flatten();
    let held_back = |ca: &str, attempts| PassedOver::by_attempts(ca, attempts, cadence, forced, now);
    // A failure that is not a CA's doing would occur at each of them.
    let elsewhere = attempts().filter(|(_, attempts)| !is_the_cas(&attempts.failure));
    let elsewhere = elsewhere.filter_map(|(ca, attempts)| held_back(ca, attempts));
    if let Some(held) = elsewhere.max_by_key(|held| held.until) {
        return Err(held.into_wait(Vec::new(), emergency_from));
    }

    let counted = intent.is_some_and(|intent| ledger::holds_finalize(&observed.ledger, intent));
    let terms =
        |ca: &Acme| Terms::of(ca, certificate, stored, intent.map(|intent| (intent, counted)), ari, observed, now);
    let obstacle = |ca: &Acme| {
        let by_attempts = attempts().find(|(host, _)| **host == ca.host);
        let by_attempts = by_attempts.and_then(|(_, attempts)| held_back(&ca.host, attempts));
        let Terms { exempt, counted, .. } = terms(ca);
        let orders = || planned.issues.iter().filter(|issue| issue.ca == ca.host);
        let (names, per_week) = (&certificate.names, ca.certificates_per_week);
        let alike = ledger::alike(config, names);
        let planned_alike = orders().filter(|issue| issue.names == *names && issue.exempt == exempt).count();
        let planned = orders().filter(|issue| !issue.exempt).count();
        let question = Question { ca: &ca.host, names, per_week, emergency, exempt, planned, planned_alike, alike };
        let full = if counted { None } else { ledger::check_limits(&observed.ledger, question, now).err() };
        let full = full.map(|full| PassedOver::by_ledger(&ca.host, full));
        full.into_iter().chain(by_attempts).max_by_key(|held| held.until)
    };
    // An unfinished order is finished at its own CA; once a certificate may exist, at no other.
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
        forced,
        emergency,
        outlives,
        youngest: served_since(certificate, stored, planned.served, now),
        seen: above.as_ref().map_or(stored.greatest, |above| above.number),
        above,
        then: then(certificate, stored, observed, now),
    })
}

/// Terms of an order at one CA.
struct Terms {
    replaces: Option<String>,
    exempt: bool,
    /// Its finalize is in the ledger already: I6, one renewal is one certificate.
    counted: bool,
}

impl Terms {
    /// `intent`: with whether its finalize is counted.
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

/// Close to expiry, or revoked: by the CA (its window lies in the past) or by us.
fn is_emergency(kept: &Kept, ari: Option<&Ari>, observed: &Observed, now: Timestamp) -> bool {
    let left = kept.leaf.not_after.duration_since(now);
    left < lifetime(&kept.leaf) / RESERVE_BELOW
        || ari.is_some_and(|ari| ari.end < now)
        || observed.state.revoked.contains_key(&kept.leaf.fingerprint)
}

/// The reason for a new certificate, apart from a pending intent.
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

/// Whether it is renewed before its own instant, with another of the same names: the CA's window for it is open, or
/// without one its instant is near.
fn together(
    certificate: &Certificate,
    stored: &Stored,
    planned: Planned<'_>,
    ari: Option<&Ari>,
    now: Timestamp,
) -> Option<RenewalReason> {
    /// This part of the lifetime before its own instant: two days of 60.
    const NEAR: i32 = 30;
    let leaf = &stored.current.as_ref()?.leaf;
    let with = planned.issues.iter().filter(|_| planned.may_join).find(|issue| {
        let due = matches!(issue.reason, RenewalReason::Due { .. });
        due && issue.names == certificate.names && issue.key_type.algorithm() != certificate.key_type.algorithm()
    })?;
    let near = match ari {
        Some(ari) => ari.start <= now,
        None => due(leaf, None, 0).0.duration_since(now) < lifetime(leaf) / NEAR,
    };
    near.then(|| RenewalReason::Together { with: with.certificate.clone(), not_after: leaf.not_after })
}

fn shares_a_name(kept: &Kept, certificate: &Certificate) -> bool {
    kept.leaf.names.iter().any(|name| certificate.names.iter().any(|n| n == name))
}

/// No node, while another generation is held.
fn then(certificate: &Certificate, stored: &Stored, observed: &Observed, now: Timestamp) -> Vec<NodeName> {
    if hold::held(&certificate.name, stored, &observed.state, now).is_some() {
        return Vec::new();
    }
    certificate.nodes.iter().filter(|node| observed.asked.wants_node(node)).cloned().collect()
}

#[cfg(test)]
mod tests;
