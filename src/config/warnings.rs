//! What a configuration means that is no mistake, and that will hurt.

use std::collections::BTreeMap;

use super::servers::Server;
use super::{Config, Install, Windows};
use crate::cert::CertName;

/// Nodes that are named, of those that a warning is about.
const NAMED: usize = 3;

/// A sentence each, with what to write.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut found: BTreeMap<(&CertName, String), Vec<String>> = BTreeMap::new();
    let mut note = |certificate, node: String, install: &Install, windows: &Windows| {
        let sentences = [unreadable(install), unknown(install), restart(install, windows)];
        for sentence in sentences.into_iter().flatten() {
            found.entry((certificate, sentence)).or_default().push(node.clone());
        }
    };
    for (node, certificate, install) in config.installs.iter() {
        if let Some(of_node) = config.node(node) {
            note(certificate, node.to_string(), install, &of_node.windows);
        }
    }
    for certificate in &config.certificates {
        if let Some(discover) = &certificate.discover {
            note(&certificate.name, format!("nodes of {}", discover.name), &discover.install, &discover.windows);
        }
    }
    let sentence = |((certificate, sentence), nodes): ((&CertName, String), Vec<String>)| {
        let more = nodes.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named: Vec<&str> = nodes.iter().take(NAMED).map(String::as_str).collect();
        format!("{certificate} on {}{more}: {sentence}", named.join(", "))
    };
    found.into_iter().map(sentence).collect()
}

/// A named server, and rights by which its user certainly cannot read the key.
fn unreadable(install: &Install) -> Option<String> {
    let server = install.server?;
    let account = server.account?;
    let rights = &install.rights;
    let is = |name: &Option<String>, wanted: &str| name.as_deref() == Some(wanted);
    let by_group = rights.key_mode.is_some_and(|mode| mode.for_group()) && !is(&rights.group, "root");
    if is(&rights.owner, account) || by_group {
        return None;
    }
    Some(format!(
        "{} reads the key as its user {account}, who cannot read it so. Leave out owner, group and key_mode: \
         server = {:?} sets them",
        server.name, server.name
    ))
}

/// A server that is not named, whose own user reads the key, and nothing that says who may.
fn unknown(install: &Install) -> Option<String> {
    let server = install.server.is_none().then(|| Server::of_reload(&install.reload))??;
    let account = server.account?;
    let rights = &install.rights;
    (rights.owner.is_none() && rights.group.is_none()).then(|| {
        format!(
            "{} reads the key as its user {account}, who cannot read a new one unless the file that is there now says so. \
             Write server = {:?}, or group = {account:?}",
            server.name, server.name
        )
    })
}

fn restart(install: &Install, windows: &Windows) -> Option<String> {
    (install.restart && windows.always()).then(|| {
        "its reload is a restart, which cuts connections, and it has no window: it may come at any time. \
         Write window = \"Sat 02:00-06:00\" (UTC) at the node"
            .to_owned()
    })
}
