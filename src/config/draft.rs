//! A first configuration as it is written: annotated, in the style of `config/certd.toml`. What [`Draft::render`] gives has
//! the place of every value right; whether the values are valid is for [`super::parse`] to say.

mod layout;
mod settings;
mod usual;

use toml::Value;

use super::HostKey;
use layout::{Line, section};

pub use layout::quoted;
pub use usual::is_usual_reload;

/// What is empty or `None` is left out.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Comments at the head of the file, a line each.
    pub notes: Vec<String>,
    pub state_dir: Option<String>,
    /// A CA that certd knows by name, or the URL of a directory.
    pub directory: String,
    pub contact: Vec<String>,
    pub dns: DraftDns,
    /// Defaults of every node.
    pub ssh: DraftSsh,
    /// Defaults of every certificate and node.
    pub install: DraftInstall,
    pub certificates: Vec<DraftCertificate>,
    pub nodes: Vec<DraftNode>,
    /// Further keys, each with its section: `dns` or `probe`; an empty one is the whole file.
    pub settings: Vec<(String, String, Value)>,
}

#[derive(Clone, Debug, Default)]
pub struct DraftDns {
    pub provider: String,
    /// Of the provider `cloudflare`; the keys of others are [`Draft::settings`].
    pub token_file: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DraftSsh {
    pub user: Option<String>,
    pub port: Option<u16>,
    pub identity_files: Vec<String>,
    pub known_hosts: Vec<String>,
    /// `user@host:port`, the nearest first.
    pub jump: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct DraftInstall {
    pub fullchain: Option<String>,
    pub key: Option<String>,
    /// Stands for `test` and `reload`, and for who may read the key.
    pub server: Option<String>,
    pub test: Vec<String>,
    pub reload: Vec<String>,
    /// Further keys: `combined`, `owner`.
    pub further: Vec<(String, Value)>,
}

#[derive(Clone, Debug, Default)]
pub struct DraftCertificate {
    /// Comments above it, a line each.
    pub notes: Vec<String>,
    pub name: Option<String>,
    pub domains: Vec<String>,
    pub key_type: Vec<String>,
    /// Names of nodes and tags; empty: all nodes.
    pub nodes: Vec<String>,
    pub install: DraftInstall,
    pub further: Vec<(String, Value)>,
}

#[derive(Clone, Debug, Default)]
pub struct DraftNode {
    /// Comments above it, a line each.
    pub notes: Vec<String>,
    pub name: String,
    pub addresses: Vec<String>,
    pub host_keys: Vec<HostKey>,
    pub ssh: DraftSsh,
    pub install: DraftInstall,
    pub further: Vec<(String, Value)>,
}

const HEAD: &str = "\
#:schema ./certd.schema.json
# All other keys and their defaults: config/full.toml of certd's source. Check this file: certd config check
";

/// The sections that a draft has fields for; those of other settings come after them.
const OWN: [&str; 5] = ["", "acme", "dns", "ssh", "install"];

impl Draft {
    pub fn render(&self) -> String {
        let mut text = HEAD.to_owned();
        text.push_str(&layout::comments(&self.notes));
        let file: Vec<Line> = self.state_dir.iter().map(|path| Line::new("state_dir", texts(path), "")).collect();
        text.push_str(&section("", "", &self.with_settings("", file)));
        let acme = vec![
            Line::new(
                "directory",
                texts(&self.directory),
                "to try things: letsencrypt-staging, whose limits are generous",
            ),
            Line::new("contact", list(&self.contact), ""),
        ];
        text.push_str(&section("[acme]", "", &self.with_settings("acme", acme)));
        text.push_str(&section("[dns]", "", &self.with_settings("dns", self.dns.lines())));
        let of_nodes = "defaults of every node";
        text.push_str(&section("[ssh]", of_nodes, &self.with_settings("ssh", self.ssh.lines())));
        let install = self.with_settings("install", self.install.lines());
        text.push_str(&section("[install]", "defaults of every node; {name} is the certificate's name", &install));
        let mut others: Vec<&str> = self.settings.iter().map(|(section, ..)| section.as_str()).collect();
        others.retain(|name| !OWN.contains(name));
        others.sort_unstable();
        others.dedup();
        for name in others {
            let header = format!("[{}]", name.split('.').map(layout::key).collect::<Vec<_>>().join("."));
            text.push_str(&section(&header, "", &self.with_settings(name, Vec::new())));
        }
        for certificate in &self.certificates {
            text.push('\n');
            text.push_str(&certificate.render());
        }
        if !self.nodes.is_empty() {
            text.push_str(
                "\n# An address is the node's own, never the service's name. Its host key is in /etc/ssh/ssh_host_ed25519_key.pub\n\
                 # on the node; `certd trust NODE` fetches it.\n",
            );
        }
        for node in &self.nodes {
            text.push('\n');
            text.push_str(&node.render());
        }
        text
    }

    fn with_settings<'a>(&'a self, section: &str, mut lines: Vec<Line>) -> Vec<Line> {
        let own = |(of, key, value): &'a (String, String, Value)| (of == section).then(|| (key.clone(), value.clone()));
        lines.extend(further(&self.settings.iter().filter_map(own).collect::<Vec<_>>()));
        lines
    }
}

impl DraftDns {
    fn lines(&self) -> Vec<Line> {
        let mut lines = vec![Line::new("provider", texts(&self.provider), "")];
        let comment = "0600; the token needs Zone:Read and DNS:Edit for the zone";
        lines.extend(self.token_file.iter().map(|path| Line::new("token_file", texts(path), comment)));
        lines
    }
}

impl DraftSsh {
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        lines.extend(self.user.iter().map(|user| Line::new("user", texts(user), "")));
        lines.extend(self.port.map(|port| Line::new("port", Some(Value::from(i64::from(port))), "")));
        lines.push(Line::new("identity_files", list(&self.identity_files), ""));
        lines.push(Line::new("known_hosts", list(&self.known_hosts), ""));
        lines.push(Line::new("jump", list(&self.jump), ""));
        lines
    }
}

impl DraftInstall {
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        lines.extend(self.fullchain.iter().map(|path| Line::new("fullchain", texts(path), "")));
        lines.extend(self.key.iter().map(|path| Line::new("key", texts(path), "")));
        let comment = "its test, its reload, and who may read the key";
        lines.extend(self.server.iter().map(|server| Line::new("server", texts(server), comment)));
        lines.push(Line::new("test", list(&self.test), ""));
        lines.push(Line::new("reload", list(&self.reload), ""));
        lines.extend(further(&self.further));
        lines
    }
}

impl DraftCertificate {
    /// With its comments, to be appended to a file.
    pub fn render(&self) -> String {
        let (nodes, every) = match self.nodes.is_empty() {
            true => (list(&["*".to_owned()]), "every node below"),
            false => (list(&self.nodes), ""),
        };
        let mut lines = vec![Line::new("domains", list(&self.domains), "")];
        lines.extend(self.name.iter().map(|name| Line::new("name", texts(name), "also the name of its folder")));
        let key_type = if self.key_type.len() == 1 { texts(&self.key_type[0]) } else { list(&self.key_type) };
        lines.push(Line::new("key_type", key_type, ""));
        lines.push(Line::new("nodes", nodes, every));
        lines.push(Line::pairs("install", self.install.lines()));
        lines.extend(further(&self.further));
        layout::comments(&self.notes) + section("[[certificate]]", "", &lines).trim_start_matches('\n')
    }
}

impl DraftNode {
    /// With its comments, to be appended to a file.
    pub fn render(&self) -> String {
        let one_or_more = |texts: &[String]| if texts.len() == 1 { self::texts(&texts[0]) } else { list(texts) };
        let host_keys: Vec<String> = self.host_keys.iter().map(ToString::to_string).collect();
        let mut lines = vec![
            Line::new("name", texts(&self.name), ""),
            Line::new("address", one_or_more(&self.addresses), ""),
            Line::new("host_key", one_or_more(&host_keys), ""),
            Line::pairs("ssh", self.ssh.lines()),
            Line::pairs("install", self.install.lines()),
        ];
        lines.extend(further(&self.further));
        layout::comments(&self.notes) + section("[[node]]", "", &lines).trim_start_matches('\n')
    }
}

fn texts(text: &str) -> Option<Value> {
    Some(Value::from(text))
}

fn list(texts: &[String]) -> Option<Value> {
    (!texts.is_empty()).then(|| Value::from(texts.to_vec()))
}

fn further(keys: &[(String, Value)]) -> Vec<Line> {
    keys.iter().map(|(key, value)| Line::new(key, Some(value.clone()), "")).collect()
}

#[cfg(test)]
mod tests;
