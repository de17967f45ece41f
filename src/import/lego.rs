//! A folder of lego 4 (`.lego`). It keeps neither how a name was proven nor the credentials: those are in the command
//! that starts it.
//!
//! ```text
//! accounts/HOST/EMAIL/                 account.json keys/EMAIL.key
//! certificates/NAME.*                  crt key json; `_.` stands for `*.`
//! ```

use serde::Deserialize;
use url::Url;

use super::{Files, Found, FoundAccount, FoundCertificate, FoundChallenge, Paths, account_url, contact};

pub(super) fn read(files: &Files, cas: &[Url]) -> Found {
    let mut found = Found::of(files);
    for path in files.paths().filter(|path| path.starts_with("accounts/") && path.ends_with("/account.json")) {
        account(files, path, cas, &mut found);
    }
    for path in files.paths() {
        let name = path.strip_prefix("certificates/").and_then(|file| file.strip_suffix(".json"));
        if let Some(name) = name {
            certificate(files, path, name, cas, &mut found);
        }
    }
    found
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    email: String,
    #[serde(default)]
    registration: Option<Registration>,
}

#[derive(Deserialize)]
struct Registration {
    uri: String,
}

/// lego's folder has the host and the port alone: the directory is that of a CA that certd knows.
fn directory_at(authority: &str, cas: &[Url]) -> Option<Url> {
    let same = |url: &&Url| url.authority() == authority || url.authority().replace(':', "_") == authority;
    cas.iter().find(same).cloned()
}

fn account(files: &Files, path: &str, cas: &[Url], found: &mut Found) {
    let shown = files.shown(path);
    let Some((host, mail)) = path["accounts/".len()..].trim_end_matches("/account.json").split_once('/') else {
        return found.leave_out(shown, "its folder names no CA");
    };
    let Ok(account) = serde_json::from_str::<Account>(files.get(path).unwrap_or_default()) else {
        return found.leave_out(shown, "is no account of lego's");
    };
    let Some(directory) = directory_at(host, cas) else {
        return found.leave_out(shown, "lego does not keep the directory's URL, and this is no CA that certd knows");
    };
    let file = format!("accounts/{host}/{mail}/keys/{mail}.key");
    let Some(pem) = files.get(&file) else { return found.leave_out(shown, "its key is not there") };
    let Some(key) = found.key(&files.shown(&file), pem) else { return };
    let url = account.registration.and_then(|registration| account_url(&registration.uri, &directory));
    let contact = contact(&account.email).into_iter().collect();
    found.accounts.push(FoundAccount { file: files.shown(&file), directory, key, url, contact, binding: None });
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default, rename = "certUrl")]
    cert_url: String,
}

fn certificate(files: &Files, path: &str, name: &str, cas: &[Url], found: &mut Found) {
    let shown = files.shown(path);
    let (chain, key) = (format!("certificates/{name}.crt"), format!("certificates/{name}.key"));
    let (Some(chain_text), Some(key_text)) = (files.get(&chain), files.get(&key)) else {
        return found.leave_out(shown, "no certificate of it can be read (.crt and .key)");
    };
    let Some(pair) = found.pair([&files.shown(&chain), &files.shown(&key)], chain_text, key_text) else { return };
    let domain = name.strip_prefix("_.").map_or_else(|| name.to_owned(), |base| format!("*.{base}"));
    if !pair.chain().leaf.names.iter().any(|own| own.to_string() == domain) {
        return found.leave_out(shown, "its file has a name that its certificate does not have");
    }
    let further: Vec<String> =
        pair.chain().leaf.names.iter().map(ToString::to_string).filter(|own| *own != domain).collect();
    let names: Vec<&str> = core::iter::once(domain.as_str()).chain(further.iter().map(String::as_str)).collect();
    let Some((main, _)) = found.names(&shown, &names) else { return };
    let resource = serde_json::from_str::<Resource>(files.get(path).unwrap_or_default()).ok();
    let authority = resource.and_then(|it| Some(Url::parse(&it.cert_url).ok()?.authority().to_owned()));
    found.certificates.push(FoundCertificate {
        file: shown,
        main,
        names: pair.chain().leaf.names.clone(),
        directory: authority.and_then(|authority| directory_at(&authority, cas)),
        pair: Some(pair),
        challenge: FoundChallenge::Unknown,
        paths: Paths::default(),
        reload: None,
    });
}

#[cfg(test)]
mod tests;
