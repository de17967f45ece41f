//! One rollout: the machine decides, and a session for each node acts and reports back.

pub(crate) mod session;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::cert::{CertName, Generation, NodeName, Pair};
use crate::model::{Finding, Over, Served};
use crate::node::Bundle;
use crate::plan::rollout::{Action, Event, Outcome, Rollout};
use crate::plan::{Deliver, NodeTask};

use crate::context::Context;
use crate::context::failure::{abandoned, bug};
use session::Session;

/// The outcomes of a rollout, and its last handshakes.
pub struct Delivered {
    pub(crate) outcomes: BTreeMap<NodeName, Outcome>,
    pub(crate) served: Vec<Served>,
    /// What nodes claim to hold: the number of a newer generation, or `None` after accepting.
    pub(crate) fences: Vec<Held>,
}

/// How long committed nodes, or those going back, are awaited after SIGTERM; a node finishes by itself what it has
/// begun. Most reloads take a second, and the whole process has ten.
const FINISH_WHEN_STOPPED: Duration = Duration::from_secs(4);

type SessionEvent = (Event, Vec<Served>);
type Held = (NodeName, CertName, Option<u64>);

/// # Errors
/// A stored pair cannot be read: nothing was sent.
pub async fn deliver(
    context: &Arc<Context>,
    deliver: &Deliver,
    permits: &Arc<Semaphore>,
) -> Result<Delivered, Finding> {
    let pairs = pairs(context, deliver)?;
    let mut machine = Rollout::new(deliver);
    let (events, mut incoming) = mpsc::unbounded_channel::<SessionEvent>();
    let (fence, mut fences) = mpsc::unbounded_channel();
    let mut orders: BTreeMap<NodeName, mpsc::UnboundedSender<Action>> = BTreeMap::new();
    let mut sessions = JoinSet::new();
    let mut names = BTreeMap::new();
    for task in &deliver.nodes {
        let (order, ordered) = mpsc::unbounded_channel();
        let session = Session {
            context: Arc::clone(context),
            node: task.node.clone(),
            bundles: bundles(context, task, &pairs),
            absent: task.absent().cloned().collect(),
            events: events.clone(),
            fences: fence.clone(),
            ordered,
        };
        // The canary needs no permit: the others keep their sessions until it is verified, so it must not wait for one
        // of theirs.
        let is_canary = deliver.canary.as_ref() == Some(&task.node);
        let handle = sessions.spawn(session.run((!is_canary).then(|| Arc::clone(permits))));
        names.insert(handle.id(), task.node.clone());
        orders.insert(task.node.clone(), order);
    }
    drop(events);

    // By node: an event replaces what its own node served, and no look at the others is needed.
    let mut served: BTreeMap<NodeName, Vec<Served>> = BTreeMap::new();
    let (mut stop, mut ends) = (context.stop.clone(), context.stop.clone());
    let mut stopped = false;
    let patience = async {
        crate::context::stopped(&mut ends).await;
        tokio::time::sleep(FINISH_WHEN_STOPPED).await;
    };
    tokio::pin!(patience);
    loop {
        let event = tokio::select! {
            received = incoming.recv() => match received {
                Some((event, seen)) => {
                    if let Some(first) = seen.first() {
                        remember(served.entry(first.node.clone()).or_default(), seen);
                    }
                    event
                }
                None => break,
            },
            // A panic in one session ends that session alone.
            Some(Err(error)) = sessions.join_next() => {
                let Some(node) = names.get(&error.id()) else { continue };
                Event::Lost(node.clone(), bug(node, &error))
            }
            () = crate::context::stopped(&mut stop), if !stopped => {
                stopped = true;
                Event::Stop
            }
            () = &mut patience => {
                machine.on(Event::Abandon(abandoned()));
                break;
            }
        };
        for action in machine.on(event) {
            // A session that has ended needs no orders.
            let _ = orders.get(action.node()).map(|order| order.send(action.clone()));
        }
    }
    let mut outcomes: BTreeMap<NodeName, Outcome> =
        machine.outcomes().map(|(node, outcome)| (node.clone(), outcome.clone())).collect();
    for task in &deliver.nodes {
        let lost = || Outcome::Unknown { failure: bug(&task.node, "its session ended without an answer") };
        outcomes.entry(task.node.clone()).or_insert_with(lost);
    }
    fences.close();
    let fences = core::iter::from_fn(|| fences.try_recv().ok()).collect();
    let served = served.into_values().flatten().collect();
    Ok(Delivered { outcomes, served, fences })
}

fn pairs(context: &Context, deliver: &Deliver) -> Result<BTreeMap<CertName, (Generation, Arc<Pair>)>, Finding> {
    let load = |(name, generation): (&CertName, &Generation)| {
        let pair = context.store.pair(name, generation)?;
        Ok((name.clone(), (generation.clone(), Arc::new(pair))))
    };
    deliver.certificates.iter().map(load).collect()
}

fn bundles(context: &Context, task: &NodeTask, pairs: &BTreeMap<CertName, (Generation, Arc<Pair>)>) -> Vec<Bundle> {
    let bundle = |name: &CertName| {
        let (generation, pair) = pairs.get(name)?;
        let install = context.config.install(&task.node, name)?;
        Some(Bundle {
            certificate: name.clone(),
            generation: generation.clone(),
            pair: Arc::clone(pair),
            install: Arc::clone(install),
            older: task.older.contains(name),
        })
    };
    task.certificates.keys().filter_map(bundle).collect()
}

/// Later handshakes replace earlier ones with the same address, name and transport.
pub(crate) fn remember(served: &mut Vec<Served>, mut seen: Vec<Served>) {
    let places: BTreeSet<_> = seen.iter().map(place).collect();
    let answered = |old: &&Served| old.handshakes.is_some_and(|it| it.answered > 0 || it.before);
    let before: BTreeSet<_> = served.iter().filter(answered).map(place).collect();
    for later in &mut seen {
        let is_before = before.contains(&place(later));
        later.handshakes.iter_mut().for_each(|handshakes| handshakes.before = is_before);
    }
    served.retain(|old| !places.contains(&place(old)));
    served.extend(seen);
}

type Place = (NodeName, CertName, Option<core::net::SocketAddr>, crate::cert::DnsName, Over);

fn place(served: &Served) -> Place {
    (served.node.clone(), served.certificate.clone(), served.address, served.sni.clone(), served.over)
}
