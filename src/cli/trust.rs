use core::fmt::Write as _;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use crate::cert::NodeName;
use crate::config::{Config, Host, HostKey, Node};
use crate::context::secrets::Secrets;
use crate::observe;
use crate::report::Exit;
use crate::ssh::{self, Endpoint, HostKeys};
use crate::store::guard::Writers;
use crate::store::owner;
use crate::text::list;

use super::fault::Fault;
use super::{Options, output, setup};

mod known_hosts;
mod pins;

use known_hosts::KnownHosts;
use pins::Pins;

/// Show a node's host keys, and the command that prints them on the node
///
/// Compare the two before you pin a key: the network may show an attacker's key. For each key, prints whether it is
/// pinned and where. `host_key` in the configuration takes precedence over known_hosts.
#[derive(Args)]
pub(super) struct Trust {
    /// Names of nodes in the configuration.
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
    /// Append the keys to the known_hosts file (`ssh.known_hosts`), which applies to nodes without `host_key`.
    #[arg(long)]
    write: bool,
}

const DEADLINE: Duration = Duration::from_secs(20);

impl Trust {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let names = setup::nodes(&config, &self.nodes)?;
        let found =
            |name: &NodeName| config.node(name).cloned().or_else(|| config.node_at(name.as_str().parse().ok()?));
        let nodes: Vec<Node> = names.iter().filter_map(found).collect();
        // Secrets are needed only to log in to a jump host.
        let jumps = nodes.iter().any(|node| !node.ssh.jumps.is_empty());
        let secrets = if jumps { Some(Secrets::read(&config)?) } else { None };
        let mut files = self.known_hosts(&config, &nodes)?;
        let (pins, failures) = Pins::read(&config, &options.config, nodes.iter().map(|node| &node.ssh));
        for failure in failures {
            super::progress::line(&format!("certd: {}\n  next: {}", failure.what, failure.next));
        }
        // Drop root before connecting to hosts whose identity is not verified yet.
        owner::become_owner(&config.state_dir)?;
        let runtime = setup::runtime()?;
        let mut exit = Exit::Ok;
        // The keys of each jump host and what was shown of them, by the path that leads there, or none where it failed:
        // nodes may share it, and sshd may punish connections without a login.
        let mut asked: BTreeMap<String, Option<(Vec<HostKey>, String)>> = BTreeMap::new();
        for node in &nodes {
            let hosts = match runtime.block_on(hosts(node, secrets.as_ref())) {
                Ok(hosts) => hosts,
                Err(text) => {
                    super::progress::line(&format!("certd: {text}"));
                    exit = Exit::NotDelivered;
                    continue;
                }
            };
            let jumps = hosts.len().saturating_sub(1);
            let mut path = String::new();
            for (index, host) in hosts.into_iter().enumerate() {
                let _ = write!(path, " {}:{}", host.host, host.port);
                // The configuration always has at least one file.
                let file = node.ssh.known_hosts.first().and_then(|path| files.get_mut(path));
                match asked.get(&path).filter(|_| index < jumps) {
                    Some(Some((keys, shown))) => {
                        // Nodes may pin it differently.
                        let text = show(&host, keys, &pins, &node.ssh.known_hosts);
                        let is_new = text != *shown;
                        if is_new {
                            output::text(&text);
                        }
                        if let Some(file) = file {
                            let written = append(file, &host, keys)?;
                            let head = format!("{} ({})\n", host.endpoint.node, known_as(&host));
                            output::text(&format!("{}{written}", if is_new { "" } else { &head }));
                        }
                        continue;
                    }
                    Some(None) => {
                        let stop = &host.endpoint.node;
                        super::progress::line(&format!("certd: {}: not asked, since {stop} failed before", node.name));
                        exit = Exit::NotDelivered;
                        break;
                    }
                    None => {}
                }
                match runtime.block_on(ssh::host_keys(host.endpoint.clone(), DEADLINE)) {
                    Ok(HostKeys { keys, turned_away }) => {
                        if let Some(error) = turned_away {
                            let text = format!("certd: {error}\n  next: {}", error.next());
                            super::progress::line(&format!("{text}\n  it may have keys of further kinds"));
                        }
                        let shown = show(&host, &keys, &pins, &node.ssh.known_hosts);
                        output::text(&shown);
                        if let Some(file) = file {
                            output::text(&append(file, &host, &keys)?);
                        }
                        asked.insert(path.clone(), Some((keys, shown)));
                    }
                    Err(error) => {
                        asked.insert(path.clone(), None);
                        super::progress::line(&format!("certd: {error}\n  next: {}", error.next()));
                        exit = Exit::NotDelivered;
                        break;
                    }
                }
            }
        }
        Ok(exit.code())
    }

    /// The files that keys are written to. A file that only root can write is opened while certd is root. A file that
    /// another user can replace is opened later, with that user's rights at most.
    fn known_hosts(&self, config: &Config, nodes: &[Node]) -> Result<BTreeMap<PathBuf, KnownHosts>, Fault> {
        let paths = nodes.iter().filter_map(|node| node.ssh.known_hosts.first()).filter(|_| self.write);
        let paths: BTreeSet<&PathBuf> = paths.collect();
        let mut files = BTreeMap::new();
        for path in paths {
            Writers::of_state(&config.state_dir).check(path)?;
            let mut file = KnownHosts::new(path);
            if Writers::root().check(path).is_ok() {
                file.open()?;
            }
            files.insert(path.clone(), file);
        }
        Ok(files)
    }
}

/// A node, or a jump host that leads to one.
struct Shown<'a> {
    host: &'a Host,
    port: u16,
    pinned: &'a [HostKey],
    endpoint: Endpoint,
}

/// The jump hosts, nearest first, and the node.
async fn hosts<'a>(node: &'a Node, secrets: Option<&Secrets>) -> Result<Vec<Shown<'a>>, String> {
    let mut addresses: Vec<Vec<SocketAddr>> = Vec::new();
    let Some(first) = node.addresses.first() else { return Err(format!("{}: has no address", node.name)) };
    let stops = node.ssh.jumps.iter().map(|jump| (&jump.host, jump.port, jump.host_keys.as_slice()));
    let stops: Vec<_> = stops.chain([(first, node.ssh.port, node.ssh.host_keys.as_slice())]).collect();
    for (host, port, _) in &stops {
        let found =
            observe::route::resolve(host, *port).await.map_err(|silence| format!("{}: {silence}", node.name))?;
        addresses.push(found);
    }
    let nowhere = || format!("{}: has no address", node.name);
    let (of_node, jumps) = addresses.split_last().ok_or_else(nowhere)?;
    let endpoint = match secrets {
        Some(secrets) => secrets.endpoint(node, of_node, jumps),
        None => of_node.split_first().map(|(address, others)| Endpoint {
            others: others.to_vec(),
            ..Endpoint::new(node.name.clone(), *address, String::new(), Vec::new(), Vec::new())
        }),
    };
    let mut endpoint = endpoint.ok_or_else(nowhere)?;
    let mut shown = Vec::new();
    for (host, port, pinned) in stops.into_iter().rev() {
        let before = endpoint.jump.clone();
        shown.push(Shown { host, port, pinned, endpoint });
        let Some(before) = before else { break };
        endpoint = *before;
    }
    shown.reverse();
    Ok(shown)
}

fn show(shown: &Shown<'_>, keys: &[HostKey], pins: &Pins, files: &[PathBuf]) -> String {
    let mut text = format!("{} ({})\n", shown.endpoint.node, known_as(shown));
    let pins = pins.of(shown.pinned, files, &shown.host.to_string(), shown.port);
    for key in keys {
        let _ = writeln!(text, "  {}", line(key));
        let _ = writeln!(text, "    {}; {}", ssh::fingerprint(key), pins.verdict(key));
    }
    text.push_str(&pins.what_counts());
    text.push_str("  on the node: for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done\n");
    text
}

/// Returns the line to print. A key that is already in the file is not written again.
fn append(file: &mut KnownHosts, shown: &Shown<'_>, keys: &[HostKey]) -> Result<String, Fault> {
    let count =
        file.add(&shown.host.to_string(), shown.port, |key| format!("{} {}", known_as(shown), line(key)), keys)?;
    Ok(format!("  written: {} to {}\n", list::count(count, "key"), file.path().display()))
}

fn line(key: &HostKey) -> String {
    format!("{} {}", key.algorithm, STANDARD.encode(&key.blob))
}

/// As known_hosts writes it: `host`, or `[host]:port` for another port than 22 (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
fn known_as(shown: &Shown<'_>) -> String {
    match shown.port {
        22 => shown.host.to_string(),
        port => format!("[{}]:{port}", shown.host),
    }
}
