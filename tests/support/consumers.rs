//! Real servers, each in a copy of its own of the Debian that tests/soak/consumers.sh brings: own files, processes and network.
//! Deliveries reach it through a real sshd, and its handshakes are made inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use certd::config::{Install, parse};
use tempfile::TempDir;

use super::SERVICE;
use super::plain_sshd::{Sshd, free_address};

/// Where each server finds its files.
pub(crate) const FILES: &str = "/etc/tls";

/// What certd's presets call as `systemctl`, without systemd: each verb as the packaged unit says, to the process whose number
/// is in /run/main-UNIT.
const SYSTEMCTL: &str = r#"#!/bin/sh
verb=$1 signal=TERM
shift
for word; do case $word in --signal=*) signal=${word#*=} ;; --*) ;; *) unit=${word%.service} ;; esac; done
MAINPID=$(cat "/run/main-$unit" 2>/dev/null)
export MAINPID
case $verb in
is-active) kill -0 "$MAINPID" 2>/dev/null && echo active || { echo inactive; exit 3; } ;;
kill) kill -s "$signal" "$MAINPID" ;;
restart)
  kill "$MAINPID"
  while kill -0 "$MAINPID" 2>/dev/null; do sleep 0.05; done
  sh "/run/start-$unit"
  ;;
reload)
  # Its own unit does nothing, and hands the reload on to those of the clusters.
  [ "$unit" != postgresql ] || exec pg_ctlcluster --skip-systemctl-redirect 15 main reload
  file=/lib/systemd/system/$unit.service
  # systemd makes a unit of a script.
  [ -e "$file" ] || exec "/etc/init.d/$unit" reload
  grep -q '^ExecReload=' "$file" || { echo "$unit has no ExecReload"; exit 1; }
  eval "export $(sed -n 's/^Environment=//p' "$file" | tr '\n' ' ')" >/dev/null
  sed -n 's/^ExecReload=[-@:+!]*//p' "$file" >"/run/reload-$unit"
  set -e
  . "/run/reload-$unit"
  ;;
esac
"#;

/// A Debian of one test. Its first process, and with it everything inside, ends with the value.
pub(crate) struct Debian {
    dir: TempDir,
    child: Child,
    /// Of the first process inside.
    pid: String,
    pub(crate) sshd: Sshd,
}

impl Drop for Debian {
    fn drop(&mut self) {
        // unshare ends what it started (--kill-child).
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Debian {
    pub(crate) fn new(root: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().display();
        let script = format!(
            "mount -t tmpfs x {at} && mkdir {at}/upper {at}/work {at}/root && \
             mount -t overlay -o lowerdir={},upperdir={at}/upper,workdir={at}/work x {at}/root && \
             mount -t proc x {at}/root/proc && mount --rbind /dev {at}/root/dev && mount -t tmpfs x {at}/root/run && \
             ip link set lo up && exec chroot {at}/root /bin/sh -c 'echo ready; sleep infinity & wait'",
            root.display()
        );
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "--net",
            "--uts",
            "--ipc",
        ]);
        command.args(["sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ready = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut ready).unwrap();
        assert_eq!(ready, "ready\n", "a Debian of its own");
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let pid = fs::read_to_string(children).unwrap().trim().to_owned();
        let enter = format!("nsenter -t {pid} -m -p -n -u -i -r -w /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"");
        let sshd = Sshd::with(free_address(), &format!("ForceCommand {enter}\n"));
        let inside = Self { dir, child, pid, sshd };
        inside.well(
            "mkdir -p /etc/tls /run/lock; hostname consumer; printf '127.0.0.1 localhost consumer\\n' >/etc/hosts",
        );
        inside.write("/usr/bin/systemctl", SYSTEMCTL);
        inside.well("chmod 755 /usr/bin/systemctl");
        inside
    }

    pub(crate) fn run(&self, script: &str) -> Output {
        let mut command = Command::new("timeout");
        command.args([
            "60", "nsenter", "-t", &self.pid, "-m", "-p", "-n", "-u", "-i", "-r", "-w", "/bin/sh", "-c", script,
        ]);
        // A daemon that keeps its output would hold the test up.
        let log = || fs::File::options().create(true).append(true).open(self.log()).unwrap();
        command.stdin(Stdio::null()).stdout(log()).stderr(log()).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.output().unwrap()
    }

    #[track_caller]
    pub(crate) fn well(&self, script: &str) {
        assert!(self.run(script).status.success(), "{script}\n{}", self.said());
    }

    fn log(&self) -> PathBuf {
        self.sshd.dir.path().join("inside")
    }

    pub(crate) fn said(&self) -> String {
        let _ = &self.dir;
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        // The folder of a process's root leads into its namespace.
        fs::write(format!("/proc/{}/root{path}", self.pid), text).unwrap();
    }

    /// The leaf that is presented, PEM; `client`: further arguments of s_client.
    pub(crate) fn served(&self, port: u16, client: &str) -> Option<String> {
        let ask = format!(
            "timeout 10 openssl s_client -connect 127.0.0.1:{port} -servername {SERVICE} {client} >/run/served"
        );
        self.run(&ask);
        let text = fs::read_to_string(format!("/proc/{}/root/run/served", self.pid)).ok()?;
        let (_, rest) = text.split_once("-----BEGIN CERTIFICATE-----")?;
        let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
        Some(format!("-----BEGIN CERTIFICATE-----{body}-----END CERTIFICATE-----\n"))
    }

    #[track_caller]
    pub(crate) fn until(&self, what: &str, limit: Duration, done: impl Fn() -> bool) {
        #[expect(clippy::disallowed_methods, reason = "a server is waited for, and only so long")]
        let begun = std::time::Instant::now();
        while !done() {
            assert!(begun.elapsed() < limit, "never: {what}\n{}", self.said());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What certd does by the name of a server alone, with `more` beside it.
pub(crate) fn install_of(server: &str, more: &str) -> Install {
    let text = format!(
        "[acme]\ndirectory = \"letsencrypt\"\n[dns]\nprovider = \"cloudflare\"\ntoken_file = \"/t\"\n\
         [install]\nserver = \"{server}\"\nfullchain = \"{FILES}/fullchain.pem\"\nkey = \"{FILES}/privkey.pem\"\n{more}\n\
         [[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"*\"]\n[[node]]\nname = \"one\"\naddress = \"192.0.2.1\"\n"
    );
    let config = parse(&text).unwrap_or_else(|errors| panic!("{errors:?}"));
    (**config.installs.values().next().unwrap()).clone()
}
