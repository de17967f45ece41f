//! Renewal information, as an observation that can be kept.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::acme::renewal_window;
use crate::cert::{CertName, Leaf};
use crate::context::ca;
use crate::context::ca::http;
use crate::context::effect_failure::of_acme;
use crate::context::progress::Event;
use crate::context::{Context, clock};
use crate::model::{Advice, Ari, Code, Depth, Finding, Observed, UNKNOWN_CA};
use crate::observe::ASIDE;
use crate::plan::Evidence;
use crate::plan::ari::{LONGEST, SHORTEST, USUAL, answered, ask_at, failed};
use crate::plan::clock::plausible;

/// Asks the CA (`ca`: the host of the one that issued it) when it would like this certificate renewed.
///
/// # Errors
/// Any: there is no renewal information today, and the rule of the lifetime holds.
pub async fn ask_ari(context: &Context, ca: &str, leaf: &Leaf) -> Result<Ari, Finding> {
    let Some(id) = &leaf.ari_id else {
        return Err(Finding::new(
            Code::AcmeNoAriId,
            leaf.serial.clone(),
            "the certificate names no issuer's key, so that the CA cannot be asked about it",
            "nothing: it is renewed by its lifetime",
            Advice::Person,
        ));
    };
    let ca = ca::ca(context, ca)?;
    let now = clock::now();
    let http = http(context, ca)?;
    let asked = timeout(ASIDE, renewal_window(&http, id, now)).await;
    context.note_ca_clock(&ca.host, &http);
    let window = asked.map_err(|_| {
        Finding::new(
            Code::AcmeSlow,
            ca.host.clone(),
            format!("it did not say within {} s when it would like the certificate renewed", ASIDE.as_secs()),
            "nothing: certd asks again by itself, and the rule of the lifetime holds",
            Advice::Retry { after_seconds: None },
        )
    })?;
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

/// An answer about the certificate of this name.
pub(crate) type Answer = (Result<Ari, Finding>, CertName, Leaf);

/// Asks about every stored certificate that the CA is to be asked about by now, in a pass that may issue.
pub(crate) async fn ask_due(context: &Arc<Context>, observed: &Observed) -> Vec<Answer> {
    let mut answers = JoinSet::new();
    if observed.asked.depth != Depth::Due || !observed.asked.may_issue {
        return Vec::new();
    }
    for (name, stored) in &observed.store {
        let Some(kept) = &stored.current else { continue };
        let now = clock::now();
        if ask_at(&observed.state, name, &kept.leaf, now).is_none_or(|at| at > now) {
            continue;
        }
        let (context, name, leaf) = (Arc::clone(context), name.clone(), kept.leaf.clone());
        // Where `meta.json` was lost, the CA of choice is the likeliest.
        let ca = if kept.meta.ca == UNKNOWN_CA { &context.config.acme.host } else { &kept.meta.ca }.clone();
        answers.spawn(async move { (ask_ari(&context, &ca, &leaf).await, name, leaf) });
    }
    answers.join_all().await
}

/// Any error means "no renewal information today", never "no renewal".
pub(crate) fn keep(context: &Context, observed: &mut Observed, answers: Vec<Answer>) {
    for (answer, certificate, leaf) in answers {
        match answer {
            Ok(ari) => answered(&mut observed.state, certificate, ari),
            Err(failure) => {
                failed(&mut observed.state, certificate.clone(), &leaf, &failure, clock::now());
                let step = format!("the CA gives no renewal window today: {}", failure.what);
                context.progress.say(Event::Issue { certificate, step });
            }
        }
    }
}

/// Hears what time it is by the clocks of the CAs that were not heard yet, until one agrees with ours. That one cannot be
/// reached is told by whoever needs more of it.
pub async fn ask_ca_clocks(context: &Context) {
    for ca in context.config.cas().filter(|ca| !context.has_ca_clock(&ca.host)) {
        let Ok(http) = http(context, ca) else { continue };
        if http.greet().await.is_ok() {
            context.note_ca_clock(&ca.host, &http);
        }
        let heard = Evidence { ca: context.ca_clock().map(|(_, told)| told), ..Evidence::default() };
        if heard.ca.is_some() && plausible(clock::now(), &heard).is_ok() {
            return;
        }
    }
}
