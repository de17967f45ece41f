//! The keys of `[dns]` for a single provider; the keys of another provider are errors.

use core::time::Duration;
use std::path::{Path, PathBuf};

use url::Url;

use super::Host;
use super::defaults::{
    CLOUDFLARE_API, DNS_PORT, LONGEST_ARGUMENT, LONGEST_PROGRAM_TIMEOUT, LONGEST_UPDATE_TTL, PROGRAM_TIMEOUT,
    UPDATE_TTL,
};
use super::error::ConfigErrors;
use super::value::{absolute, is_loopback, local_path, printable, url};
use super::written::{Section, Spanned};
use crate::cert::DnsName;

#[derive(Clone, Debug)]
pub enum Provider {
    /// Paths are appended to `api_base`; one without a path ends in `/`, every other in none.
    Cloudflare {
        token_file: PathBuf,
        zone_id: Option<String>,
        api_base: Url,
    },
    Rfc2136(Rfc2136),
    /// The operator's program, called once for each record. `command` is never empty, and its program's path is absolute.
    Exec {
        command: Vec<String>,
        timeout: Duration,
        /// The program reads and changes address records, too.
        addresses: bool,
    },
}

impl Provider {
    /// The file with its secret, and the key that names it.
    pub fn secret_file(&self) -> Option<(&'static str, &Path)> {
        match self {
            Self::Cloudflare { token_file, .. } => Some(("token_file", token_file)),
            Self::Rfc2136(primary) => Some(("key_file", &primary.key_file)),
            Self::Exec { .. } => None,
        }
    }
}

/// A name server that takes UPDATEs signed with TSIG.
#[derive(Clone, Debug)]
pub struct Rfc2136 {
    pub host: Host,
    pub port: u16,
    pub key_file: PathBuf,
    /// Name and algorithm are needed where the key file has the secret alone.
    pub key_name: Option<String>,
    pub algorithm: Option<TsigAlgorithm>,
    /// Lower case, without a dot at its end. `None`: the zone that DNS shows.
    pub zone: Option<String>,
    /// TTL of the records, in seconds.
    pub ttl: u32,
}

/// RFC 8945 section 6, without what it calls "NOT RECOMMENDED" and what truncates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TsigAlgorithm {
    /// The default: "RECOMMENDED", and the default of tsig-keygen(8).
    #[default]
    HmacSha256,
    HmacSha384,
    HmacSha512,
}

impl TsigAlgorithm {
    pub const ALL: [Self; 3] = [Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text.trim_end_matches('.')))
    }

    /// The name in messages and in BIND's files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::HmacSha384 => "hmac-sha384",
            Self::HmacSha512 => "hmac-sha512",
        }
    }
}

/// A provider's name, as `provider` has it, and the keys that are its own.
pub(super) const PROVIDERS: [(&str, &[&str]); 3] = [
    ("cloudflare", &["token_file", "zone_id", "api_base"]),
    ("rfc2136", &["server", "key_file", "key_name", "algorithm", "zone", "ttl"]),
    ("exec", &["command", "command_timeout", "addresses"]),
];

/// The keys that each provider's section has for itself.
pub fn provider_keys() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().flat_map(|(_, keys)| *keys).copied()
}

/// Reads an unknown provider as the first one, so that errors in its keys are reported, too.
pub(super) fn read(section: &mut Section<'_>) -> Option<Provider> {
    let errors = section.errors();
    section.required("provider", "provider = \"cloudflare\"");
    let written = section.string("provider");
    let known = written.as_ref().and_then(|written| PROVIDERS.iter().find(|(name, _)| *name == written.value));
    let own = known.unwrap_or(&PROVIDERS[0]).0;
    let provider = match own {
        "rfc2136" => rfc2136(section),
        "exec" => exec(section),
        _ => cloudflare(section),
    };
    for (other, keys) in PROVIDERS.iter().filter(|(other, _)| *other != own) {
        for key in *keys {
            if let (Some(misplaced), Some(_)) = (section.anything(key), known) {
                let what = format!("is a key of the provider {other:?}, and the provider is {own:?}");
                errors.at(&misplaced, what, format!("provider = {other:?}, or leave the key out"));
            }
        }
    }
    let written = written?;
    if known.is_none() {
        let names = "\"cloudflare\", \"rfc2136\" or \"exec\"";
        errors.at(&written, format!("{:?} is no known provider", written.value), names);
        return None;
    }
    provider
}

fn cloudflare(section: &mut Section<'_>) -> Option<Provider> {
    let errors = section.errors();
    section.required("token_file", "token_file = \"/etc/certd/cloudflare.token\", a file that holds the API token");
    let token_file = section.string("token_file").and_then(|path| local_path(&path, errors));
    let zone_id = section.string("zone_id").and_then(|id| cloudflare_zone(&id, errors));
    let api_base = section.string("api_base").and_then(|base| api_base(&base, errors));
    let api_base = api_base.or_else(|| Url::parse(CLOUDFLARE_API).ok())?;
    Some(Provider::Cloudflare { token_file: token_file?, zone_id, api_base })
}

fn rfc2136(section: &mut Section<'_>) -> Option<Provider> {
    let errors = section.errors();
    section.required("server", "server = \"192.0.2.53\", the zone's primary name server");
    let server = section.string("server").and_then(|server| primary(&server, errors));
    section.required("key_file", "key_file = \"/etc/certd/tsig.key\", a file that holds what tsig-keygen wrote");
    let key_file = section.string("key_file").and_then(|path| local_path(&path, errors));
    let key_name = section.string("key_name").and_then(|name| dns_name(&name, "key", "\"certd-key\"", errors));
    let algorithm = section.string("algorithm").and_then(|written| algorithm(&written, errors));
    let zone = section.string("zone").and_then(|name| dns_name(&name, "zone", "\"example.com\"", errors));
    let seconds = section.integer("ttl").and_then(|ttl| seconds(&ttl, LONGEST_UPDATE_TTL, errors));
    let ttl = seconds.unwrap_or(UPDATE_TTL);
    let (host, port) = server?;
    Some(Provider::Rfc2136(Rfc2136 { host, port, key_file: key_file?, key_name, algorithm, zone, ttl }))
}

fn exec(section: &mut Section<'_>) -> Option<Provider> {
    let errors = section.errors();
    section.required("command", "command = [\"/usr/local/bin/dns-hook\"], called as lego calls its exec provider");
    let command = section.strings("command").and_then(|argv| command(&argv, errors));
    let seconds = section.integer("command_timeout").and_then(|limit| seconds(&limit, LONGEST_PROGRAM_TIMEOUT, errors));
    let timeout = Duration::from_secs(seconds.unwrap_or(PROGRAM_TIMEOUT).into());
    let addresses = section.boolean("addresses").unwrap_or_default();
    Some(Provider::Exec { command: command?, timeout, addresses })
}

/// Requires HTTPS, since every request holds the API token in a header.
fn api_base(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<Url> {
    let base = url(written, &["https", "http"], errors)?;
    if base.scheme() == "http" && !is_loopback(&base) {
        let what = "would send the API token unencrypted over the network";
        errors.at(written, what, "an https:// URL; http:// is for 127.0.0.1, [::1] and localhost");
        return None;
    }
    if base.query().is_some() || base.fragment().is_some() {
        errors.at(written, "has a query or a fragment, and paths are appended to it", "the URL without '?' and '#'");
        return None;
    }
    Url::parse(base.as_str().trim_end_matches('/')).ok()
}

/// "Identifier", 32 hexadecimal digits, on the zone's overview page.
fn cloudflare_zone(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<String> {
    let id = &written.value;
    if id.len() != 32 || !id.chars().all(|c| c.is_ascii_hexdigit()) {
        let what = format!("{id:?} is not a zone's identifier");
        errors.at(written, what, "the zone's \"Zone ID\" (32 hexadecimal digits), or leave the key out");
        return None;
    }
    Some(id.to_ascii_lowercase())
}

/// An address or a name, with a port or without: `192.0.2.53`, `ns1.example.net:5353`, `[2001:db8::53]:53`.
fn primary(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<(Host, u16)> {
    let text = written.value.as_str();
    let name = |text: &str| DnsName::parse(text).ok().filter(|name| !name.is_wildcard()).map(Host::Name);
    let named = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        Some((name(host)?, port.parse::<u16>().ok()?))
    };
    let server = text.parse().map(|ip| (Host::Ip(ip), DNS_PORT)).ok();
    let server = server
        .or_else(|| text.parse::<core::net::SocketAddr>().map(|server| (Host::Ip(server.ip()), server.port())).ok());
    let server = server.or_else(|| name(text).map(|name| (name, DNS_PORT))).or_else(|| named(text));
    let server = server.filter(|(_, port)| *port != 0);
    if server.is_none() {
        let write = "\"192.0.2.53\", \"ns1.example.net:53\" or \"[2001:db8::53]:53\"";
        errors.at(written, format!("{text:?} is not an address or a name, with or without a port"), write);
    }
    server
}

/// The name of a zone or of a key: labels of letters, digits, `-` and `_`, in lower case, without a dot at the end.
pub(super) fn dns_name(
    written: &Spanned<String>,
    what: &str,
    write: &str,
    errors: &ConfigErrors<'_>,
) -> Option<String> {
    /// RFC 1035 section 2.3.4: "labels 63 octets or less, names 255 octets or less", and two of those are not seen here.
    const LONGEST: usize = 253;
    let name = written.value.strip_suffix('.').unwrap_or(&written.value).to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(allowed);
    if name.len() > LONGEST || !name.split('.').all(label) {
        errors.at(written, format!("{:?} is not the name of a {what}", written.value), write);
        return None;
    }
    Some(name)
}

fn algorithm(written: &Spanned<String>, errors: &ConfigErrors<'_>) -> Option<TsigAlgorithm> {
    let algorithm = TsigAlgorithm::parse(&written.value);
    if algorithm.is_none() {
        let names = TsigAlgorithm::ALL.map(|algorithm| format!("{:?}", algorithm.as_str())).join(", ");
        errors.at(written, format!("{:?} is no algorithm that certd signs with", written.value), names);
    }
    algorithm
}

fn seconds(written: &Spanned<i64>, most: u32, errors: &ConfigErrors<'_>) -> Option<u32> {
    let seconds = u32::try_from(written.value).ok().filter(|seconds| (1..=most).contains(seconds));
    if seconds.is_none() {
        let what = format!("{} is not a number of seconds that fits here", written.value);
        errors.at(written, what, format!("a number from 1 to {most}"));
    }
    seconds
}

/// A program by its path, since a search path is the environment's, and its first arguments.
fn command(argv: &Spanned<Vec<Spanned<String>>>, errors: &ConfigErrors<'_>) -> Option<Vec<String>> {
    let Some((program, arguments)) = argv.value.split_first() else {
        errors.at(argv, "is empty, and something has to run", "[\"/usr/local/bin/dns-hook\"]");
        return None;
    };
    let mut well = absolute(program, errors);
    for argument in arguments {
        well &= printable(argument, errors);
        if argument.value.len() > LONGEST_ARGUMENT {
            errors.at(argument, "is too long an argument", format!("at most {LONGEST_ARGUMENT} bytes"));
            well = false;
        }
    }
    well.then(|| argv.value.iter().map(|word| word.value.clone()).collect())
}
