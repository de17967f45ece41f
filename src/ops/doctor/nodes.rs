//! Every node: address, login, disk, and a delivery that is prepared and aborted.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{CertName, Generation};
use crate::config::Node;
use crate::context::Context;
use crate::context::clock;
use crate::execute::rehearse;
use crate::model::{Finding, Kept, Leftover, Observed};
use crate::observe::disks;
use crate::ops::receiver;
use crate::plan::{self, rollout::Outcome};
use crate::report::doctor::{Area, CheckupItem, State, of_looked};
use crate::report::{Delivery, DiskVerdict};

use super::missing::Missing;

/// In the configuration's order. `alone`: this certd holds the lock, so that a preparation cannot collide with a
/// delivery.
pub(crate) async fn look(
    context: &Arc<Context>,
    observed: &Observed,
    alone: bool,
    missing: &Missing,
) -> Vec<CheckupItem> {
    let permits = Arc::new(Semaphore::new(context.config.sessions));
    let mut looks = JoinSet::new();
    let nodes = context.config.nodes.iter().filter(|node| observed.asked.wants_node(&node.name) && !missing.node(node));
    let judged = !missing.issuer_roots();
    for (number, node) in nodes.enumerate() {
        let desired = observed.store.iter().filter_map(|(name, stored)| {
            let certificate = context.config.certificate(name)?;
            let desired = plan::hold::desired(name, stored, &observed.state, clock::now());
            let generation = desired.map(|desired| desired.generation.clone());
            certificate.nodes.contains(&node.name).then(|| (name.clone(), generation, stored.current.clone()))
        });
        let desired: Vec<Desired> = desired.collect();
        let left = plan::places::left(&observed.state, &context.config, &node.name);
        let (context, permits, node) = (Arc::clone(context), Arc::clone(&permits), node.clone());
        looks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let paused = context.config.paused_until(&node.name, clock::now()).is_some();
            let findings = findings_of(&context, &node, &desired, left, (alone, judged)).await;
            (number, if paused { findings.into_iter().map(downgraded).collect() } else { findings })
        });
    }
    let mut found: Vec<(usize, Vec<CheckupItem>)> = looks.join_all().await;
    found.sort_by_key(|(number, _)| *number);
    found.into_iter().flat_map(|(_, findings)| findings).collect()
}

/// A certificate, the generation that the node should serve, and the newest one, which a renewal would replace.
type Desired = (CertName, Option<Generation>, Option<Kept>);

/// A paused node is tested, but its failures count only as warnings.
fn downgraded(finding: CheckupItem) -> CheckupItem {
    let state = if finding.state == State::Failure { State::Warning } else { finding.state };
    CheckupItem { state, what: format!("{} (paused)", finding.what), ..finding }
}

async fn findings_of(
    context: &Arc<Context>,
    of: &Node,
    desired: &[Desired],
    left: Vec<Leftover>,
    (alone, judged): (bool, bool),
) -> Vec<CheckupItem> {
    let node = &of.name;
    let bad = |failure: &Finding| CheckupItem::bad(Area::Nodes, failure);
    let generations = desired.iter().map(|(name, generation, _)| (name.clone(), generation.clone()));
    let looked = match disks::at(context, node, &generations.collect(), left).await {
        Ok(looked) => looked,
        Err(failure) => {
            let finding = DiskVerdict::NotLooked { failure }.finding(node);
            return finding.iter().map(bad).collect();
        }
    };
    let mut findings = of_looked(node, &looked, clock::now());
    if let Some(installed) = looked.receiver.as_ref().filter(|_| judged) {
        findings.extend(receiver::checked(&context.config, &context.secrets, of, installed).await);
    }
    for (name, _, kept) in desired.iter().filter(|_| alone) {
        let Some(certificate) = context.config.certificate(name) else { continue };
        let prepared = rehearse::prepare_one(context, certificate, kept.as_ref(), node).await;
        if let Err(failure) | Ok(Delivery::Ended(Outcome::Failed { failure })) = prepared {
            findings.retain(|finding| finding.state != State::Ok);
            findings.push(bad(&failure));
            break;
        }
    }
    findings
}
