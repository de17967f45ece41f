//! `[ssh]` and a node's own `ssh`: how to log in. One session serves all certificates of a node, so a certificate has
//! no say here.

use std::path::PathBuf;

use super::defaults::{IDENTITY_FILE, KNOWN_HOSTS, SSH_PORT, SSH_USER};
use super::mistake::Mistakes;
use super::value::{local_path, port, word};
use super::written::{At, Section};
use super::{HostKey, Ssh};

/// One layer as written.
#[derive(Default)]
pub(super) struct SshSpec {
    user: Option<String>,
    port: Option<u16>,
    identity_files: Option<Vec<PathBuf>>,
    known_hosts: Option<PathBuf>,
}

impl SshSpec {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let mistakes = section.mistakes();
        let user = section.string("user").and_then(|user| login(&user, mistakes));
        let port = section.integer("port").and_then(|number| port(&number, mistakes));
        let identity_files = section.strings("identity_files").map(|files| identities(&files, mistakes));
        let known_hosts = section.string("known_hosts").and_then(|path| local_path(&path, mistakes));
        section.finish();
        Self { user, port, identity_files, known_hosts }
    }

    /// This layer over the one below it, over the defaults. Whole keys: a node's `identity_files` replace the others.
    pub(super) fn over(&self, below: &Self, host_keys: Vec<HostKey>) -> Ssh {
        fn first<T: Clone>(layer: Option<&T>, below: Option<&T>, default: impl FnOnce() -> T) -> T {
            layer.or(below).cloned().unwrap_or_else(default)
        }
        Ssh {
            user: first(self.user.as_ref(), below.user.as_ref(), || SSH_USER.to_owned()),
            port: first(self.port.as_ref(), below.port.as_ref(), || SSH_PORT),
            identity_files: first(self.identity_files.as_ref(), below.identity_files.as_ref(), || {
                vec![PathBuf::from(IDENTITY_FILE)]
            }),
            host_keys,
            known_hosts: first(self.known_hosts.as_ref(), below.known_hosts.as_ref(), || PathBuf::from(KNOWN_HOSTS)),
        }
    }
}

pub(super) fn host_keys(written: Option<At<Vec<At<String>>>>, mistakes: &Mistakes<'_>) -> Vec<HostKey> {
    let texts = written.map(|list| list.value).unwrap_or_default();
    let parsed = texts.iter().filter_map(|text| match HostKey::parse(&text.value) {
        Ok(key) => Some(key),
        Err(why) => {
            let write = "\"ssh-ed25519 AAAA…\", the line of /etc/ssh/ssh_host_ed25519_key.pub on the node";
            mistakes.at(text, why.to_string(), write);
            None
        }
    });
    parsed.collect()
}

fn identities(files: &At<Vec<At<String>>>, mistakes: &Mistakes<'_>) -> Vec<PathBuf> {
    if files.value.is_empty() {
        mistakes.at(files, "is empty, and there is no other way to log in", format!("[\"{IDENTITY_FILE}\"]"));
    }
    files.value.iter().filter_map(|path| local_path(path, mistakes)).collect()
}

fn login(user: &At<String>, mistakes: &Mistakes<'_>) -> Option<String> {
    let name = word(user, mistakes)?;
    if name.contains(['@', ':', '/']) || name.starts_with('-') {
        mistakes.at(
            user,
            format!("{name:?} is not a login name"),
            "\"root\"; the host belongs into the node's address",
        );
        return None;
    }
    Some(name)
}
