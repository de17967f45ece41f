use super::super::{FoundChallenge, Paths};
use super::*;
use crate::cert::fixture::{Authority, NOW, days};
use crate::cert::{Generation, PrivateKey};
use crate::model::{Kept, Meta};

const CONFIG: &str = r#"
[acme]
directory = "letsencrypt"
[dns]
provider = "cloudflare"
token_file = "/etc/certd/token"
[install]
fullchain = "/ssl/{name}/fullchain.pem"
key = "/ssl/{name}/key.pem"
test = ["nginx", "-t"]
reload = ["systemctl", "reload", "nginx"]
[[certificate]]
domains = ["a.example.com"]
nodes = ["*"]
[[node]]
name = "shanghai"
address = "192.0.2.1"
"#;
const HOST: &str = "acme-v02.api.letsencrypt.org";

fn directory() -> Url {
    Url::parse("https://acme-v02.api.letsencrypt.org/directory").unwrap()
}

fn account(file: &str, key_type: KeyType, url: &str) -> FoundAccount {
    FoundAccount {
        file: file.to_owned(),
        directory: directory(),
        key: PrivateKey::generate(key_type).unwrap(),
        url: Some(url.to_owned()),
        contact: Vec::new(),
        binding: None,
    }
}

fn certificate(file: &str, pair: &Pair) -> FoundCertificate {
    let names = pair.chain().leaf.names.clone();
    let main = names.iter().next().unwrap().clone();
    FoundCertificate {
        file: file.to_owned(),
        main,
        names,
        directory: Some(directory()),
        pair: Some(pair.clone()),
        challenge: FoundChallenge::Cloudflare,
        paths: Paths::default(),
        reload: None,
    }
}

fn home(node: &str, accounts: Vec<FoundAccount>, pairs: &[&Pair]) -> Found {
    let certificates = pairs.iter().map(|pair| certificate(node, pair)).collect();
    Found { home: "/h".to_owned(), node: NodeName::parse(node).ok(), accounts, certificates, ..Found::default() }
}

fn nothing() -> Standing {
    Standing { stored: BTreeMap::new(), accounts: BTreeSet::new(), ledger: Vec::new() }
}

struct Scene {
    ca: Authority,
    config: Config,
    standing: Standing,
}

impl Scene {
    fn new() -> Self {
        let config = crate::config::parse(CONFIG).unwrap();
        Self { ca: Authority::root("R").intermediate("I"), config, standing: nothing() }
    }

    fn roots(root: &Authority) -> Roots {
        root.roots()
    }

    fn adopt(&self, found: &[Found], new_key: bool) -> Adoption {
        // The root of the fixture's intermediate is not kept: the intermediate is trusted instead.
        adopt(&self.config, &self.standing, found, &Self::roots(&self.ca), NOW, new_key)
    }
}

fn whys(adoption: &Adoption) -> Vec<String> {
    adoption.left_out.iter().map(|left| format!("{}: {}", left.what, left.why)).collect()
}

#[test]
fn of_several_nodes_the_longest_life_and_its_account_are_taken_and_the_others_are_named() {
    let scene = Scene::new();
    let issue = |to| scene.ca.issue(&["a.example.com"], days(-10, to));
    let (short, long, middle) = (issue(20), issue(80), issue(50));
    let accounts = |node: &str| vec![account(node, KeyType::EcdsaP256, &format!("https://{HOST}/acct/{node}"))];
    let found = [
        home("shanghai", accounts("shanghai"), &[&short]),
        home("guangzhou", accounts("guangzhou"), &[&long]),
        home("shenzhen", accounts("shenzhen"), &[&middle]),
    ];
    let adoption = scene.adopt(&found, false);
    let [adopted] = adoption.certificates.as_slice() else { panic!("{:?}", whys(&adoption)) };
    assert_eq!(adopted.pair.chain().leaf.fingerprint, long.chain().leaf.fingerprint);
    assert_eq!((adopted.file.as_str(), adopted.ca.as_str()), ("guangzhou", HOST));
    assert_eq!(adoption.accounts[0].account.file, "guangzhou");
    assert_eq!(
        whys(&adoption),
        [
            "shanghai: it ends 2026-12-13, and that of guangzhou ends 2027-02-11: that one becomes the shared one",
            "shenzhen: it ends 2027-01-12, and that of guangzhou ends 2027-02-11: that one becomes the shared one",
            &format!("shanghai: another account at {HOST}: certd takes that of guangzhou"),
            &format!("shenzhen: another account at {HOST}: certd takes that of guangzhou"),
        ]
    );
}

#[test]
fn a_certificate_that_fails_our_checks_is_not_taken_and_the_next_best_is() {
    let scene = Scene::new();
    let good = scene.ca.issue(&["a.example.com"], days(-10, 20));
    let strange = Authority::root("other").issue(&["a.example.com"], days(-10, 80));
    let expired = scene.ca.issue(&["a.example.com"], days(-90, -1));
    let found = [home("x", Vec::new(), &[&strange]), home("y", Vec::new(), &[&good, &expired])];
    let adoption = scene.adopt(&found, false);
    assert_eq!(adoption.certificates[0].pair.chain().leaf.fingerprint, good.chain().leaf.fingerprint);
    let whys = whys(&adoption);
    assert!(whys.iter().any(|why| why.starts_with("x: it fails certd's own checks: ")), "{whys:?}");
    assert!(whys.contains(&"y: it expired 2026-11-22".to_owned()), "{whys:?}");
}

#[test]
fn nothing_older_than_what_is_stored_is_taken() {
    let mut scene = Scene::new();
    let issue = |from, to| scene.ca.issue(&["a.example.com"], days(from, to));
    let (stored, older, newer) = (issue(-10, 50), issue(-20, 40), issue(-5, 60));
    let odd = issue(-20, 70);
    let leaf = stored.chain().leaf.clone();
    let meta = Meta { key_type: KeyType::EcdsaP256, profile: None, ca: HOST.to_owned(), issued_at: leaf.not_before };
    let generation = Generation::issued(NOW, 0, &leaf.serial).unwrap();
    let current = Some(Kept { generation, leaf, meta });
    let name = scene.config.certificates[0].name.clone();
    scene.standing.stored.insert(name, Stored { current, ..Stored::default() });
    for (pair, why) in [(&stored, "has this certificate already"), (&older, "is newer"), (&odd, "is newer")] {
        let adoption = scene.adopt(&[home("x", Vec::new(), &[pair])], false);
        assert!(adoption.certificates.is_empty() && whys(&adoption)[0].contains(why), "{:?}", whys(&adoption));
    }
    assert_eq!(scene.adopt(&[home("x", Vec::new(), &[&newer])], false).certificates.len(), 1);
}

#[test]
fn other_names_and_other_keys_than_the_configuration_has_are_left_out_with_what_to_write() {
    let scene = Scene::new();
    let other = scene.ca.issue(&["b.example.com"], days(-1, 80));
    let more = scene.ca.issue(&["a.example.com", "www.example.com"], days(-1, 80));
    let key = PrivateKey::generate(KeyType::EcdsaP384).unwrap();
    let other_key = scene.ca.issue_for(&key, crate::cert::fixture::leaf(&["a.example.com"], days(-1, 80)));
    let adoption = scene.adopt(&[home("x", Vec::new(), &[&other, &more, &other_key])], false);
    assert!(adoption.certificates.is_empty());
    assert_eq!(adoption.strangers.len(), 1);
    assert_eq!(
        whys(&adoption),
        [
            "x: its key is ecdsa-p384, and a.example.com is to have ecdsa-p256: it would be replaced at once",
            "x: no certificate of the configuration has its names: b.example.com",
            "x: its names are not those of a.example.com in the configuration (a.example.com): a.example.com, www.example.com",
        ]
    );
}

#[test]
fn an_account_is_taken_once_and_another_type_of_key_is_exchanged_when_it_may_be() {
    let mut scene = Scene::new();
    let url = format!("https://{HOST}/acct/7");
    let with = |key_type| [home("x", vec![account("x", key_type, &url)], &[])];
    let adoption = scene.adopt(&with(KeyType::EcdsaP256), false);
    assert_eq!((adoption.accounts[0].ca.as_str(), adoption.accounts[0].new_key), (HOST, false));
    let rsa = scene.adopt(&with(KeyType::EcdsaP384), false);
    assert!(rsa.accounts.is_empty() && whys(&rsa)[0].contains("--new-account-key"), "{:?}", whys(&rsa));
    assert!(scene.adopt(&with(KeyType::EcdsaP384), true).accounts[0].new_key);
    scene.standing.accounts.insert(HOST.to_owned());
    let kept = scene.adopt(&with(KeyType::EcdsaP256), true);
    assert!(kept.accounts.is_empty() && whys(&kept)[0].ends_with("already, and keeps it"), "{:?}", whys(&kept));
}

#[test]
fn what_others_have_ordered_of_late_is_counted_once() {
    let mut scene = Scene::new();
    let issue = |from| scene.ca.issue(&["a.example.com"], days(from, 80));
    // Two of the same second are two.
    let (old, one, two, three) = (issue(-30), issue(-3), issue(-2), issue(-2));
    let found = [home("x", Vec::new(), &[&old, &one]), home("y", Vec::new(), &[&one, &two, &three])];
    let adoption = scene.adopt(&found, false);
    let at: Vec<Timestamp> = adoption.ledger.iter().map(|entry| entry.at).collect();
    assert_eq!(at, [&one, &two, &three].map(|pair| pair.chain().leaf.not_before));
    // What no CA issued is nobody's order, and more than a full week is not noted.
    let forged = Authority::root("other").issue(&["a.example.com"], days(-1, 80));
    assert!(scene.adopt(&[home("z", Vec::new(), &[&forged])], false).ledger.is_empty());
    let many: Vec<Pair> = (0..9).map(|_| issue(-1)).collect();
    let many = scene.adopt(&[home("z", Vec::new(), &many.iter().collect::<Vec<_>>())], false);
    assert_eq!(many.ledger.len(), scene.config.acme.certificates_per_week);
    scene.standing.ledger = adoption.ledger;
    assert!(scene.adopt(&found, false).ledger.is_empty());
}
