//! Secrets and other files that are read before privileges are dropped. They are read again for every pass: a secret is
//! rotated by replacing its file.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::cert::{Malformed, Roots};
use crate::config::{Agent, Config, Host, HostKey, Node, Probe, Provider, Ssh, Via};
use crate::dns;
use crate::model::{Advice, Code, Finding};
use crate::ssh::{self, Endpoint, Identity, Known, Pool};
use crate::store::guard::Writers;
use crate::store::secret;
use crate::store::started::Started;

use crate::context::failure::failure;
use crate::context::health_headers::HealthHeaders;
use crate::context::watch_roots::WatchRoots;

/// Secrets, and the public files that are read together with them.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The provider's API token, or the content of a TSIG key file. Empty for a provider without a secret.
    pub dns_secret: Zeroizing<String>,
    /// The same of `[dns.NAME]`, by NAME; or why it cannot be read, which ends nothing but what needs it.
    pub dns_secrets: BTreeMap<String, Result<Zeroizing<String>, Finding>>,
    /// By the CA's host.
    pub eab_hmac: BTreeMap<String, Zeroizing<String>>,
    identities: BTreeMap<PathBuf, Identity>,
    passphrases: BTreeMap<PathBuf, Zeroizing<String>>,
    known_hosts: BTreeMap<PathBuf, String>,
    /// PEM of the root for a CA's API, if configured; by the CA's host.
    pub acme_ca: BTreeMap<String, String>,
    /// Roots for the chains of watched endpoints.
    pub watch_roots: WatchRoots,
    /// PEM of a root that is trusted in addition to the system's.
    pub network_ca: Option<String>,
    /// PEM of the configured roots that issued chains must lead to.
    pub issuer_roots: String,
    /// Header fields of health checks, by file. A file that cannot be used stops nothing but its health checks.
    pub health_headers: HealthHeaders,
    /// Shared by all sessions that these secrets open.
    pool: Pool,
}

/// A file that cannot be used, and what needs it.
#[derive(Clone, Debug)]
pub struct Unread {
    pub needed_for: NeededFor,
    pub failure: Finding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeededFor {
    Dns,
    /// For the zones of one `[dns.NAME]`.
    DnsSection,
    /// The CA of this host.
    Ca(String),
    /// All HTTPS requests.
    Network,
    /// To verify issued certificates.
    IssuerRoots,
    /// To log in to nodes whose configuration names this file.
    Login(PathBuf),
}

/// The value, or `None` after adding the failure to `unread`.
fn noted<T>(unread: &mut Vec<Unread>, needed_for: NeededFor, read: Result<T, Finding>) -> Option<T> {
    read.map_err(|failure| unread.push(Unread { needed_for, failure })).ok()
}

impl Secrets {
    /// # Errors
    /// The first file that is missing, readable by others, or not text; but for those of `[dns.NAME]`.
    pub fn read(config: &Config) -> Result<Self, Finding> {
        whole(Self::read_what_can_be(config))
    }

    /// For `doctor`, which goes on without what cannot be read.
    pub fn read_what_can_be(config: &Config) -> (Self, Vec<Unread>) {
        let mut unread = Vec::new();
        let dns_secret = of_provider(config, &config.dns.provider);
        let dns_secret = noted(&mut unread, NeededFor::Dns, dns_secret).unwrap_or_default();
        let mut dns_secrets = BTreeMap::new();
        for section in &config.dns.sections {
            let secret = of_provider(config, &section.provider);
            let failure = secret.as_ref().err().cloned();
            unread.extend(failure.map(|failure| Unread { needed_for: NeededFor::DnsSection, failure }));
            dns_secrets.insert(section.name.clone(), secret);
        }
        let (mut eab_hmac, mut acme_ca) = (BTreeMap::new(), BTreeMap::new());
        for ca in config.cas() {
            let needed_for = || NeededFor::Ca(ca.host.clone());
            if let Some(eab) = &ca.eab {
                let hmac = secret::read_line(&eab.hmac_file).map_err(Finding::from);
                eab_hmac.extend(noted(&mut unread, needed_for(), hmac).map(|hmac| (ca.host.clone(), hmac)));
            }
            if let Some(path) = &ca.ca_file {
                let pem = public(config, "acme.ca_file", path);
                acme_ca.extend(noted(&mut unread, needed_for(), pem).map(|pem| (ca.host.clone(), pem)));
            }
        }
        let network_ca = config.network.ca_file.as_ref();
        let network_ca =
            network_ca.and_then(|path| noted(&mut unread, NeededFor::Network, public(config, "network.ca_file", path)));
        let (of_logins, unread_logins) = Self::of_logins(config, |_| true);
        unread.extend(unread_logins);
        let issuer_roots = noted(&mut unread, NeededFor::IssuerRoots, issuer_roots(config)).unwrap_or_default();
        let health_headers = HealthHeaders::read(config);
        (
            Self { dns_secret, dns_secrets, eab_hmac, acme_ca, network_ca, issuer_roots, health_headers, ..of_logins },
            unread,
        )
    }

    /// The secrets for a look: only those to log in to nodes that are probed through SSH.
    ///
    /// # Errors
    /// As [`Secrets::read`].
    pub fn for_probes(config: &Config) -> Result<Self, Finding> {
        whole(Self::of_logins(config, |probe| probe.via == Via::Ssh))
    }

    /// Only the secrets to log in to nodes.
    ///
    /// # Errors
    /// As [`Secrets::read`].
    pub fn for_logins(config: &Config) -> Result<Self, Finding> {
        whole(Self::of_logins(config, |_| true))
    }

    fn of_logins(config: &Config, wanted: impl Fn(&Probe) -> bool) -> (Self, Vec<Unread>) {
        // Including the logins of nodes that DNS will name.
        let found = config.certificates.iter().filter_map(|certificate| certificate.discover.as_ref());
        let found = found.map(|discover| (&discover.ssh, discover.probes.iter().any(&wanted)));
        let logins = config.nodes.iter().map(|node| (&node.ssh, node.every_probe().any(&wanted))).chain(found);
        let logins: Vec<&Ssh> = logins.filter(|(_, wanted)| *wanted).map(|(ssh, _)| ssh).collect();
        let mut unread = Vec::new();
        let identities = identities(config, &logins, &mut unread);
        let passphrases = passphrases(&logins, &mut unread);
        let known_hosts = known_hosts(config, &logins, &mut unread);
        let watch_roots = WatchRoots::read(config);
        (Self { identities, passphrases, known_hosts, watch_roots, ..Self::default() }, unread)
    }

    /// The same secrets for a new run: what jump hosts refused before is tried again.
    pub fn for_a_new_run(&self) -> Self {
        Self { pool: Pool::default(), ..self.clone() }
    }

    /// The endpoint to log in to a node at one of `addresses`, through jump hosts at one each of `jumps` (in the
    /// configuration's order). `None`: a host has no address.
    pub fn endpoint(&self, node: &Node, addresses: &[SocketAddr], jumps: &[Vec<SocketAddr>]) -> Option<Endpoint> {
        let ssh = &node.ssh;
        let agent = ssh.agent.as_ref().map(|agent| match agent {
            Agent::Socket(path) => path.clone(),
            Agent::Environment => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from).unwrap_or_default(),
        });
        let mut jumps_so_far = None;
        for (jump, addresses) in ssh.jumps.iter().zip(jumps) {
            let (address, others) = addresses.split_first()?;
            let known = self.known(ssh, Some(&jump.host), jump.port, &jump.host_keys);
            jumps_so_far = Some(Box::new(Endpoint {
                node: jump.name.clone(),
                address: *address,
                others: others.to_vec(),
                user: jump.user.clone().unwrap_or_else(|| ssh.user.clone()),
                identities: self.identities(jump.identity_files.as_ref().unwrap_or(&ssh.identity_files), ssh),
                host_keys: known.keys,
                revoked: known.revoked,
                authorities: known.authorities,
                agent: agent.clone(),
                jump: jumps_so_far,
                pool: self.pool.clone(),
            }));
        }
        let known = self.known(ssh, node.addresses.first(), ssh.port, &ssh.host_keys);
        let (address, others) = addresses.split_first()?;
        Some(Endpoint {
            node: node.name.clone(),
            address: *address,
            others: others.to_vec(),
            user: ssh.user.clone(),
            identities: self.identities(&ssh.identity_files, ssh),
            host_keys: known.keys,
            revoked: known.revoked,
            authorities: known.authorities,
            agent,
            jump: jumps_so_far,
            pool: self.pool.clone(),
        })
    }

    fn identities(&self, files: &[PathBuf], ssh: &Ssh) -> Vec<Identity> {
        let passphrase = ssh.passphrase_file.as_ref().and_then(|file| self.passphrases.get(file));
        let with_passphrase = |identity: &Identity| Identity { passphrase: passphrase.cloned(), ..identity.clone() };
        files.iter().filter_map(|file| self.identities.get(file).map(with_passphrase)).collect()
    }

    /// Keys pinned in the configuration, or else in the known_hosts files. Keys that known_hosts revokes are always
    /// revoked.
    fn known(&self, ssh: &Ssh, host: Option<&Host>, port: u16, pinned: &[HostKey]) -> Known {
        let Some(host) = host.map(ToString::to_string) else { return Known::default() };
        let texts = ssh.known_hosts.iter().filter_map(|path| self.known_hosts.get(path)).map(String::as_str);
        let known = ssh::known_hosts(texts, &host, port);
        if pinned.is_empty() { known } else { Known { keys: pinned.to_vec(), ..known } }
    }
}

fn of_provider(config: &Config, provider: &Provider) -> Result<Zeroizing<String>, Finding> {
    match provider {
        Provider::Cloudflare { token_file, .. } => token(token_file),
        Provider::Rfc2136(primary) => secret::read_text(&primary.key_file).map_err(Finding::from),
        Provider::Exec { command, .. } => guard_program(config, command).map(|()| Zeroizing::default()),
    }
}

/// # Errors
/// The file cannot be read, or holds what no token can be.
fn token(file: &Path) -> Result<Zeroizing<String>, Finding> {
    let token = secret::read_line(file)?;
    let Some(why) = dns::malformed_token(&token) else { return Ok(token) };
    let next = format!("write an API token, and nothing else, into {}", file.display());
    let what = format!("{}: {why}", file.display());
    Err(failure(Code::DnsTokenFile, file.display(), what, next, Advice::Person))
}

/// The secrets, or the first failure.
fn whole((secrets, unread): (Secrets, Vec<Unread>)) -> Result<Secrets, Finding> {
    match unread.into_iter().find(|unread| unread.needed_for != NeededFor::DnsSection) {
        Some(unread) => Err(unread.failure),
        None => Ok(secrets),
    }
}

/// The identity files of a login and of its jump hosts.
pub(crate) fn identity_files(ssh: &Ssh) -> impl Iterator<Item = &PathBuf> {
    let of_jumps = ssh.jumps.iter().filter_map(|jump| jump.identity_files.as_ref()).flatten();
    ssh.identity_files.iter().chain(of_jumps)
}

fn identities(config: &Config, logins: &[&Ssh], unread: &mut Vec<Unread>) -> BTreeMap<PathBuf, Identity> {
    let files: BTreeSet<&PathBuf> = logins.iter().flat_map(|ssh| identity_files(ssh)).collect();
    let read = files.into_iter().filter_map(|file| {
        let pem = secret::read_text(file).map_err(Finding::from);
        let pem = noted(unread, NeededFor::Login(file.clone()), pem)?;
        let certificate = noted(unread, NeededFor::Login(file.clone()), certificate(config, file)).flatten();
        Some((file.clone(), Identity { certificate, ..Identity::new(file.clone(), pem) }))
    });
    let read: BTreeMap<PathBuf, Identity> = read.collect();
    // Where a login has another key, that one is used, and the error of a login names both.
    let flawed = |file: &PathBuf| read.get(file).is_none_or(|identity| identity.flaw().is_some());
    let hopeless = |files: &[PathBuf]| !files.is_empty() && files.iter().all(flawed);
    let own_files = |ssh: &&&Ssh| ssh.agent.is_none();
    let all = logins.iter().filter(own_files).flat_map(|ssh| {
        let of_jumps = ssh.jumps.iter().filter_map(|jump| jump.identity_files.as_ref());
        of_jumps.chain([&ssh.identity_files])
    });
    let needed: BTreeSet<&PathBuf> = all.filter(|files| hopeless(files)).flatten().collect();
    for identity in needed.into_iter().filter_map(|file| read.get(file)) {
        unread.extend(
            flaw(identity).map(|failure| Unread { needed_for: NeededFor::Login(identity.file.clone()), failure }),
        );
    }
    read
}

/// The certificate beside an identity file, if there is one.
fn certificate(config: &Config, identity: &Path) -> Result<Option<String>, Finding> {
    let file = ssh::certificate_file(identity);
    let text = file.exists().then(|| public(config, "ssh.identity_files", &file)).transpose()?;
    Ok(text.map(|text| text.trim().to_owned()))
}

fn flaw(identity: &Identity) -> Option<Finding> {
    let flaw = identity.flaw()?;
    let (file, what) = (&identity.file, format!("{}: {}", identity.file.display(), flaw.what()));
    Some(failure(Code::IdentityFormat, file.display(), what, flaw.next(file), Advice::Person))
}

/// For `config check`: the identity files that are no private keys, of those that can be read.
pub fn identity_flaws(config: &Config) -> Vec<Finding> {
    let found = config.certificates.iter().filter_map(|certificate| certificate.discover.as_ref());
    let logins = config.nodes.iter().map(|node| &node.ssh).chain(found.map(|discover| &discover.ssh));
    let files: BTreeSet<&PathBuf> = logins.flat_map(identity_files).collect();
    let read = files.into_iter().filter_map(|file| Some(Identity::new(file.clone(), secret::read_text(file).ok()?)));
    read.filter_map(|identity| flaw(&identity)).collect()
}

/// Trims only line breaks at the end: a passphrase may contain spaces.
fn passphrases(logins: &[&Ssh], unread: &mut Vec<Unread>) -> BTreeMap<PathBuf, Zeroizing<String>> {
    let files: BTreeSet<&PathBuf> = logins.iter().filter_map(|ssh| ssh.passphrase_file.as_ref()).collect();
    let read = files.into_iter().filter_map(|file| {
        let text = secret::read_text(file).map_err(Finding::from);
        let text = noted(unread, NeededFor::Login(file.clone()), text)?;
        Some((file.clone(), Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned())))
    });
    read.collect()
}

/// A missing file holds no keys; `certd trust --write` creates it. The files are read for nodes with a `host_key` too,
/// since they may revoke it.
fn known_hosts(config: &Config, logins: &[&Ssh], unread: &mut Vec<Unread>) -> BTreeMap<PathBuf, String> {
    let paths: BTreeSet<&PathBuf> = logins.iter().flat_map(|ssh| &ssh.known_hosts).collect();
    let read = paths.into_iter().filter_map(|path| {
        // Check the folder even if the file is missing: another user could create it.
        let text = guard(config, path)
            .and_then(|()| path.exists().then(|| public(config, "ssh.known_hosts", path)).transpose());
        Some((path.clone(), noted(unread, NeededFor::Login(path.clone()), text)??))
    });
    read.collect()
}

/// The text of every `issuer_root_file`.
///
/// # Errors
/// One of them cannot be read.
pub fn issuer_roots(config: &Config) -> Result<String, Finding> {
    let files = config.cas().filter_map(|ca| ca.issuer_root_file.as_ref());
    let texts: Vec<String> =
        files.map(|path| public(config, "acme.issuer_root_file", path)).collect::<Result<_, _>>()?;
    Ok(texts.join("\n"))
}

/// The roots that issued and served chains must lead to: the configured ones, and the system's if a CA has none
/// configured.
///
/// # Errors
/// A configured file holds no certificate, or the system has no roots.
pub fn roots(config: &Config) -> Result<Roots, Finding> {
    let mut texts = Vec::new();
    for path in config.cas().filter_map(|ca| ca.issuer_root_file.as_ref()) {
        let text = public(config, "acme.issuer_root_file", path)?;
        let bad = |error: Malformed| {
            let next = "put the PEM of the root certificate into it";
            failure(Code::ConfigRoot, path.display(), error, next, Advice::Person)
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
        return Err(failure(Code::NoRoots, "this system", "trusts no root certificate", next, Advice::Person));
    }
    Ok(roots)
}

pub(crate) fn system_roots() -> Roots {
    Roots::from_ders(system_certificates())
}

fn system_certificates() -> impl Iterator<Item = Vec<u8>> {
    rustls_native_certs::load_native_certs().certs.into_iter().map(|der| der.to_vec())
}

/// The text of a file that is not secret but that certd trusts.
///
/// # Errors
/// It cannot be read, or others can write it.
pub(crate) fn public(config: &Config, key: &str, path: &Path) -> Result<String, Finding> {
    guard(config, path)?;
    std::fs::read_to_string(path).map_err(|error| {
        let next = Started::now().next(&error, format!("see {key} in the configuration"));
        failure(Code::ConfigFile, path.display(), error, next, Advice::Person)
    })
}

fn guard(config: &Config, path: &Path) -> Result<(), Finding> {
    Writers::of_state(&config.state_dir).check(path).map_err(Finding::from)
}

/// Checks the program, and a script among its arguments.
fn guard_program(config: &Config, command: &[String]) -> Result<(), Finding> {
    let files = command.iter().map(Path::new).filter(|path| path.is_absolute() && path.is_file());
    files.into_iter().try_for_each(|path| guard(config, path))
}
