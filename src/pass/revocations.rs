//! Has the CA revoked what is stored? Asked once a day, beside the handshakes; that it cannot be asked is a note and never
//! an alarm.

use core::time::Duration;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::acme;
use crate::cert::{self, CertName, Chain};
use crate::config::Config;
use crate::observed::{Advice, Crl, Failure, Kept, Observed};
use crate::plan;
use crate::store::Store;

use super::clock;
use super::failure::failure;

/// For all lists together: no delivery waits longer.
const PATIENCE: Duration = Duration::from_secs(25);

/// An answer about one stored certificate.
pub struct Asked {
    kept: Kept,
    crl: Crl,
}

/// Asks for the lists of these certificates' stored generations.
pub async fn ask(
    config: &Arc<Config>,
    store: &Store,
    observed: &Observed,
    names: Vec<CertName>,
    network_ca: Option<&str>,
) -> Vec<Asked> {
    let mut questions = JoinSet::new();
    for name in names {
        let Some(kept) = observed.store.get(&name).and_then(|stored| stored.current.clone()) else { continue };
        // A pair that cannot be read is told where it is needed.
        let Ok(pair) = store.pair(&name, &kept.generation) else { continue };
        let (config, network_ca) = (Arc::clone(config), network_ca.map(str::to_owned));
        let chain = pair.chain().clone();
        questions.spawn(async move {
            let crl = about(&config, &name, &chain, network_ca.as_deref()).await;
            Asked { kept, crl }
        });
    }
    questions.join_all().await
}

/// What is learned goes with what was tried.
pub fn keep(observed: &mut Observed, asked: Vec<Asked>) {
    for Asked { kept, crl } in asked {
        plan::crls::learned(&mut observed.tried, kept.leaf.fingerprint, crl, clock::now());
    }
}

/// The first of its places that answers with a list of the issuer's.
async fn about(config: &Config, name: &CertName, chain: &Chain, network_ca: Option<&str>) -> Crl {
    let not_after = chain.leaf.not_after;
    let urls = cert::crl_urls(chain);
    let mut crl =
        Crl { asked_at: clock::now(), url: urls.first().cloned(), next_update: None, revoked: None, failure: None, not_after };
    for url in urls {
        let fetched = timeout(PATIENCE, acme::fetch_crl(&url, config.network.proxy.as_ref(), network_ca)).await;
        let read = match fetched {
            Ok(Ok(der)) => cert::read_crl(&der, &url, chain, clock::now()).map_err(|error| error.to_string()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{url}: no answer in time")),
        };
        match read {
            Ok(said) => {
                return Crl { url: Some(url), next_update: said.next_update, revoked: said.revoked, failure: None, ..crl };
            }
            Err(why) => crl.failure = Some(unknown(name, why)),
        }
    }
    crl
}

fn unknown(name: &CertName, why: String) -> Failure {
    let next = "nothing: it is asked again tomorrow";
    failure("crl", name, format!("whether it is revoked is not known: {why}"), next, Advice::Retry { after_seconds: None })
}
