//! The public half of an identity, as a line of authorized_keys has it.

use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::config::ssh_string;
use crate::ssh::public_blob;

/// Its kind and its blob; no options and no comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    kind: String,
    blob: Vec<u8>,
}

/// Characters of base64; the whole key of Ed25519.
const TAIL: usize = 43;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a public key as OpenSSH writes it: a kind such as ssh-ed25519, and its base64")]
pub struct BadKey;

impl PublicKey {
    /// A line of a `.pub` file. What stands before the kind would be options, and is refused.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(line: &str) -> Result<Self, BadKey> {
        let mut words = line.split_ascii_whitespace();
        let (kind, base64) = words.next().zip(words.next()).ok_or(BadKey)?;
        let key = Self::of_blob(STANDARD.decode(base64).map_err(|_| BadKey)?)?;
        if key.kind == kind { Ok(key) } else { Err(BadKey) }
    }

    /// Of a private key in OpenSSH's own format.
    ///
    /// # Errors
    /// It is a key in another format.
    pub fn of_private(pem: &str) -> Result<Self, BadKey> {
        Self::of_blob(public_blob(pem).ok_or(BadKey)?)
    }

    /// The end of its base64, which no other key has, in characters that neither a shell nor sed sees.
    pub(super) fn tail(&self) -> String {
        let base64 = STANDARD.encode(&self.blob);
        base64.get(base64.len().saturating_sub(TAIL)..).unwrap_or(&base64).to_owned()
    }

    /// RFC 4253 section 6.6: a key's blob begins with its kind.
    fn of_blob(blob: Vec<u8>) -> Result<Self, BadKey> {
        let (kind, rest) = ssh_string(&blob).ok_or(BadKey)?;
        let kind = core::str::from_utf8(kind).map_err(|_| BadKey)?;
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '@');
        if rest.is_empty() || kind.is_empty() || kind.len() > 64 || !kind.chars().all(word) || blob.len() > 8192 {
            return Err(BadKey);
        }
        Ok(Self { kind: kind.to_owned(), blob })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, STANDARD.encode(&self.blob))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5xIlLNWAZ9kPGdaHKLZ8sSXwoAtfTi7QNwPXTKQQHV";

    #[test]
    fn a_line_gives_kind_and_blob_and_loses_its_comment() {
        assert_eq!(PublicKey::parse(&format!("{LINE} who@where\n")).unwrap().to_string(), LINE);
    }

    #[test]
    fn options_a_kind_that_the_blob_is_not_and_other_things_are_no_key() {
        let rsa = LINE.replace("ssh-ed25519", "ssh-rsa");
        let options = format!("command=\"sh\" {LINE}");
        for bad in ["", "ssh-ed25519", "ssh-ed25519 ???", "ssh-ed25519 AAAA", &rsa, &options, "-----BEGIN X-----"] {
            assert_eq!(PublicKey::parse(bad), Err(BadKey), "{bad}");
        }
    }
}
