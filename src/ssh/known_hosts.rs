//! The known_hosts format of OpenSSH (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): which keys are pinned for a host.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::HostKey;

/// The keys that the file's text pins for a host, an IP address or a name. "@revoked" keys are taken away again,
/// certificate authorities are not supported and pin nothing; lines that cannot be read pin nothing.
pub fn known_host_keys(text: &str, host: &str, port: u16) -> Vec<HostKey> {
    // "It is possible to specify a port: [host]:port"; the standard port is written without.
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }.to_ascii_lowercase();
    let mut keys = Vec::new();
    let mut revoked = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut fields = line.split_ascii_whitespace();
        let first = fields.next().unwrap_or_default();
        let (marker, hosts) = match first.strip_prefix('@') {
            Some(marker) => (marker, fields.next().unwrap_or_default()),
            None => ("", first),
        };
        let (Some(algorithm), Some(blob)) = (fields.next(), fields.next()) else { continue };
        let Ok(blob) = STANDARD.decode(blob) else { continue };
        if !matches(hosts, &name) {
            continue;
        }
        let key = HostKey { algorithm: algorithm.to_owned(), blob };
        match marker {
            "" => keys.push(key),
            "revoked" => revoked.push(key),
            _ => {}
        }
    }
    keys.retain(|key| !revoked.contains(key));
    keys
}

/// "Hostnames is a comma-separated list of patterns"; a negated one that matches excludes the line.
fn matches(hosts: &str, name: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return hash_matches(hashed, name);
    }
    let mut found = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= glob(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// `HashKnownHosts`: base64(salt) "|" base64(HMAC-SHA1(salt, name)).
fn hash_matches(hashed: &str, name: &str) -> bool {
    let Some((salt, digest)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(digest)) = (STANDARD.decode(salt), STANDARD.decode(digest)) else { return false };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &salt);
    hmac::verify(&key, name.as_bytes(), &digest).is_ok()
}

/// `*` for any number of characters and `?` for one, in linear space: the last star takes one more when stuck.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2U2NA==";

    fn pinned(line: &str, host: &str, port: u16) -> bool {
        !known_host_keys(line, host, port).is_empty()
    }

    #[test]
    fn a_plain_name_pins_its_port_only() {
        assert!(pinned(&format!("node1,192.0.2.1 {KEY} comment"), "192.0.2.1", 22));
        assert!(!pinned(&format!("192.0.2.1 {KEY}"), "192.0.2.1", 2222));
        assert!(pinned(&format!("[192.0.2.1]:2222 {KEY}"), "192.0.2.1", 2222));
        assert!(!pinned(&format!("[192.0.2.1]:2222 {KEY}"), "192.0.2.1", 22));
    }

    #[test]
    fn patterns_match_and_a_negated_one_excludes() {
        assert!(pinned(&format!("*.example.com {KEY}"), "a.example.com", 22));
        assert!(!pinned(&format!("*.example.com,!a.example.com {KEY}"), "a.example.com", 22));
        assert!(pinned(&format!("192.0.2.? {KEY}"), "192.0.2.9", 22));
        assert!(!pinned(&format!("192.0.2.? {KEY}"), "192.0.2.19", 22));
    }

    #[test]
    fn a_hashed_name_is_found_as_ssh_keygen_hashes_it() {
        // Made with: ssh-keygen -H, of 192.0.2.1 and of [192.0.2.1]:2222.
        let file = include_str!("known_hosts.txt");
        assert_eq!(known_host_keys(file, "192.0.2.1", 22).len(), 1);
        assert_eq!(known_host_keys(file, "192.0.2.1", 2222).len(), 1);
        assert_eq!(known_host_keys(file, "192.0.2.2", 22).len(), 0);
    }

    #[test]
    fn a_revoked_key_is_no_pin_and_a_certificate_authority_neither() {
        assert!(!pinned(&format!("node1 {KEY}\n@revoked * {KEY}"), "node1", 22));
        assert!(!pinned(&format!("@cert-authority node1 {KEY}"), "node1", 22));
    }

    #[test]
    fn what_cannot_be_read_pins_nothing() {
        for line in
            ["", "# node1 x y", "node1", "node1 ssh-ed25519", "node1 ssh-ed25519 %%%", "|1|x node1 y", "@revoked"]
        {
            assert!(!pinned(line, "node1", 22), "{line}");
        }
    }
}
