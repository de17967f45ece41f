//! A real sshd with a host key and an authorized key of its own, on a free port of a loopback address of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use certd::cert::NodeName;
use certd::config::HostKey;
use certd::ssh::{Endpoint, Identity};
use tempfile::TempDir;
use zeroize::Zeroizing;

pub(crate) struct Sshd {
    pub(crate) dir: TempDir,
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A loopback address that no other test uses, and a port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [a, b, ..] = std::process::id().to_le_bytes();
    let host = format!("127.{}.{}.{}", 64 + (b & 63), a, 1 + count % 250);
    let listener = TcpListener::bind((host.as_str(), 0)).expect("a free port of a loopback address");
    listener.local_addr().expect("the address of a listener")
}

impl Sshd {
    /// `shell`: what runs a command for a user who logs in (`ForceCommand`); `$SSH_ORIGINAL_COMMAND` is what was asked for.
    pub(crate) fn start(force: Option<&str>) -> Self {
        let force = force.map(|command| format!("ForceCommand {command}\n")).unwrap_or_default();
        Self::with(free_address(), &force)
    }

    /// `extra`: further lines of its configuration, which come first and so count.
    pub(crate) fn with(address: SocketAddr, extra: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        for key in ["host", "other", "login", "wrong"] {
            let kind = if key == "other" { "ecdsa" } else { "ed25519" };
            run(Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(dir.path().join(key)));
        }
        fs::copy(dir.path().join("login.pub"), dir.path().join("authorized")).expect("a copy");
        // sshd wants its folder for privilege separation, and makes it only as a service.
        fs::create_dir_all("/run/sshd").expect("tests run as root");
        let at = dir.path().display();
        let config = format!(
            "{extra}ListenAddress {address}\nHostKey {at}/host\nAuthorizedKeysFile {at}/authorized\nPidFile none\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nUseDNS no\nLogLevel ERROR\n\
             ClientAliveInterval 3\nClientAliveCountMax 2\n"
        );
        fs::write(dir.path().join("config"), config).expect("a file");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("config"))
            .stderr(fs::File::create(dir.path().join("log")).expect("a file"))
            .stdin(Stdio::null())
            .spawn()
            .expect("sshd is installed");
        let sshd = Self { dir, address, child };
        // A listener has no event to wait for from outside; refused connections come back at once.
        for _ in 0..200 {
            if TcpStream::connect(address).is_ok() {
                return sshd;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("sshd: {}", fs::read_to_string(sshd.dir.path().join("log")).unwrap_or_default());
    }

    /// Ends what serves those who are logged in; sshd itself goes on.
    #[allow(dead_code, reason = "not every test that starts an sshd needs it")]
    pub(crate) fn end_sessions(&self) {
        self.signal_sessions("-KILL");
    }

    pub(crate) fn signal_sessions(&self, signal: &str) {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = fs::read_to_string(children).expect("sshd runs");
        for child in children.split_whitespace() {
            run(Command::new("kill").args([signal, child]));
        }
    }

    pub(crate) fn host_key(&self, name: &str) -> HostKey {
        let text = fs::read_to_string(self.dir.path().join(format!("{name}.pub"))).expect("a public key");
        let mut fields = text.split(' ');
        let algorithm = fields.next().expect("a type").to_owned();
        HostKey { algorithm, blob: STANDARD.decode(fields.next().expect("a blob")).expect("base64") }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint::new(
            NodeName::parse("上海").expect("a name"),
            self.address,
            "root".to_owned(),
            vec![identity(&self.dir.path().join("login"))],
            vec![self.host_key("host")],
        )
    }
}

pub(crate) fn identity(file: &Path) -> Identity {
    let pem = Zeroizing::new(fs::read_to_string(file).expect("a private key"));
    Identity::new(file.to_owned(), pem)
}

fn run(command: &mut Command) {
    assert!(command.status().expect("the program is installed").success());
}
