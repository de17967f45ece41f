//! `[[certificate]]`: which names, which key, for which nodes.

use super::defaults::{FEW_NAMES, KEY_TYPE, LONGEST_NAME, MOST_NAMES, PROFILES_WITH_25_NAMES};
use super::discover::DiscoverSpec;
use super::error::ConfigErrors;
use super::failover::{self, FailoverMode};
use super::health::HealthLayer;
use super::install::{Filled, InstallSpec};
use super::value::word;
use super::written::{Section, Spanned, StringsOrSection};
use crate::cert::{CertName, DnsName, KeyType};

/// One certificate as written, its values parsed. Its selectors are resolved later, when all nodes are known.
#[derive(Clone)]
pub(super) struct CertificateSpec {
    pub(super) name: Option<Spanned<CertName>>,
    pub(super) domains: Vec<Spanned<DnsName>>,
    /// The name as written, of the certificate of a further key type; its own is made of both.
    pub(super) written_name: Option<CertName>,
    pub(super) key_type: KeyType,
    /// Of a list: those after the first.
    further_key_types: Vec<KeyType>,
    pub(super) profile: Option<String>,
    pub(super) reuse_key: bool,
    pub(super) sni: Vec<DnsName>,
    /// Names, `*`, `tag:x`.
    pub(super) selectors: Vec<Spanned<String>>,
    /// Names, `tag:x`.
    pub(super) canary: Vec<Spanned<String>>,
    /// Instead of selectors.
    pub(super) discover: Option<DiscoverSpec>,
    pub(super) inventory: bool,
    pub(super) install: InstallSpec,
    pub(super) health: Option<HealthLayer>,
    pub(super) failover: Option<Spanned<FailoverMode>>,
}

pub(super) const KEY_TYPES: [KeyType; 5] =
    [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048, KeyType::Rsa3072, KeyType::Rsa4096];

impl CertificateSpec {
    /// `profile`: the default of `[acme]`.
    pub(super) fn read(mut section: Section<'_>, profile: Option<&String>) -> Self {
        let errors = section.errors();
        let here = section.here();
        section.required("domains", "domains = [\"example.com\", \"*.example.com\"]");
        let domains = section.strings("domains");
        let written_name = section.string("name");
        let key_types = section.one_or_more("key_type").map(|written| key_types(&written, errors)).unwrap_or_default();
        let own_profile = section.string("profile").and_then(|profile| word(&profile, errors));
        let reuse_key = section.boolean("reuse_key").unwrap_or_default();
        section.required("nodes", "nodes = [\"*\"], or names of nodes, or \"tag:…\"");
        let (selectors, discover) = match section.strings_or_section("nodes") {
            Some(StringsOrSection::Strings(list)) => (Some(list), None),
            Some(StringsOrSection::Section(section)) => (None, DiscoverSpec::read(section)),
            None => (None, None),
        };
        let canary = section.one_or_more("canary").map(|list| list.value).unwrap_or_default();
        let inventory = section.boolean("inventory").unwrap_or(true);
        let install = InstallSpec::read(section.section_or_empty("install"));
        let health = HealthLayer::read(&mut section);
        let failover = failover::own_mode(&mut section);
        let written_sni = probe(section.section_or_empty("probe"));
        section.finish();

        let profile = own_profile.or_else(|| profile.cloned());
        let parsed = domains.as_ref().map(|list| names(list, profile.as_deref(), errors)).unwrap_or_default();
        let plain = parsed.iter().find(|domain| !domain.value.is_wildcard());
        let name = match (&written_name, plain) {
            (Some(written), _) => cert_name(written, errors),
            (None, Some(first)) => cert_name(&first.with(first.value.to_string()), errors),
            (None, None) => {
                if !parsed.is_empty() {
                    let what = "is missing: this certificate has wildcards only, and '*' is no name for a folder";
                    errors.at(&here.under("name"), what, format!("name = {:?}", parsed[0].value.base()));
                }
                None
            }
        };
        let sni = match (written_sni, plain) {
            (Some(list), _) => sni(&list, &parsed, errors),
            (None, Some(first)) => vec![first.value.clone()],
            (None, None) => {
                if let Some(wildcard) = parsed.first() {
                    let what = "is missing: this certificate has wildcards only, and a handshake asks for one name";
                    let write = format!("probe = {{ sni = [\"www.{}\"] }}", wildcard.value.base());
                    errors.at(&here.under("probe.sni"), what, write);
                }
                Vec::new()
            }
        };
        if let Some(empty) = selectors.as_ref().filter(|list| list.value.is_empty()) {
            errors.at(empty, "is empty: the certificate would be delivered nowhere", "[\"*\"], or names of nodes");
        }
        let selectors = selectors.map(|list| list.value).unwrap_or_default();
        Self {
            name: name.filter(|name| key_types.iter().skip(1).all(|further| fits(name, *further, errors))),
            written_name: None,
            domains: parsed,
            key_type: key_types.first().copied().unwrap_or(KEY_TYPE),
            further_key_types: key_types.into_iter().skip(1).collect(),
            profile,
            reuse_key,
            sni,
            selectors,
            canary,
            discover,
            inventory,
            install,
            health,
            failover,
        }
    }

    /// What stands for the placeholders of its paths and commands.
    pub(super) fn filled<'a>(&'a self, name: &'a CertName) -> Filled<'a> {
        Filled { name, written_name: self.written_name.as_ref().unwrap_or(name), key_type: self.key_type }
    }

    /// By which a node may have settings of its own for it, the closest first: its own name, and that of the section.
    pub(super) fn names(&self) -> impl Iterator<Item = &CertName> {
        self.name.iter().map(|name| &name.value).chain(&self.written_name)
    }

    /// A certificate for each key type. The first has the name as written, so that a key type can be added to a
    /// certificate that has been issued.
    pub(super) fn each(self) -> Vec<Self> {
        let further = self.further_key_types.iter().map(|key_type| {
            let name = self.name.as_ref().and_then(|name| Some(name.with(further_name(name, *key_type)?)));
            let written_name = self.name.as_ref().map(|name| name.value.clone());
            // The nodes of both are the same: DNS is compared with them once.
            Self { name, written_name, key_type: *key_type, inventory: false, ..self.clone() }
        });
        let further: Vec<Self> = further.collect();
        core::iter::once(self).chain(further).collect()
    }
}

fn further_name(name: &Spanned<CertName>, key_type: KeyType) -> Option<CertName> {
    CertName::parse(&format!("{}-{}", name.value, key_type.as_str())).ok()
}

fn fits(name: &Spanned<CertName>, further: KeyType, errors: &ConfigErrors<'_>) -> bool {
    let fits = further_name(name, further).is_some();
    if !fits {
        let what = format!("is too long for the certificate of the key type {0:?}, NAME-{0}", further.as_str());
        errors.at(
            name,
            what,
            format!("name = \"…\", with at most {} characters", LONGEST_NAME - further.as_str().len() - 1),
        );
    }
    fits
}

fn names(
    list: &Spanned<Vec<Spanned<String>>>,
    profile: Option<&str>,
    errors: &ConfigErrors<'_>,
) -> Vec<Spanned<DnsName>> {
    let most = if profile.is_some_and(|name| PROFILES_WITH_25_NAMES.contains(&name)) { FEW_NAMES } else { MOST_NAMES };
    let mut names: Vec<Spanned<DnsName>> = Vec::new();
    for written in &list.value {
        match DnsName::parse(&written.value) {
            Ok(name) if names.iter().any(|earlier| earlier.value == name) => {
                errors.at(written, format!("names {:?} a second time", name.as_str()), "each name once");
            }
            Ok(name) => names.push(written.with(name)),
            Err(bad) => errors.at(written, bad.to_string(), "a DNS name: \"example.com\" or \"*.example.com\""),
        }
    }
    // Boulder refuses such an order: "Domain name … is redundant with a wildcard domain in the same request".
    for name in &names {
        if let Some(wildcard) = names.iter().find(|other| other.value != name.value && other.value.covers(&name.value))
        {
            let (name_text, wildcard) = (name.value.as_str(), wildcard.value.as_str());
            let what = format!("{name_text:?} is covered by {wildcard:?}, and CAs refuse both together");
            errors.at(name, what, "one of the two");
        }
    }
    if list.value.is_empty() {
        errors.at(list, "is empty", "[\"example.com\"]");
    }
    if names.len() > most {
        let what = format!("has {} names, and the CA takes {most} in one certificate", names.len());
        errors.at(list, what, "fewer names, in several certificates");
    }
    names
}

fn cert_name(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Spanned<CertName>> {
    if written.value.len() > LONGEST_NAME {
        let what = format!("is the certificate's name, which has at most {LONGEST_NAME} characters");
        return errors.none(written, what, "name = \"…\", such as \"api-example\"");
    }
    match CertName::parse(&written.value) {
        Ok(name) => Some(written.with(name)),
        Err(bad) => errors.none(written, bad.to_string(), "name = \"…\", such as \"api-example\""),
    }
}

fn key_types(written: &Spanned<Vec<Spanned<String>>>, errors: &ConfigErrors<'_>) -> Vec<KeyType> {
    if written.value.is_empty() {
        errors.at(written, "is empty", format!("{:?}, or leave the key out", KEY_TYPE.as_str()));
    }
    let mut key_types: Vec<KeyType> = Vec::new();
    for written in &written.value {
        let Some(key_type) = KEY_TYPES.into_iter().find(|known| known.as_str() == written.value) else {
            let names = KEY_TYPES.map(KeyType::as_str).join(", ");
            errors.at(written, format!("{:?} is no key type", written.value), format!("one of {names}"));
            continue;
        };
        match key_types.iter().find(|earlier| earlier.algorithm() == key_type.algorithm()) {
            Some(earlier) => {
                let (algorithm, earlier) = (key_type.algorithm(), earlier.as_str());
                let what =
                    format!("is {algorithm} as {earlier:?} is, and a server shows one certificate of each algorithm");
                errors.at(written, what, "one ECDSA and one RSA key type: [\"ecdsa-p256\", \"rsa2048\"]");
            }
            None => key_types.push(key_type),
        }
    }
    key_types
}

fn probe(mut section: Section<'_>) -> Option<Spanned<Vec<Spanned<String>>>> {
    let sni = section.strings("sni");
    section.finish();
    sni
}

fn sni(list: &Spanned<Vec<Spanned<String>>>, domains: &[Spanned<DnsName>], errors: &ConfigErrors<'_>) -> Vec<DnsName> {
    if list.value.is_empty() {
        errors.at(list, "is empty, and a handshake asks for a name", "[\"www.example.com\"], or leave the key out");
    }
    let mut names = Vec::new();
    for written in &list.value {
        match DnsName::parse(&written.value) {
            Ok(name) if name.is_wildcard() => {
                let write = format!("one name below it: \"www.{}\"", name.base());
                errors.at(written, "is a wildcard, and a handshake asks for one name", write);
            }
            Ok(name) if !domains.is_empty() && !domains.iter().any(|domain| domain.value.covers(&name)) => {
                let what = format!("{:?} is not a name that this certificate holds", name.as_str());
                errors.at(written, what, "a name of `domains`, or one that its wildcard covers");
            }
            Ok(name) => names.push(name),
            Err(bad) => errors.at(written, bad.to_string(), "a DNS name: \"www.example.com\""),
        }
    }
    names
}
