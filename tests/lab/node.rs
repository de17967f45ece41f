//! A node: an address of its own with sshd and nginx, laid out like an nginx that was built from source.
//!
//! `<folder>/sbin/nginx` is a small wrapper of the real program, so that a command can be watched, held or replaced. The
//! certificates are plain files in `<folder>/conf/ssl/<name>/`, as every older tool leaves them.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::free_port;
use super::pki::{Authority, Leaf, handshake, pair};
use super::process::{Process, Reaper, as_root, is_root, output, wait_until};
use super::relay::{Blackhole, Relay};

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
}

impl NodeOptions {
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), old: Old::Days(20), sshd: String::new(), nginx: String::new() }
    }
}

#[derive(Clone, Copy)]
pub enum NginxCommand {
    Test,
    Reload,
}

pub struct Node {
    pub name: String,
    pub folder: PathBuf,
    pub ssh: SocketAddr,
    /// Where the world connects; see `inside` for the server itself.
    pub tls: SocketAddr,
    inside: SocketAddr,
    services: Vec<String>,
    reaper: Arc<Reaper>,
    runtime: Handle,
    relay: Relay,
    sshd: Option<Process>,
    nginx: Option<Process>,
    blackhole: Option<Blackhole>,
}

impl Node {
    pub fn start(
        reaper: &Arc<Reaper>,
        runtime: Handle,
        folder: &Path,
        ip: IpAddr,
        options: &NodeOptions,
        services: &[String],
        old: &Authority,
        client_key: &Path,
    ) -> Self {
        for part in ["conf/ssl", "sbin", "logs", "hooks", "temp"] {
            fs::create_dir_all(folder.join(part)).expect("the lab's folder is ours");
        }
        let [ssh, tls, inside] = [free_port(ip), free_port(ip), free_port(ip)].map(|port| SocketAddr::new(ip, port));
        let mut node = Self {
            name: options.name.clone(),
            folder: folder.into(),
            ssh,
            tls,
            inside,
            services: services.to_vec(),
            reaper: Arc::clone(reaper),
            relay: Relay::new(runtime.clone(), tls, inside),
            runtime,
            sshd: None,
            nginx: None,
            blackhole: None,
        };
        node.write_sshd(client_key, &options.sshd);
        node.write_nginx(&options.nginx);
        node.install(old, &options.old);
        node.sshd = Some(node.spawn_sshd());
        if !matches!(options.old, Old::Nothing) {
            node.nginx = Some(node.spawn_nginx());
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
        let mut sshd = self.spawn_sshd();
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
        self.nginx = Some(self.spawn_nginx());
        self.nginx_ready();
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
        self.make_host_key();
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
        let hold = self.folder.join("hooks").join(format!("{}.hold", command.word()));
        let arrived = hold.with_extension("arrived");
        let _ = fs::remove_file(&arrived);
        fs::write(&hold, "").expect("the lab's folder is ours");
        HeldCommand { hold, arrived }
    }

    /// Puts its certificates on a file system of their own (256 KiB, kept from then on) and fills that to the last byte.
    pub fn fill_disk(&self) {
        let ssl = self.folder.join("conf/ssl");
        if !fs::read_to_string("/proc/mounts").unwrap_or_default().contains(&*ssl.to_string_lossy()) {
            let aside = self.folder.join("temp/ssl");
            output(Command::new("cp").arg("-a").arg(&ssl).arg(&aside));
            output(as_root("mount").args(["-t", "tmpfs", "-o", "size=256k,mode=0777", "tmpfs"]).arg(&ssl));
            output(Command::new("cp").arg("-a").arg(aside.join(".")).arg(&ssl));
        }
        let filler = fs::write(ssl.join("filler"), vec![0; 1 << 20]);
        assert!(filler.is_err(), "a megabyte fits into 256 KiB");
    }

    pub fn free_disk(&self) {
        fs::remove_file(self.folder.join("conf/ssl/filler")).expect("the disk was filled");
    }

    /// Certificate files in place, as an older tool would write them; nginx is not told.
    pub fn install(&self, authority: &Authority, old: &Old) {
        let (other, days) = match old {
            Old::Days(days) => (None, *days),
            Old::OtherName(name) => (Some(name), 20),
            Old::Nothing => return,
        };
        for service in &self.services {
            let (cert, key) = authority.issue(&[other.unwrap_or(service).clone()], days);
            fs::create_dir_all(self.folder.join("conf/ssl").join(service)).expect("the lab's folder is ours");
            fs::write(self.fullchain(service), cert).expect("the lab's folder is ours");
            fs::write(self.key(service), key).expect("the lab's folder is ours");
            fs::set_permissions(self.key(service), fs::Permissions::from_mode(0o600)).expect("the file is ours");
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

    fn make_host_key(&self) {
        let file = self.folder.join("host_key");
        let _ = fs::remove_file(&file);
        output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(file));
    }

    fn write_sshd(&self, client_key: &Path, extra: &str) {
        self.make_host_key();
        let folder = self.folder.display();
        let (key, mark) = self.reaper.mark();
        let config = format!(
            "Port {port}\nListenAddress {ip}\nHostKey {folder}/host_key\nAuthorizedKeysFile {keys}\nPidFile none\n\
             StrictModes no\nUsePAM {pam}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
             PermitRootLogin prohibit-password\nLogLevel VERBOSE\nPrintMotd no\nSetEnv {key}={mark}\n{extra}\n",
            port = self.ssh.port(),
            ip = self.ssh.ip(),
            keys = client_key.with_extension("pub").display(),
            pam = if account_is_locked() { "yes" } else { "no" },
        );
        fs::write(self.folder.join("sshd_config"), config).expect("the lab's folder is ours");
        if is_root() {
            fs::create_dir_all("/run/sshd").expect("root may make sshd's folder for privilege separation");
        }
    }

    fn spawn_sshd(&self) -> Process {
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(self.folder.join("sshd_config"));
        self.reaper.spawn(&self.process_name("sshd"), command)
    }

    fn write_nginx(&self, extra: &str) {
        let folder = self.folder.display();
        let user = if is_root() { "user root;" } else { "" };
        let mut servers = String::new();
        for service in &self.services {
            writeln!(
                servers,
                "  server {{ listen {at} ssl http2; server_name {service}; {extra}\n    \
                 ssl_certificate {cert}; ssl_certificate_key {key};\n    return 200 \"{service}\\n\"; }}",
                at = self.inside,
                cert = self.fullchain(service).display(),
                key = self.key(service).display(),
            )
            .expect("a String takes all");
        }
        let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("  {kind}_temp_path {folder}/temp/{kind};\n"))
            .concat();
        let config = format!(
            "{user} daemon off; worker_processes 1; pid {folder}/logs/nginx.pid; error_log {folder}/logs/error.log info;\n\
             events {{ worker_connections 256; }}\nhttp {{\n  access_log off; server_names_hash_bucket_size 128;\n\
             {temp}{servers}  include {folder}/conf/extra.conf;\n}}\n"
        );
        fs::write(self.folder.join("conf/nginx.conf"), config).expect("the lab's folder is ours");
        self.mend_nginx_config();
        let wrapper = format!(
            "#!/bin/sh\n# The real nginx with this node's configuration; see hooks/ for what is held or replaced.\n\
             case \"$*\" in -t) word=test ;; '-s reload') word=reload ;; *) word=other ;; esac\n\
             echo $word >>'{folder}/logs/calls'\nhook='{folder}/hooks/'$word\n\
             if [ -e \"$hook.hold\" ]; then echo >\"$hook.arrived\"; while [ -e \"$hook.hold\" ]; do sleep 0.01; done; fi\n\
             set -- /usr/sbin/nginx -p '{folder}' -e '{folder}/logs/error.log' -c '{folder}/conf/nginx.conf' \"$@\"\n\
             if [ -e \"$hook\" ]; then . \"$hook\"; else exec \"$@\"; fi\n"
        );
        let program = self.folder.join("sbin/nginx");
        fs::write(&program, wrapper).expect("the lab's folder is ours");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }

    fn spawn_nginx(&self) -> Process {
        let mut command = Command::new("/usr/sbin/nginx");
        let folder = &self.folder;
        command.arg("-p").arg(folder).arg("-e").arg(folder.join("logs/error.log"));
        command.arg("-c").arg(folder.join("conf/nginx.conf"));
        self.reaper.spawn(&self.process_name("nginx"), command)
    }

    fn nginx_ready(&mut self) {
        let ready = wait_until(|| std::net::TcpStream::connect(self.inside).is_ok());
        assert!(ready, "nginx of {} does not listen:\n{}", self.name, self.nginx_log());
        self.relay.open();
    }
}

impl NginxCommand {
    fn word(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Reload => "reload",
        }
    }
}

/// A command that waits, or will; dropping this lets it go on.
pub struct HeldCommand {
    hold: PathBuf,
    arrived: PathBuf,
}

impl HeldCommand {
    /// Returns when the command was called and is held.
    pub fn wait(&self) {
        assert!(wait_until(|| self.arrived.exists()), "nobody called the command that is to be held");
    }

    pub fn release(self) {}
}

impl Drop for HeldCommand {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.hold);
    }
}

/// Without PAM, sshd refuses accounts whose password field begins with `!`, keys or not.
fn account_is_locked() -> bool {
    let shadow = Command::new("getent").args(["shadow", &super::user()]).output();
    shadow.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stdout).split(':').nth(1).is_some_and(|p| p.starts_with('!'))
    })
}
