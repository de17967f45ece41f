//! A home of acme.sh 2.8 to 3.1.
//!
//! ```text
//! account.conf                         SAVED_CF_Token, DEFAULT_ACME_SERVER, ACCOUNT_EMAIL
//! ca/HOST/PATH/account.key             with ca.conf (ACCOUNT_URL, CA_EMAIL); older: ca/HOST/account.key
//! DOMAIN/DOMAIN.conf                   RSA, with DOMAIN.key and fullchain.cer
//! DOMAIN_ecc/DOMAIN.conf               ECDSA
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use url::Url;

use super::assignments::Assignments;
use super::{
    Files, Found, FoundAccount, FoundCertificate, FoundChallenge, FoundToken, OUTSIDE, Paths, account_url, contact,
    directory, install_path, token, zone_id,
};
use crate::text::escape;

const ACCOUNT: [&str; 8] = [
    "SAVED_CF_Token",
    "SAVED_CF_Zone_ID",
    "SAVED_CF_Key",
    "CF_Token",
    "CF_Key",
    "ACCOUNT_EMAIL",
    "DEFAULT_ACME_SERVER",
    "CA_BUNDLE",
];
const CA: [&str; 4] = ["ACCOUNT_URL", "CA_EMAIL", "CA_EAB_KEY_ID", "CA_EAB_HMAC_KEY"];
const DOMAIN: [&str; 16] = [
    "Le_Domain",
    "Le_Alt",
    "Le_Webroot",
    "Le_API",
    "Le_RealFullChainPath",
    "Le_RealKeyPath",
    "Le_RealCertPath",
    "Le_RealCACertPath",
    "Le_ReloadCmd",
    "Le_PreHook",
    "Le_PostHook",
    "Le_RenewHook",
    "Le_DeployHook",
    "CF_Token",
    "CF_Zone_ID",
    "Le_ChallengeAlias",
];

pub(super) fn read(files: &Files, cas: Vec<Url>) -> Found {
    let mut found = Found::of(files);
    let account = files.get("account.conf").unwrap_or_default();
    let account = Assignments::read(files.shown("account.conf"), account, &ACCOUNT);
    for path in files.paths() {
        // Below the home, or below CERT_HOME with its whole path.
        if let Some((folder, file)) = path.rsplit_once('/')
            && (path.starts_with(OUTSIDE) || !folder.contains('/'))
            && file == format!("{}.conf", stem(folder))
        {
            domain(files, folder, path, &mut found);
        }
    }
    credentials(&account, &mut found);
    let directories = directories(cas, &account, &mut found);
    for path in files.paths().filter(|path| *path == "account.key" || path.ends_with("/account.key")) {
        ca(files, path, &account, &directories, &mut found);
    }
    if let Some(file) = value(&account, "CA_BUNDLE", &mut found) {
        let why = format!("the CA's own root ({}): set ca_file in [acme] to a copy of it", escape(&file, 200));
        found.leave_out(account.line("CA_BUNDLE"), why);
    }
    found
}

/// The client's name of a certificate, by its folder.
fn stem(folder: &str) -> &str {
    let name = folder.rsplit('/').next().unwrap_or(folder);
    name.strip_suffix("_ecc").unwrap_or(name)
}

/// `CERT_HOME`, where it is another folder.
pub(super) fn cert_home(files: &Files) -> Option<String> {
    let account = Assignments::read(String::new(), files.get("account.conf")?, &["CERT_HOME"]);
    install_path(account.get("CERT_HOME").ok()??).ok()?
}

/// A value, or nothing and the reason.
fn value(from: &Assignments, name: &str, found: &mut Found) -> Option<String> {
    match from.get(name) {
        Ok(value) => value.map(str::to_owned),
        Err((what, why)) => {
            found.leave_out(what, why);
            None
        }
    }
}

fn credentials(account: &Assignments, found: &mut Found) {
    for (name, zone) in [("SAVED_CF_Token", "SAVED_CF_Zone_ID"), ("CF_Token", "SAVED_CF_Zone_ID")] {
        let (written, zone) = (account.get(name), value(account, zone, found));
        push_token(account, name, written, zone.as_deref(), found);
    }
    for name in ["SAVED_CF_Key", "CF_Key"] {
        if let Ok(Some(_)) = account.get(name) {
            let why = "Cloudflare's global API key opens all of the account, and certd takes none: make a token with Zone:Read \
                       and DNS:Edit for the zone (dash.cloudflare.com, My Profile, API Tokens)";
            found.leave_out(account.line(name), why);
        }
    }
}

fn push_token(
    from: &Assignments,
    name: &str,
    written: Result<Option<&str>, (String, String)>,
    zone: Option<&str>,
    found: &mut Found,
) {
    let written = match written {
        Ok(Some(written)) => written,
        Ok(None) => return,
        Err((what, why)) => return found.leave_out(what, why),
    };
    let Some(token) = token(written) else {
        return found.leave_out(from.line(name), format!("{name} is no token: it is not one word"));
    };
    let zone_id = zone.and_then(zone_id);
    let known = found.tokens.iter().any(|known| *known.token == *token && known.zone_id == zone_id);
    if !known {
        found.tokens.push(FoundToken { file: from.line(name), token, zone_id });
    }
}

/// The directories that this home uses, by the folder below `ca/` that acme.sh gives each: it leaves the port out.
fn directories(cas: Vec<Url>, account: &Assignments, found: &mut Found) -> BTreeMap<String, Url> {
    let default = value(account, "DEFAULT_ACME_SERVER", found).and_then(|text| directory(&text));
    let of_domains = found.certificates.iter().filter_map(|certificate| certificate.directory.clone());
    let mut directories = BTreeMap::new();
    for url in cas.into_iter().chain(default).chain(of_domains) {
        let host = url.host_str().unwrap_or_default().to_owned();
        // Older versions have no folder for the path.
        directories.insert(host.clone(), url.clone());
        directories.insert(format!("{host}{}", url.path().trim_end_matches('/')), url);
    }
    directories
}

#[derive(Deserialize)]
struct AccountJson {
    #[serde(default)]
    contact: Vec<String>,
}

fn ca(files: &Files, path: &str, account: &Assignments, directories: &BTreeMap<String, Url>, found: &mut Found) {
    let shown = files.shown(path);
    let folder = path.strip_suffix("account.key").unwrap_or_default();
    let name = folder.strip_prefix("ca/").unwrap_or_default().trim_end_matches('/');
    let directory = match (name, directories.get(name)) {
        // The only file of the first versions, which knew one CA.
        ("", _) => return found.leave_out(shown, "a key without its CA, of a version before 2.5"),
        (_, Some(url)) => url.clone(),
        (name, None) => match directory(&format!("https://{name}")) {
            Some(url) => url,
            None => return found.leave_out(shown, "its folder names no CA"),
        },
    };
    let Some(key) = found.key(&shown, files.get(path).unwrap_or_default()) else { return };
    let conf = format!("{folder}ca.conf");
    let conf = Assignments::read(files.shown(&conf), files.get(&conf).unwrap_or_default(), &CA);
    let written = value(&conf, "ACCOUNT_URL", found);
    let url = written.as_deref().and_then(|url| account_url(url, &directory));
    if written.is_some() && url.is_none() {
        found.leave_out(conf.line("ACCOUNT_URL"), "is no URL at the CA's host; the CA is asked by the key instead");
    }
    let json =
        files.get(&format!("{folder}account.json")).and_then(|text| serde_json::from_str::<AccountJson>(text).ok());
    let mut contacts: Vec<String> =
        json.iter().flat_map(|json| &json.contact).take(10).filter_map(|text| contact(text)).collect();
    if contacts.is_empty() {
        let mail = value(&conf, "CA_EMAIL", found).or_else(|| value(account, "ACCOUNT_EMAIL", found));
        contacts.extend(mail.as_deref().and_then(contact));
    }
    let binding = value(&conf, "CA_EAB_KEY_ID", found).zip(value(&conf, "CA_EAB_HMAC_KEY", found));
    let binding = binding.and_then(|(kid, hmac)| Some((token(&kid)?.to_string(), token(&hmac)?)));
    found.accounts.push(FoundAccount { file: shown, directory, key, url, contact: contacts, binding });
}

fn domain(files: &Files, folder: &str, path: &str, found: &mut Found) {
    let shown = files.shown(path);
    let conf = Assignments::read(shown.clone(), files.get(path).unwrap_or_default(), &DOMAIN);
    let Some(main) = value(&conf, "Le_Domain", found) else {
        return found.leave_out(shown, "has no Le_Domain that can be read");
    };
    let further = match conf.get("Le_Alt") {
        Ok(further) => further.filter(|text| *text != "no").unwrap_or_default().to_owned(),
        // Without them it would be another certificate.
        Err((what, why)) => return found.leave_out(what, why),
    };
    let names: Vec<&str> =
        core::iter::once(main.as_str()).chain(further.split(',').filter(|it| !it.is_empty())).collect();
    let Some((main, names)) = found.names(&conf.line("Le_Domain"), &names) else { return };
    let directory = value(&conf, "Le_API", found).and_then(|text| {
        let url = directory(&text);
        if url.is_none() {
            found.leave_out(conf.line("Le_API"), "is not the URL of a CA's directory");
        }
        url
    });
    let stem = stem(folder);
    let (chain, key) = (format!("{folder}/fullchain.cer"), format!("{folder}/{stem}.key"));
    let pair = match (files.get(&chain), files.get(&key)) {
        (Some(chain_text), Some(key_text)) => {
            found.pair([&files.shown(&chain), &files.shown(&key)], chain_text, key_text)
        }
        _ => {
            found.leave_out(shown.clone(), "no certificate of it can be read (fullchain.cer and its key)");
            None
        }
    };
    let pair = pair.filter(|pair| {
        let same = pair.chain().leaf.names == names;
        if !same {
            found.leave_out(
                shown.clone(),
                "its domains are not those of its certificate: issue it anew, or correct them",
            );
        }
        same
    });
    let mut path = |name: &str| {
        let written = value(&conf, name, found)?;
        install_path(&written).unwrap_or_else(|why| {
            found.leave_out(conf.line(name), format!("{name} {why}"));
            None
        })
    };
    let paths = Paths {
        fullchain: path("Le_RealFullChainPath"),
        key: path("Le_RealKeyPath"),
        cert: path("Le_RealCertPath"),
        chain: path("Le_RealCACertPath"),
    };
    for hook in ["Le_PreHook", "Le_PostHook", "Le_RenewHook", "Le_DeployHook"] {
        if let Some(command) = value(&conf, hook, found) {
            let why = format!("{hook} is a hook, which certd does not run: {}", escape(&command, 200));
            found.leave_out(conf.line(hook), why);
        }
    }
    if let Some(alias) = value(&conf, "Le_ChallengeAlias", found).filter(|alias| alias != "no") {
        let why = format!("certd follows the CNAME of _acme-challenge by itself: {}", escape(&alias, 200));
        found.leave_out(conf.line("Le_ChallengeAlias"), why);
    }
    let webroot = value(&conf, "Le_Webroot", found).unwrap_or_default();
    let reload = value(&conf, "Le_ReloadCmd", found);
    let zone = value(&conf, "CF_Zone_ID", found);
    push_token(&conf, "CF_Token", conf.get("CF_Token"), zone.as_deref(), found);
    let challenge = challenge(&webroot);
    found.certificates.push(FoundCertificate { file: shown, main, names, directory, pair, challenge, paths, reload });
}

/// `Le_Webroot` has an entry for each domain, or one for all.
fn challenge(webroot: &str) -> FoundChallenge {
    let mut entries = webroot.split(',').filter(|entry| !entry.is_empty());
    let first = entries.next().unwrap_or_default();
    if let Some(other) = entries.find(|entry| *entry != first) {
        return FoundChallenge::Other(escape(&format!("several ways ({first}, {other})"), 200));
    }
    match first {
        "dns_cf" => FoundChallenge::Cloudflare,
        dns if dns.starts_with("dns_") => FoundChallenge::OtherDns(escape(dns, 200)),
        "no" | "" => FoundChallenge::Other("HTTP-01 (standalone)".to_owned()),
        "dns" => FoundChallenge::Other("hand".to_owned()),
        other => FoundChallenge::Other(escape(&format!("HTTP-01 ({other})"), 200)),
    }
}

#[cfg(test)]
mod tests;
