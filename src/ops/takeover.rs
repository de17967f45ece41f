//! What an administrator's login does on a node beside setting up a receiver: a look as root, and a script.

use crate::config::Node;
use crate::context::Context;
use crate::context::failure::failure;
use crate::model::{Advice, Code, Finding};
use crate::node::receiver::{self, ReceiverError};
use crate::observe::disks;
use crate::plan::takeover::Takeover;
use crate::ssh::Endpoint;

use super::receiver::SCRIPT_DEADLINE;

/// What else renews there, as root sees it. Changes nothing.
///
/// # Errors
/// As a delivery before its commit; also where this login can only accept certificates.
pub async fn look(context: &Context, node: &Node, administrator: Endpoint) -> Result<Takeover, Finding> {
    let user = administrator.user.clone();
    let looked = disks::as_root(context, &node.name, administrator).await?;
    if looked.receiver.is_some() {
        let what = format!("{user} is a receiver account there, which can only accept certificates");
        let next = "give an administrator's login: --login root, or --login USER@HOST";
        return Err(failure(Code::NodeScript, &node.name, what, next, Advice::Person));
    }
    Ok(Takeover::of(looked))
}

/// Runs a script as root and returns the lines that it printed.
///
/// # Errors
/// The script did not finish. It can be run again.
pub async fn run(administrator: Endpoint, script: &str) -> Result<Vec<String>, Finding> {
    let node = administrator.node.clone();
    let ran = receiver::run(administrator, script, SCRIPT_DEADLINE).await;
    ran.map_err(|error| {
        let code = match &error {
            ReceiverError::Ssh(error) => error.code(),
            ReceiverError::Failed { .. } | ReceiverError::Cut { .. } => Code::NodeScript,
        };
        failure(code, &node, &error, error.next(), Advice::Person)
    })
}
