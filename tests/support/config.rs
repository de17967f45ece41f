//! The `certd.toml` of a lab.

use std::fs;
use std::path::PathBuf;

use super::node::Node;
use super::{Lab, Service, user};

/// Lines that a configuration has beyond (or, for `certificates`, instead of) the lab's own; each is TOML text.
#[derive(Clone, Default)]
pub struct ConfigText {
    pub top: String,
    pub acme: String,
    pub dns: String,
    pub ssh: String,
    pub certificates: Option<String>,
    /// By a node's name; lines inside its `[[node]]`.
    pub nodes: Vec<(String, String)>,
    pub end: String,
}

impl Lab {
    /// Writes `certd.toml` for this lab, with `extra` TOML at its end.
    pub fn write_config(&self, extra: &str) -> PathBuf {
        self.write_config_with(&ConfigText { end: extra.into(), ..ConfigText::default() })
    }

    /// With these lines in `[dns]`, and these in `[network]`.
    pub fn configure(&self, dns: &str, network: &str) {
        let end = format!("[network]\n{network}\n");
        self.write_config_with(&ConfigText { dns: dns.to_owned(), end, ..ConfigText::default() });
    }

    /// Another line (or none) in the place of each that begins so.
    pub fn replace_line(&self, key: &str, line: &str) {
        let text = fs::read_to_string(self.config_path()).expect("it was written");
        let replaced = |old: &str| if old.starts_with(key) { line.to_owned() } else { old.to_owned() };
        let text: Vec<String> = text.lines().map(replaced).collect();
        fs::write(self.config_path(), text.join("\n")).expect("the lab's folder is ours");
    }

    pub fn write_config_with(&self, text: &ConfigText) -> PathBuf {
        let file = |name: &str| self.folder.join(name).display().to_string();
        // named on port 53 is found as the zones' own server; on another port it must be named.
        let nameservers =
            if self.dns.is_standard_port() { String::new() } else { format!("nameservers = [\"{}\"]\n", self.dns.at) };
        let certificates = text.certificates.clone().unwrap_or_else(|| {
            let text = |service: &Service| {
                let Service { name, domains } = service;
                format!("[[certificate]]\nname = {name:?}\ndomains = {domains:?}\nnodes = [\"*\"]\n\n")
            };
            self.services.iter().map(text).collect()
        });
        let fallback = self.second.iter().map(|(_, proxy)| {
            let (directory, ca, roots) = (proxy.directory(), file("api-root.pem"), file("issuer-roots.pem"));
            format!("[[acme.fallback]]\ndirectory = {directory:?}\nca_file = {ca:?}\nissuer_root_file = {roots:?}\n")
        });
        let fallback: String = fallback.collect();
        let nodes: String = self.nodes.iter().map(|node| node_text(node, &text.nodes)).collect();
        let config = format!(
            "state_dir = {state:?}\n{top}\n[acme]\ndirectory = {directory:?}\ncontact = [\"ops@example.test\"]\nca_file = {ca:?}\n\
             issuer_root_file = {roots:?}\n{acme}\n{fallback}\n[dns]\nprovider = \"cloudflare\"\ntoken_file = {token:?}\napi_base = {api:?}\n\
             resolvers = [\"{resolver}\"]\n{nameservers}{dns}\n[ssh]\nuser = {user:?}\nidentity_files = [{identity:?}]\n{ssh}\n\
             {certificates}{nodes}{end}\n",
            state = self.state_dir().display().to_string(),
            top = text.top,
            directory = self.proxy.directory(),
            ca = file("api-root.pem"),
            roots = file("issuer-roots.pem"),
            acme = text.acme,
            token = file("cloudflare.token"),
            api = self.cloudflare.base(),
            resolver = self.dns.at,
            dns = text.dns,
            user = user(),
            identity = file("id_ed25519"),
            ssh = text.ssh,
            end = text.end,
        );
        fs::write(self.config_path(), config).expect("the lab's folder is ours");
        self.config_path()
    }
}

fn node_text(node: &Node, more: &[(String, String)]) -> String {
    let more: String =
        more.iter().filter(|(name, _)| *name == node.name).map(|(_, text)| format!("{text}\n")).collect();
    let ssl = node.folder.join("conf/ssl/{name}");
    format!(
        "[[node]]\nname = {name:?}\naddress = \"{ip}\"\nhost_key = {key:?}\nssh = {{ port = {ssh} }}\nprobe = {{ port = {tls} }}\n{more}\
         [node.install]\nfullchain = {chain:?}\nkey = {private:?}\ntest = {test:?}\nreload = {reload:?}\n\n",
        name = node.name,
        ip = node.ssh.ip(),
        key = node.host_key(),
        ssh = node.ssh.port(),
        tls = node.tls.port(),
        chain = ssl.join("fullchain.pem").display().to_string(),
        private = ssl.join("privkey.pem").display().to_string(),
        test = node.test_command(),
        reload = node.reload_command(),
    )
}
