//! Pebble, Let's Encrypt's CA for tests, in its strict mode.
//!
//! An error means: it did not start, or its management interface answered otherwise than its manual says.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::http::{Client, Reply};
use super::pki::Authority;
use super::process::{Process, Reaper, wait_until};
use super::{free_ports, repository};

pub struct PebbleOptions {
    /// Percent of good nonces that are refused; Pebble's own default is 5.
    pub nonce_reject: u8,
    /// Percent of valid authorizations that are used again; Pebble's own default is 50.
    pub authz_reuse: u8,
    /// ACME profiles, each with the validity of its certificates in seconds; the first is what orders without one get.
    pub profiles: Vec<(String, u64)>,
    /// Retry-After of pending authorizations and orders, in seconds.
    pub retry_after: (u32, u32),
    /// Certificates between the leaf and the root.
    pub chain_length: u8,
    /// Roots beside the first; each makes another chain of every certificate.
    pub alternate_roots: u8,
    pub eab: Option<(String, String)>,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        let profiles = vec![("default".into(), 90 * 86_400), ("shortlived".into(), 6 * 86_400)];
        Self {
            nonce_reject: 5,
            authz_reuse: 0,
            profiles,
            retry_after: (1, 1),
            chain_length: 1,
            alternate_roots: 0,
            eab: None,
        }
    }
}

pub struct Pebble {
    /// Its ACME interface.
    pub at: SocketAddr,
    management: SocketAddr,
    client: Client,
    process: Process,
    roots: u8,
}

impl Pebble {
    pub fn start(
        reaper: &Reaper,
        folder: &Path,
        ip: IpAddr,
        dns: SocketAddr,
        authority: &Authority,
        client: Client,
        options: &PebbleOptions,
    ) -> Self {
        fs::create_dir_all(folder).expect("the lab's folder is ours");
        let [at, management] = free_ports(ip);
        let (cert, key) = authority.issue(&[ip.to_string()], 30);
        fs::write(folder.join("api.pem"), cert).expect("the lab's folder is ours");
        fs::write(folder.join("api.key"), key).expect("the lab's folder is ours");
        let profiles: serde_json::Map<_, _> = options
            .profiles
            .iter()
            .map(|(name, seconds)| (name.clone(), json!({"description": name, "validityPeriod": seconds})))
            .collect();
        let keys: serde_json::Map<_, _> = options.eab.iter().map(|(kid, key)| (kid.clone(), json!(key))).collect();
        let config = json!({ "pebble": {
            "listenAddress": at.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": folder.join("api.pem"),
            "privateKey": folder.join("api.key"),
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": options.eab.is_some(),
            "externalAccountMACKeys": keys,
            "domainBlocklist": ["blocked.test"],
            "retryAfter": {"authz": options.retry_after.0, "order": options.retry_after.1},
            "profiles": profiles,
        }});
        fs::write(folder.join("config.json"), config.to_string()).expect("the lab's folder is ours");
        let program = repository().join("lab/pebble/usr/bin/pebble");
        assert!(program.exists(), "{} is not there: run tests/setup.sh", program.display());
        let mut command = Command::new(program);
        command
            .arg("-strict")
            .arg("-config")
            .arg(folder.join("config.json"))
            .args(["-dnsserver", &dns.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", options.nonce_reject.to_string())
            .env("PEBBLE_AUTHZREUSE", options.authz_reuse.to_string())
            .env("PEBBLE_ALTERNATE_ROOTS", options.alternate_roots.to_string())
            .env("PEBBLE_CHAIN_LENGTH", options.chain_length.to_string());
        // Each CA of a lab has a log of its own.
        let name = folder.file_name().expect("a folder of the lab").to_string_lossy();
        let process = reaper.spawn(&format!("pebble-{name}"), command);
        Self { at, management, client, process, roots: 1 + options.alternate_roots }
    }

    pub fn wait_ready(&mut self) {
        self.process.wait_for_log("ACME directory available at");
        // It says so just before it listens.
        for at in [self.at, self.management] {
            assert!(wait_until(|| TcpStream::connect(at).is_ok()), "Pebble does not listen:\n{}", self.log());
        }
    }

    pub fn directory(&self) -> String {
        format!("https://{}/dir", self.at)
    }

    /// The root of what it issues; another in each run.
    pub fn root_pem(&self) -> String {
        self.root(0)
    }

    /// That and the roots of its alternate chains.
    pub fn roots_pem(&self) -> String {
        (0..self.roots).map(|number| self.root(number)).collect()
    }

    pub fn root(&self, number: u8) -> String {
        self.ask("GET", &format!("/roots/{number}"), None).body
    }

    /// How many certificates it has issued since it was started.
    pub fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }

    /// `{"Serial", "Status", "Reason"…}`; the serial in lower-case hex.
    pub fn status(&self, serial: &str) -> Reply {
        self.ask("GET", &format!("/cert-status-by-serial/{serial}"), None)
    }

    /// What it shall say about the renewal of a certificate (PEM): the body of its `renewalInfo` answer, RFC 9773 § 4.2,
    /// such as `{"suggestedWindow":{"start":"…Z","end":"…Z"}}`. It is served as it is, so it may be garbage.
    pub fn set_renewal_info(&self, certificate_pem: &str, answer: &str) {
        let body = json!({"Certificate": certificate_pem, "ARIResponse": answer});
        let reply = self.ask("POST", "/set-renewal-info/", Some(body.to_string()));
        assert_eq!(reply.status, 200, "Pebble takes a renewal info: {}", reply.body);
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn stop(self) {
        self.process.stop();
    }

    fn ask(&self, method: &str, path: &str, body: Option<String>) -> Reply {
        self.client.send(method, &format!("https://{}{path}", self.management), body)
    }
}
