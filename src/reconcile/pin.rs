//! Going back: holds a stored generation, or releases it. A generation is checked before it is held, as a new
//! certificate is before it is stored: certd never goes back to one that visitors would refuse.

use jiff::Timestamp;

use crate::cert::{CertName, Generation, lint};
use crate::context::failure::failure;
use crate::context::{Context, clock};
use crate::model::{Advice, Code, Finding, Held, Observed};
use crate::plan::{self, Evidence, hold};
use crate::report;
use crate::store::HistoryEvent;

/// Makes `written` the desired generation from now on, and returns it. The caller holds the lock, and makes a pass
/// next.
///
/// # Errors
/// [`Code::HoldRefused`]: no such generation, or one that visitors would refuse; else the state directory.
pub fn hold(context: &Context, name: &CertName, written: &str, by: Option<String>) -> Result<Generation, Finding> {
    let store = &context.store;
    let now = clock::now();
    let generations = store.generations(name)?;
    let generation =
        hold::choose(&generations, written).map_err(|candidates| not_one(name, written, &candidates, &generations))?;
    let refused = |what: String, next: &str| {
        let what = format!("generation {generation} {what}");
        Err(failure(Code::HoldRefused, name, what, next, Advice::Person))
    };
    let pair = match store.pair(name, generation) {
        Ok(pair) => pair,
        Err(error) => return refused(format!("is not whole: {error}"), "name another: nothing was changed"),
    };
    let leaf = &pair.chain().leaf;
    let mut state = store.state()?;
    let stored = store.stored(name)?;
    let evidence = Evidence {
        last_seen: state.last_seen,
        not_before: stored.current.as_ref().map(|kept| kept.leaf.not_before),
        ca: None,
    };
    // Validity depends on the clock.
    if let Err(doubt) = plan::clock::plausible(now, &evidence) {
        return Err(crate::context::failure::of_clock(&doubt));
    }
    if let Some(flaw) = context.config.certificate(name).and_then(|it| flaw(&pair, &it.names, context, now)) {
        return refused(format!("would be refused by visitors: {flaw}"), "name another: nothing was changed");
    }
    let held = Held {
        generation: generation.clone(),
        fingerprint: leaf.fingerprint,
        not_before: leaf.not_before,
        not_after: leaf.not_after,
        since: now,
        by: by.clone(),
    };
    state.held.insert(name.clone(), held.clone());
    if hold::held(name, &stored, &state, now).is_none() {
        let what = match state.revoked.get(&held.fingerprint) {
            Some(revoked) => format!("was given up {}", report::minute(revoked.at)),
            None => format!("expires {}, which is too soon to hold it", report::minute(held.not_after)),
        };
        return refused(what, "name another: nothing was changed");
    }
    store.write_state(&state)?;
    let event = HistoryEvent::Held { certificate: name.clone(), generation: generation.clone(), by };
    store.history(now, &event)?;
    Ok(generation.clone())
}

/// Releases the holds of these certificates.
///
/// # Errors
/// The state directory cannot be read or written.
pub fn release(context: &Context, wanted: impl Fn(&CertName) -> bool) -> Result<(), Finding> {
    let mut state = context.store.state()?;
    let names: Vec<CertName> = state.held.keys().filter(|name| wanted(name)).cloned().collect();
    let released: Vec<(CertName, Held)> = names.iter().filter_map(|name| state.held.remove_entry(name)).collect();
    if released.is_empty() {
        return Ok(());
    }
    context.store.write_state(&state)?;
    for (certificate, held) in released {
        let event = HistoryEvent::Released { certificate, generation: held.generation, why: None };
        context.store.history(clock::now(), &event)?;
    }
    Ok(())
}

/// Removes and reports holds that have ended, unless the clock cannot be right.
pub(crate) fn release_ended(context: &Context, observed: &mut Observed, now: Timestamp) -> Vec<Finding> {
    if plan::clock::plausible(now, &Evidence::of(observed)).is_err() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (certificate, held, end) in hold::ended(observed, now) {
        observed.state.held.remove(&certificate);
        let why = report::hold_end(&end);
        let what = format!("generation {} is no longer held: {why}", held.generation);
        let next = "nothing: nodes get the stored certificate. If that one is unfit, `certd renew --force` replaces it";
        findings.push(failure(Code::HoldEnded, &certificate, what, next, Advice::Person));
        let event = HistoryEvent::Released { certificate, generation: held.generation, why: Some(why) };
        findings.extend(context.store.history(now, &event).err().map(Finding::from));
    }
    findings
}

/// The first flaw that visitors would see. Names that are no longer configured do no harm.
fn flaw(pair: &crate::cert::Pair, names: &crate::cert::NameSet, context: &Context, now: Timestamp) -> Option<String> {
    let flaws = lint(pair, names, &context.roots, now);
    flaws.into_iter().find(|flaw| !matches!(flaw, crate::cert::Flaw::NamesExtra(_))).map(|flaw| flaw.to_string())
}

fn not_one(name: &CertName, written: &str, candidates: &[&Generation], all: &[Generation]) -> Finding {
    /// Of a long list, the newest.
    const SHOWN: usize = 5;
    let list = |some: &mut dyn Iterator<Item = &Generation>| {
        some.take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let (what, next) = if all.is_empty() {
        ("the store has no certificate of this name".to_owned(), "`certd renew` issues one".to_owned())
    } else if candidates.is_empty() {
        let next = format!("one of the newest: {}", list(&mut all.iter().rev()));
        (format!("the store has no generation {written:?}"), next)
    } else {
        let next = format!("write more of the name, as in: {}", list(&mut candidates.iter().copied()));
        (format!("{written:?} may be any of {} generations", candidates.len()), next)
    };
    failure(Code::HoldRefused, name, what, next, Advice::Person)
}
