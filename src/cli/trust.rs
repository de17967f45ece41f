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
use crate::config::{Config, Host, HostKey, Node};
use crate::pass::{Secrets, observe};
use crate::report::Exit;
use crate::ssh::{self, Endpoint};

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
        for node in &names.iter().filter_map(found).collect::<Vec<Node>>() {
            // Only who must log in to a host on the way needs the secrets.
            let secrets = if node.ssh.jumps.is_empty() { None } else { Some(read_secrets(&config)?) };
            let hosts = match runtime.block_on(hosts(node, secrets.as_ref())) {
                Ok(hosts) => hosts,
                Err(text) => {
                    super::progress::line(&format!("certd: {text}"));
                    exit = Exit::NotDelivered;
                    continue;
                }
            };
            for host in hosts {
                match runtime.block_on(ssh::host_keys(host.endpoint.clone(), DEADLINE)) {
                    Ok(keys) => {
                        output::text(&show(&host, &keys));
                        if self.write {
                            append(node, &host, &keys)?;
                        }
                    }
                    Err(error) => {
                        super::progress::line(&format!("certd: {error}\n  next: {}", error.next()));
                        exit = Exit::NotDelivered;
                        break;
                    }
                }
            }
        }
        Ok(exit.code())
    }
}

fn read_secrets(config: &Config) -> Result<Secrets, Fault> {
    Secrets::read(config).map_err(|failure| Fault::of_configuration(&failure))
}

/// A node, or a jump host that leads to one.
struct Shown<'a> {
    host: &'a Host,
    port: u16,
    pinned: &'a [HostKey],
    endpoint: Endpoint,
}

/// The hosts on the way, the nearest first, and the node.
async fn hosts<'a>(node: &'a Node, secrets: Option<&Secrets>) -> Result<Vec<Shown<'a>>, String> {
    let mut addresses = Vec::new();
    let Some(first) = node.addresses.first() else { return Err(format!("{}: has no address", node.name)) };
    let ways = node.ssh.jumps.iter().map(|jump| (&jump.host, jump.port, jump.host_keys.as_slice()));
    let ways: Vec<_> = ways.chain([(first, node.ssh.port, node.ssh.host_keys.as_slice())]).collect();
    for (host, port, _) in &ways {
        let found = observe::resolve(host, *port).await.map_err(|silence| format!("{}: {silence}", node.name))?;
        addresses.extend(found.first());
    }
    let Some((address, jumps)) = addresses.split_last() else { return Err(format!("{}: has no address", node.name)) };
    let mut endpoint = match secrets {
        Some(secrets) => secrets.endpoint(node, *address, jumps),
        None => Endpoint::new(node.name.clone(), *address, String::new(), Vec::new(), Vec::new()),
    };
    let mut shown = Vec::new();
    for (host, port, pinned) in ways.into_iter().rev() {
        let before = endpoint.jump.clone();
        shown.push(Shown { host, port, pinned, endpoint });
        let Some(before) = before else { break };
        endpoint = *before;
    }
    shown.reverse();
    Ok(shown)
}

fn show(shown: &Shown<'_>, keys: &[HostKey]) -> String {
    let mut text = format!("{} ({})\n", shown.endpoint.node, known_as(shown));
    for key in keys {
        let _ = writeln!(text, "  {}", line(key));
        let pinned = if shown.pinned.contains(key) { "; pinned in the configuration" } else { "" };
        let _ = writeln!(text, "    {}{pinned}", ssh::fingerprint(key));
    }
    text.push_str("  on the node: for f in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $f; done\n");
    text
}

/// A key that stands there already is not written again.
fn append(node: &Node, shown: &Shown<'_>, keys: &[HostKey]) -> Result<(), Fault> {
    // The configuration has at least one.
    let Some(path) = node.ssh.known_hosts.first() else { return Ok(()) };
    let failed = |error: std::io::Error| {
        Fault::usage(format!("{}: {error}\n  next: see ssh.known_hosts in the configuration", path.display()))
    };
    let text = if path.exists() { std::fs::read_to_string(path).map_err(failed)? } else { String::new() };
    let known = ssh::known_hosts([text.as_str()], &shown.host.to_string(), shown.port);
    let new: Vec<&HostKey> = keys.iter().filter(|key| !known.keys.contains(key)).collect();
    let lines: String = new.iter().map(|key| format!("{} {}\n", known_as(shown), line(key))).collect();
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
fn known_as(shown: &Shown<'_>) -> String {
    match shown.port {
        22 => shown.host.to_string(),
        port => format!("[{}]:{port}", shown.host),
    }
}
