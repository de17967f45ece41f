//! Changes of what nodes answer to health checks.

use core::fmt;
use std::collections::BTreeSet;

use crate::cert::CertName;
use crate::context::health::HealthChanges;
use crate::model::{Finding, Health, HealthPlace};
use crate::plan::health::Standing;
use crate::report::HealthVerdict;
use crate::report::health::{finding, of_backend, wanted};

#[derive(Clone, Debug)]
pub enum HealthEvent {
    /// A node fails, or it is no longer known whether it does.
    Bad { certificate: CertName, verdict: HealthVerdict, finding: Finding },
    /// A node is well again.
    Well(HealthPlace),
    /// The backend answers no node.
    BackendBad(Finding),
    BackendWell { certificate: CertName },
}

impl HealthEvent {
    /// What a person wants to hear of: neither the first bad answers nor the first good ones. `good`: the status codes of
    /// good answers.
    pub(crate) fn of(changes: HealthChanges, good: &BTreeSet<u16>) -> Vec<Self> {
        let mut events = Vec::new();
        let places: Vec<&Health> = changes.of_certificate.iter().collect();
        match changes.backend {
            (None, Some(since)) => {
                let certificate = places.first().map(|health| &health.place.certificate);
                let finding = certificate.map(|name| of_backend(name, &places, since));
                events.extend(finding.map(Self::BackendBad));
            }
            (Some(_), None) => {
                let certificate = places.first().map(|health| health.place.certificate.clone());
                events.extend(certificate.map(|certificate| Self::BackendWell { certificate }));
            }
            _ => {}
        }
        for (health, before, now) in changes.places {
            let place = &health.place;
            let is_news = match (before, now) {
                (Some(Standing::Failing | Standing::Rising(_)), Standing::Failing) => false,
                (_, Standing::Failing) => true,
                (before, Standing::Unknown) => before != Some(Standing::Unknown),
                (Some(Standing::Failing | Standing::Rising(_) | Standing::Unknown), Standing::Well) => true,
                _ => false,
            };
            if !is_news {
                continue;
            }
            let verdict = HealthVerdict::of(now, &health.answer);
            events.push(match finding(&health, verdict, &wanted(good)) {
                Some(finding) => Self::Bad { certificate: place.certificate.clone(), verdict, finding },
                None => Self::Well(place.clone()),
            });
        }
        events
    }
}

impl fmt::Display for HealthEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad { certificate, verdict, finding } => {
                let Finding { object, what, next, .. } = finding;
                write!(f, "{object}: health of {certificate} is {}: {what}\n  next: {next}", verdict.word())
            }
            Self::Well(HealthPlace { certificate, node, address }) => {
                let at = address.map(|address| format!(" ({address})")).unwrap_or_default();
                write!(f, "{node}{at}: health of {certificate} is ok")
            }
            Self::BackendBad(finding) => {
                write!(f, "health of {}: {}\n  next: {}", finding.object, finding.what, finding.next)
            }
            Self::BackendWell { certificate } => write!(f, "health of {certificate}: the backend answers again"),
        }
    }
}
