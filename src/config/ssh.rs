//! `[ssh]` and a node's own `ssh`: how to log in. A certificate has no such section, since one session serves all
//! certificates of a node.

use std::path::PathBuf;

use super::HostKey;
use super::defaults::{IDENTITY_FILE, KNOWN_HOSTS, SSH_PORT, SSH_USER};
use super::error::ConfigErrors;
use super::jump::{self, Jump};
use super::value::{local_path, login, port};
use super::written::{Section, Spanned};

#[derive(Clone, Debug)]
pub struct Ssh {
    pub user: String,
    pub port: u16,
    pub identity_files: Vec<PathBuf>,
    /// Tried after the files.
    pub agent: Option<Agent>,
    /// Passphrase of the encrypted identity files.
    pub passphrase_file: Option<PathBuf>,
    /// Keys pinned in the configuration; else `known_hosts` is asked.
    pub host_keys: Vec<HostKey>,
    /// Never empty; `certd trust --write` appends to the first.
    pub known_hosts: Vec<PathBuf>,
    /// Jump hosts, the nearest one first.
    pub jumps: Vec<Jump>,
}

/// Where an SSH agent listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agent {
    /// `SSH_AUTH_SOCK`.
    Environment,
    Socket(PathBuf),
}

/// One layer as written.
#[derive(Default)]
pub(super) struct SshSpec {
    user: Option<String>,
    port: Option<u16>,
    identity_files: Option<Vec<PathBuf>>,
    /// The inner `None`: written as false.
    agent: Option<Option<Agent>>,
    passphrase_file: Option<PathBuf>,
    known_hosts: Option<Vec<PathBuf>>,
    jumps: Option<Vec<Jump>>,
}

impl SshSpec {
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let errors = section.errors();
        let user = section.string("user").and_then(|user| login(&user, errors));
        let port = section.integer("port").and_then(|number| port(&number, errors));
        let agent = section.flag_or_string("agent").and_then(|agent| match agent {
            Ok(true) => Some(Some(Agent::Environment)),
            Ok(false) => Some(None),
            Err(path) => local_path(&path, errors).map(|path| Some(Agent::Socket(path))),
        });
        let has_agent = matches!(agent, Some(Some(_)));
        let identity_files = section.strings("identity_files").map(|files| identities(&files, has_agent, errors));
        let passphrase_file = section.string("passphrase_file").and_then(|path| local_path(&path, errors));
        let known_hosts = section.one_or_more("known_hosts").map(|files| known_hosts(&files, errors));
        let jumps = section.texts_or_sections("jump").map(|written| jump::read(written, errors));
        section.finish();
        Self { user, port, identity_files, agent, passphrase_file, known_hosts, jumps }
    }

    /// Merges this layer over the one below and the defaults, key by key: a node's `identity_files` replace the others.
    pub(super) fn over(&self, below: &Self, host_keys: Vec<HostKey>) -> Ssh {
        fn first<T: Clone>(layer: Option<&T>, below: Option<&T>, default: impl FnOnce() -> T) -> T {
            layer.or(below).cloned().unwrap_or_else(default)
        }
        let agent = first(self.agent.as_ref(), below.agent.as_ref(), || None);
        Ssh {
            user: first(self.user.as_ref(), below.user.as_ref(), || SSH_USER.to_owned()),
            port: first(self.port.as_ref(), below.port.as_ref(), || SSH_PORT),
            // With an agent no file is required.
            identity_files: first(self.identity_files.as_ref(), below.identity_files.as_ref(), || {
                if agent.is_some() { Vec::new() } else { vec![PathBuf::from(IDENTITY_FILE)] }
            }),
            agent,
            passphrase_file: self.passphrase_file.clone().or_else(|| below.passphrase_file.clone()),
            host_keys,
            known_hosts: first(self.known_hosts.as_ref(), below.known_hosts.as_ref(), || {
                vec![PathBuf::from(KNOWN_HOSTS)]
            }),
            jumps: first(self.jumps.as_ref(), below.jumps.as_ref(), Vec::new),
        }
    }
}

pub(super) fn identities(
    files: &Spanned<Vec<Spanned<String>>>,
    has_agent: bool,
    errors: &ConfigErrors<'_>,
) -> Vec<PathBuf> {
    if files.value.is_empty() && !has_agent {
        errors.at(files, "is empty, and there is no other way to log in", format!("[\"{IDENTITY_FILE}\"]"));
    }
    files.value.iter().filter_map(|path| local_path(path, errors)).collect()
}

fn known_hosts(files: &Spanned<Vec<Spanned<String>>>, errors: &ConfigErrors<'_>) -> Vec<PathBuf> {
    if files.value.is_empty() {
        errors.at(files, "is empty", format!("{KNOWN_HOSTS:?}"));
    }
    files.value.iter().filter_map(|path| local_path(path, errors)).collect()
}
