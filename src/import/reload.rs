//! A reload command of another client is a line for a shell. certd runs a list of words, without a shell.

use std::collections::VecDeque;

pub(super) use crate::config::draft::is_usual_reload as is_usual;

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reload {
    Words(Vec<String>),
    /// It takes a shell.
    Shell,
}

/// The words of one simple command. Everything else in the line's grammar, an expansion, a pipe, a list, takes a shell.
pub(super) fn words(command: &str) -> Reload {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut rest: VecDeque<char> = command.trim().chars().collect();
    while let Some(c) = rest.pop_front() {
        match c {
            ' ' | '\t' => words.extend(word.take()),
            '\'' | '"' => {
                let into = word.get_or_insert_default();
                loop {
                    match rest.pop_front() {
                        Some(end) if end == c => break,
                        Some('$' | '`' | '\\') if c == '"' => return Reload::Shell,
                        Some(inside) if !inside.is_control() => into.push(inside),
                        _ => return Reload::Shell,
                    }
                }
            }
            _ if c.is_alphanumeric() || "_@%+:,./-".contains(c) => word.get_or_insert_default().push(c),
            // Behind the command's name it is a plain letter.
            '=' if !words.is_empty() => word.get_or_insert_default().push(c),
            _ => return Reload::Shell,
        }
    }
    words.extend(word);
    if !words.iter().all(|word| super::is_plain(word)) {
        return Reload::Shell;
    }
    let builtin = ["cd", ".", "exec", "eval", "export", "set", "if", "for", "while", "case", "source"];
    match words.first() {
        Some(first) if !builtin.contains(&first.as_str()) && !first.is_empty() => Reload::Words(words),
        _ => Reload::Shell,
    }
}

/// How the server that is so reloaded tests its configuration, if that is known.
pub(super) fn test(reload: &[String]) -> Option<Vec<String>> {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let program = reload.first()?;
    let name = program.rsplit('/').next()?;
    let service = |unit: &String| unit.trim_end_matches(".service").to_owned();
    let of_service = match name {
        "systemctl" => reload.iter().skip(1).filter(|word| !word.starts_with('-')).nth(1).map(service),
        "service" => reload.get(1).map(service),
        "rc-service" => reload.get(1).map(service),
        "nginx" | "apachectl" | "apache2ctl" | "httpd" | "haproxy" => Some(name.to_owned()),
        _ if program.contains("/init.d/") => Some(name.to_owned()),
        _ => None,
    }?;
    let own = program.ends_with("nginx") && program.starts_with('/') && !program.contains("/init.d/");
    match of_service.as_str() {
        "nginx" if own => Some(vec![program.clone(), "-t".to_owned()]),
        "nginx" | "openresty" => Some(owned(&[&of_service, "-t"])),
        "apache2" | "apache2ctl" => Some(owned(&["apache2ctl", "configtest"])),
        "httpd" | "apachectl" => Some(owned(&["apachectl", "configtest"])),
        "haproxy" => Some(owned(&["haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg"])),
        _ => None,
    }
}

/// Whether a line for a shell is the test and the reload of one server, and nothing else: `nginx -t && nginx -s reload`.
pub(super) fn is_test_and_reload(line: &str) -> bool {
    let Some((first, second)) = line.split_once("&&") else { return false };
    match (words(first), words(second)) {
        (Reload::Words(first), Reload::Words(reload)) => {
            is_usual(&reload) && test(&reload).is_some_and(|test| test == first)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(command: &str) -> Option<String> {
        match words(command) {
            Reload::Words(words) => Some(words.join("|")),
            Reload::Shell => None,
        }
    }

    #[test]
    fn one_simple_command_is_its_words_and_everything_else_takes_a_shell() {
        for (command, words) in [
            ("systemctl reload nginx", "systemctl|reload|nginx"),
            ("  service nginx force-reload ", "service|nginx|force-reload"),
            ("/usr/local/nginx/sbin/nginx -s 'reload it'", "/usr/local/nginx/sbin/nginx|-s|reload it"),
            ("docker exec web nginx -c=\"a b\"''", "docker|exec|web|nginx|-c=a b"),
        ] {
            assert_eq!(joined(command).as_deref(), Some(words), "{command}");
        }
        for command in [
            "nginx -t && nginx -s reload",
            "nginx -s reload; true",
            "kill -HUP $(cat /run/nginx.pid)",
            "kill -HUP `cat /run/nginx.pid`",
            "cat a b > c",
            "A=1 nginx",
            "reload \"$X\"",
            "cp *.pem /x",
            "cd /x",
            "a\nb",
            "reload \u{202e}x",
            "reload '\u{200b}x'",
            "'unended",
            "~/reload",
            "reload # comment",
            "''",
            "",
        ] {
            assert_eq!(joined(command), None, "{command}");
        }
    }

    #[test]
    fn only_a_known_servers_reload_is_written_unseen() {
        let usual = |command: &str| is_usual(&command.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for command in [
            "systemctl reload nginx",
            "/usr/bin/systemctl --no-block restart nginx.service",
            "service apache2 force-reload",
            "/usr/local/nginx/sbin/nginx -s reload",
            "/etc/init.d/nginx reload",
        ] {
            assert!(usual(command), "{command}");
        }
        for command in [
            "/tmp/evil --as root",
            "/home/x/nginx -s reload",
            "nginx -c /tmp/x -s reload",
            "systemctl reload /tmp/x.service",
            "systemctl -H evil reload nginx",
            "/usr/bin/../../tmp/nginx -s reload",
            "service nginx stop",
            "",
        ] {
            assert!(!usual(command), "{command}");
        }
    }

    #[test]
    fn a_test_before_the_reload_is_known_and_nothing_more() {
        for line in [
            "nginx -t && nginx -s reload",
            "nginx -t&&systemctl reload nginx",
            "apache2ctl configtest && apachectl graceful",
        ] {
            assert!(is_test_and_reload(line) != line.starts_with("apache"), "{line}");
        }
        for line in [
            "nginx -t && nginx -s reload && cp a b",
            "nginx -t; nginx -s reload",
            "true && nginx -s reload",
            "nginx -t &&",
        ] {
            assert!(!is_test_and_reload(line), "{line}");
        }
    }

    #[test]
    fn the_test_follows_from_the_reload_where_it_can_be_known() {
        for (reload, expected) in [
            ("systemctl reload nginx", Some("nginx -t")),
            ("systemctl --no-block reload nginx.service", Some("nginx -t")),
            ("service nginx force-reload", Some("nginx -t")),
            ("/usr/local/nginx/sbin/nginx -s reload", Some("/usr/local/nginx/sbin/nginx -t")),
            ("/etc/init.d/nginx reload", Some("nginx -t")),
            ("systemctl reload apache2", Some("apache2ctl configtest")),
            ("systemctl restart postfix", None),
            ("/usr/local/sbin/reload", None),
        ] {
            let Reload::Words(words) = words(reload) else { panic!("{reload}") };
            assert_eq!(test(&words).map(|words| words.join(" ")).as_deref(), expected, "{reload}");
        }
    }
}
