//! The loop: observe, plan, execute, record the outcome, in rounds until only waits remain.

mod look;
pub mod pin;
pub mod record_outcome;
mod rehearsal;

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::CertName;
use crate::context::{Context, clock, failure};
use crate::execute::{Ended, clean, execute};
use crate::model::{Depth, Finding, Observed, Scope};
use crate::observe::{self, disks, dns, gather};
use crate::plan::{self, Evidence, Step};
use crate::report::{self, Done, Report};
use crate::store::StoreError;

pub use look::look;
pub use rehearsal::rehearse;

/// One round issues, one delivers, one sees that nothing is left; one more for each fallback CA.
const ROUNDS: usize = 3;

/// One pass. The caller holds the lock.
///
/// # Errors
/// The state directory cannot be read or written. Everything else is in the report.
pub async fn reconcile(context: &Arc<Context>, command: &'static str, mut scope: Scope) -> Result<Report, Finding> {
    (scope.depth, scope.pass_started) = (Depth::Due, Some(clock::now()));
    let mut done = Done::default();
    let observed = context.unless_stopped(gather(context, scope)).await;
    let mut observed = observed.unwrap_or_else(|| Err(failure::interrupted("this pass")))?;
    done.failures.extend(context.secrets.watch_roots.failures(&observed.asked));
    // Only the report waits for the inventory.
    let mut inventory = JoinSet::new();
    let (asking, about) = (Arc::clone(context), observed.asked.clone());
    inventory.spawn(async move { dns::inventory(&asking, &about).await });
    look_at_the_clock(context, &mut observed).await;
    done.failures.extend(repair_numbers(context, &mut observed));
    plan::delivery::prune(&mut observed.state, &context.config, clock::now());
    plan::fence::prune(&mut observed.state, &context.config);
    plan::quic::note(&mut observed, clock::now());
    done.failures.extend(pin::release_ended(context, &mut observed, clock::now()));
    done.failures.extend(context.store.write_state(&observed.state).err().map(Finding::from));
    done.failures.extend(context.store.sweep_intents().err().map(Finding::from));
    rounds(context, &mut observed, &mut done).await;
    // The comparison of disks comes after the deliveries: a node that lacks a certificate does not wait, and one that
    // just got it needs no comparison.
    if disks::compare(context, &mut observed).await {
        rounds(context, &mut observed, &mut done).await;
    }
    done.failures.extend(prune(context, &observed));
    done.failures.extend(skew(context));
    done.clocks = context.node_clocks();
    done.failures.extend(context.narrowed_keys());
    done.failures.extend(clean(context).await);
    let waiting = context.progress.waiting("addresses of", "the names, in DNS");
    if let Some(Some(Ok(found))) = context.unless_stopped(inventory.join_next()).await {
        observed.inventory = found;
    }
    drop(waiting);
    done.failures.extend(context.dns.take_warnings());
    done.failures.extend(context.store.damages().iter().map(failure::of_damage));
    done.revocations = observe::revocations(&context.store, &observed);
    let now = clock::now();
    let plan = plan::plan(&context.config, &observed, now);
    Ok(report::build(command, &context.config, &observed, plan, done, true, now))
}

/// Plans, executes and records outcomes until only waits remain.
async fn rounds(context: &Arc<Context>, observed: &mut Observed, done: &mut Done) {
    let permits = Arc::new(Semaphore::new(context.config.sessions));
    for _ in 0..ROUNDS + context.config.fallback.len() {
        let plan = plan::plan(&context.config, observed, clock::now());
        if plan.steps.is_empty() || *context.stop.borrow() {
            break;
        }
        done.failures.extend(begin(context, observed, &plan.steps).filter(|failure| !done.failures.contains(failure)));
        let mut running = JoinSet::new();
        let mut steps = HashMap::new();
        for step in plan.steps {
            let (context, permits, executed) = (Arc::clone(context), Arc::clone(&permits), step.clone());
            let handle = running.spawn(async move { execute(&context, &executed, &permits).await });
            steps.insert(handle.id(), step);
        }
        while let Some(joined) = running.join_next_with_id().await {
            // A panic in one step ends that step alone.
            let (id, ended) = match joined {
                Ok((id, ended)) => (id, Ok(ended)),
                Err(error) => (error.id(), Err(failure::bug("a step of this pass", error))),
            };
            let Some(step) = steps.remove(&id) else { continue };
            let ended = ended.unwrap_or_else(|failure| match step {
                Step::Issue(_) => Ended::Issued(Err(failure)),
                Step::Deliver(_) => Ended::Delivered(Err(failure)),
                Step::Rehearse(_) => Ended::Rehearsed(Err(failure)),
            });
            // A full disk prevents neither deliveries (I4) nor the report.
            let recorded = record_outcome::record_outcome(context, observed, done, &step, ended);
            done.failures.extend(recorded.err().filter(|failure| !done.failures.contains(failure)));
        }
    }
}

/// Records rollouts before anything is changed, so that after a kill the next run knows what nodes served. A full disk
/// prevents no delivery (I4).
fn begin(context: &Context, observed: &mut Observed, steps: &[Step]) -> Option<Finding> {
    let mut delivers = steps.iter().filter_map(|step| if let Step::Deliver(step) = step { Some(step) } else { None });
    let first = delivers.next()?;
    let now = clock::now();
    core::iter::once(first).chain(delivers).for_each(|step| plan::delivery::revert::begin(observed, step, now));
    context.store.write_state(&observed.state).err().map(Finding::from)
}

/// Checks the clock: if it looks wrong, asks the CAs for the time. A believed time is recorded for the next check.
async fn look_at_the_clock(context: &Context, observed: &mut Observed) {
    let now = clock::now();
    let ca_clock = || context.ca_clock().map(|(_, reading)| reading);
    observed.ca_clock = ca_clock();
    if plan::clock::plausible(now, &Evidence::of(observed)).is_err()
        && context.unless_stopped(observe::ari::ask_ca_clocks(context)).await.is_some()
    {
        observed.ca_clock = ca_clock();
    }
    if plan::clock::plausible(now, &Evidence::of(observed)).is_ok() {
        let seen = observed.state.last_seen.filter(|_| observed.ca_clock.is_none());
        observed.state.last_seen = seen.max(Some(now));
    }
    let asked = &observed.asked;
    if asked.certificates.is_empty() && asked.wants_every_node() && asked.may_issue {
        observed.state.last_pass = observed.asked.pass_started;
    }
}

/// Renumbers generations with impossible numbers, unless the clock cannot be right.
fn repair_numbers(context: &Context, observed: &mut Observed) -> Vec<Finding> {
    let now = clock::now();
    if plan::clock::plausible(now, &Evidence::of(observed)).is_err() {
        return Vec::new();
    }
    let (store, names): (_, Vec<CertName>) = (&context.store, observed.store.keys().cloned().collect());
    let mended = names.into_iter().map(|name| {
        let mended = store.repair_numbers(&name, now)?;
        // An earlier run may have been killed right after the rename: then the held certificate has another number
        // already.
        if let Some(held) = observed.state.held.get_mut(&name) {
            let generations = store.generations(&name)?;
            let same = generations.iter().find(|other| other.serial() == held.generation.serial());
            let same = same.filter(|_| !generations.contains(&held.generation));
            held.generation = same.unwrap_or(&held.generation).clone();
        }
        if !mended.is_empty() {
            observed.store.insert(name.clone(), store.stored(&name)?);
        }
        Ok(())
    });
    mended.filter_map(|mended: Result<(), StoreError>| mended.err()).map(Finding::from).collect()
}

/// Removes generations that are no longer needed, unless the clock cannot be right.
fn prune(context: &Context, observed: &Observed) -> Vec<Finding> {
    let now = clock::now();
    if *context.stop.borrow() || plan::clock::plausible(now, &Evidence::of(observed)).is_err() {
        return Vec::new();
    }
    let pruned = observed.store.keys().map(|name| context.store.prune(name, &observed.state, now));
    pruned.filter_map(Result::err).map(Finding::from).collect()
}

fn skew(context: &Context) -> Option<Finding> {
    let (ca, reading) = context.ca_clock()?;
    report::own_clock(&ca, reading)
}
