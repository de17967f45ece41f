//! What was chosen once holds until another choice is given, and an earlier version is brought up to date by one command.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::bench::{Account, is_root, is_set_up, lab as start, ready, set_up};
use super::lab::SERVICE;
use super::lab::printed::exits;

#[test]
fn what_is_not_said_again_is_as_it_was_and_what_differs_is_shown() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "AllowStreamLocalForwarding no");
    let keys = account.home().join(".ssh/authorized_keys");
    let line = || fs::read_to_string(&keys).unwrap();
    let text = is_set_up(&set_up(&lab, &account, &["--from", "127.0.0.0/8", "--allow-older"]));
    assert!(text.contains("options: --from 127.0.0.0/8 --allow-older\n"), "{text}");
    assert!(!text.contains("changed: ") && !text.contains("is accepted from anywhere"), "{text}");
    let text = is_set_up(&set_up(&lab, &account, &[]));
    assert!(text.contains("options: --from 127.0.0.0/8 --allow-older, as last time"), "{text}");
    assert!(!text.contains("an older generation over a newer one is refused"), "it is allowed: {text}");
    assert!(line().contains("from=\"127.0.0.0/8\""));
    let text = is_set_up(&set_up(&lab, &account, &["--from", "127.0.0.1", "--no-allow-older"]));
    assert!(text.contains("changed: from: 127.0.0.1; it was: 127.0.0.0/8"), "{text}");
    assert!(text.contains("changed: older: no; it was: yes"), "{text}");
    assert!(text.contains("  ok      an older generation over a newer one is refused"), "{text}");
    assert!(line().contains("from=\"127.0.0.1\""));
    let text = is_set_up(&set_up(&lab, &account, &["--no-from"]));
    assert!(
        text.contains("changed: from: any; it was: 127.0.0.1") && text.contains("is accepted from anywhere"),
        "{text}"
    );
    assert!(text.contains("options: none\n") && !line().contains("from="), "{text}");
    exits(&set_up(&lab, &account, &["--from", "127.0.0.1", "--no-from"]), 2);

    // A port that handshakes go through is the configuration's, and shown where it differs.
    let port = lab.nodes[0].tls.port();
    lab.replace_line("probe = ", &format!("probe = {{ port = {port}, via = \"ssh\" }}"));
    let text = is_set_up(&set_up(&lab, &account, &[]));
    assert!(text.contains(&format!("changed: ports: {port}; it was: none")), "{text}");
}

/// As much of a receiver of version 2 as answers.
const VERSION_2: &str = r#"#!/bin/sh
while IFS= read -r l && [ "$l" != END ]; do :; done
while IFS= read -r l; do
  case $l in
  'nonce '*) nonce=${l#nonce } ;;
  'certd 2') ;;
  'certd '*) a="version 2 ${l#certd }"; printf 'certd-node %s refused %s\n%s' "$nonce" "${#a}" "$a"; exit 20 ;;
  esac
done
"#;

#[test]
fn s24_a_receiver_of_version_2_refuses_in_words_and_is_brought_up_to_date_by_one_command() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = ready(&account);
    exits(&lab.certd(&["renew"]), 0);
    // What version 2 left: its choices are in what it installed.
    let (conf, keys) =
        (account.parameters().join(format!("{SERVICE}.conf")), account.home().join(".ssh/authorized_keys"));
    let own = |line: &&str| !["#", "names ", "trust "].iter().any(|word| line.starts_with(word));
    let lines: Vec<String> = fs::read_to_string(&conf).unwrap().lines().filter(own).map(str::to_owned).collect();
    fs::write(&conf, format!("allow older\n{}\n", lines.join("\n"))).unwrap();
    fs::remove_file(account.parameters().join("options")).unwrap();
    fs::remove_file(account.parameters().join("roots")).unwrap();
    let line = fs::read_to_string(&keys).unwrap().replace("restrict,", "restrict,from=\"127.0.0.0/8\",");
    // With sudo 1.9.16 (Debian 13) the start of version 2 never answered.
    let sudo = Command::new("sudo").arg("--version").output().unwrap().stdout;
    let answered = !String::from_utf8_lossy(&sudo).contains("version 1.9.16");
    let variables = if answered { " LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin" } else { "" };
    fs::write(&keys, line.replace(variables, "")).unwrap();
    fs::write(account.program(), VERSION_2).unwrap();
    fs::set_permissions(account.program(), fs::Permissions::from_mode(0o755)).unwrap();

    let served = lab.nodes[0].served(SERVICE).unwrap();
    let text = exits(&lab.certd(&["renew", "--force"]), 6);
    assert!(text.contains("speaks version 2 of the dialogue, and this certd version 3"), "{text}");
    assert!(text.contains("update the receiver, with an administrator's login: certd node setup "), "{text}");
    assert_eq!(lab.nodes[0].served(SERVICE), Ok(served));
    let text = exits(&lab.certd(&["doctor"]), 6);
    assert!(text.contains("update the receiver"), "{text}");

    let text = is_set_up(&set_up(&lab, &account, &["--login", "root"]));
    assert!(text.contains("options: --from 127.0.0.0/8 --allow-older, as last time"), "{text}");
    assert!(fs::read_to_string(&keys).unwrap().contains("from=\"127.0.0.0/8\""));
    exits(&lab.certd(&["deploy"]), 0);
    assert_eq!(lab.nodes[0].settled(SERVICE), lab.nodes[0].pair(SERVICE));
    assert_eq!(lab.pebble.issued(), 2);
}

#[test]
fn the_doctor_says_when_a_node_permits_something_else_than_would_be_delivered() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = ready(&account);
    // Nothing is issued yet: what is prepared then has no CA signed, and is never committed.
    let text = exits(&lab.certd(&["renew", "--dry-run"]), 3);
    assert!(text.contains("rehearsed: prepared, nothing changed"), "{text}");
    exits(&lab.certd(&["renew"]), 0);
    exits(&lab.certd(&["renew", "--dry-run"]), 0);
    exits(&lab.certd(&["check", "--deep"]), 0);
    let text = exits(&lab.certd(&["doctor"]), 3);
    assert!(text.contains("its receiver permits what this configuration delivers"), "{text}");
    let program = fs::read_to_string(account.program()).unwrap();
    fs::write(account.program(), program.clone() + "# of another certd\n").unwrap();
    let text = exits(&lab.certd(&["doctor"]), 3);
    assert!(text.contains("is not the one that this certd installs"), "{text}");
    fs::write(account.program(), program).unwrap();
    // One certificate less in the configuration is one too many there.
    let other = account.parameters().join("other.example.conf");
    fs::write(&other, "names other.example\n").unwrap();
    let text = exits(&lab.certd(&["doctor"]), 3);
    assert!(text.contains("does not permit exactly") && text.contains("certd node setup "), "{text}");
    is_set_up(&set_up(&lab, &account, &["--login", "root"]));
    assert!(!other.exists());
    // A name more is tried as it would come, and not by the certificate that is still there.
    lab.replace_line("domains = ", &format!("domains = [{SERVICE:?}, \"more.{SERVICE}\"]"));
    let text = exits(&lab.certd(&["doctor"]), 6);
    assert!(text.contains(&format!("the certificate is for more.{SERVICE}, which this node's parameters")), "{text}");
    is_set_up(&set_up(&lab, &account, &["--login", "root"]));
    let text = exits(&lab.certd(&["renew", "--dry-run"]), 0);
    assert!(!text.contains("does not permit"), "{text}");
}
