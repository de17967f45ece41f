//! Fetches renewal information (ARI) from the CAs, and their clocks.

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

/// Asks the CA that issued the certificate (`ca`: its host) when to renew it.
///
/// # Errors
/// Any error means: no renewal information today, so renew by lifetime.
pub async fn ask_ari(context: &Context, ca: &str, leaf: &Leaf) -> Result<Ari, Finding> {
    let Some(id) = &leaf.ari_id else {
        return Err(Finding::for_a_person(
            Code::AcmeNoAriId,
            leaf.serial.clone(),
            "the certificate has no authority key identifier, so the CA cannot be asked about it",
            "nothing: certd renews it by its lifetime",
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
            format!("no renewal information within {} s", ASIDE.as_secs()),
            "nothing: certd asks again, and renews by the lifetime until then",
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

/// The answer for the certificate with this name.
pub(crate) type Answer = (Result<Ari, Finding>, CertName, Leaf);

/// In a pass that may issue, asks about every stored certificate whose renewal information is due.
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
        // If `meta.json` was lost, the first CA of the configuration is the most likely.
        let ca = if kept.meta.ca == UNKNOWN_CA { &context.config.acme.host } else { &kept.meta.ca }.clone();
        answers.spawn(async move { (ask_ari(&context, &ca, &leaf).await, name, leaf) });
    }
    answers.join_all().await
}

/// An error means "no renewal information today", never "no renewal".
pub(crate) fn keep(context: &Context, observed: &mut Observed, answers: Vec<Answer>) {
    for (answer, certificate, leaf) in answers {
        match answer {
            Ok(ari) => answered(&mut observed.state, certificate, ari),
            Err(failure) => {
                failed(&mut observed.state, certificate.clone(), &leaf, &failure, clock::now());
                let step = format!("no renewal window from the CA today: {}", failure.what);
                context.progress.say(Event::Issue { certificate, step });
            }
        }
    }
}

/// Asks the remaining CAs for the time until one agrees with this machine's clock. A CA that cannot be reached is
/// skipped: the step that needs it reports that.
pub async fn ask_ca_clocks(context: &Context) {
    for ca in context.config.cas().filter(|ca| !context.has_ca_clock(&ca.host)) {
        let Ok(http) = http(context, ca) else { continue };
        if http.greet().await.is_ok() {
            context.note_ca_clock(&ca.host, &http);
        }
        let evidence = Evidence { ca: context.ca_clock().map(|(_, clock)| clock), ..Evidence::default() };
        if evidence.ca.is_some() && plausible(clock::now(), &evidence).is_ok() {
            return;
        }
    }
}
