//! The main job against real peers: issue, push, test, reload, verify, report.
//!
//! One file of over 400 lines: each test is a scene of the same command, and they share the same few openings.

use crate::lab;

use std::process::Command;

use lab::config::ConfigText;
use lab::nginx::NginxCommand;
use lab::node::{NodeOptions, Old};
use lab::printed::{exits, stdout};
use lab::script::{Answer, Point};
use lab::{Lab, Options, SERVICE, Service};

const CHALLENGE: &str = "_acme-challenge.newapi.example.test";

#[test]
fn one_command_issues_delivers_reloads_and_proves_on_every_node() {
    let lab = started(Options::default());
    let foreign = lab.cloudflare.add_txt(CHALLENGE, "somebody-elses", None);
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).unwrap(), leaf, "{} serves it", node.name);
        assert_eq!(node.pair(SERVICE).unwrap(), leaf, "{} has a matching pair", node.name);
        assert_eq!(node.ssh_connections(), 1, "one SSH connection to {}", node.name);
    }
    assert_eq!(lab.pebble.issued(), 1);
    let left: Vec<String> = lab.cloudflare.records().into_iter().filter(|r| r.kind == "TXT").map(|r| r.id).collect();
    assert_eq!(left, [foreign], "its own TXT record is removed and nobody else's");
}

#[test]
fn a_second_renewal_does_nothing_and_says_why() {
    let lab = renewed();
    let (calls, reloads) = (lab.proxy.script.count("new-order"), lab.nodes[0].calls(NginxCommand::Reload));
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("nothing to issue: not due until"), "{}", stdout(&output));
    assert_eq!(lab.proxy.script.count("new-order"), calls);
    assert_eq!(lab.nodes[0].calls(NginxCommand::Reload), reloads, "no reload without a change");
    assert_eq!(lab.nodes[0].ssh_connections(), 1, "and no login");
}

#[test]
fn several_names_and_a_wildcard_are_one_certificate() {
    let services = vec![Service::new(&["example.test", "*.example.test", "newapi.other.test"])];
    let zones = vec!["example.test".into(), "other.test".into()];
    let lab = Lab::start(Options { services, zones, ..Options::nodes(1) });
    lab.write_config("");
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    let mut names = lab.nodes[0].settled("example.test").unwrap().names;
    names.sort();
    assert_eq!(names, ["*.example.test", "example.test", "newapi.other.test"]);
    assert!(lab.cloudflare.records().iter().all(|record| record.kind != "TXT"));
}

#[test]
fn two_certificates_for_one_node_travel_in_one_dialogue() {
    let services = vec![Service::new(&["one.example.test"]), Service::new(&["two.example.test"])];
    let lab = started(Options { services, ..Options::nodes(2) });
    exits(&lab.certd(&["renew"]), 0);
    for node in &lab.nodes {
        let (one, two) = (node.pair("one.example.test").unwrap(), node.pair("two.example.test").unwrap());
        assert_ne!(one, two);
        assert_eq!(node.settled("one.example.test").unwrap(), one);
        assert_eq!(node.settled("two.example.test").unwrap(), two);
        assert_eq!(node.ssh_connections(), 1);
        assert_eq!(node.calls(NginxCommand::Reload), 1, "one reload for both");
    }
}

#[test]
fn a_new_node_without_files_gets_them_and_is_not_started() {
    let mut fresh = NodeOptions::new("fresh");
    fresh.old = Old::Nothing;
    let mut lab = started(Options { nodes: vec![fresh, NodeOptions::new("running")], ..Options::default() });
    let output = lab.certd(&["renew"]);
    exits(&output, 4);
    assert!(stdout(&output).contains("the server does not run"), "{}", stdout(&output));
    lab.node("fresh").pair(SERVICE).unwrap();
    lab.node("running").settled(SERVICE).unwrap();
    lab.node("fresh").start_nginx();
    exits(&lab.certd(&["check"]), 0);
}

#[test]
fn s01_a_node_that_is_down_costs_the_others_nothing_and_is_brought_back_without_a_new_certificate() {
    let mut lab = renewed();
    lab.node("shenzhen").stop_sshd();
    let handshakes = lab.node("shenzhen").tls_connections();
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 6);
    assert_eq!(lab.node("shenzhen").tls_connections(), handshakes + 1, "observed by one handshake");
    assert!(stdout(&output).contains("shenzhen"), "{}", stdout(&output));
    let new = lab.node("广州").settled(SERVICE).unwrap();
    assert_eq!(lab.node("cn2-shanghai").settled(SERVICE).unwrap(), new);
    assert_ne!(lab.node("shenzhen").settled(SERVICE).unwrap(), new);
    lab.node("shenzhen").start_sshd();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.node("shenzhen").settled(SERVICE).unwrap(), new);
    assert_eq!(lab.pebble.issued(), 2);
}

#[test]
fn n01_a_node_whose_configuration_is_broken_is_named_and_left_as_it_was() {
    let mut lab = renewed();
    let before = lab.node("广州").settled(SERVICE).unwrap();
    lab.node("广州").break_nginx_config();
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 6);
    assert!(stdout(&output).contains("广州: unchanged"), "{}", stdout(&output));
    assert_eq!(lab.node("广州").settled(SERVICE).unwrap(), before);
    assert_eq!(lab.node("广州").pair(SERVICE).unwrap(), before);
    assert_ne!(lab.node("shenzhen").settled(SERVICE).unwrap(), before);
    lab.node("广州").mend_nginx_config();
    exits(&lab.certd(&["renew"]), 0);
}

#[test]
fn n02_a_node_that_refuses_only_our_certificate_goes_back_and_no_other_gets_it() {
    let mut lab = renewed();
    let before = lab.node("shenzhen").settled(SERVICE).unwrap();
    for node in &lab.nodes {
        // Passes with the serial that is there now, fails with any other.
        let script = format!(
            "openssl x509 -noout -serial -in '{}' | grep -qi '{}' || {{ echo 'refused by the test' >&2; exit 1; }}\nexec \"$@\"\n",
            node.fullchain(SERVICE).display(),
            before.serial
        );
        node.replace_command(NginxCommand::Test, Some(&script));
    }
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 6);
    let text = stdout(&output);
    assert!(text.contains("refused by the test"), "{text}");
    assert!(text.contains("not touched, since"), "{text}");
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).unwrap(), before, "{}", node.name);
        assert_eq!(node.pair(SERVICE).unwrap(), before, "{}", node.name);
    }
    lab.nodes.iter().for_each(|node| node.replace_command(NginxCommand::Test, None));
    exits(&lab.certd(&["deploy"]), 0);
    assert_eq!(lab.pebble.issued(), 2, "no third certificate for that");
    assert_ne!(lab.node("shenzhen").settled(SERVICE).unwrap(), before);
}

#[test]
fn the_configured_canary_is_first_however_few_sessions_there_are() {
    let lab = Lab::start(Options::default());
    let certificate = format!(
        "[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\ncanary = \"shenzhen\"\n\n"
    );
    let top = "sessions = 1".into();
    lab.write_config_with(&ConfigText { top, certificates: Some(certificate), ..ConfigText::default() });
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    let reply = String::from_utf8_lossy(&output.stderr).into_owned();
    let served: Vec<&str> = reply.lines().filter_map(|line| line.strip_suffix(": served")).collect();
    assert_eq!((served.len(), served[0]), (lab.nodes.len(), "shenzhen"), "{reply}");
}

#[test]
fn n03_a_reload_that_does_nothing_is_no_success() {
    let mut lab = started(Options::nodes(2));
    exits(&lab.certd(&["renew"]), 0);
    let before = lab.node("node-1").settled(SERVICE).unwrap();
    lab.node("node-1").replace_command(NginxCommand::Reload, Some("exit 0\n"));
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 6);
    assert!(stdout(&output).contains("still serves"), "{}", stdout(&output));
    assert_eq!(lab.node("node-1").settled(SERVICE).unwrap(), before);
    assert_eq!(lab.node("node-1").pair(SERVICE).unwrap(), before, "what is on the disk is what is served");
    assert_ne!(lab.node("node-2").settled(SERVICE).unwrap(), before, "the other node has it");
}

#[test]
fn n08_a_node_with_mismatched_files_is_repaired() {
    let lab = started(Options::nodes(2));
    let node = &lab.nodes[0];
    std::fs::write(node.fullchain(SERVICE), lab.old_authority.issue(&[SERVICE.into()], 30).0).unwrap();
    node.pair(SERVICE).unwrap_err();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(node.pair(SERVICE).unwrap(), node.settled(SERVICE).unwrap());
}

#[test]
fn s03_a_changed_host_key_fails_that_node_alone() {
    let mut lab = renewed();
    lab.node("广州").change_host_key();
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 6);
    let text = stdout(&output);
    assert!(text.contains("host key") && text.contains("certd trust"), "{text}");
    assert!(text.contains("2 of 3 serve"), "{text}");
}

#[test]
fn s11_a_full_disk_on_a_node_changes_nothing_there() {
    let mut lab = renewed();
    let before = lab.node("广州").settled(SERVICE).unwrap();
    lab.node("广州").fill_disk();
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 6);
    assert!(stdout(&output).to_lowercase().contains("space"), "{}", stdout(&output));
    assert_eq!(lab.node("广州").pair(SERVICE).unwrap(), before);
    lab.node("广州").free_disk();
    exits(&lab.certd(&["renew"]), 0);
}

#[test]
fn a_wrong_token_says_so_and_costs_no_order() {
    let lab = started(Options::nodes(1));
    lab.cloudflare.with(|account| account.token = "another".into());
    let output = lab.certd(&["renew"]);
    exits(&output, 5);
    assert!(stdout(&output).contains("token"), "{}", stdout(&output));
    assert_eq!(lab.proxy.script.count("new-order"), 0);
}

#[test]
fn a02_a_rate_limit_is_kept_across_runs_and_force_obeys_it() {
    let lab = started(Options::nodes(1));
    let body = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many","status":429}"#;
    let limited =
        Answer::new(429, body).header("retry-after", "3600").header("content-type", "application/problem+json");
    lab.proxy.script.fail("new-order", 1, &limited);
    exits(&lab.certd(&["renew"]), 5);
    let orders = lab.proxy.script.count("new-order");
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 5);
    assert_eq!(lab.proxy.script.count("new-order"), orders, "the CA is not asked again");
    assert!(stdout(&output).contains("none before") || stdout(&output).contains("next try"), "{}", stdout(&output));
}

#[test]
fn the_ledger_stops_the_fourth_forced_certificate_of_a_week() {
    let lab = renewed_with(1);
    for _ in 0..2 {
        exits(&lab.certd(&["renew", "--force"]), 0);
    }
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 5);
    assert!(stdout(&output).contains("the ledger is full"), "{}", stdout(&output));
    assert_eq!(lab.pebble.issued(), 3);
}

#[test]
fn a_window_in_the_past_renews_now() {
    let lab = renewed_with(1);
    let pem = std::fs::read_to_string(lab.state_dir().join("certs").join(SERVICE).join("current/cert.pem")).unwrap();
    let window = r#"{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"},"explanationURL":"https://example.test/why"}"#;
    lab.pebble.set_renewal_info(&pem, window);
    // What was cached is older than a day, as it is for the timer.
    let state = lab.state_dir().join("state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    forget_ari(&mut json);
    std::fs::write(&state, json.to_string()).unwrap();
    let output = lab.certd(&["plan"]);
    assert!(stdout(&output).contains("not due"), "plan uses what is cached: {}", stdout(&output));
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 2);
}

fn forget_ari(json: &mut serde_json::Value) {
    match json {
        serde_json::Value::Object(map) => {
            map.remove("ari");
            map.values_mut().for_each(forget_ari);
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(forget_ari),
        _ => {}
    }
}

#[test]
fn a_rehearsal_orders_nothing_and_changes_nothing() {
    let lab = started(Options::default());
    let before: Vec<_> = lab.nodes.iter().map(|node| node.pair(SERVICE).unwrap()).collect();
    let output = lab.certd(&["renew", "--dry-run"]);
    assert!(stdout(&output).contains("a TXT record was created, seen and removed"), "{}", stdout(&output));
    assert_eq!(lab.proxy.script.count("new-order"), 0);
    assert!(lab.cloudflare.records().iter().all(|record| record.kind != "TXT"));
    for (node, before) in lab.nodes.iter().zip(before) {
        assert_eq!(node.pair(SERVICE).unwrap(), before);
        assert_eq!(node.calls(NginxCommand::Reload), 0);
        let left = Command::new("find").arg(node.folder.join("conf/ssl")).args(["-name", "*.new"]).output().unwrap();
        assert!(left.stdout.is_empty(), "{}", String::from_utf8_lossy(&left.stdout));
    }
}

#[test]
fn p04_a_second_certd_that_may_not_wait_says_that_the_lock_is_held() {
    let lab = started(Options::nodes(1));
    let held = lab.proxy.script.hold("new-order", 1, Point::Before);
    let mut first = lab.spawn_certd(&["renew"]);
    held.wait();
    let output = lab.certd(&["renew", "--wait", "0s"]);
    exits(&output, 7);
    exits(&lab.certd(&["check"]), 3);
    held.release();
    assert!(first.wait().unwrap().success());
}

#[test]
fn c04_c05_an_api_that_fails_costs_no_order() {
    let lab = started(Options::nodes(1));
    lab.cloudflare.script.fail("zones", 20, &Answer::new(502, "<html>bad gateway</html>"));
    exits(&lab.certd(&["renew"]), 5);
    assert_eq!(lab.proxy.script.count("new-order"), 0);
}

#[test]
fn c17_a_txt_record_that_cannot_be_removed_is_a_warning_and_the_next_run_removes_it() {
    let lab = started(Options::nodes(1));
    lab.cloudflare.script.fail("delete", 6, &Answer::new(500, "<html>"));
    let output = lab.certd(&["renew"]);
    exits(&output, 3);
    assert!(stdout(&output).contains(CHALLENGE), "{}", stdout(&output));
    exits(&lab.certd(&["renew"]), 0);
    assert!(lab.cloudflare.records().iter().all(|record| record.kind != "TXT"));
}

#[test]
fn a_canary_that_comes_after_more_nodes_than_sessions_is_still_the_first() {
    let lab = Lab::start(Options::nodes(3));
    let certificate = format!(
        "[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\ncanary = \"node-2\"\n\n"
    );
    let (top, certificates) = ("sessions = 1\n".to_owned(), Some(certificate));
    lab.write_config_with(&ConfigText { top, certificates, ..Default::default() });
    let mut child = lab.spawn_certd(&["renew"]);
    let ended = lab::process::wait_until(|| child.try_wait().unwrap().is_some());
    assert!(ended, "the canary waits for a session that waits for the canary");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn i03_a_node_that_serves_the_leaf_without_its_chain_is_no_success() {
    let lab = started(Options::nodes(1));
    exits(&lab.certd(&["renew"]), 0);
    let node = &lab.nodes[0];
    // The server's own configuration names a copy of the leaf alone.
    let conf = node.folder.join("conf/nginx.conf");
    let leaf = node.folder.join("leaf.pem");
    let cut = format!("openssl x509 -in '{}' -out '{}'\n", node.fullchain(SERVICE).display(), leaf.display());
    let text = std::fs::read_to_string(&conf).unwrap();
    let changed = text.replace(&node.fullchain(SERVICE).display().to_string(), &leaf.display().to_string());
    assert_ne!(text, changed);
    std::fs::write(&conf, changed).unwrap();
    node.replace_command(NginxCommand::Test, Some(&format!("{cut}exec \"$@\"\n")));
    assert!(Command::new("sh").args(["-c", &cut]).status().unwrap().success());
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 4);
    assert!(stdout(&output).contains("intermediate"), "{}", stdout(&output));
    let reloads = node.calls(NginxCommand::Reload);
    exits(&lab.certd(&["renew"]), 4);
    assert_eq!(node.calls(NginxCommand::Reload), reloads, "a node that went back is left alone for a while");
}

#[test]
fn i04_a_history_that_cannot_be_written_keeps_no_node_from_its_certificate_and_nobody_from_the_report() {
    let lab = renewed_with(1);
    let before = lab.nodes[0].settled(SERVICE).unwrap();
    let history = lab.state_dir().join("history.jsonl");
    std::fs::remove_file(&history).unwrap();
    std::fs::create_dir(&history).unwrap();
    let output = lab.certd(&["renew", "--force"]);
    exits(&output, 1);
    let text = stdout(&output);
    assert!(text.contains("issued: generation") && text.contains("proven by handshake"), "{text}");
    assert_eq!(text.matches("cannot write").count(), 1, "{text}");
    assert_ne!(lab.nodes[0].settled(SERVICE).unwrap(), before);
}

fn started(options: Options) -> Lab {
    let lab = Lab::start(options);
    lab.write_config("");
    lab
}

fn renewed() -> Lab {
    let lab = started(Options::default());
    exits(&lab.certd(&["renew"]), 0);
    lab
}

fn renewed_with(nodes: usize) -> Lab {
    let lab = started(Options::nodes(nodes));
    exits(&lab.certd(&["renew"]), 0);
    lab
}
