//! `[acme]`: the CAs and their accounts.

use url::Url;

use super::defaults::{CERTIFICATES_PER_WEEK, KNOWN_CAS, MOST_CERTIFICATES_PER_WEEK};
use super::error::ConfigErrors;
use super::value::{local_path, printable, url, word};
use super::written::{Section, Spanned, nearest};
use super::{Acme, Challenge, Eab};

impl Acme {
    /// The CA's names in CAA records. Empty if its directory is not a known one.
    pub fn caa_identities(&self) -> &'static [&'static str] {
        KNOWN_CAS.iter().find(|ca| ca.directory == self.directory.as_str()).map_or(&[], |ca| ca.caa)
    }
}

/// The preferred CA, and the fallbacks in order.
pub(super) fn read(mut section: Section<'_>) -> Option<(Acme, Vec<Acme>)> {
    let sections = section.sections("fallback");
    let places: Vec<Spanned<()>> = sections.iter().map(Section::here).collect();
    let errors = section.errors();
    let first = ca(section, None);
    let contact = first.as_ref().map(|first| first.contact.clone()).unwrap_or_default();
    let fallback: Vec<Option<Acme>> = sections.into_iter().map(|section| ca(section, Some(&contact))).collect();
    let mut hosts: Vec<&str> = first.iter().map(|first| first.host.as_str()).collect();
    for (place, ca) in places.iter().zip(&fallback) {
        let Some(ca) = ca else { continue };
        if hosts.contains(&ca.host.as_str()) {
            errors.at(&place.under("directory"), format!("names {} a second time", ca.host), "another CA");
        }
        hosts.push(&ca.host);
    }
    let fallback = fallback.into_iter().flatten().collect();
    Some((first?, fallback))
}

/// `contact`: the first CA's, for a fallback without contacts.
fn ca(mut section: Section<'_>, contact: Option<&[String]>) -> Option<Acme> {
    let errors = section.errors();
    let here = section.here();
    let assumed = contact.unwrap_or_default();
    section.required("directory", "directory = \"letsencrypt\", or letsencrypt-staging to try things");
    let written = section.string("directory");
    let contact = section.strings("contact").map(|list| list.value);
    let profile = section.string("profile").and_then(|profile| word(&profile, errors));
    let had_eab = section.section("eab").map(eab);
    let ca_file = section.string("ca_file").and_then(|path| local_path(&path, errors));
    let issuer_root_file = section.string("issuer_root_file").and_then(|path| local_path(&path, errors));
    let preferred_chain = section.string("preferred_chain").filter(|root| printable(root, errors));
    let challenge = section.string("challenge").and_then(|written| challenge(&written, errors));
    let per_week = section.integer("certificates_per_week").and_then(|number| per_week(&number, errors));
    section.finish();

    let contact = contact.map(|list| list.iter().filter_map(|address| contact_url(address, errors)).collect());
    let contact: Vec<String> = contact.unwrap_or_else(|| assumed.to_vec());
    let directory = directory(&written?, errors)?;
    if had_eab.is_none()
        && let Some(ca) = KNOWN_CAS.iter().find(|ca| ca.needs_eab && ca.directory == directory.as_str())
    {
        let what = format!("is missing: {} opens accounts only with an external account binding", ca.name);
        let eab = here.under("eab");
        errors.at(&eab, what, "eab = { kid = \"…\", hmac_file = \"/etc/certd/eab.hmac\" }, from the CA's console");
    }
    let host = ca_host(&directory);
    let preferred_chain = preferred_chain.map(|root| root.value);
    let (eab, challenge) = (had_eab.flatten(), challenge.unwrap_or_default());
    Some(Acme {
        directory,
        host,
        contact,
        profile,
        eab,
        ca_file,
        issuer_root_file,
        preferred_chain,
        challenge,
        certificates_per_week: per_week.unwrap_or(CERTIFICATES_PER_WEEK),
    })
}

fn per_week(written: &Spanned<i64>, errors: &ConfigErrors<'_>) -> Option<usize> {
    let count = usize::try_from(written.value).ok().filter(|count| (1..=MOST_CERTIFICATES_PER_WEEK).contains(count));
    count.or_else(|| {
        let what = format!("{} is not a number of certificates within a week", written.value);
        errors.none(written, what, format!("the CA's own limit, a number from 1 to {MOST_CERTIFICATES_PER_WEEK}"))
    })
}

fn challenge(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Challenge> {
    match written.value.as_str() {
        "dns-01" => Some(Challenge::Dns01),
        "dns-persist-01" => Some(Challenge::DnsPersist01),
        other => errors.none(
            written,
            format!("{other:?} is no challenge that certd can meet"),
            "\"dns-01\" or \"dns-persist-01\"",
        ),
    }
}

fn eab(mut section: Section<'_>) -> Option<Eab> {
    let errors = section.errors();
    section.required("kid", "kid = \"…\", the key identifier that the CA gave");
    let kid = section.string("kid").and_then(|kid| word(&kid, errors));
    section
        .required("hmac_file", "hmac_file = \"/etc/certd/eab.hmac\", a file that holds the CA's HMAC key (base64url)");
    let hmac_file = section.string("hmac_file").and_then(|path| local_path(&path, errors));
    section.finish();
    Some(Eab { kid: kid?, hmac_file: hmac_file? })
}

fn directory(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Url> {
    if let Some(ca) = KNOWN_CAS.iter().find(|ca| ca.name == written.value) {
        return Url::parse(ca.directory).ok();
    }
    if written.value.contains("://") {
        return url(written, &["https"], errors);
    }
    let names = KNOWN_CAS.map(|ca| ca.name);
    let what = match nearest(&written.value, &names) {
        Some(near) => format!("{:?} is no known CA; did you mean {near:?}?", written.value),
        None => format!("{:?} is no known CA", written.value),
    };
    errors.none(written, what, format!("one of {}, or the https:// URL of a directory", names.join(", ")))
}

/// RFC 8555 section 7.3: "Clients MUST NOT provide a "mailto" URL in the "contact" field that contains "hfields" or more
/// than one "addr-spec" in the "to" component."
fn contact_url(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<String> {
    if !printable(written, errors) {
        return None;
    }
    let address = written.value.strip_prefix("mailto:").unwrap_or(&written.value);
    let plain = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && domain.contains('.')
            && !address.contains([' ', ',', '?', '<', '>'])
            && !domain.contains('@')
    });
    if !plain {
        return errors.none(written, format!("{address:?} is not a mail address"), "\"ops@example.com\"");
    }
    Some(format!("mailto:{address}"))
}

/// `acme.example.org`, `localhost-14000`: the name of a folder, without colons and brackets.
pub fn ca_host(directory: &Url) -> String {
    let host = directory.host_str().unwrap_or_default().trim_matches(['[', ']']).replace(':', "_");
    match directory.port() {
        Some(port) => format!("{host}-{port}"),
        None => host,
    }
}
