//! `[[watch]]`: an endpoint that certd monitors but does not manage.

use core::net::IpAddr;
use std::path::PathBuf;

use super::certificate::CertificateSpec;
use super::defaults::WATCH_PORT;
use super::error::ConfigErrors;
use super::probe::starttls;
use super::value::{local_path, port};
use super::written::{Section, Spanned};
use super::{Host, StartTls, Watch};
use crate::cert::{DnsName, WatchName};

/// One endpoint as written, its values parsed.
pub(super) struct WatchSpec {
    name: Option<Spanned<WatchName>>,
    targets: Vec<(Host, DnsName)>,
    port: u16,
    starttls: Option<StartTls>,
    ca_file: Option<PathBuf>,
}

impl WatchSpec {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let errors = section.errors();
        let here = section.here();
        let written_name = section.string("name");
        section.required("address", "address = \"api.example.com\"");
        let written = section.one_or_more("address");
        let port = section.integer("port").map(|number| port(&number, errors));
        let starttls = section.string("starttls").and_then(|written| starttls(&written, errors)).flatten();
        let written_sni = section.string("sni");
        let ca_file = section.string("ca_file").and_then(|path| local_path(&path, errors));
        section.finish();

        let hosts: Vec<Host> = written.as_ref().map(|list| hosts(list, errors)).unwrap_or_default();
        // Without a name it is called by its first address, as written.
        let first = || written.as_ref().and_then(|list| list.value.first().cloned()).filter(|_| !hosts.is_empty());
        let name = written_name.or_else(first).and_then(|name| watch_name(&name, errors));
        let asked = written_sni.as_ref().map(|written| sni(written, errors));
        let mut targets = Vec::new();
        for host in hosts {
            match (&asked, host) {
                (Some(Some(sni)), host) => targets.push((host, sni.clone())),
                // The error was reported.
                (Some(None), _) => {}
                (None, Host::Name(name)) => targets.push((Host::Name(name.clone()), name)),
                (None, Host::Ip(ip)) => {
                    let what = format!("is missing: {ip} is an address, and a handshake asks for a name");
                    errors.at(&here.under("sni"), what, "sni = \"api.example.com\", a name that it serves");
                }
            }
        }
        let port = port.flatten().unwrap_or_else(|| starttls.map_or(WATCH_PORT, StartTls::port));
        Self { name, targets, port, starttls, ca_file }
    }
}

/// Names must be unique, since `check NAME` selects by them.
pub(super) fn join(specs: Vec<WatchSpec>, certificates: &[CertificateSpec], errors: &ConfigErrors<'_>) -> Vec<Watch> {
    let taken =
        |name: &str| certificates.iter().filter_map(|spec| spec.name.as_ref()).any(|c| c.value.as_str() == name);
    let mut watches: Vec<Watch> = Vec::new();
    for spec in specs {
        let Some(name) = spec.name else { continue };
        let text = name.value.as_str();
        if taken(text) {
            errors.at(&name, format!("a certificate has the name {text:?} too"), "name = \"…\", another one");
        }
        if watches.iter().any(|earlier| earlier.name == name.value) {
            let what = format!("two watched endpoints have the name {text:?}");
            errors.at(&name, what, "name = \"…\", another one");
        }
        let WatchSpec { targets, port, starttls, ca_file, .. } = spec;
        watches.push(Watch { name: name.value, targets, port, starttls, ca_file });
    }
    watches
}

fn hosts(list: &Spanned<Vec<Spanned<String>>>, errors: &ConfigErrors<'_>) -> Vec<Host> {
    if list.value.is_empty() {
        errors.at(list, "is empty", "\"api.example.com\"");
    }
    let mut hosts = Vec::new();
    for written in &list.value {
        let Some(host) = host(written, errors) else { continue };
        if hosts.contains(&host) {
            errors.at(written, "is in the list a second time", "each address once");
            continue;
        }
        hosts.push(host);
    }
    hosts
}

fn host(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Host> {
    let text = &written.value;
    if let Ok(ip) = text.parse::<IpAddr>() {
        if ip.is_unspecified() || ip.is_multicast() {
            errors.at(written, format!("{text:?} is no address of one machine"), "the endpoint's own address");
            return None;
        }
        return Some(Host::Ip(ip));
    }
    if let Some((bare, port)) = text.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()) {
        let write = format!("\"{}\", and beside it port = {port}", bare.trim_matches(['[', ']']));
        errors.at(written, "has a port in it, and that has a key of its own", write);
        return None;
    }
    match DnsName::parse(text) {
        Ok(name) if name.is_wildcard() => {
            errors.at(written, "is a wildcard, and leads nowhere", "one name below it, or an IP address");
            None
        }
        Ok(name) => Some(Host::Name(name)),
        Err(bad) => {
            errors.at(written, bad.to_string(), "an IP address, or a DNS name");
            None
        }
    }
}

fn watch_name(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Spanned<WatchName>> {
    match WatchName::parse(&written.value) {
        Ok(name) => Some(written.with(name)),
        Err(bad) => {
            errors.at(written, bad.to_string(), "name = \"…\", a short one, in any script");
            None
        }
    }
}

fn sni(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<DnsName> {
    match DnsName::parse(&written.value) {
        Ok(name) if name.is_wildcard() => {
            let write = format!("one name below it: \"www.{}\"", name.base());
            errors.at(written, "is a wildcard, and a handshake asks for one name", write);
            None
        }
        Ok(name) => Some(name),
        Err(bad) => {
            errors.at(written, bad.to_string(), "a DNS name: \"api.example.com\"");
            None
        }
    }
}
