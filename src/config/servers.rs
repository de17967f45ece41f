//! What certd knows of servers: who reads the key, how the configuration is tested, what makes it serve a new pair. Measured
//! with the packages of Debian 12 and 13; docs/consumers.md has the versions, and tests/soak/consumers.rs runs each.

use super::rights::{Mode, Rights};

/// One server under its package's unit, user and paths in Debian.
#[derive(Debug, PartialEq, Eq)]
pub struct Server {
    pub name: &'static str,
    /// systemd's, without ".service".
    unit: &'static str,
    /// The user (and the group of the same name) that reads the key at a reload. `None`: root does.
    pub account: Option<&'static str>,
    /// Empty: it has no test.
    test: &'static [&'static str],
    reload: Reload,
    /// It reads the files at a connection, and so shows a new pair, or a mismatched one, with nothing done.
    pub rereads: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Reload {
    /// `systemctl reload`: its unit has an ExecReload that does it.
    Unit,
    /// A signal to the unit, which has no ExecReload.
    Signal(&'static str),
    /// `{fullchain}` and `{key}` are the certificate's paths.
    Command(&'static [&'static str]),
    /// Nothing else makes it serve a new pair.
    Restart,
}

use Reload::{Command, Restart, Signal, Unit};

const fn root(name: &'static str, unit: &'static str, test: &'static [&'static str], reload: Reload) -> Server {
    Server { name, unit, account: None, test, reload, rereads: false }
}

const fn own(
    name: &'static str,
    unit: &'static str,
    account: &'static str,
    test: &'static [&'static str],
    reload: Reload,
) -> Server {
    Server { account: Some(account), ..root(name, unit, test, reload) }
}

const fn rereads(server: Server) -> Server {
    Server { rereads: true, ..server }
}

pub static SERVERS: [Server; 30] = [
    root("nginx", "nginx", &["nginx", "-t"], Unit),
    root("apache", "apache2", &["apachectl", "configtest"], Unit),
    root("haproxy", "haproxy", &["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"], Unit),
    own(
        "caddy",
        "caddy",
        "caddy",
        &["caddy", "validate", "--config", "/etc/caddy/Caddyfile"],
        // Without --force it does not read the files again.
        Command(&["caddy", "reload", "--force", "--config", "/etc/caddy/Caddyfile"]),
    ),
    own("lighttpd", "lighttpd", "www-data", &["lighttpd", "-tt", "-f", "/etc/lighttpd/lighttpd.conf"], Unit),
    rereads(root("postfix", "postfix", &["postfix", "check"], Command(&["postfix", "reload"]))),
    root("dovecot", "dovecot", &["doveconf", "-n"], Command(&["doveadm", "reload"])),
    own("exim", "exim4", "Debian-exim", &["exim4", "-bV"], Unit),
    root("stunnel", "stunnel4", &[], Signal("HUP")),
    root("hitch", "hitch", &["hitch", "-t", "--config=/etc/hitch/hitch.conf"], Unit),
    root("h2o", "h2o", &["h2o", "-t", "-c", "/etc/h2o/h2o.conf"], Unit),
    root("squid", "squid", &["squid", "-k", "parse"], Command(&["squid", "-k", "reconfigure"])),
    // It refuses a key that its group can read and that is not root's.
    own("postgresql", "postgresql", "postgres", &[], Unit),
    own("mariadb", "mariadb", "mysql", &["mariadbd", "--help", "--verbose"], Command(&["mariadb-admin", "flush-ssl"])),
    // The same path, set again, makes it read both files; HUP does not.
    own(
        "redis",
        "redis-server",
        "redis",
        &[],
        Command(&["redis-cli", "CONFIG", "SET", "tls-cert-file", "{fullchain}"]),
    ),
    own("mosquitto", "mosquitto", "mosquitto", &[], Unit),
    own("prosody", "prosody", "prosody", &[], Unit),
    own("ejabberd", "ejabberd", "ejabberd", &[], Command(&["ejabberdctl", "reload_config"])),
    own("coturn", "coturn", "turnserver", &[], Signal("USR2")),
    // The same value, written again, makes it read both files; HUP ends it.
    own(
        "slapd",
        "slapd",
        "openldap",
        &["slaptest", "-Q"],
        Command(&[
            "sh",
            "-c",
            "printf 'dn: cn=config\\nchangetype: modify\\nreplace: olcTLSCertificateKeyFile\\nolcTLSCertificateKeyFile: %s\\n' \
             \"$0\" | ldapmodify -Q -Y EXTERNAL -H ldapi:///",
            "{key}",
        ]),
    ),
    own("bind", "named", "bind", &["named-checkconf"], Command(&["rndc", "reload"])),
    // 1.17 says "ok" to a reload and goes on with the old pair; 1.26 reloads.
    own("unbound", "unbound", "unbound", &["unbound-checkconf"], Restart),
    own(
        "dnsdist",
        "dnsdist",
        "_dnsdist",
        &["dnsdist", "--check-config"],
        Command(&["dnsdist", "-e", "reloadAllCertificates()"]),
    ),
    own("rabbitmq", "rabbitmq-server", "rabbitmq", &[], Command(&["rabbitmqctl", "eval", "ssl:clear_pem_cache()."])),
    rereads(root("proftpd", "proftpd", &["proftpd", "-t"], Unit)),
    root("ocserv", "ocserv", &["ocserv", "-t", "-c", "/etc/ocserv/ocserv.conf"], Unit),
    own("nats", "nats-server", "nats", &["nats-server", "-t", "-c", "/etc/nats-server.conf"], Unit),
    root("vsftpd", "vsftpd", &[], Restart),
    root("nsd", "nsd", &["nsd-checkconf", "/etc/nsd/nsd.conf"], Restart),
    own("knot-resolver", "kresd@1", "knot-resolver", &[], Restart),
];

/// A stopped server stays so; one that has failed with another pair is started.
const RESTART: &str = "case $(systemctl is-active \"$0\") in inactive) echo \"$0 is stopped, and is not started\"; exit 1 ;; \
                       *) exec systemctl restart \"$0\" ;; esac";

impl Server {
    pub fn named(name: &str) -> Option<&'static Self> {
        SERVERS.iter().find(|server| server.name == name)
    }

    /// The one that this command reloads.
    pub(super) fn of_reload(reload: &[String]) -> Option<&'static Self> {
        let words: Vec<&str> = reload.iter().map(String::as_str).collect();
        let ["systemctl", "reload" | "restart" | "try-restart" | "reload-or-restart", unit] = words[..] else {
            return SERVERS.iter().find(|server| matches!(server.reload, Command(own) if own == words));
        };
        SERVERS.iter().find(|server| unit.strip_suffix(".service").unwrap_or(unit) == server.unit)
    }

    pub(super) fn restarts(&self) -> bool {
        self.reload == Restart
    }

    pub(super) fn test(&self) -> Vec<String> {
        owned(if self.test.is_empty() { &["true"] } else { self.test })
    }

    pub(super) fn reload(&self, fullchain: &str, key: &str) -> Vec<String> {
        let words = match self.reload {
            Unit => owned(&["systemctl", "reload", self.unit]),
            Signal(signal) => {
                owned(&["systemctl", "kill", "--kill-who=main", &format!("--signal={signal}"), self.unit])
            }
            Command(words) => owned(words),
            Restart => owned(&["sh", "-c", RESTART, self.unit]),
        };
        words.into_iter().map(|word| word.replace("{fullchain}", fullchain).replace("{key}", key)).collect()
    }

    /// Its group reads the key; root reads what is for nobody else.
    pub(super) fn rights(&self) -> Rights {
        let Some(account) = self.account else { return Rights::default() };
        Rights {
            owner: Some("root".to_owned()),
            group: Some(account.to_owned()),
            mode: Some(Mode(0o644)),
            key_mode: Some(Mode(0o640)),
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_a_name_a_unit_and_a_recipe_of_its_own() {
        for (number, server) in SERVERS.iter().enumerate() {
            assert!(SERVERS[..number].iter().all(|other| other.name != server.name && other.unit != server.unit));
            let reload = server.reload("/f.pem", "/k.pem");
            assert!(reload.iter().all(|word| !word.contains('{')), "{reload:?}");
            assert!(!reload.is_empty() && !server.test().is_empty());
            assert_eq!(Server::named(server.name), Some(server));
            let doc = include_str!("../../docs/consumers.md");
            assert!(doc.contains(&format!("`{}`", server.name)), "{} is not in docs/consumers.md", server.name);
        }
    }

    #[test]
    fn a_server_is_known_by_its_reload() {
        let of = |words: &[&str]| Server::of_reload(&owned(words)).map(|server| server.name);
        assert_eq!(of(&["systemctl", "reload", "apache2.service"]), Some("apache"));
        assert_eq!(of(&["systemctl", "restart", "nsd"]), Some("nsd"));
        assert_eq!(of(&["doveadm", "reload"]), Some("dovecot"));
        assert_eq!(of(&["systemctl", "stop", "nsd"]), None);
        assert_eq!(of(&["sh", "-c", "systemctl reload nginx"]), None);
    }
}
