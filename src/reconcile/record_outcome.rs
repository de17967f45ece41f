//! Turns the outcome of a step into an observation, from which the next round of planning follows, and the next run.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cert::{CertName, NodeName};
use crate::model::{Advice, Attempts, Code, DeliveryAttempts, Finding, Observed, PersistedState, Rehearsal};
use crate::plan::delivery::{absent, revert, unproven};
use crate::plan::rollout::Outcome;
use crate::plan::{self, Deliver, DeliveryReason, Issue, ServedBy, Step, fence};
use crate::report::{Delivery, DiskVerdict, Done, Issuance};
use crate::store::{HistoryEvent, StoreError};
use crate::text::escape;

use crate::context::failure::failure;
use crate::context::progress::Event;
use crate::context::{Context, clock};
use crate::execute::Ended;
use crate::execute::deliver::remember;
use crate::execute::rehearse::Rehearsed;

/// Characters of a failure that the history keeps. Otherwise a node that fails in each pass, with long messages, would
/// push issuances, deliveries and revocations out of it within a week.
const OF_HISTORY: usize = 300;

/// # Errors
/// The state directory cannot be written.
pub(crate) fn record_outcome(
    context: &Context,
    observed: &mut Observed,
    done: &mut Done,
    step: &Step,
    ended: Ended,
) -> Result<(), Finding> {
    let now = clock::now();
    let recorded = match (step, ended) {
        (Step::Issue(step), Ended::Issued(ended)) => issued(context, observed, done, step, ended, now),
        (Step::Deliver(step), Ended::Delivered(Ok(ended))) => {
            remember(&mut observed.served, ended.served);
            for (node, certificate, number) in ended.fences {
                fence::record(&mut observed.state, &certificate, &node, number, now);
            }
            let noted = delivered(context, observed, done, step, &ended.outcomes, now);
            noted.and(step.certificates.keys().try_for_each(|name| renumber(context, observed, done, name, now)))
        }
        (Step::Deliver(step), Ended::Delivered(Err(failure))) => {
            let failed = |task: &plan::NodeTask| (task.node.clone(), Outcome::Failed { failure: failure.clone() });
            let outcomes = step.nodes.iter().map(failed).collect();
            delivered(context, observed, done, step, &outcomes, now)
        }
        (Step::Rehearse(step), Ended::Rehearsed(Ok(ended))) => {
            rehearsed(observed, &step.certificate, &ended, now);
            Ok(())
        }
        (Step::Rehearse(step), Ended::Rehearsed(Err(failure))) => {
            if failure.code != Code::Interrupted {
                let ended = Rehearsed { issuing: Issuance::Failed { failure }, nodes: Vec::new() };
                rehearsed(observed, &step.certificate, &ended, now);
            }
            Ok(())
        }
        // A step ends as its own kind.
        _ => Ok(()),
    };
    let written = context.store.write_state(&observed.state);
    recorded.and(written).map_err(Finding::from)
}

fn issued(
    context: &Context,
    observed: &mut Observed,
    done: &mut Done,
    step: &Issue,
    ended: Result<crate::execute::issue::Issued, Finding>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let certificate = step.certificate.clone();
    // A superseded order is not an attempt of a forced renewal.
    if !ended.as_ref().is_err_and(|failure| failure.code == Code::AcmeSuperseded) {
        observed.asked.force.remove(&certificate);
    }
    let read = context.store.stored(&certificate).map(|stored| observed.store.insert(certificate.clone(), stored));
    let read = read.and(context.store.ledger().map(|ledger| observed.ledger = ledger));
    match ended {
        Ok(issued) => {
            for caveat in issued.caveats {
                let what = format!("the chain that was issued has a caveat: {caveat}");
                let next = "nothing until that day; see whether the CA offers another chain";
                done.failures.push(failure(Code::ChainCaveat, &certificate, what, next, Advice::Person));
            }
            // Even if the store cannot be read from now on, this pass orders no second one.
            observed.issued.insert(certificate.clone());
            // Failures at other CAs no longer matter.
            observed.state.issuance.remove(&certificate);
            let generation = issued.generation;
            let names = step.names.clone();
            let event =
                HistoryEvent::Issued { certificate: certificate.clone(), generation: generation.clone(), names };
            let (ca, passed_over) = (step.ca.clone(), step.passed_over.clone());
            done.issued.insert(certificate, Issuance::Issued { generation, ca, passed_over });
            context.store.history(now, &event)?;
        }
        // Nothing failed: the next run, or the next round, goes on at once.
        Err(failure) if failure.code == Code::Interrupted || failure.code == Code::AcmeSuperseded => {
            done.issued.insert(certificate, Issuance::Failed { failure });
        }
        Err(failure) => {
            let by_ca = observed.state.issuance.entry(certificate.clone()).or_default();
            let before = by_ca.get(&step.ca);
            let failures = before.map_or(0, |attempts| attempts.failures).saturating_add(1);
            let first = before.map_or(Some(now), |attempts| attempts.first);
            let not_before = match failure.advice {
                Advice::Retry { after_seconds: Some(seconds) } => {
                    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
                    now.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
                }
                _ => None,
            };
            let attempts = Attempts { failures, first, last: now, not_before, failure: failure.clone() };
            by_ca.insert(step.ca.clone(), attempts);
            let (code, what) = (failure.code.clone(), escape(&failure.what, OF_HISTORY));
            let event = HistoryEvent::IssuanceFailed { certificate: certificate.clone(), code, what };
            done.issued.insert(certificate, Issuance::Failed { failure });
            context.store.history(now, &event)?;
        }
    }
    read
}

fn delivered(
    context: &Context,
    observed: &mut Observed,
    done: &mut Done,
    step: &Deliver,
    outcomes: &BTreeMap<NodeName, Outcome>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut noted = Ok(());
    let Observed { served, state, asked, .. } = observed;
    let served = ServedBy::new(&*served);
    for task in &step.nodes {
        let Some(outcome) = outcomes.get(&task.node) else { continue };
        for name in task.certificates.keys() {
            let Some(generation) = step.certificates.get(name).cloned() else { continue };
            let (certificate, node) = (name.clone(), task.node.clone());
            let reason = &task.certificates[name];
            // A node has refused the generation that it goes back from.
            let outcome = &absent::outcome(reason, &revert::outcome(reason, outcome));
            let generation = match reason {
                DeliveryReason::Reverts { from, .. } => from.clone(),
                _ => generation,
            };
            revert::ended(state, asked, &node, name, outcome);
            if !matches!(outcome, Outcome::Failed { .. } | Outcome::Aborted { .. } | Outcome::Unknown { .. }) {
                let why = failed(&node, outcome)
                    .filter(|_| matches!(outcome, Outcome::Unverified { .. } | Outcome::Absent { .. }));
                let why = why.map(|why| (why, &served));
                unproven::ended(&context.config, state, &node, name, &generation, why, now);
            }
            done.delivered.insert((node.clone(), certificate.clone()), Delivery::Ended(outcome.clone()));
            settle(state, &node, &certificate, outcome);
            let of_node = state.delivery.entry(node.clone()).or_default();
            let event = match failed(&node, outcome) {
                None => {
                    of_node.remove(name);
                    plan::disks::mended(state, &node, name, &generation, now);
                    plan::installs::delivered(state, &context.config, &node, name);
                    if let Some(DeliveryReason::Drifted { what }) = task.certificates.get(name) {
                        done.mended.insert((node.clone(), certificate.clone()), what.clone());
                    }
                    HistoryEvent::Delivered { certificate, generation, node }
                }
                Some(failure) => {
                    let (code, what) = (failure.code.clone(), escape(&failure.what, OF_HISTORY));
                    // A node that was aborted because of another's refusal, or by a signal, was not attempted; it is
                    // only not tried again in this pass.
                    let skipped = matches!(outcome, Outcome::Aborted { .. }) || failure.code == Code::Interrupted;
                    let before = of_node.get(name).filter(|attempts| attempts.generation == generation);
                    let attempts = DeliveryAttempts {
                        generation: generation.clone(),
                        failures: before.map_or(0, |attempts| attempts.failures) + u32::from(!skipped),
                        first: before.map_or(Some(now), |attempts| attempts.first),
                        last: now,
                        rolled_back: matches!(outcome, Outcome::RolledBack { .. } | Outcome::Undone { .. }),
                        together: task.certificates.len() > 1,
                        failure,
                    };
                    of_node.insert(name.clone(), attempts);
                    HistoryEvent::DeliveryFailed { certificate, generation, node, code, what }
                }
            };
            noted = noted.and(context.store.history(now, &event));
        }
    }
    state.delivery.retain(|_, by_name: &mut BTreeMap<CertName, _>| !by_name.is_empty());
    noted
}

/// The failures are kept, and reported, until the next rehearsal.
pub(crate) fn rehearsed(observed: &mut Observed, name: &CertName, ended: &Rehearsed, now: Timestamp) {
    let Some(kept) = observed.store.get(name).and_then(|stored| stored.current.as_ref()) else { return };
    let of_issuing = match &ended.issuing {
        Issuance::Failed { failure } => Some(failure.clone()),
        _ => None,
    };
    let of_nodes = ended.nodes.iter().filter_map(|(node, ended)| unready(node, ended));
    let failures = of_issuing.into_iter().chain(of_nodes).collect();
    let rehearsal = Rehearsal { fingerprint: kept.leaf.fingerprint, at: now, failures };
    observed.state.rehearsals.insert(name.clone(), rehearsal);
}

fn unready(node: &NodeName, ended: &Delivery) -> Option<Finding> {
    match ended {
        Delivery::Rehearsed { test: None } => None,
        Delivery::Rehearsed { test: Some(words) } => {
            DiskVerdict::TestFails { output: words.clone(), before_first: false }.finding(node)
        }
        Delivery::Ended(outcome) => failed(node, outcome),
    }
}

/// Tracks whether the outcome of the commit is known.
fn settle(state: &mut PersistedState, node: &NodeName, certificate: &CertName, outcome: &Outcome) {
    let unsettled = &mut state.unsettled;
    match outcome {
        Outcome::Unknown { .. } => _ = unsettled.entry(node.clone()).or_default().insert(certificate.clone()),
        // The node was not reached, or not asked.
        Outcome::Failed { .. } | Outcome::Aborted { .. } => {}
        _ => {
            if let Some(names) = unsettled.get_mut(node) {
                names.remove(certificate);
                if names.is_empty() {
                    unsettled.remove(node);
                }
            }
        }
    }
}

/// Renumbers a certificate that nodes refused for its number alone; the next round delivers it. No second one is
/// issued.
fn renumber(
    context: &Context,
    observed: &mut Observed,
    done: &mut Done,
    name: &CertName,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(fence) = fence::renumber_above(name, observed, now) else { return Ok(()) };
    let Some(kept) = observed.store.get(name).and_then(|stored| stored.current.as_ref()) else { return Ok(()) };
    let (from, to) = (kept.generation.clone(), kept.generation.above(fence));
    context.store.renumber(name, &from, &to)?;
    fence::renumbered(observed, name, &to);
    if let Some(Issuance::Issued { generation, .. }) = done.issued.get_mut(name) {
        generation.clone_from(&to);
    }
    let step = format!("nodes hold number {fence}, of an older certificate: this one is numbered anew, {to}");
    context.progress.say(Event::Issue { certificate: name.clone(), step });
    observed.store.insert(name.clone(), context.store.stored(name)?);
    Ok(())
}

/// Anything but "served" is a failure (I3), in the words of the report.
pub(crate) fn failed(node: &NodeName, outcome: &Outcome) -> Option<Finding> {
    if let Outcome::Failed { failure } | Outcome::Unknown { failure } = outcome {
        return Some(failure.clone());
    }
    let code = match outcome {
        Outcome::Served => return None,
        Outcome::RolledBack { .. } => Code::NodeRolledBack,
        Outcome::BrokenBefore { .. } => Code::NodeBrokenBefore,
        Outcome::Placed { .. } => Code::NodeServerNotRunning,
        Outcome::ReloadFails { .. } => Code::NodeReloadFails,
        Outcome::Unverified { over_quic: true, .. } => Code::NodeQuic,
        Outcome::Unverified { .. } | Outcome::Absent { .. } => Code::NodeUnverified,
        Outcome::Undone { .. } => Code::NodeUndone,
        Outcome::Aborted { .. } => Code::NodeNotTouched,
        Outcome::Failed { .. } | Outcome::Unknown { .. } => Code::NodeFailed,
    };
    let (what, next) = crate::report::outcome(outcome);
    let advice = Advice::Retry { after_seconds: None };
    Some(failure(code, node, what, next.unwrap_or_default(), advice))
}
