//! Nodes whose TLS port the controller cannot reach: handshakes go through their sshd.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::lab::config::ConfigText;
use super::lab::node::NodeOptions;
use super::lab::printed::exits;
use super::lab::{Lab, Options, SERVICE};
use super::{port, served};
use crate::run::Running;

const OTHER: &str = "www.example.test";

/// nginx listens for the node itself alone, and nobody at the node's own address.
fn inside(sshd: &str, more: &str) -> (Lab, u16) {
    let port = port("127.0.0.1");
    let node = NodeOptions {
        nginx: format!("listen 127.0.0.1:{port} ssl http2{more};"),
        sshd: sshd.to_owned(),
        ..NodeOptions::new("edge")
    };
    let lab = Lab::start(Options { nodes: vec![node], ..Options::default() });
    lab.write_config("");
    probed(&lab, port, "");
    (lab, port)
}

fn probed(lab: &Lab, port: u16, more: &str) {
    lab.replace_line("probe = ", &format!("probe = {{ port = {port}, via = \"ssh\"{more} }}"));
}

#[test]
fn a_node_that_only_its_sshd_reaches_is_renewed_proven_and_checked() {
    let (lab, port) = inside("", "");
    let text = exits(&lab.certd(&["renew"]), 0);
    assert!(text.contains(&format!("127.0.0.1:{port} through SSH")), "{text}");
    exits(&lab.certd(&["check"]), 0);
    exits(&lab.certd(&["plan"]), 0);
    exits(&lab.certd(&["renew", "--dry-run"]), 0);
    let served = served(&lab);
    assert_eq!(served.len(), 1);
    assert_eq!((served[0]["over"].as_str(), served[0]["verdict"].as_str()), (Some("ssh"), Some("ok")), "{served:?}");
    assert_eq!(lab.nodes[0].tls_connections(), 0, "nothing else was asked");
}

#[test]
fn health_through_ssh_logs_in_anew_in_each_round_and_outlives_a_failure_of_one() {
    let (mut lab, port) = inside("", "");
    exits(&lab.certd(&["renew"]), 0);
    let end = "[run]\ncheck_every = \"1h\"\n[health]\ninterval = \"1s\"\nstatus = [200]\n".to_owned();
    lab.write_config_with(&ConfigText { end, ..ConfigText::default() });
    probed(&lab, port, "");
    let mut running = Running::start(&lab, &[]);
    running.hear("READY=1");
    lab.nodes[0].stop_sshd();
    running.wait_for_line(&format!("edge: health of {SERVICE} is unknown"));
    lab.nodes[0].start_sshd();
    running.wait_for_line(&format!("health of {SERVICE} is ok"));
    running.ends(0);
}

#[test]
fn a_rollout_through_ssh_proves_every_name_over_the_dialogues_own_connection() {
    let (lab, port) = inside("", "");
    let certificates = format!(
        "[[certificate]]\nname = \"{SERVICE}\"\ndomains = [\"{SERVICE}\", \"{OTHER}\"]\nnodes = [\"*\"]\n\
         probe = {{ sni = [\"{SERVICE}\", \"{OTHER}\"] }}\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificates), ..ConfigText::default() });
    lab.replace_line("probe = { port", &format!("probe = {{ port = {port}, via = \"ssh\" }}"));
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.nodes[0].ssh_connections(), 3, "one for each name that is looked at first, and one for the rollout");
}

/// `count` names of one certificate, all asked for.
fn names(lab: &Lab, port: u16, count: usize) {
    let names: Vec<String> = (0..count).map(|number| format!("n{number}.example.test")).collect();
    let certificates = format!(
        "[[certificate]]\nname = \"{SERVICE}\"\ndomains = {names:?}\nnodes = [\"*\"]\nprobe = {{ sni = {names:?} }}\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificates), ..ConfigText::default() });
    lab.replace_line("probe = { port", &format!("probe = {{ port = {port}, via = \"ssh\" }}"));
}

#[test]
fn more_names_than_sshd_lets_log_in_at_once_are_all_seen() {
    let (lab, port) = inside("MaxStartups 5:100:5", "");
    names(&lab, port, 12);
    exits(&lab.certd(&["renew"]), 0);
    exits(&lab.certd(&["check"]), 0);
}

#[test]
fn an_old_certificate_at_many_names_is_told_as_what_it_is_and_not_as_a_broken_way() {
    let (lab, port) = inside("", "");
    names(&lab, port, 6);
    exits(&lab.certd(&["renew"]), 0);
    lab.replace_line("reload = ", "reload = [\"/bin/true\"]");
    let output = lab.certd(&["renew", "--force"]);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("still serves") && !text.contains("no way through SSH"), "{text}");
}

#[test]
fn n12_a_server_behind_the_proxy_protocol_is_reached_through_ssh_too() {
    let (lab, port) = inside("", " proxy_protocol");
    probed(&lab, port, ", proxy_protocol = \"v2\"");
    exits(&lab.certd(&["renew"]), 0);
    exits(&lab.certd(&["check"]), 0);
}

#[test]
fn a_port_that_nobody_listens_at_inside_the_node_is_refused_and_hurts() {
    let (lab, _) = inside("", "");
    probed(&lab, port("127.0.0.1"), "");
    let text = exits(&lab.certd(&["check"]), 4);
    assert!(text.contains("unreachable") && text.contains("connection refused"), "{text}");
}

#[test]
fn s01_where_ssh_fails_nobody_knows_what_visitors_get_and_it_is_a_warning() {
    let (mut lab, _) = inside("", "");
    exits(&lab.certd(&["renew"]), 0);
    lab.nodes[0].stop_sshd();
    let text = exits(&lab.certd(&["check"]), 3);
    assert!(text.contains("unknown") && text.contains("no way through SSH"), "{text}");
    assert!(text.contains("what visitors get is not known"), "{text}");
    exits(&lab.certd(&["renew"]), 6);
    lab.nodes[0].start_sshd();
    exits(&lab.certd(&["check"]), 0);
}

#[test]
fn an_sshd_that_forwards_nothing_gets_the_certificate_and_is_told_what_to_permit() {
    let (lab, port) = inside("AllowTcpForwarding no", "");
    let before = lab.nodes[0].pair(SERVICE);
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains("no way through SSH") && text.contains("AllowTcpForwarding"), "{text}");
    assert_ne!(lab.nodes[0].pair(SERVICE), before, "the node did not go back");
    // It has the certificate, and nothing proves it: no run calls that well.
    let text = exits(&lab.certd(&["check"]), 6);
    assert!(text.contains(&format!("does not forward to 127.0.0.1:{port}")), "{text}");
}

#[test]
fn a_look_reads_the_identities_of_nodes_that_are_probed_through_ssh_and_no_others() {
    let (lab, port) = inside("", "");
    exits(&lab.certd(&["renew"]), 0);
    for secret in ["cloudflare.token", "id_ed25519"] {
        let path = lab.folder.join(secret);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let expected = if secret == "id_ed25519" { 2 } else { 0 };
        let text = exits(&lab.certd(&["check"]), expected);
        assert_eq!(text.contains(secret), expected != 0, "{text}");
    }
    lab.replace_line("probe = ", &format!("probe = {{ port = {port} }}"));
    exits(&lab.certd(&["check"]), 4);
}
