//! What of one node's word may stand where others inherit it, in `[install]` or in a certificate: nothing that would let a
//! node have root's commands run, or root's files written, on another one.

use super::DraftInstall;

/// Where programs are root's.
const FOLDERS: [&str; 12] = [
    "/usr/sbin/",
    "/usr/bin/",
    "/sbin/",
    "/bin/",
    "/usr/local/sbin/",
    "/usr/local/bin/",
    "/usr/local/nginx/sbin/",
    "/usr/local/openresty/nginx/sbin/",
    "/usr/local/apache2/bin/",
    "/opt/nginx/sbin/",
    "/opt/openresty/nginx/sbin/",
    "/etc/init.d/",
];
const SERVERS: [&str; 15] = [
    "nginx",
    "openresty",
    "tengine",
    "apache2",
    "apachectl",
    "apache2ctl",
    "httpd",
    "haproxy",
    "caddy",
    "postfix",
    "dovecot",
    "exim4",
    "xray",
    "trojan",
    "x-ui",
];
/// What a server's own test and reload are made of, beside paths of its configuration.
const WORDS: [&str; 14] = [
    "-t",
    "-s",
    "reload",
    "-k",
    "graceful",
    "-c",
    "-p",
    "-e",
    "-f",
    "configtest",
    "validate",
    "--force",
    "--config",
    "--adapter",
];
/// Of configurations: root's.
const CONFIGURED: [&str; 3] = ["/etc/", "/usr/local/", "/opt/"];
/// Of certificates.
const KEPT: [&str; 13] = [
    "/etc/nginx/",
    "/etc/openresty/",
    "/etc/apache2/",
    "/etc/httpd/",
    "/etc/haproxy/",
    "/etc/caddy/",
    "/etc/ssl/",
    "/etc/pki/",
    "/usr/local/",
    "/ssl/",
    "/srv/",
    "/opt/",
    "/data/",
];
const ENDINGS: [&str; 5] = [".pem", ".crt", ".cer", ".cert", ".key"];

impl DraftInstall {
    /// Whether nodes may inherit it that have not said so. `by_all`: every node there is has said exactly this.
    pub fn may_be_for_all(&self, by_all: bool) -> bool {
        let is_preset = self.server.is_some() && self.test.is_empty() && self.reload.is_empty();
        let commands = is_preset || (by_all && is_usual_command(&self.test) && is_usual_command(&self.reload));
        let paths = [&self.fullchain, &self.key].into_iter().all(|path| path.as_deref().is_some_and(is_usual_path));
        // A file that one server reads is in no other's way of reading.
        commands && paths && self.further.is_empty()
    }
}

/// A file of the certificate's own, by its name, where servers keep certificates: in nobody else's place, and of no meaning
/// to anything but a server.
fn is_usual_path(path: &str) -> bool {
    path.contains("{name}")
        && is_plain(&path.replace("{name}", ""))
        && KEPT.iter().any(|folder| path.starts_with(folder))
        && ENDINGS.iter().any(|ending| path.ends_with(ending))
}

fn is_plain(path: &str) -> bool {
    path.chars().all(|c| c.is_ascii_alphanumeric() || "/._+@=-".contains(c))
        && !path.split('/').any(|part| part == "." || part == "..")
}

fn is_usual_command(command: &[String]) -> bool {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["true"] | ["/usr/local/sbin/certd-reload"] => true,
        [program, rest @ ..] if !program.starts_with("/etc/init.d/") && SERVERS.contains(&name_of(program)) => {
            let is_path = |word: &str| CONFIGURED.iter().any(|folder| word.starts_with(folder)) && is_plain(word);
            !rest.is_empty() && rest.iter().all(|word| WORDS.contains(word) || *word == "caddyfile" || is_path(word))
        }
        _ => is_usual_reload(command),
    }
}

/// Whether it reloads a known server and does nothing else, so that it can be written unseen.
pub fn is_usual_reload(reload: &[String]) -> bool {
    let words: Vec<&str> = reload.iter().map(String::as_str).filter(|word| *word != "--no-block").collect();
    let Some((program, rest)) = words.split_first() else { return false };
    let server = |unit: &str| SERVERS.contains(&unit.strip_suffix(".service").unwrap_or(unit));
    let verb = |verb: &str| {
        ["reload", "restart", "force-reload", "reload-or-restart", "try-reload-or-restart"].contains(&verb)
    };
    match (name_of(program), rest) {
        ("systemctl", [action, unit]) | ("service" | "rc-service", [unit, action]) => verb(action) && server(unit),
        ("nginx" | "openresty", ["-s", "reload"]) | ("apachectl" | "apache2ctl", ["graceful"]) => true,
        (name, [action]) => program.starts_with("/etc/init.d/") && server(name) && verb(action),
        _ => false,
    }
}

/// Without a folder that is root's.
fn name_of(program: &str) -> &str {
    FOLDERS.iter().find_map(|folder| program.strip_prefix(folder)).unwrap_or(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(fullchain: &str, server: Option<&str>, test: &str, reload: &str) -> DraftInstall {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        DraftInstall {
            fullchain: Some(fullchain.to_owned()),
            key: Some("/etc/nginx/ssl/{name}/privkey.pem".to_owned()),
            server: server.map(str::to_owned),
            test: words(test),
            reload: words(reload),
            ..DraftInstall::default()
        }
    }

    const CHAIN: &str = "/etc/nginx/ssl/{name}/fullchain.pem";

    #[test]
    fn a_nodes_word_is_for_others_only_where_it_can_do_nothing_there() {
        assert!(install(CHAIN, Some("nginx"), "", "").may_be_for_all(false));
        for path in [
            "/etc/cron.d/{name}",
            "/etc/cron.d/{name}.pem",
            "/root/.ssh/authorized_keys",
            "/etc/nginx/conf.d/{name}.conf",
            "/etc/nginx/../cron.d/{name}.pem",
            "/etc/ssl/certs/ca-certificates.crt",
            "/etc/nginx/ssl/{key_type}/{name}.pem",
            "/etc/ssl/{name}/a b.pem",
            "{name}.pem",
        ] {
            assert!(!install(path, Some("nginx"), "", "").may_be_for_all(true), "{path}");
        }
        for (test, reload) in [
            ("/usr/local/nginx/sbin/nginx -t", "systemctl reload nginx"),
            ("/usr/sbin/nginx -c /etc/nginx/other.conf -t", "/usr/sbin/nginx -c /etc/nginx/other.conf -s reload"),
            ("apache2ctl configtest", "/etc/init.d/apache2 reload"),
            ("/usr/bin/caddy validate --config /etc/caddy/Caddyfile --adapter caddyfile", "systemctl reload caddy"),
            ("true", "systemctl restart postfix"),
        ] {
            assert!(install(CHAIN, None, test, reload).may_be_for_all(true), "{test}, {reload}");
            assert!(!install(CHAIN, None, test, reload).may_be_for_all(false), "one said so: {test}, {reload}");
        }
        for command in [
            "/bin/sh -c id",
            "sh -c id",
            "/tmp/nginx -t",
            "/usr/sbin/../../tmp/nginx -t",
            "/usr/sbin/nginx -c /tmp/x -t",
            "/usr/sbin/nginx -g daemon -t",
            "nginx -c /etc/../tmp/x -t",
            "systemctl reload -H evil",
            "systemctl reload evil",
            "/etc/init.d/nginx /etc/x",
            "nginx",
            "",
        ] {
            assert!(!install(CHAIN, None, command, "systemctl reload nginx").may_be_for_all(true), "{command}");
            assert!(!install(CHAIN, None, "nginx -t", command).may_be_for_all(true), "{command}");
        }
        let mut combined = install(CHAIN, Some("haproxy"), "", "");
        combined.further.push(("combined".to_owned(), toml::Value::from("/etc/haproxy/certs/{name}.pem")));
        assert!(!combined.may_be_for_all(true));
    }
}
