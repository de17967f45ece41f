//! The scripts that set a receiver up and remove it: to be read first, and run by root. There is no secret in them.

use core::fmt::Write as _;

use super::program::installed;
use super::{Account, Options, Permits, Receiver};
use crate::cert::NodeName;
use crate::text::escape;

pub(in crate::node) const COMMON: &str = include_str!("common.sh");
const SETUP: &str = include_str!("setup.sh");
const REMOVE: &str = include_str!("remove.sh");

/// What the script says of the options that hold now, and where certificates are judged.
pub const OPTIONS: &str = "options:";
pub const JUDGES: &str = "certificates are judged here, by openssl";

/// Ends the program in the script, and each file of parameters.
pub(super) const PROGRAM_END: &str = "END_OF_PROGRAM";
const FILE_END: &str = "END_OF_FILE";

/// Makes the account or brings it up to date.
pub fn setup(receiver: &Receiver) -> String {
    let Receiver { node, account, .. } = receiver;
    let mut script = head(
        account,
        &format!(
            "# The account {account} on {}, which can take certificates and do nothing else.\n\
             # Made by `certd node setup`: to be read, and run by root (sh FILE). Run again, it brings what is there up\n\
             # to date; `certd node remove` takes it away. It holds public keys and no secret.\n",
            escape(node.as_str(), 100)
        ),
    );
    script.push_str(&given(&receiver.options));
    let ports: Vec<String> = receiver.ports.iter().map(u16::to_string).collect();
    let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(",") };
    let trust = if receiver.permits.system_roots { "yes" } else { "no" };
    let files: Vec<String> = receiver.permits.files().into_iter().map(|(name, _)| name).collect();
    let _ = writeln!(script, "ports={ports} trust_system={trust} installed='{}'", files.join(" "));
    script.extend([COMMON, "\n# --- what is installed ---\n\n"]);
    script.extend(["program() {\n  cat <<'", PROGRAM_END, "'\n", &installed(account), PROGRAM_END, "\n}\n"]);
    script.push_str(&parameters(&receiver.permits));
    script.push_str(&sudo_rule(account));
    script.push_str(&authorized(receiver));
    script.push_str(&places(receiver));
    script.extend(["\n", SETUP]);
    script
}

/// Takes away what [`setup`] made, and never a certificate.
pub fn remove(node: &NodeName, account: &Account) -> String {
    let what = format!(
        "# Takes the account {account} away from {}, with its program, its parameters and its rule of sudo's. What is\n\
         # delivered stays and is served. Made by `certd node remove`: to be read, and run by root (sh FILE).\n",
        escape(node.as_str(), 100)
    );
    head(account, &what) + COMMON + "\n" + REMOVE
}

/// The names of an account have no character that a shell would see.
fn head(account: &Account, what: &str) -> String {
    format!(
        "#!/bin/sh\n{what}account={account} home={} program={} params={} rule={}\n",
        account.home(),
        account.program(),
        account.parameters(),
        account.rule()
    )
}

/// The options given this time; empty: the node keeps what it remembers.
fn given(options: &Options) -> String {
    let word = |given: Option<bool>| given.map_or("", |yes| if yes { "yes" } else { "no" });
    let from = options.from.as_ref().map(|from| from.iter().map(super::From::as_str).collect::<Vec<_>>().join(","));
    let from = from.map(|from| if from.is_empty() { "any".to_owned() } else { from }).unwrap_or_default();
    let openssl = options.openssl.map_or("", |yes| if yes { "auto" } else { "no" });
    let (sudo, older) = (word(options.sudo), word(options.older));
    format!("given_from={from} given_sudo={sudo} given_older={older} given_openssl={openssl}\n")
}

fn parameters(permits: &Permits) -> String {
    let mut text = "parameters() {\n  :\n".to_owned();
    for (name, file) in permits.files() {
        let _ = write!(text, "  put \"$params/{name}\" 644 cat <<'{FILE_END}'\n{file}{FILE_END}\n");
    }
    text.push_str("}\n");
    text
}

/// For this program without arguments, and nothing else. sudo's logs of input would hold private keys, and the rest are
/// settings under which it could not be run without a terminal. `plain`: without all that, for sudo-rs.
fn sudo_rule(account: &Account) -> String {
    let program = account.program();
    format!(
        "sudo_rule() {{\n  \
         echo '# certd: the account that can take certificates and do nothing else.'\n  \
         if [ \"$plain\" ]; then\n    \
         echo '{account} ALL=(root) NOPASSWD: {program} \"\"'\n  \
         else\n    \
         echo 'Defaults:{account} !requiretty, !use_pty, !log_input, !log_output, env_reset'\n    \
         echo '{account} ALL=(root) NOPASSWD:NOLOG_INPUT:NOLOG_OUTPUT: {program} \"\"'\n  \
         fi\n}}\n"
    )
}

/// sshd(8), "AUTHORIZED_KEYS FILE FORMAT": `restrict` takes everything away that there is and will be. Of dropbear(8) not
/// every version has it, but each has these four, and nothing else that a key could do.
fn authorized(receiver: &Receiver) -> String {
    let mut options = "restrict".to_owned();
    if !receiver.ports.is_empty() {
        // `port-forwarding` gives both directions back: the ports below 1024 cannot be listened at by this account.
        options.push_str(",port-forwarding,permitlisten=\"127.0.0.1:1\"");
        receiver.ports.iter().for_each(|port| _ = write!(options, ",permitopen=\"127.0.0.1:{port}\""));
    }
    let mut text = format!(
        "# command: what the key starts, whatever it asks for\nauthorized() {{\n  o='{options}'\n  \
         [ \"$from\" = any ] || o=\"$o,from=\\\"$from\\\"\"\n  \
         [ \"$server\" != dropbear ] || o=no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-pty\n"
    );
    let lines =
        receiver.keys.iter().map(|key| format!("  printf '%s,command=\"%s\" %s certd\\n' \"$o\" \"$1\" '{key}'"));
    text.push_str(&lines.collect::<Vec<_>>().join(" &&\n"));
    text.push_str("\n}\n");
    text
}

/// The folders that an account without sudo must be able to write in.
fn places(receiver: &Receiver) -> String {
    let mut folders: Vec<String> = Vec::new();
    for install in receiver.permits.certificates.iter().map(|permit| &permit.install) {
        for path in install.paths() {
            let folder = quoted(path.rsplit_once('/').map_or("/", |(folder, _)| folder));
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    format!(
        "# folders of certificates\nplaces() {{\n  # shellcheck disable=SC2016 # literal\n  printf '%s\\n' {}\n}}\n",
        folders.join(" ")
    )
}

/// As one word of a shell's.
pub(in crate::node) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;

    use super::super::{From, Permit, PublicKey};
    use super::*;
    use crate::cert::{CertName, DnsName};
    use crate::config::{Forms, Install, Rights};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5xIlLNWAZ9kPGdaHKLZ8sSXwoAtfTi7QNwPXTKQQHV";

    fn receiver() -> Receiver {
        let install = Install {
            fullchain: "/etc/it's/fullchain.pem".to_owned(),
            key: "/etc/$(id)/privkey.pem".to_owned(),
            chain: Some("/etc/it's/chain.pem".to_owned()),
            combined: Some("/etc/it's/combined.pem".to_owned()),
            chain_first: false,
            forms: Forms::default(),
            in_place: true,
            rights: Rights { group: Some("ssl-cert".to_owned()), ..Rights::default() },
            test: vec!["nginx".to_owned(), "-t".to_owned()],
            reload: vec!["nginx".to_owned(), "-s".to_owned(), "reload; `id`".to_owned()],
            restart: false,
            server: None,
        };
        Receiver {
            node: NodeName::parse("上海").unwrap(),
            account: Account::parse("certd").unwrap(),
            keys: vec![PublicKey::parse(KEY).unwrap()],
            options: Options {
                from: Some(vec![From::parse("192.0.2.7").unwrap(), From::parse("2001:db8::/48").unwrap()]),
                ..Options::default()
            },
            ports: vec![443],
            permits: Permits {
                certificates: vec![Permit {
                    certificate: CertName::parse("newapi.example.com").unwrap(),
                    names: ["newapi.example.com", "*.example.com"]
                        .map(|name| DnsName::parse(name).unwrap())
                        .into_iter()
                        .collect(),
                    install: Arc::new(install),
                }],
                own_roots: String::new(),
                system_roots: true,
            },
        }
    }

    fn runs(script: &str, function: &str) -> String {
        let (definitions, _) = script.split_once("\n# --- nobody but root").unwrap();
        let script = format!("{definitions}\nput() {{ shift 2; \"$@\"; }}\n{function}\n");
        let output = Command::new("dash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn what_it_installs_is_what_was_meant_whatever_is_in_paths_and_words() {
        let script = setup(&receiver());
        assert_eq!(runs(&script, "program"), installed(&receiver().account));
        let parameters = runs(&script, "parameters");
        let lines: Vec<&str> = parameters.lines().skip(2).collect();
        assert_eq!(
            lines.join("\n"),
            "names *.example.com newapi.example.com\ntrust system\nfullchain /etc/it's/fullchain.pem\nkey /etc/$(id)/privkey.pem\nchain /etc/it's/chain.pem\n\
             combined /etc/it's/combined.pem\nin-place yes\ngroup ssl-cert\ntest nginx\ntest -t\nreload nginx\nreload -s\n\
             reload reload; `id`"
        );
        assert_eq!(runs(&script, "places"), "/etc/it's\n/etc/$(id)\n");
        assert_eq!(
            runs(&script, "from=$given_from; authorized 'exec it'"),
            format!(
                "restrict,port-forwarding,permitlisten=\"127.0.0.1:1\",permitopen=\"127.0.0.1:443\",\
                 from=\"192.0.2.7,2001:db8::/48\",command=\"exec it\" {KEY} certd\n"
            )
        );
    }

    #[test]
    fn both_scripts_pass_shellcheck_and_none_of_their_lines_ends_the_way_there() {
        for script in [setup(&receiver()), remove(&receiver().node, &receiver().account)] {
            assert!(script.lines().all(|line| line != "END"));
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("script"), &script).unwrap();
            let mut lint = Command::new("shellcheck");
            let lint = lint
                .args(["-s", "sh", "-e", "SC2015,SC1007,SC2034,SC2154,SC2329,SC2317"])
                .arg(dir.path().join("script"));
            let output = lint.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
