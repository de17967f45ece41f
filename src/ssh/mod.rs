//! SSH sessions on libssh2: pinned host key, public-key login, one exec with stdin, deadlines. No other module names the
//! crate behind it.
//!
//! After an error it is unknown what the node did with the data already sent; nothing here retries, but a connection
//! that the server drops before a key exchange, when nothing was sent.

mod agent;
mod capabilities;
mod connect;
mod connection;
mod error;
mod exec;
mod forward;
mod host_key;
mod identity;
mod jump_connection;
mod jump_host;
mod keepalive;
mod known_hosts;
mod login;
mod pool;
mod pump;
mod scan;
mod session;
mod thread;
mod tunnel;

use core::net::SocketAddr;
use std::path::PathBuf;

use crate::cert::NodeName;
use crate::config::HostKey;

pub use capabilities::{Answer, Capability, capabilities};
pub use error::SshError;
pub use host_key::fingerprint;
pub use identity::{Flaw, Identity, public_blob};
pub use known_hosts::{Known, known_hosts};
pub use login::certificate_file;
pub use pool::Pool;
pub use scan::{HostKeys, host_keys};
pub use session::Session;
pub use tunnel::{Tunnel, tunnel};

/// Where a node is and how to log in. All of it is in memory: no file is read later.
#[derive(Clone)]
pub struct Endpoint {
    pub node: NodeName,
    pub address: SocketAddr,
    /// Further addresses, tried in order when `address` does not lead to the node. The pinned keys hold for each.
    pub others: Vec<SocketAddr>,
    pub user: String,
    pub identities: Vec<Identity>,
    /// Pinned keys. Empty: the host is unknown and refused.
    pub host_keys: Vec<HostKey>,
    /// Refused even if pinned.
    pub revoked: Vec<HostKey>,
    /// Certificate authorities that a known_hosts file trusts for this host, which certd does not support.
    pub authorities: Vec<HostKey>,
    /// Socket of an SSH agent, whose keys are tried after the files. An empty path: `SSH_AUTH_SOCK` is not set.
    pub agent: Option<PathBuf>,
    /// The jump host, which may itself be behind another; error texts call it by its `node`.
    pub jump: Option<Box<Self>>,
    /// What is shared with the other endpoints of the run.
    pub pool: Pool,
}

impl Endpoint {
    /// An endpoint without jump host and agent, and with a pool of its own.
    pub fn new(
        node: NodeName,
        address: SocketAddr,
        user: String,
        identities: Vec<Identity>,
        host_keys: Vec<HostKey>,
    ) -> Self {
        let (others, revoked, authorities) = (Vec::new(), Vec::new(), Vec::new());
        let (agent, jump, pool) = (None, None, Pool::default());
        Self { node, address, others, user, identities, host_keys, revoked, authorities, agent, jump, pool }
    }
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint").field("node", &self.node).field("address", &self.address).finish_non_exhaustive()
    }
}
