//! Fetching host keys that are not trusted yet.

use core::time::Duration;

use super::connect::{Try, at_one_address, handshake, host_key};
use super::connection::Connection;
use super::host_key::RSA;
use super::thread::on_thread;
use super::{Endpoint, SshError};
use crate::config::HostKey;

/// The keys that a host shows, one of each kind that it has (ed25519, ecdsa, rsa), without logging in there (jump hosts
/// are logged in to, and must be known). They are unauthenticated: compare them before pinning.
///
/// # Errors
/// Errors of connecting. [`SshError::Handshake`]: the host has no key of a supported kind.
pub async fn host_keys(endpoint: Endpoint, deadline: Duration) -> Result<Vec<HostKey>, SshError> {
    let connection = Connection::default();
    let node = endpoint.node.clone();
    let fetch = {
        let connection = connection.clone();
        move || fetch(&endpoint, &connection)
    };
    match tokio::time::timeout(deadline, on_thread(&node, fetch)).await {
        Ok(keys) => keys,
        Err(_) => Err(connection.overdue(&node, deadline)),
    }
}

/// From the first address that shows any key, since each machine behind one name has keys of its own.
fn fetch(endpoint: &Endpoint, connection: &Connection) -> Result<Vec<HostKey>, SshError> {
    at_one_address(endpoint, connection, |target| fetch_at(endpoint, target, connection))
}

fn fetch_at(endpoint: &Endpoint, target: Try, connection: &Connection) -> Result<Vec<HostKey>, SshError> {
    let mut keys = Vec::new();
    let mut refused = None;
    for algorithms in ["ssh-ed25519", "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521", RSA] {
        match handshake(endpoint, target, Some(algorithms), connection) {
            Ok(open) => {
                keys.extend(host_key(&open.session));
                // Before the session is dropped, as in `CloseOnDrop`.
                connection.close();
            }
            Err(error @ SshError::Handshake { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if keys.is_empty() => Err(error),
        _ => Ok(keys),
    }
}
