//! Whom certd obeys, and as whom it speaks: files that others can write count for nothing, and no command is root when it
//! connects to anybody.

use crate::lab::plain_sshd as sshd;

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sshd::{Sshd, free_address};

/// A user that nobody is.
const OWNER: u32 = 54321;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

struct Setup {
    folder: tempfile::TempDir,
}

impl Setup {
    /// A state directory of another user's, a node whose SSH is at one address, and a CA at the other.
    fn new(ssh: SocketAddr, ca: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        chmod(folder.path(), 0o755);
        let setup = Self { folder };
        fs::create_dir(setup.path("state")).unwrap();
        chmod(&setup.path("state"), 0o700);
        chown(setup.path("state"), Some(OWNER), Some(OWNER)).unwrap();
        let key = setup.path("id");
        assert!(
            Command::new("ssh-keygen")
                .args(["-q", "-N", "", "-t", "ed25519", "-f"])
                .arg(key)
                .status()
                .unwrap()
                .success()
        );
        setup.script("hook", "exit 0");
        for name in ["ca.pem", "root.pem", "network.pem"] {
            fs::copy(signed(setup.folder.path()), setup.path(name)).unwrap();
        }
        fs::write(setup.path("known_hosts"), "").unwrap();
        let at = setup.folder.path().display().to_string();
        setup.write(&format!(
            "state_dir = \"{at}/state\"\n[acme]\ndirectory = \"https://{ca}/dir\"\nca_file = \"{at}/ca.pem\"\nissuer_root_file = \"{at}/root.pem\"\n\
             [dns]\nprovider = \"exec\"\ncommand = [\"/bin/sh\", \"{at}/hook\"]\n[network]\nca_file = \"{at}/network.pem\"\n\
             [ssh]\nidentity_files = [\"{at}/id\"]\nknown_hosts = \"{at}/known_hosts\"\nport = {}\n\
             [install]\nfullchain = \"/ssl/f\"\nkey = \"/ssl/k\"\ntest = [\"true\"]\nreload = [\"true\"]\n\
             [[certificate]]\nname = \"a\"\ndomains = [\"a.example\"]\nnodes = [\"*\"]\n[[node]]\nname = \"n\"\naddress = \"{}\"\n",
            ssh.port(),
            ssh.ip(),
        ));
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("certd.toml"), text).unwrap();
        chmod(&self.path("certd.toml"), 0o644);
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        chmod(&self.path(name), 0o755);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_certd"));
        command.args(arguments).arg("--config").arg(self.path("certd.toml")).env_clear().stdin(Stdio::null());
        command
    }

    fn certd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], words: &[&str]) {
        let output = self.certd(arguments);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {printed}");
        assert!(words.iter().all(|word| printed.contains(word)), "{arguments:?}: {words:?} in {printed}");
    }
}

/// A certificate that trusts itself.
fn signed(folder: &Path) -> PathBuf {
    let key = rcgen::KeyPair::generate().unwrap();
    let signed = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    let path = folder.join("signed.pem");
    fs::write(&path, signed.pem()).unwrap();
    path
}

/// Accepts connections, notes whose process made each (proc(5), /proc/net/tcp), and ends them.
fn whose() -> (SocketAddr, Arc<Mutex<BTreeSet<u32>>>) {
    let listener = TcpListener::bind(free_address()).unwrap();
    let address = listener.local_addr().unwrap();
    let users = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&users);
    std::thread::spawn(move || {
        for (client, from) in std::iter::from_fn(|| Some(listener.accept())).flatten() {
            let SocketAddr::V4(from) = from else { continue };
            let hex = format!("{:08X}:{:04X}", u32::from_le_bytes(from.ip().octets()), from.port());
            let table = fs::read_to_string("/proc/net/tcp").unwrap();
            let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&hex)).unwrap();
            let columns: Vec<&str> = line.split_whitespace().collect();
            // One that was closed meanwhile has no inode, and its user is shown as 0.
            if columns[9] != "0" {
                noted.lock().unwrap().insert(columns[7].parse().unwrap());
            }
            drop(client);
        }
    });
    (address, users)
}

const COMMANDS: [&[&str]; 13] = [
    &["config", "check"],
    &["check"],
    &["check", "--deep"],
    &["plan"],
    &["renew"],
    &["renew", "--dry-run"],
    &["deploy"],
    &["doctor"],
    &["revoke", "a"],
    &["run"],
    &["trust", "n"],
    &["node", "setup", "n", "--login", "admin"],
    &["account", "show"],
];

#[test]
fn a_configuration_that_others_can_write_is_refused_by_every_command() {
    let setup = Setup::new(free_address(), free_address());
    let config = setup.path("certd.toml");
    let shown = config.display().to_string();
    for command in COMMANDS {
        for (mode, word) in [(0o666, "mode 0666"), (0o664, "mode 0664")] {
            chmod(&config, mode);
            setup.refuses(command, &[&shown, word, &format!("chmod go-w {shown}")]);
        }
    }
    chmod(&config, 0o644);
    chown(&config, Some(OWNER), None).unwrap();
    setup.refuses(&["check"], &[&shown, "user 54321", &format!("chown -h root {shown}")]);
    chown(&config, Some(0), None).unwrap();
    // A user who can write the folder can put another file there.
    chmod(setup.folder.path(), 0o777);
    setup.refuses(&["config", "check"], &[&shown, "(mode 0777)", "move "]);
    chmod(setup.folder.path(), 0o755);
    assert!(setup.certd(&["config", "check"]).status.success());
}

#[test]
fn a_file_that_the_configuration_names_is_refused_where_others_can_write_it() {
    let setup = Setup::new(free_address(), free_address());
    let ca = "certificate authority";
    for (name, area) in
        [("known_hosts", "nodes"), ("ca.pem", ca), ("root.pem", ca), ("network.pem", ca), ("hook", "DNS")]
    {
        let path = setup.path(name);
        let shown = path.display().to_string();
        let mode = fs::metadata(&path).unwrap().mode() & 0o777;
        chmod(&path, 0o666);
        for command in [&["renew"][..], &["node", "setup", "n", "--login", "admin"]] {
            if name != "root.pem" || command[0] != "node" {
                setup.refuses(command, &[&shown, "mode 0666", &format!("chmod go-w {shown}")]);
            }
        }
        // It goes on without what the file says.
        let output = setup.certd(&["doctor"]);
        let reply = String::from_utf8_lossy(&output.stdout);
        // The node does not answer, which is worse than the rest.
        assert_eq!(output.status.code(), Some(6), "{reply}");
        let above = reply.lines().take_while(|line| !line.contains(&format!("FAILURE  {shown}")));
        assert_eq!(above.filter(|line| !line.starts_with(' ')).last(), Some(area), "{reply}");
        assert!(reply.contains(&format!("FAILURE  {shown}")) && reply.contains("mode 0666"), "{reply}");
        chmod(&path, mode);
        // That of the account that certd becomes is as good as root's.
        chown(&path, Some(OWNER), None).unwrap();
        let output = setup.certd(&["plan"]);
        assert_ne!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        chown(&path, Some(0), None).unwrap();
    }
}

#[test]
fn no_command_is_root_when_it_connects_to_anybody() {
    let ((ssh, at_ssh), (ca, at_ca)) = (whose(), whose());
    let setup = Setup::new(ssh, ca);
    for path in ["id", "known_hosts"] {
        chown(setup.path(path), Some(OWNER), None).unwrap();
    }
    let write: &[&str] = &["trust", "--write", "n"];
    for command in
        COMMANDS.iter().copied().chain([write, &["account", "register"], &["node", "remove", "n", "--login", "admin"]])
    {
        if command == ["run"] {
            let mut child = setup.command(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            // It connects at once, or has nothing to connect to yet.
            for _ in 0..200 {
                if !at_ca.lock().unwrap().is_empty() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            setup.certd(command);
        }
        let (of_ssh, of_ca) = (at_ssh.lock().unwrap().clone(), at_ca.lock().unwrap().clone());
        let users: BTreeSet<u32> = of_ssh.union(&of_ca).copied().collect();
        assert!(users.is_empty() || users == BTreeSet::from([OWNER]), "{command:?}: {users:?}");
    }
    for (what, users) in [("SSH", at_ssh), ("the CA", at_ca)] {
        assert_eq!(*users.lock().unwrap(), BTreeSet::from([OWNER]), "{what} was never spoken to");
    }
}

#[test]
fn what_init_asks_nodes_is_not_asked_by_root() {
    let (at, users) = whose();
    let setup = Setup::new(SocketAddr::new([127, 0, 0, 9].into(), at.port()), free_address());
    let node = format!("m={}", at.ip());
    setup.refuses(&["init", "--yes", "--accept-host-keys", "--node", &node], &["no node shows a host key"]);
    assert_eq!(*users.lock().unwrap(), BTreeSet::from([OWNER]));
    chmod(&setup.path("certd.toml"), 0o666);
    setup.refuses(&["init", "--yes"], &["mode 0666"]);
}

#[test]
fn trust_writes_what_root_alone_may_write_and_leaves_what_stood_there() {
    let sshd = Sshd::start(None);
    let setup = Setup::new(sshd.address, free_address());
    let path = setup.path("known_hosts");
    let old = "old.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhc2U2NA==";
    fs::write(&path, old).unwrap();
    chmod(&path, 0o644);
    let output = setup.certd(&["trust", "--write", "n"]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    assert!(printed.contains("written: 1 key to"), "{printed}");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&format!("{old}\n[")) && text.ends_with('\n'), "{text}");
    let pins = |host: &str, port| certd::ssh::known_hosts([text.as_str()], host, port).keys;
    assert_eq!(pins("old.example", 22).len(), 1);
    assert_eq!(pins(&sshd.address.ip().to_string(), sshd.address.port()), [sshd.host_key("host")]);
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o644));
    // A file that is not there yet is made; one of the account's own is written with the account's rights.
    fs::remove_file(&path).unwrap();
    assert!(setup.certd(&["trust", "--write", "n"]).status.success());
    assert_eq!((fs::metadata(&path).unwrap().uid(), fs::metadata(&path).unwrap().mode() & 0o777), (0, 0o644));
    fs::write(&path, "").unwrap();
    chown(&path, Some(OWNER), None).unwrap();
    assert!(setup.certd(&["trust", "--write", "n"]).status.success());
    assert_eq!(fs::metadata(&path).unwrap().uid(), OWNER);
    assert!(!fs::read_to_string(&path).unwrap().is_empty());
    chmod(&path, 0o666);
    setup.refuses(&["trust", "--write", "n"], &["mode 0666", "chmod go-w"]);
}

#[test]
fn a_state_directory_that_others_use_is_refused_and_left_as_it_is() {
    let setup = Setup::new(free_address(), free_address());
    let state = setup.path("state");
    fs::write(state.join("something"), "of others").unwrap();
    chown(&state, Some(0), None).unwrap();
    chmod(&state, 0o755);
    for command in [&["check"][..], &["renew"], &["doctor"], &["deploy"], &["run"], &["account", "show"]] {
        let output = setup.certd(command);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(printed.contains(&format!("{} holds other things", state.display())), "{command:?}: {printed}");
        assert!(printed.contains("/var/lib/certd") && !printed.contains("chmod"), "{command:?}: {printed}");
        assert_eq!(fs::read_dir(&state).unwrap().count(), 1, "{command:?}");
    }
}
