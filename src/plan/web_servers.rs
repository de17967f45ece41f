//! What a web server's own configuration says of where it reads a certificate, and the `[install]` that follows from it.
//!
//! A proposal: the configuration's parser judges its paths, a person confirms it, and `certd doctor` tries it.

mod apache;
mod caddy;
mod haproxy;
mod nginx;

use std::collections::BTreeSet;

use toml::Value;

use crate::cert::DnsName;
use crate::config::draft::DraftInstall;
use crate::model::{FoundServer, ServerKind};
use crate::text::escape;

/// Nobody has as many; a configuration that includes itself in a thousand ways has.
const MOST_SITES: usize = 10_000;
/// Pairs of one site: one for each algorithm of keys would be three.
const MOST_PAIRS: usize = 16;
/// Bytes of all sites of one server: a few lines may stand for as many as there are sites.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// PATH_MAX.
const LONGEST_PATH: usize = 4096;

/// One place of a server's configuration at which names are served over TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Site {
    /// In lower case: `www.example.com`, `*.example.com`, `.example.com`. Empty: any.
    names: Vec<String>,
    /// It answers where no other does.
    is_default: bool,
    files: Vec<Files>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Files {
    /// The chain and the key, as written and made absolute.
    Pair(String, String),
    /// Both in one file.
    Combined(String),
    /// A folder of such files.
    Folder(String),
    /// Not to be written by certd, and why.
    Unusable(String),
}

impl Files {
    fn pair(fullchain: &str, key: &str) -> Self {
        match (whole(fullchain), whole(key)) {
            (Ok(fullchain), Ok(key)) => Self::Pair(fullchain, key),
            (Err(why), _) | (_, Err(why)) => Self::Unusable(why),
        }
    }
}

/// An absolute path without `.` and `..`, as servers take them and the configuration does not.
fn whole(path: &str) -> Result<String, String> {
    if !path.starts_with('/') || path.len() > LONGEST_PATH {
        return Err(format!("the server's path {} is not an absolute one, or too long", escape(path, 200)));
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

/// What is left of [`MOST_BYTES`].
struct Room(usize);

impl Room {
    /// Whether there was room.
    fn take(&mut self, bytes: usize) -> bool {
        // A text of no length takes memory too.
        let left = self.0.checked_sub(bytes.saturating_add(32));
        self.0 = left.unwrap_or_default();
        left.is_some()
    }

    /// Those for which there is room.
    fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        texts.into_iter().take_while(|text| self.take(text.len())).map(str::to_ascii_lowercase).collect()
    }

    fn files(&mut self, files: impl IntoIterator<Item = Files>) -> Vec<Files> {
        let length = |files: &Files| match files {
            Files::Pair(fullchain, key) => fullchain.len() + key.len(),
            Files::Combined(text) | Files::Folder(text) | Files::Unusable(text) => text.len(),
        };
        files.into_iter().take(MOST_PAIRS).take_while(|files| self.take(length(files))).collect()
    }
}

/// How one server would get its certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    pub kind: ServerKind,
    pub program: String,
    pub install: DraftInstall,
    /// The server names one of the wanted names; else the files are those of its default.
    pub by_name: bool,
    /// Names for which the server shows the same files, and that the certificate would not hold.
    pub others: Vec<String>,
    pub listens: bool,
    /// What a person has to know, or to do by hand.
    pub notes: Vec<String>,
}

impl Proposal {
    /// Paths, and a way to test and to reload.
    pub fn is_complete(&self) -> bool {
        let install = &self.install;
        let commands = install.server.is_some() || !(install.test.is_empty() || install.reload.is_empty());
        install.fullchain.is_some() && install.key.is_some() && commands
    }
}

/// Which of the proposals to take.
pub enum Choice<'a> {
    One(&'a Proposal),
    /// A person has to say: none is better than another, or what is there now is shown for other names too, which would be
    /// refused from then on.
    Ask(Vec<&'a Proposal>),
    None,
}

pub fn choose(proposals: &[Proposal]) -> Choice<'_> {
    let complete: Vec<&Proposal> = proposals.iter().filter(|proposal| proposal.is_complete()).collect();
    let rank = |proposal: &Proposal| (proposal.listens, proposal.by_name);
    let Some(best) = complete.iter().map(|proposal| rank(proposal)).max() else { return Choice::None };
    let best: Vec<&Proposal> = complete.into_iter().filter(|proposal| rank(proposal) == best).collect();
    match best.as_slice() {
        [one] if one.by_name && one.others.is_empty() => Choice::One(one),
        _ => Choice::Ask(best),
    }
}

/// Of every server, the best first: one that listens, then one that names a wanted name. `name` is what `{name}` will stand
/// for.
pub fn propose(servers: &[FoundServer], name: &str, domains: &[DnsName]) -> Vec<Proposal> {
    let mut proposals: Vec<Proposal> = servers.iter().flat_map(|server| of_server(server, name, domains)).collect();
    proposals.dedup();
    proposals.sort_by_key(|proposal| (!proposal.listens, !proposal.by_name, !proposal.is_complete()));
    proposals
}

fn of_server(server: &FoundServer, name: &str, domains: &[DnsName]) -> Vec<Proposal> {
    let text = &server.configuration;
    let sites = match server.kind {
        ServerKind::Nginx => nginx::sites(text),
        ServerKind::Apache => apache::sites(text),
        ServerKind::Haproxy => haproxy::sites(text),
        ServerKind::Caddy => caddy::sites(text),
    };
    let others = |files: &Files| {
        let sharing = sites.iter().filter(|site| site.files.contains(files));
        let names: BTreeSet<&String> = sharing.flat_map(|site| &site.names).collect();
        let is_other = |name: &&&String| {
            let name = DnsName::parse(name.trim_start_matches('.')).ok().filter(|name| name.as_str().contains('.'));
            name.is_some_and(|name| !domains.iter().any(|domain| *domain == name || domain.covers(&name)))
        };
        names.iter().filter(is_other).map(|name| escape(name, 260)).collect::<Vec<String>>()
    };
    let proposal = |files: Option<&Files>, by_name: bool| {
        // A file of its own, in a folder that the server reads whole.
        let by_name = by_name || matches!(files, Some(Files::Folder(_)));
        let mut install = commands(server);
        let note = files.and_then(|files| put(files, &mut install, server.kind, name));
        let mut notes: Vec<String> = note.into_iter().collect();
        if let Err(why) = install.flaw() {
            notes.push(format!("what the server reads cannot be configured as it is: {}", escape(&why, 300)));
            (install.fullchain, install.key, install.further) = (None, None, Vec::new());
        }
        if install.server.is_none() && install.reload.is_empty() {
            let program = escape(&server.program, 200);
            notes.push(format!("how {program} is reloaded was not found: no systemd unit runs it"));
        }
        let (kind, program, listens) = (server.kind, escape(&server.program, 200), server.listens);
        Proposal { kind, program, install, by_name, others: files.map(others).unwrap_or_default(), listens, notes }
    };
    let serves = |site: &&Site| domains.iter().any(|domain| site.names.iter().any(|name| covers(name, domain)));
    let named: Vec<&Site> = sites.iter().filter(serves).collect();
    let by_name = !named.is_empty();
    // Without a name the first one is the default, as in nginx and Apache.
    let default = || sites.iter().find(|site| site.is_default).or(sites.first());
    let chosen = if by_name { named } else { default().into_iter().collect() };
    let mut files: Vec<&Files> = Vec::new();
    for one in chosen.into_iter().flat_map(|site| &site.files) {
        if files.len() < MOST_PAIRS && !files.contains(&one) {
            files.push(one);
        }
    }
    if files.is_empty() {
        return vec![proposal(None, false)];
    }
    files.into_iter().map(|files| proposal(Some(files), by_name)).collect()
}

/// Writes the paths, and returns what there is to say of them.
fn put(files: &Files, install: &mut DraftInstall, kind: ServerKind, name: &str) -> Option<String> {
    let with_name = |path: &str| with_placeholder(path, name);
    match files {
        Files::Pair(fullchain, key) => match foreign(fullchain).or(foreign(key)) {
            Some(why) => Some(format!(
                "{} is {why}: certd does not write there; let the server read a path of its own, and put that here",
                escape(fullchain, 200)
            )),
            None => {
                install.fullchain = Some(with_name(fullchain));
                install.key = Some(with_name(key));
                None
            }
        },
        Files::Combined(path) | Files::Folder(path) => {
            let path = if matches!(files, Files::Folder(_)) {
                format!("{}/{{name}}.pem", path.trim_end_matches('/'))
            } else {
                with_name(path)
            };
            // Beside the folder, every file of which the server may read.
            let folder = format!("/etc/{}/{{name}}", kind.as_str());
            install.fullchain = Some(format!("{folder}/fullchain.pem"));
            install.key = Some(format!("{folder}/privkey.pem"));
            install.further.push(("combined".to_owned(), Value::from(path)));
            None
        }
        Files::Unusable(why) => Some(why.clone()),
    }
}

/// Whose file it is, if not the server's own.
fn foreign(path: &str) -> Option<&'static str> {
    if path.starts_with("/etc/letsencrypt/") {
        return Some("certbot's");
    }
    path.contains("ssl-cert-snakeoil").then_some("the test certificate of the package ssl-cert")
}

/// `{name}` for each part of the path that is the certificate's name, with its ending or without.
fn with_placeholder(path: &str, name: &str) -> String {
    let part = |part: &str| match part.strip_prefix(name) {
        Some(rest) if rest.is_empty() || rest.starts_with('.') || rest.starts_with('-') || rest.starts_with('_') => {
            format!("{{name}}{rest}")
        }
        _ => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// How the server is tested and reloaded: the preset of its name where that is what runs, else its own commands.
fn commands(server: &FoundServer) -> DraftInstall {
    let (preset, standard, unit) = match server.kind {
        ServerKind::Nginx => ("nginx", &["/usr/sbin/nginx", "/usr/bin/nginx"][..], "nginx.service"),
        ServerKind::Apache => ("apache", &["/usr/sbin/apachectl", "/usr/sbin/apache2ctl"][..], "apache2.service"),
        ServerKind::Haproxy => ("haproxy", &["/usr/sbin/haproxy"][..], "haproxy.service"),
        ServerKind::Caddy => ("caddy", &["/usr/bin/caddy"][..], "caddy.service"),
    };
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|&word| word.to_owned()).collect() };
    let is_default = match server.kind {
        ServerKind::Haproxy => server.arguments.is_empty() || server.arguments == ["-f", "/etc/haproxy/haproxy.cfg"],
        ServerKind::Caddy => server.arguments.is_empty() || server.arguments == ["--config", "/etc/caddy/Caddyfile"],
        _ => server.arguments.is_empty(),
    };
    let of_unit = server.unit.as_deref() == Some(unit);
    if is_default && standard.contains(&server.program.as_str()) && of_unit {
        return DraftInstall { server: Some(preset.to_owned()), ..DraftInstall::default() };
    }
    let call = |before: &[&str], after: &[&str]| {
        let program = core::iter::once(server.program.clone());
        program.chain(words(before)).chain(server.arguments.iter().cloned()).chain(words(after)).collect::<Vec<_>>()
    };
    let by_unit = server.unit.as_ref().map(|unit| {
        vec!["systemctl".to_owned(), "reload".to_owned(), unit.strip_suffix(".service").unwrap_or(unit).to_owned()]
    });
    let (test, own) = match server.kind {
        ServerKind::Nginx => (call(&[], &["-t"]), call(&[], &["-s", "reload"])),
        ServerKind::Apache => (call(&["-t"], &[]), call(&["-k", "graceful"], &[])),
        ServerKind::Haproxy => (call(&["-c"], &[]), Vec::new()),
        ServerKind::Caddy => (call(&["validate"], &[]), call(&["reload", "--force"], &[])),
    };
    // Its own command, which reads the files anew where systemd's may not.
    let reload = match server.kind {
        ServerKind::Caddy => own,
        _ => by_unit.unwrap_or(own),
    };
    // For who may read the key.
    let preset = (server.kind == ServerKind::Caddy && of_unit).then(|| preset.to_owned());
    DraftInstall { server: preset, test, reload, ..DraftInstall::default() }
}

/// Whether a server of this name is asked for one of the certificate's.
fn covers(server_name: &str, domain: &DnsName) -> bool {
    let domain = domain.as_str();
    if let Some(below) = server_name.strip_prefix('.') {
        return domain == below || domain.ends_with(server_name);
    }
    if let Some(below) = server_name.strip_prefix('*') {
        return domain == server_name || (below.starts_with('.') && domain.ends_with(below));
    }
    match domain.strip_prefix('*') {
        // One label, as the certificate's wildcard stands for.
        Some(below) => server_name.strip_suffix(below).is_some_and(|label| !label.is_empty() && !label.contains('.')),
        None => domain == server_name,
    }
}

#[cfg(test)]
mod tests;
