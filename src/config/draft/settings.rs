//! A draft that is not complete yet: keys that are set by name, and a configuration in which what is missing has a stand-in.

use toml::{Table, Value};

use super::{Draft, DraftCertificate, DraftInstall, DraftNode};
use crate::config::{Config, ConfigError, parse};

/// Documentation addresses and names, which lead nowhere.
const ADDRESS: &str = "192.0.2.1";
const DOMAIN: &str = "certd.invalid";

impl DraftInstall {
    /// # Errors
    /// What of it no configuration could have.
    pub fn flaw(&self) -> Result<(), String> {
        let draft = Draft { install: self.clone(), ..Draft::default() };
        let text = |error: &ConfigError| format!("{}: {}", error.key, error.what);
        draft.provisional().map(drop).map_err(|errors| errors.first().map(text).unwrap_or_default())
    }
}

impl Draft {
    /// `SECTION.KEY=VALUE`, or `KEY=VALUE` for the whole file; a VALUE that is no TOML is a text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let (path, value) = text.split_once('=').ok_or("has no \"=\"")?;
        let (section, key) = path.trim().rsplit_once('.').unwrap_or(("", path.trim()));
        if key.is_empty() || key.contains(char::is_whitespace) || ["certificate", "node"].contains(&section) {
            return Err("names no key of a section: SECTION.KEY=VALUE".to_owned());
        }
        let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
        let value = parsed.unwrap_or_else(|| Value::from(value.trim()));
        let text = value.as_str().map(str::to_owned);
        let texts = || {
            let words = value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<Vec<String>>>()
        };
        match (section, key, text, texts()) {
            ("", "state_dir", Some(text), _) => self.state_dir = Some(text),
            ("acme", "directory", Some(text), _) => self.directory = text,
            ("acme", "contact", _, Some(texts)) => self.contact = texts,
            ("dns", "provider", Some(text), _) => self.dns.provider = text,
            ("dns", "token_file", Some(text), _) => self.dns.token_file = Some(text),
            ("ssh", "user", Some(text), _) => self.ssh.user = Some(text),
            ("ssh", "identity_files", _, Some(texts)) => self.ssh.identity_files = texts,
            ("ssh", "known_hosts", _, Some(texts)) => self.ssh.known_hosts = texts,
            ("ssh", "jump", _, Some(texts)) => self.ssh.jump = texts,
            ("install", "fullchain", Some(text), _) => self.install.fullchain = Some(text),
            ("install", "key", Some(text), _) => self.install.key = Some(text),
            ("install", "server", Some(text), _) => self.install.server = Some(text),
            ("install", "test", _, Some(texts)) => self.install.test = texts,
            ("install", "reload", _, Some(texts)) => self.install.reload = texts,
            ("install", ..) => self.install.further.push((key.to_owned(), value)),
            _ => self.settings.push((section.to_owned(), key.to_owned(), value)),
        }
        Ok(())
    }

    /// The configuration that this is so far.
    ///
    /// # Errors
    /// What is written has errors; what is missing has none.
    pub fn provisional(&self) -> Result<Config, Vec<ConfigError>> {
        let mut whole = self.clone();
        let texts = |text: &str| vec![text.to_owned()];
        if whole.directory.is_empty() {
            whole.directory = "letsencrypt".to_owned();
        }
        if whole.dns.provider.is_empty() {
            whole.dns.provider = "exec".to_owned();
            whole.settings.push(("dns".to_owned(), "command".to_owned(), Value::from(texts("/bin/false"))));
        }
        if whole.certificates.is_empty() {
            whole.certificates.push(DraftCertificate { domains: texts(DOMAIN), ..DraftCertificate::default() });
        }
        if whole.nodes.is_empty() {
            let (name, addresses) = ("node".to_owned(), texts(ADDRESS));
            whole.nodes.push(DraftNode { name, addresses, ..DraftNode::default() });
        }
        let install = &mut whole.install;
        install.fullchain.get_or_insert_with(|| "/srv/{name}/fullchain.pem".to_owned());
        install.key.get_or_insert_with(|| "/srv/{name}/privkey.pem".to_owned());
        if install.server.is_none() {
            for command in [&mut install.test, &mut install.reload] {
                if command.is_empty() {
                    *command = texts("false");
                }
            }
        }
        parse(&whole.render())
    }
}
