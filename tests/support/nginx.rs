//! A node's nginx: its configuration, and the wrapper `sbin/nginx`, by which its commands are watched, held or replaced.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Service;
use super::process::{is_root, wait_until};

#[derive(Clone, Copy)]
pub enum NginxCommand {
    Test,
    Reload,
}

impl NginxCommand {
    pub fn word(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Reload => "reload",
        }
    }
}

/// Writes the configuration and the wrapper into the node's folder.
pub fn configure(folder: &Path, at: SocketAddr, services: &[Service], extra: &str) {
    for part in ["conf/ssl", "sbin", "logs", "hooks", "temp"] {
        fs::create_dir_all(folder.join(part)).expect("the lab's folder is ours");
    }
    let dir = folder.display();
    let user = if is_root() { "user root;" } else { "" };
    let mut servers = String::new();
    for Service { name, domains } in services {
        writeln!(
            servers,
            "  server {{ listen {at} ssl http2; server_name {domains}; {extra}\n    \
             ssl_certificate {dir}/conf/ssl/{name}/fullchain.pem; ssl_certificate_key {dir}/conf/ssl/{name}/privkey.pem;\n    \
             return 200 \"{name}\\n\"; }}",
            domains = domains.join(" "),
        )
        .expect("a String takes all");
    }
    let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {dir}/temp/{kind};\n"))
        .concat();
    let config = format!(
        "{user} daemon off; worker_processes 1; pid {dir}/logs/nginx.pid; error_log {dir}/logs/error.log info;\n\
         events {{ worker_connections 256; }}\nhttp {{\n  access_log off; server_names_hash_bucket_size 128;\n\
         {temp}{servers}  include {dir}/conf/extra.conf;\n}}\n"
    );
    fs::write(folder.join("conf/nginx.conf"), config).expect("the lab's folder is ours");
    fs::write(folder.join("conf/extra.conf"), "").expect("the lab's folder is ours");
    let wrapper = format!(
        "#!/bin/sh\n# The real nginx with this node's configuration; see hooks/ for what is held or replaced.\n\
         case \"$*\" in -t) word=test ;; '-s reload') word=reload ;; *) word=other ;; esac\n\
         echo $word >>'{dir}/logs/calls'\nhook='{dir}/hooks/'$word\n\
         if [ -e \"$hook.hold\" ]; then echo >\"$hook.arrived\"; while [ -e \"$hook.hold\" ]; do sleep 0.01; done; fi\n\
         set -- /usr/sbin/nginx -p '{dir}' -e '{dir}/logs/error.log' -c '{dir}/conf/nginx.conf' \"$@\"\n\
         if [ -e \"$hook\" ]; then . \"$hook\"; else exec \"$@\"; fi\n"
    );
    let program = folder.join("sbin/nginx");
    fs::write(&program, wrapper).expect("the lab's folder is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

/// The server itself, in the foreground.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("logs/error.log"));
    command.arg("-c").arg(folder.join("conf/nginx.conf"));
    command
}

/// A command that waits, or will; dropping this lets it go on.
pub struct HeldCommand {
    hold: PathBuf,
    arrived: PathBuf,
}

impl HeldCommand {
    pub fn new(folder: &Path, command: NginxCommand) -> Self {
        let hold = folder.join("hooks").join(format!("{}.hold", command.word()));
        let arrived = hold.with_extension("arrived");
        let _ = fs::remove_file(&arrived);
        fs::write(&hold, "").expect("the lab's folder is ours");
        Self { hold, arrived }
    }

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
