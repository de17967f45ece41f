//! BIND, authoritative for the lab's zones and changed with nsupdate under a TSIG key.
//!
//! It is the zones' only name server, the resolver that certd asks for zone cuts, and what the CA asks. Publishing can be
//! held back, as a provider's real servers lag behind its API. An error means: named did not start, or refused a change.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use tokio::runtime::Handle;

use super::process::{Process, Reaper, output};
use super::relay::{Datagrams, Relay};
use super::{free_ports, random, run_id};

/// Seconds; short, so that nothing of one step is still cached in the next.
const TTL: u32 = 1;
/// A key that named knows and lets change nothing.
pub const IDLE_KEY: &str = "key \"idle\" { algorithm hmac-sha512; secret \"aWRsZSBhcyBhIHBhaW50ZWQgc2hpcA==\"; };\n";

pub struct Dns {
    /// Port 53 of the lab's own address when that is to be had, so that the path from NS to address to port is the real one.
    pub at: SocketAddr,
    inside: SocketAddr,
    key_file: PathBuf,
    zones: Vec<String>,
    publishing: Arc<Mutex<Publishing>>,
    /// Servers that change as this one does, each so much later.
    mirrors: Mutex<Vec<(SocketAddr, Duration)>>,
    /// What UDP does.
    pub datagrams: Datagrams,
    streams: Mutex<Relay>,
    _process: Process,
}

#[derive(Default)]
struct Publishing {
    held: bool,
    delay: Duration,
    waiting: Vec<String>,
}

impl Dns {
    /// `hosts` are names inside the zones, each with its A records.
    pub fn start(
        reaper: &Reaper,
        runtime: Handle,
        folder: &Path,
        ip: IpAddr,
        zones: &[String],
        hosts: &[(String, Vec<IpAddr>)],
    ) -> Self {
        fs::create_dir_all(folder).expect("the lab's folder is ours");
        for zone in zones {
            let mut text = format!("$TTL {TTL}\n@ SOA ns1 admin 1 60 60 600 {TTL}\n@ NS ns1\nns1 A {ip}\n");
            for (host, addresses) in hosts.iter().filter(|(host, _)| host.ends_with(zone.as_str())) {
                addresses.iter().for_each(|a| writeln!(text, "{host}. A {a}").expect("a String takes all"));
            }
            fs::write(folder.join(format!("{zone}.db")), text).expect("the lab's folder is ours");
        }
        let key_file = folder.join("update.key");
        let key = format!("key \"lab\" {{ algorithm hmac-sha256; secret \"{}\"; }};\n", secret());
        fs::write(&key_file, &key).expect("the lab's folder is ours");
        copy_named(folder);
        let (process, inside) = spawn(reaper, folder, &key, zones, "recursion no;", "");
        let standard = SocketAddr::new(ip, 53);
        let at = if TcpListener::bind(standard).is_ok() { standard } else { free_ports::<1>(ip)[0] };
        let datagrams = Datagrams::open(&runtime, at, inside);
        let mut streams = Relay::new(runtime, at, inside);
        streams.open();
        Self {
            at,
            inside,
            key_file,
            zones: zones.to_vec(),
            publishing: Arc::default(),
            mirrors: Mutex::default(),
            datagrams,
            streams: Mutex::new(streams),
            _process: process,
        }
    }

    /// From now on no connection is taken, or every one.
    pub fn silence_streams(&self, all: bool) {
        let mut streams = self.streams.lock().expect("no holder of this lock panics");
        if all { streams.close() } else { streams.open() }
    }

    pub fn is_standard_port(&self) -> bool {
        self.at.port() == 53
    }

    pub fn zones(&self) -> &[String] {
        &self.zones
    }

    pub fn add_txt(&self, name: &str, value: &str) {
        self.publish(format!("add {name}. {TTL} TXT \"{value}\""));
    }

    pub fn remove_txt(&self, name: &str, value: &str) {
        self.publish(format!("delete {name}. TXT \"{value}\""));
    }

    /// An address of a name, as the API's records have it; at once.
    pub(super) fn publish_address(&self, name: &str, kind: &str, address: &str, there: bool) {
        self.update(&if there {
            format!("add {name}. {TTL} {kind} {address}")
        } else {
            format!("delete {name}. {kind} {address}")
        });
    }

    /// Any line of nsupdate(1), such as `add www.example.test. 1 CNAME other.test.`; at once.
    pub fn update(&self, line: &str) {
        self.update_at(self.inside, line);
    }

    pub(super) fn update_at(&self, at: SocketAddr, line: &str) {
        apply(at, &self.key_file, line);
    }

    pub(super) fn mirror(&self, at: SocketAddr, lag: Duration) {
        self.mirrors.lock().expect("no holder of this lock panics").push((at, lag));
    }

    pub(super) fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// Where named itself listens.
    pub(super) fn inside(&self) -> SocketAddr {
        self.inside
    }

    /// From now on changes of the API's records wait for `release`.
    pub fn hold(&self) {
        self.lock().held = true;
    }

    pub fn release(&self) {
        let mut publishing = self.lock();
        publishing.held = false;
        publishing.waiting.drain(..).for_each(|line| apply(self.inside, &self.key_file, &line));
    }

    /// From now on changes of the API's records show this much later.
    pub fn delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// A program of lego's convention for `exec` (`present|cleanup FQDN VALUE`) that changes these zones.
    pub fn exec_script(&self) -> String {
        let (at, key) = (self.inside, self.key_file.display());
        format!(
            "#!/bin/sh\nset -eu\ncase $1 in present) do=add ;; *) do=delete ;; esac\n\
             printf 'server {} {}\\nupdate %s %s {TTL} TXT \"%s\"\\nsend\\n' \"$do\" \"$2\" \"$3\" | nsupdate -k '{key}'\n",
            at.ip(),
            at.port()
        )
    }

    /// The TXT values that are published at a name.
    pub fn txt(&self, name: &str) -> Vec<String> {
        let answer = self.dig(&[name, "TXT", "+short"]);
        answer.lines().map(|line| line.replace("\" \"", "").trim_matches('"').to_string()).collect()
    }

    /// dig's answer from named, over UDP unless `+tcp` is asked for.
    pub fn dig(&self, arguments: &[&str]) -> String {
        let at = [format!("@{}", self.at.ip()), "-p".into(), self.at.port().to_string(), "+norecurse".into()];
        output(Command::new("dig").args(at).args(arguments))
    }

    fn publish(&self, line: String) {
        for (at, lag) in self.mirrors.lock().expect("no holder of this lock panics").iter() {
            self.apply_later(*at, *lag, line.clone());
        }
        let mut publishing = self.lock();
        if publishing.held {
            publishing.waiting.push(line);
        } else if publishing.delay.is_zero() {
            apply(self.inside, &self.key_file, &line);
        } else {
            self.apply_later(self.inside, publishing.delay, line);
        }
    }

    fn apply_later(&self, at: SocketAddr, delay: Duration, line: String) {
        let key_file = self.key_file.clone();
        thread::spawn(move || {
            thread::sleep(delay);
            // The lab may be over by then.
            if key_file.exists() {
                apply(at, &key_file, &line);
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Publishing> {
        self.publishing.lock().expect("no holder of this lock panics")
    }
}

/// Debian's AppArmor profile for named is bound to its path and forbids other folders than its own. Copied by another
/// process: a file that this one had open for writing may be "busy" when it is to be run.
pub(super) fn copy_named(folder: &Path) {
    output(Command::new("cp").arg("/usr/sbin/named").arg(folder));
}

/// named, ready, and where it listens: a port of 127.0.0.1, because it knows the addresses of interfaces alone. It goes
/// on without a port that is taken, so it is asked whether it has it.
pub(super) fn spawn(
    reaper: &Reaper,
    folder: &Path,
    key: &str,
    zones: &[String],
    options: &str,
    end: &str,
) -> (Process, SocketAddr) {
    let dir = folder.display();
    let zones: String = zones
        .iter()
        .map(|zone| {
            format!("zone \"{zone}\" {{ type primary; file \"{zone}.db\"; allow-update {{ key \"lab\"; }}; }};\n")
        })
        .collect();
    let no_lock = no_lock_file();
    for _ in 0..5 {
        let at = quiet_port();
        let conf = format!(
            "{key}{IDLE_KEY}options {{ directory \"{dir}\"; listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }};\n  \
             {options} dnssec-validation no; check-names primary ignore; notify no; minimal-responses yes; pid-file none; {no_lock}\n  \
             session-keyfile none; managed-keys-directory \"{dir}\"; max-cache-size 2m; reuseport no; }};\ncontrols {{ }};\n{zones}{end}",
            port = at.port(),
            ip = at.ip(),
        );
        fs::write(folder.join("named.conf"), conf).expect("the lab's folder is ours");
        let mut command = Command::new(folder.join("named"));
        command.args(["-g", "-4", "-n", "1", "-c"]).arg(folder.join("named.conf"));
        let name = folder.file_name().expect("a folder of the lab").to_string_lossy();
        let mut process = reaper.spawn(&format!("named-{name}"), command);
        process.wait_for_log(" running\n");
        // Another lab may have taken the port since.
        let log = process.log();
        if log.contains("listening on IPv4 interface") && !log.contains("interface ignored") {
            return (process, at);
        }
    }
    panic!("named gets no port of 127.0.0.1");
}

/// Up to BIND 9.18 one lock file keeps a second named from starting; 9.20 has neither the file nor the option, and does not
/// start when it is given.
fn no_lock_file() -> &'static str {
    static OPTION: LazyLock<&str> = LazyLock::new(|| {
        let version = output(Command::new("/usr/sbin/named").arg("-v"));
        let minor = version.strip_prefix("BIND 9.").and_then(|rest| rest.split('.').next()?.parse::<u32>().ok());
        if minor.unwrap_or_else(|| panic!("`named -v` says {version:?}")) < 20 { "lock-file none;" } else { "" }
    });
    *OPTION
}

/// A port of 127.0.0.1 for UDP and TCP, below those that the kernel gives to outgoing connections.
fn quiet_port() -> SocketAddr {
    loop {
        let port = 10_000 + u16::try_from(random() % 20_000).expect("below 20,000");
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
            return at;
        }
    }
}

fn apply(at: SocketAddr, key_file: &Path, line: &str) {
    let mut nsupdate = Command::new("nsupdate")
        .args(["-t", "10", "-k"])
        .arg(key_file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/setup.sh brings nsupdate");
    let text = format!("server {} {}\n{line}\nsend\n", at.ip(), at.port());
    nsupdate.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("nsupdate reads");
    let output = nsupdate.wait_with_output().expect("nsupdate ends");
    assert!(output.status.success(), "nsupdate {line:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A TSIG secret: any 16 bytes in base64.
fn secret() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(&run_id().as_bytes()[..16])
}
