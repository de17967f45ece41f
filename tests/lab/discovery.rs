//! Nodes that DNS names: adding a node is adding a record.

#![allow(clippy::print_stdout, reason = "what is left out is shown")]

use crate::lab;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use lab::config::ConfigText;
use lab::node::NodeOptions;
use lab::printed::{exits, stdout};
use lab::{Lab, Options, SERVICE};

const SSH_PORT: u16 = 2222;
const TLS_PORT: u16 = 8443;

/// Whether a session can have mounts of its own: not in a chroot, whose root is none.
fn own_mounts() -> bool {
    let had = Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|output| output.status.success());
    if !had {
        println!("not run: mounts of one's own are not to be had here");
    }
    had
}

/// Nodes that are alike, as DNS-named ones have to be: the same ports, and the same paths. A session sees its own node's
/// folder at the path that all have in common, as if it were on a machine of its own.
fn fleet(count: usize) -> Lab {
    let alike = |n| NodeOptions { ports: Some([SSH_PORT, TLS_PORT]), ..NodeOptions::new(&format!("node-{n}")) };
    let mut lab = Lab::start(Options { nodes: (1..=count).map(alike).collect(), ..Options::default() });
    let common = lab.folder.join("common");
    fs::create_dir(&common).unwrap();
    for node in &mut lab.nodes {
        let (script, own) = (node.folder.join("session"), node.folder.display());
        let text =
            format!("#!/bin/sh\nmount --bind '{own}' '{}' && exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n", common.display());
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let config = node.folder.join("sshd_config");
        let force = format!(
            "ForceCommand if [ $(id -u) = 0 ]; then exec unshare -m {0}; else exec unshare -rm {0}; fi\n",
            script.display()
        );
        fs::write(&config, fs::read_to_string(&config).unwrap() + &force).unwrap();
        node.start_sshd();
    }
    lab.configured("");
    lab
}

impl Lab {
    /// `nodes`: sections of nodes that are configured all the same.
    fn configured(&self, nodes: &str) {
        let (common, file) = (self.folder.join("common"), |name: &str| self.folder.join(name).display().to_string());
        let text = ConfigText {
            certificates: Some(format!(
                "[[certificate]]\ndomains = [{SERVICE:?}]\nnodes = {{ discover = {SERVICE:?} }}\n\n"
            )),
            ssh: format!("port = {SSH_PORT}\nknown_hosts = {:?}\n", file("known_hosts")),
            ..ConfigText::default()
        };
        let path = self.write_config_with(&text);
        let written = fs::read_to_string(&path).unwrap();
        let at = written.find("[[node]]").expect("the lab writes its nodes");
        let (ssl, program) = (common.join("conf/ssl/{name}"), common.join("sbin/nginx"));
        let install = format!(
            "[probe]\nport = {TLS_PORT}\n[install]\nfullchain = {:?}\nkey = {:?}\ntest = [{program:?}, \"-t\"]\n\
             reload = [{program:?}, \"-s\", \"reload\"]\n{nodes}",
            ssl.join("fullchain.pem"),
            ssl.join("privkey.pem"),
        );
        fs::write(path, format!("{}{install}", &written[..at])).unwrap();
    }

    fn drop_record(&self, node: usize) {
        self.dns.update(&format!("delete {SERVICE}. A {}", self.ip(node)));
    }

    fn add_record(&self, node: usize) {
        self.dns.update(&format!("add {SERVICE}. 1 A {}", self.ip(node)));
    }

    fn trust(&self, node: usize) {
        exits(&self.certd(&["trust", "--write", &self.ip(node)]), 0);
    }
}

#[test]
fn adding_a_node_is_adding_a_record_and_costs_no_certificate() {
    if !own_mounts() {
        return;
    }
    let lab = fleet(3);
    (0..3).for_each(|node| lab.trust(node));
    lab.drop_record(2);
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("2 of 2 serve the right certificate"), "{}", stdout(&output));
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    assert_eq!(lab.nodes[1].settled(SERVICE).unwrap(), leaf);
    assert_ne!(lab.nodes[2].settled(SERVICE).unwrap(), leaf);

    lab.add_record(2);
    exits(&lab.certd(&["check"]), 6);
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("3 of 3 serve the right certificate"), "{}", stdout(&output));
    assert_eq!(lab.nodes[2].settled(SERVICE).unwrap(), leaf);
    assert_eq!(lab.nodes[2].pair(SERVICE).unwrap(), leaf);
    assert_eq!(lab.pebble.issued(), 1, "no new certificate");
    exits(&lab.certd(&["deploy", "--node", &lab.ip(2)]), 0);

    // A node that is taken out of DNS is none any more.
    lab.drop_record(0);
    let output = lab.certd(&["check"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("2 of 2 serve the right certificate"), "{}", stdout(&output));
    exits(&lab.certd(&["deploy", "--node", &lab.ip(0)]), 2);
}

#[test]
fn doctor_tries_the_nodes_that_dns_names_and_a_command_with_a_node_that_is_none_changes_nothing() {
    if !own_mounts() {
        return;
    }
    let lab = fleet(2);
    lab.trust(0);
    let output = lab.certd(&["doctor"]);
    let text = exits(&output, 3);
    assert!(text.contains(&format!("{}: reached, logged in", lab.ip(0))), "{text}");
    assert!(
        text.contains(&format!("cannot belong to a node: {}", lab.ip(1))),
        "this machine's, and not trusted: {text}"
    );

    lab.trust(1);
    exits(&lab.certd(&["renew"]), 0);
    let held = lab.state_dir().join("certs").join(SERVICE).join("current").read_link().unwrap();
    let held = held.to_str().unwrap();
    for options in [["--exclude", "192.0.2.77"], ["--node", "192.0.2.77"]] {
        exits(&lab.certd(&[&["deploy", SERVICE, "--generation", held][..], &options].concat()), 2);
        exits(&lab.certd(&["check"]), 0);
    }
}

#[test]
fn dns_that_is_down_or_empty_never_empties_the_fleet() {
    if !own_mounts() {
        return;
    }
    let lab = fleet(2);
    (0..2).for_each(|node| lab.trust(node));
    exits(&lab.certd(&["renew"]), 0);
    let well = fs::read_to_string(lab.config_path()).unwrap();
    lab.replace_line("resolvers", "resolvers = [\"127.0.0.1:1\"]\ndoh = []");
    for command in ["check", "deploy"] {
        let output = lab.certd(&[command]);
        let text = exits(&output, 0);
        assert!(text.contains("2 of 2 serve the right certificate"), "{text}");
        assert!(text.contains("the nodes are those that it showed"), "{text}");
    }
    fs::write(lab.config_path(), well).unwrap();
    (0..2).for_each(|node| lab.drop_record(node));
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(
        text.contains("2 of 2 serve the right certificate") && text.contains("no address that could be a node's"),
        "{text}"
    );
    // Nothing is known of it after the state is lost: that is a fleet without its certificate.
    fs::remove_file(lab.state_dir().join("dns.json")).unwrap();
    let text = exits(&lab.certd(&["check"]), 6);
    assert!(text.contains("none of its nodes is known"), "{text}");
}

#[test]
fn an_address_whose_host_key_is_another_gets_nothing_and_one_of_this_machine_without_a_key_is_no_node() {
    let mut lab = fleet(3);
    (0..2).for_each(|node| lab.trust(node));
    lab.nodes[1].change_host_key();
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains(&format!("certd trust {}", lab.ip(1))), "{text}");
    assert!(text.contains(&format!("shows 1 that cannot belong to a node: {}", lab.ip(2))), "{text}");
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    assert_ne!(lab.nodes[1].settled(SERVICE).unwrap(), leaf);
    assert!(!lab.nodes[1].sshd_log().contains("Accepted publickey"), "nobody logs in at a machine that may be another");
    assert_eq!(lab.nodes[2].ssh_connections(), 0);
}

#[test]
fn an_address_of_a_configured_node_is_that_node() {
    if !own_mounts() {
        return;
    }
    let lab = fleet(2);
    lab.trust(1);
    let node =
        format!("[[node]]\nname = \"上海\"\naddress = \"{}\"\nhost_key = {:?}\n", lab.ip(0), lab.nodes[0].host_key());
    lab.configured(&node);
    let output = lab.certd(&["renew"]);
    let text = exits(&output, 0);
    assert!(text.contains("2 of 2 serve the right certificate") && text.contains("上海"), "{text}");
    assert_eq!(lab.nodes[0].settled(SERVICE).unwrap(), lab.nodes[1].settled(SERVICE).unwrap());
}
