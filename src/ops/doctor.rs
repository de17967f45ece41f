//! Everything that renewal day needs, tried today and all at once: the state directory, the CAs, the DNS provider with a
//! TXT record that is made and removed, and every node, prepared and told to abort. Nothing is ordered or changed.

mod authority;
mod names;
mod nodes;

use std::sync::Arc;

use crate::config::Config;
use crate::model::{Asked, Failure};
use crate::plan;
use crate::report::doctor::{Area, Checkup, Finding, State, of_plan, of_room};

use crate::context::failure::{interrupted, of_damage};
use crate::context::{Context, clock, stopped};
use crate::execute::clean;
use crate::observe;

/// `may_write`: the caller holds the lock, so that the journal of TXT records is ours.
///
/// # Errors
/// The state directory cannot be read, or the process is asked to end.
pub async fn doctor(context: &Arc<Context>, asked: Asked, may_write: bool) -> Result<Checkup, Failure> {
    let mut stop = context.stop.clone();
    let done = tokio::select! {
        done = act(context, &asked, may_write) => Some(done),
        () = stopped(&mut stop) => None,
    };
    let Some(done) = done else {
        if may_write {
            clean(context).await;
        }
        return Err(Failure { next: "run the command again".to_owned(), ..interrupted("this checkup") });
    };
    let mut findings = done?;
    if may_write {
        findings.extend(clean(context).await.map(|failure| Finding::bad(Area::Dns, State::Warning, &failure)));
    }
    Ok(Checkup::new(findings, clock::now()))
}

async fn act(context: &Arc<Context>, asked: &Asked, may_write: bool) -> Result<Vec<Finding>, Failure> {
    let known = observe::known(&context.config, &context.store, asked.clone());
    let observed = known.map_err(|error| Failure::from(&error))?;
    let (authority, names, nodes) = tokio::join!(
        authority::look(context),
        names::look(context, &observed, may_write),
        nodes::look(context, &observed, may_write),
    );
    let mut findings = vec![of_configuration(&context.config)];
    findings.extend(state(context)?);
    findings.extend(authority?);
    findings.extend(names);
    let plan = plan::plan(&context.config, &observed, clock::now());
    findings.extend(of_plan(&plan, observed.store.keys().cloned()));
    findings.extend(nodes);
    Ok(findings)
}

fn of_configuration(config: &Config) -> Finding {
    let counted = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let what = format!(
        "{}, {}, {}; its files can be read, and its secrets by nobody else",
        counted(config.certificates.len(), "certificate"),
        counted(config.nodes.len(), "node"),
        counted(config.cas().count(), "CA"),
    );
    Finding::ok(Area::Configuration, "the configuration", what)
}

fn state(context: &Context) -> Result<Vec<Finding>, Failure> {
    let (store, folder) = (&context.store, context.store.root().display().to_string());
    let mut findings = Vec::new();
    match store.disk_space() {
        Ok(Some(room)) => {
            let (owner, mode) = store.permissions().map_err(|error| Failure::from(&error))?;
            let what = format!("belongs to user {owner}, mode {mode:04o}, can be written");
            findings.push(Finding::ok(Area::State, &folder, what));
            findings.push(of_room(&folder, room));
        }
        Ok(None) => {
            findings.push(Finding::ok(Area::State, &folder, "is not there yet: the first `certd renew` makes it"))
        }
        Err(error) => findings.push(Finding::bad(Area::State, State::Failure, &Failure::from(&error))),
    }
    let damages = store.damages();
    findings.extend(damages.iter().map(|damage| Finding::bad(Area::State, State::Warning, &of_damage(damage))));
    Ok(findings)
}
