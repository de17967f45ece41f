//! Which of a host's keys are pinned, where, and which pins apply.

use core::fmt::Write as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::{Config, HostKey, Ssh};
use crate::context::secrets::public;
use crate::model::Finding;
use crate::ssh;

/// The files in which keys are pinned, read before root privileges are dropped.
pub(super) struct Pins {
    configuration: (PathBuf, String),
    known_hosts: BTreeMap<PathBuf, String>,
}

/// A pinned key, and where it is.
struct Pin {
    key: HostKey,
    place: String,
}

/// The pins of one host.
pub(super) struct PinsOfHost {
    configured: Vec<Pin>,
    known: Vec<Pin>,
    revoked: Vec<Pin>,
    authorities: Vec<Pin>,
}

impl Pins {
    /// Returns the pins, and a finding for each known_hosts file that cannot be read.
    pub(super) fn read<'a>(
        config: &Config,
        path: &Path,
        logins: impl Iterator<Item = &'a Ssh>,
    ) -> (Self, Vec<Finding>) {
        // The same file was parsed a moment ago; an error now only loses line numbers.
        let configuration = (path.to_owned(), std::fs::read_to_string(path).unwrap_or_default());
        let (mut known_hosts, mut failures) = (BTreeMap::new(), Vec::new());
        for path in logins.flat_map(|ssh| &ssh.known_hosts).filter(|path| path.exists()) {
            if known_hosts.contains_key(path) {
                continue;
            }
            let text = public(config, "ssh.known_hosts", path).unwrap_or_else(|failure| {
                failures.push(failure);
                String::new()
            });
            known_hosts.insert(path.clone(), text);
        }
        (Self { configuration, known_hosts }, failures)
    }

    /// `pinned`: the keys in the configuration. `files`: the known_hosts files of this login.
    pub(super) fn of(&self, pinned: &[HostKey], files: &[PathBuf], host: &str, port: u16) -> PinsOfHost {
        let (path, text) = &self.configuration;
        let configured = pinned.iter().map(|key| Pin { key: key.clone(), place: place_in(path, text, key) });
        let (mut known, mut revoked, mut authorities) = (Vec::new(), Vec::new(), Vec::new());
        for path in files {
            let lines = self.known_hosts.get(path).into_iter().flat_map(|text| text.lines()).zip(1..);
            for (line, number) in lines {
                let found = ssh::known_hosts([line], host, port);
                let pin = |key| Pin { key, place: format!("{}:{number}", path.display()) };
                known.extend(found.keys.into_iter().map(pin));
                revoked.extend(found.revoked.into_iter().map(pin));
                authorities.extend(found.authorities.into_iter().map(pin));
            }
        }
        PinsOfHost { configured: configured.collect(), known, revoked, authorities }
    }
}

/// The lines of the configuration that contain the key, as FILE:LINE.
fn place_in(path: &Path, text: &str, key: &HostKey) -> String {
    let blob = STANDARD.encode(&key.blob);
    let lines = text.lines().zip(1..).filter(|(line, _)| line.contains(&blob));
    let lines: Vec<String> = lines.map(|(_, number)| number.to_string()).collect();
    format!("host_key, {}:{}", path.display(), lines.join(" and "))
}

impl PinsOfHost {
    /// For one key of the host: `pinned: yes (/etc/certd/known_hosts:3)`.
    pub(super) fn verdict(&self, key: &HostKey) -> String {
        let place = |pins: &[Pin]| pins.iter().find(|pin| pin.key == *key).map(|pin| pin.place.clone());
        if let Some(place) = place(&self.revoked) {
            return format!("REVOKED ({place}): certd never accepts it");
        }
        let counts = self.counting();
        if let Some(place) = place(counts) {
            return format!("pinned: yes ({place})");
        }
        if let Some(other) = counts.iter().find(|pin| pin.key.algorithm == key.algorithm) {
            return format!("pinned: DIFFERS: {} is ({})", ssh::fingerprint(&other.key), other.place);
        }
        match place(&self.known) {
            Some(place) => format!("pinned: no; {place} has it, but host_key takes precedence"),
            None => "pinned: no".to_owned(),
        }
    }

    /// Which of the host's pins apply.
    pub(super) fn what_counts(&self) -> String {
        let mut text = String::from("  what counts: ");
        let _ = match (self.configured.is_empty(), self.known.is_empty()) {
            (true, true) => write!(text, "no key is pinned, and certd does not log in: compare, then use --write"),
            (true, false) => write!(text, "known_hosts, since the configuration has no host_key for it"),
            (false, true) => write!(text, "host_key in the configuration"),
            (false, false) => write!(text, "host_key in the configuration; of known_hosts @revoked lines alone"),
        };
        text.push('\n');
        for Pin { key, place } in &self.authorities {
            let fingerprint = ssh::fingerprint(key);
            let _ = writeln!(
                text,
                "  does not count: @cert-authority {fingerprint} ({place}); certd knows no host certificates"
            );
        }
        text
    }

    fn counting(&self) -> &[Pin] {
        if self.configured.is_empty() { &self.known } else { &self.configured }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> HostKey {
        HostKey { algorithm: "ssh-ed25519".to_owned(), blob: vec![number; 40] }
    }

    fn line(key: &HostKey) -> String {
        format!("{} {}", key.algorithm, STANDARD.encode(&key.blob))
    }

    #[test]
    fn each_key_is_reported_as_pinned_different_or_not_pinned_with_its_place() {
        let (file, hosts) = (PathBuf::from("/c/certd.toml"), PathBuf::from("/c/known_hosts"));
        let configuration = (file, format!("[[node]]\nhost_key = \"{}\"\n", line(&key(1))));
        let text = format!("# note\nhost {}\n@revoked * {}\n", line(&key(2)), line(&key(3)));
        let pins = Pins { configuration, known_hosts: [(hosts.clone(), text)].into() };
        let of = |pinned: &[HostKey], host: &str| pins.of(pinned, std::slice::from_ref(&hosts), host, 22);

        let both = of(&[key(1)], "host");
        assert_eq!(both.verdict(&key(1)), "pinned: yes (host_key, /c/certd.toml:2)");
        assert!(both.verdict(&key(2)).starts_with("pinned: DIFFERS: ED25519 SHA256:"), "{}", both.verdict(&key(2)));
        assert!(both.verdict(&key(3)).starts_with("REVOKED (/c/known_hosts:3)"));
        assert!(both.what_counts().contains("host_key in the configuration; of known_hosts @revoked lines alone"));
        let rsa = HostKey { algorithm: "ssh-rsa".to_owned(), blob: vec![7; 40] };
        assert_eq!(both.verdict(&rsa), "pinned: no");

        let known = of(&[], "host");
        assert_eq!(known.verdict(&key(2)), "pinned: yes (/c/known_hosts:2)");
        assert!(known.verdict(&key(1)).contains("DIFFERS"));
        assert!(known.what_counts().contains("known_hosts, since"));
        let none = of(&[], "other");
        assert_eq!(none.verdict(&key(1)), "pinned: no");
        assert!(none.what_counts().contains("no key is pinned"));
    }
}
