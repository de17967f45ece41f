//! Gather facts and change nothing: what the store holds, what each node serves.

pub mod ari;
pub mod discover;
pub mod disks;
pub mod dns;
pub mod revocations;
pub mod route;
pub mod ssh_tunnel;
pub mod watched;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cert::{CertName, Roots};
use crate::config::{Certificate, Config, Via};
use crate::context::failure::of_damage;
use crate::context::{Context, Secrets, clock, progress, provider};
use crate::model::{Asked, Failure, Kept, Observed, Served, UNKNOWN_CA};
use crate::plan;
use crate::report::Done;
use crate::store::{Store, StoreError};

use route::ProbeTarget;

/// For a question that is put beside the handshakes, and that nothing in this pass depends on.
pub(crate) const ASIDE: Duration = Duration::from_secs(15);
/// Handshakes in flight: well below the usual limit of 1,024 open files.
const PROBES: usize = 400;

/// # Errors
/// The state directory cannot be read. What a node does or fails to do is a fact and no error.
pub async fn observe(
    config: &Arc<Config>,
    secrets: &Arc<Secrets>,
    store: &Store,
    roots: &Roots,
    asked: Asked,
) -> Result<Observed, StoreError> {
    let mut observed = known(config, store, asked)?;
    observed.served = probe_all(config, secrets, &observed.asked, roots).await;
    Ok(observed)
}

/// What was found broken in the store while it was read.
pub fn damages(store: &Store) -> Done {
    Done { failures: store.damages().iter().map(of_damage).collect(), ..Done::default() }
}

/// Revocations that were begun and not ended, and when. One that cannot be read is a damage that the store tells.
pub fn revocations(store: &Store, observed: &Observed) -> BTreeMap<CertName, Timestamp> {
    let begun = |name: &CertName| Some((name.clone(), store.revocation(name).ok()??.begun_at));
    observed.store.keys().filter_map(begun).collect()
}

/// What the store holds.
pub(crate) fn known(config: &Config, store: &Store, asked: Asked) -> Result<Observed, StoreError> {
    let mut observed = Observed { asked, tried: store.tried()?, ledger: store.ledger()?, ..Observed::default() };
    for certificate in wanted(config, &observed.asked) {
        observed.store.insert(certificate.name.clone(), store.stored(&certificate.name)?);
    }
    Ok(observed)
}

/// What each node serves, in the configuration's order.
pub(crate) async fn probe_all(
    config: &Arc<Config>,
    secrets: &Arc<Secrets>,
    asked: &Asked,
    roots: &Roots,
) -> Vec<Served> {
    let (direct, sessions) = (Arc::new(Semaphore::new(PROBES)), Arc::new(Semaphore::new(config.sessions)));
    let mut probes = JoinSet::new();
    // One for all certificates of a node: it counts the logins there.
    let mut openers = BTreeMap::new();
    for certificate in wanted(config, asked) {
        for node in certificate.nodes.iter().filter(|node| asked.wants_node(node)) {
            let Some(node) = config.node(node) else { continue };
            let open = openers.entry(&node.name).or_insert_with(|| ssh_tunnel::session_each(config, secrets, node));
            for target in ProbeTarget::all(certificate, node, open) {
                let number = probes.len();
                let permits = if node.probe.via == Via::Ssh { &sessions } else { &direct };
                let (roots, permits) = (roots.clone(), Arc::clone(permits));
                probes.spawn(async move {
                    let _permit = permits.acquire_owned().await;
                    (number, target.look(&roots).await)
                });
            }
        }
    }
    // A panic in one handshake leaves that one unseen.
    let mut served: Vec<(usize, Vec<Served>)> = Vec::new();
    while let Some(joined) = probes.join_next().await {
        served.extend(joined.ok());
    }
    served.sort_by_key(|(number, _)| *number);
    served.into_iter().flat_map(|(_, served)| served).collect()
}

fn wanted<'a>(config: &'a Config, asked: &'a Asked) -> impl Iterator<Item = &'a Certificate> {
    config.certificates.iter().filter(|certificate| asked.wants(&certificate.name))
}

/// Probes and questions to the CA at once: neither waits for the other.
pub async fn observe_with_ari(context: &Arc<Context>, asked: Asked) -> Result<Observed, Failure> {
    let known = known(&context.config, &context.store, asked.clone());
    let mut observed = known.map_err(|error| Failure::from(&error))?;
    let stored = observed.store.iter().filter_map(|(name, stored)| Some((name, stored.current.as_ref()?)));
    let due = |(name, kept): &(&CertName, &Kept)| {
        let now = clock::now();
        plan::ari::ask_at(&observed.tried, name, &kept.leaf, now).is_some_and(|at| at <= now)
    };
    let questions: Vec<_> = if asked.may_issue { stored.filter(due).collect() } else { Vec::new() };
    let mut answers = JoinSet::new();
    for (name, kept) in questions {
        let (context, name, leaf) = (Arc::clone(context), name.clone(), kept.leaf.clone());
        // Where `meta.json` was lost, the CA of choice is the likeliest.
        let ca = if kept.meta.ca == UNKNOWN_CA { &context.config.acme.host } else { &kept.meta.ca }.clone();
        answers.spawn(async move { (ari::ask_ari(&context, &ca, &leaf).await, name, leaf) });
    }
    // Nodes do not wait for the DNS API: what it does not say in time is asked by the next pass.
    let token = async {
        if observed.asked.may_issue {
            let _ = timeout(ASIDE, provider::ask_token(context, false)).await;
        }
    };
    let lists = plan::crls::due(&observed, clock::now());
    let lists = revocations::ask(&context.config, &context.store, lists, context.secrets.network_ca.as_deref());
    let (served, watched, answers, (), lists) = tokio::join!(
        probe_all(&context.config, &context.secrets, &observed.asked, &context.roots),
        watched::look(&context.config, &observed.asked, &context.secrets.watch_roots),
        answers.join_all(),
        token,
        lists,
    );
    revocations::keep(&mut observed, lists);
    (observed.served, observed.watched) = (served, watched);
    for (answer, certificate, leaf) in answers {
        match answer {
            Ok(ari) => plan::ari::answered(&mut observed.tried, certificate, ari),
            // Any error means "no ARI today", never "no renewal".
            Err(failure) => {
                plan::ari::failed(&mut observed.tried, certificate.clone(), &leaf, &failure, clock::now());
                let step = format!("the CA gives no renewal window today: {}", failure.what);
                context.progress.say(progress::Event::Issue { certificate, step });
            }
        }
    }
    Ok(observed)
}
