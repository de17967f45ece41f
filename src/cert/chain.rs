//! A certificate chain, leaf first. What cannot be read as one is refused here, once.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::{Leaf, Malformed, pem};

/// Certificates in one chain. Public chains have two to four; OpenSSL's default depth is a hundred, browsers stop near
/// ten.
const MOST_CERTIFICATES: usize = 10;

/// Bytes of one chain, as PEM or DER. A chain of four is 6 kB; ten times that is no honest chain.
const MOST_BYTES: usize = 64 * 1024;

/// One or more certificates, leaf first, as PEM and DER.
#[derive(Clone, Debug)]
pub struct Chain {
    pub leaf: Leaf,
    ders: Vec<Vec<u8>>,
}

impl Chain {
    /// From PEM as a CA sends it (RFC 8555 section 9.1), or as it is kept. A root at the end is left out: no client
    /// needs it, and each handshake would carry it.
    ///
    /// # Errors
    /// Too long, anything but certificates and white space, or a certificate that cannot be read.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let size = text.len();
        if size > MOST_BYTES {
            return Err(Malformed::chain(format!("{size} bytes, and at most {MOST_BYTES} are read")));
        }
        let mut ders = pem::certificates(text)?;
        if ders.len() > 1 && ders.last().is_some_and(|last| self_signed(last)) {
            ders.pop();
        }
        Self::from_ders(ders)
    }

    /// From the DERs that a server sent in its handshake, as they came.
    ///
    /// # Errors
    /// None, too many, or one that cannot be read.
    pub fn from_ders(ders: Vec<Vec<u8>>) -> Result<Self, Malformed> {
        let size: usize = ders.iter().map(Vec::len).sum();
        if size > MOST_BYTES {
            return Err(Malformed::chain(format!("{size} bytes, and at most {MOST_BYTES} are read")));
        }
        if ders.len() > MOST_CERTIFICATES {
            return Err(Malformed::chain(format!(
                "{} certificates, and at most {MOST_CERTIFICATES} are read",
                ders.len()
            )));
        }
        for (at, der) in ders.iter().enumerate() {
            read(der).ok_or_else(|| Malformed {
                what: format!("certificate {} of the chain", at + 1),
                why: "it is not an X.509 certificate".to_owned(),
            })?;
        }
        let first = ders.first().and_then(|der| Some((der, read(der)?)));
        let leaf = first.map(|(der, certificate)| Leaf::of(der, &certificate));
        let leaf = leaf.ok_or_else(|| Malformed::chain("no certificate".to_owned()))?;
        Ok(Self { leaf, ders })
    }

    /// The whole chain, leaf first: what a server's `fullchain.pem` holds.
    pub fn pem(&self) -> String {
        self.ders.iter().map(|der| pem::block(der)).collect()
    }

    /// The leaf alone: `cert.pem`.
    pub fn leaf_pem(&self) -> String {
        self.ders.iter().take(1).map(|der| pem::block(der)).collect()
    }

    /// What stands above the leaf: `chain.pem`.
    pub fn issuers_pem(&self) -> String {
        self.ders.iter().skip(1).map(|der| pem::block(der)).collect()
    }

    /// Never empty.
    pub fn ders(&self) -> &[Vec<u8>] {
        &self.ders
    }

    /// Each certificate, leaf first.
    pub(super) fn certificates(&self) -> Vec<X509Certificate<'_>> {
        self.ders.iter().filter_map(|der| read(der)).collect()
    }
}

/// `None`: not a certificate, or something behind it.
fn read(der: &[u8]) -> Option<X509Certificate<'_>> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Some(certificate),
        _ => None,
    }
}

fn self_signed(der: &[u8]) -> bool {
    read(der).is_some_and(|root| root.issuer() == root.subject() && root.verify_signature(None).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::{Authority, days};
    use crate::cert::{DnsName, Fingerprint, KeyType, leaf};

    #[test]
    fn a_leaf_says_what_openssl_says_of_it() {
        let root = Authority::root("R");
        let pair = root.issue(&["a.example.com", "*.b.example.com"], days(0, 90));
        let leaf = &pair.chain().leaf;
        let names: Vec<&str> = leaf.names.iter().map(DnsName::as_str).collect();
        assert_eq!(names, ["*.b.example.com", "a.example.com"]);
        assert_eq!((leaf.issuer.as_str(), leaf.key_type), ("R", Some(KeyType::EcdsaP256)));
        assert_eq!(leaf.not_after.duration_since(leaf.not_before).as_hours(), 90 * 24);
        assert_eq!(leaf.fingerprint, Fingerprint::of(&pair.chain().ders()[0]));
        assert!(leaf.serial.len() <= 40 && leaf.serial.bytes().all(|b| b.is_ascii_hexdigit()), "{}", leaf.serial);
    }

    #[test]
    fn the_renewal_identifier_is_the_one_of_rfc_9773() {
        // Section 4.1's example: keyIdentifier 69:88:5B:6B:87:46:40:41:E1:B3:7B:84:7B:A0:AE:2C:DE:01:C8:D4 and serial
        // 00:87:65:43:21, whose leading zero byte counts.
        let identifier = b"\x69\x88\x5B\x6B\x87\x46\x40\x41\xE1\xB3\x7B\x84\x7B\xA0\xAE\x2C\xDE\x01\xC8\xD4";
        let root = Authority::root_with_identifier("R", identifier);
        let pair = root.issue_with_serial(&["example.com"], days(0, 90), &[0x87, 0x65, 0x43, 0x21]);
        assert_eq!(pair.chain().leaf.ari_id.as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
        assert_eq!(pair.chain().leaf.serial, "87654321");
    }

    #[test]
    fn a16_a_root_at_the_end_is_left_out() {
        let root = Authority::root("R");
        let pair = root.intermediate("I").issue(&["a.example.com"], days(0, 90));
        let with_root = format!("{}{}", pair.chain().pem(), root.pem());
        let chain = Chain::parse(&with_root).unwrap();
        assert_eq!(chain.pem(), pair.chain().pem());
        assert_eq!(chain.ders().len(), 2);
        assert_eq!(format!("{}{}", chain.leaf_pem(), chain.issuers_pem()), chain.pem());
    }

    #[test]
    fn a_self_signed_certificate_alone_is_a_chain_that_can_be_looked_at() {
        let chain = Chain::parse(&Authority::root("R").pem()).unwrap();
        assert_eq!(chain.ders().len(), 1);
        assert_eq!(chain.issuers_pem(), "");
    }

    #[test]
    fn a_chain_is_bounded_in_size_and_number() {
        let one = Authority::root("R").issue(&["a.example.com"], days(0, 90)).chain().pem();
        assert!(Chain::parse(&one.repeat(10)).is_ok());
        assert_eq!(Chain::parse(&one.repeat(11)).unwrap_err().why, "11 certificates, and at most 10 are read");
        assert_eq!(Chain::parse(&"\n".repeat(65_537)).unwrap_err().why, "65537 bytes, and at most 65536 are read");
        assert_eq!(Chain::parse(" \n").unwrap_err().why, "no certificate");
        let garbage = format!("{one}{}", pem::block(b"garbage"));
        assert_eq!(Chain::parse(&garbage).unwrap_err().what, "certificate 2 of the chain");
    }

    #[test]
    fn names_that_are_no_dns_names_do_not_hide_the_rest_of_a_served_leaf() {
        let pair = Authority::root("R").issue(&["a.example.com", "192.0.2.1", "localhost"], days(0, 90));
        assert_eq!(pair.chain().leaf.names.to_string(), "a.example.com");
        let odd = leaf::alternative_names(&pair.chain().certificates()[0]).1;
        assert!(odd.len() == 2 && odd.contains(&"localhost".to_owned()), "{odd:?}");
    }

    #[test]
    fn an_issuer_cannot_move_the_cursor() {
        let pair = Authority::root("evil\u{1b}[2J").issue(&["a.example.com"], days(0, 90));
        assert_eq!(pair.chain().leaf.issuer, "evil\\u{1b}[2J");
    }
}
