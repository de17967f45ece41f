//! Which nodes are read, and how certd logs in to them.

use core::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cert::{DnsName, NodeName, Roots};
use crate::config::defaults::{IDENTITY_FILE, KNOWN_HOSTS};
use crate::config::draft::{Draft, DraftCertificate, DraftDns, DraftInstall, DraftNode, DraftSsh};
use crate::config::{self, Config, Host, HostKey};
use crate::context::secrets::Secrets;
use crate::import::{Files, Place};
use crate::model::{Code, Finding};
use crate::ops::import as ops;
use crate::ops::receiver;
use crate::ssh::Endpoint;

use super::super::fault::Fault;
use super::super::{administrator, setup};

#[derive(Args)]
pub(super) struct Nodes {
    /// The administrator's login on the nodes: root, or a user with sudo that asks for no password [default: the node's
    /// `ssh.user`, or root]
    #[arg(long, value_name = "USER[@HOST]")]
    login: Option<String>,
    /// Private keys for that login [default: the configured identities, or /etc/certd/id_ed25519]
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Without a configuration: this machine's own address, where its folder is imported.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    address: IpAddr,
}

pub(super) struct Places {
    /// Those to read, with the login.
    endpoints: Vec<Login>,
    secrets: Secrets,
    /// Of a configuration that is to be made.
    nodes: Vec<DraftNode>,
    ssh: DraftSsh,
    /// Where a host key is looked for first.
    known_hosts: String,
}

struct Login {
    node: config::Node,
    user: String,
    host: Option<Host>,
    identities: Vec<crate::ssh::Identity>,
}

impl Places {
    pub(super) fn configured(config: &Config, nodes: &Nodes, names: &[String]) -> Result<Self, Fault> {
        // Without a name `setup::nodes` gives none.
        let wanted = setup::nodes(config, names)?;
        let wanted = config.nodes.iter().filter(|node| wanted.contains(&node.name));
        let endpoints = wanted.map(|node| nodes.login(node)).collect::<Result<_, _>>()?;
        let secrets = if names.is_empty() { Secrets::default() } else { Secrets::for_logins(config)? };
        Ok(Self { endpoints, secrets, nodes: Vec::new(), ssh: DraftSsh::default(), known_hosts: String::new() })
    }

    /// Without a configuration. `this`: a folder of this machine is imported, which is a node then.
    pub(super) fn first(nodes: &Nodes, names: &[String], this: bool, config: &Path) -> Result<Self, Fault> {
        let mut drafts: Vec<DraftNode> = names.iter().map(|name| node_draft(name)).collect::<Result<_, _>>()?;
        let user = nodes.login.clone().unwrap_or_else(|| "root".to_owned());
        if user.contains('@') {
            return Err(Fault::usage(
                "--login has a host, and there is no configuration yet\n  next: give USER@HOST as the node",
            ));
        }
        let files: Vec<String> = nodes.identity.iter().map(|file| absolute(file)).collect();
        let identity_files = if files.is_empty() { vec![IDENTITY_FILE.to_owned()] } else { files };
        let ssh = DraftSsh { user: Some(user), identity_files, ..DraftSsh::default() };
        let (mut endpoints, mut secrets) = (Vec::new(), Secrets::default());
        if !drafts.is_empty() {
            let known = logins_only(&drafts, &ssh, config)?;
            secrets = Secrets::for_logins(&known)?;
            for node in &known.nodes {
                endpoints.push(nodes.login(node)?);
            }
            for (draft, node) in drafts.iter_mut().zip(&known.nodes) {
                draft.host_keys = pinned(&secrets, node);
            }
        }
        if this {
            drafts.push(this_machine(nodes.address));
        }
        let known_hosts = beside(config).map_or_else(|| KNOWN_HOSTS.to_owned(), |file| absolute(&file));
        Ok(Self { endpoints, secrets, nodes: drafts, ssh, known_hosts })
    }

    /// Over SSH; one after the other, so that a question of one node's stands alone.
    /// A node that fails does not keep the others from being read.
    pub(super) fn read(&self, home: Option<&str>) -> Result<(Vec<Files>, Vec<Finding>), Fault> {
        if self.endpoints.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let runtime = setup::runtime()?;
        let (mut files, mut failures) = (Vec::new(), Vec::new());
        for Login { node, user, host, identities } in &self.endpoints {
            let read = async {
                let endpoint = receiver::endpoint(&self.secrets, node, host.as_ref(), user).await?;
                ops::of_node(administrator::with(endpoint, identities.clone()), home).await
            };
            match runtime.block_on(read) {
                Ok(read) => files.extend(read),
                Err(failure) => failures.push(self.explained(failure)),
            }
        }
        Ok((files, failures))
    }

    /// `certd trust` takes a configuration.
    fn explained(&self, failure: Finding) -> Finding {
        if self.nodes.is_empty() || failure.code != Code::SshHostKeyUnknown {
            return failure;
        }
        let next = format!(
            "`certd init --from-acme.sh` with these nodes shows their keys, to be compared on each node's console \
             (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and pins them; or write the line that ssh-keyscan shows \
             into {}",
            self.known_hosts
        );
        Finding { next, ..failure }
    }

    /// None of its own is made here.
    pub(super) fn config(&self) -> Option<&Config> {
        None
    }

    pub(super) fn place<'a>(self, folder: &'a Path, roots: &'a Roots) -> Place<'a> {
        Place { folder, ssh: self.ssh, nodes: self.nodes, roots, looked: &|_, _, _| None }
    }
}

impl Nodes {
    fn login(&self, node: &config::Node) -> Result<Login, Fault> {
        let (user, host) = administrator::administrator(self.login.as_deref(), node, None)?;
        Ok(Login { node: node.clone(), user, host, identities: administrator::identities(&self.identity)? })
    }
}

/// `[NAME=][USER@]HOST[:PORT]`
pub(in super::super) fn node_draft(written: &str) -> Result<DraftNode, Fault> {
    let bad = || {
        let next = "next: give NAME=USER@ADDRESS, or its address alone; write the address of IPv6 in brackets";
        Fault::usage(format!("{written:?} is no node, and there is no configuration that has it\n  {next}"))
    };
    let (name, rest) = written.split_once('=').map_or((None, written), |(name, rest)| (Some(name), rest));
    let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(bad)?)),
        None if rest.parse::<IpAddr>().is_ok() => (rest, None),
        None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| port.parse::<u16>().map_err(|_| bad())).transpose()?;
    if host.parse::<IpAddr>().is_err() && DnsName::parse(host).is_err() {
        return Err(bad());
    }
    let name = name.unwrap_or(host).to_owned();
    NodeName::parse(&name).map_err(|_| bad())?;
    let ssh = DraftSsh { user: user.map(str::to_owned), port, ..DraftSsh::default() };
    Ok(DraftNode { name, addresses: vec![host.to_owned()], ssh, ..DraftNode::default() })
}

fn beside(config: &Path) -> Option<PathBuf> {
    config.parent().map(|folder| folder.join("known_hosts"))
}

/// A configuration by which nothing but a login can be done.
fn logins_only(nodes: &[DraftNode], ssh: &DraftSsh, path: &Path) -> Result<Config, Fault> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".ssh/known_hosts"));
    let known = [beside(path), Some(PathBuf::from("/etc/ssh/ssh_known_hosts")), home].into_iter().flatten();
    let mut known_hosts: Vec<String> = known.filter(|file| file.exists()).map(|file| absolute(&file)).collect();
    if known_hosts.is_empty() {
        known_hosts.push(KNOWN_HOSTS.to_owned());
    }
    let word = |text: &str| text.to_owned();
    let draft = Draft {
        directory: word("letsencrypt"),
        dns: DraftDns { provider: word("cloudflare"), token_file: Some(word("/nonexistent")) },
        ssh: DraftSsh { known_hosts, ..ssh.clone() },
        install: DraftInstall {
            fullchain: Some(word("/nonexistent/fullchain.pem")),
            key: Some(word("/nonexistent/privkey.pem")),
            test: vec![word("false")],
            reload: vec![word("false")],
            ..DraftInstall::default()
        },
        certificates: vec![DraftCertificate { domains: vec![word("import.invalid")], ..DraftCertificate::default() }],
        nodes: nodes.to_vec(),
        ..Draft::default()
    };
    config::parse(&draft.render()).map_err(|mistakes| {
        let texts = mistakes.iter().map(|mistake| mistake.render("the nodes of the command line")).collect();
        Fault { exit: crate::report::Exit::Usage, texts }
    })
}

/// The keys by which this node is known, to be pinned in the configuration.
fn pinned(secrets: &Secrets, node: &config::Node) -> Vec<HostKey> {
    let somewhere = [core::net::SocketAddr::from(([127, 0, 0, 1], node.ssh.port))];
    let endpoint: Option<Endpoint> = secrets.endpoint(node, &somewhere, &[]);
    endpoint.map(|endpoint| endpoint.host_keys).unwrap_or_default()
}

fn this_machine(address: IpAddr) -> DraftNode {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = NodeName::parse(name.trim()).map_or_else(|_| "this-machine".to_owned(), |name| name.to_string());
    let key = |kind: &str| std::fs::read_to_string(format!("/etc/ssh/ssh_host_{kind}_key.pub")).ok();
    let keys = ["ed25519", "ecdsa", "rsa"].into_iter().filter_map(key);
    let host_keys = { keys }.find_map(|text| HostKey::parse(text.trim()).ok()).into_iter().collect();
    let notes = vec!["This machine, whose folder was imported.".to_owned()];
    DraftNode { notes, name, addresses: vec![address.to_string()], host_keys, ..DraftNode::default() }
}

pub(super) fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
