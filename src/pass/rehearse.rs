//! `renew --dry-run`: everything that renewal day needs, tried today. A TXT record is made, seen and removed; every node
//! is prepared and told to abort; nothing is ordered and nothing is changed.

use core::time::Duration;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{CertName, Chain, Generation, NodeName, Pair, PrivateKey};
use crate::config::Certificate;
use crate::node::{Bundle, Dialogue};
use crate::observed::{Asked, Failure, Observed};
use crate::plan;
use crate::plan::rollout::{ConfigTest, Outcome};
use crate::report::{self, Delivery, Done, Issuance, Report};

use super::deliver::session::endpoint;
use super::failure::{bug, interrupted, of_node};
use super::progress::{Event, Phase};
use super::{Context, clean, clock, issue, observe, stopped, watched};

const PREPARE_DEADLINE: Duration = Duration::from_secs(90);

/// # Errors
/// The state directory cannot be read or written. Everything else is in the report.
pub async fn rehearse(context: &Arc<Context>, asked: Asked) -> Result<Report, Failure> {
    let mut stop = context.stop.clone();
    let rehearsed = tokio::select! {
        rehearsed = act(context, asked) => Some(rehearsed),
        () = stopped(&mut stop) => None,
    };
    match rehearsed {
        Some(rehearsed) => rehearsed,
        None => {
            clean(context).await;
            Err(interrupted("this rehearsal"))
        }
    }
}

async fn act(context: &Arc<Context>, asked: Asked) -> Result<Report, Failure> {
    let watch_roots = &context.secrets.watch_roots;
    let (observed, watched) = tokio::join!(
        observe::observe(&context.config, &context.secrets, &context.store, &context.roots, asked.clone()),
        watched::look(&context.config, &asked, watch_roots)
    );
    let mut observed = observed.map_err(|error| Failure::from(&error))?;
    observed.watched = watched;
    let mut done = Done { failures: watch_roots.failures(&asked), ..Done::default() };
    let mut names = JoinSet::new();
    let mut nodes = JoinSet::new();
    let permits = Arc::new(Semaphore::new(context.config.sessions));
    for name in observed.store.keys() {
        let Some(certificate) = context.config.certificate(name).cloned() else { continue };
        let (generation, pair) = stand_in(context, &certificate, &observed)?;
        let pair = Arc::new(pair);
        for node in certificate.nodes.iter().cloned() {
            let Some(install) = context.config.install(&node, name).cloned() else { continue };
            let (certificate, generation) = (name.clone(), generation.clone());
            let bundle = Bundle { certificate, generation, pair: Arc::clone(&pair), install, older: false };
            let (context, permits) = (Arc::clone(context), Arc::clone(&permits));
            nodes.spawn(async move {
                let _permit = permits.acquire_owned().await;
                let name = bundle.certificate.clone();
                let ended = prepare(&context, &node, bundle).await;
                ((node, name), ended)
            });
        }
        let context = Arc::clone(context);
        names.spawn(async move { (certificate.name.clone(), issue::rehearse(&context, &certificate).await) });
    }
    let (names, nodes) = tokio::join!(names.join_all(), nodes.join_all());
    issue::ask_token(context, true).await;
    let made = issue::makes_records(&context.config);
    let well = || if made { Issuance::Rehearsed } else { Issuance::RehearsedStanding };
    let of_name = |(name, rehearsed): (CertName, Result<(), Failure>)| match rehearsed {
        Ok(()) => (name, well()),
        Err(failure) => (name, Issuance::Failed { failure }),
    };
    done.issued = names.into_iter().map(of_name).collect();
    done.delivered = nodes.into_iter().collect();
    done.failures.extend(clean(context).await);
    done.failures.extend(context.dns.take_warnings());
    let now = clock::now();
    let plan = plan::plan(&context.config, &observed, now);
    Ok(report::build("renew --dry-run", &context.config, &observed, plan, done, false, now))
}

async fn prepare(context: &Context, node: &NodeName, bundle: Bundle) -> Delivery {
    let show = |phase, detail: &str| {
        context.progress.say(Event::Node { node: node.clone(), phase, detail: detail.to_owned() });
    };
    show(Phase::Preparing, "");
    let opened = async {
        let endpoint = endpoint(&context.config, &context.secrets, node).await?;
        let opened = Dialogue::open(endpoint, vec![bundle], PREPARE_DEADLINE).await;
        opened.map_err(|error| of_node(node, &error))
    };
    match opened.await {
        Ok((dialogue, prepared)) => {
            dialogue.abort().await;
            show(Phase::Prepared, "");
            let test = match prepared.test {
                ConfigTest::Ok => None,
                ConfigTest::Failed(words) => Some(words),
            };
            Delivery::Rehearsed { test }
        }
        Err(failure) => {
            show(Phase::Failed, &failure.what);
            Delivery::Ended(Outcome::Failed { failure })
        }
    }
}

/// The stored pair; before the first issuance one that we sign ourselves, which no node ever commits.
fn stand_in(context: &Context, certificate: &Certificate, observed: &Observed) -> Result<(Generation, Pair), Failure> {
    let stored = observed.store.get(&certificate.name).and_then(|stored| stored.current.as_ref());
    if let Some(kept) = stored {
        let pair = context.store.pair(&certificate.name, &kept.generation).map_err(|error| Failure::from(&error))?;
        return Ok((kept.generation.clone(), pair));
    }
    let key = PrivateKey::generate(certificate.key_type).map_err(|error| bug("stand-in key", error))?;
    let signer = rcgen::KeyPair::from_pem(key.pem()).map_err(|error| bug("stand-in key", error))?;
    let names: Vec<String> = certificate.names.iter().map(ToString::to_string).collect();
    let signed = rcgen::CertificateParams::new(names).and_then(|params| params.self_signed(&signer));
    let signed = signed.map_err(|error| bug("stand-in certificate", error))?;
    let chain = Chain::parse(&signed.pem()).map_err(|error| bug("stand-in certificate", error))?;
    let generation = Generation::issued(clock::now(), 0, &chain.leaf.serial);
    let generation = generation.map_err(|error| bug("stand-in certificate", error))?;
    let pair = Pair::new(chain, key).map_err(|error| bug("stand-in certificate", error))?;
    Ok((generation, pair))
}
