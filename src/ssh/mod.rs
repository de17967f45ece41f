//! One SSH session to one node on libssh2: pinned host key, public-key login, one exec with stdin, deadlines.
//! Nothing else in certd knows the crate behind it.
//!
//! Finding means that it is not known what the node did with what was already sent; nothing here tries again.

mod agent;
mod connect;
mod ear;
mod error;
mod host_key;
mod identity;
mod known_hosts;
mod liberties;
mod line;
mod login;
mod scan;
mod session;
mod thread;
mod tunnel;
mod wire;

use core::net::SocketAddr;
use std::path::PathBuf;

use crate::cert::NodeName;
use crate::config::HostKey;

pub use error::SshError;
pub use host_key::fingerprint;
pub use identity::{Identity, public_blob};
pub use known_hosts::{Known, known_hosts};
pub use liberties::{Answer, Liberty, liberties};
pub use scan::host_keys;
pub use session::Session;
pub use tunnel::{Tunnel, tunnel};

/// Where a node is and how to log in. Everything is in memory: nothing is read from disk later.
#[derive(Clone)]
pub struct Endpoint {
    pub node: NodeName,
    pub address: SocketAddr,
    /// Tried in their order where the first does not lead there; the pinned keys are those of each.
    pub others: Vec<SocketAddr>,
    pub user: String,
    pub identities: Vec<Identity>,
    /// Empty: unknown host, refused.
    pub host_keys: Vec<HostKey>,
    /// Refused, also where they are pinned.
    pub revoked: Vec<HostKey>,
    /// A known_hosts file trusts a certificate authority for this host, which certd does not.
    pub authority: bool,
    /// Where an SSH agent listens. Its keys are tried after the files; an empty path is `SSH_AUTH_SOCK` that is not set.
    pub agent: Option<PathBuf>,
    /// The host that leads there, itself perhaps behind another; its `node` is what error texts call it.
    pub jump: Option<Box<Self>>,
}

impl Endpoint {
    /// Reached directly, with no agent.
    pub fn new(
        node: NodeName,
        address: SocketAddr,
        user: String,
        identities: Vec<Identity>,
        host_keys: Vec<HostKey>,
    ) -> Self {
        let (revoked, authority, agent, jump) = (Vec::new(), false, None, None);
        let others = Vec::new();
        Self { node, address, others, user, identities, host_keys, revoked, authority, agent, jump }
    }
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint").field("node", &self.node).field("address", &self.address).finish_non_exhaustive()
    }
}
