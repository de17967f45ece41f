//! Nodes of other releases: `certd node setup` with their sshd, sudo and utilities, then a delivery through what it made, or
//! the words in which it refuses. An error means that what operators install today is not what certd was built against.

use crate::lab;

use lab::node::NodeOptions;
use lab::printed::exits;
use lab::process::is_root;
use lab::roots::{DROPBEAR, OPENSSH, Root, TINYSSHD};
use lab::{Lab, Options};

const SUDO_RS: &str = "ln -sf /usr/lib/cargo/bin/sudo /usr/bin/sudo; ln -sf /usr/lib/cargo/bin/visudo /usr/sbin/visudo\n\
     printf 'root ALL=(ALL:ALL) ALL\\n@includedir /etc/sudoers.d\\n' >/etc/sudoers\n";
const UUTILS: &str = "ln -sf /usr/lib/cargo/bin/coreutils/* /usr/bin/\n";
/// In the place of every utility that it has, the shell among them.
const BUSYBOX: &str =
    "for applet in $(busybox --list); do [ $applet = busybox ] || busybox ln -sf busybox /usr/bin/$applet; done\n";
const NO_SUDO: &str = "rm -f /usr/bin/sudo /usr/bin/sudo-rs\n";

fn one_node() -> Option<Lab> {
    if !is_root() {
        println!("not run: only root can have another root");
        return None;
    }
    let lab = Lab::start(Options { nodes: vec![NodeOptions::new("上海")], ..Options::default() });
    lab.write_config("");
    Some(lab)
}

/// Sets up the account, and delivers through it what a handshake then proves.
fn takes_certificates(suite: &str, prepare: &str, server: &str, options: &[&str]) {
    let Some(lab) = one_node() else { return };
    let _root = Root::start(&lab, suite, prepare, server);
    let text = exits(&lab.certd(&[&["node", "setup", "上海"], options].concat()), 3);
    assert!(text.contains("the same key gets a shell as root") && !text.contains("FAILED"), "{text}");
    lab.replace_line("user = ", "user = \"certd\"");
    exits(&lab.certd(&["renew"]), 0);
    // What is set up twice is not set up otherwise.
    let text = exits(&lab.certd(&["node", "setup", "上海", "--login", "root"]), 3);
    assert!(text.contains("as last time") && !text.contains("FAILED"), "{text}");
    exits(&lab.certd(&["renew", "--force"]), 0);
}

/// Makes nothing, and says why.
fn is_refused(suite: &str, prepare: &str, server: &str, options: &[&str], words: [&str; 2]) {
    let Some(lab) = one_node() else { return };
    let _root = Root::start(&lab, suite, prepare, server);
    let text = exits(&lab.certd(&[&["node", "setup", "上海"], options].concat()), 6);
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    lab.replace_line("user = ", "user = \"certd\"");
    // Its server still shows a certificate for another name.
    let text = exits(&lab.certd(&["renew"]), 4);
    assert!(text.contains("no login as certd"), "{text}");
}

#[test]
fn debian_13_with_its_sudo_1_9_16_and_openssh_10_0() {
    takes_certificates("trixie", "", OPENSSH, &["--from", "127.0.0.0/8"]);
}

#[test]
fn debian_sid_with_its_sudo_1_9_17_and_openssh_10_6_which_writes_its_settings_in_mixed_case() {
    takes_certificates("sid", "", OPENSSH, &["--from", "127.0.0.0/8"]);
    let only_root = "echo AllowUsers root >>/etc/ssh/sshd_config\n";
    is_refused("sid", only_root, OPENSSH, &[], ["AllowUsers", "add certd to AllowUsers"]);
}

#[test]
fn sudo_rs_and_uutils() {
    takes_certificates("sid", &format!("{SUDO_RS}{UUTILS}"), OPENSSH, &[]);
    takes_certificates("trixie", SUDO_RS, OPENSSH, &[]);
}

#[test]
fn busybox_for_every_utility_and_dropbear() {
    takes_certificates("sid", BUSYBOX, DROPBEAR, &[]);
    takes_certificates("trixie", BUSYBOX, DROPBEAR, &[]);
}

#[test]
fn a_match_address_of_the_controllers_own_is_asked_for() {
    let matched = "printf 'Match Address 127.0.0.0/8 User certd\\nPubkeyAuthentication no\\n' >>/etc/ssh/sshd_config\n";
    is_refused("sid", matched, OPENSSH, &[], ["sshd takes no public keys from certd", "PubkeyAuthentication yes"]);
}

#[test]
fn what_dropbear_and_tinysshd_do_not_take_is_named_before_anything_is_made() {
    is_refused("sid", "", DROPBEAR, &["--from", "127.0.0.1"], ["dropbear knows no from=", "--no-from"]);
    is_refused("sid", "", TINYSSHD, &[], ["tinysshd knows no options of a key", "install openssh-server or dropbear"]);
}

#[test]
fn without_sudo_it_says_what_there_is_to_do() {
    is_refused("sid", NO_SUDO, OPENSSH, &[], ["there is no sudo", "--no-sudo"]);
}
