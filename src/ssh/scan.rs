//! Fetching host keys that are not trusted yet.

use core::time::Duration;

use super::connect::{Try, admitted, again_if_dropped, at_one_address, handshake, host_key};
use super::connection::Connection;
use super::error::Stage;
use super::host_key::RSA;
use super::thread::on_thread;
use super::{Endpoint, SshError};
use crate::config::HostKey;

/// What a host shows of itself.
#[derive(Debug)]
pub struct HostKeys {
    /// Never empty.
    pub keys: Vec<HostKey>,
    /// The host turned the next connection away, so that it may have keys of further kinds.
    pub turned_away: Option<SshError>,
}

/// The keys that a host shows, one of each kind that it has (ed25519, ecdsa, rsa), without logging in there (jump hosts
/// are logged in to, and must be known). They are unauthenticated: compare them before pinning. sshd may punish each
/// connection that ends without a login, so that none is made after one was turned away.
///
/// # Errors
/// Errors of connecting. [`SshError::Handshake`]: the host has no key of a supported kind.
pub async fn host_keys(endpoint: Endpoint, deadline: Duration) -> Result<HostKeys, SshError> {
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
fn fetch(endpoint: &Endpoint, connection: &Connection) -> Result<HostKeys, SshError> {
    at_one_address(endpoint, connection, |target| {
        let _login = admitted(endpoint, target, connection)?;
        fetch_at(endpoint, target, connection)
    })
}

fn fetch_at(endpoint: &Endpoint, target: Try, connection: &Connection) -> Result<HostKeys, SshError> {
    let mut keys = Vec::new();
    let mut refused = None;
    for algorithms in ["ssh-ed25519", "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521", RSA] {
        let shown = again_if_dropped(connection, || handshake(endpoint, target, Some(algorithms), connection));
        match shown {
            Ok(open) => {
                keys.extend(host_key(&open.session));
                // Before the session is dropped, as in `CloseOnDrop`.
                connection.close();
            }
            Err(error @ SshError::Handshake { stage: Stage::KeyExchange, .. }) => refused = Some(error),
            Err(error @ SshError::Handshake { .. }) if !keys.is_empty() => {
                return Ok(HostKeys { keys, turned_away: Some(error) });
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if keys.is_empty() => Err(error),
        _ => Ok(HostKeys { keys, turned_away: None }),
    }
}
