//! What is read before privileges are given up, anew for every pass: rotation is replacing a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cert::{Malformed, Roots};
use crate::config::{Config, Host, HostKey, Node, Provider};
use crate::observed::{Advice, Failure};
use crate::ssh::{Identity, known_host_keys};
use crate::store::secret;

use super::failure::failure;

/// Secrets, and the public files that are read in the same breath.
#[derive(Clone)]
pub struct Secrets {
    pub dns_token: Zeroizing<String>,
    pub eab_hmac: Option<Zeroizing<String>>,
    identities: BTreeMap<PathBuf, Identity>,
    known_hosts: BTreeMap<PathBuf, String>,
    /// PEM of the root of the CA's own API, when one is configured.
    pub acme_ca: Option<String>,
}

impl Secrets {
    /// # Errors
    /// The first file that is missing, readable by others or no text.
    pub fn read(config: &Config) -> Result<Self, Failure> {
        let Provider::Cloudflare { token_file, .. } = &config.dns.provider;
        let dns_token = secret::read_line(token_file).map_err(|error| Failure::from(&error))?;
        let eab_hmac = match &config.acme.eab {
            Some(eab) => Some(secret::read_line(&eab.hmac_file).map_err(|error| Failure::from(&error))?),
            None => None,
        };
        let files: BTreeSet<&PathBuf> = config.nodes.iter().flat_map(|node| &node.ssh.identity_files).collect();
        let mut identities = BTreeMap::new();
        for file in files {
            let pem = secret::read_text(file).map_err(|error| Failure::from(&error))?;
            identities.insert(file.clone(), Identity { file: file.clone(), pem });
        }
        let acme_ca = config.acme.ca_file.as_deref().map(|path| public("acme.ca_file", path)).transpose()?;
        Ok(Self { dns_token, eab_hmac, identities, known_hosts: known_hosts(config)?, acme_ca })
    }

    pub(super) fn identities(&self, node: &Node) -> Vec<Identity> {
        node.ssh.identity_files.iter().filter_map(|file| self.identities.get(file).cloned()).collect()
    }

    /// Pinned in the configuration, else in the known_hosts file.
    pub(super) fn host_keys(&self, node: &Node) -> Vec<HostKey> {
        if !node.ssh.host_keys.is_empty() {
            return node.ssh.host_keys.clone();
        }
        let Some(text) = self.known_hosts.get(&node.ssh.known_hosts) else { return Vec::new() };
        let host = match node.addresses.first() {
            Some(Host::Ip(ip)) => ip.to_string(),
            Some(Host::Name(name)) => name.to_string(),
            None => return Vec::new(),
        };
        known_host_keys(text, &host, node.ssh.port)
    }
}

/// A file that is not there holds no keys; `certd trust --write` makes it.
fn known_hosts(config: &Config) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut texts = BTreeMap::new();
    for node in config.nodes.iter().filter(|node| node.ssh.host_keys.is_empty()) {
        let path = &node.ssh.known_hosts;
        if path.exists() && !texts.contains_key(path) {
            texts.insert(path.clone(), public("ssh.known_hosts", path)?);
        }
    }
    Ok(texts)
}

/// The roots that issued and served chains must lead to.
///
/// # Errors
/// The configured file holds no certificate, or this system trusts no root at all.
pub fn roots(config: &Config) -> Result<Roots, Failure> {
    if let Some(path) = &config.acme.issuer_root_file {
        let text = public("acme.issuer_root_file", path)?;
        let bad = |error: Malformed| {
            let next = "write the PEM of the root certificate into it";
            failure("config-root", path.display(), error, next, Advice::Person)
        };
        return Roots::new(&[text]).map_err(bad);
    }
    let found = rustls_native_certs::load_native_certs();
    let roots = Roots::from_ders(found.certs.into_iter().map(|der| der.to_vec()));
    if roots.is_empty() {
        let next = "install the package ca-certificates, or set acme.issuer_root_file";
        return Err(failure("no-roots", "this system", "trusts no root certificate", next, Advice::Person));
    }
    Ok(roots)
}

fn public(key: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let next = format!("see {key} in the configuration");
        failure("config-file", path.display(), error, next, Advice::Person)
    })
}
