//! A look at a node's web servers, with an administrator's login. It changes nothing.

use core::time::Duration;

use super::receiver::{ReceiverError, as_root, output_of};
use crate::model::{FoundServer, ServerKind, WebServers};
use crate::ssh::{Endpoint, SshError};
use crate::text::escape;

const SOURCE: &str = include_str!("servers.sh");
/// Bytes: a thousand virtual hosts of a kilobyte each, twice.
const LONGEST: usize = 2 * 1024 * 1024;
const MOST_SERVERS: usize = 16;
const MOST_ARGUMENTS: usize = 16;
const LONGEST_WORD: usize = 1024;

/// `port`: at which the certificate is to be served.
///
/// # Errors
/// The login failed, or the program did not run to its end.
pub async fn web_servers(endpoint: Endpoint, port: u16, deadline: Duration) -> Result<WebServers, ReceiverError> {
    let node = endpoint.node.clone();
    let mut random = [0; 8];
    // Without random numbers there is no session either.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let mark = format!("certd-{:016x}", u64::from_be_bytes(random));
    let command = as_root(&endpoint);
    let program = format!("mark={mark}\nport={port}\n{SOURCE}");
    let (output, end) = output_of(endpoint, command, &program, deadline, LONGEST).await?;
    match (read(&output, &mark), end) {
        (Some(found), _) => Ok(found),
        (None, Some(error @ SshError::Ended { .. })) if output.is_empty() => Err(error.into()),
        (None, Some(SshError::Ended { words, .. })) => Err(ReceiverError::Cut { node, output: words }),
        (None, Some(error)) => Err(error.into()),
        (None, None) => Err(ReceiverError::Cut { node, output: format!("more than {LONGEST} bytes of output") }),
    }
}

/// `None`: it did not come to its end.
fn read(output: &str, mark: &str) -> Option<WebServers> {
    let mut found = WebServers::default();
    for line in output.lines() {
        // Anything else is noise of the login.
        let Some(line) = line.strip_prefix(mark).and_then(|rest| rest.strip_prefix(' ')) else { continue };
        if line == "done" {
            found.servers.retain(is_credible);
            return Some(found);
        }
        if let Some(text) = line.strip_prefix('|') {
            if let Some(server) = found.servers.last_mut() {
                server.configuration.push_str(text);
                server.configuration.push('\n');
            }
            continue;
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if rest.len() > LONGEST_WORD || rest.chars().any(char::is_control) {
            continue;
        }
        match (word, found.servers.last_mut()) {
            ("server", _) => {
                let kind = ServerKind::parse(rest)?;
                if found.servers.len() < MOST_SERVERS {
                    let (program, arguments, configuration) = Default::default();
                    found.servers.push(FoundServer {
                        kind,
                        program,
                        arguments,
                        unit: None,
                        listens: false,
                        configuration,
                    });
                }
            }
            ("other", _) => found.other = Some(escape(rest, 60)),
            ("program", Some(server)) => server.program = rest.to_owned(),
            ("listens", Some(server)) => server.listens = true,
            ("unit", Some(server)) if is_unit(rest) => server.unit = Some(rest.to_owned()),
            ("argument", Some(server)) if server.arguments.len() < MOST_ARGUMENTS => {
                server.arguments.push(rest.to_owned())
            }
            _ => {}
        }
    }
    None
}

/// What the program of the look can say, and no other command: certd runs it on the node as root.
fn is_credible(server: &FoundServer) -> bool {
    let (programs, options) = match server.kind {
        ServerKind::Nginx => (&["nginx", "openresty", "tengine"][..], &["-c", "-p", "-e"][..]),
        ServerKind::Apache => (&["apachectl", "apache2ctl", "httpd", "apache2"][..], &[][..]),
        ServerKind::Haproxy => (&["haproxy"][..], &["-f"][..]),
        ServerKind::Caddy => (&["caddy"][..], &["--config", "--adapter"][..]),
    };
    let is_plain = |word: &str| {
        !word.is_empty()
            && !word.starts_with('-')
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._+@=-".contains(c))
    };
    let (pairs, rest) = server.arguments.as_chunks::<2>();
    let name = server.program.rsplit('/').next().unwrap_or_default();
    server.program.starts_with('/')
        && is_plain(&server.program)
        && programs.contains(&name)
        && rest.is_empty()
        && pairs.iter().all(|[option, value]| options.contains(&option.as_str()) && is_plain(value))
}

/// systemd.unit(5): letters, digits and `:-_.\@`. At the beginning, `-` would make it an option.
fn is_unit(name: &str) -> bool {
    name.ends_with(".service")
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_skipped_and_a_cut_output_is_none() {
        let whole = "motd\nM server nginx\nM program /usr/sbin/nginx\nM listens\nM unit nginx.service\nM argument -c\n\
                     M argument /x\nM |# configuration file /x:\nserver caddy\nM |http {}\nM other sshd\nM done\nM server apache\n";
        let found = read(whole, "M").unwrap();
        assert_eq!(found.servers.len(), 1);
        let server = &found.servers[0];
        assert_eq!(server.configuration, "# configuration file /x:\nhttp {}\n");
        assert_eq!((server.unit.as_deref(), server.listens, server.arguments.len()), (Some("nginx.service"), true, 2));
        assert_eq!(found.other.as_deref(), Some("sshd"));
        assert_eq!(read(whole.split("M done").next().unwrap(), "M"), None);
        let hostile = "M server nginx\nM program /usr/sbin/nginx\nM unit a;reboot.service\nM unit -H.service\nM done";
        assert_eq!(read(hostile, "M").unwrap().servers[0].unit, None);
    }

    #[test]
    fn a_server_is_its_own_program_with_arguments_that_say_where_its_configuration_is() {
        let of = |kind: &str, program: &str, arguments: &[&str]| {
            let arguments: String = arguments.iter().map(|word| format!("M argument {word}\n")).collect();
            let text = format!("M server {kind}\nM program {program}\n{arguments}M done");
            read(&text, "M").unwrap().servers.len()
        };
        for (kind, program, arguments) in [
            ("nginx", "/usr/local/openresty/nginx/sbin/nginx", &["-p", "/srv/web", "-c", "conf/nginx.conf"][..]),
            ("apache", "/usr/sbin/apache2ctl", &[]),
            ("haproxy", "/usr/sbin/haproxy", &["-f", "/etc/haproxy/a.cfg", "-f", "/etc/haproxy/b"]),
            ("caddy", "/usr/bin/caddy", &["--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]),
        ] {
            assert_eq!(of(kind, program, arguments), 1, "{program}");
        }
        for (kind, program, arguments) in [
            ("apache", "/bin/sh", &["-c", "id"][..]),
            ("nginx", "/usr/sbin/nginx", &["-g", "daemon"]),
            ("nginx", "/usr/sbin/nginx", &["-c", "-x"]),
            ("nginx", "/usr/sbin/nginx", &["-c", "/a b"]),
            ("nginx", "/usr/sbin/nginx", &["-c", "$(id)"]),
            ("nginx", "/usr/sbin/nginx", &["-c"]),
            ("nginx", "nginx", &[]),
            ("nginx", "/a\u{1b}[2J/nginx", &[]),
            ("haproxy", "/usr/sbin/nginx", &[]),
            ("caddy", "/tmp/x y/caddy", &[]),
            ("caddy", "", &[]),
        ] {
            assert_eq!(of(kind, program, arguments), 0, "{program} {arguments:?}");
        }
    }
}
