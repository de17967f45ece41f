use std::sync::LazyLock;

use super::super::{FoundChallenge, Paths};
use super::*;
use crate::cert::fixture::{Authority, NOW, days, leaf};
use crate::cert::{KeyType, PrivateKey};

static NO_ROOTS: LazyLock<Roots> = LazyLock::new(|| Roots::from_ders(Vec::<Vec<u8>>::new()));

const LE: &str = "https://acme-v02.api.letsencrypt.org/directory";

fn node(name: &str, address: &str) -> DraftNode {
    DraftNode { name: name.to_owned(), addresses: vec![address.to_owned()], ..DraftNode::default() }
}

fn place() -> Place<'static> {
    let nodes = vec![node("shanghai", "192.0.2.1"), node("guangzhou", "192.0.2.2")];
    let ssh = DraftSsh {
        user: Some("root".to_owned()),
        identity_files: vec!["/etc/certd/id".to_owned()],
        ..DraftSsh::default()
    };
    Place { folder: Path::new("/etc/certd"), ssh, nodes, roots: &NO_ROOTS, looked: &|_, _, _| None }
}

fn paths(folder: &str) -> Paths {
    Paths {
        fullchain: Some(format!("{folder}/fullchain.pem")),
        key: Some(format!("{folder}/privkey.pem")),
        ..Paths::default()
    }
}

fn certificate(names: &[&str], key_type: KeyType, folder: &str) -> FoundCertificate {
    let key = PrivateKey::generate(key_type).unwrap();
    let pair = Authority::root("R").issue_for(&key, leaf(names, days(-1, 80)));
    FoundCertificate {
        file: format!("{}.conf", names[0]),
        main: DnsName::parse(names[0]).unwrap(),
        names: pair.chain().leaf.names.clone(),
        directory: Url::parse(LE).ok(),
        pair: Some(pair),
        challenge: FoundChallenge::Cloudflare,
        paths: paths(folder),
        reload: Some("systemctl reload nginx".to_owned()),
    }
}

fn token(file: &str, token: &str) -> FoundToken {
    FoundToken { file: file.to_owned(), token: Zeroizing::new(token.to_owned()), zone_id: None }
}

fn home(node: &str, certificates: Vec<FoundCertificate>) -> Found {
    Found {
        home: "/root/.acme.sh".to_owned(),
        node: NodeName::parse(node).ok(),
        certificates,
        tokens: vec![token(node, "secret-token")],
        ..Found::default()
    }
}

fn proposed(found: &[Found]) -> (String, Vec<String>) {
    proposed_with(found, place())
}

fn proposed_with(found: &[Found], place: Place<'_>) -> (String, Vec<String>) {
    let proposal = propose(found, place, NOW).map_err(|left| format!("{left:?}")).ok().unwrap();
    let text = proposal.draft.render();
    crate::config::parse(&text).map_err(|errors| panic!("{text}\n{errors:?}")).ok().unwrap();
    assert!(!text.contains("secret-token"));
    (text, proposal.left_out.iter().map(|left| format!("{}: {}", left.what, left.why)).collect())
}

#[test]
fn nodes_with_the_same_certificate_become_one_section_and_one_install() {
    let names = ["a.example.com", "*.a.example.com"];
    let one = || certificate(&names, KeyType::EcdsaP256, "/ssl/a.example.com");
    let account = FoundAccount {
        file: "account.key".to_owned(),
        directory: Url::parse(LE).unwrap(),
        key: PrivateKey::generate(KeyType::EcdsaP256).unwrap(),
        url: None,
        contact: vec!["mailto:ops@example.com".to_owned()],
        binding: None,
    };
    let mut found = [home("shanghai", vec![one()]), home("guangzhou", vec![one()])];
    found[1].accounts.push(account);
    let (text, left_out) = proposed(&found);
    insta::assert_snapshot!(text);
    assert_eq!(left_out, [""; 0]);
    let secrets = propose(&found, place(), NOW).ok().unwrap().secrets;
    let [secret] = secrets.as_slice() else { panic!("the token") };
    assert_eq!((secret.path.as_str(), secret.content.as_str()), ("/etc/certd/cloudflare.token", "secret-token\n"));
}

#[test]
fn what_differs_stands_where_it_differs_and_a_nodes_command_is_for_that_node_alone() {
    let mut odd = certificate(&["a.example.com"], KeyType::EcdsaP256, "/ssl/a.example.com");
    odd.reload = Some("/tmp/evil --as root".to_owned());
    let found = [
        home("shanghai", vec![odd]),
        home(
            "guangzhou",
            vec![
                certificate(&["a.example.com"], KeyType::EcdsaP256, "/ssl/a.example.com"),
                certificate(&["a.example.com"], KeyType::Rsa2048, "/ssl/a.example.com"),
                certificate(&["b.example.com"], KeyType::EcdsaP384, "/other"),
            ],
        ),
    ];
    let (text, left_out) = proposed(&found);
    let config = crate::config::parse(&text).unwrap();
    let reload = |node: &str, name: &str| {
        let pair = (NodeName::parse(node).unwrap(), CertName::parse(name).unwrap());
        config.installs.get(&pair).map(|install| (install.reload.join(" "), install.key.clone()))
    };
    assert_eq!(reload("shanghai", "a.example.com").unwrap().0, "/tmp/evil --as root");
    assert_eq!(reload("guangzhou", "a.example.com").unwrap().0, "systemctl reload nginx");
    let (command, key) = reload("guangzhou", "b.example.com").unwrap();
    assert_eq!((command.as_str(), key.as_str()), ("systemctl reload nginx", "/other/privkey.pem"));
    assert!(reload("shanghai", "b.example.com").is_none(), "it never had this certificate");
    assert!(!text.contains("rsa2048"), "one place has one of the two: {text}");
    assert!(left_out[0].contains("is installed to the same paths, with another type of key"), "{left_out:?}");
    // On a node whose certificates differ in what is a node's own elsewhere.
    let here = |names: &str, folder: &str| certificate(&[names], KeyType::EcdsaP256, folder);
    let found = [
        home(
            "shanghai",
            vec![here("a.example.com", "/ssl/a.example.com"), here("b.example.com", "/ssl/b.example.com")],
        ),
        home("guangzhou", vec![here("a.example.com", "/x"), here("b.example.com", "/ssl/b.example.com")]),
    ];
    let (text, _) = proposed(&found);
    let config = crate::config::parse(&text).unwrap();
    let key = |node: &str, name: &str| {
        config.installs[&(NodeName::parse(node).unwrap(), CertName::parse(name).unwrap())].key.clone()
    };
    assert_eq!(key("guangzhou", "a.example.com"), "/x/privkey.pem");
    assert_eq!(key("guangzhou", "b.example.com"), "/ssl/b.example.com/privkey.pem");
    assert_eq!(key("shanghai", "a.example.com"), "/ssl/a.example.com/privkey.pem");
}

#[test]
fn what_certd_cannot_renew_is_left_out_with_the_reason() {
    let good = || certificate(&["a.example.com"], KeyType::EcdsaP256, "/ssl/{name}/a.example.com");
    let with = |names: &[&str], change: &dyn Fn(&mut FoundCertificate)| {
        let mut one = certificate(names, KeyType::EcdsaP256, "/ssl/x");
        change(&mut one);
        one
    };
    let all = vec![
        with(&["a.example.com"], &|one| one.reload = Some("nginx -t && nginx -s reload".to_owned())),
        with(&["web.example.com"], &|one| one.challenge = FoundChallenge::Other("HTTP-01 (/var/www)".to_owned())),
        with(&["ali.example.com"], &|one| one.challenge = FoundChallenge::OtherDns("dns_ali".to_owned())),
        with(&["a.example.com", "c.example.com"], &|_| {}),
        with(&["nowhere.example.com"], &|one| one.paths = Paths::default()),
    ];
    let (text, left_out) = proposed(&[home("shanghai", all)]);
    let said = |file: &str, part: &str| {
        assert!(left_out.iter().any(|left| left.starts_with(file) && left.contains(part)), "{part}: {left_out:#?}");
    };
    said("web.example.com.conf", "proven by HTTP-01 (/var/www), and certd proves names by DNS-01 alone");
    said("ali.example.com.conf", "proven through dns_ali");
    said("a.example.com.conf", "another certificate has one of its names");
    said("nowhere.example.com.conf", "it is installed nowhere");
    said("a.example.com.conf", "put this line into /usr/local/sbin/certd-reload on the node");
    said("a.example.com.conf", "nginx -t && nginx -s reload");
    assert!(text.contains(r#"["/usr/local/sbin/certd-reload"]"#) && !text.contains("web.example.com"), "{text}");
    // A brace would be a placeholder.
    let (text, _) = proposed(&[home("shanghai", vec![good()])]);
    assert!(text.contains(r#"key       = "/etc/ssl/certd/{name}/privkey.pem""#), "{text}");
    let none = with(&["web.example.com"], &|one| one.challenge = FoundChallenge::Other("hand".to_owned()));
    assert!(propose(&[home("shanghai", vec![none])], place(), NOW).is_err());
}

#[test]
fn a_certificate_for_tests_chooses_no_ca_and_a_name_in_a_path_is_the_certificates_own() {
    let mut test = certificate(&["0.example.com"], KeyType::EcdsaP256, "/ssl/0.example.com");
    test.directory = Url::parse("https://acme-staging-v02.api.letsencrypt.org/directory").ok();
    let mut other = certificate(&["0-b.example.com"], KeyType::EcdsaP256, "/ssl/x0-b.example.com/0-b.example.com");
    other.directory = test.directory.clone();
    let good = certificate(&["a.example.com", "0.a.example.com"], KeyType::EcdsaP256, "/ssl/a.example.com");
    let mut main = good.clone();
    main.main = DnsName::parse("0.a.example.com").unwrap();
    let found = [home("shanghai", vec![test.clone(), other, main])];
    let (text, _) = proposed(&found);
    assert!(text.contains("directory = \"letsencrypt\""), "{text}");
    let config = crate::config::parse(&text).unwrap();
    let key = |name: &str| {
        config.installs[&(NodeName::parse("shanghai").unwrap(), CertName::parse(name).unwrap())].key.clone()
    };
    assert_eq!(key("0-b.example.com"), "/ssl/x0-b.example.com/0-b.example.com/privkey.pem");
    assert_eq!(key("0.a.example.com"), "/ssl/a.example.com/privkey.pem");
    let (text, _) = proposed(&[home("shanghai", vec![test])]);
    assert!(text.contains("directory = \"letsencrypt-staging\""), "{text}");
    // A hostile command is shown before it is written.
    let mut evil = certificate(&["a.example.com"], KeyType::EcdsaP256, "/ssl/a");
    evil.reload = Some("/tmp/evil".to_owned());
    let unusual = propose(&[home("shanghai", vec![evil])], place(), NOW).ok().unwrap().unusual;
    assert_eq!(unusual, ["the reload command of a.example.com.conf: /tmp/evil"]);
}

#[test]
fn wildcards_other_cas_and_external_accounts_pass_the_configurations_own_checks() {
    let mut wild = certificate(&["*.a.example.com"], KeyType::EcdsaP256, "/ssl/x");
    wild.directory = Url::parse("https://acme.zerossl.com/v2/DV90").ok();
    let mut long =
        certificate(&[&format!("{}.{}.example.com", "x".repeat(60), "y".repeat(60))], KeyType::EcdsaP256, "/ssl/y");
    long.directory = Url::parse(LE).ok();
    let mut found = [home("shanghai", vec![wild, long])];
    let (text, left_out) = proposed(&found);
    assert!(text.contains("directory = \"zerossl\"") && text.contains("sni = [\"www.a.example.com\"]"), "{text}");
    assert!(left_out.iter().any(|left| left.contains("it is from another CA")), "{left_out:?}");
    assert!(left_out.iter().any(|left| left.starts_with("the external account")), "{left_out:?}");
    found[0].accounts.push(FoundAccount {
        file: "account.key".to_owned(),
        directory: Url::parse("https://acme.zerossl.com/v2/DV90").unwrap(),
        key: PrivateKey::generate(KeyType::EcdsaP256).unwrap(),
        url: None,
        contact: Vec::new(),
        binding: Some(("kid-7".to_owned(), Zeroizing::new("hmac-secret".to_owned()))),
    });
    let (text, _) = proposed(&found);
    assert!(text.contains("kid-7") && !text.contains("hmac-secret"), "{text}");
    let proposal = propose(&found, place(), NOW).ok().unwrap();
    assert!(proposal.secrets.iter().any(|secret| secret.path == "/etc/certd/eab.hmac"));
}

#[test]
fn a_section_for_a_configuration_that_is_there_is_a_whole_one() {
    let text = section(&certificate(&["b.example.com"], KeyType::Rsa2048, "/ssl/x")).unwrap();
    assert_eq!(
        text,
        "[[certificate]]\ndomains  = [\"b.example.com\"]\nkey_type = \"rsa2048\"\nnodes    = [\"*\"]                         # every node below\n"
    );
}

#[test]
fn both_keys_of_one_name_with_places_of_their_own_are_two_certificates() {
    let of = |key_type, folder: &str| certificate(&["a.example.com"], key_type, folder);
    let found = [
        home(
            "shanghai",
            vec![of(KeyType::Rsa2048, "/ssl/a.example.com-rsa"), of(KeyType::EcdsaP256, "/ssl/a.example.com")],
        ),
        home("guangzhou", vec![of(KeyType::EcdsaP256, "/ssl/a.example.com")]),
    ];
    let (text, left_out) = proposed(&found);
    let config = crate::config::parse(&text).unwrap();
    let key = |node: &str, name: &str| {
        let pair = (NodeName::parse(node).unwrap(), CertName::parse(name).unwrap());
        config.installs.get(&pair).map(|install| install.key.clone())
    };
    assert_eq!(left_out, [""; 0]);
    assert_eq!(key("guangzhou", "a.example.com").as_deref(), Some("/ssl/a.example.com/privkey.pem"));
    assert_eq!(key("shanghai", "a.example.com-rsa2048").as_deref(), Some("/ssl/a.example.com-rsa/privkey.pem"));
    assert_eq!(key("guangzhou", "a.example.com-rsa2048"), None);
}

#[test]
fn what_fails_certds_checks_decides_neither_the_ca_nor_the_type_of_key() {
    let good = certificate(&["a.example.com"], KeyType::EcdsaP256, "/ssl");
    let mut bad = certificate(&["a.example.com"], KeyType::Rsa2048, "/ssl");
    bad.directory = Url::parse("https://ca.invalid/directory").ok();
    let root = {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let authority = Authority::root("R");
        let pair = authority.issue_for(&key, leaf(&["a.example.com"], days(-1, 60)));
        (authority, pair)
    };
    let good = FoundCertificate { pair: Some(root.1), ..good };
    let found = [home("shanghai", vec![bad]), home("guangzhou", vec![good])];
    let roots = root.0.roots();
    let (text, _) = proposed_with(&found, Place { roots: &roots, ..place() });
    assert!(text.contains(r#"directory = "letsencrypt""#) && !text.contains("rsa2048"), "{text}");
}

#[test]
fn what_a_server_reads_and_how_it_reloads_fills_what_acme_sh_does_not_say() {
    let looked = |_: usize, _: &str, _: &[DnsName]| {
        let text = |text: &str| Some(text.to_owned());
        let (fullchain, key, server) = (text("/srv/{name}/chain.pem"), text("/srv/{name}/key.pem"), text("nginx"));
        Some(DraftInstall { fullchain, key, server, ..DraftInstall::default() })
    };
    let mut shell = certificate(&["a.example.com"], KeyType::EcdsaP256, "/srv");
    (shell.paths, shell.reload) = (paths("/srv/a.example.com"), Some("nginx -t && nginx -s reload".to_owned()));
    let mut more = certificate(&["b.example.com"], KeyType::EcdsaP256, "/srv");
    (more.paths, more.reload) = (Paths::default(), Some("nginx -s reload; cp a b".to_owned()));
    let found = [Found { unprivileged: true, ..home("shanghai", vec![shell, more]) }];
    let (text, left_out) = proposed_with(&found, Place { looked: &looked, ..place() });
    let config = crate::config::parse(&text).unwrap();
    let install = |name: &str| {
        let pair = (NodeName::parse("shanghai").unwrap(), CertName::parse(name).unwrap());
        config.installs.get(&pair).map(|install| (install.key.clone(), install.test.join(" "))).unwrap()
    };
    assert_eq!(install("a.example.com"), ("/srv/a.example.com/privkey.pem".to_owned(), "nginx -t".to_owned()));
    assert_eq!(install("b.example.com").0, "/srv/b.example.com/key.pem");
    assert!(left_out[0].contains("are not those that the server reads"), "{left_out:?}");
    assert!(left_out[1].contains("see whether it did more: nginx -s reload; cp a b"), "{left_out:?}");
    assert_eq!(left_out.len(), 2, "{left_out:?}");
}
