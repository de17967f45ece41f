//! What a leaf says of itself, read with x509-parser.

use core::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_EC_P256, OID_NIST_EC_P384};
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Name;

use super::{DnsName, Fingerprint, KeyType, NameSet};
use crate::text::escape;

/// Characters of an issuer, subject or name that are shown.
const SHOWN: usize = 100;

/// What a decision may depend on of a leaf: plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    pub fingerprint: Fingerprint,
    /// Its subject alternative names of type dNSName. What is no DNS name (an address, a mail box, a single label) does
    /// not stand here, so that a foreign certificate can still be looked at; [`super::lint`] names it as a flaw.
    pub names: NameSet,
    pub not_before: Timestamp,
    /// RFC 5280's "no well-defined expiration date" (end of the year 9999) is the last instant that a timestamp holds.
    pub not_after: Timestamp,
    /// Lower-case hex, without DER's sign byte: as `openssl x509 -serial` and crt.sh show it.
    pub serial: String,
    /// The issuer's common name, else its whole name; escaped.
    pub issuer: String,
    /// `None`: of a type that we do not issue.
    pub key_type: Option<KeyType>,
    /// RFC 9773 section 4.1: base64url(authority key identifier) "." base64url(serial).
    pub ari_id: Option<String>,
    /// The subject's common name, else its whole name; escaped.
    #[serde(default)]
    pub subject: String,
    /// The issuer's organisation; escaped.
    #[serde(default)]
    pub organisation: Option<String>,
    /// Its issuer is itself.
    #[serde(default)]
    pub self_signed: bool,
}

impl Leaf {
    pub(super) fn of(der: &[u8], certificate: &X509Certificate<'_>) -> Self {
        Self {
            fingerprint: Fingerprint::of(der),
            names: alternative_names(certificate).0,
            not_before: timestamp(certificate.validity().not_before),
            not_after: timestamp(certificate.validity().not_after),
            serial: serial(certificate),
            issuer: shown(certificate.issuer()),
            key_type: key_type(certificate),
            ari_id: ari_id(certificate),
            subject: shown(certificate.subject()),
            organisation: organisation(certificate.issuer()),
            self_signed: certificate.issuer() == certificate.subject(),
        }
    }
}

/// The DNS names, and whatever else stands among the alternative names, escaped.
pub(super) fn alternative_names(certificate: &X509Certificate<'_>) -> (NameSet, Vec<String>) {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let (mut names, mut odd) = (Vec::new(), Vec::new());
    for name in extension.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::DNSName(text) => match DnsName::parse(text) {
                Ok(name) => names.push(name),
                Err(_) => odd.push(escape(text, SHOWN)),
            },
            GeneralName::IPAddress(bytes) => odd.push(address(bytes)),
            other => odd.push(escape(&other.to_string(), SHOWN)),
        }
    }
    (names.into_iter().collect(), odd)
}

fn address(bytes: &[u8]) -> String {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map_or_else(|_| "an address of odd length".to_owned(), |address| address.to_string())
}

/// The common name, else the whole name, escaped.
pub(super) fn shown(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|attribute| attribute.as_str().ok());
    common.map_or_else(|| escape(&name.to_string(), SHOWN), |text| escape(text, SHOWN))
}

fn organisation(name: &X509Name<'_>) -> Option<String> {
    let text = name.iter_organization().next().and_then(|attribute| attribute.as_str().ok());
    text.map(|text| escape(text, SHOWN))
}

pub(super) fn timestamp(time: ASN1Time) -> Timestamp {
    let second = time.timestamp();
    Timestamp::from_second(second).unwrap_or(if second > 0 { Timestamp::MAX } else { Timestamp::MIN })
}

fn serial(certificate: &X509Certificate<'_>) -> String {
    let bytes = match certificate.raw_serial() {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    };
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_type(certificate: &X509Certificate<'_>) -> Option<KeyType> {
    let key = certificate.public_key();
    match key.parsed().ok()? {
        PublicKey::EC(_) => {
            let curve = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
            match curve {
                _ if curve == OID_EC_P256 => Some(KeyType::EcdsaP256),
                _ if curve == OID_NIST_EC_P384 => Some(KeyType::EcdsaP384),
                _ => None,
            }
        }
        PublicKey::RSA(rsa) => match rsa.key_size() {
            2048 => Some(KeyType::Rsa2048),
            3072 => Some(KeyType::Rsa3072),
            4096 => Some(KeyType::Rsa4096),
            _ => None,
        },
        _ => None,
    }
}

/// RFC 9773 section 4.1: "the base64url encoding of the bytes of the keyIdentifier field of the certificate's Authority
/// Key Identifier extension, a literal period, and the base64url encoding of the bytes of the DER encoding of the
/// certificate's Serial Number (without the tag and length bytes). All trailing `=` characters MUST be stripped".
fn ari_id(certificate: &X509Certificate<'_>) -> Option<String> {
    let identifier = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(authority) => authority.key_identifier.as_ref(),
        _ => None,
    })?;
    Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(identifier.0), URL_SAFE_NO_PAD.encode(certificate.raw_serial())))
}
