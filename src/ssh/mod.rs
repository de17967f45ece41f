//! One SSH session to one node on libssh2: pinned host key, public-key login, one exec with stdin, deadlines.
//! Nothing else in certd knows the crate behind it.

use core::net::SocketAddr;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::cert::NodeName;
use crate::config::HostKey;
use crate::observed::Advice;

/// Where a node is and how to log in. Everything is in memory: nothing is read from disk later.
#[derive(Clone)]
pub struct Endpoint {
    pub node: NodeName,
    pub address: SocketAddr,
    pub user: String,
    pub identities: Vec<Identity>,
    /// Empty: unknown host, refused.
    pub host_keys: Vec<HostKey>,
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

#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("{node}: {address} refuses the connection")]
    Refused { node: NodeName, address: SocketAddr },
}

impl SshError {
    pub fn advice(&self) -> Advice {
        todo!()
    }
}
