//! The configuration: every text of a mistake is a file under `tests/it/config/`, and every file under `config/` parses.

use std::fs;
use std::path::{Path, PathBuf};

use certd::cert::{CertName, KeyType, NodeName};
use certd::config::{Config, Forms, Pkcs12, Provider, StartTls, Via, parse};

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("a folder of the repository");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry that can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|own| own == extension));
    paths.sort();
    assert!(!paths.is_empty(), "nothing in {folder}");
    paths
}

fn rendered(text: &str) -> String {
    match parse(text) {
        Ok(_) => "well\n".to_owned(),
        Err(mistakes) => mistakes.iter().map(|mistake| mistake.render("certd.toml") + "\n").collect(),
    }
}

fn config(text: &str) -> Config {
    parse(text).unwrap_or_else(|_| panic!("{}", rendered(text)))
}

/// To accept what is printed now: `INSTA_UPDATE=always cargo test --test it config`, and read the difference.
#[test]
fn each_mistake_is_told_as_its_file_says() {
    for case in files("tests/it/config", "toml") {
        let name = case.file_stem().and_then(|name| name.to_str()).expect("a name in UTF-8");
        insta::with_settings!({ snapshot_path => "config", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(name, rendered(&fs::read_to_string(&case).unwrap()));
        });
    }
}

#[test]
fn each_expected_text_has_its_case() {
    for expected in files("tests/it/config", "snap") {
        assert!(expected.with_extension("toml").exists(), "{}", expected.display());
    }
}

#[test]
fn each_example_parses() {
    for example in files("config", "toml") {
        assert_eq!(rendered(&fs::read_to_string(&example).unwrap()), "well\n", "{}", example.display());
    }
}

/// `config/full.toml` is the reference: a key that is not in it is not documented.
#[test]
fn the_full_example_shows_every_key() {
    let full = fs::read_to_string("config/full.toml").unwrap();
    let sections = fs::read_to_string("tests/it/config/unknown-keys.snap").unwrap();
    let known = sections.lines().filter_map(|line| line.trim().strip_prefix("write: one of "));
    let keys: Vec<&str> = known.flat_map(|list| list.split(", ")).collect();
    assert!(keys.len() > 40, "the case names too few sections: {keys:?}");
    for key in keys {
        let shown = full.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ', '[']);
            line.starts_with(key) || line.contains(&format!(" {key} =")) || line.contains(&format!(".{key}]"))
        });
        assert!(shown, "config/full.toml does not show {key}");
    }
}

/// A commented line of `config/full.toml` that claims to be the default is the default.
#[test]
fn the_full_example_tells_the_defaults_as_they_are() {
    const OF_NO_DEFAULT: [&str; 15] = [
        "ca_file",
        "issuer_root_file",
        "preferred_chain",
        "zone_id",
        "resolvers",
        "nameservers",
        "inventory_resolvers",
        "proxy",
        "canary",
        "server",
        // Wherever a node offers HTTP/3.
        "quic",
        // As with the files that are there.
        "owner",
        "group",
        "mode",
        "key_mode",
    ];
    let full = fs::read_to_string("config/full.toml").unwrap();
    let assumed = format!("{:?}", config(&full));
    let mut compared = 0;
    for line in full.lines().filter(|line| line.starts_with("# ")) {
        let written = &line[2..];
        let Some((key, _)) = written.split_once('=') else { continue };
        let key = key.trim_end();
        if key.contains(|c: char| !c.is_ascii_lowercase() && c != '_') || OF_NO_DEFAULT.contains(&key) {
            continue;
        }
        assert_eq!(format!("{:?}", config(&full.replacen(line, written, 1))), assumed, "{line}");
        compared += 1;
    }
    assert!(compared >= 17, "{compared}");
}

#[test]
fn the_short_example_says_what_the_three_nodes_need() {
    let config = config(&fs::read_to_string("config/certd.toml").unwrap());
    assert_eq!(config.acme.directory.as_str(), "https://acme-v02.api.letsencrypt.org/directory");
    assert_eq!(config.acme.host, "acme-v02.api.letsencrypt.org");
    assert_eq!(config.acme.contact, ["mailto:ops@example.com"]);
    let Provider::Cloudflare { api_base, .. } = &config.dns.provider else { panic!("another provider") };
    assert_eq!(api_base.as_str(), "https://api.cloudflare.com/client/v4");
    let certificate = &config.certificates[0];
    assert_eq!(certificate.name.as_str(), "newapi.example.com");
    assert_eq!(certificate.key_type, KeyType::EcdsaP256);
    assert_eq!(certificate.sni[0].as_str(), "newapi.example.com");
    assert_eq!(certificate.nodes.len(), 3);
    assert_eq!(config.installs.len(), 3);
    for node in &config.nodes {
        assert_eq!((node.ssh.user.as_str(), node.ssh.port, node.probes[0].port), ("root", 22, 443));
        assert_eq!(node.ssh.host_keys[0].algorithm, "ssh-ed25519");
        let install = config.install(&node.name, &certificate.name).unwrap();
        assert_eq!(install.key, "/usr/local/nginx/conf/ssl/newapi.example.com/privkey.pem");
    }
}

/// What each node of `nodes` is installed with, over an `[install]` of nginx that is written out.
fn installed(nodes: &[&str]) -> Config {
    let nodes = nodes.iter().enumerate();
    let nodes =
        nodes.map(|(number, rest)| format!("[[node]]\nname = \"n{number}\"\naddress = \"192.0.2.{number}\"\n{rest}\n"));
    config(&format!(
        "[acme]\ndirectory = \"letsencrypt\"\n[dns]\nprovider = \"cloudflare\"\ntoken_file = \"/t\"\n\
         [install]\nfullchain = \"/ssl/{{name}}.pem\"\nkey = \"/ssl/{{name}}.key\"\ntest = [\"nginx\", \"-t\"]\n\
         reload = [\"systemctl\", \"reload\", \"nginx\"]\n\
         [[certificate]]\nname = \"a\"\ndomains = [\"a.example.com\"]\nnodes = [\"*\"]\n{}",
        nodes.collect::<String>()
    ))
}

#[test]
fn a_named_server_stands_behind_its_own_layer_and_before_those_below() {
    let config = installed(&[
        "",
        "install = { server = \"postgresql\" }",
        "install = { server = \"redis\", owner = \"redis\", key_mode = \"0600\", test = [\"true\", \"x\"] }",
        "install = { server = \"vsftpd\" }",
        "install = { server = \"unbound\", reload = [\"unbound-control\", \"reload\"] }",
        "[node.certificate.a]\ninstall = { server = \"postfix\" }\n[node.install]\nserver = \"mosquitto\"\nreload = [\"x\"]",
    ]);
    let name = CertName::parse("a").unwrap();
    let install = |number: usize| config.install(&NodeName::parse(&format!("n{number}")).unwrap(), &name).unwrap();
    let words = |words: &[String]| words.join(" ");
    let rights = |number: usize| {
        let rights = &install(number).rights;
        let mode = |mode: Option<certd::config::Mode>| mode.map(|mode| mode.to_string());
        (rights.owner.as_deref(), rights.group.as_deref(), mode(rights.mode), mode(rights.key_mode))
    };
    let modes = |chain: &str, key: &str| (Some(chain.to_owned()), Some(key.to_owned()));
    assert_eq!(words(&install(0).reload), "systemctl reload nginx");
    assert_eq!(rights(0), (None, None, None, None));

    assert_eq!(
        (words(&install(1).test), words(&install(1).reload)),
        ("true".into(), "systemctl reload postgresql".into())
    );
    let (chain, key) = modes("0644", "0640");
    assert_eq!(rights(1), (Some("root"), Some("postgres"), chain, key));

    assert_eq!(words(&install(2).test), "true x");
    assert_eq!(words(&install(2).reload), "redis-cli CONFIG SET tls-cert-file /ssl/a.pem");
    let (chain, key) = modes("0644", "0600");
    assert_eq!(rights(2), (Some("redis"), Some("redis"), chain, key));

    assert!(install(3).restart && words(&install(3).reload).ends_with("systemctl restart \"$0\" ;; esac vsftpd"));
    assert!(!install(4).restart, "its own reload is none");
    assert_eq!(words(&install(5).reload), "postfix reload", "no command of a layer below");
    assert_eq!(rights(5), (None, None, None, None), "no rights of another server");
}

#[test]
fn what_will_hurt_is_a_warning_that_says_what_to_write() {
    let warned = |nodes: &[&str]| certd::config::warnings(&installed(nodes));
    assert_eq!(warned(&["", "install = { server = \"postgresql\" }"]), Vec::<String>::new());
    let closed = "install = { server = \"redis\", key_mode = \"0600\" }";
    assert_eq!(
        warned(&[closed, closed, closed, closed]),
        [
            "a on n0, n1, n2 and 1 more: redis reads the key as its user redis, who cannot read it so. Leave out owner, group \
          and key_mode: server = \"redis\" sets them"
        ]
    );
    assert_eq!(warned(&["install = { server = \"redis\", group = \"ssl-cert\" }"]), Vec::<String>::new(), "who knows");
    let unnamed = "reload = [\"systemctl\", \"reload\", \"mosquitto.service\"]";
    assert_eq!(
        warned(&[&format!("install = {{ {unnamed} }}"), &format!("install = {{ {unnamed}, group = \"x\" }}")]),
        [
            "a on n0: mosquitto reads the key as its user mosquitto, who cannot read a new one unless the file that is there \
          now says so. Write server = \"mosquitto\", or group = \"mosquitto\""
        ]
    );
    assert_eq!(
        warned(&["install = { server = \"nsd\" }", "install = { server = \"nsd\" }\nwindow = \"Sat 02:00-06:00\""]),
        ["a on n0: its reload is a restart, which cuts connections, and it has no window: it may come at any time. \
          Write window = \"Sat 02:00-06:00\" (UTC) at the node"]
    );
}

#[test]
fn failover_is_by_certificate_and_a_name_of_two_has_the_more_cautious_mode() {
    use certd::config::FailoverMode::{Act, Advise, Off};
    let text = fs::read_to_string("tests/it/config/failover-well.toml").unwrap();
    let config = config(&text);
    let modes: Vec<_> = config.certificates.iter().map(|certificate| certificate.failover).collect();
    assert_eq!(modes, [Act, Act, Advise, Off], "the RSA twin has that of the first");
    let of = |name: &str| config.failover_of(&certd::cert::DnsName::parse(name).unwrap());
    assert_eq!((of("a.example.com"), of("*.a.example.com"), of("b.example.com")), (Off, Act, Advise));
    let witness = |text: &str| {
        let witnesses = self::config(text).witnesses();
        witnesses.iter().map(|(host, port)| format!("{host} {port}")).collect::<Vec<_>>()
    };
    assert_eq!(witness(&text), ["2001:db8::53 853"]);
    assert_eq!(
        witness(&text.replace("witness = \"[2001:db8::53]:853\"\n", "")),
        ["198.51.100.7 443"],
        "the watched endpoint"
    );
}

#[test]
fn failover_that_can_do_nothing_or_too_much_is_a_warning() {
    let text = fs::read_to_string("tests/it/config/failover-well.toml").unwrap();
    let warned = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        certd::config::warnings(&config(&text.replace(from, to)))
    };
    assert_eq!(warned("1m", "1m"), Vec::<String>::new());
    let begins = |warnings: Vec<String>, beginning: &str| {
        assert!(!warnings.is_empty() && warnings[0].starts_with(beginning), "{beginning}: {warnings:?}");
    };
    begins(warned("interval = \"1m\"", "interval = \"10s\""), "failover.interval is 10s: ");
    let two =
        "a.example.com: failover never withdraws a record, since 2 of its 2 nodes have to stay. Write min_records = 1";
    begins(warned("min_records = 1", ""), two);
    begins(warned("min_records = 1", "min_records = 2"), two);
    begins(warned("[2001:db8::53]:853", "10.0.0.1:443"), "failover: every witness is in a private network");
    begins(warned("after = \"90s\"", "after = \"30s\""), "a.example.com: a node counts as failing after 3 bad answers");
}

#[test]
fn probes_are_merged_table_by_table_and_a_list_or_a_protocol_brings_its_own_port() {
    let config = config(&fs::read_to_string("tests/it/config/probes-well.toml").unwrap());
    let ports = |probes: &[certd::config::Probe]| -> Vec<(u16, Option<StartTls>, u64)> {
        probes.iter().map(|probe| (probe.port, probe.starttls, probe.served_within.as_secs())).collect()
    };
    let of = |name: &str| ports(&config.node(&node(name)).unwrap().probes);
    assert_eq!(of("as all"), [(587, Some(StartTls::Submission), 60)]);
    assert_eq!(of("another port of the same protocol"), [(2525, Some(StartTls::Submission), 60)]);
    assert_eq!(of("another protocol at its own port"), [(143, Some(StartTls::Imap), 60)]);
    assert_eq!(of("none"), [(443, None, 60)]);
    assert_eq!(of("mail"), [(465, None, 15), (993, None, 15), (25, Some(StartTls::Smtp), 15)]);
    let mail = config.node(&node("mail")).unwrap();
    assert_eq!(ports(mail.probes_of(&name("b.example.com"))), [(5432, Some(StartTls::Postgres), 15)]);
    assert_eq!(mail.probes_of(&name("a.example.com")).len(), 3);
    assert_eq!(mail.every_probe().filter(|probe| probe.via == Via::Ssh).count(), 1);
    assert_eq!((config.watches[0].port, config.watches[0].starttls), (25, Some(StartTls::Smtp)));
}

const LAYERS: &str = r#"
[acme]
directory = "https://localhost:14000/dir"
[dns]
provider = "cloudflare"
token_file = "/t"
[ssh]
user = "deploy"
identity_files = ["/one", "/two"]
[install]
fullchain = "/default/{name}/f"
key = "/default/{name}/k"
test = ["default", "-t"]
reload = ["default", "{name}"]
[[certificate]]
domains = ["a.example.com"]
nodes = ["tag:edge"]
install = { key = "/certificate/k", test = ["certificate"], reload = ["certificate"] }
[[certificate]]
name = "wild"
domains = ["*.example.net", "BÜCHER.example.org."]
nodes = ["南京", "*"]
probe = { sni = ["www.example.net"] }
[[node]]
name = "plain"
address = "192.0.2.1"
[[node]]
name = "南京"
address = ["2001:db8::1", "node.example.org"]
tags = ["edge", "cn"]
ssh = { port = 2222, identity_files = ["/own"] }
probe = { port = 8443 }
install = { test = ["node"], reload = ["node"] }
paused_until = 2026-12-01
[node.certificate."a.example.com"]
install = { reload = ["both"] }
"#;

fn name(text: &str) -> CertName {
    CertName::parse(text).expect("a certificate's name")
}

fn node(text: &str) -> NodeName {
    NodeName::parse(text).expect("a node's name")
}

#[test]
fn the_nearest_layer_wins_key_by_key_and_lists_are_not_mixed() {
    let config = config(LAYERS);
    let install = config.install(&node("南京"), &name("a.example.com")).unwrap();
    assert_eq!(install.fullchain, "/default/a.example.com/f");
    assert_eq!(install.key, "/certificate/k");
    assert_eq!(install.test, ["node"]);
    assert_eq!(install.reload, ["both"]);
    let install = config.install(&node("plain"), &name("wild")).unwrap();
    assert_eq!(install.test, ["default", "-t"]);
    assert_eq!(install.reload, ["default", "wild"]);
    let ssh = &config.node(&node("南京")).unwrap().ssh;
    assert_eq!((ssh.user.as_str(), ssh.port), ("deploy", 2222));
    assert_eq!(ssh.identity_files, [PathBuf::from("/own")]);
}

#[test]
fn selectors_mean_nodes_in_the_order_of_the_file() {
    let config = config(LAYERS);
    assert_eq!(config.certificates[0].nodes, [node("南京")]);
    assert_eq!(config.certificates[1].nodes, [node("plain"), node("南京")]);
    assert!(config.install(&node("plain"), &name("a.example.com")).is_none());
}

#[test]
fn d14_names_are_canonical_and_a_handshake_asks_for_what_is_written() {
    let config = config(LAYERS);
    let wild = config.certificate(&name("wild")).unwrap();
    assert_eq!(wild.names.to_string(), "*.example.net, xn--bcher-kva.example.org");
    assert_eq!(wild.sni[0].as_str(), "www.example.net");
}

#[test]
fn a_private_ca_has_a_folder_of_its_own_and_a_date_is_its_first_instant() {
    let config = config(LAYERS);
    assert_eq!(config.acme.host, "localhost-14000");
    let paused = config.node(&node("南京")).unwrap().paused_until.unwrap();
    assert_eq!(paused.to_string(), "2026-12-01T00:00:00Z");
}

#[test]
fn a_watched_name_is_asked_for_itself_unless_another_is_written() {
    let config = config(&fs::read_to_string("tests/it/config/watches-well.toml").unwrap());
    let reply: Vec<String> = config.watches.iter().map(|watch| format!("{watch:?}")).collect();
    assert!(reply[0].starts_with("Watch { name: WatchName(\"api.example.com\")"), "{}", reply[0]);
    assert_eq!((config.watches[0].port, config.watches[1].port), (443, 8443));
    let asked = |watch: usize| config.watches[watch].targets.iter().map(|(_, sni)| sni.as_str()).collect::<Vec<_>>();
    assert_eq!(asked(0), ["api.example.com"]);
    assert_eq!(asked(1), ["a.example.com", "a.example.com"]);
}

/// What one node's consumers want beyond the pair is nobody else's business.
#[test]
fn further_files_and_writing_in_place_come_from_the_nearest_layer_that_says_so() {
    let text = r#"
[acme]
directory = "letsencrypt"
[dns]
provider = "cloudflare"
token_file = "/etc/certd/token"
[install]
fullchain = "/ssl/{name}/fullchain.pem"
key = "/ssl/{name}/privkey.pem"
test = ["true"]
reload = ["true"]
[[certificate]]
domains = ["a.example"]
nodes = ["tag:edge"]
install = { chain = "/ssl/{name}/chain.pem" }
[[certificate]]
domains = ["b.example"]
nodes = ["*"]
[[node]]
name = "one"
address = "192.0.2.1"
tags = ["edge"]
install = { combined = "/haproxy/{name}.pem" }
[node.certificate."a.example"]
install = { combined = "/haproxy/first/{name}.pem", chain = "/haproxy/chain.pem", unsafe_in_place = false }
[[node]]
name = "two"
address = "192.0.2.2"
tags = ["edge"]
install = { unsafe_in_place = true }
[[node]]
name = "three"
address = "192.0.2.3"
"#;
    let config = config(text);
    let reply = |node: &str, name: &str| {
        let install = config.install(&NodeName::parse(node).unwrap(), &CertName::parse(name).unwrap())?;
        Some((install.chain.as_deref(), install.combined.as_deref(), install.in_place))
    };
    assert_eq!(
        reply("one", "a.example"),
        Some((Some("/haproxy/chain.pem"), Some("/haproxy/first/a.example.pem"), false))
    );
    assert_eq!(reply("one", "b.example"), Some((None, Some("/haproxy/b.example.pem"), false)));
    assert_eq!(reply("two", "a.example"), Some((Some("/ssl/a.example/chain.pem"), None, true)));
    assert_eq!(reply("three", "a.example"), None, "it has no such tag");
    assert_eq!(reply("three", "b.example"), Some((None, None, false)));
}

#[test]
fn jump_hosts_are_written_as_ssh_has_them_or_as_sections() {
    let config = config(&fs::read_to_string("tests/it/config/jumps-well.toml").unwrap());
    let ways: Vec<Vec<String>> = config
        .nodes
        .iter()
        .map(|node| node.ssh.jumps.iter().map(|jump| format!("{:?} {} {}", jump.user, jump.host, jump.port)).collect())
        .collect();
    assert_eq!(ways, [vec!["Some(\"ops\") 2001:db8::1 2222".to_owned(), "None 192.0.2.9 23".to_owned()], vec![]]);
    assert_eq!(config.nodes[0].ssh.jumps[1].name.as_str(), "jump host 192.0.2.9 port 23");
    assert!(config.nodes[0].ssh.agent.is_none() && config.nodes[1].ssh.agent.is_some());
    assert!(config.nodes[1].ssh.identity_files.is_empty(), "an agent is enough");
}

#[test]
fn further_forms_come_from_their_layers_and_without_pkcs12_a_password_is_nothing() {
    let config = config(include_str!("config/forms-well.toml"));
    let forms = |name: &str| {
        let install = config.install(&NodeName::parse("one").unwrap(), &CertName::parse(name).unwrap()).unwrap();
        install.forms.clone()
    };
    let pkcs12 = |name: &str, password: &str, legacy| {
        Some(Pkcs12 { path: format!("/ssl/{name}.p12"), password_file: format!("/ssl/{password}"), legacy })
    };
    let a = Forms {
        certificate_der: Some("/ssl/a.example.com.der".to_owned()),
        key_der: None,
        pkcs12: pkcs12("a.example.com", "password", false),
    };
    let b = Forms {
        certificate_der: None,
        key_der: Some("/ssl/b.example.com.key.der".to_owned()),
        pkcs12: pkcs12("b.example.com", "b.example.com.password", true),
    };
    assert_eq!((forms("a.example.com"), forms("b.example.com")), (a, b));
}
