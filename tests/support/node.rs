//! A node: an address of its own with sshd and nginx, laid out like an nginx that was built from source.
//!
//! `<folder>/sbin/nginx` is a small wrapper of the real program, so that a command can be watched, held or replaced. The
//! certificates are plain files in `<folder>/conf/ssl/<name>/`, as every older tool leaves them.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::nginx::{self, HeldCommand, NginxCommand};
use super::pki::{Authority, Leaf, handshake, handshake_with, pair};
use super::process::{Process, Reaper, as_root, output, wait_until};
use super::relay::{Blackhole, Relay};
use super::{Service, free_ports, sshd, write_secret};

/// What a node serves before certd comes.
#[derive(Clone, Debug)]
pub enum Old {
    /// From the lab's old authority, ending in so many days; negative: it has ended.
    Days(i64),
    /// Valid, for another name.
    OtherName(String),
    /// No certificate files; nginx cannot start and does not run.
    Nothing,
}

#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub name: String,
    pub old: Old,
    /// Further lines of its sshd_config, such as `MaxSessions 1`.
    pub sshd: String,
    /// Further lines of its nginx server block.
    pub nginx: String,
    /// Of SSH and of TLS, the same as other nodes' at their own addresses; any, when left out.
    pub ports: Option<[u16; 2]>,
}

impl NodeOptions {
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), old: Old::Days(20), sshd: String::new(), nginx: String::new(), ports: None }
    }
}

/// What the nodes of a lab have in common.
pub struct Ground<'a> {
    pub reaper: Arc<Reaper>,
    pub runtime: Handle,
    pub services: &'a [Service],
    /// Issues what they serve at first.
    pub old: &'a Authority,
    /// Of the account that certd logs in with.
    pub client_key: &'a Path,
}

pub struct Node {
    pub name: String,
    pub folder: PathBuf,
    pub ssh: SocketAddr,
    /// Where the world connects; see `inside` for the server itself.
    pub tls: SocketAddr,
    inside: SocketAddr,
    services: Vec<Service>,
    reaper: Arc<Reaper>,
    runtime: Handle,
    relay: Relay,
    sshd: Option<Process>,
    nginx: Option<Process>,
    blackhole: Option<Blackhole>,
}

impl Node {
    pub fn start(ground: &Ground, folder: &Path, ip: IpAddr, options: &NodeOptions) -> Self {
        let [mut ssh, mut tls, inside] = free_ports(ip);
        if let Some([of_ssh, of_tls]) = options.ports {
            ssh.set_port(of_ssh);
            tls.set_port(of_tls);
        }
        nginx::configure(folder, inside, ground.services, &options.nginx);
        sshd::configure(folder, ssh, ground.client_key, &ground.reaper, &options.sshd);
        let mut node = Self {
            name: options.name.clone(),
            folder: folder.into(),
            ssh,
            tls,
            inside,
            services: ground.services.to_vec(),
            reaper: Arc::clone(&ground.reaper),
            relay: Relay::new(ground.runtime.clone(), tls, inside),
            runtime: ground.runtime.clone(),
            sshd: None,
            nginx: None,
            blackhole: None,
        };
        node.install(ground.old, &options.old);
        node.sshd = Some(node.spawn("sshd", sshd::command(folder)));
        if !matches!(options.old, Old::Nothing) {
            node.nginx = Some(node.spawn("nginx", nginx::command(folder)));
        }
        node
    }

    pub fn wait_ready(&mut self) {
        if let Some(sshd) = &mut self.sshd {
            sshd.wait_for_log("Server listening on");
        }
        if self.nginx.is_some() {
            self.nginx_ready();
        }
    }

    pub fn fullchain(&self, service: &str) -> PathBuf {
        self.folder.join("conf/ssl").join(service).join("fullchain.pem")
    }

    pub fn key(&self, service: &str) -> PathBuf {
        self.folder.join("conf/ssl").join(service).join("privkey.pem")
    }

    /// `ssh-ed25519 AAAA…`, read at each call.
    pub fn host_key(&self) -> String {
        let line = fs::read_to_string(self.folder.join("host_key.pub")).expect("ssh-keygen wrote it");
        line.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_string()
    }

    pub fn test_command(&self) -> Vec<String> {
        vec![self.program(), "-t".into()]
    }

    pub fn reload_command(&self) -> Vec<String> {
        vec![self.program(), "-s".into(), "reload".into()]
    }

    /// The leaf that its server presents in a fresh handshake, asked behind the relay, so that it counts as none.
    pub fn served(&self, service: &str) -> Result<Leaf, String> {
        handshake(self.inside, service)
    }

    /// What clients get that offer no other signatures than RSA's.
    pub fn served_rsa(&self, service: &str) -> Result<Leaf, String> {
        handshake_with(self.inside, service, &["-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"])
    }

    /// Another pair of files, which its server reads beside that of the service after a restart.
    pub fn add_pair(&mut self, service: &str, beside: &str, (cert, key): (String, String)) {
        fs::create_dir_all(self.folder.join("conf/ssl").join(beside)).expect("the lab's folder is ours");
        fs::write(self.fullchain(beside), cert).expect("the lab's folder is ours");
        write_secret(&self.key(beside), &key);
        self.read_pair(service, beside);
    }

    /// Its server reads these files too, after a restart.
    pub fn read_pair(&mut self, service: &str, beside: &str) {
        let path = self.folder.join("conf/nginx.conf");
        let text = fs::read_to_string(&path).expect("the lab wrote it");
        let [cert, key] = [self.fullchain(beside), self.key(beside)].map(|path| path.display().to_string());
        let last = format!("return 200 \"{service}");
        let both = format!("ssl_certificate {cert}; ssl_certificate_key {key};\n    {last}");
        fs::write(path, text.replace(&last, &both)).expect("the lab's folder is ours");
        self.start_nginx();
    }

    /// What is served once old workers have ended: nginx leaves them listening for 100 ms after a reload.
    pub fn settled(&self, service: &str) -> Result<Leaf, String> {
        let pair = self.pair(service);
        // In this order: who counts first may count before a reload has begun, and be answered by its first new worker.
        wait_until(|| self.served(service) == pair && self.listening_workers() < 2);
        self.served(service)
    }

    /// One, or more while a reload is in progress: an old worker first calls itself "shutting down", then stops listening.
    fn listening_workers(&self) -> usize {
        let Some(master) = self.nginx.as_ref().map(Process::id) else { return 0 };
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        let title = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let listens = |pid: &&str| title(pid).trim_end_matches(['\0', ' ']).ends_with("worker process");
        children.split_whitespace().filter(listens).count()
    }

    /// The pair at its two configured paths, resolved at one instant.
    pub fn pair(&self, service: &str) -> Result<Leaf, String> {
        pair(&self.fullchain(service), &self.key(service))
    }

    /// SSH connections since the lab's start, failed ones too.
    pub fn ssh_connections(&self) -> usize {
        self.sshd_log().matches("Connection from ").count()
    }

    /// TCP connections to its TLS port since the lab's start.
    pub fn tls_connections(&self) -> usize {
        self.relay.connections()
    }

    /// How often its configuration test or its reload was called over the wrapper.
    pub fn calls(&self, command: NginxCommand) -> usize {
        let calls = fs::read_to_string(self.folder.join("logs/calls")).unwrap_or_default();
        calls.lines().filter(|line| *line == command.word()).count()
    }

    pub fn sshd_log(&self) -> String {
        fs::read_to_string(self.log_file("sshd")).unwrap_or_default()
    }

    pub fn nginx_log(&self) -> String {
        fs::read_to_string(self.folder.join("logs/error.log")).unwrap_or_default()
    }

    /// Ends sshd with all its sessions.
    pub fn stop_sshd(&mut self) {
        self.blackhole = None;
        self.sshd.take().into_iter().for_each(Process::stop);
    }

    pub fn start_sshd(&mut self) {
        self.stop_sshd();
        let mut sshd = self.spawn("sshd", sshd::command(&self.folder));
        sshd.wait_for_log("Server listening on");
        self.sshd = Some(sshd);
    }

    /// Packets to its SSH port vanish until `start_sshd`.
    pub fn blackhole_ssh(&mut self) {
        self.stop_sshd();
        self.blackhole = Some(Blackhole::at(&self.runtime, self.ssh));
    }

    pub fn stop_nginx(&mut self) {
        self.relay.close();
        self.nginx.take().into_iter().for_each(Process::stop);
        let _ = fs::remove_file(self.folder.join("logs/nginx.pid"));
    }

    pub fn start_nginx(&mut self) {
        self.stop_nginx();
        self.nginx = Some(self.spawn("nginx", nginx::command(&self.folder)));
        self.nginx_ready();
    }

    /// For a person at a shell: how each of its programs is stopped and started. The mark lets the reaper find them.
    pub fn by_hand(&self) -> [(&'static str, [String; 2]); 2] {
        let (folder, (key, mark)) = (self.folder.display(), self.reaper.mark());
        let start = |command: Command, end: &str| {
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
            format!("{key}={mark} {} {} {end}", command.get_program().to_string_lossy(), words.join(" "))
        };
        let sshd = [format!("pkill -f {folder}/sshd_config"), start(sshd::command(&self.folder), "2>/dev/null &")];
        let nginx = [format!("kill $(cat {folder}/logs/nginx.pid)"), start(nginx::command(&self.folder), "&")];
        [("nginx", nginx), ("sshd", sshd)]
    }

    /// A syntax error that has nothing to do with certificates; what runs goes on.
    pub fn break_nginx_config(&self) {
        fs::write(self.folder.join("conf/extra.conf"), "this is no directive;\n").expect("the lab's folder is ours");
    }

    pub fn mend_nginx_config(&self) {
        fs::write(self.folder.join("conf/extra.conf"), "").expect("the lab's folder is ours");
    }

    /// The old server key is gone for good; restarts sshd.
    pub fn change_host_key(&mut self) {
        sshd::make_host_key(&self.folder);
        self.start_sshd();
    }

    /// A script (POSIX sh) that runs in place of a command; `"$@"` is the real one. `None`: the real one again.
    pub fn replace_command(&self, command: NginxCommand, script: Option<&str>) {
        let hook = self.folder.join("hooks").join(command.word());
        match script {
            Some(script) => fs::write(&hook, script).expect("the lab's folder is ours"),
            None => _ = fs::remove_file(&hook),
        }
    }

    /// The command waits before it does anything, from now on until it is released.
    pub fn hold_command(&self, command: NginxCommand) -> HeldCommand {
        HeldCommand::new(&self.folder, command)
    }

    /// Puts its certificates on a file system of their own (256 KiB, kept from then on) and fills that to the last byte.
    pub fn fill_disk(&self) {
        let ssl = self.folder.join("conf/ssl");
        if !fs::read_to_string("/proc/mounts").unwrap_or_default().contains(&*ssl.to_string_lossy()) {
            let aside = self.folder.join("temp/ssl");
            output(Command::new("cp").arg("-a").arg(&ssl).arg(&aside));
            output(as_root("mount").args(["-t", "tmpfs", "-o", "size=256k,mode=0755", "tmpfs"]).arg(&ssl));
            output(Command::new("cp").arg("-a").arg(aside.join(".")).arg(&ssl));
        }
        let filler = fs::write(ssl.join("filler"), vec![0; 1 << 20]);
        assert!(filler.is_err(), "a megabyte fits into 256 KiB");
    }

    pub fn free_disk(&self) {
        fs::remove_file(self.folder.join("conf/ssl/filler")).expect("the disk was filled");
    }

    /// Certificate files in place, as an older tool would write them; nginx is not reloaded.
    pub fn install(&self, authority: &Authority, old: &Old) {
        let (other, days) = match old {
            Old::Days(days) => (None, *days),
            Old::OtherName(name) => (Some(name), 20),
            Old::Nothing => return,
        };
        for Service { name, domains } in &self.services {
            let domains = other.map_or_else(|| domains.clone(), |name| vec![name.clone()]);
            let (cert, key) = authority.issue(&domains, days);
            fs::create_dir_all(self.folder.join("conf/ssl").join(name)).expect("the lab's folder is ours");
            fs::write(self.fullchain(name), cert).expect("the lab's folder is ours");
            let _ = fs::remove_file(self.key(name));
            write_secret(&self.key(name), &key);
        }
    }

    fn program(&self) -> String {
        self.folder.join("sbin/nginx").to_string_lossy().into_owned()
    }

    fn log_file(&self, program: &str) -> PathBuf {
        self.folder.with_extension(format!("{program}.log"))
    }

    fn process_name(&self, program: &str) -> String {
        let folder = self.folder.file_name().expect("a node's folder has a name").to_string_lossy();
        format!("nodes/{folder}.{program}")
    }

    fn spawn(&self, program: &str, command: Command) -> Process {
        self.reaper.spawn(&self.process_name(program), command)
    }

    fn nginx_ready(&mut self) {
        let ready = wait_until(|| std::net::TcpStream::connect(self.inside).is_ok());
        assert!(ready, "nginx of {} does not listen:\n{}", self.name, self.nginx_log());
        self.relay.open();
    }
}
