//! Which nodes there are, and which host keys they show.

use core::fmt::Write as _;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cert::DnsName;
use crate::config::HostKey;
use crate::config::draft::{Draft, DraftNode};
use crate::context::Context;
use crate::ops::init;
use crate::ssh;
use crate::text::list;

use super::asking::Session;
use super::{Fault, Missing, flaw, node_name, provisional};

/// On the node's console.
const ON_THE_NODE: &str = "for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done";

/// Of nodes that DNS shows.
const MOST_ADDRESSES: usize = 100;

impl Session {
    /// Those of `--node`, else one for each address that DNS shows and `known` has not. A name that nobody gave is the
    /// address.
    pub(super) fn candidates(
        &self,
        context: &Arc<Context>,
        domains: &[DnsName],
        known: &BTreeSet<IpAddr>,
    ) -> Result<Vec<DraftNode>, Fault> {
        if !self.init.nodes.is_empty() {
            return self.init.nodes.iter().map(|text| of_option(text)).collect();
        }
        let mut found: BTreeSet<IpAddr> = BTreeSet::new();
        for name in domains.iter().filter(|name| !name.is_wildcard()) {
            match self.runtime.block_on(init::addresses(context, name)) {
                Ok(addresses) if addresses.is_empty() => self.say(&format!("{name}: DNS shows no address")),
                Ok(addresses) => {
                    self.say(&format!("{name}: DNS shows {}", list::first(50, &addresses)));
                    found.extend(addresses);
                }
                Err(failure) => self.say(&format!("{}\n  next: {}", failure.named(), failure.next)),
            }
        }
        if found.len() > MOST_ADDRESSES {
            return Err(Fault::usage(format!(
                "DNS shows {} addresses, more than nodes of one service have: these may be a CDN's\n  next: give the nodes: \
                 --node NAME=ADDRESS, for each",
                found.len()
            )));
        }
        let node = |address: &IpAddr| DraftNode {
            name: address.to_string(),
            addresses: vec![address.to_string()],
            ..DraftNode::default()
        };
        Ok(found.difference(known).map(node).collect())
    }

    /// Asks for nodes where there is none.
    pub(super) fn asked_nodes(
        &self,
        draft: &Draft,
        candidates: Vec<DraftNode>,
        missing: &mut Vec<Missing>,
    ) -> Result<Vec<DraftNode>, Fault> {
        if !candidates.is_empty() {
            return Ok(candidates);
        }
        let Some(terminal) = &self.terminal else {
            let what = "the nodes, which DNS does not show".to_owned();
            missing.push(Missing { what, option: "--node NAME=ADDRESS, for each" });
            return Ok(candidates);
        };
        let parse = |answer: &str| -> Result<Vec<DraftNode>, String> {
            answer.split_whitespace().map(|text| of_option(text).map_err(|fault| fault.texts.concat())).collect()
        };
        let check = |answer: &str| {
            let nodes = parse(answer)?;
            if nodes.is_empty() {
                return Err("at least one".to_owned());
            }
            flaw(&Draft { nodes, ..draft.clone() })
        };
        let answer = terminal.line("Nodes, as NAME=ADDRESS, a space between them", "", check)?;
        parse(&answer).map_err(Fault::usage)
    }

    /// With the keys that they show, once somebody has compared them.
    pub(super) fn pinned(&self, draft: &Draft, nodes: Vec<DraftNode>) -> Result<Vec<DraftNode>, Fault> {
        let with_nodes = Draft { nodes: nodes.clone(), ..draft.clone() };
        let context = self.context(provisional(&with_nodes)?, None)?;
        let shown = self.runtime.block_on(init::host_keys(&context));
        let mut keys: BTreeMap<String, Vec<HostKey>> = BTreeMap::new();
        let mut silent = Vec::new();
        for (name, result) in shown {
            match result {
                Ok(of_node) => _ = keys.insert(name.to_string(), one_kind(of_node)),
                Err(failure) => {
                    self.say(&format!("certd: {}\n  next: {}", failure.named(), failure.next));
                    silent.push(name.to_string());
                }
            }
        }
        if keys.is_empty() {
            let next = "next: see that sshd of the nodes is reached from here (--set ssh.port=…, --set ssh.jump=…)";
            return Err(Fault::usage(format!("no node shows a host key: nothing was written\n  {next}")));
        }
        let mut pinned: Vec<DraftNode> = Vec::new();
        for node in nodes {
            let host_keys = keys.remove(&node.name).unwrap_or_default();
            let node = DraftNode { host_keys, ..node };
            match other_family(&pinned, &node) {
                Some(number) => pinned[number].addresses.extend(node.addresses),
                None => pinned.push(node),
            }
        }
        self.say(&table(&pinned));
        for (one, other) in alike(&pinned) {
            self.say(&format!(
                "certd: {one} and {other} show one host key: one machine at two addresses (--node NAME=ADDRESS,ADDRESS), or \
                 copies of one image, which should get keys of their own"
            ));
        }
        if !silent.is_empty() {
            let silent = list::first(10, &silent);
            self.say(&format!("without a host key certd does not log in: {silent}; fetch it later with `certd trust`"));
        }
        self.compared(pinned)
    }

    fn compared(&self, mut nodes: Vec<DraftNode>) -> Result<Vec<DraftNode>, Fault> {
        let next = format!("next: on each node's console (not over this network) run: {ON_THE_NODE}");
        let accepted = &self.init.fingerprint;
        if !accepted.is_empty() {
            for node in &mut nodes {
                let is_known = |key: &HostKey| {
                    let fingerprint = ssh::fingerprint(key);
                    accepted
                        .iter()
                        .any(|accepted| fingerprint.ends_with(accepted.as_str()) && accepted.starts_with("SHA256:"))
                };
                let shows_some = !node.host_keys.is_empty();
                node.host_keys.retain(is_known);
                if shows_some && node.host_keys.is_empty() {
                    let name = &node.name;
                    return Err(Fault::usage(format!(
                        "{name} shows no key with a fingerprint of --fingerprint\n  {next}"
                    )));
                }
            }
            return Ok(nodes);
        }
        let Some(terminal) = self.terminal.as_ref().filter(|_| !self.init.accept_host_keys) else { return Ok(nodes) };
        self.say(&format!(
            "Compare them on each node's console, which does not lead over this network:\n  {ON_THE_NODE}"
        ));
        if terminal.confirm("Do all of them agree?", false)? {
            return Ok(nodes);
        }
        Err(Fault::usage(format!("nothing was written\n  {next}; where one differs, somebody may be in between")))
    }

    /// The names that nobody gave: asked for, or `node-1`, `node-2`.
    pub(super) fn named(
        &self,
        draft: &Draft,
        mut nodes: Vec<DraftNode>,
        taken: &[String],
    ) -> Result<Vec<DraftNode>, Fault> {
        let is_unnamed = |node: &DraftNode| node.addresses.contains(&node.name);
        let names: BTreeSet<String> = nodes.iter().map(|node| node.name.clone()).chain(taken.iter().cloned()).collect();
        let mut free = (1..).map(|number| format!("node-{number}")).filter(|name| !names.contains(name));
        let unnamed: Vec<usize> = (0..nodes.len()).filter(|number| is_unnamed(&nodes[*number])).collect();
        if unnamed.is_empty() {
            return Ok(nodes);
        }
        let proposed: Vec<String> = unnamed.iter().filter_map(|_| free.next()).collect();
        let split = |answer: &str| answer.split(',').map(|name| name.trim().to_owned()).collect::<Vec<String>>();
        let chosen = match &self.terminal {
            None => proposed,
            Some(terminal) => {
                let addresses: Vec<&str> = unnamed.iter().map(|number| nodes[*number].addresses[0].as_str()).collect();
                let prompt = format!("Names of {}, in this order (- leaves one out)", addresses.join(", "));
                let check = |answer: &str| {
                    let names = split(answer);
                    if names.len() != unnamed.len() {
                        return Err(format!(
                            "{} were expected, with commas between them",
                            list::count(unnamed.len(), "name")
                        ));
                    }
                    let node =
                        |name: &String| DraftNode { name: name.clone(), addresses: Vec::new(), ..DraftNode::default() };
                    let mut number = 0;
                    let mut nodes: Vec<DraftNode> = names.iter().filter(|name| *name != "-").map(node).collect();
                    for node in &mut nodes {
                        number += 1;
                        node.addresses.push(format!("192.0.2.{}", number % 250 + 1));
                    }
                    if let Some(twice) = names.iter().find(|name| *name != "-" && taken.contains(name)) {
                        return Err(format!("{twice:?} is there already"));
                    }
                    if nodes.len() > 200 { Ok(()) } else { flaw(&Draft { nodes, ..draft.clone() }) }
                };
                split(&terminal.line(&prompt, &proposed.join(", "), check)?)
            }
        };
        for (number, name) in unnamed.into_iter().zip(chosen) {
            node_name(&name)?;
            nodes[number].name = name;
        }
        nodes.retain(|node| node.name != "-");
        if nodes.is_empty() { Err(Fault::usage("no node is left\n  next: run certd init again")) } else { Ok(nodes) }
    }
}

/// `[NAME=]ADDRESS[,ADDRESS]`.
fn of_option(text: &str) -> Result<DraftNode, Fault> {
    let (name, addresses) = match text.split_once('=') {
        Some((name, addresses)) => (name.trim().to_owned(), addresses),
        None => (text.split(',').next().unwrap_or_default().trim().to_owned(), text),
    };
    node_name(&name)?;
    let addresses = addresses.split(',').map(|address| address.trim().trim_matches(['[', ']']).to_owned()).collect();
    Ok(DraftNode { name, addresses, ..DraftNode::default() })
}

/// The kind that certd prefers, or all that there is.
fn one_kind(keys: Vec<HostKey>) -> Vec<HostKey> {
    let best: Vec<HostKey> = keys.iter().filter(|key| key.algorithm == "ssh-ed25519").cloned().collect();
    if best.is_empty() { keys } else { best }
}

/// The machine that this address of the other family belongs to, by the host key: of nodes that DNS showed alone.
fn other_family(nodes: &[DraftNode], node: &DraftNode) -> Option<usize> {
    let family = |node: &DraftNode| match node.addresses.as_slice() {
        [address] if *address == node.name => address.parse::<IpAddr>().ok().map(|ip| ip.is_ipv4()),
        _ => None,
    };
    let own = family(node).filter(|_| !node.host_keys.is_empty())?;
    let mut same = (0..nodes.len()).filter(|number| {
        let other = &nodes[*number];
        other.host_keys == node.host_keys && family(other).is_some_and(|family| family != own)
    });
    let found = same.next();
    found.filter(|_| same.next().is_none())
}

fn alike(nodes: &[DraftNode]) -> Vec<(&str, &str)> {
    let mut first: BTreeMap<String, &str> = BTreeMap::new();
    let mut pairs = Vec::new();
    for node in nodes {
        for key in &node.host_keys {
            if let Some(other) = first.insert(key.to_string(), &node.name) {
                pairs.push((other, node.name.as_str()));
            }
        }
    }
    pairs
}

fn table(nodes: &[DraftNode]) -> String {
    let mut text = String::from("host keys that the nodes show:\n");
    for node in nodes {
        let addresses = node.addresses.join(", ");
        let _ = if node.name == node.addresses[0] {
            writeln!(text, "  {addresses}")
        } else {
            writeln!(text, "  {} ({addresses})", node.name)
        };
        for key in &node.host_keys {
            let _ = writeln!(text, "    {}", ssh::fingerprint(key));
        }
        if node.host_keys.is_empty() {
            text.push_str("    none\n");
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str, key: u8) -> DraftNode {
        let key = HostKey { algorithm: "ssh-ed25519".to_owned(), blob: vec![key] };
        DraftNode {
            name: address.to_owned(),
            addresses: vec![address.to_owned()],
            host_keys: vec![key],
            ..DraftNode::default()
        }
    }

    #[test]
    fn an_address_of_each_family_with_one_key_is_one_machine_and_two_of_one_family_are_not() {
        let known = [node("192.0.2.1", 1), node("192.0.2.2", 2)];
        assert_eq!(other_family(&known, &node("2001:db8::2", 2)), Some(1));
        assert_eq!(other_family(&known, &node("2001:db8::3", 3)), None);
        assert_eq!(other_family(&known, &node("192.0.2.3", 1)), None);
        let copies = [node("192.0.2.1", 1), node("192.0.2.2", 1)];
        assert_eq!(other_family(&copies, &node("2001:db8::1", 1)), None, "which of the two is not known");
        assert_eq!(alike(&copies), [("192.0.2.1", "192.0.2.2")]);
        let named = DraftNode { name: "a".to_owned(), ..node("2001:db8::2", 2) };
        assert_eq!(other_family(&known, &named), None, "somebody said that it is a node");
    }

    #[test]
    fn a_node_is_written_with_or_without_its_name() {
        let of = |text: &str| of_option(text).map(|node| (node.name, node.addresses)).map_err(|fault| fault.texts);
        assert_eq!(of("a=192.0.2.1,[2001:db8::1]").unwrap().1, ["192.0.2.1", "2001:db8::1"]);
        assert_eq!(of("192.0.2.1").unwrap().0, "192.0.2.1");
        assert!(of("=192.0.2.1").is_err());
    }
}
