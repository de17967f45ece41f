use super::super::{Client, read};
use super::*;
use crate::cert::fixture::{Authority, days};
use crate::cert::{KeyType, NodeName, Pair, PrivateKey};

/// As acme.sh 3.1.5 writes it.
const DOMAIN_CONF: &str = "\
Le_Domain='a.example.com'
Le_Alt='*.a.example.com'
Le_Webroot='dns_cf'
Le_PreHook=''
Le_PostHook=''
Le_RenewHook=''
Le_DNSSleep='1'
Le_API='https://ca.example:14000/dir'
Le_Keylength='ec-256'
Le_OrderFinalize='https://ca.example:14000/finalize-order/x'
Le_LinkCert='https://ca.example:14000/certZ/4a636539bf4346e4'
Le_CertCreateTime='1795870790'
Le_NextRenewTimeStr='2027-01-28T01:59:38Z'
Le_RealCertPath=''
Le_RealCACertPath=''
Le_RealKeyPath='/usr/local/nginx/conf/ssl/a.example.com/privkey.pem'
Le_ReloadCmd='__ACME_BASE64__START_c3lzdGVtY3RsIHJlbG9hZCBuZ2lueA==__ACME_BASE64__END_'
Le_RealFullChainPath='/usr/local/nginx/conf/ssl/a.example.com/fullchain.pem'
";
const ACCOUNT_CONF: &str = "\
LOG_FILE=\"/root/.acme.sh/acme.sh.log\"
#LOG_LEVEL=1
SAVED_CF_Token='test-token'
SAVED_CF_Account_ID=''
USER_PATH='/usr/bin:/bin'
";
const CA_CONF: &str = "\
CA_EMAIL='ops@example.com'
ACCOUNT_URL='https://ca.example:14000/my-account/7'
CA_KEY_HASH='M3ixuiLpVBzhTUoVkWKuDROdsbuOLRG7q/A6QqSFYrA='
";

fn pair() -> Pair {
    Authority::root("R").issue(&["a.example.com", "*.a.example.com"], days(-1, 89))
}

/// A home, with some of its files changed; an empty text: not there.
fn home(pair: &Pair, changed: &[(&str, &str)]) -> Found {
    let account = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let chain = pair.chain().pem();
    let mut all = vec![
        ("account.conf", ACCOUNT_CONF),
        ("ca/ca.example/dir/account.key", account.pem()),
        ("ca/ca.example/dir/ca.conf", CA_CONF),
        ("a.example.com_ecc/a.example.com.conf", DOMAIN_CONF),
        ("a.example.com_ecc/a.example.com.key", pair.key().pem()),
        ("a.example.com_ecc/fullchain.cer", &chain),
    ];
    all.retain(|(path, _)| !changed.iter().any(|(other, _)| other == path));
    all.extend(changed.iter().filter(|(_, text)| !text.is_empty()));
    let mut files = Files::new("/root/.acme.sh", Some(NodeName::parse("shanghai").unwrap()));
    for (path, text) in all {
        files.add(path, text.as_bytes().to_vec().into());
    }
    read(Client::AcmeSh, &files, &[])
}

fn left_out(found: &Found) -> Vec<String> {
    let short = |text: &str| text.replace("shanghai:/root/.acme.sh/", "");
    found.left_out.iter().map(|left| format!("{}: {}", short(&left.what), short(&left.why))).collect()
}

/// The one thing that is left out of a home with this file.
fn refused(path: &str, text: &str) -> String {
    let found = home(&pair(), &[(path, text)]);
    assert_eq!(found.left_out.len(), 1, "{:?}", left_out(&found));
    left_out(&found).remove(0)
}

#[test]
fn an_unprivileged_owner_decides_nothing_that_root_does() {
    let mut files = Files::new("/home/x/.acme.sh", None);
    let pair = pair();
    let account = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    for (path, text) in [
        ("account.conf", ACCOUNT_CONF),
        ("ca/ca.example/dir/account.key", account.pem()),
        ("a.example.com_ecc/a.example.com.conf", DOMAIN_CONF),
        ("a.example.com_ecc/a.example.com.key", pair.key().pem()),
        ("a.example.com_ecc/fullchain.cer", &pair.chain().pem()),
    ] {
        files.add(path, text.as_bytes().to_vec().into());
    }
    files.unprivileged = true;
    let found = read(Client::AcmeSh, &files, &[]);
    let [one] = found.certificates.as_slice() else { panic!("{:?}", left_out(&found)) };
    assert!(one.pair.is_some() && found.tokens.len() == 1);
    assert!(one.reload.is_none() && one.paths == Paths::default() && one.directory.is_none());
    assert!(found.accounts.is_empty());
    let said = left_out(&found).join("\n");
    for part in ["systemctl reload nginx", "/usr/local/nginx/conf/ssl/a.example.com/privkey.pem", "https://ca.example"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
}

fn domain(from: &str, to: &str) -> String {
    assert!(DOMAIN_CONF.contains(from), "{from}");
    DOMAIN_CONF.replace(from, to)
}

const CONF: &str = "a.example.com_ecc/a.example.com.conf";

#[test]
fn a_home_has_account_token_names_paths_and_the_reload_in_clear() {
    let pair = pair();
    let found = home(&pair, &[]);
    assert_eq!(left_out(&found), [""; 0]);
    let [certificate] = found.certificates.as_slice() else { panic!("one certificate") };
    assert_eq!(certificate.names, pair.chain().leaf.names);
    assert_eq!(certificate.main.as_str(), "a.example.com");
    assert_eq!(certificate.leaf().map(|leaf| leaf.fingerprint), Some(pair.chain().leaf.fingerprint));
    assert_eq!(certificate.reload.as_deref(), Some("systemctl reload nginx"));
    assert_eq!(certificate.challenge, FoundChallenge::Cloudflare);
    assert_eq!(certificate.paths.key.as_deref(), Some("/usr/local/nginx/conf/ssl/a.example.com/privkey.pem"));
    assert_eq!(certificate.paths.cert, None);
    let [account] = found.accounts.as_slice() else { panic!("one account") };
    // The folder has no port; a certificate's configuration has.
    assert_eq!(account.directory.as_str(), "https://ca.example:14000/dir");
    assert_eq!(account.url.as_deref(), Some("https://ca.example:14000/my-account/7"));
    assert_eq!(account.contact, ["mailto:ops@example.com"]);
    assert!(account.key.is_p256());
    assert_eq!(found.tokens.iter().map(|token| token.token.as_str()).collect::<Vec<_>>(), ["test-token"]);
    assert_eq!(found.tokens[0].file, "shanghai:/root/.acme.sh/account.conf:3");
}

#[test]
fn older_layouts_and_key_formats_are_read() {
    let key = PrivateKey::generate(KeyType::Rsa2048).unwrap();
    let conf = domain("https://ca.example:14000/dir", "https://acme-v02.api.letsencrypt.org/directory");
    let ca =
        CA_CONF.replace("https://ca.example:14000/my-account/7", "https://acme-v02.api.letsencrypt.org/acme/acct/7");
    let found = home(
        &pair(),
        &[
            (CONF, &conf),
            ("ca/ca.example/dir/account.key", ""),
            ("ca/ca.example/dir/ca.conf", ""),
            // 2.x: without the folder of the path, and an RSA key.
            ("ca/acme-v02.api.letsencrypt.org/account.key", key.pem()),
            ("ca/acme-v02.api.letsencrypt.org/ca.conf", &ca),
        ],
    );
    assert_eq!(left_out(&found), [""; 0]);
    assert_eq!(found.accounts[0].directory.as_str(), "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(found.accounts[0].url.as_deref(), Some("https://acme-v02.api.letsencrypt.org/acme/acct/7"));
    assert!(!found.accounts[0].key.is_p256());
    let without_ca = refused("account.key", key.pem());
    assert!(without_ca.starts_with("account.key: a key without its CA"), "{without_ca}");
}

#[test]
fn a_token_for_one_zone_stands_with_its_domain_and_the_global_key_is_refused() {
    let conf = format!("{DOMAIN_CONF}CF_Token='zone-token'\nCF_Account_ID=''\nCF_Zone_ID='0123abc'\n");
    let found = home(&pair(), &[(CONF, &conf)]);
    let tokens: Vec<_> = found.tokens.iter().map(|it| (it.token.as_str(), it.zone_id.as_deref())).collect();
    assert_eq!(tokens, [("zone-token", Some("0123abc")), ("test-token", None)]);
    let global = refused("account.conf", "SAVED_CF_Key='0123456789abcdef'\nSAVED_CF_Email='ops@example.com'\n");
    assert!(global.starts_with("account.conf:1: Cloudflare's global API key opens all of the account"), "{global}");
    assert!(!global.contains("0123456789abcdef"));
    let bad = refused("account.conf", "SAVED_CF_Token='two words'\n");
    assert_eq!(bad, "account.conf:1: SAVED_CF_Token is no token: it is not one word");
}

#[test]
fn what_is_hostile_is_left_out_with_its_file_and_line() {
    for (from, to, expected) in [
        ("Le_Domain='a.example.com'", "Le_Domain=$(id)", ":1: Le_Domain is not a plain text"),
        ("Le_Domain='a.example.com'", "Le_Domain='../../etc'", ":1: \"../../etc\": not a DNS name"),
        ("Le_Domain='a.example.com'", "Le_Domain='\u{202e}x.example'", ":1: "),
        ("'*.a.example.com'", "'b.example.com,-rf'", ":1: \"-rf\": "),
        ("'*.a.example.com'", "'x' 'y'", ":2: Le_Alt is not a plain text"),
    ] {
        let found = home(&pair(), &[(CONF, &domain(from, to))]);
        let all = left_out(&found);
        assert!(found.certificates.is_empty() && all.iter().any(|left| left.contains(expected)), "{to}: {all:?}");
        assert!(!all.concat().contains('\u{202e}'));
    }
    for (from, to, expected) in [
        (
            "/usr/local/nginx/conf/ssl/a.example.com/privkey.pem",
            "/etc/../root/.ssh/authorized_keys",
            ":16: Le_RealKeyPath has an empty part, '.' or '..' in its path",
        ),
        (
            "/usr/local/nginx/conf/ssl/a.example.com/privkey.pem",
            "relative",
            ":16: Le_RealKeyPath is not an absolute path",
        ),
        (
            "/usr/local/nginx/conf/ssl/a.example.com/privkey.pem",
            "/a\u{200b}b",
            ":16: Le_RealKeyPath is too long, or has characters that cannot be seen",
        ),
        ("https://ca.example:14000/dir", "http://ca.example/dir", ":8: is not the URL of a CA's directory"),
        ("https://ca.example:14000/dir", "https://user@ca.example/dir", ":8: is not the URL of a CA's directory"),
        ("Le_PreHook=''", "Le_PreHook='rm -rf /'", ":4: Le_PreHook is a hook, which certd does not run: rm -rf /"),
    ] {
        let found = home(&pair(), &[(CONF, &domain(from, to))]);
        assert_eq!(found.certificates.len(), 1);
        let all = left_out(&found);
        assert!(all.contains(&format!("{CONF}{expected}")), "{to}: {all:?}");
    }
}

#[test]
fn a_key_of_another_certificate_and_broken_files_are_named_and_not_shown() {
    let other = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let key = "a.example.com_ecc/a.example.com.key";
    let unpaired = refused(key, other.pem());
    assert!(unpaired.starts_with(&format!("{key}: the private key does not belong to")), "{unpaired}");
    assert_eq!(refused(key, "secret"), format!("{key}: the private key: it is no PEM of a key"));
    let chain = refused("a.example.com_ecc/fullchain.cer", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    assert!(chain.contains("fullchain.cer: the chain: it ends within"), "{chain}");
    assert_eq!(refused(key, ""), format!("{CONF}: no certificate of it can be read (fullchain.cer and its key)"));
    let elsewhere = CA_CONF.replace("https://ca.example:14000", "https://evil.example");
    let url = refused("ca/ca.example/dir/ca.conf", &elsewhere);
    assert_eq!(url, "ca/ca.example/dir/ca.conf:2: is no URL at the CA's host; the CA is asked by the key instead");
}

#[test]
fn paths_that_lead_elsewhere_and_files_without_end_are_bounded() {
    let mut files = Files::new("/h", None);
    for path in ["../x", "a/../b", "/etc/passwd", "a//b", "a\nb", "", &"a/".repeat(200)] {
        files.add(path, Vec::new().into());
    }
    assert_eq!((files.paths().count(), files.left_out.len()), (0, 7));
    for number in 0..6000 {
        files.add(&format!("x{number}"), b"x".to_vec().into());
    }
    assert_eq!(files.paths().count(), super::super::MOST_FILES);
    assert!(files.left_out.len() <= super::super::MOST_FILES + 1);
    let mut files = Files::new("/h", None);
    for number in 0..400 {
        files.add(&format!("x{number}"), vec![b'x'; super::super::MOST_BYTES].into());
    }
    assert_eq!(files.paths().count(), super::super::MOST_TOTAL / super::super::MOST_BYTES);
}

#[test]
fn whatever_stands_in_a_homes_files_is_read_to_its_end() {
    // A linear congruential generator (Knuth): the same changes in each run.
    let mut state: u64 = 20_261_128;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let pair = pair();
    let chain = pair.chain().pem();
    let secret = pair.key().pem().lines().nth(1).unwrap();
    let marks = ["'", "\"", "\\", "=", "\n", "上", "\0", "__ACME_BASE64__START_", "-----END", "../", "$(", ","];
    for _ in 0..1_000 {
        let mut files = Files::new("/h", None);
        for (path, text) in [
            ("account.conf", ACCOUNT_CONF),
            ("ca/ca.example/dir/ca.conf", CA_CONF),
            ("ca/ca.example/dir/account.key", pair.key().pem()),
            (CONF, DOMAIN_CONF),
            ("a.example.com_ecc/a.example.com.key", pair.key().pem()),
            ("a.example.com_ecc/fullchain.cer", &chain),
        ] {
            let mut text = text.to_owned();
            for _ in 0..next(4) {
                let at = next(text.len());
                let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap();
                match next(2) {
                    0 => text.insert_str(at, marks[next(marks.len())]),
                    _ => text.truncate(at.max(1)),
                }
            }
            files.add(path, text.into_bytes().into());
        }
        let shown = left_out(&read(Client::AcmeSh, &files, &[])).concat();
        assert!(!shown.chars().any(char::is_control) && !shown.contains(secret), "{shown:?}");
    }
}
