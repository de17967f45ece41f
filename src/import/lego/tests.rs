use super::super::{Client, read, wants};
use super::*;
use crate::cert::fixture::{Authority, days};
use crate::cert::{KeyType, PrivateKey};

#[test]
fn a_folder_has_an_account_and_certificates_and_the_configuration_knows_its_ca() {
    let pair = Authority::root("R").issue(&["*.a.example.com", "a.example.com"], days(-1, 89));
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let chain = pair.chain().pem();
    let mut files = Files::new("/root/.lego", None);
    for (path, text) in [
        (
            "accounts/ca.example_14000/ops@example.com/account.json",
            r#"{"email":"ops@example.com","registration":{"body":{"status":"valid"},"uri":"https://ca.example:14000/acct/7"}}"#,
        ),
        ("accounts/ca.example_14000/ops@example.com/keys/ops@example.com.key", key.pem()),
        (
            "certificates/_.a.example.com.json",
            r#"{"domain":"*.a.example.com","certUrl":"https://ca.example:14000/certZ/7"}"#,
        ),
        ("certificates/_.a.example.com.crt", &chain),
        ("certificates/_.a.example.com.key", pair.key().pem()),
        ("certificates/b.json", "{}"),
    ] {
        assert!(wants(Client::Lego, path), "{path}");
        files.add(path, text.as_bytes().to_vec().into());
    }
    assert!(!wants(Client::Lego, "certificates/a.issuer.crt"));
    let found = read(Client::Lego, &files, &[Url::parse("https://ca.example:14000/dir").unwrap()]);
    let [account] = found.accounts.as_slice() else { panic!("one account") };
    assert_eq!(account.url.as_deref(), Some("https://ca.example:14000/acct/7"));
    let [certificate] = found.certificates.as_slice() else { panic!("one certificate") };
    assert_eq!(certificate.main.as_str(), "*.a.example.com");
    assert_eq!(certificate.directory.as_ref().map(Url::as_str), Some("https://ca.example:14000/dir"));
    assert_eq!(certificate.challenge, FoundChallenge::Unknown);
    assert_eq!(found.left_out.len(), 1);
    let unknown = read(Client::Lego, &files, &[]);
    assert!(unknown.accounts.is_empty());
    assert!(unknown.left_out[0].why.starts_with("lego does not keep the directory's URL"));
}
