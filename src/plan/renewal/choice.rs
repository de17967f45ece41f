//! Which CA is asked: those of the configuration in their order, past what stands in the way of one.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::RenewalWait;
use crate::config::Acme;
use crate::model::{Advice, Area, Attempts, Code, Finding};
use crate::plan::backoff;
use crate::plan::ledger::Full;

/// What ends within this time is waited for: the first two steps of our ladder, and the hour of failed authorizations.
/// What lasts longer is passed over, where there is another CA.
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
        /// The other side itself said when to come again: `--force` does not come sooner.
        by_the_ca: bool,
    },
    /// A limit stands in the way.
    Ledger { full: Full },
}

impl PassedOver {
    /// As long as `attempts` hold this CA back. A person who forces does not wait for our own ladder; what the other
    /// side said is obeyed all the same.
    pub(super) fn by_attempts(
        ca: &str,
        attempts: &Attempts,
        cadence: Option<SignedDuration>,
        forced: bool,
        now: Timestamp,
    ) -> Option<Self> {
        let attempts = Some(attempts).filter(|attempts| backoff::counts(attempts.last, now))?;
        let wish = backoff::wish(attempts);
        let until = if forced { wish } else { Some(backoff::issuance(attempts, cadence)) };
        let until = until.filter(|until| *until > now)?;
        let (failures, failure) = (attempts.failures, Box::new(attempts.failure.clone()));
        let by_the_ca = wish.is_some_and(|wish| wish > now);
        Some(Self { ca: ca.to_owned(), until, why: Obstacle::BackOff { failures, failure, by_the_ca } })
    }

    pub(super) fn by_ledger(ca: &str, full: Full) -> Self {
        Self { ca: ca.to_owned(), until: full.until(), why: Obstacle::Ledger { full } }
    }

    /// It passes by itself, and soon.
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

/// A CA, free or held up, and those that are passed over for it.
type WithOthers<T> = (T, Vec<PassedOver>);

/// The first CA that nothing stands in the way of, and those before it. `hurried`: even what is short is not waited for.
///
/// # Errors
/// What is waited for, at the first CA that is worth it, else at the one that is free the earliest; and the others.
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

/// Whether a failure is of that CA's making. Every other (DNS, the API, our own disk) would meet each CA alike.
pub(super) fn is_the_cas(failure: &Finding) -> bool {
    failure.code.area() == Area::Ca || failure.code == Code::LedgerFull
}
