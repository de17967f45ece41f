//! What is read before privileges are given up, anew for every pass: rotation is replacing a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cert::{Malformed, Roots};
use crate::config::{Config, Host, HostKey, Node, Provider, Via};
use crate::observed::{Advice, Failure};
use crate::ssh::{Identity, known_host_keys};
use crate::store::secret;

use super::failure::failure;
use super::watched::WatchRoots;

/// Secrets, and the public files that are read in the same breath.
#[derive(Clone)]
pub struct Secrets {
    /// The provider's: an API token, or what a TSIG key's file holds. Empty for a provider that has none.
    pub dns_secret: Zeroizing<String>,
    /// By the CA's host.
    pub eab_hmac: BTreeMap<String, Zeroizing<String>>,
    identities: BTreeMap<PathBuf, Identity>,
    known_hosts: BTreeMap<PathBuf, String>,
    /// PEM of the root of a CA's own API, where one is configured; by the CA's host.
    pub acme_ca: BTreeMap<String, String>,
    /// What the chains of watched endpoints are judged by.
    pub watch_roots: WatchRoots,
    /// PEM of the root that is trusted beside the system's.
    pub network_ca: Option<String>,
}

impl Secrets {
    /// # Errors
    /// The first file that is missing, readable by others or no text.
    pub fn read(config: &Config) -> Result<Self, Failure> {
        let dns_secret = match &config.dns.provider {
            Provider::Cloudflare { token_file, .. } => secret::read_line(token_file),
            Provider::Rfc2136(primary) => secret::read_text(&primary.key_file),
            Provider::Exec { .. } => Ok(Zeroizing::default()),
        };
        let dns_secret = dns_secret.map_err(|error| Failure::from(&error))?;
        let mut eab_hmac = BTreeMap::new();
        let mut acme_ca = BTreeMap::new();
        for ca in config.cas() {
            if let Some(eab) = &ca.eab {
                let hmac = secret::read_line(&eab.hmac_file).map_err(|error| Failure::from(&error))?;
                eab_hmac.insert(ca.host.clone(), hmac);
            }
            if let Some(path) = &ca.ca_file {
                acme_ca.insert(ca.host.clone(), public("acme.ca_file", path)?);
            }
        }
        let network_ca = config.network.ca_file.as_ref().map(|path| public("network.ca_file", path)).transpose()?;
        let nodes: Vec<&Node> = config.nodes.iter().collect();
        let (identities, known_hosts, watch_roots) =
            (identities(&nodes)?, known_hosts(&nodes)?, WatchRoots::read(config));
        Ok(Self { dns_secret, eab_hmac, identities, known_hosts, acme_ca, network_ca, watch_roots })
    }

    /// What a look takes: the SSH identities of the nodes that are probed through SSH, and no other secret.
    ///
    /// # Errors
    /// As [`Secrets::read`].
    pub fn for_probes(config: &Config) -> Result<Self, Failure> {
        let nodes: Vec<&Node> = config.nodes.iter().filter(|node| node.probe.via == Via::Ssh).collect();
        let (identities, known_hosts) = (identities(&nodes)?, known_hosts(&nodes)?);
        let (dns_secret, eab_hmac, acme_ca, network_ca) = Default::default();
        let watch_roots = WatchRoots::read(config);
        Ok(Self { dns_secret, eab_hmac, identities, known_hosts, acme_ca, network_ca, watch_roots })
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

fn identities(nodes: &[&Node]) -> Result<BTreeMap<PathBuf, Identity>, Failure> {
    let files: BTreeSet<&PathBuf> = nodes.iter().flat_map(|node| &node.ssh.identity_files).collect();
    let mut identities = BTreeMap::new();
    for file in files {
        let pem = secret::read_text(file).map_err(|error| Failure::from(&error))?;
        identities.insert(file.clone(), Identity { file: file.clone(), pem });
    }
    Ok(identities)
}

/// A file that is not there holds no keys; `certd trust --write` makes it.
fn known_hosts(nodes: &[&Node]) -> Result<BTreeMap<PathBuf, String>, Failure> {
    let mut texts = BTreeMap::new();
    for node in nodes.iter().filter(|node| node.ssh.host_keys.is_empty()) {
        let path = &node.ssh.known_hosts;
        if path.exists() && !texts.contains_key(path) {
            texts.insert(path.clone(), public("ssh.known_hosts", path)?);
        }
    }
    Ok(texts)
}

/// The roots that issued and served chains must lead to: those that the configuration names, and this system's when a CA
/// has none of its own.
///
/// # Errors
/// A configured file holds no certificate, or this system trusts no root at all.
pub fn roots(config: &Config) -> Result<Roots, Failure> {
    let mut texts = Vec::new();
    for path in config.cas().filter_map(|ca| ca.issuer_root_file.as_ref()) {
        let text = public("acme.issuer_root_file", path)?;
        let bad = |error: Malformed| {
            let next = "write the PEM of the root certificate into it";
            failure("config-root", path.display(), error, next, Advice::Person)
        };
        Roots::new(&[&text]).map_err(bad)?;
        texts.push(text);
    }
    let mut roots = Roots::new(&texts).unwrap_or_else(|_| Roots::from_ders(Vec::<Vec<u8>>::new()));
    if config.cas().any(|ca| ca.issuer_root_file.is_none()) {
        roots.add_ders(system_certificates());
    }
    if roots.is_empty() {
        let next = "install the package ca-certificates, or set acme.issuer_root_file";
        return Err(failure("no-roots", "this system", "trusts no root certificate", next, Advice::Person));
    }
    Ok(roots)
}

pub(super) fn system_roots() -> Roots {
    Roots::from_ders(system_certificates())
}

fn system_certificates() -> impl Iterator<Item = Vec<u8>> {
    rustls_native_certs::load_native_certs().certs.into_iter().map(|der| der.to_vec())
}

pub(super) fn public(key: &str, path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        let next = format!("see {key} in the configuration");
        failure("config-file", path.display(), error, next, Advice::Person)
    })
}
