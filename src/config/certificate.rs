//! `[[certificate]]`: which names, which key, for which nodes.

use super::defaults::{FEW_NAMES, KEY_TYPE, LONGEST_NAME, MOST_NAMES, PROFILES_WITH_25_NAMES};
use super::discover::DiscoverSpec;
use super::install::InstallSpec;
use super::mistake::Mistakes;
use super::value::word;
use super::written::{At, Section, StringsOrSection};
use crate::cert::{CertName, DnsName, KeyType};

/// One certificate as written, its values parsed; which nodes it means is found when all are known.
pub(super) struct CertificateSpec {
    pub(super) name: Option<At<CertName>>,
    pub(super) domains: Vec<At<DnsName>>,
    pub(super) key_type: KeyType,
    pub(super) profile: Option<String>,
    pub(super) reuse_key: bool,
    pub(super) sni: Vec<DnsName>,
    /// Names, `*`, `tag:x`.
    pub(super) selectors: Vec<At<String>>,
    /// Names, `tag:x`.
    pub(super) canary: Vec<At<String>>,
    /// Instead of selectors.
    pub(super) discover: Option<DiscoverSpec>,
    pub(super) inventory: bool,
    pub(super) install: InstallSpec,
}

pub(super) const KEY_TYPES: [KeyType; 5] =
    [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::Rsa2048, KeyType::Rsa3072, KeyType::Rsa4096];

impl CertificateSpec {
    /// `profile`: the default of `[acme]`.
    pub(super) fn read(mut section: Section<'_>, profile: Option<&String>) -> Self {
        let mistakes = section.mistakes();
        let here = section.here();
        section.needs("domains", "domains = [\"example.com\", \"*.example.com\"]");
        let domains = section.strings("domains");
        let written_name = section.string("name");
        let key_type = section.string("key_type").map_or(KEY_TYPE, |written| key_type(&written, mistakes));
        let own_profile = section.string("profile").and_then(|profile| word(&profile, mistakes));
        let reuse_key = section.boolean("reuse_key").unwrap_or_default();
        section.needs("nodes", "nodes = [\"*\"], or names of nodes, or \"tag:…\"");
        let (selectors, discover) = match section.strings_or_section("nodes") {
            Some(StringsOrSection::Strings(list)) => (Some(list), None),
            Some(StringsOrSection::Section(section)) => (None, DiscoverSpec::read(section)),
            None => (None, None),
        };
        let canary = section.one_or_more("canary").map(|list| list.value).unwrap_or_default();
        let inventory = section.boolean("inventory").unwrap_or(true);
        let install = InstallSpec::read(section.section_or_empty("install"));
        let written_sni = probe(section.section_or_empty("probe"));
        section.finish();

        let profile = own_profile.or_else(|| profile.cloned());
        let parsed = domains.as_ref().map(|list| names(list, profile.as_deref(), mistakes)).unwrap_or_default();
        let plain = parsed.iter().find(|domain| !domain.value.is_wildcard());
        let name = match (&written_name, plain) {
            (Some(written), _) => cert_name(written, mistakes),
            (None, Some(first)) => cert_name(&first.with(first.value.to_string()), mistakes),
            (None, None) => {
                if !parsed.is_empty() {
                    let what = "is missing: this certificate has wildcards only, and '*' is no name for a folder";
                    mistakes.at(&here.under("name"), what, format!("name = {:?}", parsed[0].value.base()));
                }
                None
            }
        };
        let sni = match (written_sni, plain) {
            (Some(list), _) => sni(&list, &parsed, mistakes),
            (None, Some(first)) => vec![first.value.clone()],
            (None, None) => {
                if let Some(wildcard) = parsed.first() {
                    let what = "is missing: this certificate has wildcards only, and a handshake asks for one name";
                    let write = format!("probe = {{ sni = [\"www.{}\"] }}", wildcard.value.base());
                    mistakes.at(&here.under("probe.sni"), what, write);
                }
                Vec::new()
            }
        };
        if let Some(empty) = selectors.as_ref().filter(|list| list.value.is_empty()) {
            mistakes.at(empty, "is empty: the certificate would be delivered nowhere", "[\"*\"], or names of nodes");
        }
        let selectors = selectors.map(|list| list.value).unwrap_or_default();
        Self {
            name,
            domains: parsed,
            key_type,
            profile,
            reuse_key,
            sni,
            selectors,
            canary,
            discover,
            inventory,
            install,
        }
    }
}

fn names(list: &At<Vec<At<String>>>, profile: Option<&str>, mistakes: &Mistakes<'_>) -> Vec<At<DnsName>> {
    let most = if profile.is_some_and(|name| PROFILES_WITH_25_NAMES.contains(&name)) { FEW_NAMES } else { MOST_NAMES };
    let mut names: Vec<At<DnsName>> = Vec::new();
    for written in &list.value {
        match DnsName::parse(&written.value) {
            Ok(name) if names.iter().any(|earlier| earlier.value == name) => {
                mistakes.at(written, format!("names {:?} a second time", name.as_str()), "each name once");
            }
            Ok(name) => names.push(written.with(name)),
            Err(bad) => mistakes.at(written, bad.to_string(), "a DNS name: \"example.com\" or \"*.example.com\""),
        }
    }
    // Boulder refuses such an order: "Domain name … is redundant with a wildcard domain in the same request".
    for name in &names {
        if let Some(wildcard) = names.iter().find(|other| other.value != name.value && other.value.covers(&name.value))
        {
            let (name_text, wildcard) = (name.value.as_str(), wildcard.value.as_str());
            let what = format!("{name_text:?} is covered by {wildcard:?}, and CAs refuse both together");
            mistakes.at(name, what, "one of the two");
        }
    }
    if list.value.is_empty() {
        mistakes.at(list, "is empty", "[\"example.com\"]");
    }
    if names.len() > most {
        let what = format!("has {} names, and the CA takes {most} in one certificate", names.len());
        mistakes.at(list, what, "fewer names, in several certificates");
    }
    names
}

fn cert_name(written: &At<String>, mistakes: &Mistakes<'_>) -> Option<At<CertName>> {
    if written.value.len() > LONGEST_NAME {
        let what = format!("is the certificate's name, which has at most {LONGEST_NAME} characters");
        mistakes.at(written, what, "name = \"…\", such as \"api-example\"");
        return None;
    }
    match CertName::parse(&written.value) {
        Ok(name) => Some(written.with(name)),
        Err(bad) => {
            mistakes.at(written, bad.to_string(), "name = \"…\", such as \"api-example\"");
            None
        }
    }
}

fn key_type(written: &At<String>, mistakes: &Mistakes<'_>) -> KeyType {
    let known = KEY_TYPES.into_iter().find(|known| known.as_str() == written.value);
    known.unwrap_or_else(|| {
        let names = KEY_TYPES.map(KeyType::as_str).join(", ");
        mistakes.at(written, format!("{:?} is no key type", written.value), format!("one of {names}"));
        KEY_TYPE
    })
}

fn probe(mut section: Section<'_>) -> Option<At<Vec<At<String>>>> {
    let sni = section.strings("sni");
    section.finish();
    sni
}

fn sni(list: &At<Vec<At<String>>>, domains: &[At<DnsName>], mistakes: &Mistakes<'_>) -> Vec<DnsName> {
    if list.value.is_empty() {
        mistakes.at(list, "is empty, and a handshake asks for a name", "[\"www.example.com\"], or leave the key out");
    }
    let mut names = Vec::new();
    for written in &list.value {
        match DnsName::parse(&written.value) {
            Ok(name) if name.is_wildcard() => {
                let write = format!("one name below it: \"www.{}\"", name.base());
                mistakes.at(written, "is a wildcard, and a handshake asks for one name", write);
            }
            Ok(name) if !domains.is_empty() && !domains.iter().any(|domain| domain.value.covers(&name)) => {
                let what = format!("{:?} is not a name that this certificate holds", name.as_str());
                mistakes.at(written, what, "a name of `domains`, or one that its wildcard covers");
            }
            Ok(name) => names.push(name),
            Err(bad) => mistakes.at(written, bad.to_string(), "a DNS name: \"www.example.com\""),
        }
    }
    names
}
