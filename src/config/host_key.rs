//! A node's public host key, in the format of `ssh-keyscan` and `/etc/ssh/ssh_host_*_key.pub`.

use core::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A public host key: its type and blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    pub algorithm: String,
    pub blob: Vec<u8>,
}

/// Types of host keys, and the number of strings in their blobs (RFC 8709 section 4, RFC 5656 section 3.1, RFC 4253
/// section 6.6). OpenSSH has removed DSA.
const ALGORITHMS: [(&str, usize); 5] = [
    ("ssh-ed25519", 2),
    ("ecdsa-sha2-nistp256", 3),
    ("ecdsa-sha2-nistp384", 3),
    ("ecdsa-sha2-nistp521", 3),
    ("ssh-rsa", 3),
];

impl HostKey {
    /// `ssh-ed25519 AAAA…`, with or without a comment after it.
    ///
    /// # Errors
    /// The text is invalid. The blob is checked, too, which detects a line that was cut short in copying.
    pub fn parse(text: &str) -> Result<Self, BadHostKey> {
        let mut words = text.split_whitespace();
        let (Some(algorithm), Some(encoded)) = (words.next(), words.next()) else {
            let fingerprint = text.starts_with("SHA256:") || text.starts_with("MD5:");
            return Err(if fingerprint { BadHostKey::Fingerprint } else { BadHostKey::Shape });
        };
        let Some((_, strings)) = ALGORITHMS.iter().find(|(name, _)| *name == algorithm) else {
            let host_in_front = ALGORITHMS.iter().any(|(name, _)| *name == encoded);
            return Err(if host_in_front {
                BadHostKey::HostInFront
            } else {
                BadHostKey::Algorithm(shortened(algorithm))
            });
        };
        let Ok(blob) = BASE64_STANDARD.decode(encoded) else { return Err(BadHostKey::Base64) };
        let Some(parts) = strings_of(&blob) else { return Err(BadHostKey::Cut) };
        if parts.first() != Some(&algorithm.as_bytes()) {
            let inner = parts.first().map(|inner| shortened(&String::from_utf8_lossy(inner))).unwrap_or_default();
            return Err(BadHostKey::Mismatch { outer: algorithm.to_owned(), inner });
        }
        if parts.len() != *strings {
            return Err(BadHostKey::Cut);
        }
        Ok(Self { algorithm: algorithm.to_owned(), blob })
    }
}

impl fmt::Display for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, BASE64_STANDARD.encode(&self.blob))
    }
}

/// RFC 4251 section 5: a string is its length in four bytes, most significant first, and then that many bytes. What
/// follows it comes second.
pub fn ssh_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// `None`: the blob does not end where its last string does.
fn strings_of(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut strings = Vec::new();
    while !blob.is_empty() {
        let (string, rest) = ssh_string(blob)?;
        strings.push(string);
        blob = rest;
    }
    Some(strings)
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHostKey {
    #[error("is not a host key: a type and a base64 text")]
    Shape,
    #[error("is a fingerprint, and a whole key is needed")]
    Fingerprint,
    #[error("has a host in front of the key, as ssh-keyscan prints it")]
    HostInFront,
    #[error("has the type {0:?}, which is none that certd takes")]
    Algorithm(String),
    #[error("is not base64 after its type")]
    Base64,
    #[error("is cut short, or has something appended")]
    Cut,
    #[error("says {outer:?} and holds a key of type {inner:?}")]
    Mismatch { outer: String, inner: String },
}

#[cfg(test)]
mod tests {
    use super::{BadHostKey, HostKey};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_key_is_read_and_written_alike() {
        assert_eq!(HostKey::parse(&format!("{KEY} root@node")).unwrap().to_string(), KEY);
    }

    #[test]
    fn a_key_that_was_cut_in_copying_is_noticed() {
        assert_eq!(HostKey::parse(&KEY[..KEY.len() - 4]), Err(BadHostKey::Cut));
        assert_eq!(HostKey::parse(&format!("{KEY}AAAA")), Err(BadHostKey::Cut));
        assert_eq!(HostKey::parse(&KEY[..KEY.len() - 3]), Err(BadHostKey::Base64));
    }

    #[test]
    fn a_key_of_another_type_than_it_says_is_refused() {
        let swapped = KEY.replacen("ssh-ed25519", "ssh-rsa", 1);
        let refused = HostKey::parse(&swapped).unwrap_err();
        assert_eq!(refused.to_string(), "says \"ssh-rsa\" and holds a key of type \"ssh-ed25519\"");
    }
}
