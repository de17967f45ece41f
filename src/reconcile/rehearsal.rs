//! `renew --dry-run`: tries today everything that a renewal needs. A TXT record is made, seen and removed; every node
//! prepares and aborts; nothing is ordered and nothing is changed.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::cert::NodeName;
use crate::context::{Context, clock, failure, provider};
use crate::execute::{clean, rehearse::try_one};
use crate::model::{Depth, Finding, Scope};
use crate::observe::gather;
use crate::plan;
use crate::report::{self, Done, Report};

use super::record_outcome;

/// # Errors
/// The state directory cannot be read or written. Everything else is in the report.
pub async fn rehearse(context: &Arc<Context>, scope: Scope) -> Result<Report, Finding> {
    match context.unless_stopped(act(context, scope)).await {
        Some(rehearsed) => rehearsed,
        None => {
            clean(context).await;
            Err(Finding { next: "run the command again".to_owned(), ..failure::interrupted("this rehearsal") })
        }
    }
}

async fn act(context: &Arc<Context>, scope: Scope) -> Result<Report, Finding> {
    let mut observed = gather(context, Scope { depth: Depth::Rehearse, ..scope }).await?;
    let mut done = Done { failures: context.secrets.watch_roots.failures(&observed.asked), ..Done::default() };
    let permits = Arc::new(Semaphore::new(context.config.sessions));
    let mut rehearsals = JoinSet::new();
    for (name, stored) in &observed.store {
        let Some(certificate) = context.config.certificate(name).cloned() else { continue };
        let (context, permits, kept) = (Arc::clone(context), Arc::clone(&permits), stored.current.clone());
        let nodes = certificate.nodes.iter().filter(|node| observed.asked.wants_node(node));
        let nodes: Vec<NodeName> = nodes.cloned().collect();
        rehearsals.spawn(async move {
            (certificate.name.clone(), try_one(&context, &certificate, kept.as_ref(), &nodes, &permits).await)
        });
    }
    for (name, rehearsed) in rehearsals.join_all().await {
        let rehearsed = rehearsed?;
        // A rehearsal at some of the nodes shows too little to be recorded.
        if observed.asked.wants_every_node() {
            record_outcome::rehearsed(&mut observed, &name, &rehearsed, clock::now());
        }
        done.issued.insert(name.clone(), rehearsed.issuing);
        done.delivered.extend(rehearsed.nodes.into_iter().map(|(node, ended)| ((node, name.clone()), ended)));
    }
    provider::ask_token(context, true).await;
    done.clocks = context.node_clocks();
    done.failures.extend(context.narrowed_keys());
    let written = context.store.write_state(&observed.state);
    done.failures.extend(written.err().map(Finding::from));
    done.failures.extend(clean(context).await);
    done.failures.extend(context.dns.take_warnings());
    let now = clock::now();
    let plan = plan::plan(&context.config, &observed, now);
    Ok(report::build("renew --dry-run", &context.config, &observed, plan, done, false, now))
}
