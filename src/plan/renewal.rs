//! Is a new certificate due? An ordered chain of named reasons; the first that holds decides.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cert::{CertName, DnsName, KeyType, Leaf, NameSet, NodeName};
use crate::config::{Certificate, Config};
use crate::observed::{Ari, Failure, Intent, Kept, Observed, Stored, UNKNOWN_CA};

use super::backoff;
use super::ledger::{self, Full, Question};

/// Without a word from the CA, renew when a third of the lifetime is left (Let's Encrypt's integration guide) …
const LEFT_OF_ORDINARY: i32 = 3;
/// … and half of it when the lifetime is under ten days, where a third leaves no room for a failed weekend.
const LEFT_OF_SHORT: i32 = 2;
const SHORT: SignedDuration = SignedDuration::from_hours(10 * 24);
/// A CA's window may be late, but not later than this part of the lifetime before the end.
const EMERGENCY_FLOOR: i32 = 20;
/// Under this part of the lifetime a failed attempt is followed by another within hours.
const PRESSING_BELOW: i32 = 4;
/// Under this part of the lifetime the ledger's reserve may be used.
const RESERVE_BELOW: i32 = 6;

/// A fully specified order: execution has nothing left to choose.
#[derive(Clone, Debug, Serialize)]
pub struct Issue {
    pub certificate: CertName,
    /// Host of the CA.
    pub ca: String,
    pub reason: RenewalReason,
    pub names: NameSet,
    pub key_type: KeyType,
    pub profile: Option<String>,
    /// ARI identifier of the certificate that this order replaces (RFC 9773 section 5).
    pub replaces: Option<String>,
    /// The order is made inside the window of what it replaces.
    pub exempt: bool,
    /// The ledger's reserve may be used, for an order after this one too.
    #[serde(skip)]
    pub emergency: bool,
    /// The greatest generation number in the store and in any node's answer; the new one is above it.
    pub seen: u64,
    /// Nodes that the next round will deliver to.
    pub then: Vec<NodeName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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

/// What the instant of renewal follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "basis", rename_all = "snake_case")]
pub enum Basis {
    /// RFC 9773: an instant drawn within the CA's window.
    Ari { start: Timestamp, end: Timestamp, explanation: Option<String> },
    /// A part of the lifetime is left.
    Lifetime { left: i32 },
    /// The CA's window is later than a twentieth of the lifetime before the end.
    Floor,
}

/// Why no certificate is ordered now.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum RenewalWait {
    NotDue {
        at: Timestamp,
        not_after: Timestamp,
        basis: Basis,
    },
    /// Due, and a former attempt failed.
    BackOff {
        until: Timestamp,
        failures: u32,
        failure: Box<Failure>,
        /// The CA itself said when to come again: `--force` does not come sooner.
        by_the_ca: bool,
    },
    /// Due, and a limit stands in the way.
    Ledger {
        full: Full,
    },
    /// This command delivers and does not issue.
    MayNotIssue {
        stored: bool,
    },
}

impl RenewalWait {
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::NotDue { at, .. } => Some(*at),
            Self::BackOff { until, .. } => Some(*until),
            Self::Ledger { full } => Some(full.until()),
            Self::MayNotIssue { .. } => None,
        }
    }
}

/// # Errors
/// Why not.
pub(super) fn decide(
    config: &Config,
    certificate: &Certificate,
    stored: &Stored,
    observed: &Observed,
    now: Timestamp,
) -> Result<Issue, RenewalWait> {
    let current = stored.current.as_ref();
    if !observed.asked.may_issue {
        return Err(RenewalWait::MayNotIssue { stored: current.is_some() });
    }
    let forced = observed.asked.force.contains(&certificate.name);
    let ari = current.and_then(|kept| ari_of(observed, &certificate.name, &kept.leaf));
    let reason = reason(config, certificate, stored, ari, forced, observed.tried.seed, now)?;

    // A person who forces does not wait for our own ladder; what the CA said is obeyed all the same.
    let ca = &config.acme.host;
    let attempts = observed.tried.issuance.get(&certificate.name).and_then(|by_ca| by_ca.get(ca));
    if let Some(attempts) = attempts.filter(|attempts| backoff::counts(attempts.last, now)) {
        let until =
            if forced { attempts.not_before } else { Some(backoff::issuance(attempts, pressing(current, now))) };
        if let Some(until) = until.filter(|until| *until > now) {
            let (failures, failure) = (attempts.failures, Box::new(attempts.failure.clone()));
            let by_the_ca = attempts.not_before.is_some_and(|not_before| not_before > now);
            return Err(RenewalWait::BackOff { until, failures, failure, by_the_ca });
        }
    }

    let replaced = current.filter(|kept| kept.meta.ca == config.acme.host && shares_a_name(kept, certificate));
    let replaces = replaced.and_then(|kept| ari.and(kept.leaf.ari_id.clone()));
    let exempt = replaces.is_some() && ari.is_some_and(|ari| ari.start <= now && now <= ari.end);
    let emergency = current.is_some_and(|kept| {
        let left = kept.leaf.not_after.duration_since(now);
        left < lifetime(&kept.leaf) / RESERVE_BELOW || ari.is_some_and(|ari| ari.end < now)
    });
    if !already_counted(stored, observed, &certificate.names, &config.acme.host) {
        let question = Question { ca: &config.acme.host, names: &certificate.names, emergency, exempt };
        ledger::room(&observed.ledger, question, now).map_err(|full| RenewalWait::Ledger { full })?;
    }
    Ok(Issue {
        certificate: certificate.name.clone(),
        ca: ca.clone(),
        reason,
        names: certificate.names.clone(),
        key_type: certificate.key_type,
        profile: certificate.profile.clone(),
        replaces,
        exempt,
        emergency,
        seen: observed.tried.fences.get(&certificate.name).map_or(stored.greatest, |fence| stored.greatest.max(*fence)),
        then: certificate.nodes.clone(),
    })
}

fn reason(
    config: &Config,
    certificate: &Certificate,
    stored: &Stored,
    ari: Option<&Ari>,
    forced: bool,
    seed: u64,
    now: Timestamp,
) -> Result<RenewalReason, RenewalWait> {
    // An unfinished order is resumed all the same; what was rejected of it is then ordered anew and not fetched for a day.
    if forced {
        return Ok(RenewalReason::Forced);
    }
    if let Some(intent) = stored.pending.as_ref().filter(|intent| still_meant(intent, certificate, config)) {
        let (begun_at, order_url) = (intent.begun_at, intent.order_url.clone());
        return Ok(RenewalReason::Resumed { begun_at, order_url });
    }
    let Some(kept) = &stored.current else {
        return Ok(RenewalReason::Nothing);
    };
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
    if kept.meta.profile != certificate.profile && kept.meta.ca != UNKNOWN_CA {
        return Ok(RenewalReason::ProfileChanged { from: kept.meta.profile.clone(), to: certificate.profile.clone() });
    }
    let (at, basis) = due(&kept.leaf, ari, seed);
    let not_after = kept.leaf.not_after;
    if now < at {
        return Err(RenewalWait::NotDue { at, not_after, basis });
    }
    Ok(RenewalReason::Due { at, not_after, basis })
}

/// When a leaf is to be renewed, and what that follows from.
pub fn due(leaf: &Leaf, ari: Option<&Ari>, seed: u64) -> (Timestamp, Basis) {
    let lifetime = lifetime(leaf);
    if let Some(ari) = ari {
        let floor = before(leaf.not_after, lifetime / EMERGENCY_FLOOR);
        // A window that begins before the certificate does asks for nothing before that is valid.
        let at = drawn(ari, leaf, seed).max(leaf.not_before);
        if at > floor {
            return (floor, Basis::Floor);
        }
        let Ari { start, end, explanation, .. } = ari.clone();
        return (at, Basis::Ari { start, end, explanation });
    }
    let left = if lifetime < SHORT { LEFT_OF_SHORT } else { LEFT_OF_ORDINARY };
    (before(leaf.not_after, lifetime / left), Basis::Lifetime { left })
}

/// RFC 9773 section 4.2: "Select a uniform random time within the suggested window." Drawn from the certificate and the
/// installation's seed, so that it is the same in every run without being stored.
fn drawn(ari: &Ari, leaf: &Leaf, seed: u64) -> Timestamp {
    let mut drawn = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    drawn.update(leaf.fingerprint.to_string().as_bytes());
    drawn.update(&seed.to_be_bytes());
    let number = drawn.finish().as_ref().iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    let width = u64::try_from(ari.end.duration_since(ari.start).as_secs()).unwrap_or(0).max(1);
    let offset = i64::try_from(number % width).unwrap_or(0);
    ari.start.saturating_add(SignedDuration::from_secs(offset)).unwrap_or(ari.start)
}

/// What the CA said of this very leaf, when it makes sense: a window that ends before it begins, or that is wider than
/// the certificate's life, is no answer.
pub fn ari_of<'a>(observed: &'a Observed, name: &CertName, leaf: &Leaf) -> Option<&'a Ari> {
    let ari = observed.tried.ari.get(name).filter(|ari| ari.fingerprint == leaf.fingerprint)?;
    let width = ari.end.duration_since(ari.start);
    (width > SignedDuration::ZERO && width <= lifetime(leaf)).then_some(ari)
}

pub fn lifetime(leaf: &Leaf) -> SignedDuration {
    leaf.not_after.duration_since(leaf.not_before)
}

fn before(instant: Timestamp, span: SignedDuration) -> Timestamp {
    instant.saturating_sub(span).unwrap_or(Timestamp::MIN)
}

fn pressing(current: Option<&Kept>, now: Timestamp) -> bool {
    current.is_some_and(|kept| kept.leaf.not_after.duration_since(now) < lifetime(&kept.leaf) / PRESSING_BELOW)
}

/// An intent is resumed as long as the configuration still asks for the same.
fn still_meant(intent: &Intent, certificate: &Certificate, config: &Config) -> bool {
    intent.names == certificate.names
        && intent.key_type == certificate.key_type
        && intent.profile == certificate.profile
        && intent.ca == config.acme.host
}

fn shares_a_name(kept: &Kept, certificate: &Certificate) -> bool {
    kept.leaf.names.iter().any(|name| certificate.names.iter().any(|n| n == name))
}

/// The finalize of the order that is resumed stands in the ledger already: I6, one renewal is one certificate.
fn already_counted(stored: &Stored, observed: &Observed, names: &NameSet, ca: &str) -> bool {
    let Some(intent) = &stored.pending else { return false };
    observed.ledger.iter().any(|entry| {
        entry.at >= intent.begun_at
            && entry.ca == ca
            && &entry.names == names
            && matches!(entry.event, crate::observed::LedgerEvent::Finalize { .. })
    })
}

#[cfg(test)]
mod tests;
