//! A node whose account was set up by `certd node setup`, and a client with its key.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use super::lab::node::NodeOptions;
use super::lab::printed::exits;
use super::lab::process::wait_until;
use super::lab::{Lab, Options};

/// A name that nobody else has; it goes with what was made for it, however the test ends.
pub(crate) struct Account(pub(crate) String);

impl Account {
    pub(crate) fn new() -> Self {
        let random = tempfile::tempdir().unwrap();
        let random = random.path().file_name().unwrap().to_string_lossy().to_lowercase();
        Self(format!("certdt{}", random.trim_start_matches(".tmp")))
    }

    pub(crate) fn program(&self) -> PathBuf {
        format!("/usr/local/lib/{}/receive", self.0).into()
    }

    pub(crate) fn parameters(&self) -> PathBuf {
        format!("/etc/{}-receiver", self.0).into()
    }

    pub(crate) fn rule(&self) -> PathBuf {
        format!("/etc/sudoers.d/{}-receiver", self.0).into()
    }

    pub(crate) fn home(&self) -> PathBuf {
        format!("/var/lib/{}-receiver", self.0).into()
    }

    pub(crate) fn exists(&self) -> bool {
        Command::new("getent").args(["passwd", &self.0]).output().unwrap().status.success()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["-f", &self.0]).output();
        let _ = fs::remove_file(self.rule());
        for folder in [self.program().parent().unwrap().to_owned(), self.parameters(), self.home()] {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// The tests make accounts and rules of sudo's, which takes root.
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
pub(crate) fn is_root() -> bool {
    let root = super::lab::process::is_root();
    if !root {
        eprintln!("skipped: only root can make accounts");
    }
    root
}

/// One node, whose sshd looks for the account's keys where every sshd does, and says that to `sshd -T` too.
pub(crate) fn lab(account: &Account, sshd: &str) -> Lab {
    let sshd = format!("{sshd}\nMatch User {}\nAuthorizedKeysFile .ssh/authorized_keys\n", account.0);
    let lab =
        Lab::start(Options { nodes: vec![NodeOptions { sshd, ..NodeOptions::new("上海") }], ..Options::default() });
    lab.write_config("");
    lab
}

pub(crate) fn set_up(lab: &Lab, account: &Account, more: &[&str]) -> Output {
    lab.certd(&[&["node", "setup", "上海", "--account", &account.0], more].concat())
}

/// All is as it should be, but that the key which the lab logs in with as root is root's.
#[track_caller]
pub(crate) fn is_set_up(output: &Output) -> String {
    let text = exits(output, 3);
    assert!(text.contains("the same key gets a shell as root") && !text.contains("FAILED"), "{text}");
    text
}

/// From now on certd logs in as the account.
pub(crate) fn use_account(lab: &Lab, account: &Account) {
    lab.replace_line("user = ", &format!("user = {:?}", account.0));
}

/// Set up, proven, and in use.
pub(crate) fn ready(account: &Account) -> Lab {
    let lab = lab(account, "");
    is_set_up(&set_up(&lab, account, &[]));
    use_account(&lab, account);
    lab
}

/// OpenSSH's client with the account's key.
pub(crate) fn ssh(lab: &Lab, account: &Account, options: &[&str], words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["30", "ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "LogLevel=INFO"]);
    command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"]);
    command.arg("-i").arg(lab.folder.join("id_ed25519"));
    command.args(["-p", &lab.nodes[0].ssh.port().to_string()]).args(options);
    command.arg(format!("{}@{}", account.0, lab.nodes[0].ssh.ip())).args(words);
    command
}

/// Its stdin, then everything that it printed on both streams.
pub(crate) fn printed(mut command: Command, stdin: &[u8]) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let stdin = stdin.to_owned();
    // A program that has ended reads no more, which is not the writer's fault.
    let speaker = std::thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().unwrap();
    speaker.join().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A dialogue by hand.
pub(crate) struct Talk {
    child: Child,
}

impl Talk {
    pub(crate) fn start(mut command: Command, text: &str) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut talk = Self { child };
        talk.say(text);
        talk
    }

    pub(crate) fn say(&mut self, text: &str) {
        let _ = self.child.stdin.as_mut().unwrap().write_all(text.as_bytes());
    }

    /// The first line and the body of the next answer; empty: it ended.
    pub(crate) fn answer(&mut self) -> String {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while stdout.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        let line = String::from_utf8(line).unwrap();
        let length = line.rsplit(' ').next().and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stdout.read_exact(&mut body).unwrap();
        format!("{line}\n{}", String::from_utf8_lossy(&body))
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every path below, with what is there.
pub(crate) fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let what = if path.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap().display())
        } else if path.is_dir() {
            found.extend(tree(&path));
            String::new()
        } else if path.is_file() {
            format!("{:?}", fs::read(&path).unwrap_or_default())
        } else {
            // A program that is still there has a pipe, which nobody can read to its end.
            "no file".to_owned()
        };
        found.push(format!("{} {what}", path.display()));
    }
    found.sort();
    found
}

/// As it was before, once a program that was ended has cleaned up behind itself.
#[track_caller]
pub(crate) fn unchanged(before: &[String], folder: &Path, why: &str) {
    let same = wait_until(|| tree(folder) == before);
    assert!(same, "{why}: {:#?}", tree(folder).iter().filter(|line| !before.contains(line)).collect::<Vec<_>>());
}
