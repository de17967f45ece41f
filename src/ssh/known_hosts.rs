//! The known_hosts format of OpenSSH (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): which keys are pinned for a host.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::HostKey;

/// The entries of known_hosts files for one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub keys: Vec<HostKey>,
    /// Never accepted, even if another file lists the key.
    pub revoked: Vec<HostKey>,
    /// Certificate authorities that are trusted for it, which certd does not support: such a line pins nothing.
    pub authorities: Vec<HostKey>,
}

/// The entries for `host`, an IP address or a name, in the texts of known_hosts files. Unreadable lines are skipped.
pub fn known_hosts<'a>(texts: impl IntoIterator<Item = &'a str>, host: &str, port: u16) -> Known {
    // "It is possible to specify a port: [host]:port"; the standard port is written without.
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") }.to_ascii_lowercase();
    let mut known = Known::default();
    let lines = texts.into_iter().flat_map(str::lines).map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
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
            "" => known.keys.push(key),
            "revoked" => known.revoked.push(key),
            "cert-authority" => known.authorities.push(key),
            _ => {}
        }
    }
    known.keys.retain(|key| !known.revoked.contains(key));
    known
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

/// `*` matches any number of characters and `?` one. Needs no stack: on a mismatch the last star takes one more.
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
        !known_hosts([line], host, port).keys.is_empty()
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
        assert_eq!(known_hosts([file], "192.0.2.1", 22).keys.len(), 1);
        assert_eq!(known_hosts([file], "192.0.2.1", 2222).keys.len(), 1);
        assert_eq!(known_hosts([file], "192.0.2.2", 22).keys.len(), 0);
    }

    #[test]
    fn neither_a_revoked_key_nor_a_certificate_authority_is_a_pin() {
        assert!(!pinned(&format!("node1 {KEY}\n@revoked * {KEY}"), "node1", 22));
        assert!(!pinned(&format!("@cert-authority node1 {KEY}"), "node1", 22));
        let known = known_hosts([format!("@cert-authority *.example.com {KEY}").as_str()], "a.example.com", 22);
        assert_eq!((known.keys.len(), known.authorities.len()), (0, 1));
    }

    #[test]
    fn a_key_that_one_file_revokes_is_no_pin_of_another_file() {
        let (pins, revokes) = (format!("node1 {KEY}"), format!("@revoked * {KEY}"));
        let known = known_hosts([pins.as_str(), revokes.as_str()], "node1", 22);
        assert_eq!((known.keys.len(), known.revoked.len()), (0, 1));
    }

    #[test]
    fn an_ipv6_address_is_found_with_and_without_a_port() {
        assert!(pinned(&format!("2001:db8::1 {KEY}"), "2001:db8::1", 22));
        assert!(pinned(&format!("[2001:db8::1]:2222 {KEY}"), "2001:db8::1", 2222));
        assert!(!pinned(&format!("[2001:db8::1]:2222 {KEY}"), "2001:db8::1", 22));
    }

    #[test]
    fn several_keys_of_one_host_are_all_pinned() {
        let other = KEY.replace("U2NA==", "U2NQ==");
        assert_eq!(known_hosts([format!("node1 {KEY}\nnode1 {other}").as_str()], "node1", 22).keys.len(), 2);
    }

    #[test]
    fn an_unreadable_line_pins_nothing() {
        for line in
            ["", "# node1 x y", "node1", "node1 ssh-ed25519", "node1 ssh-ed25519 %%%", "|1|x node1 y", "@revoked"]
        {
            assert!(!pinned(line, "node1", 22), "{line}");
        }
    }
}
