//! `[[node]]`: a server, its addresses and its own settings.

use jiff::Timestamp;

use super::error::ConfigErrors;
use super::health::HealthLayer;
use super::install::InstallSpec;
use super::probe::ProbeSpec;
use super::rollout::windows;
use super::ssh::SshSpec;
use super::value::{host, host_keys, instant, printable, word};
use super::window::Windows;
use super::written::{Section, Spanned};
use super::{Host, HostKey};
use crate::cert::NodeName;

/// One node as written, its values parsed.
pub(super) struct NodeSpec {
    pub(super) name: Option<Spanned<NodeName>>,
    pub(super) addresses: Vec<Spanned<Host>>,
    pub(super) host_keys: Vec<HostKey>,
    pub(super) ssh: SshSpec,
    pub(super) probe: ProbeSpec,
    pub(super) install: InstallSpec,
    pub(super) tags: Vec<String>,
    pub(super) paused_until: Option<Timestamp>,
    pub(super) paused_reason: Option<String>,
    /// `None`: those of `[rollout]`.
    pub(super) windows: Option<Windows>,
    pub(super) health: Option<HealthLayer>,
    /// Settings for one certificate on this node, by the certificate's name.
    pub(super) certificates: Vec<(Spanned<String>, InstallSpec)>,
    /// Instead of `probe`, for one certificate.
    pub(super) own_probes: Vec<(String, ProbeSpec)>,
}

impl NodeSpec {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let errors = section.errors();
        section.required("name", "name = \"shanghai-1\"");
        let name = section.string("name").and_then(|name| node_name(&name, errors));
        section.required("address", "address = \"192.0.2.1\"");
        let addresses = section.one_or_more("address").map(|list| addresses(&list, errors)).unwrap_or_default();
        let host_keys = host_keys(section.one_or_more("host_key"), errors);
        let ssh = SshSpec::read(section.section_or_empty("ssh"));
        let probe = ProbeSpec::read(&mut section);
        let install = InstallSpec::read(section.section_or_empty("install"));
        let tags = section.strings("tags").map(|list| list.value).unwrap_or_default();
        let tags = tags.iter().filter_map(|tag| word(tag, errors)).collect();
        let until = section.moment("paused_until");
        let reason = section.string("paused_reason");
        if let (None, Some(reason)) = (&until, &reason) {
            errors.at(reason, "stands alone: the node is not paused", "paused_until = \"2026-12-01\" beside it");
        }
        let paused_until = until.and_then(|text| instant(&text, errors));
        let paused_reason = reason.filter(|text| printable(text, errors)).map(|text| text.value);
        let windows = section.one_or_more("window").and_then(|list| windows(&list, errors));
        let health = HealthLayer::read(&mut section);
        let (mut certificates, mut own_probes) = (Vec::new(), Vec::new());
        for (certificate, mut own) in section.named("certificate") {
            own_probes.push((certificate.value.clone(), ProbeSpec::read(&mut own)));
            certificates.push((certificate, InstallSpec::read(own.section_or_empty("install"))));
            own.finish();
        }
        section.finish();
        Self {
            name,
            addresses,
            host_keys,
            ssh,
            probe,
            install,
            tags,
            paused_until,
            paused_reason,
            windows,
            health,
            certificates,
            own_probes,
        }
    }
}

fn node_name(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Spanned<NodeName>> {
    if written.value == "*" || written.value.starts_with("tag:") {
        let what = format!("{:?} is what a certificate writes to mean several nodes", written.value);
        return errors.none(written, what, "any other name");
    }
    match NodeName::parse(&written.value) {
        Ok(name) => Some(written.with(name)),
        Err(bad) => errors.none(written, bad.to_string(), "a short name, in any script"),
    }
}

fn addresses(list: &Spanned<Vec<Spanned<String>>>, errors: &ConfigErrors<'_>) -> Vec<Spanned<Host>> {
    if list.value.is_empty() {
        errors.at(list, "is empty", "\"192.0.2.1\"");
    }
    let mut hosts: Vec<Spanned<Host>> = Vec::new();
    for written in &list.value {
        let Some(host) = host(written, errors) else { continue };
        if hosts.iter().any(|earlier| earlier.value == host) {
            errors.at(written, "is in the list a second time", "each address once");
        }
        hosts.push(written.with(host));
    }
    hosts
}
