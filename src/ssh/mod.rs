//! One SSH session to one node on libssh2: pinned host key, public-key login, one exec with stdin, deadlines.
//! Nothing else in certd knows the crate behind it.
//!
//! Failure means that it is not known what the node did with what was already sent; nothing here tries again.

mod connect;
mod ear;
mod error;
mod host_key;
mod known_hosts;
mod line;
mod login;
mod session;
mod tunnel;
mod wire;

use core::net::SocketAddr;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::cert::NodeName;
use crate::config::HostKey;

pub use error::SshError;
pub use host_key::{fingerprint, host_keys};
pub use known_hosts::known_host_keys;
pub use session::Session;
pub use tunnel::{Tunnel, tunnel};

/// Where a node is and how to log in. Everything is in memory: nothing is read from disk later.
#[derive(Clone)]
pub struct Endpoint {
    pub node: NodeName,
    pub address: SocketAddr,
    pub user: String,
    pub identities: Vec<Identity>,
    /// Empty: unknown host, refused.
    pub host_keys: Vec<HostKey>,
    /// The host that leads there, itself perhaps behind another; its `node` is what error texts call it.
    pub jump: Option<Box<Self>>,
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint").field("node", &self.node).field("address", &self.address).finish_non_exhaustive()
    }
}

/// A private key for logging in, and the file that it was read from (for error texts).
#[derive(Clone)]
pub struct Identity {
    pub file: PathBuf,
    pub pem: Zeroizing<String>,
}

/// The file, never the key.
impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Identity").field("file", &self.file).finish_non_exhaustive()
    }
}
