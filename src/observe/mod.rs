//! Gathers facts without changing anything: what the store holds and what each node serves.

pub mod ari;
pub mod discover;
pub mod disks;
pub mod dns;
pub(crate) mod failover;
pub(crate) mod health;
pub mod revocations;
pub mod route;
pub mod ssh_tunnel;
pub mod watched;
pub(crate) mod witness;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::cert::CertName;
use crate::config::{Certificate, Config};
use crate::context::failure::of_damage;
use crate::context::{Context, clock, provider};
use crate::model::{Beside, Depth, FailoverNotes, FailoverSeen, Finding, Observed, Scope, Served};
use crate::plan;
use crate::report::Done;
use crate::store::{Store, StoreError};

use route::ProbeTarget;

/// For queries that run in parallel with the handshakes and that the pass can do without.
pub(crate) const ASIDE: Duration = Duration::from_secs(15);

/// Gathers everything in the scope concurrently.
///
/// # Errors
/// The state directory cannot be read. A node's failure is an observation, not an error.
pub async fn gather(context: &Arc<Context>, scope: Scope) -> Result<Observed, Finding> {
    let depth = scope.depth;
    let mut observed = known(context, scope)?;
    if depth == Depth::Stored {
        return Ok(observed);
    }
    let lists = if depth == Depth::Due { plan::crls::due(&observed, clock::now()) } else { Vec::new() };
    let (scope, options) = (&observed.asked, context.http_options());
    let ((served, beside), watched, inventory, windows, (), lists, health) = tokio::join!(
        probe_all(context, scope),
        watched::look(&context.config, scope, &context.secrets.watch_roots),
        async {
            if matches!(depth, Depth::Dns | Depth::Disk | Depth::Rehearse) {
                dns::inventory(context, scope).await
            } else {
                None
            }
        },
        ari::ask_due(context, &observed),
        token(context, scope),
        revocations::ask(&context.store, lists, &options),
        async {
            // What the service has seen costs no request.
            if scope.health { health::look(context, scope).await } else { context.health.all() }
        },
    );
    observed.health = health;
    (observed.served, observed.beside) = (served, beside);
    (observed.watched, observed.inventory) = (watched, inventory);
    plan::quic::recall(&mut observed, clock::now());
    revocations::keep(&mut observed, lists);
    ari::keep(context, &mut observed, windows);
    if depth == Depth::Disk {
        let now = clock::now();
        let (lists, nodes) = (plan::crls::all(&observed, now), plan::disks::all(&context.config, &observed, now));
        let lists = revocations::ask(&context.store, lists, &options).await;
        disks::look(context, &mut observed, nodes).await;
        revocations::keep(&mut observed, lists);
    }
    Ok(observed)
}

/// Bounded, so that nodes do not wait for the DNS API; the next pass asks again.
async fn token(context: &Context, scope: &Scope) {
    if scope.depth == Depth::Due && scope.may_issue {
        let _waiting = context.progress.waiting("question to", "the DNS provider");
        let _ = timeout(ASIDE, provider::ask_token(context, false)).await;
    }
}

/// Damage that was found while the store was read.
pub fn damages(store: &Store) -> Done {
    Done { failures: store.damages().iter().map(of_damage).collect(), ..Done::default() }
}

/// Unfinished revocations and when they began. One that cannot be read is reported as damage of the store.
pub fn revocations(store: &Store, observed: &Observed) -> BTreeMap<CertName, Timestamp> {
    let begun = |name: &CertName| Some((name.clone(), store.revocation(name).ok()??.begun_at));
    observed.store.keys().filter_map(begun).collect()
}

/// The observation of the store alone.
fn known(context: &Context, scope: Scope) -> Result<Observed, StoreError> {
    let store = &context.store;
    let mut observed = Observed { asked: scope, state: store.state()?, ledger: store.ledger()?, ..Observed::default() };
    observed.failover = failover_seen(store);
    for certificate in wanted(&context.config, &observed.asked) {
        observed.store.insert(certificate.name.clone(), store.stored(&certificate.name)?);
    }
    Ok(observed)
}

/// A journal of failover that cannot be read is reported, and keeps no certificate from its renewal.
fn failover_seen(store: &Store) -> FailoverSeen {
    match store.withdrawals() {
        Ok(all) => FailoverSeen { withdrawn: all.open, notes: store.failover_notes() },
        Err(error) => {
            let notes = FailoverNotes { at: clock::now(), findings: vec![error.into()] };
            FailoverSeen { withdrawn: Vec::new(), notes: Some(notes) }
        }
    }
}

/// What each node serves, in the configuration's order, and what it has beside that.
async fn probe_all(context: &Context, scope: &Scope) -> (Vec<Served>, Vec<Beside>) {
    let (config, secrets) = (&context.config, &context.secrets);
    let sessions = Arc::new(Semaphore::new(config.sessions));
    let mut probes = JoinSet::new();
    // One opener for all certificates of a node, since it limits the logins there.
    let mut openers = BTreeMap::new();
    for certificate in wanted(config, scope) {
        for node in certificate.nodes.iter().filter(|node| scope.wants_node(node)) {
            let Some(node) = config.node(node) else { continue };
            let open = openers.entry(&node.name).or_insert_with(|| ssh_tunnel::session_each(config, secrets, node));
            for target in ProbeTarget::all(config, certificate, node, open) {
                // A pass, which decides by what visitors of today get, makes one handshake.
                let target = if scope.depth == Depth::Due { target } else { target.with_beside() };
                let number = probes.len();
                let permits = target.through_ssh().then(|| Arc::clone(&sessions));
                let roots = context.roots.clone();
                let (progress, name) = (context.progress.clone(), node.name.clone());
                probes.spawn(async move {
                    let _permit = match permits {
                        Some(permits) => permits.acquire_owned().await.ok(),
                        None => None,
                    };
                    let _waiting = progress.waiting("handshake with", name);
                    (number, target.look(&roots).await)
                });
            }
        }
    }
    // A panic loses only that handshake.
    let mut looks = BTreeMap::new();
    while let Some(joined) = probes.join_next().await {
        looks.extend(joined.ok());
    }
    let (served, beside): (Vec<_>, Vec<_>) = looks.into_values().unzip();
    (served.concat(), beside.concat())
}

fn wanted<'a>(config: &'a Config, scope: &'a Scope) -> impl Iterator<Item = &'a Certificate> {
    config.certificates.iter().filter(|certificate| scope.wants(&certificate.name))
}
