//! A second CA of another make: Caddy's `acme_server`, which is smallstep's code. It knows no renewal information, no
//! profiles and no `replaces`, and asks the system's resolver for TXT records.
//!
//! An error means: it did not start, or did not make its own root certificate.

use std::fs;
use std::net::{IpAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use super::process::{Process, wait_until};
use super::{Lab, free_ports};

pub struct Caddy {
    directory: String,
    root: PathBuf,
    process: Process,
}

impl Caddy {
    /// `None`: port 53 of the lab's address, which alone Caddy asks, or mounts of its own are not to be had (both take root,
    /// and the latter a root that is a mount, as it is not in a chroot).
    pub fn start(lab: &Lab, ip: IpAddr) -> Option<Self> {
        const OWN_MOUNTS: [&str; 3] = ["--mount", "--propagation", "private"];
        let mounts = Command::new("unshare").args(OWN_MOUNTS).arg("true").output();
        if !lab.dns.is_standard_port() || !mounts.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let folder = lab.folder.join("caddy");
        fs::create_dir_all(&folder).expect("the lab's folder is ours");
        let [at] = free_ports::<1>(ip);
        let data = folder.join("data");
        let text = format!(
            "{{\n  admin off\n  auto_https disable_redirects\n  storage file_system {}\n  skip_install_trust\n}}\n\
             https://{at} {{\n  bind {ip}\n  tls internal\n  acme_server\n}}\n",
            data.display()
        );
        fs::write(folder.join("Caddyfile"), text).expect("the lab's folder is ours");
        fs::write(folder.join("resolv.conf"), format!("nameserver {}\n", lab.dns.at.ip()))
            .expect("the lab's folder is ours");
        // A mount of its own, seen by it alone: there is no setting for its resolver.
        let script = "mount --bind resolv.conf /etc/resolv.conf && exec caddy run --config Caddyfile";
        let mut command = Command::new("unshare");
        command.args(OWN_MOUNTS).args(["sh", "-c", script]).current_dir(&folder);
        command.env("HOME", &folder).env("XDG_DATA_HOME", &data).env("XDG_CONFIG_HOME", &folder);
        let process = lab.reaper.spawn("caddy", command);
        let root = data.join("pki/authorities/local/root.crt");
        let ready = || root.exists() && TcpStream::connect(at).is_ok();
        assert!(wait_until(ready), "Caddy does not start:\n{}", process.log());
        Some(Self { directory: format!("https://{at}/acme/local/directory"), root, process })
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }

    /// PEM: its API and what it issues lead there.
    pub fn root_pem(&self) -> String {
        fs::read_to_string(&self.root).expect("Caddy has made it")
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}
