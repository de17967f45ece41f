//! Host keys: shown, compared, pinned, and then found by OpenSSH too.

use std::fs;
use std::process::Command;

use super::lab::config::ConfigText;
use super::lab::process::output;
use super::lab::{Lab, Options, SERVICE};
use super::{exits, stderr, stdout};

/// No key is pinned in the configuration; a file is to have them.
fn unpinned(options: Options) -> Lab {
    let lab = Lab::start(options);
    let ssh = format!("known_hosts = {:?}", lab.folder.join("known_hosts"));
    let path = lab.write_config_with(&ConfigText { ssh, ..ConfigText::default() });
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("host_key")).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    lab
}

#[test]
fn trust_shows_the_key_as_openssh_does_and_writes_nothing_unasked() {
    let mut lab = unpinned(Options::nodes(2));
    let output = lab.certd(&["trust", "node-1"]);
    exits(&output, 0);
    let text = stdout(&output);
    assert!(text.contains(&lab.nodes[0].host_key()), "{text}");
    let public = lab.nodes[0].folder.join("host_key.pub");
    let openssh = super::lab::process::output(Command::new("ssh-keygen").arg("-lf").arg(public));
    let fingerprint = openssh.split(' ').find(|word| word.starts_with("SHA256:")).unwrap();
    assert!(text.contains(fingerprint), "{fingerprint} in {text}");
    assert!(text.contains("ssh-keygen -lf"), "how to compare: {text}");
    assert!(text.contains("pinned: no\n") && text.contains("what counts: no key is pinned"), "{text}");
    assert!(!text.contains("node-2"), "{text}");
    assert!(!lab.folder.join("known_hosts").exists());

    lab.node("node-2").stop_sshd();
    let output = lab.certd(&["trust", "node-1", "node-2"]);
    exits(&output, 6);
    assert!(stdout(&output).contains("node-1") && stderr(&output).contains("node-2"), "{}", stderr(&output));
    assert!(stderr(&output).contains("next: "), "{}", stderr(&output));
}

#[test]
fn s04_an_unknown_host_is_refused_until_trust_has_written_its_key() {
    let lab = unpinned(Options::nodes(2));
    let refused = lab.certd(&["renew"]);
    exits(&refused, 6);
    assert!(stdout(&refused).contains("certd trust"), "{}", stdout(&refused));
    assert_eq!(lab.pebble.issued(), 1);

    let written = lab.certd(&["trust", "node-1", "node-2", "--write"]);
    exits(&written, 0);
    assert!(stdout(&written).contains("written: "), "{}", stdout(&written));
    let known_hosts = lab.folder.join("known_hosts");
    for node in &lab.nodes {
        let host = format!("[{}]:{}", node.ssh.ip(), node.ssh.port());
        let found = output(Command::new("ssh-keygen").args(["-F", &host, "-f"]).arg(&known_hosts));
        assert!(found.contains(&node.host_key()), "{found}");
    }
    let shown = stdout(&lab.certd(&["trust", "node-2"]));
    assert!(shown.contains(&format!("pinned: yes ({}:", known_hosts.display())), "{shown}");
    let before = fs::read_to_string(&known_hosts).unwrap();
    exits(&lab.certd(&["trust", "node-1", "--write"]), 0);
    assert_eq!(fs::read_to_string(&known_hosts).unwrap(), before, "what stands there is not written again");

    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.nodes[0].settled(SERVICE).unwrap(), lab.nodes[1].settled(SERVICE).unwrap());
    assert_eq!(lab.pebble.issued(), 1, "that the nodes were unknown cost no certificate");
}

#[test]
fn a_jump_host_of_several_nodes_is_asked_once() {
    let mut lab = Lab::start(Options::nodes(3));
    let jump = lab.nodes[0].ssh;
    let known_hosts = lab.folder.join("known_hosts");
    let host_key = lab.nodes[0].host_key();
    let (host, port) = (jump.ip().to_string(), jump.port());
    let jump = format!("jump = [{{ address = {host:?}, port = {port}, host_key = {host_key:?} }}]");
    let ssh = format!("known_hosts = {known_hosts:?}\n{jump}");
    lab.write_config_with(&ConfigText { ssh, ..ConfigText::default() });
    let output = lab.certd(&["trust", "node-2", "node-3"]);
    exits(&output, 0);
    for ssh in lab.nodes.iter().map(|node| node.ssh) {
        let heading = format!("([{}]:{})", ssh.ip(), ssh.port());
        assert_eq!(stdout(&output).matches(&heading).count(), 1, "{}", stdout(&output));
    }

    // The last node pins it to another key.
    let config = fs::read_to_string(lab.config_path()).unwrap();
    let other = lab.nodes[1].host_key();
    let own = format!("jump = [{{ address = {host:?}, port = {port}, host_key = {other:?} }}], ");
    let (upper, last) = config.rsplit_once("ssh = { ").expect("each node has its port");
    fs::write(lab.config_path(), format!("{upper}ssh = {{ {own}{last}")).unwrap();
    let output = lab.certd(&["trust", "node-2", "node-3"]);
    assert_eq!(stdout(&output).matches("pinned: DIFFERS").count(), 1, "{}\n{}", stdout(&output), stderr(&output));
    fs::write(lab.config_path(), config).unwrap();

    lab.node("node-1").stop_sshd();
    let output = lab.certd(&["trust", "node-2", "node-3"]);
    exits(&output, 6);
    assert_eq!(stderr(&output).matches("refuses the connection").count(), 1, "{}", stderr(&output));
    assert!(stderr(&output).contains("certd: node-3: not asked, since "), "{}", stderr(&output));
}

#[test]
fn an_identity_that_is_no_private_key_is_named_before_any_connection() {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    let identity = lab.folder.join("id_ed25519");
    let key = fs::read_to_string(&identity).unwrap();
    let before = lab.nodes[0].ssh_connections();
    for (text, words, next) in [
        ("PuTTY-User-Key-File-3: ssh-ed25519\n".to_owned(), "it is a PuTTY key", "puttygen"),
        (fs::read_to_string(lab.folder.join("id_ed25519.pub")).unwrap(), "it is a public key", "without .pub"),
        (format!("\u{feff}{key}"), "byte order mark", "sed -i"),
        (key.replace('\n', " "), "its line breaks are lost", "copy the key again"),
    ] {
        fs::write(&identity, text).unwrap();
        for (command, exit) in [(["config", "check"].as_slice(), 2), (&["doctor"], 6), (&["renew"], 2)] {
            let output = lab.certd(command);
            exits(&output, exit);
            let shown = stdout(&output) + &stderr(&output);
            assert!(shown.contains(words) && shown.contains(next), "{command:?}: {shown}");
        }
    }
    assert_eq!(lab.nodes[0].ssh_connections(), before);
}
