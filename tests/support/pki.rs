//! The lab's own certificates (its authority for Pebble's API, the old ones on nodes), and a second opinion on what nodes
//! hold and serve, by other code than certd's.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use x509_parser::pem::Pem;

const DAY: i64 = 24 * 3600;

pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root signs itself"))
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key as PEM; `days` from now, negative for one that ended that long ago. Addresses are names too.
    pub fn issue(&self, names: &[String], days: i64) -> (String, String) {
        let end = now() + days * DAY;
        self.issue_between(names, end.min(now()) - 60 * DAY, end)
    }

    /// The same, with an RSA key.
    pub fn issue_rsa(&self, names: &[String], days: i64) -> (String, String) {
        let end = now() + days * DAY;
        let key = certd::cert::PrivateKey::generate(certd::cert::KeyType::Rsa2048).expect("a key can be made");
        let key = KeyPair::from_pem(key.pem()).expect("what was just made");
        self.issue_for(key, names, end.min(now()) - 60 * DAY, end)
    }

    /// One that begins in `days` and lasts for a month.
    pub fn issue_ahead(&self, names: &[String], days: i64) -> (String, String) {
        let begin = now() + days * DAY;
        self.issue_between(names, begin, begin + 30 * DAY)
    }

    fn issue_between(&self, names: &[String], begin: i64, end: i64) -> (String, String) {
        self.issue_for(KeyPair::generate().expect("a key can be made"), names, begin, end)
    }

    fn issue_for(&self, key: KeyPair, names: &[String], begin: i64, end: i64) -> (String, String) {
        let mut params = CertificateParams::new(names).expect("the lab's names are valid");
        params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(begin as u64);
        params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(end as u64);
        params.distinguished_name.push(DnType::CommonName, &names[0]);
        params.use_authority_key_identifier_extension = true;
        let cert = params.signed_by(&key, &self.0).expect("the lab's authority signs");
        (cert.pem(), key.serialize_pem())
    }

    /// A TLS server of the lab at these addresses.
    pub fn server_config(&self, names: &[String]) -> Arc<ServerConfig> {
        let (cert, key) = self.issue(names, 30);
        let cert = parse(&cert).expect("what was just written").der;
        let key = Pem::iter_from_buffer(key.as_bytes()).flatten().next().expect("what was just written").contents;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_no_client_auth()
            .with_single_cert(vec![cert.into()], PrivatePkcs8KeyDer::from(key).into());
        Arc::new(config.expect("certificate and key match"))
    }
}

/// The leaf of a chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Leaf {
    /// SHA-256 of the certificate, lower-case hex.
    pub fingerprint: String,
    /// Seconds since 1970.
    pub not_after: i64,
    /// Lower-case hex, as in Pebble's `/cert-status-by-serial/`.
    pub serial: String,
    pub names: Vec<String>,
    pub der: Vec<u8>,
    spki: Vec<u8>,
}

/// The first certificate in a text that holds PEM.
pub fn parse(text: &str) -> Option<Leaf> {
    let pem = Pem::iter_from_buffer(text.as_bytes()).flatten().find(|pem| pem.label == "CERTIFICATE")?;
    let cert = pem.parse_x509().ok()?;
    let names = cert.subject_alternative_name().ok().flatten().map(|san| {
        let names = san.value.general_names.iter();
        names.filter_map(|name| {
            if let x509_parser::prelude::GeneralName::DNSName(n) = name { Some(n.to_string()) } else { None }
        })
    });
    Some(Leaf {
        fingerprint: hex(digest(&SHA256, &pem.contents).as_ref()),
        not_after: cert.validity().not_after.timestamp(),
        serial: hex(cert.raw_serial()),
        names: names.map(Iterator::collect).unwrap_or_default(),
        spki: cert.public_key().raw.to_vec(),
        der: pem.contents.clone(),
    })
}

/// The leaf that a server presents for `name` in a fresh handshake; the error is openssl's last words.
pub fn handshake(at: SocketAddr, name: &str) -> Result<Leaf, String> {
    handshake_with(at, name, &[])
}

/// The same, with further arguments of `openssl s_client`.
pub fn handshake_with(at: SocketAddr, name: &str, more: &[&str]) -> Result<Leaf, String> {
    let output = Command::new("timeout")
        .args(["10", "openssl", "s_client", "-connect", &at.to_string(), "-servername", name])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("timeout(1) starts");
    parse(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
        let text = String::from_utf8_lossy(&output.stderr);
        text.lines().last().unwrap_or("no certificate").to_string()
    })
}

/// The pair behind two paths, as a server sees it that reads both at one instant: each symbolic link is read once for
/// both. An error says what is missing or that certificate and key do not belong together.
pub fn pair(fullchain: &Path, key: &Path) -> Result<Leaf, String> {
    let mut links = HashMap::new();
    let fullchain = resolve(fullchain, &mut links)?;
    let key = resolve(key, &mut links)?;
    let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let leaf = parse(&read(&fullchain)?).ok_or_else(|| format!("{}: no certificate", fullchain.display()))?;
    let pair = KeyPair::from_pem(&read(&key)?).map_err(|error| format!("{}: {error}", key.display()))?;
    if pair.subject_public_key_info() != leaf.spki {
        return Err(format!("{} and {} do not match", fullchain.display(), key.display()));
    }
    Ok(leaf)
}

fn resolve(path: &Path, links: &mut HashMap<PathBuf, Option<PathBuf>>) -> Result<PathBuf, String> {
    let mut done = PathBuf::new();
    let mut todo: Vec<PathBuf> = path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect();
    for _ in 0..200 {
        let Some(part) = todo.pop() else { return Ok(done) };
        match part.components().next() {
            Some(Component::RootDir) => done = PathBuf::from("/"),
            Some(Component::ParentDir) => _ = done.pop(),
            _ => {
                let here = done.join(&part);
                match links.entry(here.clone()).or_insert_with(|| fs::read_link(&here).ok()) {
                    Some(target) => todo.extend(target.components().rev().map(|part| PathBuf::from(part.as_os_str()))),
                    None => done = here,
                }
            }
        }
    }
    Err(format!("{}: a loop of links", path.display()))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[allow(clippy::disallowed_methods, reason = "the lab's certificates must be old or young today")]
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("the clock is before the year 292 billion")
}
