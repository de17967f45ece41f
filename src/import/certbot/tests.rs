use super::super::{Client, outside, read, wants};
use super::*;
use crate::cert::fixture::{Authority, days};

/// As certbot 5.5 writes it.
const RENEWAL: &str = "\
version = 5.5.0
archive_dir = /etc/letsencrypt/archive/a.example.com
cert = /etc/letsencrypt/live/a.example.com/cert.pem
[renewalparams]
account = eeb7d616f9d34f319f2a685463c1f6f6
server = https://ca.example:14000/dir
authenticator = dns-cloudflare
dns_cloudflare_credentials = /root/.secrets/cloudflare.ini
key_type = ecdsa
renew_hook = systemctl reload nginx
";
/// RFC 7515 appendix A.3.1: a key that everybody knows.
const KEY: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
const ACCOUNT: &str = "accounts/ca.example:14000/dir/eeb7d616f9d34f319f2a685463c1f6f6";

fn folder(changed: &[(&str, &str)]) -> Files {
    let pair = Authority::root("R").issue(&["a.example.com", "www.a.example.com"], days(-1, 89));
    let (key, registration) = (format!("{ACCOUNT}/private_key.json"), format!("{ACCOUNT}/regr.json"));
    let chain = pair.chain().pem();
    let mut all = vec![
        (key.as_str(), KEY),
        (
            registration.as_str(),
            r#"{"body": {"contact": ["mailto:ops@example.com"]}, "uri": "https://ca.example:14000/acct/7"}"#,
        ),
        ("renewal/a.example.com.conf", RENEWAL),
        ("live/a.example.com/fullchain.pem", &chain),
        ("live/a.example.com/privkey.pem", pair.key().pem()),
    ];
    all.retain(|(path, _)| !changed.iter().any(|(other, _)| other == path));
    all.extend(changed);
    let mut files = Files::new("/etc/letsencrypt", None);
    for (path, text) in all {
        assert!(wants(Client::Certbot, path), "{path}");
        files.add(path, text.as_bytes().to_vec().into());
    }
    files
}

#[test]
fn a_folder_has_accounts_as_json_web_keys_names_in_certificates_and_the_token_elsewhere() {
    let mut files = folder(&[]);
    assert_eq!(outside(Client::Certbot, &files), ["/root/.secrets/cloudflare.ini"]);
    files.add_outside("/root/.secrets/cloudflare.ini", b"# x\ndns_cloudflare_api_token = test-token\n".to_vec().into());
    let found = read(Client::Certbot, &files, &[]);
    let [certificate] = found.certificates.as_slice() else { panic!("one certificate") };
    assert_eq!(certificate.main.as_str(), "a.example.com");
    assert_eq!((certificate.names.len(), certificate.reload.as_deref()), (2, Some("systemctl reload nginx")));
    assert_eq!(certificate.challenge, FoundChallenge::Cloudflare);
    let [account] = found.accounts.as_slice() else { panic!("one account") };
    assert_eq!(account.directory.as_str(), "https://ca.example:14000/dir");
    assert_eq!(account.url.as_deref(), Some("https://ca.example:14000/acct/7"));
    assert_eq!((account.contact.as_slice(), account.key.is_p256()), (&["mailto:ops@example.com".to_owned()][..], true));
    assert_eq!(found.tokens[0].file, "/root/.secrets/cloudflare.ini:2");
    let [links] = found.left_out.as_slice() else { panic!("{:?}", found.left_out) };
    assert!(links.why.starts_with("the server reads certbot's own links there"), "{}", links.why);
}

#[test]
fn what_cannot_be_used_is_named() {
    let key = format!("{ACCOUNT}/private_key.json");
    for (path, text, expected) in [
        (key.as_str(), "{}", "is no private JSON Web Key"),
        ("live/a.example.com/privkey.pem", "x", "it is no PEM of a key"),
        (
            "renewal/a.example.com.conf",
            &RENEWAL.replace("renew_hook", "pre_hook"),
            "pre_hook is a hook, which certd does not run: systemctl reload nginx",
        ),
        ("renewal/b.conf", "x", "no certificate of it can be read"),
    ] {
        let found = read(Client::Certbot, &folder(&[(path, text)]), &[]);
        assert!(found.left_out.iter().any(|left| left.why.contains(expected)), "{path}: {:?}", found.left_out);
    }
    let relative = RENEWAL.replace("/root/.secrets", "..");
    assert!(outside(Client::Certbot, &folder(&[("renewal/a.example.com.conf", &relative)])).is_empty());
}
