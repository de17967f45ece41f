//! `apachectl -t -D DUMP_RUN_CFG -D DUMP_INCLUDES`, and the text of the files that it names.

use std::collections::BTreeMap;

use super::nginx::files;
use super::{Files, LONGEST_PATH, MOST_BYTES, MOST_PAIRS, MOST_SITES, Room, Site};
use crate::text::escape;

#[derive(Default)]
struct Host {
    names: Vec<String>,
    engine: Option<bool>,
    fullchains: Vec<String>,
    keys: Vec<String>,
}

pub(super) fn sites(output: &str) -> Vec<Site> {
    let line = |name: &str| output.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let root = line("ServerRoot:").map_or("/etc/apache2", |path| path.trim_matches('"')).to_owned();
    let defines = output.lines().filter_map(|line| line.strip_prefix("Define: ")?.split_once('='));
    let defines: BTreeMap<&str, &str> = defines.collect();
    let mut room = Room(MOST_BYTES);
    let mut of_all = Host::default();
    let mut hosts: Vec<Host> = Vec::new();
    for (_, text) in files(output) {
        let mut host: Option<Host> = None;
        for line in logical_lines(text) {
            let words = words(&line);
            let Some((directive, arguments)) = words.split_first() else { continue };
            let directive = directive.to_ascii_lowercase();
            match directive.as_str() {
                "<virtualhost" => host = Some(Host::default()),
                "</virtualhost>" => hosts.extend(host.take().filter(|_| hosts.len() < MOST_SITES)),
                _ => host.as_mut().unwrap_or(&mut of_all).take(&directive, arguments, &defines, &mut room),
            }
        }
    }
    let is_tls = |host: &&Host| host.engine.unwrap_or(!host.fullchains.is_empty());
    let mut sites = Vec::new();
    for host in hosts.iter().filter(is_tls) {
        let of = if host.fullchains.is_empty() { &of_all } else { host };
        let pair = |(number, fullchain): (usize, &String)| of.files(number, fullchain, &root);
        let files = room.files(of.fullchains.iter().enumerate().map(pair));
        let names = room.texts(host.names.iter().map(String::as_str));
        sites.push(Site { names, is_default: false, files });
        if !room.take(0) {
            break;
        }
    }
    sites
}

impl Host {
    fn take(&mut self, directive: &str, arguments: &[String], defines: &BTreeMap<&str, &str>, room: &mut Room) {
        let wanted = ["servername", "serveralias", "sslengine", "sslcertificatefile", "sslcertificatekeyfile"];
        if !wanted.contains(&directive) {
            return;
        }
        let first = arguments.first().map(|argument| resolved(argument, defines));
        if !room.take(first.as_ref().map_or(0, String::len)) {
            return;
        }
        match directive {
            // A port, or a scheme, may stand beside the name.
            "servername" => {
                let name = first.unwrap_or_default();
                let name = name.rsplit("://").next().unwrap_or_default();
                self.names.push(name.split(':').next().unwrap_or_default().to_ascii_lowercase());
            }
            "serveralias" => {
                for name in arguments.iter().map(|name| resolved(name, defines)) {
                    if !room.take(name.len()) {
                        return;
                    }
                    self.names.push(name.to_ascii_lowercase());
                }
            }
            "sslengine" => self.engine = first.map(|value| !value.eq_ignore_ascii_case("off")),
            "sslcertificatefile" if self.fullchains.len() < MOST_PAIRS => self.fullchains.extend(first),
            "sslcertificatekeyfile" if self.keys.len() < MOST_PAIRS => self.keys.extend(first),
            _ => {}
        }
    }

    fn files(&self, number: usize, fullchain: &str, root: &str) -> Files {
        let Some(key) = self.keys.get(number) else {
            let path = escape(fullchain, 200);
            return Files::Unusable(format!("the server reads the key from {path} too: write that as `combined`"));
        };
        if let Some(path) = [fullchain, key].into_iter().find(|path| path.contains('$') || path.contains(':')) {
            let path = escape(path, 200);
            return Files::Unusable(format!("the server's path {path} has a variable, or names no file"));
        }
        Files::pair(&absolute(fullchain, root), &absolute(key, root))
    }
}

fn absolute(path: &str, root: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", root.trim_end_matches('/')) }
}

/// `${NAME}` where it is defined, and no more than can be a path or a name.
fn resolved(text: &str, defines: &BTreeMap<&str, &str>) -> String {
    let mut whole = String::new();
    let mut rest = text;
    while let Some((before, name, after)) =
        rest.split_once("${").and_then(|(before, rest)| rest.split_once('}').map(|(name, after)| (before, name, after)))
    {
        whole.push_str(before);
        match defines.get(name) {
            Some(value) => whole.extend(value.chars().take(LONGEST_PATH)),
            None => whole.extend(["${", name, "}"]),
        }
        rest = after;
        if whole.len() > LONGEST_PATH {
            return whole;
        }
    }
    whole + rest
}

/// Without comments, a backslash at the end of a line joining the next to it.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut begun = String::new();
    for line in text.lines() {
        match line.strip_suffix('\\') {
            Some(part) => begun.push_str(part),
            None => {
                begun.push_str(line);
                let whole = core::mem::take(&mut begun);
                if !whole.trim_start().starts_with('#') {
                    lines.push(whole);
                }
            }
        }
    }
    lines
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        let quote = Some(first).filter(|c| matches!(c, '"' | '\''));
        let (word, after) = match quote {
            Some(quote) => rest[1..].split_once(quote).unwrap_or((&rest[1..], "")),
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}
