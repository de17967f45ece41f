use toml::Table;

use super::*;
use crate::config::{ConfigError, parse};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn node(name: &str, address: &str) -> DraftNode {
    DraftNode { name: name.to_owned(), addresses: texts(&[address]), ..DraftNode::default() }
}

fn draft() -> Draft {
    Draft {
        directory: "letsencrypt".to_owned(),
        contact: texts(&["ops@example.com"]),
        dns: DraftDns { provider: "cloudflare".to_owned(), token_file: Some("/etc/certd/cloudflare.token".to_owned()) },
        ssh: DraftSsh {
            user: Some("root".to_owned()),
            identity_files: texts(&["/etc/certd/id_ed25519"]),
            ..DraftSsh::default()
        },
        install: DraftInstall {
            fullchain: Some("/etc/nginx/ssl/{name}/fullchain.pem".to_owned()),
            key: Some("/etc/nginx/ssl/{name}/privkey.pem".to_owned()),
            server: Some("nginx".to_owned()),
            ..DraftInstall::default()
        },
        certificates: vec![DraftCertificate { domains: texts(&["www.example.com"]), ..DraftCertificate::default() }],
        nodes: vec![DraftNode { host_keys: vec![HostKey::parse(KEY).unwrap()], ..node("shanghai", "192.0.2.1") }],
        ..Draft::default()
    }
}

#[track_caller]
fn parsed(draft: &Draft) -> crate::config::Config {
    let text = draft.render();
    parse(&text).unwrap_or_else(|errors| {
        panic!("{}\n{text}", errors.iter().map(|error: &ConfigError| error.render("f")).collect::<String>())
    })
}

#[test]
fn a_draft_is_a_configuration_that_reads_like_the_example() {
    let config = parsed(&draft());
    assert_eq!(config.nodes[0].ssh.host_keys, [HostKey::parse(KEY).unwrap()]);
    let install = config.install(&config.nodes[0].name, &config.certificates[0].name).unwrap();
    assert_eq!(install.fullchain, "/etc/nginx/ssl/www.example.com/fullchain.pem");
    assert_eq!(install.reload, ["systemctl", "reload", "nginx"]);
    insta::assert_snapshot!(draft().render());
}

#[test]
fn every_field_arrives() {
    let own = DraftInstall {
        test: texts(&["nginx", "-t"]),
        reload: texts(&["sh", "-c", "a \"b\" \\ $c"]),
        ..DraftInstall::default()
    };
    let first = DraftCertificate {
        notes: texts(&["two\nlines", ""]),
        name: Some("both".to_owned()),
        domains: texts(&["a.example.com", "*.b.example.com"]),
        key_type: texts(&["ecdsa-p256", "rsa2048"]),
        nodes: texts(&["上海", "tag:edge"]),
        install: DraftInstall {
            fullchain: Some("/srv/{name}.pem".to_owned()),
            key: Some("/srv/{name}.key".to_owned()),
            further: vec![("key_mode".to_owned(), Value::from("0640"))],
            ..own.clone()
        },
        further: vec![("inventory".to_owned(), Value::from(false))],
    };
    let second = DraftNode {
        notes: texts(&["of another provider"]),
        addresses: texts(&["192.0.2.2", "2001:db8::2"]),
        host_keys: vec![
            HostKey::parse(KEY).unwrap(),
            HostKey {
                algorithm: "ssh-ed25519".to_owned(),
                blob: {
                    let mut blob = HostKey::parse(KEY).unwrap().blob;
                    *blob.last_mut().unwrap() ^= 1;
                    blob
                },
            },
        ],
        ssh: DraftSsh {
            user: Some("certd".to_owned()),
            port: Some(2222),
            jump: texts(&["ops@192.0.2.9:22"]),
            ..DraftSsh::default()
        },
        install: own,
        further: vec![("tags".to_owned(), Value::from(texts(&["edge"])))],
        ..node("edge 2", "")
    };
    let draft = Draft {
        notes: texts(&["made for a test"]),
        state_dir: Some("/srv/certd".to_owned()),
        certificates: vec![
            first,
            DraftCertificate {
                domains: texts(&["c.example.com"]),
                key_type: texts(&["rsa3072"]),
                ..DraftCertificate::default()
            },
        ],
        nodes: vec![node("上海", "192.0.2.1"), second],
        settings: vec![
            ("probe".to_owned(), "port".to_owned(), Value::from(8443)),
            ("dns".to_owned(), "nameservers".to_owned(), Value::from(texts(&["127.0.0.1:8053"]))),
            ("dns.org".to_owned(), "provider".to_owned(), Value::from("cloudflare")),
            ("dns.org".to_owned(), "token_file".to_owned(), Value::from("/etc/certd/org.token")),
            ("dns.org".to_owned(), "zones".to_owned(), Value::from(texts(&["example.org"]))),
            (String::new(), "sessions".to_owned(), Value::from(3)),
        ],
        ..draft()
    };
    let config = parsed(&draft);
    assert_eq!((config.sessions, config.state_dir.to_str()), (3, Some("/srv/certd")));
    assert_eq!(config.certificates.len(), 3);
    assert_eq!(config.certificates[0].nodes.len(), 2);
    let second = &config.nodes[1];
    assert_eq!(
        (second.ssh.port, second.ssh.user.as_str(), second.ssh.jumps.len(), second.ssh.host_keys.len()),
        (2222, "certd", 1, 2)
    );
    assert_eq!((second.addresses.len(), second.probes[0].port), (2, 8443));
    let install = config.install(&second.name, &config.certificates[0].name).unwrap();
    assert_eq!(install.reload, ["sh", "-c", "a \"b\" \\ $c"]);
    assert_eq!(config.dns.sections.len(), 1);
    insta::assert_snapshot!(draft.render());
}

/// No text ends its string, its comment or its line, and each comes back as it was.
#[test]
fn no_text_breaks_out() {
    for text in [
        "\"]\n[[node]]\n",
        "\\",
        "\\\"",
        "'''",
        "\u{0}\u{1}\u{7f}\u{9b}\r\n\t",
        "\u{202e}abc\u{2066}",
        "# a",
        "上海",
        "\u{10ffff}\u{e0001}",
        "\u{feff}",
        "{name}",
        "a\u{301}",
    ] {
        let line = quoted(text);
        assert!(!line.contains('\n') && !line.chars().any(char::is_control), "{line}");
        let table: Table = format!("a = {line}").parse().unwrap();
        assert_eq!(table["a"].as_str(), Some(text));
        let table: Table = format!("{} = 1", layout::key(text)).parse().unwrap();
        assert!(table.contains_key(text));
        let mut draft = draft();
        draft.notes = vec![text.to_owned()];
        draft.nodes[0].notes = vec![text.to_owned()];
        draft.certificates[0].notes = vec![format!("{text}\n[[node]]\u{85}[[node]]\r[[node]]")];
        assert_eq!(parsed(&draft).nodes.len(), 1);
        draft.install.test = vec![text.to_owned()];
        let table: Table = draft.render().parse().unwrap();
        assert_eq!(table["install"]["test"][0].as_str(), Some(text));
    }
}
