//! Where and how each certificate is installed on each node, in as few places as say it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

use super::super::reload::{self, Reload};
use super::super::{FoundCertificate, LeftOut, SHOWN};
use super::{Group, Looked};
use crate::cert::DnsName;
use crate::config::defaults::KNOWN_CAS;
use crate::config::draft::{Draft, DraftCertificate, DraftInstall};
use crate::text::escape;

/// What a reload that takes a shell becomes.
const SCRIPT: &str = "/usr/local/sbin/certd-reload";

/// The certificate's name, which `{name}` in a path becomes.
fn name_of(draft: &DraftCertificate) -> String {
    draft.name.clone().unwrap_or_else(|| draft.domains[0].clone())
}

/// What all have in common stands in `[install]`; what a certificate, a node or a certificate on a node has for itself,
/// there. So a node's own command is for that node alone, and stands nowhere that a node added later would inherit it.
pub(super) fn installs(draft: &mut Draft, groups: &[Group<'_>], looked: Looked<'_>, left_out: &mut Vec<LeftOut>) {
    let mut cells: BTreeMap<(usize, usize), DraftInstall> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        let name = name_of(&draft.certificates[at]);
        let domains: Vec<DnsName> = group.names.iter().cloned().collect();
        for (node, one) in &group.members {
            if let Entry::Vacant(free) = cells.entry((*node, at)) {
                free.insert(install(one, &name, looked(*node, &name, &domains), left_out));
            }
        }
    }
    // Of those nodes that have the certificate, each must have said it.
    let of_certificate = |at: usize| {
        let mut own = cells.iter().filter(|((_, of), _)| *of == at).map(|(_, install)| install);
        let first = own.next()?;
        (own.all(|other| other == first) && first.may_be_for_all(true)).then_some(first)
    };
    let common = (0..groups.len()).find_map(of_certificate).cloned();
    let is_common = |install: &DraftInstall| common.as_ref() == Some(install);
    let mut own_of_certificate = BTreeSet::new();
    for (at, certificate) in draft.certificates.iter_mut().enumerate() {
        if let Some(first) = of_certificate(at).filter(|first| !is_common(first)) {
            certificate.install = first.clone();
            own_of_certificate.insert(at);
        }
    }
    for (on, node) in draft.nodes.iter_mut().enumerate() {
        let own: Vec<(usize, &DraftInstall)> =
            cells.iter().filter(|((at, _), _)| *at == on).map(|((_, of), install)| (*of, install)).collect();
        let others: Vec<(usize, &DraftInstall)> = own
            .iter()
            .filter(|(of, install)| !own_of_certificate.contains(of) && !is_common(install))
            .copied()
            .collect();
        let Some((_, first)) = others.first() else { continue };
        if others.len() == own.len() && others.iter().all(|(_, install)| install == first) {
            node.install = (*first).clone();
            continue;
        }
        let mut table = toml::Table::new();
        for (of, install) in others {
            let name = name_of(&draft.certificates[of]);
            let own = toml::Table::from_iter([("install".to_owned(), value(install))]);
            table.insert(name, Value::Table(own));
        }
        node.further.push(("certificate".to_owned(), Value::Table(table)));
    }
    draft.install = common.unwrap_or_default();
}

/// What of it is to be seen, and whole, before it is written: a CA, or commands, that certd does not know.
pub(super) fn unusual(draft: &Draft, groups: &[Group<'_>]) -> Vec<String> {
    let mut unusual = Vec::new();
    if !KNOWN_CAS.iter().any(|ca| ca.name == draft.directory) {
        unusual.push(format!("the CA {}", escape(&draft.directory, usize::MAX)));
    }
    for (_, one) in groups.iter().flat_map(|group| &group.members) {
        // What takes a shell is not written.
        if let Some(Reload::Words(words)) = one.reload.as_deref().map(reload::words)
            && !reload::is_usual(&words)
        {
            unusual.push(format!("the reload command of {}: {}", one.file, escape(&words.join(" "), usize::MAX)));
        }
    }
    unusual
}

fn value(install: &DraftInstall) -> Value {
    let mut table = toml::Table::new();
    for (key, path) in [("fullchain", &install.fullchain), ("key", &install.key)] {
        table.extend(path.iter().map(|path| (key.to_owned(), Value::from(path.as_str()))));
    }
    table.extend(install.server.iter().map(|server| ("server".to_owned(), Value::from(server.as_str()))));
    for (key, words) in [("test", &install.test), ("reload", &install.reload)] {
        if !words.is_empty() {
            table.insert(key.to_owned(), Value::from(words.clone()));
        }
    }
    table.extend(install.further.iter().cloned());
    Value::Table(table)
}

/// `looked`: what its server reads there, and its own test and reload.
fn install(
    one: &FoundCertificate,
    name: &str,
    looked: Option<DraftInstall>,
    left_out: &mut Vec<LeftOut>,
) -> DraftInstall {
    let mut leave_out = |why: String| left_out.push(LeftOut { what: one.file.clone(), why });
    let plain = |path: &&String| !path.contains(['{', '}']);
    let of_server = |path: Option<&String>| path.map(|path| path.replace("{name}", name));
    let looked = looked.unwrap_or_default();
    let read = of_server(looked.fullchain.as_ref()).zip(of_server(looked.key.as_ref()));
    let fullchain = one.paths.fullchain.as_ref().filter(plain);
    let key = one.paths.key.as_ref().filter(plain);
    let paths = fullchain.zip(key).map(|(fullchain, key)| (fullchain.clone(), key.clone()));
    match (&paths, &read) {
        (Some(paths), Some(read)) if paths != read => leave_out(format!(
            "its paths ({}, {}) are not those that the server reads ({}, {}): see which are right",
            escape(&paths.0, SHOWN),
            escape(&paths.1, SHOWN),
            escape(&read.0, SHOWN),
            escape(&read.1, SHOWN)
        )),
        (None, None) => leave_out(
            "it has no paths of a full chain and a key that a server reads: see what your server reads, and write `fullchain` and `key`"
                .to_owned(),
        ),
        _ => {}
    }
    if one.paths.chain.is_some() {
        leave_out(
            "the server may read the issuers from a file of their own: then write `chain` in [install], too".to_owned(),
        );
    }
    let (fullchain, key) = paths.or(read).map_or_else(
        || ("/etc/ssl/certd/{name}/fullchain.pem".to_owned(), "/etc/ssl/certd/{name}/privkey.pem".to_owned()),
        |(fullchain, key)| (placed(&fullchain, name), placed(&key, name)),
    );
    let paths = DraftInstall { fullchain: Some(fullchain), key: Some(key), ..DraftInstall::default() };
    let (server, test, reload) = commands(one, looked, &mut leave_out);
    DraftInstall { server, test, reload, ..paths }
}

/// How its server is tested and reloaded: by acme.sh's own command where certd can run it, else as the server itself has it.
fn commands(
    one: &FoundCertificate,
    looked: DraftInstall,
    leave_out: &mut impl FnMut(String),
) -> (Option<String>, Vec<String>, Vec<String>) {
    let is_known = looked.server.is_some() || !(looked.test.is_empty() || looked.reload.is_empty());
    let of_server = |looked: DraftInstall| (looked.server, looked.test, looked.reload);
    let command = one.reload.as_deref().unwrap_or("systemctl reload nginx");
    if one.reload.is_none() {
        if is_known {
            return of_server(looked);
        }
        leave_out("it has no reload command: `systemctl reload nginx` is written".to_owned());
    }
    let reload = match reload::words(command) {
        Reload::Words(words) => words,
        Reload::Shell if is_known => {
            if !reload::is_test_and_reload(command) {
                leave_out(format!(
                    "its reload command takes a shell, and certd runs the server's own test and reload instead: see whether it \
                     did more: {}",
                    escape(command, SHOWN)
                ));
            }
            return of_server(looked);
        }
        Reload::Shell => {
            let shown = escape(command, SHOWN);
            leave_out(format!(
                "its reload command takes a shell, and certd runs words without one: put this line into {SCRIPT} on the node, after \
                 #!/bin/sh, and chmod 755 it: {shown}"
            ));
            vec![SCRIPT.to_owned()]
        }
    };
    if let Some(test) = reload::test(&reload).or_else(|| Some(looked.test).filter(|test| !test.is_empty())) {
        return (None, test, reload);
    }
    // Its preset has a test.
    if looked.server.is_some() {
        return (looked.server, Vec::new(), reload);
    }
    leave_out(
        "how its server tests its configuration is not known: write `test` in [install], which is [\"true\"] now"
            .to_owned(),
    );
    (None, vec!["true".to_owned()], reload)
}

/// The path with the certificate's name as a whole word of it replaced: `a.example` is no part of `aa.example`.
fn placed(path: &str, name: &str) -> String {
    let letter = |c: char| c.is_alphanumeric() || c == '-';
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(name) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let end = before.chars().next_back().or_else(|| text.chars().next_back());
        let whole = !end.is_some_and(|c| letter(c) || c == '.') && !after.chars().next().is_some_and(letter);
        text.push_str(before);
        text.push_str(if whole { "{name}" } else { name });
        rest = after;
    }
    text + rest
}
