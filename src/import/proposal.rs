//! A first configuration from what was found, where there is none yet.

mod groups;
mod installs;

use std::path::Path;

use jiff::Timestamp;
use toml::Value;
use url::Url;
use zeroize::Zeroizing;

use super::{Found, FoundAccount, FoundCertificate, FoundToken, LeftOut};
use crate::cert::{CertName, DnsName, NodeName, Roots};
use crate::config::defaults::{KEY_TYPE, KNOWN_CAS};
use crate::config::draft::{Draft, DraftCertificate, DraftDns, DraftInstall, DraftNode, DraftSsh};
use crate::text::list;

use groups::{Group, groups};
use installs::{installs, unusual};

/// Beside the configuration.
const TOKEN_FILE: &str = "cloudflare.token";
pub const EAB_FILE: &str = "eab.hmac";

/// What is known beside the homes.
pub struct Place<'a> {
    /// Of the configuration; further files are written beside it.
    pub folder: &'a Path,
    pub ssh: DraftSsh,
    /// In the order of the homes; a home of this machine belongs to the last one, which is this machine.
    pub nodes: Vec<DraftNode>,
    /// By which certd judges a chain, as far as they are known yet.
    pub roots: &'a Roots,
    pub looked: Looked<'a>,
}

/// What the web server of a node (its place in the list) reads for the certificate of this name and these domains, where
/// somebody has looked: its paths, and its own test and reload.
pub type Looked<'a> = &'a dyn Fn(usize, &str, &[DnsName]) -> Option<DraftInstall>;

pub struct Proposal {
    pub draft: Draft,
    pub secrets: Vec<SecretFile>,
    pub left_out: Vec<LeftOut>,
    /// What a person has to see before it is written.
    pub unusual: Vec<String>,
}

/// To be written 0600. No `Debug`.
pub struct SecretFile {
    pub path: String,
    pub content: Zeroizing<String>,
    /// Where it was found.
    pub from: String,
}

/// `None`: no certificate was found that a configuration can have.
pub fn propose(found: &[Found], place: Place<'_>, now: Timestamp) -> Result<Proposal, Vec<LeftOut>> {
    let mut left_out = Vec::new();
    let last = place.nodes.len().saturating_sub(1);
    let node_of = |home: &Found| {
        let name = home.node.as_ref().map(NodeName::as_str);
        place.nodes.iter().position(|node| Some(node.name.as_str()) == name).unwrap_or(last)
    };
    let groups = groups(found, node_of, place.roots, now, &mut left_out);
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
    installs(&mut draft, &groups, place.looked, &mut left_out);
    let unusual = unusual(&draft, &groups);
    Ok(Proposal { draft, secrets, left_out, unusual })
}

fn home(found: &Found) -> String {
    match &found.node {
        Some(node) => format!("{node}:{}", found.home),
        None => found.home.clone(),
    }
}

/// A section for a configuration that is there; its nodes are for a person to name.
pub fn section(one: &FoundCertificate) -> Option<String> {
    let key_type = one.key_type().unwrap_or(KEY_TYPE);
    let group = Group { names: &one.names, key_type, is_further: false, votes: Vec::new(), members: vec![(0, one)] };
    Some(certificate(&group, 1, &[], &mut Vec::new())?.render())
}

/// The CA of most certificates, with the account there. Certificates for tests choose it only where there are no others.
fn ca(
    draft: &mut Draft,
    groups: &[Group<'_>],
    found: &[Found],
    eab_file: &str,
    secrets: &mut Vec<SecretFile>,
    left_out: &mut Vec<LeftOut>,
) {
    let accounts = || found.iter().flat_map(|home| &home.accounts);
    let mut votes: Vec<(Url, usize)> = Vec::new();
    for directory in groups.iter().flat_map(|group| &group.votes).filter_map(|one| one.directory.as_ref()) {
        match votes.iter_mut().find(|(url, _)| url == directory) {
            Some((_, votes)) => *votes += 1,
            None => votes.push((directory.clone(), 1)),
        }
    }
    // The first of those with as many.
    votes.sort_by_key(|(url, votes)| (is_staging(url), core::cmp::Reverse(*votes)));
    let first_account = || accounts().map(|account| account.directory.clone()).min_by_key(is_staging);
    let directory = votes.into_iter().next().map(|(url, _)| url).or_else(first_account);
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

/// Whether nobody trusts its certificates: a CA for tests.
fn is_staging(directory: &Url) -> bool {
    directory.host_str().is_some_and(|host| host.contains("staging") || host.contains("test"))
        || directory.path().to_ascii_lowercase().contains("staging")
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
    if group.key_type != KEY_TYPE {
        draft.key_type = vec![group.key_type.as_str().to_owned()];
    }
    if group.is_further {
        let name = draft.name.as_ref().unwrap_or(&draft.domains[0]);
        draft.name = Some(format!("{name}-{}", group.key_type.as_str()));
    }
    let mut on: Vec<usize> = group.members.iter().map(|(node, _)| *node).collect();
    on.sort_unstable();
    on.dedup();
    if on.len() < nodes {
        draft.nodes = on.iter().filter_map(|node| names.get(*node)).map(|node| node.name.clone()).collect();
    }
    Some(draft)
}

#[cfg(test)]
mod tests;
