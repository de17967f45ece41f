//! What an import found, writes and leaves out.

use core::fmt::Write as _;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::import::{Adoption, Client, Found, LeftOut, SecretFile, section};
use crate::text::list;

use super::minute;

/// Names of one certificate that are shown.
const MOST_NAMES: usize = 5;

/// The homes, and what is in each.
pub fn found(client: Client, found: &[Found], now: Timestamp) -> String {
    let mut text = String::new();
    for home in found {
        let node = home.node.as_ref().map(|node| format!("{node}:")).unwrap_or_default();
        line(&mut text, format_args!("found in {node}{} ({})", home.home, client.as_str()));
        for certificate in &home.certificates {
            let names = list::first(MOST_NAMES, certificate.names.iter());
            match certificate.leaf() {
                Some(leaf) => {
                    let key = leaf.key_type.map_or("another type of key", |key_type| key_type.as_str());
                    let ends = if leaf.not_after <= now { "expired" } else { "ends" };
                    let at = minute(leaf.not_after);
                    line(&mut text, format_args!("  certificate  {names}; {key}, by {}, {ends} {at}", leaf.issuer));
                }
                None => line(&mut text, format_args!("  certificate  {names}; not issued, or not usable")),
            }
        }
        for account in &home.accounts {
            let url = account.url.as_deref().unwrap_or("its URL is not known");
            line(&mut text, format_args!("  account      at {}: {url}", account.directory));
        }
        for token in &home.tokens {
            let zone = token.zone_id.as_ref().map(|zone| format!(", for zone {zone}")).unwrap_or_default();
            line(&mut text, format_args!("  token        of Cloudflare{zone} ({})", token.file));
        }
    }
    text
}

/// The configuration and the secrets that are made, as files.
pub fn files(path: &str, configuration: &str, secrets: &[SecretFile]) -> String {
    let mut text = String::new();
    for secret in secrets {
        line(&mut text, format_args!("  {}, 0600, from {}", secret.path, secret.from));
    }
    line(&mut text, format_args!("  {path}, 0644:"));
    text + &indented(configuration)
}

/// What goes into the store.
pub fn adoption(adoption: &Adoption) -> String {
    let mut text = String::new();
    for account in &adoption.accounts {
        let url = account.account.url.as_deref().unwrap_or("the CA is asked for its URL");
        let key = if account.new_key { "; it gets a new key at the CA" } else { "" };
        line(&mut text, format_args!("  the account at {}: {url}{key} ({})", account.ca, account.account.file));
    }
    for adopted in &adoption.certificates {
        let leaf = &adopted.pair.chain().leaf;
        let (name, serial, ends) = (&adopted.name, &leaf.serial, minute(leaf.not_after));
        line(&mut text, format_args!("  a generation of {name}: serial {serial}, ends {ends} ({})", adopted.file));
    }
    if !adoption.ledger.is_empty() {
        let count = list::count(adoption.ledger.len(), "certificate");
        line(&mut text, format_args!("  the ledger: {count} of the last days, which the CA counts"));
    }
    text
}

/// What is not imported, or is to be looked at: each once, by its file.
pub fn left_out(all: &[LeftOut]) -> String {
    let mut files: Vec<(&str, Vec<&str>)> = Vec::new();
    // A home may have thousands.
    let (mut places, mut seen) = (BTreeMap::new(), BTreeSet::new());
    for LeftOut { what, why } in all.iter().filter(|left| seen.insert((&left.what, &left.why))) {
        let place = *places.entry(what).or_insert_with(|| {
            files.push((what, Vec::new()));
            files.len() - 1
        });
        files[place].1.push(why);
    }
    let mut text = String::new();
    for (file, reasons) in files {
        line(&mut text, format_args!("  {file}"));
        reasons.iter().for_each(|why| line(&mut text, format_args!("    {why}")));
    }
    if text.is_empty() { text } else { format!("left out, or to be looked at\n{text}") }
}

/// Sections that an existing configuration lacks.
pub fn sections(adoption: &Adoption) -> String {
    let (mut text, mut seen) = (String::new(), BTreeSet::new());
    for certificate in adoption.strangers.iter().filter_map(section) {
        if seen.insert(certificate.clone()) {
            text.push_str(&certificate);
        }
    }
    if text.is_empty() {
        return text;
    }
    format!("to import these as well, add to the configuration, and run this again\n{}", indented(&text))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") }).collect()
}

fn line(text: &mut String, line: core::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}
