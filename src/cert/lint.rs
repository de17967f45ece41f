//! Is a chain one that every client accepts? Checked before it is kept and again for what is served.
//!
//! The path is built from the chain alone: an intermediate that this system could find elsewhere is missing all the
//! same, since visitors cannot find it.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::certificate::X509Certificate;

use super::{Chain, Malformed, NameSet, Pair, leaf};
use crate::text::escape;

/// Test CAs issue for minutes; what ends sooner could not even be delivered.
const SHORTEST_LIFETIME: SignedDuration = SignedDuration::from_mins(1);

/// Public CAs may issue for 398 days at most until 2026-03-15 and for 200 days since (CA/B Forum ballot SC-081v3).
const LONGEST_LIFETIME: SignedDuration = SignedDuration::from_hours(400 * 24);

/// Characters of another's error text that are shown.
const SHOWN: usize = 300;

/// The public roots, or the one that the configuration names. Built by the caller, who may read files.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    /// When each of the store ends, which it does not keep.
    ends: Vec<Timestamp>,
}

impl Roots {
    /// From the PEM texts of a file that the configuration names.
    ///
    /// # Errors
    /// A text that holds no certificate, anything else, or a certificate that cannot be a root.
    pub fn new<T: AsRef<str>>(pems: &[T]) -> Result<Self, Malformed> {
        let refused = |why: &str| Malformed { what: "the trusted root".to_owned(), why: why.to_owned() };
        let mut roots = Self::none();
        for text in pems {
            for der in super::pem::certificates(text.as_ref())? {
                roots.add(der).map_err(|_| refused("it is not a certificate that can be a root"))?;
            }
        }
        if roots.is_empty() {
            return Err(refused("no certificate"));
        }
        Ok(roots)
    }

    /// From a system's store, where a few old roots may be unreadable: those are left out.
    pub fn from_ders<D: Into<Vec<u8>>>(ders: impl IntoIterator<Item = D>) -> Self {
        let mut roots = Self::none();
        roots.add_ders(ders);
        roots
    }

    /// Adds to them, as [`Self::from_ders`].
    pub fn add_ders<D: Into<Vec<u8>>>(&mut self, ders: impl IntoIterator<Item = D>) {
        for der in ders {
            let _ = self.add(der.into());
        }
    }

    fn none() -> Self {
        Self { store: Arc::new(RootCertStore::empty()), ends: Vec::new() }
    }

    fn add(&mut self, der: Vec<u8>) -> Result<(), rustls::Error> {
        let end = X509Certificate::from_der(&der).map(|(_, root)| leaf::timestamp(root.validity().not_after));
        Arc::make_mut(&mut self.store).add(CertificateDer::from(der))?;
        self.ends.push(end.unwrap_or(Timestamp::MAX));
        Ok(())
    }

    /// Those that are still valid then.
    fn until(&self, then: Timestamp) -> Self {
        let kept = || self.store.roots.iter().zip(&self.ends).filter(|(_, end)| **end >= then);
        let store = RootCertStore { roots: kept().map(|(root, _)| root.clone()).collect() };
        Self { store: Arc::new(store), ends: kept().map(|(_, end)| *end).collect() }
    }

    /// These and more, from the PEM text of a file that the configuration names.
    ///
    /// # Errors
    /// As of [`Roots::new`].
    pub fn and(&self, pem: &str) -> Result<Self, Malformed> {
        let more = Self::new(&[pem])?;
        let mut all = self.clone();
        Arc::make_mut(&mut all.store).roots.extend(more.store.roots.iter().cloned());
        all.ends.extend(more.ends);
        Ok(all)
    }

    /// Nothing can be trusted: the system has no root certificates.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }
}

/// One thing wrong with a chain. The text says what, in words for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("it lacks {0}")]
    NamesMissing(NameSet),
    #[error("it also holds {}, not asked for", .0.join(", "))]
    NamesExtra(Vec<String>),
    #[error("its first certificate is a CA's ({subject}): the leaf must come first")]
    NotLeafFirst { subject: String },
    #[error("{lower} is not signed by the next one, {upper}")]
    LinkBroken { lower: Place, upper: Place },
    #[error("{place} is valid only from {not_before} on: check this clock")]
    NotYetValid { place: Place, not_before: Timestamp },
    #[error("{place} ended at {not_after}")]
    Expired { place: Place, not_after: Timestamp },
    #[error("{place} ends at {not_after}, before the leaf")]
    IssuerEndsFirst { place: Place, not_after: Timestamp },
    #[error(
        "its root {root} ends at {not_after}, before the leaf: some clients (OpenSSL's) refuse the chain from then on"
    )]
    RootEndsFirst { root: String, not_after: Timestamp },
    #[error("it is valid for {0:#}, which is less than a minute or more than 400 days")]
    Lifetime(SignedDuration),
    #[error("the leaf stands alone and no trusted root has issued it: the intermediate by {issuer} is missing")]
    IntermediateMissing { issuer: String },
    #[error("no path leads to a trusted root: {0}")]
    NoPath(String),
    #[error("its leaf is not that of the CA's default chain")]
    OtherLeaf,
}

impl Flaw {
    fn is_about_the_leaf(&self) -> bool {
        matches!(self, Self::Expired { place, .. } | Self::NotYetValid { place, .. } if place.position == 1)
    }
}

/// One certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 1, the leaf.
    pub position: usize,
    /// Escaped.
    pub subject: String,
}

impl Place {
    fn of(at: usize, certificate: &X509Certificate<'_>) -> Self {
        Self { position: at + 1, subject: leaf::shown(certificate.subject()) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            1 => f.write_str("the leaf"),
            position => write!(f, "certificate {position} of the chain ({})", self.subject),
        }
    }
}

/// Everything that must be true of an issued pair before it is kept: names equal, leaf first, each link signed, a path
/// to a trusted root, valid at `now`, lifetime sane. Empty: keep it. That the key matches is true of any [`Pair`].
pub fn lint(pair: &Pair, names: &NameSet, roots: &Roots, now: Timestamp) -> Vec<Flaw> {
    let mut flaws = name_flaws(&pair.chain().certificates(), names);
    flaws.extend(chain_flaws(pair.chain(), roots, now));
    flaws
}

/// The part of [`lint`] that is not about names.
pub(super) fn chain_flaws(chain: &Chain, roots: &Roots, now: Timestamp) -> Vec<Flaw> {
    let certificates = chain.certificates();
    let mut flaws = order_flaws(&certificates);
    flaws.extend(date_flaws(&certificates, now));
    let lifetime = chain.leaf.not_after.duration_since(chain.leaf.not_before);
    if lifetime < SHORTEST_LIFETIME || lifetime > LONGEST_LIFETIME {
        flaws.push(Flaw::Lifetime(lifetime));
    }
    flaws.extend(trusted(chain, roots, now).err());
    flaws
}

/// What a person should know of a chain that is kept all the same: an issuer or a root that ends before the leaf. Until that
/// day every client accepts the chain; another one of the CA's, when it offers any, is better. Of a root that has ended,
/// OpenSSL and what is built on it take no chain; browsers and rustls ask it for no dates.
pub fn caveats(chain: &Chain, roots: &Roots, now: Timestamp) -> Vec<Flaw> {
    let certificates = chain.certificates();
    let issuers = certificates.iter().enumerate().skip(1);
    let early = issuers.filter_map(|(at, issuer)| {
        let not_after = leaf::timestamp(issuer.validity().not_after);
        (not_after < chain.leaf.not_after).then(|| Flaw::IssuerEndsFirst { place: Place::of(at, issuer), not_after })
    });
    early.chain(root_that_ends_first(chain, roots, now)).collect()
}

fn root_that_ends_first(chain: &Chain, roots: &Roots, now: Timestamp) -> Option<Flaw> {
    let lasting = roots.until(chain.leaf.not_after);
    if lasting.ends.len() == roots.ends.len() || trusted(chain, &lasting, now).is_ok() {
        return None;
    }
    let (root, not_after) = root_of(chain, roots, now)?;
    Some(Flaw::RootEndsFirst { root, not_after })
}

/// When the chain begins to be valid, if that it does not yet is all that is wrong with it: then a clock is slow, this
/// one or the CA's.
pub fn early(flaws: &[Flaw]) -> Option<Timestamp> {
    let begins = |flaw: &Flaw| match flaw {
        Flaw::NotYetValid { not_before, .. } => Some(*not_before),
        _ => None,
    };
    let all: Option<Vec<Timestamp>> = flaws.iter().map(begins).collect();
    all?.into_iter().max()
}

/// The common name of the trusted root that the chain leads to, escaped, and when it ends. `None`: to none.
pub(super) fn root_of(chain: &Chain, roots: &Roots, now: Timestamp) -> Option<(String, Timestamp)> {
    for certificate in chain.certificates() {
        let Ok((_, issuer)) = Any::from_der(certificate.issuer().as_raw()) else { continue };
        let same = roots.store.roots.iter().zip(&roots.ends).filter(|(root, _)| root.subject.as_ref() == issuer.data);
        // Several roots may have one name (a root and its successor), so each is asked alone.
        for (root, end) in same {
            let alone = Roots { store: Arc::new(RootCertStore { roots: vec![root.clone()] }), ends: vec![*end] };
            if trusted(chain, &alone, now).is_ok() {
                return Some((leaf::shown(certificate.issuer()), *end));
            }
        }
    }
    None
}

/// Whether a client that trusts `roots` accepts the chain at `now` (names and the leaf's own dates aside: those have
/// verdicts of their own). An issuer that has ended does count; a root that has is a caveat.
pub fn trusted(chain: &Chain, roots: &Roots, now: Timestamp) -> Result<(), Flaw> {
    let mut ders = chain.ders().iter().map(|der| CertificateDer::from(der.as_slice()));
    let first = ders.next().ok_or_else(|| Flaw::NoPath("no certificate".to_owned()))?;
    let intermediates: Vec<CertificateDer<'_>> = ders.collect();
    let leaf = ParsedCertificate::try_from(&first).map_err(|error| Flaw::NoPath(escape(&error.to_string(), SHOWN)))?;
    let at = now.min(chain.leaf.not_after).max(chain.leaf.not_before);
    let seconds = u64::try_from(at.as_second()).unwrap_or(0);
    verify_server_cert_signed_by_trust_anchor(
        &leaf,
        &roots.store,
        &intermediates,
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        aws_lc_rs::default_provider().signature_verification_algorithms.all,
    )
    .map_err(|error| no_path(chain, &error, at))
}

/// The library says that there is none; this, why: what a person can put right is named first.
fn no_path(chain: &Chain, error: &rustls::Error, at: Timestamp) -> Flaw {
    let unknown = matches!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
    let certificates = chain.certificates();
    let issuers = certificates.get(1..).unwrap_or_default();
    // The leaf's own dates have a verdict of their own.
    let ended = || date_flaws(&certificates, at).into_iter().find(|flaw| !flaw.is_about_the_leaf());
    let by_itself = |it: &X509Certificate<'_>| it.issuer() == it.subject();
    match certificates.as_slice() {
        [only] if by_itself(only) => Flaw::NoPath("the certificate is signed by itself".to_owned()),
        [first, ..] if first.is_ca() => {
            Flaw::NoPath(Flaw::NotLeafFirst { subject: leaf::shown(first.subject()) }.to_string())
        }
        [_] if unknown => Flaw::IntermediateMissing { issuer: chain.leaf.issuer.clone() },
        [first, _, ..] if unknown && !issuers.iter().any(|issuer| issuer.subject() == first.issuer()) => {
            Flaw::NoPath(format!(
                "the intermediate by {} is missing, and what is sent in its place is {}",
                leaf::shown(first.issuer()),
                issuers.iter().map(|issuer| leaf::shown(issuer.subject())).collect::<Vec<_>>().join(", ")
            ))
        }
        _ => ended().map(|flaw| Flaw::NoPath(flaw.to_string())).unwrap_or_else(|| match certificates.last() {
            Some(last) if unknown && by_itself(last) => {
                Flaw::NoPath(format!("its root {} is not one that visitors trust", leaf::shown(last.subject())))
            }
            Some(last) if unknown => Flaw::NoPath(format!("the issuer {} is not known", leaf::shown(last.issuer()))),
            _ => Flaw::NoPath(escape(&error.to_string(), SHOWN)),
        }),
    }
}

fn name_flaws(certificates: &[X509Certificate<'_>], wanted: &NameSet) -> Vec<Flaw> {
    let Some((held, odd)) = certificates.first().map(leaf::alternative_names) else {
        return Vec::new();
    };
    let missing: NameSet = wanted.iter().filter(|name| !held.iter().any(|other| other == *name)).cloned().collect();
    let extra = held.iter().filter(|name| !wanted.iter().any(|other| other == *name)).map(ToString::to_string);
    let extra: Vec<String> = extra.chain(odd).collect();
    let mut flaws = Vec::new();
    if !missing.is_empty() {
        flaws.push(Flaw::NamesMissing(missing));
    }
    if !extra.is_empty() {
        flaws.push(Flaw::NamesExtra(extra));
    }
    flaws
}

fn order_flaws(certificates: &[X509Certificate<'_>]) -> Vec<Flaw> {
    let ca_first = certificates.first().filter(|first| first.is_ca());
    let mut flaws: Vec<Flaw> =
        ca_first.map(|first| Flaw::NotLeafFirst { subject: leaf::shown(first.subject()) }).into_iter().collect();
    for (at, link) in certificates.windows(2).enumerate() {
        let [lower, upper] = link else { continue };
        let named = lower.issuer() == upper.subject();
        if !named || lower.verify_signature(Some(upper.public_key())).is_err() {
            flaws.push(Flaw::LinkBroken { lower: Place::of(at, lower), upper: Place::of(at + 1, upper) });
        }
    }
    flaws
}

fn date_flaws(certificates: &[X509Certificate<'_>], now: Timestamp) -> Vec<Flaw> {
    let each = certificates.iter().enumerate().filter_map(|(at, certificate)| {
        let place = Place::of(at, certificate);
        let not_before = leaf::timestamp(certificate.validity().not_before);
        let not_after = leaf::timestamp(certificate.validity().not_after);
        if now < not_before {
            Some(Flaw::NotYetValid { place, not_before })
        } else if not_after < now {
            Some(Flaw::Expired { place, not_after })
        } else {
            None
        }
    });
    each.collect()
}

#[cfg(test)]
mod tests;
