//! Files that cannot be used: each is a finding, and tests that need it are skipped.

use crate::config::{Config, Node, Ssh};
use crate::context::secrets::{NeededFor, Unread, identity_files};
use crate::model::Finding;
use crate::report::doctor::{Area, CheckupItem};
use crate::text::list;

pub(crate) struct Missing(Vec<Unread>);

impl Missing {
    pub(crate) fn new(unread: Vec<Unread>) -> Self {
        Self(unread)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn dns(&self) -> bool {
        self.any(|needed_for| matches!(needed_for, NeededFor::Dns | NeededFor::DnsSection | NeededFor::Network))
    }

    pub(crate) fn ca(&self, host: &str) -> bool {
        self.any(|needed_for| match needed_for {
            NeededFor::Ca(of) => of == host,
            NeededFor::Network => true,
            _ => false,
        })
    }

    pub(crate) fn issuer_roots(&self) -> bool {
        self.any(|needed_for| *needed_for == NeededFor::IssuerRoots)
    }

    pub(crate) fn node(&self, node: &Node) -> bool {
        self.any(|needed_for| is_login_of(needed_for, &node.ssh))
    }

    pub(crate) fn findings(&self, config: &Config) -> Vec<CheckupItem> {
        let one = |unread: &Unread| {
            let (area, untried) = match &unread.needed_for {
                NeededFor::Dns | NeededFor::DnsSection => (Area::Dns, "no TXT record was tested".to_owned()),
                NeededFor::Ca(host) => (Area::Ca, format!("{host} was not asked")),
                // It stops every order.
                NeededFor::Network => (Area::Ca, "neither the CAs nor the DNS provider were asked".to_owned()),
                NeededFor::IssuerRoots => (Area::Ca, "no certificate can be verified".to_owned()),
                NeededFor::Login(_) => (Area::Nodes, format!("not tested: {}", nodes(config, &unread.needed_for))),
            };
            let failure = Finding { what: format!("{}; {untried}", unread.failure.what), ..unread.failure.clone() };
            CheckupItem::bad(area, &failure)
        };
        self.0.iter().map(one).collect()
    }

    fn any(&self, is: impl Fn(&NeededFor) -> bool) -> bool {
        self.0.iter().any(|unread| is(&unread.needed_for))
    }
}

fn is_login_of(needed_for: &NeededFor, ssh: &Ssh) -> bool {
    let NeededFor::Login(file) = needed_for else { return false };
    identity_files(ssh).chain(&ssh.passphrase_file).chain(&ssh.known_hosts).any(|own| own == file)
}

/// The first few nodes whose login needs the file.
fn nodes(config: &Config, needed_for: &NeededFor) -> String {
    const SHOWN: usize = 5;
    let nodes = config.nodes.iter().filter(|node| is_login_of(needed_for, &node.ssh));
    let names = list::first(SHOWN, nodes.map(|node| &node.name));
    if names.is_empty() { "discovered nodes".to_owned() } else { names }
}
