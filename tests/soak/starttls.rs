//! Every dialogue before TLS (`probe.starttls`) with the real server: Postfix, Exim, Dovecot, slapd, Prosody, ProFTPD,
//! INN, PostgreSQL, MariaDB, NATS and xrdp of this Debian, unpacked by `tests/servers.sh` into `lab/servers`. They run in
//! namespaces of their own, on loopback, at the ports that the protocols have. Each is probed, gets another pair, is
//! reloaded as its documents say, and is probed again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use certd::cert::{DnsName, Fingerprint};
use certd::config::StartTls;
use certd::model::ProbeError;
use certd::probe::{Route, Verified, handshake, verify};

const NAME: &str = "mail.example.com";
const LONG: Duration = Duration::from_secs(8);
/// exec'ed in the namespaces.
const INSIDE: &str = "CERTD_SOAK_STARTTLS";

/// A server, how its configuration is written (`sh`, in its own root; the pair is `/pair/chain.pem` and `/pair/key.pem`),
/// how it is started and told of another pair, and what it speaks. `alone`: the ports at which it speaks TLS at once.
struct Server {
    name: &'static str,
    configure: &'static str,
    start: &'static str,
    reload: &'static str,
    speaks: &'static [StartTls],
    alone: &'static [u16],
}

const SERVERS: [Server; 11] = [
    Server {
        name: "postfix",
        configure: "postconf -e smtpd_tls_security_level=may smtpd_tls_chain_files=/pair/key.pem,/pair/chain.pem \
                    inet_interfaces=loopback-only inet_protocols=ipv4 compatibility_level=3.6 maillog_file=/dev/stdout
                    postconf -M submission/inet='submission inet n - n - - smtpd'
                    postconf -M smtps/inet='smtps inet n - n - - smtpd -o smtpd_tls_wrappermode=yes'
                    newaliases",
        start: "exec postfix start-fg",
        reload: "postfix reload",
        speaks: &[StartTls::Smtp, StartTls::Submission],
        alone: &[465],
    },
    Server {
        name: "exim",
        configure: "mkdir -p /etc/exim4; printf '%s\\n' 'primary_hostname = mail.example.com' 'tls_certificate = /pair/chain.pem' \
                      'tls_privatekey = /pair/key.pem' 'tls_advertise_hosts = *' \
                      'spool_directory = /var/spool/exim-test' 'log_file_path = /var/spool/exim-test/%slog' \
                      'begin acl' >/etc/exim4/exim4.conf
                    mkdir -p /var/spool/exim-test; chown -R Debian-exim: /var/spool/exim-test; chgrp Debian-exim /pair/key.pem",
        start: "exec /usr/sbin/exim4 -bdf -oX 25 -oP /exim.pid",
        reload: "kill -HUP $(cat /exim.pid)",
        speaks: &[StartTls::Smtp],
        alone: &[],
    },
    Server {
        name: "dovecot",
        configure: "printf '%s\\n' 'protocols = imap pop3 sieve' 'ssl = required' 'ssl_cert = </pair/chain.pem' \
                      'ssl_key = </pair/key.pem' 'listen = 127.0.0.1' 'log_path = /dev/stderr' 'mail_location = maildir:~/m' \
                      'passdb {' ' driver = static' '}' 'userdb {' ' driver = static' '}' \
                      'service managesieve-login {' ' inet_listener sieve {' '  port = 4190' ' }' '}' >/dovecot.conf",
        start: "exec dovecot -F -c /dovecot.conf",
        reload: "doveadm -c /dovecot.conf reload",
        speaks: &[StartTls::Imap, StartTls::Pop3, StartTls::Sieve],
        alone: &[993, 995],
    },
    Server {
        name: "slapd",
        configure: "printf '%s\\n' 'include /etc/ldap/schema/core.schema' 'pidfile /slapd.pid' 'modulepath /usr/lib/ldap' \
                      'moduleload back_mdb' 'TLSCertificateFile /pair/chain.pem' 'TLSCertificateKeyFile /pair/key.pem' \
                      'database mdb' 'suffix \"dc=example\"' 'directory /slapd.db' >/slapd.conf
                    rm -rf /slapd.db; mkdir -p /slapd.db",
        start: "exec slapd -d 0 -f /slapd.conf -h 'ldap://127.0.0.1:389 ldaps://127.0.0.1:636'",
        // Without cn=config it reads nothing anew: the same as a restart.
        reload: "",
        speaks: &[StartTls::Ldap],
        alone: &[636],
    },
    Server {
        name: "prosody",
        configure: "printf '%s\\n' 'pidfile = \"/run/prosody/prosody.pid\"' 'run_as_root = true' 'modules_enabled = { \"tls\", \
                      \"saslauth\", \"dialback\", \"disco\" }' 'interfaces = { \"127.0.0.1\" }' \
                      'c2s_direct_tls_ports = { 5223 }' 'legacy_ssl_ports = { 5223 }' \
                      'ssl = { certificate = \"/pair/chain.pem\", key = \"/pair/key.pem\" }' 'c2s_require_encryption = true' \
                      's2s_require_encryption = true' 'log = \"*stdout\"' 'VirtualHost \"mail.example.com\"' >/prosody.cfg.lua
                    mkdir -p /run/prosody; chown prosody /run/prosody; chgrp prosody /pair/key.pem",
        start: "exec prosody --root -F --config /prosody.cfg.lua",
        reload: "kill -HUP $(cat /run/prosody/prosody.pid)",
        speaks: &[StartTls::Xmpp, StartTls::XmppServer],
        alone: &[5223],
    },
    Server {
        name: "proftpd",
        configure: "printf '%s\\n' 'LoadModule mod_tls.c' 'ServerName x' 'ServerType standalone' 'Port 21' 'UseIPv6 off' \
                      'DefaultAddress 127.0.0.1' 'User nobody' 'Group nogroup' 'PidFile /proftpd.pid' 'TLSEngine on' \
                      'TLSProtocol TLSv1.2 TLSv1.3' 'ScoreboardFile none' \
                      'TLSCertificateChainFile /pair/chain.pem' 'TLSECCertificateFile /pair/chain.pem' \
                      'TLSECCertificateKeyFile /pair/key.pem' >/proftpd.conf",
        start: "exec proftpd -n -c /proftpd.conf",
        reload: "kill -HUP $(cat /proftpd.pid)",
        speaks: &[StartTls::Ftp],
        alone: &[],
    },
    Server {
        name: "nnrpd",
        configure: "mkdir -p /run/news; chown news: /run/news; sed -i 's|^#*tlscertfile:.*|tlscertfile: /pair/chain.pem|; s|^#*tlskeyfile:.*|tlskeyfile: /pair/key.pem|; s|^#*nnrpdloadlimit:.*|nnrpdloadlimit: 0|' \
                      /etc/news/inn.conf
                    grep -q '^tlskeyfile: */pair' /etc/news/inn.conf
                    chgrp news /pair/key.pem",
        start: "exec /usr/lib/news/bin/nnrpd -D -f -p 119",
        // Reads the pair for each connection.
        reload: "true",
        speaks: &[StartTls::Nntp],
        alone: &[],
    },
    Server {
        name: "postgresql",
        configure: "rm -rf /pg; mkdir /pg; chown postgres /pg; chgrp postgres /pair/key.pem
                    su postgres -c '/usr/lib/postgresql/*/bin/initdb -D /pg >/dev/null'
                    printf '%s\\n' 'ssl = on' \"ssl_cert_file = '/pair/chain.pem'\" \"ssl_key_file = '/pair/key.pem'\" \
                      \"unix_socket_directories = ''\" >>/pg/postgresql.conf",
        start: "exec su postgres -c 'exec /usr/lib/postgresql/*/bin/postgres -D /pg'",
        reload: "kill -HUP $(head -1 /pg/postmaster.pid)",
        speaks: &[StartTls::Postgres],
        alone: &[],
    },
    Server {
        name: "mariadb",
        configure: "rm -rf /maria; mkdir /maria; chown mysql /maria; chgrp mysql /pair/key.pem
                    mysql_install_db --no-defaults --user=mysql --datadir=/maria >/dev/null",
        start: "exec mariadbd --no-defaults --user=mysql --datadir=/maria --socket=/maria/sock --bind-address=127.0.0.1 \
                --ssl-cert=/pair/chain.pem --ssl-key=/pair/key.pem",
        reload: "mariadb-admin --no-defaults --socket=/maria/sock flush-ssl",
        speaks: &[StartTls::Mysql],
        alone: &[],
    },
    Server {
        name: "xrdp",
        configure: "sed -i 's|^certificate=.*|certificate=/pair/chain.pem|; s|^key_file=.*|key_file=/pair/key.pem|' /etc/xrdp/xrdp.ini
                    chgrp xrdp /pair/key.pem; mkdir -p /run/xrdp; rm -f /run/xrdp/xrdp.pid",
        start: "exec xrdp --nodaemon",
        // A process for each connection reads the pair.
        reload: "true",
        speaks: &[StartTls::Rdp],
        alone: &[],
    },
    Server {
        name: "nats-server",
        // What its arguments say it does not read again.
        configure: "printf '%s\\n' 'host: 127.0.0.1' 'pid_file: /nats.pid' 'tls {' ' cert_file: /pair/chain.pem' \
                      ' key_file: /pair/key.pem' '}' >/nats.conf",
        start: "exec nats-server -c /nats.conf",
        reload: "kill -HUP $(cat /nats.pid)",
        speaks: &[StartTls::Nats],
        alone: &[],
    },
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("lab/servers")
}

/// Runs the test below where nothing else listens and nothing stays.
#[test]
fn each_protocol_is_spoken_with_its_real_server_before_and_after_a_reload() {
    let servers = Command::new("sh").args(["tests/servers.sh", "lab/servers"]).status().unwrap();
    assert!(servers.success(), "tests/servers.sh");
    let inside = "mount --bind /dev \"$ROOT/dev\" && mount -t proc proc \"$ROOT/proc\" && hostname mail.example.com && ip link set lo up && exec \"$0\" \"$@\"";
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--propagation", "private"])
        .args(["sh", "-c", inside])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "starttls::inside", "--nocapture", "--test-threads", "1"])
        .env("ROOT", root())
        .env(INSIDE, "1")
        .status();
    assert!(status.unwrap().success());
}

#[tokio::test]
async fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let wanted = std::env::var("SERVER").ok();
    for server in SERVERS.iter().filter(|server| wanted.as_ref().is_none_or(|wanted| wanted == server.name)) {
        println!("{}", server.name);
        server.prove().await;
    }
}

/// A leaf and its key in `/pair`, readable to root and one group, as a delivery leaves them; its fingerprint.
fn renew() -> Fingerprint {
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    let pair = root().join("pair");
    fs::create_dir_all(&pair).unwrap();
    // Their owner and mode stay.
    fs::write(pair.join("chain.pem"), leaf.pem()).unwrap();
    fs::write(pair.join("key.pem"), key.serialize_pem()).unwrap();
    Fingerprint::of(leaf.der())
}

fn sh(script: &str) -> Command {
    let mut command = Command::new("chroot");
    command.arg(root()).args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "sh", "-euc", script]);
    command.stdin(Stdio::null());
    command
}

impl Server {
    async fn prove(&self) {
        let log = root().join(format!("{}.log", self.name));
        let output = || fs::File::options().create(true).append(true).open(&log).unwrap();
        let shown = || fs::read_to_string(&log).unwrap_or_default();
        let _ = fs::remove_file(&log);
        let first = renew();
        let _ = Command::new("chmod").arg("640").arg(root().join("pair/key.pem")).status();
        let configured = sh(self.configure).stdout(output()).stderr(output()).status().unwrap();
        assert!(configured.success(), "{}: {}", self.name, shown());
        let start = || sh(self.start).stdout(output()).stderr(output()).spawn().unwrap();
        let mut child = start();
        let dialogues = || self.speaks.iter().map(|protocol| (protocol.port(), Some(*protocol)));
        let all: Vec<(u16, Option<StartTls>)> =
            dialogues().chain(self.alone.iter().map(|port| (*port, None))).collect();
        let proven = async |expected| {
            for (port, starttls) in &all {
                let verified = verify(route(*port, *starttls), &sni(), expected, Duration::from_secs(60)).await;
                assert!(matches!(verified, Verified::Expected(_)), "{} {port} {verified:?}\n{}", self.name, shown());
            }
        };
        proven(first).await;
        for (port, protocol) in dialogues() {
            let error = handshake(route(port, None), &sni(), LONG).await.unwrap_err();
            println!("  {error}");
            let set = format!("set `starttls = \"{}\"`", protocol.unwrap().as_str());
            assert!(
                matches!(&error, ProbeError::Unspoken(why) if why.contains(&set)),
                "{} {port}: {error:?}",
                self.name
            );
        }
        let second = renew();
        if self.reload.is_empty() {
            end(&mut child);
            child = start();
        } else {
            let reloaded = sh(self.reload).stdout(output()).stderr(output()).status().unwrap();
            assert!(reloaded.success(), "{}: {}", self.name, shown());
        }
        proven(second).await;
        end(&mut child);
    }
}

/// It, and what it has left behind: all of this namespace but the test, which is its first process.
fn end(child: &mut std::process::Child) {
    assert_eq!(std::process::id(), 1, "this would end every process");
    let _ = Command::new("kill").arg(child.id().to_string()).status();
    for _ in 0..500 {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = Command::new("sh").args(["-c", "kill -KILL -1"]).status();
    let _ = child.wait();
}

fn route(port: u16, starttls: Option<StartTls>) -> Route {
    Route::Tcp { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), proxy_protocol: None, starttls }
}

fn sni() -> DnsName {
    DnsName::parse(NAME).unwrap()
}
