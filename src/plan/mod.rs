//! Every decision, pure: what to do, why, and why not.
//!
//! A [`Plan`] has steps *and waits*, each with a typed reason that carries its data, and the instant of the next look.
//! Decisions that fall while something runs belong to two state machines, [`rollout`] and [`order`].

pub mod ari;
pub mod backoff;
pub mod caa;
pub mod clock;
pub mod cloudflare;
pub mod crls;
pub mod delivery;
pub mod discovery;
pub mod disks;
pub mod failover;
pub mod fence;
pub mod health;
pub mod hold;
pub mod installs;
pub mod inventory;
pub mod ledger;
pub mod markers;
pub mod members;
pub mod order;
pub mod places;
pub mod quic;
pub mod rehearsal;
pub mod renewal;
pub mod renewals;
pub mod rollout;
pub mod rota;
pub mod schedule;
mod served_by;
pub mod takeover;
#[cfg(test)]
mod tests;
pub mod web_servers;

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{CertName, NodeName};
use crate::config::{Certificate, Config};
use crate::model::{Observed, Stored};
use delivery::Facts;
use renewal::Planned;

pub use clock::{Against, ClockDoubt, Evidence};
pub use delivery::{Because, Before, Deliver, DeliveryReason, DeliveryWait, Early, NodeTask};
pub use fence::Above;
pub use hold::HoldEnd;
pub use rehearsal::Rehearse;
pub use renewal::{Basis, Issue, Obstacle, PassedOver, RenewalReason, RenewalWait};
pub use served_by::ServedBy;

#[derive(Clone, Debug, Default, Serialize, schemars::JsonSchema)]
pub struct Plan {
    pub steps: Vec<Step>,
    pub waits: Vec<Wait>,
    pub next: Option<Timestamp>,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    Issue(Box<Issue>),
    Deliver(Deliver),
    Rehearse(Rehearse),
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(tag = "wait", rename_all = "snake_case")]
pub enum Wait {
    Renewal {
        certificate: CertName,
        reason: RenewalWait,
    },
    Delivery {
        certificate: CertName,
        node: NodeName,
        reason: DeliveryWait,
    },
    /// The clock cannot be right, so nothing is decided by it.
    Clock {
        doubt: ClockDoubt,
    },
}

/// The whole decision. Deterministic: the same arguments give the same plan.
pub fn plan(config: &Config, observed: &Observed, now: Timestamp) -> Plan {
    if let Err(doubt) = clock::plausible(now, &Evidence::of(observed)) {
        return Plan { waits: vec![Wait::Clock { doubt }], ..Plan::default() };
    }
    let mut plan = Plan::default();
    let none = Stored::default();
    let served = ServedBy::new(&observed.served);
    let mut issues = Vec::new();
    let mut waiting = Vec::new();
    for certificate in asked(config, observed) {
        let stored = observed.store.get(&certificate.name).unwrap_or(&none);
        match renewal::decide(
            config,
            certificate,
            stored,
            observed,
            Planned { issues: &issues, may_join: false, served: &served },
            now,
        ) {
            Ok(issue) => issues.push(issue),
            Err(reason) => waiting.push((certificate, stored, reason)),
        }
    }
    // One that waits may be renewed together with another that comes after it.
    let mut deliverable = Vec::new();
    for (certificate, stored, reason) in waiting {
        let planned = Planned { issues: &issues, may_join: true, served: &served };
        let again = || renewal::decide(config, certificate, stored, observed, planned, now);
        let together = matches!(reason, RenewalWait::NotDue { .. }).then(again).and_then(Result::ok);
        match together {
            Some(issue) => issues.push(issue),
            None => {
                plan.waits.push(Wait::Renewal { certificate: certificate.name.clone(), reason });
                deliverable.push((certificate, stored));
            }
        }
    }
    // A certificate that is about to be replaced is not delivered first: the next round delivers the new one, or the
    // stored one when issuing failed.
    plan.steps.extend(issues.into_iter().map(|issue| Step::Issue(Box::new(issue))));
    let (rollouts, waits) = delivery::decide(&Facts::new(config, observed, &served, now), &deliverable);
    plan.steps.extend(rollouts.into_iter().map(Step::Deliver));
    plan.waits.extend(waits);
    // The steps themselves show more than a rehearsal could.
    if plan.steps.is_empty() {
        let rehearsals = deliverable.iter().filter_map(|(certificate, stored)| {
            rehearsal::decide(config, certificate, stored, observed, now).map(Step::Rehearse)
        });
        plan.steps.extend(rehearsals);
    }
    plan.next = plan.waits.iter().filter_map(|wait| wait.until()).min();
    plan
}

/// The certificates in scope, in the configuration's order.
fn asked<'a>(config: &'a Config, observed: &'a Observed) -> impl Iterator<Item = &'a Certificate> {
    config.certificates.iter().filter(|certificate| observed.asked.wants(&certificate.name))
}

impl Wait {
    /// When the wait ends by itself. `None`: it does not.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Renewal { reason, .. } => reason.until(),
            Self::Delivery { reason, .. } => reason.until(),
            Self::Clock { .. } => None,
        }
    }
}
