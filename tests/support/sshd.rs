//! A node's sshd: its configuration and its host key.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::process::{Reaper, is_root, output};

/// Writes `sshd_config` into the node's folder; a client with the `client_key` may log in.
pub fn configure(folder: &Path, at: SocketAddr, client_key: &Path, reaper: &Reaper, extra: &str) {
    let (key, mark) = reaper.mark();
    let config = format!(
        "Port {port}\nListenAddress {ip}\nHostKey {folder}/host_key\nAuthorizedKeysFile {keys}\nPidFile none\n\
         StrictModes no\nUsePAM {pam}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
         PermitRootLogin prohibit-password\nLogLevel VERBOSE\nPrintMotd no\nSetEnv {key}={mark} SHLVL=2\n{extra}\n",
        port = at.port(),
        ip = at.ip(),
        folder = folder.display(),
        keys = client_key.with_extension("pub").display(),
        pam = if account_is_locked() { "yes" } else { "no" },
    );
    fs::write(folder.join("sshd_config"), config).expect("the lab's folder is ours");
    make_host_key(folder);
    if is_root() {
        fs::create_dir_all("/run/sshd").expect("root may make sshd's folder for privilege separation");
    }
}

pub fn command(folder: &Path) -> Command {
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
    command
}

/// A new one; the one before is gone.
pub fn make_host_key(folder: &Path) {
    let file = folder.join("host_key");
    let _ = fs::remove_file(&file);
    output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"]).arg(file));
}

/// Without PAM, sshd refuses accounts whose password field begins with `!`, keys or not; as root alone it can read that.
fn account_is_locked() -> bool {
    let shadow = || output(Command::new("getent").args(["shadow", &super::user()]));
    is_root() && shadow().split(':').nth(1).is_some_and(|password| password.starts_with('!'))
}
