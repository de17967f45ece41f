//! The scripts that set a receiver up and remove it: to be read first, and run by root. There is no secret in them.

use core::fmt::Write as _;

use super::super::bundle;
use super::program::installed;
use super::{Account, Receiver};
use crate::cert::NodeName;
use crate::report::escape;

const COMMON: &str = include_str!("common.sh");
const SETUP: &str = include_str!("setup.sh");
const REMOVE: &str = include_str!("remove.sh");

/// Ends the program in the script, and the parameters of one certificate.
pub(super) const PROGRAM_END: &str = "END_OF_PROGRAM";
const PARAMETERS_END: &str = "END_OF_PARAMETERS";

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
    let sudo = if receiver.sudo { "yes" } else { "no" };
    let ports = if receiver.ports.is_empty() { "no" } else { "yes" };
    script.extend(["sudo=", sudo, " ports=", ports, "\n", COMMON, "\n# --- what is installed ---\n\n"]);
    script.extend(["program() {\n  cat <<'", PROGRAM_END, "'\n", &installed(account), PROGRAM_END, "\n}\n"]);
    script.push_str(&parameters(receiver));
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

/// A file for each certificate, in the words of the dialogue, so that what comes can be compared to the letter.
fn parameters(receiver: &Receiver) -> String {
    let mut text = "parameters() {\n  :\n".to_owned();
    for (name, install) in &receiver.installs {
        let _ = writeln!(text, "  put \"$params/{name}.conf\" 644 <<'{PARAMETERS_END}'");
        let _ = writeln!(
            text,
            "# What may be delivered here as {name}. The other side must send these lines to the letter."
        );
        if receiver.older {
            text.push_str("allow older\n");
        }
        bundle::parameters(&mut text, install);
        let _ = writeln!(text, "{PARAMETERS_END}");
    }
    text.push_str("}\n");
    text
}

/// For this program without arguments, and nothing else. sudo's logs of input would hold private keys, and the rest are
/// settings under which it could not be run without a terminal.
fn sudo_rule(account: &Account) -> String {
    let program = account.program();
    format!(
        "sudo_rule() {{\n  cat <<'END_OF_RULE'\n\
         # certd: the account that can take certificates and do nothing else.\n\
         Defaults:{account} !requiretty, !use_pty, !log_input, !log_output, env_reset\n\
         {account} ALL=(root) NOPASSWD:NOLOG_INPUT:NOLOG_OUTPUT: {program} \"\"\nEND_OF_RULE\n}}\n"
    )
}

/// sshd(8), "AUTHORIZED_KEYS FILE FORMAT": `restrict` takes everything away that there is and will be.
fn authorized(receiver: &Receiver) -> String {
    let mut options = "restrict".to_owned();
    if !receiver.ports.is_empty() {
        // `port-forwarding` gives both directions back: the ports below 1024 cannot be listened at by this account.
        options.push_str(",port-forwarding,permitlisten=\"127.0.0.1:1\"");
        receiver.ports.iter().for_each(|port| _ = write!(options, ",permitopen=\"127.0.0.1:{port}\""));
    }
    if !receiver.from.is_empty() {
        let from: Vec<&str> = receiver.from.iter().map(super::From::as_str).collect();
        let _ = write!(options, ",from=\"{}\"", from.join(","));
    }
    let mut text = "# command: what the key starts, whatever it asks for\nauthorized() {\n".to_owned();
    for key in &receiver.keys {
        let _ = writeln!(text, "  printf '{options},command=\"%s\" {key} certd\\n' \"$1\"");
    }
    text.push_str("}\n");
    text
}

/// The folders that an account without sudo must be able to write in.
fn places(receiver: &Receiver) -> String {
    let mut folders: Vec<String> = Vec::new();
    for (_, install) in &receiver.installs {
        let paths = [Some(&install.fullchain), Some(&install.key), install.chain.as_ref(), install.combined.as_ref()];
        for path in paths.into_iter().flatten() {
            let folder = quoted(path.rsplit_once('/').map_or("/", |(folder, _)| folder));
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    format!(
        "# folders of certificates\nplaces() {{\n  # shellcheck disable=SC2016 # they are meant as they are\n  printf '%s\\n' {}\n}}\n",
        folders.join(" ")
    )
}

/// As one word of a shell's.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::Arc;

    use super::super::{From, PublicKey};
    use super::*;
    use crate::cert::CertName;
    use crate::config::{Install, Rights};

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5xIlLNWAZ9kPGdaHKLZ8sSXwoAtfTi7QNwPXTKQQHV";

    fn receiver() -> Receiver {
        let install = Install {
            fullchain: "/etc/it's/fullchain.pem".to_owned(),
            key: "/etc/$(id)/privkey.pem".to_owned(),
            chain: Some("/etc/it's/chain.pem".to_owned()),
            combined: Some("/etc/it's/combined.pem".to_owned()),
            in_place: true,
            rights: Rights { group: Some("ssl-cert".to_owned()), ..Rights::default() },
            test: vec!["nginx".to_owned(), "-t".to_owned()],
            reload: vec!["nginx".to_owned(), "-s".to_owned(), "reload; `id`".to_owned()],
        };
        Receiver {
            node: NodeName::parse("上海").unwrap(),
            account: Account::parse("certd").unwrap(),
            keys: vec![PublicKey::parse(KEY).unwrap()],
            from: vec![From::parse("192.0.2.7").unwrap(), From::parse("2001:db8::/48").unwrap()],
            sudo: true,
            older: false,
            ports: vec![443],
            installs: vec![(CertName::parse("newapi.example.com").unwrap(), Arc::new(install))],
        }
    }

    fn runs(script: &str, function: &str) -> String {
        let (definitions, _) = script.split_once("\n# --- nobody but root").unwrap();
        let script = format!("{definitions}\nput() {{ cat; }}\n{function}\n");
        let output = Command::new("dash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn what_it_installs_is_what_was_meant_whatever_is_in_paths_and_words() {
        let script = setup(&receiver());
        assert_eq!(runs(&script, "program"), installed(&receiver().account));
        let parameters = runs(&script, "parameters");
        let lines: Vec<&str> = parameters.lines().skip(1).collect();
        assert_eq!(
            lines.join("\n"),
            "fullchain /etc/it's/fullchain.pem\nkey /etc/$(id)/privkey.pem\nchain /etc/it's/chain.pem\n\
             combined /etc/it's/combined.pem\nin-place yes\ngroup ssl-cert\ntest nginx\ntest -t\nreload nginx\nreload -s\n\
             reload reload; `id`"
        );
        assert_eq!(runs(&script, "places"), "/etc/it's\n/etc/$(id)\n");
        assert_eq!(
            runs(&script, "authorized 'exec it'"),
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
            let lint =
                lint.args(["-s", "sh", "-e", "SC2015,SC1007,SC2154,SC2329,SC2317"]).arg(dir.path().join("script"));
            let output = lint.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}
