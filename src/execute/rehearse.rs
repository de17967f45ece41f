//! The rehearsal of one certificate: a TXT record is made, seen and removed; each node prepares and aborts.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::{Chain, Generation, NodeName, Pair, PrivateKey};
use crate::config::Certificate;
use crate::model::ConfigTest;
use crate::model::{Finding, Kept};
use crate::node::{Bundle, Dialogue};
use crate::plan;
use crate::plan::rollout::Outcome;
use crate::report::{Delivery, Issuance};

use super::deliver::session::{PREPARE_DEADLINE, judged};
use super::issue;
use crate::context::failure::{bug, interrupted, of_node};
use crate::context::progress::{Event, Phase};
use crate::context::{Context, clock};
use crate::observe::route::endpoint;

/// Carries out a planned rehearsal.
///
/// # Errors
/// The stored pair cannot be read, or the process received a stop signal.
pub(crate) async fn as_planned(
    context: &Arc<Context>,
    step: &plan::Rehearse,
    permits: &Arc<Semaphore>,
) -> Result<Rehearsed, Finding> {
    let gone = || bug(&step.certificate, "a certificate that the configuration does not have");
    let certificate = context.config.certificate(&step.certificate).ok_or_else(gone)?;
    let stored = context.store.stored(&step.certificate)?;
    let rehearsed = try_one(context, certificate, stored.current.as_ref(), &step.nodes, permits);
    context.unless_stopped(rehearsed).await.unwrap_or_else(|| Err(interrupted(&step.certificate)))
}

pub struct Rehearsed {
    pub issuing: Issuance,
    pub nodes: Vec<(NodeName, Delivery)>,
}

/// Tries the names and these nodes, all at once.
///
/// # Errors
/// The stored pair cannot be read.
pub(crate) async fn try_one(
    context: &Arc<Context>,
    certificate: &Certificate,
    kept: Option<&Kept>,
    nodes: &[NodeName],
    permits: &Arc<Semaphore>,
) -> Result<Rehearsed, Finding> {
    let sent = stand_in(context, certificate, kept)?;
    let mut prepared = JoinSet::new();
    for node in nodes.iter().cloned() {
        let bundle = bundle(context, certificate, &sent, &node)?;
        let (context, permits) = (Arc::clone(context), Arc::clone(permits));
        let unsigned = sent.unsigned;
        prepared.spawn(async move {
            let _permit = permits.acquire_owned().await;
            let ended = prepare(&context, &node, bundle, unsigned).await;
            (node, ended)
        });
    }
    let (issuing, nodes) = tokio::join!(issue::rehearse(context, certificate), prepared.join_all());
    let issuing = match issuing {
        Ok(()) if issue::makes_records(&context.config) => Issuance::Rehearsed,
        Ok(()) => Issuance::RehearsedStanding,
        Err(failure) => Issuance::Failed { failure },
    };
    Ok(Rehearsed { issuing, nodes })
}

/// Prepares one certificate at one node, and aborts.
///
/// # Errors
/// The stored pair cannot be read.
pub(crate) async fn prepare_one(
    context: &Context,
    certificate: &Certificate,
    kept: Option<&Kept>,
    node: &NodeName,
) -> Result<Delivery, Finding> {
    let sent = stand_in(context, certificate, kept)?;
    let bundle = bundle(context, certificate, &sent, node)?;
    Ok(prepare(context, node, bundle, sent.unsigned).await)
}

fn bundle(context: &Context, certificate: &Certificate, sent: &StandIn, node: &NodeName) -> Result<Bundle, Finding> {
    let gone = || bug(node, "a node that this certificate is not configured for");
    let certificate = certificate.name.clone();
    let install = context.config.install(node, &certificate).cloned().ok_or_else(gone)?;
    let (generation, pair) = (sent.generation.clone(), Arc::clone(&sent.pair));
    Ok(Bundle { certificate, generation, pair, install, older: false })
}

async fn prepare(context: &Context, node: &NodeName, bundle: Bundle, unsigned: bool) -> Delivery {
    let show = |phase, detail: &str| {
        context.progress.say(Event::Node { node: node.clone(), phase, detail: detail.to_owned() });
    };
    show(Phase::Preparing, "");
    let opened = async {
        let endpoint = endpoint(&context.config, &context.secrets, node).await?;
        let prepared = if unsigned {
            Dialogue::rehearse(endpoint, vec![bundle], PREPARE_DEADLINE).await
        } else {
            match Dialogue::open(endpoint, vec![bundle], PREPARE_DEADLINE).await {
                Ok((dialogue, prepared)) => {
                    dialogue.abort().await;
                    Ok(prepared)
                }
                Err(error) => Err(error),
            }
        };
        prepared.map_err(|error| of_node(node, &judged(error, clock::now())))
    };
    match opened.await {
        Ok(prepared) => {
            context.note_node_clock(node, prepared.clock);
            context.note_narrowed_keys(node, &prepared.narrowed);
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

/// What is prepared at the nodes in place of the certificate yet to be issued.
struct StandIn {
    generation: Generation,
    pair: Arc<Pair>,
    /// Self-signed: no node may ever commit it.
    unsigned: bool,
}

/// The stored pair, where nodes would accept it today: with the configured names, and valid. Otherwise a self-signed
/// one.
fn stand_in(context: &Context, certificate: &Certificate, kept: Option<&Kept>) -> Result<StandIn, Finding> {
    let fit = |kept: &&Kept| kept.leaf.names == certificate.names && kept.leaf.not_after > clock::now();
    if let Some(kept) = kept.filter(fit) {
        let pair = context.store.pair(&certificate.name, &kept.generation)?;
        return Ok(StandIn { generation: kept.generation.clone(), pair: Arc::new(pair), unsigned: false });
    }
    let (generation, pair) = unsigned(certificate)?;
    Ok(StandIn { generation, pair: Arc::new(pair), unsigned: true })
}

/// A self-signed pair.
pub(crate) fn unsigned(certificate: &Certificate) -> Result<(Generation, Pair), Finding> {
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
