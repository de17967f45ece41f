//! Host keys: their fingerprints, and which algorithms to negotiate.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::config::HostKey;

/// "ED25519 SHA256:…", the fingerprint as `ssh-keygen -l` shows it.
pub fn fingerprint(key: &HostKey) -> String {
    let hash = STANDARD_NO_PAD.encode(digest::digest(&digest::SHA256, &key.blob));
    let kind = match key.algorithm.as_str() {
        "ssh-ed25519" => "ED25519",
        "ssh-rsa" => "RSA",
        "sk-ssh-ed25519@openssh.com" => "ED25519-SK",
        algorithm if algorithm.starts_with("sk-ecdsa-") => "ECDSA-SK",
        algorithm if algorithm.starts_with("ecdsa-") => "ECDSA",
        _ => "key",
    };
    format!("{kind} SHA256:{hash}")
}

/// RFC 8332: the same key with SHA-2; signatures with SHA-1 are not accepted.
pub(super) const RSA: &str = "rsa-sha2-512,rsa-sha2-256";

/// The algorithms to negotiate so that the node shows a key of a pinned kind.
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
