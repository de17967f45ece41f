//! `ssh.jump`: the jump hosts of a node, as with `ssh -J`.

use std::path::PathBuf;

use super::defaults::SSH_PORT;
use super::error::ConfigErrors;
use super::ssh::identities;
use super::value::{host, host_keys, login, port};
use super::written::{Section, Spanned, TextOrSection};
use super::{Host, HostKey};
use crate::cert::NodeName;

/// A host that leads to a node, or to the next such host.
#[derive(Clone, Debug)]
pub struct Jump {
    /// Its name in error texts.
    pub name: NodeName,
    pub host: Host,
    pub port: u16,
    /// `None`: the node's.
    pub user: Option<String>,
    pub identity_files: Option<Vec<PathBuf>>,
    pub host_keys: Vec<HostKey>,
}

/// Each jump host costs a session with a thread and a dozen round trips; a third one is probably an error.
const MOST: usize = 2;

pub(super) fn read(written: Vec<TextOrSection<'_>>, errors: &ConfigErrors<'_>) -> Vec<Jump> {
    let mut jumps = Vec::new();
    for (index, entry) in written.into_iter().enumerate() {
        let (at, jump) = match entry {
            TextOrSection::Text(text) => (text.with(()), of_text(&text, errors)),
            TextOrSection::Section(section) => (section.here(), of_section(section, errors)),
        };
        if index == MOST {
            errors.at(&at, "is the third host on the way", format!("at most {MOST}"));
        }
        jumps.extend(jump);
    }
    jumps
}

/// `user@host:port`, where user and port are optional; an IPv6 address with a port is in brackets.
fn of_text(text: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Jump> {
    let (user, rest) = match text.value.rsplit_once('@') {
        Some((user, rest)) => (Some(login(&text.with(user.to_owned()), errors)?), rest),
        None => (None, text.value.as_str()),
    };
    let (name, number) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((inner, "")) => (inner, None),
        Some((inner, number)) => (inner, Some(number.strip_prefix(':').unwrap_or(number))),
        // More than one colon: an IPv6 address by itself.
        None => match rest.split_once(':') {
            Some((name, number)) if !number.contains(':') => (name, Some(number)),
            _ => (rest, None),
        },
    };
    let number = match number {
        Some(number) => {
            let Ok(number) = number.parse::<i64>() else {
                return errors.none(text, format!("{number:?} is not a port"), "\"user@bastion.example.com:22\"");
            };
            port(&text.with(number), errors)?
        }
        None => SSH_PORT,
    };
    let host = host(&text.with(name.to_owned()), errors)?;
    Some(jump(host, number, user))
}

fn of_section(mut section: Section<'_>, errors: &ConfigErrors<'_>) -> Option<Jump> {
    section.required("address", "address = \"192.0.2.9\"");
    let host = section.string("address").and_then(|address| host(&address, errors));
    let user = section.string("user").and_then(|user| login(&user, errors));
    let number = section.integer("port").map_or(Some(SSH_PORT), |number| port(&number, errors));
    let identity_files = section.strings("identity_files").map(|files| identities(&files, false, errors));
    let host_keys = host_keys(section.one_or_more("host_key"), errors);
    section.finish();
    Some(Jump { identity_files, host_keys, ..jump(host?, number?, user) })
}

fn jump(host: Host, port: u16, user: Option<String>) -> Jump {
    let port_text = if port == SSH_PORT { String::new() } else { format!(" port {port}") };
    // A DNS name may be longer than a node's name; its beginning suffices.
    let text: String = format!("jump host {host}").chars().take(64 - port_text.len()).collect();
    let name = NodeName::parse(&format!("{text}{port_text}"));
    // Hosts and ports have no control characters, and both ends are visible.
    let name = name.unwrap_or_else(|bad| unreachable!("{bad}"));
    Jump { name, host, port, user, identity_files: None, host_keys: Vec::new() }
}
