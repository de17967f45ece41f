//! Rows of the fault catalogue about a node's web server: unusual commands, keys that cannot be read, reloads that reach
//! nobody, stapling that nobody needs.

use crate::lab;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use lab::nginx::NginxCommand;
use lab::node::NodeOptions;
use lab::printed::{exits, stdout};
use lab::process::{is_root, output};
use lab::{Lab, Options, SERVICE};

/// nobody, in Debian
const NOBODY: u32 = 65_534;

fn started(nodes: usize) -> Lab {
    let lab = Lab::start(Options::nodes(nodes));
    lab.write_config("");
    lab
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("the lab's folder is ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

#[test]
fn n06_commands_are_argument_vectors_and_no_shell_reads_them() {
    let lab = started(1);
    let node = &lab.nodes[0];
    // A build of its own in a folder with a space, and arguments that a shell would take apart.
    let folder = node.folder.join("local nginx");
    fs::create_dir(&folder).expect("the lab's folder is ours");
    let (program, reply) = (folder.join("nginx $HOME"), folder.join("told"));
    script(
        &program,
        &format!(
            "printf '<%s>' \"$@\" >>'{}'; [ \"$1\" = -t ] || set -- -s reload; exec '{}/sbin/nginx' \"$1\" $2",
            reply.display(),
            node.folder.display()
        ),
    );
    let program = program.display().to_string();
    lab.replace_line("test = ", &format!("test = [{program:?}, \"-t\"]"));
    let odd = ["; touch /tmp/certd-was-here", "$(id)", "*", "'\\\"", "a  b", "上海"];
    lab.replace_line(
        "reload = ",
        &format!("reload = [{program:?}, \"-s\", {}]", odd.map(|word| format!("{word:?}")).join(", ")),
    );
    exits(&lab.certd(&["renew"]), 0);
    let reply = fs::read_to_string(reply).expect("it was called");
    let reload: String = odd.iter().map(|word| format!("<{word}>")).collect();
    assert!(reply.ends_with(&format!("<-t><-s>{reload}")), "{reply}");
    assert_eq!(node.settled(SERVICE), node.pair(SERVICE));
}

#[test]
fn n07_a_server_that_may_not_read_its_key_is_told_in_its_own_words_and_keeps_what_it_serves() {
    if !is_root() {
        return;
    }
    let lab = started(2);
    exits(&lab.certd(&["renew"]), 0);
    let node = &lab.nodes[1];
    let before = node.settled(SERVICE).expect("it is served");
    // The user who tests the configuration there is not root, and the key is root's.
    as_nobody(node);
    let printed = exits(&lab.certd(&["renew", "--force"]), 6);
    let line = printed.lines().find(|line| line.contains("node-2: unchanged")).unwrap_or_else(|| panic!("{printed}"));
    assert!(line.contains("privkey.pem") && line.contains("Permission denied"), "{line}");
    assert_eq!(node.settled(SERVICE).as_ref(), Ok(&before));
    assert_eq!(node.pair(SERVICE).as_ref(), Ok(&before));
}

#[test]
fn n07_a_key_keeps_the_owner_who_can_read_it() {
    if !is_root() {
        return;
    }
    let lab = started(1);
    let node = &lab.nodes[0];
    chown(node.key(SERVICE), Some(NOBODY), Some(NOBODY)).expect("root may");
    fs::set_permissions(node.key(SERVICE), fs::Permissions::from_mode(0o400)).expect("root may");
    as_nobody(node);
    for arguments in [&["renew"][..], &["renew", "--force"]] {
        exits(&lab.certd(arguments), 0);
        let mode = output(Command::new("stat").args(["-Lc", "%u %a"]).arg(node.key(SERVICE)));
        assert_eq!(mode.trim(), format!("{NOBODY} 400"));
        assert_eq!(node.settled(SERVICE), node.pair(SERVICE));
    }
}

/// The configuration test runs as somebody who may write logs and read what is everybody's.
fn as_nobody(node: &lab::node::Node) {
    let open = |path: &str, mode: &str| output(Command::new("chmod").args(["-R", mode]).arg(node.folder.join(path)));
    open("logs", "a+rwX");
    open("temp", "a+rwX");
    let hook = format!("exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$@\"\n");
    node.replace_command(NginxCommand::Test, Some(&hook));
}

#[test]
fn n13_a_reload_that_succeeds_and_reaches_another_process_is_seen_by_the_handshake_and_goes_back() {
    let lab = started(2);
    exits(&lab.certd(&["renew"]), 0);
    let (first, wrong) = (&lab.nodes[0], &lab.nodes[1]);
    let before = wrong.settled(SERVICE).expect("it is served");
    // As systemd does for Type=forking: a signal to the process of the PIDFile, which is another's by now.
    let pid = wrong.folder.join("logs/stale.pid");
    let hook = format!(
        "[ -s '{0}' ] || {{ (trap '' HUP; exec sleep 600) >/dev/null 2>&1 </dev/null & echo $! >'{0}'; }}\nkill -HUP \"$(cat '{0}')\"\n",
        pid.display()
    );
    wrong.replace_command(NginxCommand::Reload, Some(&hook));
    let printed = exits(&lab.certd(&["renew", "--force"]), 6);
    assert!(printed.contains("node-2: the node went back") || printed.contains("still serves"), "{printed}");
    assert_eq!(wrong.pair(SERVICE).as_ref(), Ok(&before), "its disk holds what it serves");
    assert_eq!(wrong.settled(SERVICE).as_ref(), Ok(&before));
    assert_ne!(first.settled(SERVICE).as_ref(), Ok(&before));
    // Put right, the next delivery is the end of it.
    wrong.replace_command(NginxCommand::Reload, None);
    exits(&lab.certd(&["deploy"]), 0);
    assert_eq!(wrong.settled(SERVICE), first.settled(SERVICE));
}

#[test]
fn n14_stapling_that_is_configured_for_certificates_without_a_responder_is_a_warning_and_no_failure() {
    let mut stapling = NodeOptions::new("node-1");
    stapling.nginx = "ssl_stapling on; ssl_stapling_verify on;".into();
    let lab = Lab::start(Options { nodes: vec![stapling], ..Options::default() });
    lab.write_config("");
    let node = &lab.nodes[0];
    let leaf = fs::read_to_string(node.fullchain(SERVICE)).expect("the lab wrote it");
    assert!(leaf.contains("BEGIN CERTIFICATE"));
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    let warned = node.nginx_log().contains("\"ssl_stapling\" ignored");
    assert!(warned, "nginx has something to warn of: {}", node.nginx_log());
    assert!(!stdout(&output).contains("stapling"), "a warning of every reload is no news: {}", stdout(&output));
    assert_eq!(node.settled(SERVICE), node.pair(SERVICE));
}
