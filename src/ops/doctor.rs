//! Tests today everything that the next renewal needs, all at once: the state directory, the CAs, the DNS provider (a
//! TXT record is created and removed), and every node (a delivery is prepared and aborted). Orders and changes nothing.

mod authority;
mod missing;
mod names;
mod nodes;

use std::sync::Arc;

use crate::config::Config;
use crate::model::{Depth, Finding, Scope, Severity};
use crate::plan;
use crate::report::doctor::{Area, Checkup, CheckupItem, of_plan, of_room};
use crate::text::list;

use crate::context::failure::{interrupted, of_damage};
use crate::context::secrets::Unread;
use crate::context::{Context, clock};
use crate::execute::clean;
use crate::observe::gather;

use missing::Missing;

/// `may_write`: the caller holds the lock, and with it the journal of TXT records. `unread`: files that cannot be used;
/// tests that need them are skipped.
///
/// # Errors
/// The state directory cannot be read, or the process was asked to stop.
pub async fn doctor(
    context: &Arc<Context>,
    scope: Scope,
    may_write: bool,
    unread: Vec<Unread>,
) -> Result<Checkup, Finding> {
    let missing = Missing::new(unread);
    let may_clean = may_write && !missing.dns();
    let Some(done) = context.unless_stopped(act(context, scope, may_write, &missing)).await else {
        if may_clean {
            clean(context).await;
        }
        return Err(Finding { next: "run the command again".to_owned(), ..interrupted("this checkup") });
    };
    let mut findings = done?;
    if may_clean {
        findings.extend(clean(context).await.map(|failure| CheckupItem::bad(failure.code.area(), &failure)));
    }
    Ok(Checkup::new(findings, clock::now()))
}

async fn act(
    context: &Arc<Context>,
    scope: Scope,
    may_write: bool,
    missing: &Missing,
) -> Result<Vec<CheckupItem>, Finding> {
    let observed = gather(context, Scope { depth: Depth::Stored, ..scope }).await?;
    let (authority, names, nodes) = tokio::join!(
        authority::look(context, missing),
        names::look(context, &observed, may_write, missing),
        nodes::look(context, &observed, may_write, missing),
    );
    let mut findings = vec![of_configuration(&context.config, missing)];
    findings.extend(missing.findings(&context.config));
    // No renewal waits for them.
    let health =
        context.secrets.health_headers.troubles().map(|failure| failure.clone().of_severity(Severity::Warning));
    findings.extend(health.map(|failure| CheckupItem::bad(Area::Configuration, &failure)));
    findings.extend(state(context)?);
    findings.extend(authority?);
    findings.extend(names);
    let plan = plan::plan(&context.config, &observed, clock::now());
    findings.extend(of_plan(&plan, observed.store.keys().cloned()));
    findings.extend(nodes);
    Ok(findings)
}

fn of_configuration(config: &Config, missing: &Missing) -> CheckupItem {
    let what = format!(
        "{}, {}, {}{}",
        list::count(config.certificates.len(), "certificate"),
        list::count(config.nodes.len(), "node"),
        list::count(config.cas().count(), "CA"),
        if missing.is_empty() { "; all its files are readable, and its secrets by no other user" } else { "" },
    );
    CheckupItem::ok(Area::Configuration, "the configuration", what)
}

fn state(context: &Context) -> Result<Vec<CheckupItem>, Finding> {
    let (store, folder) = (&context.store, context.store.root().display().to_string());
    let mut findings = Vec::new();
    match store.disk_space() {
        Ok(Some(room)) => {
            let (owner, mode) = store.permissions()?;
            let what = format!("owned by user {owner}, mode {mode:04o}, writable");
            findings.push(CheckupItem::ok(Area::State, &folder, what));
            findings.push(of_room(&folder, room));
        }
        Ok(None) => findings.push(CheckupItem::ok(
            Area::State,
            &folder,
            "does not exist yet: the first `certd renew` creates it",
        )),
        Err(error) => findings.push(CheckupItem::bad(Area::State, &error.into())),
    }
    let damages = store.damages();
    findings.extend(damages.iter().map(|damage| CheckupItem::bad(Area::State, &of_damage(damage))));
    Ok(findings)
}
