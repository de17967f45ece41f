//! Asks once a day, in parallel with the handshakes, whether the CA has revoked a stored certificate. If it cannot be
//! asked, the report has a note, never an alarm.

use core::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::acme;
use crate::cert::{self, CertName, Chain, Fingerprint, Generation};
use crate::http::HttpOptions;
use crate::model::{Advice, Code, Crl, Finding, Observed};
use crate::plan;
use crate::store::Store;

use crate::context::clock;
use crate::context::failure::failure;

/// For one certificate and all URLs of its list; no delivery waits longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// The answer for one stored certificate.
pub struct Asked {
    fingerprint: Fingerprint,
    crl: Crl,
}

/// Fetches the lists of these generations.
pub async fn ask(store: &Store, generations: Vec<(CertName, Generation)>, options: &HttpOptions) -> Vec<Asked> {
    let mut questions = JoinSet::new();
    for (name, generation) in generations {
        // A pair that cannot be read is reported by the step that needs it.
        let Ok(pair) = store.pair(&name, &generation) else { continue };
        let options = options.clone();
        let chain = pair.chain().clone();
        questions.spawn(async move {
            let mut crl = unasked(&chain);
            let asked = timeout(PATIENCE, about(&options, &name, &chain, &mut crl)).await;
            if asked.is_err() {
                crl.failure =
                    Some(unknown(&name, format!("{}: no answer in time", crl.url.as_deref().unwrap_or("its list"))));
            }
            Asked { fingerprint: chain.leaf.fingerprint, crl }
        });
    }
    questions.join_all().await
}

/// Records the answers in the persisted state.
pub fn keep(observed: &mut Observed, asked: Vec<Asked>) {
    for Asked { fingerprint, crl } in asked {
        plan::crls::record(&mut observed.state, fingerprint, crl, clock::now());
    }
}

fn unasked(chain: &Chain) -> Crl {
    let url = cert::crl_urls(chain).into_iter().next();
    let not_after = chain.leaf.not_after;
    Crl { asked_at: clock::now(), url, next_update: None, revoked: None, failure: None, not_after }
}

/// Uses the first URL that returns a list of the issuer.
async fn about(options: &HttpOptions, name: &CertName, chain: &Chain, crl: &mut Crl) {
    for url in cert::crl_urls(chain) {
        let read = match acme::fetch_crl(&url, options).await {
            Ok(der) => cert::read_crl(&der, &url, chain, clock::now()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(list) => {
                (crl.next_update, crl.revoked, crl.failure) = (list.next_update, list.revoked, None);
                crl.url = Some(url);
                return;
            }
            Err(why) => crl.failure = Some(unknown(name, why)),
        }
    }
}

fn unknown(name: &CertName, why: String) -> Finding {
    let next = "nothing: certd asks again tomorrow";
    failure(
        Code::Crl,
        name,
        format!("cannot tell whether it is revoked: {why}"),
        next,
        Advice::Retry { after_seconds: None },
    )
}
