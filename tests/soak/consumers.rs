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
    Consumer {
        server: "caddy",
        more: "",
        port: 443,
        client: "",
        configure: "printf '%s\\n' ':443 {' 'tls @F @K' 'respond ok' '}' >/etc/caddy/Caddyfile",
        start: "HOME=/var/lib/caddy setpriv --reuid caddy --regid caddy --init-groups --inh-caps +net_bind_service \
                --ambient-caps +net_bind_service caddy run --config /etc/caddy/Caddyfile & echo $! >/run/main-caddy",
    },
    Consumer {
        server: "h2o",
        more: "",
        port: 443,
        client: "",
        configure: "printf '%s\\n' 'user: debian-h2o' 'pid-file: /run/h2o.pid' 'listen:' '  port: 443' '  ssl:' \
                    '    certificate-file: @F' '    key-file: @K' 'hosts:' '  default:' '    paths:' '      /:' \
                    '        file.dir: /var/www' >/etc/h2o/h2o.conf",
        start: "h2o -c /etc/h2o/h2o.conf -m master & echo $! >/run/main-h2o",
    },
    Consumer {
        server: "mariadb",
        more: "",
        port: 3306,
        client: "-starttls mysql",
        configure: "mkdir -p /run/mysqld; chown mysql: /run/mysqld; printf '%s\\n' '[mariadbd]' 'ssl_cert = @F' 'ssl_key = @K' \
                    >/etc/mysql/mariadb.conf.d/99-tls.cnf",
        start: "setpriv --reuid mysql --regid mysql --init-groups mariadbd & echo $! >/run/main-mariadb",
    },
    Consumer {
        server: "prosody",
        more: "",
        port: 5222,
        client: "-starttls xmpp -xmpphost newapi.example.com",
        configure: "mkdir -p /run/prosody; chown prosody: /run/prosody; printf '%s\\n' 'VirtualHost \"newapi.example.com\"' \
                    'ssl = { certificate = \"@F\"; key = \"@K\" }' >/etc/prosody/conf.d/tls.cfg.lua",
        start: "cd /var/lib/prosody; setpriv --reuid prosody --regid prosody --init-groups prosody -F & echo $! >/run/main-prosody",
    },
    Consumer {
        server: "ejabberd",
        more: "",
        port: 5222,
        client: "-starttls xmpp -xmpphost newapi.example.com",
        configure: "mkdir -p /run/ejabberd; chown ejabberd: /run/ejabberd; sed -i -e 's/^  - localhost$/  - newapi.example.com/' \
                    -e 's|\"/etc/ejabberd/ejabberd.pem\"|\"@F\"\\n  - \"@K\"|' /etc/ejabberd/ejabberd.yml",
        start: "ejabberdctl start",
    },
    Consumer {
        server: "slapd",
        more: "",
        port: 636,
        client: "",
        configure: "printf '%s\\n' 'dn: cn=config' 'changetype: modify' 'replace: olcTLSCertificateFile' \
                    'olcTLSCertificateFile: @F' - 'replace: olcTLSCertificateKeyFile' 'olcTLSCertificateKeyFile: @K' \
                    >/run/tls.ldif; slapmodify -n 0 -l /run/tls.ldif; chown -R openldap: /etc/ldap/slapd.d; \
                    mkdir -p /run/slapd; chown openldap: /run/slapd",
        start: "slapd -h 'ldap:/// ldaps:/// ldapi:///' -u openldap -g openldap -F /etc/ldap/slapd.d",
    },
    Consumer {
        server: "bind",
        more: "",
        port: 853,
        client: "",
        configure: "mkdir -p /run/named; chown bind: /run/named; printf '%s\\n' 'tls own { cert-file \"@F\"; key-file \"@K\"; };' \
                    'options { directory \"/var/cache/bind\"; listen-on port 853 tls own { 127.0.0.1; }; };' \
                    >/etc/bind/named.conf.options",
        start: "named -u bind",
    },
    Consumer {
        server: "unbound",
        more: "",
        port: 853,
        client: "",
        configure: "printf '%s\\n' 'server:' '  interface: 127.0.0.1@853' '  tls-service-pem: @F' '  tls-service-key: @K' \
                    >/etc/unbound/unbound.conf.d/tls.conf; /usr/libexec/unbound-helper root_trust_anchor_update; \
                    echo 'unbound -d -p & echo $! >/run/main-unbound' >/run/start-unbound",
        start: "sh /run/start-unbound",
    },
    Consumer {
        server: "dnsdist",
        more: "",
        port: 8853,
        client: "",
        configure: "printf '%s\\n' 'addTLSLocal(\"127.0.0.1:8853\", \"@F\", \"@K\")' 'controlSocket(\"127.0.0.1:5199\")' \
                    \"setKey(\\\"$(openssl rand -base64 32)\\\")\" >>/etc/dnsdist/dnsdist.conf",
        start: "setpriv --reuid _dnsdist --regid _dnsdist --init-groups dnsdist --supervised & echo $! >/run/main-dnsdist",
    },
    Consumer {
        server: "rabbitmq",
        more: "",
        port: 5671,
        client: "",
        configure: "printf '%s\\n' 'listeners.ssl.default = 5671' 'ssl_options.certfile = @F' 'ssl_options.keyfile = @K' \
                    >/etc/rabbitmq/rabbitmq.conf",
        start: "rabbitmq-server -detached",
    },
    Consumer {
        server: "nats",
        more: "",
        // The port of its clients has a line in plain text first, which s_client does not know.
        port: 8222,
        client: "",
        configure: "printf '%s\\n' 'port: 4222' 'https: \"127.0.0.1:8222\"' 'tls { cert_file: \"@F\", key_file: \"@K\" }' \
                    >/etc/nats-server.conf",
        start: "setpriv --reuid nats --regid nats --init-groups nats-server -c /etc/nats-server.conf & echo $! >/run/main-nats-server",
    },
    Consumer {
        server: "nsd",
        more: "",
        port: 853,
        client: "",
        configure: "mkdir -p /run/nsd; chown nsd: /run/nsd; printf '%s\\n' 'server:' '  ip-address: 127.0.0.1@853' '  tls-port: 853' \
                    '  tls-service-pem: @F' '  tls-service-key: @K' >/etc/nsd/nsd.conf.d/tls.conf; \
                    echo 'nsd -d -P \"\" & echo $! >/run/main-nsd' >/run/start-nsd",
        start: "sh /run/start-nsd",
    },
    Consumer {
        server: "knot-resolver",
        more: "",
        port: 8853,
        client: "",
        configure: "for at in /run/knot-resolver /run/knot-resolver/control /var/lib/knot-resolver /var/cache/knot-resolver; do \
                    mkdir -p $at; chown knot-resolver: $at; done; printf '%s\\n' 'net.listen(\"127.0.0.1\", 8853, { kind = \"tls\" })' \
                    'net.tls(\"@F\", \"@K\")' 'cache.size = 10 * MB' >/etc/knot-resolver/kresd.conf; \
                    echo 'cd /var/lib/knot-resolver; SYSTEMD_INSTANCE=1 setpriv --reuid knot-resolver --regid knot-resolver --init-groups \
                    kresd -c /usr/lib/*/knot-resolver/distro-preconfig.lua -c /etc/knot-resolver/kresd.conf -n & \
                    echo $! >/run/main-kresd@1' >/run/start-kresd@1",
        start: "sh /run/start-kresd@1",
    },
    Consumer {
        server: "exim",
        more: "",
        port: 25,
        client: "-starttls smtp",
        configure: "DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-download --no-install-recommends exim4-daemon-light; \
                    printf '%s\\n' 'MAIN_TLS_ENABLE = yes' 'MAIN_TLS_CERTIFICATE = @F' 'MAIN_TLS_PRIVATEKEY = @K' \
                    >/etc/exim4/exim4.conf.localmacros; update-exim4.conf",
        start: "/etc/init.d/exim4 start",
    },
    Consumer {
        server: "proftpd",
        more: "",
        port: 21,
        client: "-starttls ftp",
        configure: "DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-download --no-install-recommends proftpd-core proftpd-mod-crypto; \
                    printf '%s\\n' 'LoadModule mod_tls.c' 'TLSEngine on' 'TLSECCertificateFile @F' 'TLSECCertificateKeyFile @K' \
                    >/etc/proftpd/conf.d/tls.conf",
        start: "proftpd -c /etc/proftpd/proftpd.conf; cp /run/proftpd.pid /run/main-proftpd",
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
