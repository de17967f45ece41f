//! What another ACME client keeps: the text of its files in, what certd can use of it out. Nothing in it is executed or
//! evaluated, and no file is found by a name that stands in another one.
//!
//! The files are another machine's or another user's, and hostile. What cannot be used is left out, with its file, its
//! line and the reason; the rest counts.

mod acme_sh;
mod adopt;
mod assignments;
mod certbot;
mod der;
mod ini;
mod jwk;
mod lego;
mod proposal;
mod reload;

use std::collections::BTreeMap;

use url::Url;
use zeroize::Zeroizing;

use crate::cert::{Chain, DnsName, KeyType, Leaf, NameSet, NodeName, Pair, PrivateKey};
use crate::config::defaults::KNOWN_CAS;
use crate::text::escape;

pub use adopt::{Account, Adopted, Adoption, Standing, adopt};
pub use proposal::{EAB_FILE, Looked, Place, Proposal, SecretFile, propose, section};

/// Bytes of one file. A chain of ten has less.
pub const MOST_BYTES: usize = 64 * 1024;
/// Files of one home, and their bytes together: five hundred certificates.
pub const MOST_FILES: usize = 2_500;
pub const MOST_TOTAL: usize = 16 * 1024 * 1024;
/// Characters of another's text that are shown.
const SHOWN: usize = 200;
/// How a file outside of the home begins.
const OUTSIDE: &str = "@";
/// Longest path within a home.
const LONGEST_PATH: usize = 300;

/// Whose home it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    AcmeSh,
    Certbot,
    Lego,
}

impl Client {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AcmeSh => "acme.sh",
            Self::Certbot => "certbot",
            Self::Lego => "lego",
        }
    }
}

/// The files of one home, as they were read.
#[derive(Default)]
pub struct Files {
    /// The home, as it is shown.
    pub home: String,
    /// On which node; `None`: on this machine.
    pub node: Option<NodeName>,
    /// Its owner is neither root nor who imports: it does not decide what root runs or writes, nor where.
    pub unprivileged: bool,
    texts: BTreeMap<String, Zeroizing<String>>,
    pub left_out: Vec<LeftOut>,
    total: usize,
}

/// Something that is not imported, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// A file with its line, or what it is.
    pub what: String,
    pub why: String,
}

impl Files {
    pub fn new(home: &str, node: Option<NodeName>) -> Self {
        Self { home: escape(home, SHOWN), node, ..Self::default() }
    }

    /// `path`: within the home.
    pub fn add(&mut self, path: &str, bytes: Zeroizing<Vec<u8>>) {
        let part = |part: &str| !matches!(part, "" | "." | "..");
        if path.len() > LONGEST_PATH || path.chars().any(char::is_control) || !path.split('/').all(part) {
            return self.leave_out(path, "is no plain path");
        }
        if bytes.len() > MOST_BYTES {
            return self.leave_out(path, format!("is longer than {MOST_BYTES} bytes"));
        }
        if self.texts.len() >= MOST_FILES || self.total + bytes.len() > MOST_TOTAL {
            return self.leave_out(path, "is one file too many: there are too many or too long files");
        }
        if self.texts.contains_key(path) {
            return self.leave_out(path, "is there twice: the first one counts");
        }
        let Ok(text) = str::from_utf8(&bytes) else { return self.leave_out(path, "is not text (UTF-8)") };
        self.total += bytes.len();
        self.texts.insert(path.to_owned(), Zeroizing::new(text.to_owned()));
    }

    /// A file outside of the home, by its absolute path.
    pub fn add_outside(&mut self, path: &str, bytes: Zeroizing<Vec<u8>>) {
        self.add(&outside_name(path), bytes);
    }

    pub fn leave_out(&mut self, path: &str, why: impl Into<String>) {
        let last_one = self.left_out.len() == MOST_FILES;
        if self.left_out.len() < MOST_FILES || last_one {
            let what = if last_one { "further files".to_owned() } else { self.shown(path) };
            self.left_out.push(LeftOut { what, why: why.into() });
        }
    }

    fn get(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(|text| text.as_str())
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// A file as people find it again.
    fn shown(&self, path: &str) -> String {
        let node = self.node.as_ref().map(|node| format!("{node}:")).unwrap_or_default();
        match path.strip_prefix(OUTSIDE) {
            Some(path) => format!("{node}{}", escape(path, SHOWN)),
            None => format!("{node}{}/{}", self.home, escape(path, SHOWN)),
        }
    }
}

/// The name of a file outside of the home, by its absolute path.
pub fn outside_name(path: &str) -> String {
    format!("{OUTSIDE}{path}")
}

/// What one home has.
#[derive(Default)]
pub struct Found {
    pub home: String,
    pub node: Option<NodeName>,
    pub unprivileged: bool,
    pub accounts: Vec<FoundAccount>,
    pub tokens: Vec<FoundToken>,
    pub certificates: Vec<FoundCertificate>,
    pub left_out: Vec<LeftOut>,
}

/// An account at a CA. No `Debug`: it has a key.
#[derive(Clone)]
pub struct FoundAccount {
    /// Where its key is.
    pub file: String,
    pub directory: Url,
    pub key: PrivateKey,
    /// Its URL, at the directory's host.
    pub url: Option<String>,
    /// `mailto:` URLs, without those that are none.
    pub contact: Vec<String>,
    /// The external account that it is bound to: key identifier and HMAC key.
    pub binding: Option<(String, Zeroizing<String>)>,
}

/// An API token of Cloudflare. No `Debug`.
#[derive(Clone)]
pub struct FoundToken {
    pub file: String,
    pub token: Zeroizing<String>,
    pub zone_id: Option<String>,
}

/// A certificate that the client renews.
#[derive(Clone, Debug)]
pub struct FoundCertificate {
    /// Its configuration.
    pub file: String,
    /// The client's name of it: the first domain.
    pub main: DnsName,
    pub names: NameSet,
    pub directory: Option<Url>,
    /// `None`: it was never issued, or what there is cannot be used (which is left out with its reason).
    pub pair: Option<Pair>,
    pub challenge: FoundChallenge,
    pub paths: Paths,
    pub reload: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundChallenge {
    Cloudflare,
    /// Another DNS provider, by the client's name of it.
    OtherDns(String),
    /// HTTP-01, TLS-ALPN-01 or by hand.
    Other(String),
    /// The client does not keep it.
    Unknown,
}

/// Where the client installs it on that machine: absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    pub fullchain: Option<String>,
    pub key: Option<String>,
    pub cert: Option<String>,
    pub chain: Option<String>,
}

impl FoundCertificate {
    pub fn leaf(&self) -> Option<&Leaf> {
        self.pair.as_ref().map(|pair| &pair.chain().leaf)
    }

    pub fn key_type(&self) -> Option<KeyType> {
        self.leaf().and_then(|leaf| leaf.key_type)
    }
}

/// Reads a home. `cas`: directories that the configuration names; clients keep them in part only.
pub fn read(client: Client, files: &Files, cas: &[Url]) -> Found {
    let known = KNOWN_CAS.iter().filter_map(|ca| Url::parse(ca.directory).ok());
    let cas: Vec<Url> = known.chain(cas.iter().cloned()).collect();
    let mut found = match client {
        Client::AcmeSh => acme_sh::read(files, cas.clone()),
        Client::Certbot => certbot::read(files),
        Client::Lego => lego::read(files, &cas),
    };
    if files.unprivileged {
        found.distrust(&cas);
    }
    found
}

/// Whether an import reads this file of a home.
pub fn wants(client: Client, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    match (client, parts.as_slice()) {
        (Client::AcmeSh, ["account.conf"]) => true,
        (Client::AcmeSh, ["ca", .., file]) => ["account.key", "account.json", "ca.conf"].contains(file),
        (Client::AcmeSh, [folder, file]) => {
            let stem = folder.strip_suffix("_ecc").unwrap_or(folder);
            *file == "fullchain.cer" || ["conf", "key"].iter().any(|end| *file == format!("{stem}.{end}"))
        }
        (Client::Certbot, ["accounts", .., file]) => ["private_key.json", "regr.json"].contains(file),
        (Client::Certbot, ["renewal", file]) => file.ends_with(".conf"),
        (Client::Certbot, ["live", _, file]) => ["fullchain.pem", "privkey.pem"].contains(file),
        (Client::Lego, ["accounts", _, _, "account.json"]) => true,
        (Client::Lego, ["accounts", _, _, "keys", file]) => file.ends_with(".key"),
        (Client::Lego, ["certificates", file]) => {
            !file.ends_with(".issuer.crt") && [".json", ".key", ".crt"].iter().any(|end| file.ends_with(end))
        }
        _ => false,
    }
}

/// Whether it is a home at all.
pub fn is_home(client: Client, files: &Files) -> bool {
    let begins = |folders: &[&str]| files.paths().any(|path| folders.iter().any(|folder| path.starts_with(folder)));
    match client {
        Client::AcmeSh => files.get("account.conf").is_some() || begins(&["ca/"]),
        Client::Certbot => begins(&["renewal/", "accounts/"]),
        Client::Lego => begins(&["certificates/", "accounts/"]),
    }
}

/// Another folder in which acme.sh keeps the certificates.
pub fn certificates_folder(client: Client, files: &Files) -> Option<String> {
    if client == Client::AcmeSh { acme_sh::cert_home(files) } else { None }
}

/// Absolute paths of further files that a home names, to be added by [`Files::add_outside`].
pub fn outside(client: Client, files: &Files) -> Vec<String> {
    if client == Client::Certbot { certbot::outside(files) } else { Vec::new() }
}

impl Found {
    fn of(files: &Files) -> Self {
        let (home, node, left_out) = (files.home.clone(), files.node.clone(), files.left_out.clone());
        Self { home, node, unprivileged: files.unprivileged, left_out, ..Self::default() }
    }

    /// Takes out what would let the home's owner decide what root does: commands, paths, and where to order.
    fn distrust(&mut self, cas: &[Url]) {
        let known = |url: &Url| cas.iter().any(|ca| ca == url);
        for one in &mut self.certificates {
            let of = &one.paths;
            let paths = [&of.fullchain, &of.key, &of.cert, &of.chain].into_iter().flatten();
            let reload = one.reload.iter().map(|reload| ("reload command", reload));
            for (what, text) in reload.chain(paths.map(|path| ("path", path))) {
                let why = format!(
                    "the folder is not root's, so its {what} is not taken: look at it, and write it yourself: {}",
                    escape(text, SHOWN)
                );
                self.left_out.push(LeftOut { what: one.file.clone(), why });
            }
            (one.paths, one.reload) = (Paths::default(), None);
            if let Some(ca) = one.directory.take_if(|url| !known(url)) {
                let why = format!("the folder is not root's, and certd does not know its CA: {ca}");
                self.left_out.push(LeftOut { what: one.file.clone(), why });
            }
        }
        for account in self.accounts.extract_if(.., |account| !known(&account.directory)) {
            let why = format!("the folder is not root's, and certd does not know its CA: {}", account.directory);
            self.left_out.push(LeftOut { what: account.file, why });
        }
    }

    fn leave_out(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left_out.push(LeftOut { what: what.into(), why: why.into() });
    }

    /// The names of a certificate, the main one first.
    fn names(&mut self, file: &str, names: &[&str]) -> Option<(DnsName, NameSet)> {
        let mut parsed = Vec::new();
        for name in names {
            match DnsName::parse(name) {
                Ok(name) => parsed.push(name),
                Err(bad) => {
                    self.leave_out(file, format!("{}: {}", escape(&format!("{:?}", bad.text), SHOWN), bad.why));
                    return None;
                }
            }
        }
        let Some(main) = parsed.first().cloned() else {
            self.leave_out(file, "names no domain");
            return None;
        };
        Some((main, parsed.into_iter().collect()))
    }

    /// A pair from the texts of two files, which `shown` names.
    fn pair(&mut self, shown: [&str; 2], chain: &str, key: &str) -> Option<Pair> {
        let [chain_file, key_file] = shown;
        let chain = Chain::parse(chain).map_err(|bad| self.leave_out(chain_file, bad.to_string())).ok()?;
        let key = self.key(key_file, key)?;
        Pair::new(chain, key).map_err(|bad| self.leave_out(key_file, bad.to_string())).ok()
    }

    fn key(&mut self, file: &str, pem: &str) -> Option<PrivateKey> {
        let key = PrivateKey::parse(Zeroizing::new(pem.to_owned()));
        key.map_err(|bad| self.leave_out(file, bad.to_string())).ok()
    }
}

/// Its path on a node, if it can be one of certd's: absolute, plain, without control characters.
fn install_path(text: &str) -> Result<Option<String>, &'static str> {
    let plain = |text: &str| text.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    match text {
        "" | "no" => Ok(None),
        _ if !text.starts_with('/') => Err("is not an absolute path"),
        _ if text.len() > LONGEST_PATH || !is_plain(text) => Err("is too long, or has characters that cannot be seen"),
        _ if !plain(text) => Err("has an empty part, '.' or '..' in its path"),
        _ => Ok(Some(text.to_owned())),
    }
}

/// Whether a person who reads it sees all of it.
fn is_plain(text: &str) -> bool {
    escape(text, text.len()) == text
}

/// A mail address as the account has it.
fn contact(text: &str) -> Option<String> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let (local, domain) = address.split_once('@')?;
    let fit = |c: char| c.is_ascii_graphic() && !"@,?<>\"'\\".contains(c);
    let well = !local.is_empty() && domain.contains('.') && local.chars().all(fit) && domain.chars().all(fit);
    (well && address.len() <= 254).then(|| format!("mailto:{address}"))
}

/// The URL of a directory: `https`, with a host, without a user, a query or a fragment.
fn directory(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|_| text.len() <= LONGEST_PATH)?;
    let well = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    let bare = url.query().is_none() && url.fragment().is_none();
    (well && bare && url.host_str().is_some_and(|host| !host.is_empty())).then_some(url)
}

/// The account's URL, if it is at the CA of the directory.
fn account_url(text: &str, directory: &Url) -> Option<String> {
    let url = self::directory(text)?;
    (url.origin() == directory.origin()).then(|| url.to_string())
}

/// A word that can be a token: as Cloudflare's are, without anything that ends a line or needs quotes.
fn token(text: &str) -> Option<Zeroizing<String>> {
    let well = !text.is_empty() && text.len() <= 500 && text.bytes().all(|byte| byte.is_ascii_graphic());
    well.then(|| Zeroizing::new(text.to_owned()))
}

/// An identifier of Cloudflare's: lower-case hex.
fn zone_id(text: &str) -> Option<String> {
    let well = (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    well.then(|| text.to_owned())
}
