//! Issuing one certificate: the order machine decides, and its actions are carried out here. Everything that a later
//! run needs is on disk before the step that would need it, so this future may be dropped at any await.
//!
//! An error means that nothing was stored. TXT records that could not be removed are in the journal, and an order that
//! may still succeed keeps its URL; neither costs a second certificate.

mod chains;
mod check;
mod persist_record;
mod profile;
pub(crate) mod records;
mod rehearsal;
mod steps;

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use tokio::time::timeout;

pub use records::clean_txt;
pub use rehearsal::{makes_records, rehearse};

use crate::cert::{Generation, Leaf, PrivateKey};
use crate::config::Challenge;
use crate::context::failure::of_clock;
use crate::context::{Context, ca, clock, effect_failure};
use crate::model::{Advice, Code, Finding, Intent};
use crate::plan::order::{self, Action, GiveUp};
use crate::plan::{self, Evidence, Issue};
use records::Records;
use steps::{Ca, Steps};

/// Bound on the whole issuance; a later run resumes what is not done. The CA's validation and signing have their own
/// bounds; this one is their sum, plus the configured time for name servers.
const DEADLINE: Duration = Duration::from_secs(17 * 60);

#[derive(Clone, Debug)]
pub struct Issued {
    pub generation: Generation,
    pub leaf: Leaf,
    /// Flaws of the chain that do not keep it from being stored.
    pub caveats: Vec<String>,
}

/// Orders, validates, downloads, checks and stores one certificate, or resumes the order of an earlier run.
pub async fn issue(context: &Context, task: &Issue) -> Result<Issued, Finding> {
    let turn = context.orders_of(&task.names);
    let _turn = turn.lock().await;
    let mut steps = prepare(context, task).await?;
    let deadline = DEADLINE + context.config.dns.timeout;
    let issued = timeout(deadline, drive(&mut steps)).await;
    // The deadline may strike while records are removed: the certificate is stored by then, so this is no failure.
    let issued = issued.unwrap_or_else(|_| steps.issued.take().ok_or_else(|| too_late(task, deadline)));
    if issued.is_err() {
        // Also after a full disk or the deadline, where the machine was not asked.
        steps.unpublish().await;
    }
    issued
}

/// Writes the intent and its key to disk, and gathers what the order needs.
async fn prepare<'a>(context: &'a Context, task: &'a Issue) -> Result<Steps<'a>, Finding> {
    let intent = intend(context, task)?;
    let key = context.store.intent_key(&task.certificate)?;
    let ca = ca::ca(context, &task.ca)?;
    let http = ca::http(context, ca)?;
    let mut records = Records::new(context, false)?;
    let bases: BTreeSet<String> = task.names.iter().map(|name| name.base().to_owned()).collect();
    // A name whose record certd cannot make should be found before an order, not after.
    let locate = async {
        match ca.challenge {
            Challenge::Dns01 => records.locate(bases).await,
            Challenge::DnsPersist01 => Ok(()),
        }
    };
    let (account, located) = tokio::join!(ca::account(context, ca, &http), locate);
    context.note_ca_clock(&ca.host, &http);
    let account = account?;
    let evidence = Evidence { ca: context.ca_clock().map(|(_, reading)| reading), ..Evidence::default() };
    plan::clock::plausible(clock::now(), &evidence).map_err(|doubt| of_clock(&doubt))?;
    let offered = profile::offered(context, task, ca, &http).await;
    // An existing order is resumed, whatever is offered or found since.
    let profile = if intent.order_url.is_none() {
        located?;
        offered?
    } else {
        offered.unwrap_or(task.profile.as_deref())
    };
    let ca = Ca { config: ca, account, profile };
    Ok(Steps::new(context, task, ca, intent, key, records))
}

fn intend(context: &Context, task: &Issue) -> Result<Intent, Finding> {
    let stored = context.store.stored(&task.certificate)?;
    let kept = stored.current.filter(|_| task.keep_key);
    let wanted = Intent {
        names: task.names.clone(),
        key_type: task.key_type,
        profile: task.profile.clone(),
        ca: task.ca.clone(),
        replaces: task.replaces.clone(),
        begun_at: clock::now(),
        order_url: None,
        key_of: kept.as_ref().map(|kept| kept.leaf.fingerprint),
    };
    let same = |held: &Intent| {
        held.names == wanted.names
            && held.key_type == wanted.key_type
            && held.profile == wanted.profile
            && held.ca == wanted.ca
            // The plan has checked which certificate's key it is.
            && held.key_of.is_some() == task.keep_key
    };
    if let Some(held) = stored.pending.as_ref().filter(|held| same(held) && held.order_url.is_some()) {
        return Ok(held.clone());
    }
    // The store reuses the key of a pending intent, so an intent with the wrong key is dropped.
    if stored.pending.is_some_and(|held| held.key_of != wanted.key_of) {
        context.store.drop_intent(&task.certificate)?;
    }
    let key = match kept {
        Some(kept) => context.store.pair(&task.certificate, &kept.generation)?.key().clone(),
        None => PrivateKey::generate(task.key_type).map_err(|error| {
            Finding::new(Code::KeyGeneration, &task.certificate, error.to_string(), "report this", Advice::Bug)
        })?,
    };
    context.store.intend(&task.certificate, &wanted, &key)?;
    Ok(wanted)
}

async fn drive(steps: &mut Steps<'_>) -> Result<Issued, Finding> {
    let noted = steps.finalize_is_noted()?;
    let (mut order, actions) = order::begin(&steps.intent, noted, clock::now());
    if steps.task.forced {
        order = order.forced();
    }
    let mut queue = VecDeque::from(actions);
    while let Some(action) = queue.pop_front() {
        match action {
            Action::Done => break,
            Action::GiveUp(why) => return Err(steps.why(&why)?),
            action => {
                if let Some(event) = steps.perform(action).await? {
                    let (next, actions) = order::on(order, event, clock::now());
                    order = next;
                    queue = VecDeque::from(actions);
                }
            }
        }
    }
    steps.issued.take().ok_or_else(|| effect_failure::of_give_up(&steps.task.certificate, &GiveUp::OutOfOrder))
}

/// A slow CA would have been given up earlier: this is DNS, or the program that changes it.
fn too_late(task: &Issue, deadline: Duration) -> Finding {
    Finding::new(
        Code::IssuanceDeadline,
        &task.certificate,
        format!("not done after {} s", deadline.as_secs()),
        "nothing: the next run resumes the order",
        Advice::Retry { after_seconds: None },
    )
}
