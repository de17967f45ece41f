//! What nginx 1.22.1 and 1.26.3, Apache 2.4.71, HAProxy 2.6.12 and Caddy 2.6.2 printed.

use super::*;

const NGINX: &str = include_str!("testdata/nginx-1.22.txt");

fn server(kind: ServerKind, program: &str, unit: Option<&str>, configuration: &str) -> FoundServer {
    FoundServer {
        kind,
        program: program.to_owned(),
        arguments: Vec::new(),
        unit: unit.map(str::to_owned),
        listens: true,
        configuration: configuration.to_owned(),
    }
}

fn nginx(configuration: &str) -> FoundServer {
    server(ServerKind::Nginx, "/usr/sbin/nginx", Some("nginx.service"), configuration)
}

fn of(server: FoundServer, name: &str) -> Vec<Proposal> {
    propose(&[server], name, &[DnsName::parse(name).unwrap()])
}

#[track_caller]
fn one(server: FoundServer, name: &str) -> Proposal {
    let mut proposals = of(server, name);
    assert_eq!(proposals.len(), 1, "{proposals:?}");
    proposals.remove(0)
}

fn paths(proposal: &Proposal) -> [&str; 2] {
    [&proposal.install.fullchain, &proposal.install.key].map(|path| path.as_deref().unwrap_or_default())
}

#[test]
fn nginx_shows_the_pair_of_the_server_with_the_name() {
    let found = one(nginx(NGINX), "newapi.example.com");
    assert_eq!(paths(&found), ["/etc/nginx/ssl/{name}/fullchain.pem", "/etc/nginx/ssl/{name}/privkey.pem"]);
    assert_eq!(found.install.server.as_deref(), Some("nginx"));
    assert!(found.by_name && found.is_complete() && found.notes.is_empty(), "{found:?}");
    let quoted = one(nginx(NGINX), "api2.example.com");
    assert_eq!(paths(&quoted)[0], "/etc/nginx/ssl/newapi.example.com/fullchain.pem");
    let space = one(nginx(NGINX), "space.example.com");
    assert_eq!(paths(&space), ["/etc/nginx/ssl/with space/fullchain.pem", "/etc/nginx/ssl/with space/privkey.pem"]);
}

#[test]
fn nginx_inherits_from_http_and_a_leading_dot_is_the_name_and_all_below() {
    for name in ["plain.example.com", "below.example.com", "x.below.example.com"] {
        let found = one(nginx(NGINX), name);
        assert_eq!(paths(&found), ["/etc/nginx/ssl/default.crt", "/etc/nginx/ssl/default.key"], "{name}");
        assert!(found.by_name);
    }
    assert!(!one(nginx(NGINX), "elsewhere.example.net").by_name);
}

#[test]
fn a_path_with_a_variable_is_named_and_not_taken() {
    let found = one(nginx(NGINX), "var.example.com");
    assert!(!found.is_complete());
    assert!(found.notes[0].contains("/etc/nginx/ssl/$ssl_server_name/fullchain.pem has a variable"), "{found:?}");
}

#[test]
fn relative_paths_of_an_nginx_built_from_source_begin_at_its_configuration() {
    let text = include_str!("testdata/nginx-1.26.txt");
    let found = one(
        server(ServerKind::Nginx, "/usr/local/nginx/sbin/nginx", Some("nginx.service"), text),
        "newapi.example.com",
    );
    let folder = "/usr/local/nginx/conf/ssl/{name}";
    assert_eq!(paths(&found), [format!("{folder}/fullchain.pem"), format!("{folder}/privkey.pem")]);
    assert_eq!(found.install.test, ["/usr/local/nginx/sbin/nginx", "-t"]);
    assert_eq!(found.install.reload, ["systemctl", "reload", "nginx"]);
    let by_hand = one(server(ServerKind::Nginx, "/usr/local/nginx/sbin/nginx", None, text), "newapi.example.com");
    assert_eq!(by_hand.install.reload, ["/usr/local/nginx/sbin/nginx", "-s", "reload"]);
}

#[test]
fn includes_are_read_in_their_place() {
    let text = "# configuration file /e/nginx.conf:\nhttp { include s/*.conf; include snip[p]et; }\n\
                # configuration file /e/s/a.conf:\nserver { listen 443 ssl; server_name a.example.com; include /e/tls.inc; }\n\
                # configuration file /e/s/sub/b.conf:\nserver { listen 443 ssl; server_name b.example.com; }\n\
                # configuration file /e/tls.inc:\nssl_certificate own.pem; ssl_certificate_key own.key;\n\
                # configuration file /e/snippet:\nserver { listen 443; ssl on; server_name c.example.com; include /e/tls.inc; }\n";
    assert_eq!(paths(&one(nginx(text), "a.example.com")), ["/e/own.pem", "/e/own.key"]);
    assert!(one(nginx(text), "c.example.com").by_name);
    assert!(!one(nginx(text), "b.example.com").by_name, "no pattern of http leads there");
}

#[test]
fn several_pairs_are_shown_and_files_of_others_are_refused() {
    let site = |paths: &str| {
        format!(
            "# configuration file /n.conf:\nhttp {{ server {{ listen 443 ssl default_server; server_name a.example.com; {paths} }} }}"
        )
    };
    let pair = |name: &str| format!("ssl_certificate /t/{name}.pem; ssl_certificate_key /t/{name}.key;");
    assert_eq!(of(nginx(&site(&(pair("ecdsa") + &pair("rsa")))), "a.example.com").len(), 2);
    let certbot = one(nginx(&site(&pair("x").replace("/t/", "/etc/letsencrypt/live/a/"))), "a.example.com");
    assert!(!certbot.is_complete() && certbot.notes[0].contains("is certbot's"), "{certbot:?}");
    assert_eq!(paths(&one(nginx(&site(&pair("a.example.com"))), "a.example.com")), ["/t/{name}.pem", "/t/{name}.key"]);
    let none = one(nginx("nginx: configuration file /etc/nginx/nginx.conf test failed"), "a.example.com");
    assert_eq!((none.install.fullchain, none.install.server.as_deref()), (None, Some("nginx")));
}

#[test]
fn dots_in_a_path_are_resolved_and_what_cannot_be_configured_is_named() {
    let site = |chain: &str, key: &str| {
        format!(
            "# configuration file /etc/nginx/nginx.conf:\nhttp {{ server {{ listen 443 ssl; server_name a.example.com; \
                 ssl_certificate \"{chain}\"; ssl_certificate_key \"{key}\"; }} }}"
        )
    };
    let found = one(nginx(&site("../tls/./c.pem", "/etc//nginx/../../../k.pem")), "a.example.com");
    assert_eq!(paths(&found), ["/etc/tls/c.pem", "/k.pem"]);
    for (chain, key) in [("/a\u{1b}[2J", "/k"), ("/same", "/same"), ("/{nome}/c", "/k"), ("/c", &"/k".repeat(3000))] {
        let found = one(nginx(&site(chain, key)), "a.example.com");
        assert!(!found.is_complete() && found.notes.len() == 1, "{found:?}");
        assert!(!found.notes[0].contains('\u{1b}'));
    }
}

#[test]
fn apache_resolves_what_it_defines_and_joins_lines() {
    let text = include_str!("testdata/apache-2.4.txt");
    let apache = |unit| server(ServerKind::Apache, "/usr/sbin/apachectl", unit, text);
    for name in ["newapi.example.com", "www.newapi.example.com", "x.api.example.com"] {
        let found = one(apache(Some("apache2.service")), name);
        let folder = if name == "newapi.example.com" {
            "/etc/apache2/tls/{name}"
        } else {
            "/etc/apache2/tls/newapi.example.com"
        };
        assert_eq!(paths(&found), [format!("{folder}/fullchain.pem"), format!("{folder}/privkey.pem")]);
        assert_eq!(found.install.server.as_deref(), Some("apache"));
    }
    assert_eq!(paths(&one(apache(None), "old.example.com"))[0], "/etc/apache2/tls/newapi.example.com/fullchain.pem");
    let httpd = one(apache(Some("httpd.service")), "newapi.example.com");
    assert_eq!(httpd.install.reload, ["systemctl", "reload", "httpd"]);
    assert_eq!(httpd.install.test, ["/usr/sbin/apachectl", "-t"]);
}

#[test]
fn haproxy_has_one_file_or_a_folder_of_them() {
    let text = include_str!("testdata/haproxy-2.6.txt");
    let found =
        of(server(ServerKind::Haproxy, "/usr/sbin/haproxy", Some("haproxy.service"), text), "newapi.example.com");
    let install = &found[0].install;
    assert_eq!(install.further, [("combined".to_owned(), Value::from("/etc/haproxy/certs/{name}.pem"))]);
    assert_eq!(
        (install.fullchain.as_deref(), install.server.as_deref()),
        (Some("/etc/haproxy/{name}/fullchain.pem"), Some("haproxy"))
    );
    let folder = "global\n crt-base /c\nfrontend a\n bind :443 ssl crt \"/etc/haproxy/certs\" # crt /not/this.pem\n";
    let folder = format!("# configuration file /h.cfg:\n{folder}");
    let found = one(server(ServerKind::Haproxy, "/usr/sbin/haproxy", None, &folder), "a.example.com");
    assert_eq!(found.install.further[0].1, Value::from("/etc/haproxy/certs/{name}.pem"));
    assert!(found.notes[0].contains("how /usr/sbin/haproxy is reloaded was not found"), "{found:?}");
}

#[test]
fn caddy_shows_pairs_by_name_and_nothing_for_what_it_orders_itself() {
    let text = include_str!("testdata/caddy-2.6.json");
    let mut caddy = server(ServerKind::Caddy, "/usr/bin/caddy", Some("caddy.service"), text);
    caddy.arguments = ["--config", "/etc/caddy/Caddyfile"].map(str::to_owned).into();
    let found = one(caddy.clone(), "www.newapi.example.com");
    assert_eq!(paths(&found)[1], "/etc/caddy/tls/newapi.example.com/privkey.pem");
    assert_eq!(found.install.server.as_deref(), Some("caddy"));
    assert_eq!(paths(&one(caddy.clone(), "other.example.com"))[1], "/etc/caddy/tls/other key.pem");
    caddy.arguments[1] = "/srv/Caddyfile".to_owned();
    let elsewhere = one(caddy, "other.example.com");
    assert_eq!(elsewhere.install.reload, ["/usr/bin/caddy", "reload", "--force", "--config", "/srv/Caddyfile"]);
    assert_eq!(elsewhere.install.server.as_deref(), Some("caddy"), "its user reads the key");
}

/// What another name is served with now would be replaced by a certificate that does not hold it.
#[test]
fn files_that_other_names_are_served_with_are_not_taken_unasked() {
    let wanted = |names: &[&str]| -> Vec<DnsName> { names.iter().map(|name| DnsName::parse(name).unwrap()).collect() };
    let alone = propose(&[nginx(NGINX)], "newapi.example.com", &wanted(&["newapi.example.com"]));
    assert_eq!(alone[0].others, ["api2.example.com"]);
    assert!(matches!(choose(&alone), Choice::Ask(_)));
    let both = propose(&[nginx(NGINX)], "newapi.example.com", &wanted(&["newapi.example.com", "api2.example.com"]));
    assert!(matches!(choose(&both), Choice::One(_)), "{both:?}");
    let inherited = propose(&[nginx(NGINX)], "plain.example.com", &wanted(&["plain.example.com", "below.example.com"]));
    assert!(matches!(choose(&inherited), Choice::One(_)), "{inherited:?}");
    let unknown = propose(&[nginx(NGINX)], "new.example.net", &wanted(&["new.example.net"]));
    assert!(matches!(choose(&unknown), Choice::Ask(_)));
    let empty = propose(&[nginx("")], "new.example.net", &wanted(&["new.example.net"]));
    assert!(matches!(choose(&empty), Choice::None));
}

#[test]
fn the_server_that_listens_comes_first() {
    let silent = FoundServer { listens: false, ..nginx(NGINX) };
    let caddy = server(ServerKind::Caddy, "/usr/bin/caddy", None, include_str!("testdata/caddy-2.6.json"));
    let name = DnsName::parse("newapi.example.com").unwrap();
    assert_eq!(propose(&[silent, caddy], "newapi.example.com", &[name])[0].kind, ServerKind::Caddy);
}

/// A node may print anything: it costs no more than its length, and nothing panics.
#[test]
fn hostile_configurations_end() {
    let head = "# configuration file /a:\n";
    let deep = format!("{head}http {}", "{ server ".repeat(100_000));
    let itself = format!("{head}http {{ {} }}", "include /a; ".repeat(200));
    let broken = [
        "",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "http{server{listen ssl;ssl_certificate",
        "include [;",
        "a${",
        "<VirtualHost",
        "Define: =",
        "bind ssl crt",
        "ServerName \u{85}\"",
    ];
    let texts = [deep, itself].into_iter().chain(broken.map(|text| format!("{head}{text}")));
    // A few lines that stand for thousands of sites, each with long words, and many patterns for many files.
    let long = "x".repeat(100_000);
    let pair = format!("ssl_certificate /{long}; ssl_certificate_key /{long}; ").repeat(3);
    let site = "server { listen 1 ssl; include /n; } ";
    let names = format!("# configuration file /n:\nserver_name {long} a.example.com; {pair}");
    let nginx_sites = format!("{head}http {{ {pair} {} }}\n{names}", site.repeat(2_000));
    let patterns = format!("{head}http {{ {} }}\n", "include /*[*a*?*b*; ".repeat(2_000))
        + &(0..2_000).map(|number| format!("# configuration file /{number}:\n")).collect::<String>();
    let host = "<VirtualHost *:1>\nSSLEngine on\nServerAlias ${A}${A} ${A}\n</VirtualHost>\n";
    let certificate = "SSLCertificateFile ${A}\nSSLCertificateKeyFile ${A}\n".repeat(100);
    let apache = format!("Define: A=/{long}\n{head}{certificate}{}", host.repeat(2_000));
    let bind = "bind :1 ssl crt a crt b crt c\n".repeat(2_000);
    let haproxy = format!("{head}global\ncrt-base /{long}\nfrontend x\n{bind}");
    let policy = format!(r#"{{"certificate_selection":{{"any_tag":["t"]}},"match":{{"sni":["{}"]}}}}"#, "y".repeat(50));
    let file = r#"{"certificate":"/a","key":"/b","tags":["t","t"]}"#;
    let caddy = format!(
        r#"{{"apps":{{"http":{{"servers":{{"s":{{"tls_connection_policies":[{}]}}}}}},"tls":{{"certificates":{{"load_files":[{}]}}}}}}}}"#,
        vec![policy; 2_000].join(","),
        vec![file; 2_000].join(",")
    );
    for sites in [nginx::sites(&nginx_sites), apache::sites(&apache), haproxy::sites(&haproxy), caddy::sites(&caddy)] {
        let length = |files: &Files| match files {
            Files::Pair(fullchain, key) => fullchain.len() + key.len(),
            Files::Combined(text) | Files::Folder(text) | Files::Unusable(text) => text.len(),
        };
        let of = |site: &Site| {
            site.names.iter().map(String::len).sum::<usize>() + site.files.iter().map(length).sum::<usize>()
        };
        assert!(sites.iter().map(of).sum::<usize>() <= MOST_BYTES);
        assert!(!sites.is_empty());
    }
    for text in texts.chain([NGINX.repeat(300), nginx_sites, patterns, apache, haproxy, caddy]) {
        for kind in [ServerKind::Nginx, ServerKind::Apache, ServerKind::Haproxy, ServerKind::Caddy] {
            of(server(kind, "/x", None, &text), "a.example.com");
        }
    }
}
