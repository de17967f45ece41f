//! A folder of certbot 1 to 5 (`/etc/letsencrypt`).
//!
//! ```text
//! accounts/HOST/PATH/ID/               private_key.json regr.json
//! renewal/NAME.conf                    [renewalparams] account, server, authenticator, hooks
//! live/NAME/                           fullchain.pem privkey.pem (links into archive/)
//! ```

use serde::Deserialize;
use url::Url;

use super::{
    Files, Found, FoundAccount, FoundCertificate, FoundChallenge, FoundToken, OUTSIDE, Paths, account_url, contact,
    directory, ini, install_path, jwk, token,
};
use crate::text::escape;

pub(super) fn read(files: &Files) -> Found {
    let mut found = Found::of(files);
    for path in files.paths() {
        if let Some(name) = path.strip_prefix("renewal/").and_then(|file| file.strip_suffix(".conf")) {
            renewal(files, path, name, &mut found);
        } else if let Some(folder) =
            path.strip_prefix("accounts/").and_then(|rest| rest.strip_suffix("/private_key.json"))
        {
            account(files, path, folder, &mut found);
        } else if let Some(file) = path.strip_prefix(OUTSIDE) {
            credentials(files, path, file, &mut found);
        }
    }
    found
}

/// The files of credentials that renewals name: absolute paths.
pub(super) fn outside(files: &Files) -> Vec<String> {
    let renewals = files.paths().filter(|path| path.starts_with("renewal/")).filter_map(|path| files.get(path));
    let named = renewals.flat_map(|text| ini::section(text, "renewalparams"));
    let named = named.filter(|(_, key, _)| *key == "dns_cloudflare_credentials");
    let mut paths: Vec<String> = named.filter_map(|(_, _, path)| install_path(path).ok().flatten()).collect();
    paths.sort();
    paths.dedup();
    paths.truncate(20);
    paths
}

fn credentials(files: &Files, path: &str, file: &str, found: &mut Found) {
    for (line, key, value) in ini::section(files.get(path).unwrap_or_default(), "") {
        let shown = format!("{}:{line}", escape(file, 200));
        match key {
            "dns_cloudflare_api_token" => match token(value) {
                Some(token) => found.tokens.push(FoundToken { file: shown, token, zone_id: None }),
                None => found.leave_out(shown, "dns_cloudflare_api_token is no token: it is not one word"),
            },
            "dns_cloudflare_api_key" => found.leave_out(
                shown,
                "Cloudflare's global API key opens all of the account, and certd takes none: make a token with Zone:Read and \
                 DNS:Edit for the zone",
            ),
            _ => {}
        }
    }
}

#[derive(Deserialize)]
struct Registration {
    uri: String,
    #[serde(default)]
    body: Body,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    contact: Vec<String>,
}

/// `folder`: `HOST/PATH/ID`.
fn account(files: &Files, path: &str, folder: &str, found: &mut Found) {
    let shown = files.shown(path);
    let server = folder.rsplit_once('/').and_then(|(server, _)| directory(&format!("https://{server}")));
    let Some(directory) = server else { return found.leave_out(shown, "its folder names no CA") };
    let pem = match jwk::to_pem(files.get(path).unwrap_or_default()) {
        Ok(pem) => pem,
        Err(why) => return found.leave_out(shown, why),
    };
    let Some(key) = found.key(&shown, &pem) else { return };
    let file = format!("accounts/{folder}/regr.json");
    let registration = files.get(&file).map(serde_json::from_str::<Registration>);
    let registration = match registration {
        Some(Ok(registration)) => Some(registration),
        Some(Err(_)) => {
            found.leave_out(files.shown(&file), "cannot be read; the CA is asked for the account by its key");
            None
        }
        None => None,
    };
    let url = registration.as_ref().and_then(|it| account_url(&it.uri, &directory));
    let contacts = registration.iter().flat_map(|it| &it.body.contact).take(10).filter_map(|text| contact(text));
    found.accounts.push(FoundAccount { file: shown, directory, key, url, contact: contacts.collect(), binding: None });
}

fn renewal(files: &Files, path: &str, name: &str, found: &mut Found) {
    let shown = files.shown(path);
    let text = files.get(path).unwrap_or_default();
    let setting = |wanted: &str| {
        let found = ini::section(text, "renewalparams").filter(|(_, key, _)| *key == wanted).last();
        found.filter(|(_, _, value)| !matches!(*value, "" | "None"))
    };
    let (chain, key) = (format!("live/{name}/fullchain.pem"), format!("live/{name}/privkey.pem"));
    let (Some(chain_text), Some(key_text)) = (files.get(&chain), files.get(&key)) else {
        return found.leave_out(shown, "no certificate of it can be read (fullchain.pem and privkey.pem in live)");
    };
    let Some(pair) = found.pair([&files.shown(&chain), &files.shown(&key)], chain_text, key_text) else { return };
    // What it was issued for is in the certificate alone; the subject's name comes first.
    let names: Vec<String> = pair.chain().leaf.names.iter().map(ToString::to_string).collect();
    let first = names.iter().position(|own| *own == name).unwrap_or_default();
    let names: Vec<&str> = names.iter().skip(first).chain(names.iter().take(first)).map(String::as_str).collect();
    let Some((main, names)) = found.names(&shown, &names) else { return };
    for hook in ["pre_hook", "post_hook"] {
        if let Some((line, _, command)) = setting(hook) {
            let why = format!("{hook} is a hook, which certd does not run: {}", escape(command, 200));
            found.leave_out(format!("{shown}:{line}"), why);
        }
    }
    found.leave_out(
        format!("{}/live/{name}", files.home),
        "the server reads certbot's own links there: give it paths outside, and these to certd as fullchain and key",
    );
    let server: Option<Url> = setting("server").and_then(|(_, _, server)| directory(server));
    let challenge = match setting("authenticator").map(|(_, _, value)| value).unwrap_or_default() {
        "dns-cloudflare" => FoundChallenge::Cloudflare,
        dns if dns.starts_with("dns-") => FoundChallenge::OtherDns(escape(dns, 200)),
        "manual" => FoundChallenge::Other("hand".to_owned()),
        other => FoundChallenge::Other(escape(&format!("HTTP-01 ({other})"), 200)),
    };
    let reload = setting("renew_hook").map(|(_, _, command)| command.to_owned());
    found.certificates.push(FoundCertificate {
        file: shown,
        main,
        names,
        directory: server,
        pair: Some(pair),
        challenge,
        paths: Paths::default(),
        reload,
    });
}

#[cfg(test)]
mod tests;
