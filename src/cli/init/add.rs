//! What is new is added to the configuration that is there.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cert::{CertName, DnsName, NodeName};
use crate::config::additions::{add_domain, add_node};
use crate::config::draft::{Draft, DraftInstall, DraftNode};
use crate::config::{Certificate, Config, Host, Install, parse};
use crate::text::escape;

use super::asking::Session;
use super::installs::quoted;
use super::{Answers, Fault, Missing, missing, setup};

impl Session {
    pub(super) fn add(&self, config: &Config, before: &str) -> Result<Answers, Fault> {
        let shown = self.options.config.display().to_string();
        if self.init.from.nodes().is_some() {
            let next = "next: `certd import acme.sh NODE…` imports what it lists; `certd init --node` adds a node";
            return Err(Fault::usage(format!("{shown} is there and is not overwritten\n  {next}")));
        }
        let given = [
            (self.init.directory.is_some(), "--directory"),
            (!self.init.contact.is_empty(), "--contact"),
            (self.init.token_file.is_some() || self.init.token_stdin, "--token-file, --token-stdin"),
            (self.init.user.is_some(), "--user"),
            (self.init.identity.is_some() || self.init.generate_key, "--identity, --generate-key"),
            (!self.init.set.is_empty(), "--set"),
        ];
        let given: Vec<&str> = given.into_iter().filter(|(is_given, _)| *is_given).map(|(_, option)| option).collect();
        if !given.is_empty() {
            return Err(Fault::usage(format!(
                "{shown} is there and is not overwritten: {} cannot change it\n  next: edit it, or write another one: --config \
                 FILE; --node and --name add to it",
                given.join(", ")
            )));
        }
        let mut lacking = Vec::new();
        let certificate = self.certificate(config, &mut lacking)?;
        missing(&lacking)?;
        let after = self.with_names(before, &certificate)?;
        let after = self.with_nodes(config, &certificate, after)?;
        if after == before {
            return Ok(Answers::default());
        }
        self.say(&added_lines(before, &after));
        match &self.terminal {
            Some(terminal) if !terminal.confirm(&format!("Add this to {shown}?"), true)? => {
                return Err(Fault::usage("nothing was written\n  next: run certd init again"));
            }
            None if !self.init.yes => {
                missing(&[Missing { what: "whether to write this".to_owned(), option: "--yes" }])?;
            }
            _ => {}
        }
        Ok(Answers { edit: Some((before.to_owned(), after)), ..Answers::default() })
    }

    /// The one that gets names and nodes.
    fn certificate(&self, config: &Config, lacking: &mut Vec<Missing>) -> Result<Certificate, Fault> {
        if let Some(name) = &self.init.certificate {
            let names = setup::certificates(config, core::slice::from_ref(name))?;
            let found = config.certificates.iter().find(|certificate| names.contains(&certificate.name));
            return found
                .cloned()
                .ok_or_else(|| Fault::usage("no certificate is configured\n  next: see --certificate"));
        }
        match config.certificates.as_slice() {
            [one] => return Ok(one.clone()),
            [first, ..] if self.init.names.is_empty() => return Ok(first.clone()),
            _ => {}
        }
        let names: Vec<String> = config.certificates.iter().map(|certificate| certificate.name.to_string()).collect();
        if let Some(terminal) = &self.terminal {
            return Ok(config.certificates[terminal.choose("Which certificate gets the names?", &names)?].clone());
        }
        let what = format!("which certificate gets the names: {}", names.join(", "));
        lacking.push(Missing { what, option: "--certificate NAME" });
        Ok(config.certificates[0].clone())
    }

    fn with_names(&self, text: &str, certificate: &Certificate) -> Result<String, Fault> {
        let mut text = text.to_owned();
        for name in &self.init.names {
            let parsed = DnsName::parse(name);
            let parsed =
                parsed.map_err(|bad| Fault::usage(format!("{name:?} {bad}\n  next: give a DNS name: --name")))?;
            if !certificate.names.iter().any(|known| *known == parsed) {
                text = add_domain(&text, certificate.name.as_str(), parsed.as_str()).map_err(refused)?;
            }
        }
        Ok(text)
    }

    fn with_nodes(&self, config: &Config, certificate: &Certificate, text: String) -> Result<String, Fault> {
        let context = self.context(config.clone(), None)?;
        let hosts = || config.nodes.iter().flat_map(|node| &node.addresses);
        let known = hosts().filter_map(|host| if let Host::Ip(ip) = host { Some(*ip) } else { None });
        let known: BTreeSet<_> = known.collect();
        let discovers = certificate.discover.is_some();
        if discovers && self.init.nodes.is_empty() {
            return Ok(text);
        }
        let domains: Vec<DnsName> = certificate.names.iter().cloned().collect();
        let candidates = self.candidates(&context, &domains, &known)?;
        let is_new =
            |node: &DraftNode| !node.addresses.iter().any(|address| hosts().any(|host| host.to_string() == *address));
        let candidates: Vec<DraftNode> = candidates.into_iter().filter(is_new).collect();
        if candidates.is_empty() {
            return Ok(text);
        }
        let accepted = self.init.accept_host_keys || !self.init.fingerprint.is_empty();
        if self.terminal.is_none() && !accepted {
            let what = "whether the host keys that new nodes show are theirs".to_owned();
            missing(&[Missing { what, option: "--fingerprint SHA256:… for each, or --accept-host-keys unseen" }])?;
        }
        let mut draft = like(config, certificate);
        let pinned = self.pinned(&draft, candidates)?;
        let (again, pinned): (Vec<_>, Vec<_>) = pinned.into_iter().partition(|node| shown_by(config, node).is_some());
        for node in again {
            let of = shown_by(config, &node).unwrap_or_default();
            let addresses = node.addresses.join(", ");
            self.say(&format!(
                "{addresses} shows the host key of the node {of}: add the address there, if it is one machine"
            ));
        }
        if pinned.is_empty() {
            return Ok(text);
        }
        let taken: Vec<String> = config.nodes.iter().map(|node| node.name.to_string()).collect();
        draft.nodes = self.named(&draft, pinned, &taken)?;
        let found = self.found(&draft, certificate.name.as_str(), &domains)?;
        let (mut text, mut lacking) = (text, Vec::new());
        for mut node in draft.nodes.clone() {
            let inherited = inherited(&text, &node, &certificate.name);
            match (found.get(&node.name), inherited) {
                (Some(own), None) => node.install = own.clone(),
                (Some(own), Some(of_all)) => node.install = differing(own, &of_all, certificate.name.as_str()),
                (None, Some(of_all)) => {
                    node.notes.push("its web server was not found: it has what the file gives to all".to_owned());
                    self.say(&format!(
                        "{}: its web server was not found; the file gives it: {}",
                        node.name,
                        shown(&of_all)
                    ));
                }
                (None, None) => {
                    let on = node.name.clone();
                    node.install = self.asked_install(&draft, &on, &mut lacking)?.unwrap_or_default();
                }
            }
            text = with_node(&text, &node, &certificate.name)?;
        }
        // No option sets it in a file that is there.
        let by_hand = "see that the look finds it (--login USER --login-identity FILE), or write its [[node]] by hand";
        missing(&lacking.into_iter().map(|it| Missing { option: by_hand, ..it }).collect::<Vec<_>>())?;
        Ok(text)
    }
}

/// What a node gets without an `install` of its own, if that is all it needs.
fn inherited(text: &str, node: &DraftNode, certificate: &CertName) -> Option<Arc<Install>> {
    let bare = DraftNode { install: DraftInstall::default(), ..node.clone() };
    let config = parse(&with_node(text, &bare, certificate).ok()?).ok()?;
    config.install(&NodeName::parse(&node.name).ok()?, certificate).cloned()
}

/// Named in the certificate, where no selector of it takes the node.
fn with_node(text: &str, node: &DraftNode, certificate: &CertName) -> Result<String, Fault> {
    let add = |selects: bool| add_node(text, node, certificate.as_str(), selects).map_err(refused);
    let added = add(true)?;
    let is_taken = parse(&added).is_ok_and(|config| {
        let mut of_name = config.certificates.iter().filter(|one| one.name == *certificate);
        of_name.any(|one| one.nodes.iter().any(|name| name.as_str() == node.name))
    });
    if is_taken { Ok(added) } else { add(false) }
}

/// All of it that would be written or run.
fn shown(install: &Install) -> String {
    let files = [Some(&install.fullchain), Some(&install.key), install.chain.as_ref(), install.combined.as_ref()];
    let files: Vec<String> = files.into_iter().flatten().map(|path| escape(path, usize::MAX)).collect();
    format!("{}; test = [{}], reload = [{}]", files.join(", "), quoted(&install.test), quoted(&install.reload))
}

/// A draft with the logins and ports of this configuration, for looks at nodes that it has not yet.
fn like(config: &Config, certificate: &Certificate) -> Draft {
    let mut draft = Draft::default();
    let others = certificate.nodes.first().and_then(|name| config.node(name));
    if let Some(node) = others {
        let files = |files: &[std::path::PathBuf]| files.iter().map(|file| file.display().to_string()).collect();
        draft.ssh.user = Some(node.ssh.user.clone());
        draft.ssh.port = Some(node.ssh.port).filter(|port| *port != crate::config::defaults::SSH_PORT);
        draft.ssh.identity_files = files(&node.ssh.identity_files);
        draft.ssh.known_hosts = files(&node.ssh.known_hosts);
        if let Some(probe) = node.probes.first() {
            draft.settings.push(("probe".to_owned(), "port".to_owned(), i64::from(probe.port).into()));
        }
    }
    draft
}

fn shown_by(config: &Config, node: &DraftNode) -> Option<String> {
    let has = |other: &&crate::config::Node| node.host_keys.iter().any(|key| other.ssh.host_keys.contains(key));
    config.nodes.iter().find(has).map(|node| node.name.to_string())
}

/// The keys that differ from what another node has, with every layer and preset merged.
fn differing(found: &DraftInstall, others: &Install, name: &str) -> DraftInstall {
    let other_path =
        |path: &Option<String>, other: &str| path.clone().filter(|path| path.replace("{name}", name) != other);
    let mut own = DraftInstall {
        fullchain: other_path(&found.fullchain, &others.fullchain),
        key: other_path(&found.key, &others.key),
        further: found.further.clone(),
        ..DraftInstall::default()
    };
    match &found.server {
        Some(server) if others.server.is_none_or(|other| other.name != server) => own.server = Some(server.clone()),
        None if !found.test.is_empty() && (found.test != others.test || found.reload != others.reload) => {
            (own.test, own.reload) = (found.test.clone(), found.reload.clone());
        }
        _ => {}
    }
    own
}

fn refused(why: String) -> Fault {
    Fault::usage(format!("the configuration cannot be added to by program: {why}\n  next: add it by hand"))
}

/// The lines that are new, for a person to look at.
fn added_lines(before: &str, after: &str) -> String {
    let mut rest = before.lines().peekable();
    let mut text = String::new();
    for line in after.lines() {
        if rest.next_if_eq(&line).is_none() {
            // A line that was changed has its old form next.
            text.push_str(&format!("+ {line}\n"));
        }
    }
    text.trim_end().to_owned()
}
