//! A look: observe and plan, without changes.

use crate::context::{Context, clock, provider};
use crate::model::{Finding, PersistedState, Scope};
use crate::observe::{self, discover, gather, revocations};
use crate::plan;
use crate::report::{self, Report};

/// Takes no lock and writes nothing.
///
/// # Errors
/// The state directory cannot be read.
pub async fn look(context: &Context, command: &'static str, scope: Scope) -> Result<(Report, PersistedState), Finding> {
    let (context, discovery) = discover::for_a_look(context).await?;
    let observed = gather(&context, scope).await?;
    // The store finds damage while it is read, so ask for it afterwards.
    let mut done = observe::damages(&context.store);
    done.failures.extend(discovery);
    done.failures.extend(provider::known_token_troubles(&context, clock::now()));
    done.failures.extend(context.secrets.watch_roots.failures(&observed.asked));
    done.revocations = revocations(&context.store, &observed);
    let now = clock::now();
    let plan = plan::plan(&context.config, &observed, now);
    let report = report::build(command, &context.config, &observed, plan, done, false, now);
    Ok((report, observed.state))
}
