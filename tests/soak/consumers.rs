//! The servers of docs/consumers.md, as Debian packages them: brought their certificates by nothing but their name in
//! `[install]`, proven by handshakes, and taken back. tests/soak/consumers.sh brings the packages.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use certd::cert::{CertName, Chain, Pair, PrivateKey};
use certd::config::Install;
use certd::model::Committed;
use certd::node::{Bundle, Dialogue};
use zeroize::Zeroizing;

use crate::lab::consumers::{Debian, SERVICE, install_of};

const LIMIT: Duration = Duration::from_secs(60);
/// lighttpd serves new clients when the old ones are gone, and a new smtpd comes with the next client.
const SERVED: Duration = Duration::from_secs(30);

struct Consumer {
    /// As the configuration and docs/consumers.md call it.
    server: &'static str,
    /// Further keys of `[install]`.
    more: &'static str,
    port: u16,
    /// Arguments of s_client.
    client: &'static str,
    /// Inside: writes the configuration. @F and @K are the paths.
    configure: &'static str,
    /// Inside: starts it, and leaves the number of its first process in /run/main-UNIT.
    start: &'static str,
}

const CONSUMERS: &[Consumer] = &[
    Consumer {
        server: "nginx",
        more: "",
        port: 443,
        client: "",
        configure: "echo 'server { listen 443 ssl; ssl_certificate @F; ssl_certificate_key @K; }' >/etc/nginx/conf.d/tls.conf",
        start: "nginx",
    },
    Consumer {
        server: "apache",
        more: "",
        port: 443,
        client: "",
        configure: "a2enmod -q ssl; printf '%s\\n' '<VirtualHost *:443>' 'SSLEngine on' 'SSLCertificateFile @F' \
                    'SSLCertificateKeyFile @K' '</VirtualHost>' >/etc/apache2/sites-enabled/tls.conf",
        start: "apachectl start",
    },
    Consumer {
        server: "haproxy",
        more: "combined = \"/etc/tls/combined.pem\"",
        port: 443,
        client: "",
        configure: "printf '%s\\n' defaults 'mode http' 'timeout connect 5s' 'timeout client 5s' 'timeout server 5s' \
                    'frontend web' 'bind :443 ssl crt /etc/tls/combined.pem' 'http-request return status 200' \
                    >/etc/haproxy/haproxy.cfg; echo EXTRAOPTS= >>/etc/default/haproxy",
        start: "haproxy -W -D -f /etc/haproxy/haproxy.cfg -p /run/main-haproxy",
    },
    Consumer {
        server: "lighttpd",
        more: "",
        port: 443,
        client: "",
        configure: "printf '%s\\n' 'server.modules = (\"mod_openssl\")' 'server.document-root = \"/var/www\"' \
                    'server.username = \"www-data\"' 'server.groupname = \"www-data\"' 'server.port = 443' \
                    'server.pid-file = \"/run/main-lighttpd\"' 'ssl.engine = \"enable\"' 'ssl.pemfile = \"@F\"' \
                    'ssl.privkey = \"@K\"' >/etc/lighttpd/lighttpd.conf",
        start: "lighttpd -f /etc/lighttpd/lighttpd.conf",
    },
    Consumer {
        server: "hitch",
        more: "combined = \"/etc/tls/combined.pem\"",
        port: 443,
        client: "",
        configure: "printf '%s\\n' 'frontend = \"[*]:443\"' 'backend = \"[127.0.0.1]:80\"' 'user = \"_hitch\"' 'daemon = on' 'pem-file = \"/etc/tls/combined.pem\"' >/etc/hitch/hitch.conf",
        start: "hitch --config=/etc/hitch/hitch.conf --pidfile=/run/main-hitch",
    },
    Consumer {
        server: "stunnel",
        more: "",
        port: 443,
        client: "",
        configure: "printf '%s\\n' 'pid = /run/main-stunnel4' '[web]' 'accept = 443' 'connect = 80' 'cert = @F' 'key = @K' \
                    >/etc/stunnel/web.conf",
        start: "stunnel4 /etc/stunnel/web.conf",
    },
    Consumer {
        server: "postfix",
        more: "",
        port: 25,
        client: "-starttls smtp",
        configure: "postconf -e smtpd_tls_chain_files=@K,@F smtpd_tls_security_level=may inet_interfaces=loopback-only inet_protocols=ipv4 \
                    maillog_file=/var/log/postfix.log myhostname=newapi.example.com; newaliases",
        start: "postfix start",
    },
    Consumer {
        server: "dovecot",
        more: "",
        port: 993,
        client: "",
        configure: "printf '%s\\n' 'ssl = yes' 'ssl_cert = <@F' 'ssl_key = <@K' 'log_path = /var/log/dovecot.log' \
                    >/etc/dovecot/conf.d/99-tls.conf",
        start: "dovecot",
    },
    Consumer {
        server: "squid",
        more: "",
        port: 4443,
        client: "",
        configure: "echo 'https_port 4443 tls-cert=@F tls-key=@K' >/etc/squid/conf.d/tls.conf",
        start: "squid",
    },
    Consumer {
        server: "postgresql",
        more: "",
        port: 5432,
        client: "-starttls postgres",
        configure: "mkdir -p /run/postgresql; chown postgres: /run/postgresql; pg_conftool 15 main set ssl_cert_file @F; \
                    pg_conftool 15 main set ssl_key_file @K; pg_conftool 15 main set ssl on",
        start: "pg_ctlcluster --skip-systemctl-redirect 15 main start",
    },
    Consumer {
        server: "redis",
        more: "",
        port: 6380,
        client: "",
        configure: "mkdir -p /run/redis; chown redis: /run/redis; printf '%s\\n' 'tls-port 6380' 'tls-cert-file @F' \
                    'tls-key-file @K' 'tls-auth-clients no' 'tls-ca-cert-file @F' >>/etc/redis/redis.conf",
        start: "setpriv --reuid redis --regid redis --init-groups redis-server /etc/redis/redis.conf --daemonize yes",
    },
    Consumer {
        server: "mosquitto",
        more: "",
        port: 8883,
        client: "",
        configure: "mkdir -p /run/mosquitto; chown mosquitto: /run/mosquitto; printf '%s\\n' 'listener 8883' \
                    'allow_anonymous true' 'certfile @F' 'keyfile @K' >/etc/mosquitto/conf.d/tls.conf",
        start: "mosquitto -d -c /etc/mosquitto/mosquitto.conf; until [ -s /run/mosquitto/mosquitto.pid ]; do sleep 0.1; done; \
                cp /run/mosquitto/mosquitto.pid /run/main-mosquitto",
    },
    Consumer {
        server: "coturn",
        more: "",
        port: 5349,
        client: "",
        configure: "printf '%s\\n' 'tls-listening-port=5349' 'cert=@F' 'pkey=@K' 'no-udp' 'no-dtls' 'listening-ip=127.0.0.1' \
                    'pidfile=/tmp/turn.pid' 'simple-log' 'log-file=/tmp/turn.log' 'userdb=/tmp/turndb' >/etc/turnserver.conf",
        start: "setpriv --reuid turnserver --regid turnserver --init-groups turnserver -o -c /etc/turnserver.conf; \
                until [ -s /tmp/turn.pid ]; do sleep 0.1; done; cp /tmp/turn.pid /run/main-coturn",
    },
    Consumer {
        server: "ocserv",
        more: "",
        port: 4443,
        client: "",
        configure: "printf '%s\\n' 'auth = \"plain[passwd=/etc/ocserv/passwd]\"' 'tcp-port = 4443' 'run-as-user = nobody' \
                    'run-as-group = daemon' 'socket-file = /run/ocserv.socket' 'server-cert = @F' 'server-key = @K' \
                    'device = vpns' 'ipv4-network = 192.168.9.0/24' 'isolate-workers = false' 'max-clients = 9' \
                    'pid-file = /run/main-ocserv' >/etc/ocserv/ocserv.conf; : >/etc/ocserv/passwd",
        start: "ocserv -p /run/main-ocserv -c /etc/ocserv/ocserv.conf",
    },
    Consumer {
        server: "vsftpd",
        more: "",
        port: 990,
        client: "",
        configure: "mkdir -p /run/vsftpd/empty; printf '%s\\n' 'listen=YES' 'listen_port=990' 'background=NO' \
                    'ssl_enable=YES' 'implicit_ssl=YES' 'rsa_cert_file=@F' 'rsa_private_key_file=@K' 'ssl_sslv2=NO' \
                    'ssl_ciphers=HIGH' 'seccomp_sandbox=NO' >/etc/vsftpd.conf; \
                    echo 'vsftpd /etc/vsftpd.conf & echo $! >/run/main-vsftpd' >/run/start-vsftpd",
        start: "sh /run/start-vsftpd",
    },
];

/// A leaf, and the intermediate that signed it.
fn pair() -> Pair {
    let ca = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        (params, rcgen::KeyPair::generate().unwrap())
    };
    let ((root, root_key), (issuer, issuer_key)) = (ca("root"), ca("issuer"));
    let intermediate = issuer.signed_by(&issuer_key, &rcgen::Issuer::new(root, root_key)).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![SERVICE.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &rcgen::Issuer::new(issuer, issuer_key)).unwrap();
    let chain = Chain::parse(&(leaf.pem() + &intermediate.pem())).unwrap();
    Pair::new(chain, PrivateKey::parse(Zeroizing::new(key.serialize_pem())).unwrap()).unwrap()
}

fn bundle(install: &Install, second: u32) -> Bundle {
    Bundle {
        certificate: CertName::parse(SERVICE).unwrap(),
        generation: format!("202611230615{second:02}-04c3").parse().unwrap(),
        pair: Arc::new(pair()),
        install: Arc::new(install.clone()),
        older: false,
    }
}

async fn delivered(inside: &Debian, bundle: &Bundle) -> (Dialogue, Committed) {
    let (mut dialogue, _) = Dialogue::open(inside.sshd.endpoint(), vec![bundle.clone()], LIMIT)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{}", inside.said()));
    let committed = dialogue.commit().await.unwrap_or_else(|error| panic!("{error}\n{}", inside.said()));
    (dialogue, committed)
}

async fn serves(consumer: &Consumer, root: &Path) {
    let inside = Debian::new(root);
    let install = install_of(consumer.server, consumer.more);
    inside.well(&consumer.configure.replace("@F", &install.fullchain).replace("@K", &install.key));
    let serves = |what: &str, bundle: &Bundle| {
        let leaf = Some(bundle.pair.chain().leaf_pem());
        let what = format!("{} serves {what}", consumer.server);
        inside.until(&what, SERVED, || inside.served(consumer.port, consumer.client) == leaf);
    };
    // A new node, whose server does not run yet.
    let first = bundle(&install, 1);
    let (dialogue, committed) = delivered(&inside, &first).await;
    assert!(!matches!(committed, Committed::RolledBack { .. }), "{}: {committed:?}", consumer.server);
    dialogue.done().await;
    inside.well(consumer.start);
    serves("the first", &first);
    // A renewal, and one that is taken back.
    let second = bundle(&install, 2);
    let (dialogue, committed) = delivered(&inside, &second).await;
    assert_eq!(committed, Committed::Committed, "{}\n{}", consumer.server, inside.said());
    serves("the second", &second);
    dialogue.done().await;
    let third = bundle(&install, 3);
    let (dialogue, committed) = delivered(&inside, &third).await;
    assert_eq!(committed, Committed::Committed, "{}\n{}", consumer.server, inside.said());
    serves("the third", &third);
    assert_eq!(dialogue.rollback().await.unwrap(), Ok(()), "{}", consumer.server);
    serves("the second again", &second);
    println!("{}: delivered, renewed, taken back", consumer.server);
}

/// One by one, by its name: `CONSUMER=redis cargo test --test soak consumers -- --nocapture`.
#[tokio::test]
async fn each_server_takes_its_certificates_by_its_name_alone_and_goes_back() {
    let set_up = Command::new("tests/soak/consumers.sh").status().unwrap();
    assert!(set_up.success(), "the servers are not to be had");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/consumers/bookworm");
    let one = std::env::var("CONSUMER").ok();
    let wanted = CONSUMERS.iter().filter(|consumer| one.as_ref().is_none_or(|one| one == consumer.server));
    let mut ran = 0;
    for consumer in wanted {
        serves(consumer, &root).await;
        ran += 1;
    }
    assert!(ran > 0, "no server of that name");
}

/// The mark in the document is of those that are run here, and of no others.
#[test]
fn the_document_marks_the_servers_that_are_run() {
    let document = include_str!("../../docs/consumers.md");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let marked: Vec<&str> = rows.filter(|row| row.contains("● (")).filter_map(|row| row.split('`').next()).collect();
    let run: Vec<&str> = CONSUMERS.iter().map(|consumer| consumer.server).collect();
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(marked), sorted(run));
}
