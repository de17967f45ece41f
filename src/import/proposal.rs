//! A first configuration from what was found, where there is none yet.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use toml::Value;
use zeroize::Zeroizing;

use super::adopt::day;
use super::reload::{self, Reload};
use super::{Found, FoundAccount, FoundCertificate, FoundChallenge, FoundToken, LeftOut, Paths};
use crate::cert::{CertName, KeyType, NameSet, NodeName};
use crate::config::defaults::{KEY_TYPE, KNOWN_CAS};
use crate::config::draft::{Draft, DraftCertificate, DraftDns, DraftInstall, DraftNode, DraftSsh};
use crate::text::list;

/// Beside the configuration.
const TOKEN_FILE: &str = "cloudflare.token";
const EAB_FILE: &str = "eab.hmac";
/// What a reload that takes a shell becomes.
const SCRIPT: &str = "/usr/local/sbin/certd-reload";

/// What is known beside the homes.
pub struct Place<'a> {
    /// Of the configuration; further files are written beside it.
    pub folder: &'a Path,
    pub ssh: DraftSsh,
    /// In the order of the homes; a home of this machine belongs to the last one, which is this machine.
    pub nodes: Vec<DraftNode>,
}

pub struct Proposal {
    pub draft: Draft,
    pub secrets: Vec<SecretFile>,
    pub left_out: Vec<LeftOut>,
}

/// To be written 0600. No `Debug`.
pub struct SecretFile {
    pub path: String,
    pub content: Zeroizing<String>,
    /// Where it was found.
    pub from: String,
}

/// One certificate of the configuration to be: the same names on some nodes.
struct Group<'a> {
    names: &'a NameSet,
    key_types: Vec<KeyType>,
    /// Each with its node's place in the list.
    members: Vec<(usize, &'a FoundCertificate)>,
}

/// `None`: no certificate was found that a configuration can have.
pub fn propose(found: &[Found], place: Place<'_>, now: Timestamp) -> Result<Proposal, Vec<LeftOut>> {
    let mut left_out = Vec::new();
    let last = place.nodes.len().saturating_sub(1);
    let node_of = |home: &Found| {
        let name = home.node.as_ref().map(NodeName::as_str);
        place.nodes.iter().position(|node| Some(node.name.as_str()) == name).unwrap_or(last)
    };
    let groups = groups(found, node_of, now, &mut left_out);
    if groups.is_empty() {
        return Err(left_out);
    }
    let file = |name: &str| place.folder.join(name).display().to_string();
    let mut secrets = Vec::new();
    let mut draft = Draft {
        notes: vec![format!("Imported from {}.", list::first(5, found.iter().map(home)))],
        ssh: place.ssh,
        nodes: place.nodes,
        ..Draft::default()
    };
    ca(&mut draft, &groups, found, &file(EAB_FILE), &mut secrets, &mut left_out);
    dns(&mut draft, found, &file(TOKEN_FILE), &mut secrets, &mut left_out);
    for group in &groups {
        draft.certificates.extend(certificate(group, draft.nodes.len(), &draft.nodes, &mut left_out));
    }
    installs(&mut draft, &groups, &mut left_out);
    Ok(Proposal { draft, secrets, left_out })
}

fn home(found: &Found) -> String {
    match &found.node {
        Some(node) => format!("{node}:{}", found.home),
        None => found.home.clone(),
    }
}

/// A section for a configuration that is there; its nodes are for a person to name.
pub fn section(one: &FoundCertificate) -> Option<String> {
    let key_types = one.key_type().into_iter().collect();
    let group = Group { names: &one.names, key_types, members: vec![(0, one)] };
    Some(certificate(&group, 1, &[], &mut Vec::new())?.render())
}

fn groups<'a>(
    found: &'a [Found],
    node_of: impl Fn(&Found) -> usize,
    now: Timestamp,
    left_out: &mut Vec<LeftOut>,
) -> Vec<Group<'a>> {
    let mut leave_out = |one: &FoundCertificate, why: String| left_out.push(LeftOut { what: one.file.clone(), why });
    let mut groups: Vec<Group<'a>> = Vec::new();
    let (mut by_names, mut taken) = (BTreeMap::new(), BTreeSet::new());
    // Where nothing is, the server reads the other client's own files.
    let any_placed = found.iter().flat_map(|home| &home.certificates).any(|one| one.paths != Paths::default());
    for (home, one) in found.iter().flat_map(|home| home.certificates.iter().map(move |one| (home, one))) {
        let Some(leaf) = one.leaf() else { continue };
        match &one.challenge {
            FoundChallenge::OtherDns(hook) => {
                leave_out(
                    one,
                    format!(
                        "its names are proven through {hook}: certd has Cloudflare, RFC 2136 and `exec`, a program of yours (docs/dns.md)"
                    ),
                );
                continue;
            }
            FoundChallenge::Other(how) => {
                leave_out(
                    one,
                    format!(
                        "its names are proven by {how}, and certd proves names by DNS-01 alone: add it when the token may \
                         write in its zone"
                    ),
                );
                continue;
            }
            FoundChallenge::Cloudflare | FoundChallenge::Unknown => {}
        }
        if leaf.not_after <= now {
            leave_out(one, format!("it expired {}", day(leaf.not_after)));
            continue;
        }
        if any_placed && one.paths == Paths::default() {
            leave_out(
                one,
                "it is installed nowhere: add it with the paths that a server reads, if one does".to_owned(),
            );
            continue;
        }
        let Some(key_type) = leaf.key_type else {
            leave_out(one, "its key is of a type that certd does not order".to_owned());
            continue;
        };
        let node = node_of(home);
        if let Some(at) = by_names.get(&one.names) {
            let group: &mut Group<'_> = &mut groups[*at];
            // A second key of one algorithm is another age of the same: one of them becomes the shared one.
            if group.key_types.iter().all(|known| known.algorithm() != key_type.algorithm()) {
                group.key_types.push(key_type);
            }
            group.members.push((node, one));
            continue;
        }
        if let Some(shared) = one.names.iter().find(|name| taken.contains(name)) {
            let why =
                format!("another certificate has one of its names ({shared}): write it by hand, if both are to be");
            leave_out(one, why);
            continue;
        }
        taken.extend(one.names.iter());
        by_names.insert(&one.names, groups.len());
        groups.push(Group { names: &one.names, key_types: vec![key_type], members: vec![(node, one)] });
    }
    groups
}

/// The CA of the first certificate, with the account there.
fn ca(
    draft: &mut Draft,
    groups: &[Group<'_>],
    found: &[Found],
    eab_file: &str,
    secrets: &mut Vec<SecretFile>,
    left_out: &mut Vec<LeftOut>,
) {
    let of = |group: &Group<'_>| group.members.iter().find_map(|(_, one)| one.directory.clone());
    let accounts = || found.iter().flat_map(|home| &home.accounts);
    let directory = groups.iter().find_map(of).or_else(|| Some(accounts().next()?.directory.clone()));
    let Some(directory) = directory else {
        KNOWN_CAS[0].name.clone_into(&mut draft.directory);
        return left_out
            .push(LeftOut { what: "the CA".to_owned(), why: "is not known: Let's Encrypt is written".to_owned() });
    };
    let bare = directory.as_str().trim_end_matches('/');
    let known = KNOWN_CAS.iter().find(|ca| ca.directory == bare);
    draft.directory = known.map_or_else(|| directory.to_string(), |ca| ca.name.to_owned());
    for (_, one) in groups.iter().flat_map(|group| &group.members) {
        if let Some(other) = one.directory.as_ref().filter(|other| other.as_str().trim_end_matches('/') != bare) {
            let why = format!("it is from another CA ({other}); its next renewal is from {}", draft.directory);
            left_out.push(LeftOut { what: one.file.clone(), why });
        }
    }
    let mut here = accounts().filter(|account| account.directory.as_str().trim_end_matches('/') == bare);
    let account: Option<&FoundAccount> = here.next();
    draft.contact =
        account.iter().flat_map(|account| &account.contact).map(|url| url.replacen("mailto:", "", 1)).collect();
    let binding = account.and_then(|account| Some((account, account.binding.as_ref()?)));
    let needed = known.is_some_and(|ca| ca.needs_eab);
    if binding.is_none() && !needed {
        return;
    }
    let mut eab = toml::Table::new();
    let kid = binding.map_or("from-the-CA", |(_, (kid, _))| kid.as_str());
    eab.insert("kid".to_owned(), Value::from(kid));
    eab.insert("hmac_file".to_owned(), Value::from(eab_file));
    draft.settings.push(("acme".to_owned(), "eab".to_owned(), Value::Table(eab)));
    match binding {
        Some((account, (_, hmac))) => secrets.push(SecretFile {
            path: eab_file.to_owned(),
            content: Zeroizing::new(format!("{}\n", hmac.as_str())),
            from: account.file.clone(),
        }),
        None => left_out.push(LeftOut {
            what: "the external account".to_owned(),
            why: format!("was not found: write `kid` and {eab_file} from the CA's console"),
        }),
    }
}

fn dns(
    draft: &mut Draft,
    found: &[Found],
    token_file: &str,
    secrets: &mut Vec<SecretFile>,
    left_out: &mut Vec<LeftOut>,
) {
    draft.dns = DraftDns { provider: "cloudflare".to_owned(), token_file: Some(token_file.to_owned()) };
    // One for all zones before one for a single zone.
    let mut tokens: Vec<&FoundToken> = found.iter().flat_map(|home| &home.tokens).collect();
    tokens.sort_by_key(|token| token.zone_id.is_some());
    let Some(chosen) = tokens.first() else {
        let why =
            format!("none was found: write one with Zone:Read and DNS:Edit for the zone into {token_file}, mode 0600");
        return left_out.push(LeftOut { what: "the token of the DNS provider".to_owned(), why });
    };
    if let Some(zone) = &chosen.zone_id {
        draft.settings.push(("dns".to_owned(), "zone_id".to_owned(), Value::from(zone.as_str())));
    }
    for other in tokens.iter().filter(|other| *other.token != *chosen.token) {
        let why = format!(
            "another token: certd takes that of {}; for other zones, see [dns.NAME] in docs/dns.md",
            chosen.file
        );
        left_out.push(LeftOut { what: other.file.clone(), why });
    }
    let content = Zeroizing::new(format!("{}\n", chosen.token.as_str()));
    secrets.push(SecretFile { path: token_file.to_owned(), content, from: chosen.file.clone() });
}

fn certificate(
    group: &Group<'_>,
    nodes: usize,
    names: &[DraftNode],
    left_out: &mut Vec<LeftOut>,
) -> Option<DraftCertificate> {
    let (_, first) = group.members.first()?;
    let mut domains: Vec<String> = vec![first.main.to_string()];
    domains.extend(group.names.iter().filter(|name| **name != first.main).map(ToString::to_string));
    let plain = domains.iter().position(|name| !name.starts_with("*."));
    // The first one that is no wildcard names the certificate.
    domains.swap(0, plain.unwrap_or_default());
    let base = first.main.base().to_owned();
    let mut draft = DraftCertificate { domains, ..DraftCertificate::default() };
    let short = |name: &str| CertName::parse(name).is_ok();
    if plain.is_none() || !short(&draft.domains[0]) {
        let name: String = base.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).take(80).collect();
        draft.name = Some(name.to_ascii_lowercase());
    }
    if plain.is_none() {
        let mut probe = toml::Table::new();
        probe.insert("sni".to_owned(), Value::from(vec![format!("www.{base}")]));
        draft.further.push(("probe".to_owned(), Value::Table(probe)));
        let why =
            format!("has wildcards only: handshakes ask for www.{base}; change `probe.sni` if no server answers to it");
        left_out.push(LeftOut { what: first.file.clone(), why });
    }
    if group.key_types != [KEY_TYPE] {
        draft.key_type = group.key_types.iter().map(|key_type| key_type.as_str().to_owned()).collect();
    }
    let mut on: Vec<usize> = group.members.iter().map(|(node, _)| *node).collect();
    on.sort_unstable();
    on.dedup();
    if on.len() < nodes {
        draft.nodes = on.iter().filter_map(|node| names.get(*node)).map(|node| node.name.clone()).collect();
    }
    Some(draft)
}

/// The name of a certificate, as its paths may have it.
fn name_of(group: &Group<'_>, draft: &DraftCertificate) -> Vec<String> {
    let mut names = vec![draft.name.clone().unwrap_or_else(|| draft.domains[0].clone())];
    names.extend(group.members.iter().map(|(_, one)| one.main.base().to_owned()));
    names
}

/// What all have in common stands in `[install]`; what a certificate, a node or a certificate on a node has for itself,
/// there. So a node's own command is for that node alone.
fn installs(draft: &mut Draft, groups: &[Group<'_>], left_out: &mut Vec<LeftOut>) {
    let mut cells: BTreeMap<(usize, usize), DraftInstall> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        let names = name_of(group, &draft.certificates[at]);
        for (node, one) in &group.members {
            if let Entry::Vacant(free) = cells.entry((*node, at)) {
                free.insert(install(one, &names, left_out));
            }
        }
    }
    let Some(common) = cells.values().next().cloned() else { return };
    let mut own_of_certificate = BTreeSet::new();
    for (at, certificate) in draft.certificates.iter_mut().enumerate() {
        let mut own = cells.iter().filter(|((_, of), _)| *of == at).map(|(_, install)| install);
        if let Some(first) = own.next().filter(|first| **first != common)
            && own.all(|other| other == first)
        {
            certificate.install = first.clone();
            own_of_certificate.insert(at);
        }
    }
    for (on, node) in draft.nodes.iter_mut().enumerate() {
        let own: Vec<(usize, &DraftInstall)> =
            cells.iter().filter(|((at, _), _)| *at == on).map(|((_, of), install)| (*of, install)).collect();
        let others: Vec<(usize, &DraftInstall)> = own
            .iter()
            .filter(|(of, install)| !own_of_certificate.contains(of) && **install != common)
            .copied()
            .collect();
        let Some((_, first)) = others.first() else { continue };
        if others.len() == own.len() && others.iter().all(|(_, install)| install == first) {
            node.install = (*first).clone();
            continue;
        }
        let mut table = toml::Table::new();
        for (of, install) in others {
            let names = name_of(&groups[of], &draft.certificates[of]);
            let own = toml::Table::from_iter([("install".to_owned(), value(install))]);
            table.insert(names[0].clone(), Value::Table(own));
        }
        node.further.push(("certificate".to_owned(), Value::Table(table)));
    }
    draft.install = common;
}

fn value(install: &DraftInstall) -> Value {
    let mut table = toml::Table::new();
    for (key, path) in [("fullchain", &install.fullchain), ("key", &install.key)] {
        table.extend(path.iter().map(|path| (key.to_owned(), Value::from(path.as_str()))));
    }
    for (key, words) in [("test", &install.test), ("reload", &install.reload)] {
        table.insert(key.to_owned(), Value::from(words.clone()));
    }
    Value::Table(table)
}

fn install(one: &FoundCertificate, names: &[String], left_out: &mut Vec<LeftOut>) -> DraftInstall {
    let mut leave_out = |why: String| left_out.push(LeftOut { what: one.file.clone(), why });
    let placed = |path: &str| {
        let holds = |name: &&String| path.split('/').any(|part| part.contains(name.as_str()));
        names.iter().find(holds).map_or_else(|| path.to_owned(), |name| path.replace(name.as_str(), "{name}"))
    };
    let plain = |path: &&String| !path.contains(['{', '}']);
    let fullchain = one.paths.fullchain.as_ref().filter(plain);
    let key = one.paths.key.as_ref().filter(plain);
    if fullchain.is_none() || key.is_none() {
        leave_out(
            "it has no paths of a full chain and a key that a server reads: see what your server reads, and write `fullchain` and `key`"
                .to_owned(),
        );
    }
    if one.paths.chain.is_some() {
        leave_out(
            "the server may read the issuers from a file of their own: then write `chain` in [install], too".to_owned(),
        );
    }
    let folder = "/etc/ssl/certd/{name}";
    let usual = |name: &str| format!("{folder}/{name}");
    let command = one.reload.as_deref().unwrap_or("systemctl reload nginx");
    if one.reload.is_none() {
        leave_out("it has no reload command: `systemctl reload nginx` is written".to_owned());
    }
    let reload = match reload::words(command) {
        Reload::Words(words) => words,
        Reload::Shell => {
            let shown = crate::text::escape(command, super::SHOWN);
            leave_out(format!(
                "its reload command takes a shell, and certd runs words without one: put this line into {SCRIPT} on the node, after \
                 #!/bin/sh, and chmod 755 it: {shown}"
            ));
            vec![SCRIPT.to_owned()]
        }
    };
    let test = reload::test(&reload).unwrap_or_else(|| {
        leave_out(
            "how its server tests its configuration is not known: write `test` in [install], which is [\"true\"] now"
                .to_owned(),
        );
        vec!["true".to_owned()]
    });
    DraftInstall {
        fullchain: Some(fullchain.map_or_else(|| usual("fullchain.pem"), |path| placed(path))),
        key: Some(key.map_or_else(|| usual("privkey.pem"), |path| placed(path))),
        test,
        reload,
        ..DraftInstall::default()
    }
}

#[cfg(test)]
mod tests;
