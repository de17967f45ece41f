//! Revocation: replaced first, proven on every node, and never the wrong certificate. The binary against Pebble and nodes.

use crate::lab;

use std::fs;

use lab::config::ConfigText;
use lab::nginx::NginxCommand;
use lab::pebble::PebbleOptions;
use lab::printed::exits;
use lab::script::{Answer, Point};
use lab::{Lab, Options, SERVICE};
use serde_json::Value;

/// One node, and one certificate on it.
fn renewed(nodes: usize) -> Lab {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { pebble, ..Options::nodes(nodes) });
    lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    lab
}

/// Lowest first.
fn generations(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.state_dir().join("certs").join(SERVICE)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("20")).collect();
    names.sort();
    names
}

/// `Valid`, or `Revoked` with its reason.
fn status(lab: &Lab, generation: &str) -> (String, Value) {
    let serial = generation.split_once('-').unwrap().1;
    let answer: Value = serde_json::from_str(&lab.pebble.status(serial).body).unwrap();
    (answer["Status"].as_str().unwrap().to_owned(), answer["Reason"].clone())
}

fn is_revoked(lab: &Lab, generation: &str) -> bool {
    status(lab, generation).0 == "Revoked"
}

fn assert_nothing_begun(lab: &Lab) {
    assert!(!lab.state_dir().join("certs").join(SERVICE).join("revoke.json").exists());
}

#[test]
fn a_certificate_is_replaced_on_every_node_and_then_revoked() {
    let lab = renewed(2);
    let text = exits(&lab.certd(&["revoke", SERVICE, "--reason", "superseded"]), 0);
    let [old, new] = generations(&lab).try_into().unwrap();
    assert!(text.contains(&format!("revoked: {SERVICE} generation {old} (superseded)")), "{text}");
    assert_eq!(status(&lab, &old), ("Revoked".to_owned(), 4.into()));
    assert!(!is_revoked(&lab, &new));
    assert_eq!(lab.pebble.issued(), 2);
    let calls = lab.proxy.script.calls();
    let at = |kind: &str| calls.iter().rposition(|call| call == kind).unwrap();
    assert!(at("revoke") > at("certificate"), "{calls:?}");
    let read = |file: &str| fs::read_to_string(lab.state_dir().join(file)).unwrap();
    assert!(read("history.jsonl").contains(&format!(
        r#""event":"revoked","certificate":"{SERVICE}","generation":"{old}","reason":"superseded""#
    )));
    let state: Value = serde_json::from_str(&read("state.json")).unwrap();
    let revoked = state["tried"]["revoked"].as_object().unwrap();
    assert_eq!(revoked.values().next().unwrap()["reason"], 4);
    assert_nothing_begun(&lab);
    exits(&lab.certd(&["check"]), 0);
}

#[test]
fn a_node_that_keeps_the_old_certificate_holds_its_revocation_up_and_is_named() {
    let lab = renewed(2);
    lab.nodes[1].replace_command(NginxCommand::Test, Some("exit 1\n"));
    let text = exits(&lab.certd(&["revoke", SERVICE]), 6);
    assert!(text.contains("not proven to serve the new one: node-2") && text.contains("--now"), "{text}");
    let [old, new] = generations(&lab).try_into().unwrap();
    assert!(!is_revoked(&lab, &old) && !is_revoked(&lab, &new));

    lab.nodes[1].replace_command(NginxCommand::Test, None);
    exits(&lab.certd(&["revoke", SERVICE]), 0);
    assert!(is_revoked(&lab, &old) && !is_revoked(&lab, &new), "the one that was begun with, and no other");
    assert_eq!(lab.pebble.issued(), 2);
    assert_nothing_begun(&lab);
}

#[test]
fn now_means_before_anything_is_replaced() {
    let lab = renewed(1);
    let before = lab.proxy.script.calls().len();
    let output = lab.certd(&["revoke", SERVICE, "--now", "--reason", "key-compromise", "--output", "json"]);
    exits(&output, 0);
    let calls = lab.proxy.script.calls().split_off(before);
    let at = |kind: &str| calls.iter().position(|call| call == kind).unwrap();
    assert!(at("revoke") < at("new-order"), "{calls:?}");
    let [old, new] = generations(&lab).try_into().unwrap();
    assert_eq!(status(&lab, &old), ("Revoked".to_owned(), 1.into()));
    assert!(!is_revoked(&lab, &new));
    let reply: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&reply["schema"], &reply["revoked"], &reply["exit"]),
        (&"certd.revoke/1".into(), &true.into(), &0.into())
    );
    assert_eq!(reply["reason"], "key-compromise");
}

#[test]
fn p01_a_revocation_that_is_killed_goes_on_with_the_same_certificate() {
    for (kind, point) in [("new-order", Point::Before), ("revoke", Point::Before), ("revoke", Point::After)] {
        let lab = renewed(1);
        let held = lab.proxy.script.hold(kind, 1, point);
        let mut child = lab.spawn_certd(&["revoke", SERVICE, "--reason", "superseded"]);
        held.wait();
        child.kill().unwrap();
        child.wait().unwrap();
        held.release();
        let text = exits(&lab.certd(&["revoke", SERVICE]), 0);
        let [old, new] = generations(&lab).try_into().unwrap();
        assert!(text.contains("(superseded)"), "{text}");
        assert!(is_revoked(&lab, &old) && !is_revoked(&lab, &new), "killed at {kind}");
        assert_eq!(lab.pebble.issued(), 2);
        assert_nothing_begun(&lab);
    }
}

#[test]
fn an_older_certificate_is_revoked_without_another_being_issued() {
    let lab = renewed(1);
    exits(&lab.certd(&["renew", "--force"]), 0);
    let [old, new] = generations(&lab).try_into().unwrap();
    exits(&lab.certd(&["revoke", SERVICE, "--generation", &old]), 0);
    assert!(is_revoked(&lab, &old) && !is_revoked(&lab, &new));
    // Once more: it is revoked already.
    exits(&lab.certd(&["revoke", SERVICE, "--generation", &old]), 0);
    assert_eq!(lab.pebble.issued(), 2);
}

#[test]
fn a_compromised_key_that_a_younger_certificate_has_too_is_replaced_there() {
    let lab = renewed(1);
    let certificate =
        format!("[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\nreuse_key = true\n\n");
    lab.write_config_with(&ConfigText { certificates: Some(certificate), ..ConfigText::default() });
    let key = |generation: &str| {
        let folder = lab.state_dir().join("certs").join(SERVICE).join(generation);
        fs::read_to_string(folder.join("privkey.pem")).unwrap()
    };
    exits(&lab.certd(&["revoke", SERVICE, "--reason", "superseded"]), 0);
    let [old, second] = generations(&lab).try_into().unwrap();
    assert!(key(&old) == key(&second), "the key is used again");

    exits(&lab.certd(&["revoke", SERVICE, "--generation", &old, "--reason", "key-compromise"]), 0);
    let [_, _, third] = generations(&lab).try_into().unwrap();
    assert!(key(&third) != key(&old), "nobody knows this one");
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.nodes[0].settled(SERVICE).unwrap(), leaf);
    assert_eq!(lab.pebble.issued(), 3);
}

#[test]
fn a23_without_the_account_a_compromised_key_revokes_its_own_certificate() {
    let lab = renewed(1);
    exits(&lab.certd(&["renew", "--force"]), 0);
    exits(&lab.certd(&["renew", "--force"]), 0);
    let [first, second, _] = generations(&lab).try_into().unwrap();
    // Pebble lets a deactivated account revoke; RFC 8555 section 7.3.6 has it refused.
    let dead = r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"account is deactivated"}"#;
    lab.proxy.script.fail("revoke", 2, &Answer::new(401, dead));
    let text = exits(&lab.certd(&["revoke", SERVICE, "--generation", &first]), 5);
    assert!(text.contains("deactivated"), "{text}");
    assert!(!is_revoked(&lab, &first));
    exits(&lab.certd(&["revoke", SERVICE, "--generation", &first, "--reason", "key-compromise"]), 0);
    fs::rename(lab.state_dir().join("accounts"), lab.state_dir().join("accounts.lost")).unwrap();
    let text = exits(&lab.certd(&["revoke", SERVICE, "--generation", &second]), 5);
    assert!(text.contains("--reason key-compromise"), "{text}");
    exits(&lab.certd(&["revoke", SERVICE, "--generation", &second, "--reason", "key-compromise"]), 0);
    assert!(is_revoked(&lab, &first) && is_revoked(&lab, &second));
    assert!(!lab.state_dir().join("accounts").exists(), "no account is made in silence");
}

#[test]
fn what_cannot_be_revoked_is_told_before_anything_is_done() {
    let lab = renewed(1);
    exits(&lab.certd(&["revoke", "elsewhere.example"]), 2);
    exits(&lab.certd(&["revoke", SERVICE, "--reason", "hold"]), 2);
    exits(&lab.certd(&["revoke", SERVICE, "--generation", "latest"]), 2);
    let text = exits(&lab.certd(&["revoke", SERVICE, "--generation", "20200101000000-ab"]), 2);
    assert!(text.contains("as generation 20200101000000-ab") && text.contains("certd generations"), "{text}");
    let meta = lab.state_dir().join("certs").join(SERVICE).join("current/meta.json");
    let mut json: Value = serde_json::from_str(&fs::read_to_string(&meta).unwrap()).unwrap();
    json["ca"] = "gone.example".into();
    fs::write(&meta, json.to_string()).unwrap();
    let text = exits(&lab.certd(&["revoke", SERVICE]), 5);
    assert!(text.contains("gone.example") && text.contains("put the CA back into the configuration"), "{text}");
    assert_nothing_begun(&lab);
    assert_eq!((generations(&lab).len(), lab.proxy.script.count("revoke")), (1, 0));
}
