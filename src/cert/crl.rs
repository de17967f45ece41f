//! Revocation lists: where a leaf says that its own is, and what a list says of it. The list may come over plain HTTP and
//! through anybody's cache: its issuer's signature, its dates and its scope are checked here.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use x509_parser::extensions::{DistributionPointName, GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::leaf::timestamp;
use super::{Chain, Malformed};
use crate::text::escape;

/// Bytes of one list. Public CAs cut theirs into parts of at most a few megabytes.
pub const LONGEST_CRL: usize = 8 * 1024 * 1024;
/// Two clocks may differ by so much.
const SKEW: SignedDuration = SignedDuration::from_hours(24);
/// Places that are read of one certificate.
const PLACES: usize = 4;

/// That a list names one certificate of ours (RFC 5280 section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RevokedByCa {
    pub at: Timestamp,
    /// RFC 5280 section 5.3.1.
    pub reason: u8,
}

/// What a list says of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrlAnswer {
    pub next_update: Option<Timestamp>,
    pub revoked: Option<RevokedByCa>,
}

/// The `http` and `https` URLs at which a leaf's list can be had (RFC 5280 section 4.2.1.13).
pub fn crl_urls(chain: &Chain) -> Vec<String> {
    let certificates = chain.certificates();
    let Some(leaf) = certificates.first() else { return Vec::new() };
    let points = leaf.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => Some(points),
        _ => None,
    });
    let names = points.flat_map(|points| points.iter()).flat_map(|point| uris(point.distribution_point.as_ref()));
    let web = names.filter(|url| url.starts_with("http://") || url.starts_with("https://"));
    web.take(PLACES).map(str::to_owned).collect()
}

fn uris<'a>(point: Option<&'a DistributionPointName<'a>>) -> impl Iterator<Item = &'a str> {
    let names = match point {
        Some(DistributionPointName::FullName(names)) => names.as_slice(),
        _ => &[],
    };
    names.iter().filter_map(|name| match name {
        GeneralName::URI(url) => Some(*url),
        _ => None,
    })
}

/// What the list (DER), fetched from `url`, says of the chain's leaf at `now`.
///
/// # Errors
/// It is no list, of another issuer, not signed by it, too old, or not for this leaf.
pub fn read_crl(der: &[u8], url: &str, chain: &Chain, now: Timestamp) -> Result<CrlAnswer, Malformed> {
    let bad =
        |why: &str| Malformed { what: format!("the revocation list at {}", escape(url, 200)), why: why.to_owned() };
    let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
        return Err(bad("it is no list of RFC 5280"));
    };
    let certificates = chain.certificates();
    let [leaf, issuer, ..] = certificates.as_slice() else {
        return Err(bad("the chain lacks the issuer, by whose key a list is checked"));
    };
    if list.issuer() != leaf.issuer() || list.issuer() != issuer.subject() {
        return Err(bad("another CA made it"));
    }
    list.verify_signature(issuer.public_key()).map_err(|_| bad("its signature is not the issuer's"))?;
    scope(&list, url).map_err(bad)?;
    let entry = list.iter_revoked_certificates().find(|entry| entry.raw_serial() == leaf.raw_serial());
    let revoked = entry.map(|entry| RevokedByCa {
        at: timestamp(entry.revocation_date),
        reason: entry.reason_code().map_or(0, |(_, reason)| reason.0),
    });
    let next_update = list.next_update().map(timestamp);
    // A revocation never ends; its absence counts only on a current list.
    if revoked.is_none() {
        if timestamp(list.last_update()).duration_since(now) > SKEW {
            return Err(bad("it is of a later day: is a clock wrong?"));
        }
        if next_update.is_some_and(|next| now.duration_since(next) > SKEW) {
            return Err(bad("it should have been replaced by now"));
        }
    }
    Ok(CrlAnswer { next_update, revoked })
}

/// RFC 5280 section 5.2.5: a list that is one part of several says which. Another part of the same CA's, put in the way of
/// an unencrypted request, would say that nothing is revoked.
fn scope(list: &CertificateRevocationList<'_>, url: &str) -> Result<(), &'static str> {
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(part) => {
                if part.only_contains_ca_certs || part.only_contains_attribute_certs || part.indirect_crl {
                    return Err("it is for certificates of another kind");
                }
                let mut places = uris(part.distribution_point.as_ref()).peekable();
                if places.peek().is_some() && !places.any(|place| place == url) {
                    return Err("it is another part of the CA's list");
                }
            }
            ParsedExtension::UnsupportedExtension { .. } | ParsedExtension::ParseError { .. } if extension.critical => {
                return Err("it has a critical extension that is not known");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::{Authority, NOW, days};

    const URL: &str = "http://crl.example.com/5.crl";

    fn read(crl: &[u8], chain: &Chain) -> Result<Option<u8>, String> {
        let answer = read_crl(crl, URL, chain, NOW).map_err(|error| error.why)?;
        Ok(answer.revoked.map(|revoked| revoked.reason))
    }

    #[test]
    fn a_leaf_names_its_list_and_the_list_says_whether_it_is_revoked() {
        let root = Authority::root("R");
        let issuer = root.intermediate("I");
        let pair = issuer.issue_with_crl(&["a.example.com"], days(0, 90), URL);
        let chain = pair.chain();
        assert_eq!(crl_urls(chain), [URL]);
        let serial = chain.certificates()[0].raw_serial().to_vec();
        assert_eq!(read(&issuer.crl(&[&serial], days(-1, 5), Some(URL)), chain), Ok(Some(1)));
        assert_eq!(read(&issuer.crl(&[b"\x05\x06"], days(-1, 5), Some(URL)), chain), Ok(None));
        assert_eq!(read(&issuer.crl(&[], days(-1, 5), None), chain), Ok(None), "one list for all");
        assert_eq!(read(&issuer.crl(&[&serial], days(-30, -5), Some(URL)), chain), Ok(Some(1)), "for ever");
    }

    #[test]
    fn i11_a_list_that_is_forged_old_or_another_part_says_nothing() {
        let root = Authority::root("R");
        let (issuer, forger) = (root.intermediate("I"), root.intermediate("I"));
        let pair = issuer.issue_with_crl(&["a.example.com"], days(0, 90), URL);
        let why = |crl: &[u8]| read(crl, pair.chain()).unwrap_err();
        assert_eq!(why(&forger.crl(&[], days(-1, 5), Some(URL))), "its signature is not the issuer's");
        assert_eq!(why(&root.crl(&[], days(-1, 5), Some(URL))), "another CA made it");
        assert_eq!(why(&issuer.crl(&[], days(-30, -5), Some(URL))), "it should have been replaced by now");
        assert_eq!(why(&issuer.crl(&[], days(5, 9), Some(URL))), "it is of a later day: is a clock wrong?");
        let other = issuer.crl(&[], days(-1, 5), Some("http://crl.example.com/6.crl"));
        assert_eq!(why(&other), "it is another part of the CA's list");
        let whole = issuer.crl(&[], days(-1, 5), Some(URL));
        assert_eq!(why(&whole[..whole.len() - 1]), "it is no list of RFC 5280");
        assert_eq!(why(&[whole, vec![0]].concat()), "it is no list of RFC 5280");
        assert_eq!(why(b"<html>"), "it is no list of RFC 5280");
    }
}
