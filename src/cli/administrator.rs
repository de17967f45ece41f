//! What the commands share that log in to a node as its administrator.

use core::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use crate::config::{self, Host};
use crate::node::receiver::{Account, BadAccount};
use crate::ssh::{Endpoint, Identity};
use crate::store::secret;

use super::fault::Fault;
use super::{Options, Output, output, progress};

/// The user, and the host when it is not the configured one.
pub(super) fn administrator(
    login: Option<&str>,
    node: &config::Node,
    account: Option<&Account>,
) -> Result<(String, Option<Host>), Fault> {
    let (user, host) = match login {
        None => (node.ssh.user.as_str(), None),
        Some(login) => match login.rsplit_once('@') {
            Some((user, host)) => (user, Some(host)),
            None => (login, None),
        },
    };
    let next = "next: give an administrator's login: --login root, or --login USER@HOST";
    if account.is_some_and(|account| user == account.as_str()) {
        return Err(Fault::usage(format!(
            "{user} is the receiver account, which can only accept certificates\n  {next}"
        )));
    }
    if user.is_empty() || user.starts_with('-') || user.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Fault::usage(format!("{user:?} is not a login name\n  {next}")));
    }
    let host = host.map(|text| {
        let host = text.trim_matches(['[', ']']);
        let address = host.parse().map(Host::Ip).ok();
        address.or_else(|| crate::cert::DnsName::parse(host).map(Host::Name).ok())
    });
    match host {
        Some(None) => Err(Fault::usage(format!("the login has neither an address nor a DNS name after @\n  {next}"))),
        Some(host) => Ok((user.to_owned(), host)),
        None => Ok((user.to_owned(), None)),
    }
}

/// Empty: use the configured identities.
pub(super) fn identities(files: &[PathBuf]) -> Result<Vec<Identity>, Fault> {
    let read = |file: &PathBuf| {
        let pem = secret::read_text(file)?;
        Ok(Identity::new(file.clone(), pem))
    };
    files.iter().map(read).collect()
}

pub(super) fn with(endpoint: Endpoint, identities: Vec<Identity>) -> Endpoint {
    if identities.is_empty() { endpoint } else { Endpoint { identities, ..endpoint } }
}

pub(super) fn heading(title: &str, lines: &[String]) -> String {
    let mut text = format!("{title}\n");
    lines.iter().for_each(|line| _ = writeln!(text, "  {line}"));
    text
}

pub(super) fn bad_word(bad: BadAccount) -> Fault {
    let next = match bad {
        BadAccount::Name(_) => "give --account certd, or another name",
        BadAccount::From(_) => "give --from with this controller's address as the node sees it",
    };
    Fault::usage(format!("{bad}\n  next: {next}"))
}

/// On a terminal, asks; elsewhere `--yes` is required.
pub(super) fn confirm(what: &str) -> Result<(), Fault> {
    if !std::io::stdin().is_terminal() {
        return Err(Fault::usage(format!("nothing was done: this would {what}\n  next: give --yes to confirm")));
    }
    progress::line(&format!("Type yes to {what}:"));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    if read.is_ok() && line.trim() == "yes" { Ok(()) } else { Err(Fault::usage("nothing was done")) }
}

/// stdout carries the report alone where a program reads it.
pub(super) fn say(text: &str, options: &Options) {
    match options.output {
        Output::Text => output::text(text),
        Output::Json => text.lines().for_each(progress::line),
    }
}
