use core::fmt::Write as _;
use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;

use crate::cert::NodeName;
use crate::config::{Host, HostKey, Node};
use crate::pass::observe;
use crate::report::Exit;
use crate::ssh;

use super::fault::Fault;
use super::{Options, output, setup};

/// Fetch and show a node's host keys, and the command that shows them on the node itself
///
/// Compare the two before you pin a key: what the network shows may be somebody else's.
#[derive(Args)]
pub(super) struct Trust {
    /// Names of nodes, as the configuration has them.
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<String>,
    /// Append the keys to the known_hosts file (`ssh.known_hosts`), which counts for nodes without `host_key`.
    #[arg(long)]
    write: bool,
}

const DEADLINE: Duration = Duration::from_secs(20);

impl Trust {
    pub(super) fn run(&self, options: &Options) -> Result<u8, Fault> {
        let config = setup::configuration(&options.config)?;
        let names = setup::nodes(&config, &self.nodes)?;
        let runtime = setup::runtime()?;
        let mut exit = Exit::Ok;
        let found =
            |name: &NodeName| config.node(name).cloned().or_else(|| config.node_at(name.as_str().parse().ok()?));
        for node in names.iter().filter_map(found) {
            match runtime.block_on(fetch(&node)) {
                Ok(keys) => {
                    output::text(&show(&node, &keys));
                    if self.write {
                        append(&node, &keys)?;
                    }
                }
                Err(text) => {
                    super::progress::line(&format!("certd: {text}"));
                    exit = Exit::NotDelivered;
                }
            }
        }
        Ok(exit.code())
    }
}

async fn fetch(node: &Node) -> Result<Vec<HostKey>, String> {
    let Some(host) = node.addresses.first() else { return Err(format!("{}: has no address", node.name)) };
    let addresses = observe::resolve(host, node.ssh.port).await;
    let addresses = addresses.map_err(|silence| format!("{}: {silence}", node.name))?;
    let Some(address) = addresses.first() else { return Err(format!("{}: has no address", node.name)) };
    let keys = ssh::host_keys(node.name.clone(), *address, DEADLINE).await;
    keys.map_err(|error| format!("{error}\n  next: {}", error.next()))
}

fn show(node: &Node, keys: &[HostKey]) -> String {
    let mut text = format!("{} ({})\n", node.name, known_as(node));
    for key in keys {
        let _ = writeln!(text, "  {}", line(key));
        let pinned = if node.ssh.host_keys.contains(key) { "; pinned in the configuration" } else { "" };
        let _ = writeln!(text, "    {}{pinned}", ssh::fingerprint(key));
    }
    text.push_str("  on the node: for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done\n");
    text
}

/// A key that stands there already is not written again.
fn append(node: &Node, keys: &[HostKey]) -> Result<(), Fault> {
    let path = &node.ssh.known_hosts;
    let failed = |error: std::io::Error| {
        Fault::usage(format!("{}: {error}\n  next: see ssh.known_hosts in the configuration", path.display()))
    };
    let text = if path.exists() { std::fs::read_to_string(path).map_err(failed)? } else { String::new() };
    let host = host(node);
    let known = ssh::known_host_keys(&text, &host, node.ssh.port);
    let new: Vec<&HostKey> = keys.iter().filter(|key| !known.contains(key)).collect();
    let lines: String = new.iter().map(|key| format!("{} {}\n", known_as(node), line(key))).collect();
    write_lines(path, &lines).map_err(failed)?;
    let count = new.len();
    output::text(&format!("  written: {count} {} to {}\n", if count == 1 { "key" } else { "keys" }, path.display()));
    Ok(())
}

fn write_lines(path: &Path, lines: &str) -> std::io::Result<()> {
    let new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    if new {
        // Whatever the umask: the account that certd runs as by timer reads it too, and host keys are no secret.
        file.set_permissions(Permissions::from_mode(0o644))?;
    }
    file.write_all(lines.as_bytes())?;
    file.sync_all()
}

fn line(key: &HostKey) -> String {
    format!("{} {}", key.algorithm, STANDARD.encode(&key.blob))
}

/// As known_hosts writes it: `host`, or `[host]:port` for another port than 22 (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
fn known_as(node: &Node) -> String {
    match node.ssh.port {
        22 => host(node),
        port => format!("[{}]:{port}", host(node)),
    }
}

fn host(node: &Node) -> String {
    match node.addresses.first() {
        Some(Host::Ip(ip)) => ip.to_string(),
        Some(Host::Name(name)) => name.to_string(),
        None => String::new(),
    }
}
