//! Renewal information, as an observation that can be kept.

use jiff::SignedDuration;

use super::account::{self, http};
use super::failure::of_acme;
use crate::acme::renewal_window;
use crate::cert::Leaf;
use crate::observed::{Advice, Ari, Failure};
use crate::pass::{Context, clock};
use crate::plan::ari::{LONGEST, SHORTEST, USUAL};

/// Asks the CA when it would like this certificate renewed.
///
/// # Errors
/// Any: there is no renewal information today, and the rule of the lifetime holds.
/// `ca`: the host of the CA that issued it.
pub async fn ask_ari(context: &Context, ca: &str, leaf: &Leaf) -> Result<Ari, Failure> {
    let Some(id) = &leaf.ari_id else {
        return Err(Failure {
            code: "acme-no-ari-id".to_owned(),
            object: leaf.serial.clone(),
            what: "the certificate names no issuer's key, so that the CA cannot be asked about it".to_owned(),
            next: "nothing: it is renewed by its lifetime".to_owned(),
            advice: Advice::Person,
        });
    };
    let ca = account::ca(context, ca)?;
    let now = clock::now();
    let http = http(context, ca)?;
    let window = renewal_window(&http, id, now).await;
    context.hear_the_time(ca, &http);
    let window = window.map_err(|error| of_acme(&ca.host, &error))?;
    let wait = window.ask_again.and_then(|wait| SignedDuration::try_from(wait).ok()).unwrap_or(USUAL);
    Ok(Ari {
        fingerprint: leaf.fingerprint,
        start: window.start,
        end: window.end,
        explanation: window.explanation,
        asked_at: now,
        ask_again: now + wait.clamp(SHORTEST, LONGEST),
        doubted: false,
    })
}

/// Hears what time it is by the clock of the first CA that tells it. That none can be reached is told by whoever needs
/// more of them.
pub async fn ask_the_time(context: &Context) {
    for ca in context.config.cas() {
        let Ok(http) = http(context, ca) else { continue };
        if http.greet().await.is_ok() {
            context.hear_the_time(ca, &http);
        }
        if context.ca_clock().is_some() {
            return;
        }
    }
}
