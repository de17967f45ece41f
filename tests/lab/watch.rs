//! Endpoints that others keep are looked at in every check, plan and renewal, shown in the same report, and never touched.

use crate::lab;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use serde_json::Value;

use certd::context::clock;

use lab::config::ConfigText;
use lab::node::{NodeOptions, Old};
use lab::printed::{exits, stdout};
use lab::{Lab, Options, SERVICE};

/// One node of ours, and servers of other people, which certd is configured to watch only.
fn bench(theirs: &[(&str, Old)]) -> Lab {
    let other = |(name, old): &(&str, Old)| NodeOptions { old: old.clone(), ..NodeOptions::new(name) };
    let nodes = [NodeOptions::new("ours")].into_iter().chain(theirs.iter().map(other)).collect();
    let lab = Lab::start(Options { nodes, ..Options::default() });
    fs::write(lab.folder.join("their-root.pem"), lab.old_authority.pem()).expect("the lab's folder is ours");
    lab
}

impl Lab {
    fn watching(&self, watches: &[String]) {
        let certificates =
            format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\nnodes = [\"ours\"]\ninventory = false\n\n");
        let text = ConfigText { certificates: Some(certificates), end: watches.concat(), ..ConfigText::default() };
        self.write_config_with(&text);
    }

    fn tls(&self, name: &str) -> SocketAddr {
        self.nodes.iter().find(|node| node.name == name).expect("a node of the lab").tls
    }

    fn trusting(&self) -> String {
        format!("ca_file = {:?}\n", self.folder.join("their-root.pem").display().to_string())
    }
}

fn watch(name: &str, at: SocketAddr, more: &str) -> String {
    let sni = if more.contains("sni") { String::new() } else { format!("sni = \"{SERVICE}\"\n") };
    format!("[[watch]]\nname = \"{name}\"\naddress = \"{}\"\nport = {}\n{sni}{more}\n", at.ip(), at.port())
}

#[test]
fn every_state_of_a_watched_endpoint_is_told_with_its_code_and_keeps_nothing_of_ours_from_being_renewed() {
    let lab =
        bench(&[("well", Old::Days(40)), ("late", Old::Days(10)), ("ended", Old::Days(-3)), ("down", Old::Nothing)]);
    let trusting = lab.trusting();
    lab.watching(&[
        watch("well", lab.tls("well"), &trusting),
        watch("late", lab.tls("late"), &trusting),
        watch("ended", lab.tls("ended"), &trusting),
        watch("down", lab.tls("down"), &trusting),
        watch("of nobody we know", lab.tls("well"), ""),
        watch("elsewhere", lab.tls("well"), &format!("sni = \"www.example.test\"\n{trusting}")),
    ]);
    let output = lab.certd(&["renew", "--output", "json"]);
    exits(&output, 4);
    let report = json(&output);
    assert_eq!(report["exits"], serde_json::json!([4, 3]));
    assert_eq!(report["certificates"][0]["nodes"][0]["served"][0]["verdict"], "ok", "ours is renewed all the same");
    let verdict = |name: &str| {
        let all = report["watched"].as_array().unwrap();
        let one = all.iter().find(|watched| watched["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
        one["served"][0]["verdict"].as_str().unwrap().to_owned()
    };
    assert_eq!(verdict("well"), "ok");
    assert_eq!(verdict("late"), "overdue");
    assert_eq!(verdict("ended"), "expired");
    assert!(["unreachable", "no-tls"].contains(&verdict("down").as_str()), "{}", verdict("down"));
    assert_eq!(verdict("of nobody we know"), "untrusted", "issuer_root_file is for ours alone");
    assert_eq!(verdict("elsewhere"), "wrong-name");
    assert_eq!(report["watched"][5]["name"], "well", "the worst come first");
    for node in lab.nodes.iter().skip(1) {
        assert_eq!(node.ssh_connections(), 0, "nobody logs in at {}", node.name);
    }

    for command in [&["check"][..], &["plan"], &["renew"], &["renew", "--dry-run"]] {
        let output = lab.certd(command);
        exits(&output, 4);
        let text = stdout(&output);
        assert!(text.contains("ended") && text.contains("renew it where it is issued"), "{command:?}: {text}");
    }
    assert!(!stdout(&lab.certd(&["plan"])).contains("well"), "a plan tells what is not well");
}

#[test]
fn a_command_that_names_certificates_leaves_watched_endpoints_out_and_check_can_name_them() {
    let lab = bench(&[("ended", Old::Days(-3))]);
    lab.watching(&[watch("backend", lab.tls("ended"), &lab.trusting())]);
    exits(&lab.certd(&["renew", SERVICE]), 0);
    exits(&lab.certd(&["deploy", SERVICE]), 0);
    exits(&lab.certd(&["deploy", "--node", "ours"]), 0);
    let output = lab.certd(&["check", SERVICE]);
    exits(&output, 0);
    assert!(!stdout(&output).contains("backend"));
    let output = lab.certd(&["check", "backend"]);
    exits(&output, 4);
    let text = stdout(&output);
    assert!(text.contains("0 of 1 watched are well") && !text.contains(SERVICE), "{text}");
    exits(&lab.certd(&["check", "backend", SERVICE]), 4);
    let output = lab.certd(&["check", "frontend"]);
    exits(&output, 2);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains(&format!("the configuration has {SERVICE}, backend")), "{text}");
}

#[test]
#[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
fn an_endpoint_that_takes_the_connection_and_never_answers_costs_a_look_its_deadline_and_no_more() {
    let lab = bench(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    lab.watching(&[watch("silent", silent.local_addr().unwrap(), "")]);
    exits(&lab.certd(&["renew", SERVICE]), 0);
    let begun = Instant::now();
    let output = lab.certd(&["check"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    exits(&output, 4);
    let text = stdout(&output);
    assert!(text.contains("1 of 1 serve the right certificate, 0 of 1 watched are well"), "{text}");
    assert!(text.contains("  unreachable\n"), "{text}");
    assert!(text.contains(&format!("silent {}: no answer", silent.local_addr().unwrap())), "{text}");
}

#[test]
fn a_root_file_that_is_missing_is_a_warning_and_keeps_nothing_from_being_renewed() {
    let lab = bench(&[("well", Old::Days(40))]);
    lab.watching(&[watch("backend", lab.tls("well"), "ca_file = \"/nonexistent/root.pem\"\n")]);
    let output = lab.certd(&["renew"]);
    exits(&output, 3);
    let text = stdout(&output);
    assert!(text.contains("1 of 1 watched are well"), "its dates and names are judged: {text}");
    assert!(
        text.contains("/nonexistent/root.pem: ") && text.contains("the chain of backend is not verified"),
        "{text}"
    );
    exits(&lab.certd(&["check"]), 3);
}

#[test]
fn k03_by_a_clock_that_cannot_be_right_no_watched_endpoint_is_called_expired() {
    let lab = bench(&[("ended", Old::Days(-3))]);
    lab.watching(&[watch("backend", lab.tls("ended"), &lab.trusting())]);
    exits(&lab.certd(&["renew", SERVICE]), 0);
    let path = lab.state_dir().join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let later = clock::now() + SignedDuration::from_hours(10 * 365 * 24);
    state["tried"]["last_seen"] = later.to_string().into();
    fs::write(path, state.to_string()).unwrap();
    let output = lab.certd(&["check", "--output", "json"]);
    exits(&output, 3);
    assert_eq!(json(&output)["watched"][0]["served"][0]["verdict"], "clock-doubtful");
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}
