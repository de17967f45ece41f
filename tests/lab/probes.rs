//! Servers that are reached in other ways than over TCP at port 443 of an IPv4 address: each is renewed, proven by
//! handshake and checked, and what is wrong there is reported with its exit code.

mod ports;
mod quic;
mod ssh;

use crate::lab;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use lab::config::ConfigText;
use lab::node::{Node, NodeOptions};
use lab::printed::exits;
use lab::process::{is_alive, signal, wait_until};
use lab::{Lab, Options, SERVICE};

/// A lab with one node whose nginx listens at one more place, which certd is configured to probe.
fn lab(listen: &str, sshd: &str) -> Lab {
    let node = NodeOptions { nginx: listen.to_owned(), sshd: sshd.to_owned(), ..NodeOptions::new("edge") };
    Lab::start(Options { nodes: vec![node], ..Options::default() })
}

/// Nobody listens there at any address.
fn port(host: &str) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}

fn served(lab: &Lab) -> Vec<Value> {
    let output = lab.certd(&["check", "--output", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}"));
    report["certificates"][0]["nodes"][0]["served"].as_array().unwrap().clone()
}

#[test]
fn n12_a_server_behind_the_proxy_protocol_at_another_port_is_proven_and_checked_with_either_header() {
    let port = port("0.0.0.0");
    let lab = lab(&format!("listen 0.0.0.0:{port} ssl http2 proxy_protocol;"), "");
    lab.write_config("");
    for version in ["v1", "v2"] {
        lab.replace_line("probe = ", &format!("probe = {{ port = {port}, proxy_protocol = \"{version}\" }}"));
        exits(&lab.certd(&["renew", "--force"]), 0);
        exits(&lab.certd(&["check"]), 0);
        let node = &lab.nodes[0];
        assert_eq!(node.settled(SERVICE), node.pair(SERVICE));
    }
    lab.replace_line("probe = ", &format!("probe = {{ port = {port} }}"));
    let text = exits(&lab.certd(&["check"]), 4);
    assert!(text.contains("no-tls") && text.contains("set `probe.proxy_protocol`"), "{text}");
}

#[test]
fn n12_a_server_at_an_ipv6_address_alone_is_proven_and_checked() {
    let (tls, ssh) = (port("::1"), port("::1"));
    let lab = lab(&format!("listen [::1]:{tls} ssl;"), &format!("ListenAddress [::1]:{ssh}"));
    lab.write_config("");
    lab.replace_line("address = ", "address = \"::1\"");
    lab.replace_line("ssh = ", &format!("ssh = {{ port = {ssh} }}"));
    lab.replace_line("probe = ", &format!("probe = {{ port = {tls} }}"));
    // DNS shows another address of it.
    lab.replace_line("nodes = [", "nodes = [\"*\"]\ninventory = false");
    exits(&lab.certd(&["renew"]), 0);
    let text = exits(&lab.certd(&["check"]), 0);
    assert!(text.contains(&format!("[::1]:{tls}")), "{text}");
}

const OTHER: &str = "www.example.test";

/// A further server block, for another name at the same place.
fn block(node: &Node, chain: &str, key: &str) {
    let configuration = fs::read_to_string(node.folder.join("conf/nginx.conf")).unwrap();
    let listen = configuration.split("listen ").nth(1).unwrap().split(';').next().unwrap();
    let text = format!(
        "server {{ listen {listen}; server_name {OTHER}; ssl_certificate {chain}; ssl_certificate_key {key}; }}\n"
    );
    fs::write(node.folder.join("conf/extra.conf"), text).unwrap();
}

#[test]
fn n11_of_two_server_blocks_the_one_that_does_not_use_our_path_is_found_by_its_name() {
    let mut lab = lab("", "");
    let certificates = format!(
        "[[certificate]]\nname = \"{SERVICE}\"\ndomains = [\"{SERVICE}\", \"{OTHER}\"]\nnodes = [\"*\"]\n\
         probe = {{ sni = [\"{SERVICE}\", \"{OTHER}\"] }}\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificates), ..ConfigText::default() });
    let node = &lab.nodes[0];
    let before = node.pair(SERVICE);
    let (theirs, their_key) = (node.folder.join("conf/other.pem"), node.folder.join("conf/other.key"));
    let (chain, key) = lab.old_authority.issue(&[OTHER.to_owned()], 30);
    fs::write(&theirs, chain).unwrap();
    fs::write(&their_key, key).unwrap();
    block(node, &theirs.display().to_string(), &their_key.display().to_string());
    // It loads the second block, whose certificate is as good as any.
    lab.nodes[0].start_nginx();
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains(&format!("for {OTHER}")), "the name that differs is reported: {text}");
    let node = &lab.nodes[0];
    assert_eq!(node.pair(SERVICE), before, "what one block alone serves is no success, and the node went back");

    block(node, &node.fullchain(SERVICE).display().to_string(), &node.key(SERVICE).display().to_string());
    exits(&lab.certd(&["deploy"]), 0);
    let served = served(&lab);
    assert_eq!(served.len(), 2, "{served:?}");
    assert!(served.iter().all(|served| served["verdict"] == "ok" && served["over"] == "tcp"), "{served:?}");
}

#[test]
fn n10_a_renewal_in_the_middle_of_an_upgrade_of_nginx_is_served_and_served_again_when_the_upgrade_is_given_up() {
    let port = port("0.0.0.0");
    let mut lab = lab(&format!("listen 0.0.0.0:{port} ssl http2;"), "");
    lab.write_config("");
    lab.replace_line("probe = ", &format!("probe = {{ port = {port} }}"));
    lab.nodes[0].stop_nginx();
    let folder = lab.nodes[0].folder.clone();
    let (pid, old_pid) = (folder.join("logs/nginx.pid"), folder.join("logs/nginx.pid.oldbin"));
    // It takes an upgrade as a daemon alone.
    let configuration = folder.join("conf/nginx.conf");
    let text = fs::read_to_string(&configuration).unwrap();
    fs::write(&configuration, text.replace("daemon off;", "")).unwrap();
    let script = "/usr/sbin/nginx -p . -e logs/error.log -c conf/nginx.conf 2>>logs/stderr.log; \
                  while [ ! -s logs/nginx.pid ]; do sleep 0.02; done";
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(&folder);
    assert!(lab.spawn(command).wait().unwrap().success());
    let node = &lab.nodes[0];
    let read = |path: &Path| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let old = read(&pid).unwrap();
    // nginx's own procedure: the new program beside the old one, then the old one's workers end and its master stays.
    // Before it has workers it may sleep through a signal.
    let running = || fs::read_to_string(format!("/proc/{old}/task/{old}/children")).is_ok_and(|pids| !pids.is_empty());
    assert!(wait_until(running), "it does not run");
    signal("USR2", &[old]);
    assert!(wait_until(|| read(&old_pid) == Some(old) && read(&pid).is_some_and(|new| new != old)), "no upgrade");
    let new = read(&pid).unwrap();
    signal("WINCH", &[old]);
    let workers = |master: u32| {
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()).filter(|pid| *pid != new).count()
    };
    assert!(wait_until(|| workers(old) == 0 && workers(new) > 0), "the old workers stay");

    let before = node.pair(SERVICE);
    exits(&lab.certd(&["renew"]), 0);
    assert_ne!(node.pair(SERVICE), before);
    assert_eq!(node.served(SERVICE), node.pair(SERVICE));

    // The upgrade is given up: the old master starts workers again and reads nothing anew, which the next pass sees.
    signal("HUP", &[old]);
    assert!(wait_until(|| workers(old) > 0), "the old program does not come back");
    signal("QUIT", &[new]);
    assert!(wait_until(|| !is_alive(new) && read(&pid) == Some(old)), "the new program stays");
    assert_eq!(node.served(SERVICE), before);
    exits(&lab.certd(&["check"]), 6);
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(node.settled(SERVICE), node.pair(SERVICE));
}
