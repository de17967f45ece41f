//! An ECDSA and an RSA certificate of one name in one server block.

use crate::lab;

use std::process::Output;

use serde_json::Value;

use lab::config::ConfigText;
use lab::nginx::NginxCommand;
use lab::printed::{exits, stdout};
use lab::{Lab, Options, SERVICE};

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

const RSA: &str = "newapi.example.test-rsa2048";

/// Each node's server reads an ECDSA and an RSA pair.
fn with_both(nodes: usize, key_type: &str, rsa_days: i64) -> Lab {
    let mut lab = Lab::start(Options::nodes(nodes));
    for node in &mut lab.nodes {
        let pair = lab.old_authority.issue_rsa(&[SERVICE.to_owned()], rsa_days);
        node.add_pair(SERVICE, RSA, pair);
    }
    configure(&lab, key_type);
    lab
}

fn configure(lab: &Lab, key_type: &str) {
    let text = format!("[[certificate]]\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\nkey_type = {key_type}\n\n");
    lab.write_config_with(&ConfigText { certificates: Some(text), ..ConfigText::default() });
}

#[test]
fn both_pairs_of_one_block_are_issued_delivered_with_one_reload_and_proven_each() {
    let lab = with_both(2, "[\"ecdsa-p256\", \"rsa2048\"]", 20);
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 2);
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).unwrap(), node.pair(SERVICE).unwrap());
        assert_eq!(node.served_rsa(SERVICE).unwrap(), node.pair(RSA).unwrap());
        assert_ne!(node.pair(SERVICE).unwrap(), node.pair(RSA).unwrap());
        assert_eq!((node.ssh_connections(), node.calls(NginxCommand::Reload)), (1, 1), "one dialogue, one reload");
    }
    let report = json(&lab.certd(&["check", "--output", "json"]));
    assert_eq!(report["exit"], 0, "{report:#}");
    let kinds = [0, 1].map(|number| report["certificates"][number]["current"]["key_type"].clone());
    assert_eq!(kinds, ["ecdsa-p256", "rsa2048"]);
    // Nothing is left to do, and each is renewed by itself.
    let [ecdsa, rsa] = [SERVICE, RSA].map(|name| lab.nodes[0].pair(name).unwrap());
    exits(&lab.certd(&["renew", RSA, "--force"]), 0);
    assert_eq!(lab.pebble.issued(), 3);
    assert_eq!(lab.nodes[0].pair(SERVICE).unwrap(), ecdsa);
    assert_ne!(lab.nodes[0].served_rsa(SERVICE).unwrap(), rsa);
}

#[test]
fn two_sections_of_one_name_are_both_delivered_and_neither_goes_back_for_the_other() {
    let mut lab = Lab::start(Options::nodes(1));
    let pair = lab.old_authority.issue_rsa(&[SERVICE.to_owned()], 20);
    lab.nodes[0].add_pair(SERVICE, "rsa", pair);
    let section = |more: &str| format!("[[certificate]]\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\n{more}\n\n");
    let both = section("") + &section("name = \"rsa\"\nkey_type = \"rsa2048\"");
    lab.write_config_with(&ConfigText { certificates: Some(both), ..ConfigText::default() });
    for _ in 0..2 {
        exits(&lab.certd(&["renew"]), 0);
        assert_eq!(lab.pebble.issued(), 2);
        assert_eq!(lab.nodes[0].settled(SERVICE).unwrap(), lab.nodes[0].pair(SERVICE).unwrap());
        assert_eq!(lab.nodes[0].served_rsa(SERVICE).unwrap(), lab.nodes[0].pair("rsa").unwrap());
        assert_eq!(lab.nodes[0].calls(NginxCommand::Reload), 1);
    }
    let alike = section("") + &section("name = \"again\"\nkey_type = \"ecdsa-p384\"");
    lab.write_config_with(&ConfigText { certificates: Some(alike), ..ConfigText::default() });
    let refused = lab.certd(&["renew"]);
    exits(&refused, 2);
    assert_eq!(lab.pebble.issued(), 2, "nothing was ordered: {}", stdout(&refused));
}

#[test]
fn an_rsa_pair_that_nobody_manages_is_seen_by_a_check() {
    let lab = with_both(1, "\"ecdsa-p256\"", -2);
    exits(&lab.certd(&["renew"]), 0);
    let checked = lab.certd(&["check"]);
    exits(&checked, 3);
    let text = stdout(&checked);
    assert!(text.contains("expired, RSA"), "{text}");
    assert!(text.contains("its server has an RSA certificate too, which certd does not renew: expired on"), "{text}");
    let report = json(&lab.certd(&["check", "--output", "json"]));
    let node = &report["certificates"][0]["nodes"][0];
    assert_eq!((&node["served"][0]["verdict"], node["served"].as_array().unwrap().len()), (&"ok".into(), 1));
    let beside = &node["beside"][0];
    assert_eq!((&beside["verdict"], &beside["algorithm"]), (&"expired".into(), &"rsa".into()), "{beside:#}");
    // Taken into the configuration, it is renewed: the ECDSA certificate stays.
    configure(&lab, "[\"ecdsa-p256\", \"rsa2048\"]");
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 2);
    exits(&lab.certd(&["check"]), 0);
}
