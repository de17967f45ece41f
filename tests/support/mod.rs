//! The lab: a CA, a DNS server, Cloudflare's API and any number of nodes, on this machine, for one test.
//!
//! Everything but the API is the real program (Pebble, BIND, sshd, nginx). A lab takes loopback addresses of its own, so that
//! any number run side by side; its folder and its processes end with it, however the test ends. Tests run the certd
//! binary against it. An error means that a program of the lab does not work here: the panic tells which, and its last words.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first thing that is not as it should be")]
#![allow(unreachable_pub, reason = "it is a module of tests and of an example alike")]

pub mod alone;
pub mod bench;
pub mod caddy;
pub mod cloudflare;
pub mod config;
pub mod consumers;
pub mod dialogue_kills;
pub mod dns;
pub mod gateway;
pub mod generations;
pub mod homes;
pub mod http;
pub mod hundred;
pub mod kill_everywhere;
pub mod name_servers;
pub mod nginx;
pub mod node;
pub mod node_program;
pub mod nonces;
pub mod pebble;
pub mod pki;
pub mod plain_sshd;
pub mod printed;
pub mod process;
pub mod proxy;
pub mod relay;
pub mod roots;
pub mod rotations;
pub mod script;
pub mod second;
pub mod sshd;
pub mod statements;
pub mod story;
pub mod throttle;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use cloudflare::Cloudflare;
use dns::Dns;
use http::{Client, Engine};
use node::{Ground, Node, NodeOptions};
use pebble::{Pebble, PebbleOptions};
use pki::Authority;
use process::{Reaper, output};
use proxy::Proxy;

pub const SERVICE: &str = "newapi.example.test";

/// One certificate, served by every node.
#[derive(Clone, Debug)]
pub struct Service {
    /// Of the certificate and of its folder on the nodes.
    pub name: String,
    pub domains: Vec<String>,
}

impl Service {
    /// Its name is the first domain, without `*.`.
    pub fn new(domains: &[&str]) -> Self {
        Self {
            name: domains[0].trim_start_matches("*.").into(),
            domains: domains.iter().copied().map(Into::into).collect(),
        }
    }
}

pub struct Options {
    pub services: Vec<Service>,
    pub zones: Vec<String>,
    pub nodes: Vec<NodeOptions>,
    pub pebble: PebbleOptions,
    /// Whether there is a second CA, which `certd.toml` names as the first one's fallback.
    pub second_ca: bool,
    /// The binary under test.
    pub certd: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            services: vec![Service::new(&[SERVICE])],
            zones: vec!["example.test".into()],
            nodes: ["cn2-shanghai", "广州", "shenzhen"].map(NodeOptions::new).into(),
            pebble: PebbleOptions::default(),
            second_ca: false,
            certd: built_binary(),
        }
    }
}

impl Options {
    pub fn nodes(count: usize) -> Self {
        let nodes = (1..=count).map(|n| NodeOptions::new(&format!("node-{n}"))).collect();
        Self { nodes, ..Self::default() }
    }
}

pub struct Lab {
    // Dropped in this order: what runs, then the reaper, which ends the rest and removes the folder.
    pub nodes: Vec<Node>,
    pub pebble: Pebble,
    pub proxy: Proxy,
    /// The other CA, and the proxy in front of it.
    pub second: Option<(Pebble, Proxy)>,
    pub cloudflare: Cloudflare,
    pub dns: Arc<Dns>,
    pub client: Client,
    /// Issued what the nodes serve at first; certd is configured to trust it, after Pebble's root.
    pub old_authority: Authority,
    /// Of the CA's API, and of other servers of the lab.
    authority: Authority,
    pub folder: PathBuf,
    /// The API token, for searches in logs.
    pub token: String,
    services: Vec<Service>,
    certd: PathBuf,
    engine: Engine,
    reaper: Arc<Reaper>,
    _claim: TcpListener,
}

impl Lab {
    pub fn start(options: Options) -> Self {
        let (claim, [a, b]) = claim_network();
        let ip = |last: usize| IpAddr::from(Ipv4Addr::new(127, a, b, u8::try_from(last).expect("at most 200 nodes")));
        let folder = std::env::temp_dir().join(format!("certd-lab-{}", run_id()));
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        let reaper = Arc::new(Reaper::start(&folder));
        fs::create_dir_all(folder.join("nodes")).expect("the lab's folder is ours");
        let engine = Engine::start();

        let authority = Authority::new("certd lab: API of the test CA");
        let old_authority = Authority::new("certd lab: old certificates");
        fs::write(folder.join("api-root.pem"), authority.pem()).expect("the lab's folder is ours");
        let client = Client::new(&engine, &authority.pem());
        let identity = folder.join("id_ed25519");
        output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(&identity));
        let token = format!("lab-token-{}", run_id());
        write_secret(&folder.join("cloudflare.token"), &token);

        let addresses: Vec<IpAddr> = (0..options.nodes.len()).map(|n| ip(10 + n)).collect();
        let domains = options.services.iter().flat_map(|service| service.domains.iter().cloned());
        let hosts: Vec<_> = domains.map(|domain| (domain, addresses.clone())).collect();
        let dns = Dns::start(&reaper, engine.handle(), &folder.join("dns"), ip(2), &options.zones, &hosts);
        let mut pebble =
            Pebble::start(&reaper, &folder.join("ca"), ip(1), dns.at, &authority, client.clone(), &options.pebble);
        let second = options.second_ca.then(|| {
            let folder = folder.join("second-ca");
            Pebble::start(&reaper, &folder, ip(5), dns.at, &authority, client.clone(), &options.pebble)
        });
        let ground = Ground {
            reaper: Arc::clone(&reaper),
            runtime: engine.handle(),
            services: &options.services,
            old: &old_authority,
            client_key: &identity,
        };
        let node = |(n, options)| {
            Node::start(&ground, &folder.join("nodes").join(format!("{}", n + 1)), addresses[n], options)
        };
        let mut nodes: Vec<Node> = options.nodes.iter().enumerate().map(node).collect();
        nodes.iter_mut().for_each(Node::wait_ready);
        pebble.wait_ready();

        let dns = Arc::new(dns);
        let cloudflare = Cloudflare::start(&engine, ip(3), Arc::clone(&dns), &token);
        let proxy = Proxy::start(&engine, ip(4), &authority, client.clone(), pebble.at);
        let second = second.map(|mut pebble| {
            pebble.wait_ready();
            let proxy = Proxy::start(&engine, ip(6), &authority, client.clone(), pebble.at);
            (pebble, proxy)
        });
        let mut roots = pebble.roots_pem() + &old_authority.pem();
        roots.extend(second.iter().map(|(pebble, _)| pebble.roots_pem()));
        fs::write(folder.join("issuer-roots.pem"), roots).expect("the lab's folder is ours");
        let (services, certd) = (options.services, options.certd);
        Self {
            nodes,
            pebble,
            proxy,
            second,
            cloudflare,
            dns,
            client,
            old_authority,
            authority,
            folder,
            token,
            services,
            certd,
            engine,
            reaper,
            _claim: claim,
        }
    }

    pub fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name == name).unwrap_or_else(|| panic!("no node {name}"))
    }

    pub fn ip(&self, node: usize) -> String {
        self.nodes[node].tls.ip().to_string()
    }

    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.join("certd.toml")
    }

    /// For a run with another configuration.
    pub fn certd_binary(&self) -> &Path {
        &self.certd
    }

    /// Runs certd with this lab's configuration to its end.
    pub fn certd(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.output().unwrap_or_else(|error| panic!("{} does not start: {error}", self.certd.display()))
    }

    /// Starts certd and lets it run; kill it at will. The lab's end ends it too. Its output is piped.
    pub fn spawn_certd(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.spawn(command)
    }

    /// The same for a command that a test has changed.
    pub fn spawn(&self, mut command: Command) -> Child {
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{} does not start: {error}", self.certd.display()));
        self.reaper.record(child.id());
        child
    }

    /// The command that `certd` and `spawn_certd` run, for a test that wants to set more.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.certd);
        let (key, mark) = self.reaper.mark();
        command.env_clear().env(key, mark).env("LANG", "C.UTF-8").env("HOME", &self.folder);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(arguments).arg("--config").arg(self.config_path());
        command
    }

    /// The processes of this lab that run now.
    pub fn pids(&self) -> Vec<u32> {
        self.reaper.pids()
    }

    /// Returns when no program of certd's runs on a node any more; false when one goes on.
    pub fn nodes_are_quiet(&self) -> bool {
        process::wait_until(|| self.reaper.shells().is_empty())
    }
}

/// 127.a.b.0/24 for one lab: the lab that listens at its last address owns it, and the kernel gives it back.
fn claim_network() -> (TcpListener, [u8; 2]) {
    for _ in 0..1000 {
        let [_, a, b, ..] = random().to_le_bytes();
        let (a, b) = (16 + a % 224, 1 + b % 254);
        if let Ok(claim) = TcpListener::bind((Ipv4Addr::new(127, a, b, 254), 15_353)) {
            return (claim, [a, b]);
        }
    }
    panic!("no network of 127.0.0.0/8 is free");
}

/// Ports that nobody listens at, all different; on an address of the lab nobody else will take them either.
pub fn free_ports<const N: usize>(ip: IpAddr) -> [SocketAddr; N] {
    let bind =
        |_| TcpListener::bind((ip, 0)).unwrap_or_else(|error| panic!("{ip} is no address of this machine: {error}"));
    let listeners = [(); N].map(bind);
    listeners.map(|listener| listener.local_addr().expect("it is bound"))
}

/// Sixteen hex digits, other ones at each call.
pub fn run_id() -> String {
    format!("{:016x}", random())
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn write_secret(path: &Path, text: &str) {
    let file = fs::File::options().create_new(true).write(true).mode(0o600).open(path);
    std::io::Write::write_all(&mut file.expect("the lab's folder is ours"), text.as_bytes())
        .expect("it can be written");
}

pub fn user() -> String {
    output(Command::new("id").arg("-un")).trim().to_string()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `target/<profile>/certd`, seen from a test in `deps/` or an example in `examples/`.
fn built_binary() -> PathBuf {
    let program = std::env::current_exe().expect("Linux knows it");
    program.parent().and_then(Path::parent).expect("it is in a folder of target").join("certd")
}
