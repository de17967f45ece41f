use core::fmt::Write as _;
use std::time::Duration;

use clap::Args;

use crate::cert::NodeName;
use crate::config::Config;
use crate::context::clock;
use crate::model::{Code, PersistedState};
use crate::plan::fence;
use crate::report::{Exit, minute};
use crate::store::{Store, owner};

use super::fault::Fault;
use super::{Options, output, renew, setup};

#[derive(Args)]
pub(super) struct Fence {
    /// The node [default: every node with a recorded number]
    #[arg(value_name = "NODE")]
    node: Option<String>,
    /// Forget the numbers: the next certificate need not exceed them, and the next pass tries the node again.
    #[arg(long)]
    reset: bool,
    /// How long to wait for another certd to release the lock.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = renew::wait)]
    wait: Duration,
}

impl Fence {
    pub(super) fn run(&self, config: &Config, options: &Options) -> Result<u8, Fault> {
        let named = self.node.as_ref().map(|node| setup::nodes(config, core::slice::from_ref(node))).transpose()?;
        let named: Vec<NodeName> = named.into_iter().flatten().collect();
        owner::become_owner(&config.state_dir)?;
        if !self.reset {
            let state = Store::look(&config.state_dir).and_then(|store| store.state())?;
            output::text(&text(&state, &named));
            return Ok(Exit::Ok.code());
        }
        let store = Store::open(&config.state_dir)?;
        let _lock = setup::lock(&store, self.wait, options)?;
        let mut state = store.state()?;
        let mut forgotten = 0;
        if self.node.is_none() {
            forgotten = fence::reset(&mut state, None);
        }
        for node in &named {
            forgotten += fence::reset(&mut state, Some(node));
        }
        store.write_state(&state)?;
        output::text(&format!("forgotten: {forgotten}\n"));
        Ok(Exit::Ok.code())
    }
}

/// One line for each recorded number, believed or not.
fn text(state: &PersistedState, named: &[NodeName]) -> String {
    let wanted = |node: &NodeName| named.is_empty() || named.contains(node);
    let mut text = String::new();
    for (certificate, of_name) in &state.fences {
        for (node, held) in of_name.iter().filter(|(node, _)| wanted(node)) {
            let believed = if fence::plausible(held.number, clock::now()) { "" } else { "; not believed" };
            let _ = writeln!(
                text,
                "{node}: holds number {} of {certificate}, reported {}{believed}",
                held.number,
                minute(held.at)
            );
        }
    }
    for (node, by_name) in state.delivery.iter().filter(|(node, _)| wanted(node)) {
        for attempts in by_name.values().filter(|attempts| attempts.failure.code == Code::NodeFenceImplausible) {
            let _ = writeln!(text, "{}, reported {}; not believed", attempts.failure.what, minute(attempts.last));
            let _ = writeln!(text, "  next: {}", attempts.failure.next);
            debug_assert!(attempts.failure.what.contains(node.as_str()));
        }
    }
    if text.is_empty() { "no node reports a newer generation\n".to_owned() } else { text }
}
