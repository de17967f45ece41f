//! What each command does, prints and exits with, against real peers: looking and deploying here, the rest in its folder.

mod mistakes;
mod signals;
mod streams;
mod trust;
mod whose;

use crate::lab;

use std::process::Output;

use serde_json::Value;

use lab::nginx::NginxCommand;
use lab::node::{NodeOptions, Old};
use lab::printed::{exits, stderr, stdout};
use lab::{Lab, Options, SERVICE};

#[test]
fn check_before_anything_tells_each_state_worst_first_and_makes_nothing() {
    let node = |name: &str, old| NodeOptions { old, ..NodeOptions::new(name) };
    let other = Old::OtherName("www.example.test".into());
    let nodes =
        vec![node("好", Old::Days(40)), node("过期", Old::Days(-2)), node("其他", other), node("没有", Old::Nothing)];
    let lab = started(Options { nodes, ..Options::default() });
    let output = lab.certd(&["check"]);
    exits(&output, 4);
    let text = stdout(&output);
    assert!(text.contains("stored: nothing was issued yet"), "{text}");
    assert!(
        text.ends_with("0 of 4 serve the right certificate: visitors are hurt now: 过期 expired (exit 4)\n"),
        "{text}"
    );
    let line = |node: &str| text.lines().position(|line| line.trim_start().starts_with(node)).unwrap();
    for (node, words) in
        [("过期", "  expired"), ("其他", "  wrong-name"), ("没有", "  unreachable"), ("好", "  unmanaged")]
    {
        let line = text.lines().nth(line(node)).unwrap();
        assert!(line.ends_with(words), "{words:?} in {line:?}");
        assert!(line.contains(&lab.nodes.iter().find(|n| n.name == node).unwrap().tls.to_string()), "{line}");
    }
    assert!(text.contains("  没有: connection refused\n    next: is the server up"), "{text}");
    assert!(["过期", "其他", "没有"].iter().all(|bad| line(bad) < line("好")), "{text}");
    assert!(!lab.state_dir().exists(), "looking makes nothing");
    assert!(lab.nodes.iter().all(|node| node.ssh_connections() == 0));
}

#[test]
fn check_before_anything_warns_where_all_is_valid_and_not_ours() {
    let nodes = vec![NodeOptions { old: Old::Days(40), ..NodeOptions::new("上海") }];
    let lab = started(Options { nodes, ..Options::default() });
    let output = lab.certd(&["check"]);
    exits(&output, 3);
    assert!(
        stdout(&output).contains("上海: valid, and not issued by certd\n    next: run `certd renew`"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn plan_before_anything_says_what_would_be_issued_and_for_whom() {
    let lab = started(Options::default());
    let output = lab.certd(&["plan"]);
    let expected = format!(
        "issue    {SERVICE}: the store has no certificate of this name\n         names {SERVICE}; ecdsa-p256\n         \
         then deliver to cn2-shanghai, 广州, shenzhen\n"
    );
    assert_eq!(stdout(&output), expected);
    let json = json(&lab.certd(&["plan", "--output", "json"]));
    assert_eq!(json["plan"]["steps"][0]["step"], "issue");
    assert_eq!(json["command"], "plan");
    assert!(!lab.state_dir().exists(), "planning makes nothing");
    assert_eq!(lab.proxy.script.count("*") + lab.cloudflare.script.count("*"), 0, "and asks nobody");
}

#[test]
fn check_is_a_handshake_for_each_key_algorithm_and_no_login() {
    let lab = renewed(Options::default());
    let before: Vec<_> = lab.nodes.iter().map(|node| (node.tls_connections(), node.ssh_connections())).collect();
    let output = lab.certd(&["check"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("3 of 3 serve the right certificate: all is well (exit 0)"));
    for (node, (tls, ssh)) in lab.nodes.iter().zip(before) {
        assert_eq!((node.tls_connections(), node.ssh_connections()), (tls + 2, ssh), "{}", node.name);
    }
    let json = json(&lab.certd(&["check", "--output", "json"]));
    assert_eq!((&json["schema"], &json["command"]), (&"certd.report/1".into(), &"check".into()));
    assert_eq!((&json["exit"], &json["exits"]), (&0.into(), &Value::Array(Vec::new())));
    let nodes = json["certificates"][0]["nodes"].as_array().unwrap();
    assert!(nodes.iter().all(|node| node["served"][0]["verdict"] == "ok"), "{json:#}");
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    let generation = json["certificates"][0]["current"]["generation"].as_str().unwrap();
    assert!(
        generation.ends_with(&format!("-{}", leaf.serial.trim_start_matches("00"))),
        "{generation}: {}",
        leaf.serial
    );
}

#[test]
fn deploy_with_nothing_stored_says_what_to_do_and_logs_in_nowhere() {
    let lab = started(Options::nodes(2));
    let output = lab.certd(&["deploy"]);
    exits(&output, 6);
    assert!(stdout(&output).contains("nothing is stored yet: `certd renew` issues it"), "{}", stdout(&output));
    assert!(lab.nodes.iter().all(|node| node.ssh_connections() == 0));
    assert_eq!(lab.proxy.script.count("*"), 0, "and the CA hears nothing");
}

#[test]
fn deploy_touches_only_the_nodes_that_are_named_and_then_only_those_that_lack_it() {
    let mut lab = renewed(Options::default());
    let old = lab.nodes[0].settled(SERVICE).unwrap();
    for node in ["广州", "shenzhen"] {
        lab.node(node).stop_sshd();
    }
    exits(&lab.certd(&["renew", "--force"]), 6);
    for node in ["广州", "shenzhen"] {
        lab.node(node).start_sshd();
    }
    let new = lab.node("cn2-shanghai").settled(SERVICE).unwrap();
    let touched = |lab: &Lab, node: &str| {
        let node = lab.nodes.iter().find(|n| n.name == node).unwrap();
        (node.ssh_connections(), node.tls_connections(), node.calls(NginxCommand::Reload))
    };
    let before = (touched(&lab, "广州"), touched(&lab, "cn2-shanghai"));
    let output = lab.certd(&["deploy", "--node", "shenzhen"]);
    exits(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("left out, not probed: cn2-shanghai, 广州") && text.contains("1 of 1 serve"), "{text}");
    assert_eq!((touched(&lab, "广州"), touched(&lab, "cn2-shanghai")), before);
    assert_eq!(lab.node("shenzhen").settled(SERVICE).unwrap(), new);
    assert_eq!(lab.node("广州").settled(SERVICE).unwrap(), old);

    exits(&lab.certd(&["deploy"]), 0);
    assert_eq!(lab.node("广州").settled(SERVICE).unwrap(), new);
    let logins = || lab.nodes.iter().map(lab::node::Node::ssh_connections).sum::<usize>();
    let before = logins();
    let output = lab.certd(&["deploy"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("3 of 3 serve"), "{}", stdout(&output));
    assert_eq!(logins(), before, "a fleet in sync is left alone");
    assert_eq!(lab.pebble.issued(), 2);
}

#[test]
fn the_generations_of_a_certificate_are_listed_with_what_deploy_takes() {
    let lab = started(Options::nodes(2));
    let output = lab.certd(&["generations", SERVICE]);
    assert!(exits(&output, 0).contains("nothing is stored yet"), "{}", stdout(&output));
    assert!(!lab.state_dir().exists(), "looking makes nothing");
    exits(&lab.certd(&["renew"]), 0);
    exits(&lab.certd(&["renew", "--force", "--node", "node-1"]), 0);

    let list = || -> Value {
        let output = lab.certd(&["generations", SERVICE, "--output", "json"]);
        serde_json::from_str(&exits(&output, 0)).unwrap()
    };
    let listed = list();
    let [new, old] = &listed["generations"].as_array().unwrap()[..] else { panic!("{listed:#}") };
    assert_eq!((&new["current"], &old["current"]), (&true.into(), &false.into()));
    assert_eq!((&new["delivered"][0]["node"], &old["delivered"][0]["node"]), (&"node-1".into(), &"node-2".into()));
    let takes = old["deploy"].as_str().unwrap();
    exits(&lab.certd(&["deploy", SERVICE, "--generation", takes]), 3);
    let listed = list();
    assert_eq!(listed["generations"][1]["held"], true, "{listed:#}");
    assert_eq!(listed["generations"][1]["delivered"].as_array().unwrap().len(), 2, "{listed:#}");
    let output = lab.certd(&["generations", SERVICE]);
    let text = exits(&output, 0);
    for words in ["2 generations, newest first", "(current)", "(held since ", "release it: certd deploy", " left ("] {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }

    let chain = lab.kept().join(new["generation"].as_str().unwrap()).join("fullchain.pem");
    std::fs::write(&chain, "no chain").unwrap();
    let listed = list();
    assert!(listed["generations"][0]["refused"].as_str().unwrap().contains("it is incomplete"), "{listed:#}");
    assert_eq!(listed["generations"][1]["current"], true, "{listed:#}");
}

fn started(options: Options) -> Lab {
    let lab = Lab::start(options);
    lab.write_config("");
    lab
}

fn renewed(options: Options) -> Lab {
    let lab = started(options);
    exits(&lab.certd(&["renew"]), 0);
    // Nobody meets an old worker from here on.
    lab.nodes.iter().for_each(|node| _ = node.settled(SERVICE).unwrap());
    lab
}

/// stdout is one JSON value and nothing else, and its code is the process's.
fn json(output: &Output) -> Value {
    let value: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)));
    assert_eq!(value["exit"].as_i64(), output.status.code().map(i64::from));
    value
}
