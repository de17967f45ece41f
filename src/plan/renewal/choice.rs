//! Choice of the CA: the first in the configuration's order that nothing blocks.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::RenewalWait;
use crate::config::Acme;
use crate::model::{Advice, Area, Attempts, Code, Finding};
use crate::plan::backoff;
use crate::plan::ledger::LimitReached;

/// A shorter obstacle is waited out: the first two steps of our ladder, and the hour of failed authorizations. A CA
/// with a longer one is passed over, where there is another.
const PATIENCE: SignedDuration = SignedDuration::from_hours(1);

/// A CA that is not asked now, until when, and why.
#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
pub struct PassedOver {
    /// Its host.
    pub ca: String,
    pub until: Timestamp,
    #[serde(flatten)]
    pub why: Obstacle,
}

#[derive(Clone, Debug, Serialize, schemars::JsonSchema)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Obstacle {
    /// Former attempts failed.
    BackOff {
        failures: u32,
        failure: Box<Finding>,
        /// The CA sent a Retry-After: `--force` does not skip it.
        by_the_ca: bool,
    },
    /// A limit stands in the way.
    Ledger { full: LimitReached },
}

impl PassedOver {
    /// The obstacle that `attempts` set up, while it lasts. `--force` skips our back-off, not the CA's Retry-After.
    pub(super) fn by_attempts(
        ca: &str,
        attempts: &Attempts,
        cadence: Option<SignedDuration>,
        forced: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let attempts = Some(attempts).filter(|attempts| backoff::counts(attempts.last, now))?;
        let retry_after = backoff::retry_after(attempts);
        let until = if forced { retry_after } else { Some(backoff::issuance(attempts, cadence)) };
        let until = until.filter(|until| *until > now)?;
        let (failures, failure) = (attempts.failures, Box::new(attempts.failure.clone()));
        let by_the_ca = retry_after.is_some_and(|retry_after| retry_after > now);
        Some(Self { ca: ca.to_owned(), until, why: Obstacle::BackOff { failures, failure, by_the_ca } })
    }

    pub(super) fn by_ledger(ca: &str, full: LimitReached) -> Self {
        Self { ca: ca.to_owned(), until: full.until(), why: Obstacle::Ledger { full } }
    }

    /// Whether it ends by itself, and soon.
    fn is_short(&self, now: Timestamp) -> bool {
        let lasting = matches!(&self.why, Obstacle::BackOff { failure, .. } if failure.advice == Advice::Person);
        !lasting && self.until.duration_since(now) < PATIENCE
    }

    pub(super) fn into_wait(self, passed_over: Vec<Self>, emergency_from: Option<Timestamp>) -> RenewalWait {
        let Self { ca, until, why } = self;
        match why {
            Obstacle::BackOff { failures, failure, by_the_ca } => {
                RenewalWait::BackOff { ca, until, failures, failure, by_the_ca, passed_over, emergency_from }
            }
            Obstacle::Ledger { full } => RenewalWait::Ledger { ca, full, passed_over, emergency_from },
        }
    }
}

/// A CA, free or blocked, and those that are passed over for it.
type WithOthers<T> = (T, Vec<PassedOver>);

/// The first CA that nothing blocks, and those before it. `hurried`: short obstacles are not waited out either.
///
/// # Errors
/// The obstacle to wait for: the first short one, else the one that ends the earliest; and the other CAs.
pub(super) fn choose<'a>(
    cas: impl Iterator<Item = &'a Acme>,
    obstacle: impl Fn(&Acme) -> Option<PassedOver>,
    hurried: bool,
    now: Timestamp,
) -> Result<WithOthers<&'a Acme>, WithOthers<PassedOver>> {
    let mut passed_over = Vec::new();
    for ca in cas {
        let Some(held) = obstacle(ca) else { return Ok((ca, passed_over)) };
        if held.is_short(now) && !hurried {
            return Err((held, passed_over));
        }
        passed_over.push(held);
    }
    let earliest = (0..passed_over.len()).min_by_key(|index| passed_over[*index].until).unwrap_or_default();
    let held = passed_over.remove(earliest);
    Err((held, passed_over))
}

/// Whether the CA caused the failure. Any other failure (DNS, the API, our own disk) would occur at each CA.
pub(super) fn is_the_cas(failure: &Finding) -> bool {
    failure.code.area() == Area::Ca || failure.code == Code::LedgerFull
}
