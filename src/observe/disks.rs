//! Looks at the nodes' disks over SSH without changes: for `check --deep`, and once a day in a pass.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{CertName, Generation, NodeName};
use crate::model::{Disk, Finding, Leftover, Looked, Observed};
use crate::node::{self, Expected, Wanted};
use crate::plan;

use crate::context::failure::of_node;
use crate::context::{Context, clock};
use crate::observe::route::endpoint;
use crate::ssh::Endpoint;

/// Connecting, logging in, and the node's configuration test (30 s there).
const LOOK_DEADLINE: Duration = Duration::from_secs(60);

/// Looks at the disks that are due and keeps the result. `true`: the known differences have changed.
pub(crate) async fn compare(context: &Arc<Context>, observed: &mut Observed) -> bool {
    let now = clock::now();
    plan::disks::prune(&mut observed.state, &context.config);
    let nodes = plan::disks::due(&context.config, observed, now);
    if nodes.is_empty() || plan::clock::plausible(now, &plan::Evidence::of(observed)).is_err() {
        return false;
    }
    let before = observed.state.disks.clone();
    look(context, observed, nodes).await;
    // If the state cannot be written, the only cost is another login tomorrow.
    let _ = context.store.write_state(&observed.state);
    before != observed.state.disks
}

/// Looks at these nodes concurrently, up to the limit of sessions.
pub async fn look(context: &Arc<Context>, observed: &mut Observed, nodes: BTreeSet<NodeName>) {
    let permits = Arc::new(Semaphore::new(context.config.sessions));
    let mut looks = JoinSet::new();
    for node in nodes {
        let desired = desired(context, observed, &node);
        let left = plan::places::left(&observed.state, &context.config, &node);
        let (context, permits) = (Arc::clone(context), Arc::clone(&permits));
        looks.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let looked = at(&context, &node, &desired, left).await;
            (Disk { node, at: clock::now(), looked }, desired)
        });
    }
    while let Some(Some(looked)) = context.unless_stopped(looks.join_next()).await {
        // A panic loses only that node's result.
        let Ok((disk, desired)) = looked else { continue };
        plan::disks::record(&mut observed.state, &context.config, &desired, &disk);
        observed.disks.push(disk);
    }
    observed.disks.sort_by(|a, b| a.node.cmp(&b.node));
}

/// Certificates, each with the generation that a node should serve.
pub(crate) type Desired = Vec<(CertName, Option<Generation>)>;

/// The certificates of this node, with the stored generation that it should serve.
fn desired(context: &Context, observed: &Observed, node: &NodeName) -> Desired {
    let of_node = observed.store.iter().filter(|(name, _)| context.config.install(node, name).is_some());
    let desired = of_node.map(|(name, stored)| {
        let desired = plan::hold::desired(name, stored, &observed.state, clock::now());
        let generation = desired.map(|desired| desired.generation.clone());
        (name.clone(), generation)
    });
    desired.collect()
}

/// Looks at one node.
///
/// `left`: what is remembered of it, beside what a look sees.
pub(crate) async fn at(
    context: &Context,
    node: &NodeName,
    desired: &Desired,
    left: Vec<Leftover>,
) -> Result<Looked, Finding> {
    let wanted = wanted(context, node, desired)?;
    let _waiting = context.progress.waiting("look at the disk of", node);
    let endpoint = endpoint(&context.config, &context.secrets, node).await?;
    let looked = node::look(endpoint, wanted, LOOK_DEADLINE).await.map_err(|error| of_node(node, &error))?;
    let mut looked = ours(context, node, looked);
    looked.left.extend(left.into_iter().map(|left| left.folder));
    Ok(looked)
}

/// The same with an administrator's login, whatever is stored.
pub(crate) async fn as_root(context: &Context, node: &NodeName, administrator: Endpoint) -> Result<Looked, Finding> {
    let configured = context.config.certificates.iter().filter(|certificate| certificate.nodes.contains(node));
    let desired: Desired = configured.map(|certificate| (certificate.name.clone(), None)).collect();
    let wanted = wanted(context, node, &desired)?;
    let _waiting = context.progress.waiting("look at the disk of", node);
    let looked =
        node::look_as_root(administrator, wanted, LOOK_DEADLINE).await.map_err(|error| of_node(node, &error))?;
    Ok(ours(context, node, looked))
}

fn wanted(context: &Context, node: &NodeName, desired: &Desired) -> Result<Vec<Wanted>, Finding> {
    let mut wanted = Vec::new();
    for (certificate, generation) in desired {
        let Some(install) = context.config.install(node, certificate) else { continue };
        let expected = match generation {
            Some(generation) => {
                let pair = context.store.pair(certificate, generation)?;
                Some(Expected::of(&pair, install))
            }
            None => None,
        };
        wanted.push(Wanted { certificate: certificate.clone(), install: Arc::clone(install), expected });
    }
    Ok(wanted)
}

fn ours(context: &Context, node: &NodeName, mut looked: Looked) -> Looked {
    // The node knows only what it was asked about, not what else the configuration has for it.
    let known = |folder: &str| {
        let name = folder.rsplit('/').next().and_then(|name| CertName::parse(name).ok());
        let configured = |name: &CertName| {
            context.config.install(node, name).is_some() || plan::places::is_discovered(&context.config, name.as_str())
        };
        name.is_some_and(|name| configured(&name))
    };
    looked.left.retain(|folder| !known(folder));
    looked.renewals = plan::renewals::ours(&context.config, node, looked.renewals);
    looked
}
