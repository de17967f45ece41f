//! Revocation: replaces the certificate, proves that every node serves the new one, and only then revokes the old one;
//! with `--now`, revokes first.
//!
//! After an error, nothing that a node still serves was revoked (except with `--now`). The state is on disk, and the
//! same command continues from there.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use crate::acme::{self, AccountKey, AcmeError, Kind, Revoked};
use crate::cert::{CertName, Fingerprint, Generation, NodeName, Pair, RevocationReason};
use crate::config::Acme;
use crate::context::ca::{ca, http, settle};
use crate::context::effect_failure::of_acme;
use crate::context::{Context, clock};
use crate::model::{Code, Finding, Kept, Revoked as RevokedByUs, Scope, UNKNOWN_CA};
use crate::reconcile::reconcile;
use crate::report::{CertificateReport, Exit, Report, ServedReport, Verdict};
use crate::store::{HistoryEvent, Revocation};

/// Version of the JSON shape, like [`crate::report::SCHEMA`].
const SCHEMA: &str = "certd.revoke/1";

/// The arguments of `certd revoke`.
#[derive(Clone, Debug)]
pub struct RevokeRequest {
    pub certificate: CertName,
    /// `None`: the one whose revocation has begun, or else the current one.
    pub generation: Option<Generation>,
    pub reason: Option<RevocationReason>,
    /// Revoke first, whatever the nodes serve.
    pub now: bool,
}

/// The result of a revocation.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub schema: &'static str,
    pub certificate: CertName,
    pub generation: Generation,
    pub fingerprint: Fingerprint,
    pub reason: RevocationReason,
    pub revoked: bool,
    /// Nodes that are not proven to serve the replacement.
    pub held_up_by: Vec<NodeName>,
    /// The CA's refusal, or why there is no replacement.
    pub failure: Option<Finding>,
    pub exit: u8,
    /// The report of the pass that replaces it.
    pub report: Report,
}

/// The caller holds the lock.
///
/// # Errors
/// There is no such certificate, the state directory cannot be read or written, or (with `now`) the CA refuses.
pub async fn revoke(context: &Arc<Context>, request: &RevokeRequest) -> Result<Outcome, Finding> {
    let (name, store) = (&request.certificate, &context.store);
    let (kept, reason) = target(context, request)?;
    issuer(context, &kept)?;
    let noted = Revocation { generation: kept.generation.clone(), reason, begun_at: clock::now() };
    store.note_revocation(name, &noted)?;
    let given_up = give_up(context, name, &kept, reason)?;
    if request.now {
        at_the_ca(context, name, &kept, reason).await?;
    }
    let current = |at: &str| {
        let stored = store.stored(name)?;
        stored.current.ok_or_else(|| nothing(name, at))
    };
    let replace = given_up.contains(&current("now")?.leaf.fingerprint);
    let force = replace.then(|| name.clone()).into_iter().collect();
    let scope = Scope {
        certificates: BTreeSet::from([name.clone()]),
        force,
        may_issue: true,
        ignore_backoff: true,
        ..Scope::default()
    };
    let report = reconcile(context, "revoke", scope).await?;
    let replaced = !given_up.contains(&current("any more")?.leaf.fingerprint);
    let held_up_by = report.certificates.iter().flat_map(|it| held_up_by(it, kept.leaf.fingerprint)).collect();
    let mut outcome = Outcome {
        schema: SCHEMA,
        certificate: name.clone(),
        generation: kept.generation.clone(),
        fingerprint: kept.leaf.fingerprint,
        reason,
        revoked: request.now,
        held_up_by,
        failure: None,
        exit: report.exit,
        report,
    };
    if !request.now && replaced && outcome.held_up_by.is_empty() && !*context.stop.borrow() {
        match at_the_ca(context, name, &kept, reason).await {
            Ok(()) => outcome.revoked = true,
            Err(failure) => outcome.failure = Some(failure),
        }
    }
    outcome.exit = exit(&outcome, replaced).code();
    Ok(outcome)
}

fn target(context: &Context, request: &RevokeRequest) -> Result<(Kept, RevocationReason), Finding> {
    let (name, store) = (&request.certificate, &context.store);
    let begun = store.revocation(name)?;
    let begun = begun.filter(|begun| request.generation.as_ref().is_none_or(|wanted| *wanted == begun.generation));
    let reason = request.reason.or(begun.as_ref().map(|begun| begun.reason)).unwrap_or_default();
    let current = store.stored(name)?.current;
    let generation = request.generation.clone().or(begun.map(|begun| begun.generation));
    let generation = generation.or(current.map(|kept| kept.generation)).ok_or_else(|| nothing(name, "yet"))?;
    if !store.generations(name)?.contains(&generation) {
        return Err(nothing(name, &format!("as generation {generation}")));
    }
    let kept = store.kept(name, &generation)?;
    Ok((kept, reason))
}

/// The CA to ask. If `meta.json` was lost, the first CA of the configuration is the most likely.
fn issuer<'a>(context: &'a Context, kept: &Kept) -> Result<&'a Acme, Finding> {
    let host = if kept.meta.ca == UNKNOWN_CA { &context.config.acme.host } else { &kept.meta.ca };
    ca(context, host).map_err(|failure| Finding {
        what: format!("it issued this certificate, and {}", failure.what),
        next: "put the CA back into the configuration, under [acme] or [[acme.fallback]]: only it can revoke the certificate"
            .to_owned(),
        ..failure
    })
}

/// Marks the certificate as revoked before the replacement is ordered: the replacement is then due, may use the
/// ledger's reserve, and never reuses a key that may be compromised. Returns what was marked: with a compromised key,
/// also the current certificate if it has the same key.
fn give_up(
    context: &Context,
    name: &CertName,
    kept: &Kept,
    reason: RevocationReason,
) -> Result<BTreeSet<Fingerprint>, Finding> {
    let store = &context.store;
    let given_up = || {
        let mut given_up = BTreeSet::from([kept.leaf.fingerprint]);
        let current = store.stored(name)?.current.filter(|_| reason == RevocationReason::KeyCompromise);
        if let Some(current) = current {
            let key = |generation| store.pair(name, generation).map(|pair| pair.key().clone());
            if key(&current.generation)?.pem() == key(&kept.generation)?.pem() {
                given_up.insert(current.leaf.fingerprint);
            }
        }
        let mut state = store.state()?;
        for fingerprint in &given_up {
            let revoked = RevokedByUs { at: clock::now(), reason: reason.code() };
            state.revoked.entry(*fingerprint).and_modify(|it| it.reason = reason.code()).or_insert(revoked);
        }
        store.write_state(&state).map(|()| given_up)
    };
    given_up().map_err(Finding::from)
}

/// Revokes at the CA and records it.
async fn at_the_ca(context: &Context, name: &CertName, kept: &Kept, reason: RevocationReason) -> Result<(), Finding> {
    let store = &context.store;
    let pair = store.pair(name, &kept.generation)?;
    ask(context, issuer(context, kept)?, &pair, reason).await?;
    let now = clock::now();
    let event = HistoryEvent::Revoked { certificate: name.clone(), generation: kept.generation.clone(), reason };
    store.history(now, &event)?;
    store.drop_revocation(name).map_err(Finding::from)
}

/// Signs with the account's key. If the account is lost and the reason is a compromised key, signs with the
/// certificate's own key. Not for other reasons: CAs take a request signed by that key as proof of compromise.
async fn ask(context: &Context, ca: &Acme, pair: &Pair, reason: RevocationReason) -> Result<(), Finding> {
    let (host, http) = (&ca.host, http(context, ca)?);
    let der = &pair.chain().ders()[0];
    let Err(refused) = by_account(context, host, &http, der, reason).await? else { return Ok(()) };
    let own_key = reason == RevocationReason::KeyCompromise && is_about_the_account(refused.as_ref());
    if own_key {
        let revoked = acme::revoke_by_key(&http, pair.key(), der, reason).await;
        return revoked.map(drop).map_err(|error| of_acme(host, &error));
    }
    Err(match refused {
        Some(error) => of_acme(host, &error),
        None => Finding::for_a_person(
            Code::AcmeNoAccount,
            host,
            "the account that ordered the certificate is not in the state directory",
            "put the account back; with --reason key-compromise certd signs with the certificate's own key",
        ),
    })
}

/// The inner error: the CA's refusal; `None`: there is no account. Never makes one.
async fn by_account(
    context: &Context,
    host: &str,
    http: &acme::Http,
    der: &[u8],
    reason: RevocationReason,
) -> Result<Result<Revoked, Option<AcmeError>>, Finding> {
    // Ignore errors: the CA's answer to the revocation says more.
    let _ = settle(context, host, http).await;
    let kept = context.store.account(host)?;
    let Some((key, url)) = kept.and_then(|kept| Some((kept.key_pkcs8, kept.url?))) else { return Ok(Err(None)) };
    let account = match acme::open(http, &AccountKey::from_pkcs8(key), &url).await {
        Ok(account) => account,
        Err(error) => return Ok(Err(Some(error))),
    };
    Ok(account.revoke(der, reason).await.map_err(Some))
}

fn is_about_the_account(refused: Option<&AcmeError>) -> bool {
    refused.is_none_or(|error| {
        matches!(error.kind(), Some(Kind::AccountDead | Kind::AccountDoesNotExist | Kind::Unauthorized))
            || matches!(error, AcmeError::Key { .. })
    })
}

/// A paused node counts only if it serves the certificate to be revoked.
fn held_up_by(certificate: &CertificateReport, old: Fingerprint) -> Vec<NodeName> {
    let holds = certificate.nodes.iter().filter(|node| {
        let serves_old = node.served.iter().any(|served| served.fingerprint == Some(old));
        let fit = |served: &ServedReport| served.verdict.exit() == Exit::Ok || served.verdict == Verdict::Held;
        let well = !node.served.is_empty() && node.served.iter().all(fit);
        serves_old || node.paused_until.is_none() && !well
    });
    holds.map(|node| node.node.clone()).collect()
}

fn exit(outcome: &Outcome, replaced: bool) -> Exit {
    let own = if !outcome.revoked && replaced && !outcome.held_up_by.is_empty() {
        Exit::NotDelivered
    } else if outcome.failure.is_some() || !outcome.revoked {
        Exit::IssuanceFailed
    } else {
        Exit::Ok
    };
    let all = [Exit::Internal, Exit::Warning, Exit::Hurt, Exit::IssuanceFailed, Exit::NotDelivered];
    let of_pass = all.into_iter().find(|exit| exit.code() == outcome.report.exit).unwrap_or(Exit::Ok);
    crate::report::worst(&[own, of_pass])
}

fn nothing(name: &CertName, at: &str) -> Finding {
    Finding::for_a_person(
        Code::NothingToRevoke,
        name,
        format!("the store has no certificate of this name {at}"),
        "name a stored generation: `certd generations` lists them",
    )
}
