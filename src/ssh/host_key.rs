//! Host keys: which one a node may show, what it looks like to a person, and fetching it before anyone trusts it.

use core::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::connect::{Try, at_one_address, handshake, host_key};
use super::line::Line;
use super::session::on_thread;
use super::{Endpoint, SshError};
use crate::config::HostKey;

/// "ED25519 SHA256:…", the fingerprint as `ssh-keygen -l` shows it.
pub fn fingerprint(key: &HostKey) -> String {
    let hash = STANDARD_NO_PAD.encode(digest::digest(&digest::SHA256, &key.blob));
    let kind = match key.algorithm.as_str() {
        "ssh-ed25519" => "ED25519",
        "ssh-rsa" => "RSA",
        algorithm if algorithm.starts_with("ecdsa-") => "ECDSA",
        _ => "key",
    };
    format!("{kind} SHA256:{hash}")
}

/// The keys that a host shows, one for each kind that it has (ed25519, ecdsa, rsa), without logging in there (jump hosts
/// on the way are logged in to, and must be known). They are what somebody at that address says: compare before pinning.
///
/// # Errors
/// What stopped the connection. No key of any kind that we speak is [`SshError::Handshake`].
pub async fn host_keys(endpoint: Endpoint, deadline: Duration) -> Result<Vec<HostKey>, SshError> {
    let line = Line::default();
    let node = endpoint.node.clone();
    let fetch = {
        let line = line.clone();
        move || fetch(&endpoint, &line)
    };
    match tokio::time::timeout(deadline, on_thread(&node, fetch)).await {
        Ok(keys) => keys,
        Err(_) => Err(line.overdue(&node, deadline)),
    }
}

/// Those of the first address that shows any: of a name that leads to several machines, each would show its own.
fn fetch(endpoint: &Endpoint, line: &Line) -> Result<Vec<HostKey>, SshError> {
    at_one_address(endpoint, line, |way| fetch_at(endpoint, way, line))
}

fn fetch_at(endpoint: &Endpoint, way: Try, line: &Line) -> Result<Vec<HostKey>, SshError> {
    let mut keys = Vec::new();
    let mut refused = None;
    for algorithms in ["ssh-ed25519", "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521", RSA] {
        match handshake(endpoint, way, Some(algorithms), line) {
            Ok(open) => {
                keys.extend(host_key(&open.session));
                // libssh2's farewell is not waited for.
                line.hang_up();
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

/// RFC 8332: the same key with SHA-2; signatures with SHA-1 are not accepted.
const RSA: &str = "rsa-sha2-512,rsa-sha2-256";

/// What to negotiate so that the node shows a key of a kind that is pinned.
pub(super) fn algorithms(pinned: &[HostKey]) -> String {
    let mut algorithms: Vec<&str> =
        pinned.iter().map(|key| if key.algorithm == "ssh-rsa" { RSA } else { key.algorithm.as_str() }).collect();
    algorithms.dedup();
    algorithms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_of_pinned_keys_are_negotiated_and_rsa_without_sha1() {
        let key = |algorithm: &str| HostKey { algorithm: algorithm.to_owned(), blob: Vec::new() };
        assert_eq!(algorithms(&[key("ssh-rsa"), key("ssh-ed25519")]), "rsa-sha2-512,rsa-sha2-256,ssh-ed25519");
    }
}
