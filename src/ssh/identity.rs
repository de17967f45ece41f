//! A private key for logging in, and its properties that are visible without decrypting it.
//!
//! libssh2 reports a key that it cannot use as one that the node refuses; the true reason is found here.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::config::ssh_string;
use crate::text::as_word;

/// A private key and its file (for error texts).
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub file: PathBuf,
    pub pem: Zeroizing<String>,
    /// Used where the key is encrypted.
    pub passphrase: Option<Zeroizing<String>>,
    /// The certificate beside it (`FILE-cert.pub`), which is offered before the key alone.
    pub certificate: Option<String>,
}

/// Why a file is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    ByteOrderMark,
    Putty,
    PublicKey,
    OneLine,
    NoKey,
}

impl Flaw {
    pub fn what(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "it begins with a byte order mark, which an editor put there",
            Self::Putty => "it is a PuTTY key",
            Self::PublicKey => "it is a public key",
            Self::OneLine => "its line breaks are lost",
            Self::NoKey => "it is not a private key in PEM or in OpenSSH's format",
        }
    }

    /// The operator's next step.
    pub fn next(self, file: &Path) -> String {
        let file = as_word(&file.display().to_string());
        match self {
            Self::ByteOrderMark => format!("remove its first three bytes: sed -i '1s/^\\xef\\xbb\\xbf//' {file}"),
            Self::Putty => format!(
                "convert it, and name the new file in identity_files: puttygen {file} -O private-openssh -o NEW \
                 (package putty-tools)"
            ),
            Self::PublicKey => "name the private key in identity_files, the file without .pub".to_owned(),
            Self::OneLine => {
                format!(
                    "copy the key again, as a file; `ssh-keygen -y -f {file}` prints its public half when it is whole"
                )
            }
            Self::NoKey => {
                format!("make a key, and name it in identity_files: ssh-keygen -t ed25519 -N '' -f {file}.new")
            }
        }
    }
}

/// Shows the file, never the key.
impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Identity").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Identity {
    /// Without a passphrase and a certificate.
    pub fn new(file: PathBuf, pem: Zeroizing<String>) -> Self {
        Self { file, pem, passphrase: None, certificate: None }
    }

    /// What can be seen without a connection; `None` does not prove that the key can be used.
    pub fn flaw(&self) -> Option<Flaw> {
        let text = self.pem.trim_start();
        if text.starts_with('\u{feff}') {
            return Some(Flaw::ByteOrderMark);
        }
        if text.starts_with("PuTTY-User-Key-File-") {
            return Some(Flaw::Putty);
        }
        const PUBLIC: [&str; 5] = ["ssh-", "ecdsa-sha2-", "sk-", "---- BEGIN SSH2 PUBLIC KEY", "-----BEGIN PUBLIC KEY"];
        if PUBLIC.iter().any(|begin| text.starts_with(begin)) || text.starts_with("-----BEGIN RSA PUBLIC KEY") {
            return Some(Flaw::PublicKey);
        }
        let begin = text.lines().find(|line| line.contains("-----BEGIN ") && line.contains("PRIVATE KEY-----"));
        match begin.map(|line| line.trim().ends_with("PRIVATE KEY-----") && !line.contains("-----END")) {
            Some(true) => None,
            Some(false) => Some(Flaw::OneLine),
            None => Some(Flaw::NoKey),
        }
    }

    pub fn is_encrypted(&self) -> bool {
        match Container::read(&self.pem) {
            Some(container) => container.cipher != b"none",
            // RFC 1421 section 4.6.1.1 and RFC 5958 (PKCS #8).
            None => ["Proc-Type: 4,ENCRYPTED", "-----BEGIN ENCRYPTED PRIVATE KEY-----"]
                .iter()
                .any(|mark| self.pem.contains(mark)),
        }
    }

    /// Its private half is in a device that must be touched, as with `sk-ssh-ed25519@openssh.com`.
    pub(super) fn is_of_a_security_key(&self) -> bool {
        Container::read(&self.pem).is_some_and(|container| {
            ssh_string(&container.public).is_some_and(|(algorithm, _)| algorithm.starts_with(b"sk-"))
        })
    }
}

/// The public half of a private key in OpenSSH's own format, which holds it in the clear, under a passphrase too.
pub fn public_blob(pem: &str) -> Option<Vec<u8>> {
    Container::read(pem).map(|container| container.public)
}

/// The open part of OpenSSH's own format (PROTOCOL.key of its sources).
struct Container {
    cipher: Vec<u8>,
    public: Vec<u8>,
}

impl Container {
    fn read(pem: &str) -> Option<Self> {
        let (_, rest) = pem.split_once("-----BEGIN OPENSSH PRIVATE KEY-----")?;
        let (body, _) = rest.split_once("-----END")?;
        // Without a passphrase the body holds the private half in the clear: wipe it on drop.
        let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let bytes = Zeroizing::new(STANDARD.decode(body.as_str()).ok()?);
        let rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
        let (cipher, rest) = ssh_string(rest)?;
        let (_, rest) = ssh_string(rest)?;
        let (_, rest) = ssh_string(rest)?;
        // The number of keys.
        let (public, _) = ssh_string(rest.strip_prefix(&1u32.to_be_bytes())?)?;
        Some(Self { cipher: cipher.to_vec(), public: public.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(pem: &str) -> Identity {
        Identity::new(PathBuf::new(), Zeroizing::new(pem.to_owned()))
    }

    fn openssh(cipher: &str, algorithm: &str) -> Identity {
        let string = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let public = string(algorithm.as_bytes());
        let parts = [string(cipher.as_bytes()), string(b"bcrypt"), string(b""), vec![0, 0, 0, 1], string(&public)];
        let body = STANDARD.encode([b"openssh-key-v1\0".to_vec(), parts.concat()].concat());
        let (first, second) = body.split_at(20);
        identity(&format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{first}\n{second}\n-----END OPENSSH PRIVATE KEY-----\n"
        ))
    }

    #[test]
    fn encryption_is_detected_in_each_format() {
        assert!(openssh("aes256-ctr", "ssh-ed25519").is_encrypted());
        assert!(!openssh("none", "ssh-ed25519").is_encrypted());
        assert!(identity("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n").is_encrypted());
        assert!(identity("-----BEGIN ENCRYPTED PRIVATE KEY-----\n").is_encrypted());
        assert!(!identity("-----BEGIN PRIVATE KEY-----\n").is_encrypted());
        assert!(!identity("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END").is_encrypted());
    }

    #[test]
    fn a_file_that_is_no_private_key_is_named_as_what_it_is() {
        for (text, flaw) in [
            ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", Some(Flaw::Putty)),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINE6 certd\n", Some(Flaw::PublicKey)),
            ("ecdsa-sha2-nistp256 AAAA\n", Some(Flaw::PublicKey)),
            ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", Some(Flaw::PublicKey)),
            ("\u{feff}-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", Some(Flaw::ByteOrderMark)),
            ("-----BEGIN OPENSSH PRIVATE KEY----- b3Bl -----END OPENSSH PRIVATE KEY-----\n", Some(Flaw::OneLine)),
            ("hello\n", Some(Flaw::NoKey)),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n", None),
            ("Bag Attributes\n-----BEGIN PRIVATE KEY-----\r\nMII\r\n-----END PRIVATE KEY-----\r\n", None),
            ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n", None),
        ] {
            assert_eq!(identity(text).flaw(), flaw, "{text}");
        }
    }

    #[test]
    fn a_security_key_is_detected() {
        assert!(openssh("none", "sk-ssh-ed25519@openssh.com").is_of_a_security_key());
        assert!(!openssh("none", "ssh-ed25519").is_of_a_security_key());
    }
}
