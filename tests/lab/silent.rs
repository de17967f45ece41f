//! What a pass asks beside its work holds nothing up: nodes get what is stored even if a CA or an API does not answer.

use crate::lab;

use std::fs;

use lab::printed::exits;
use lab::process::wait_until;
use lab::script::Point;
use lab::{Lab, Options, SERVICE};

#[test]
fn a_ca_and_an_api_that_accept_and_say_nothing_keep_no_node_from_what_is_stored() {
    let mut lab = Lab::start(Options::nodes(2));
    lab.write_config("");
    lab.nodes[1].stop_sshd();
    exits(&lab.certd(&["renew"]), 6);
    lab.nodes[1].start_sshd();
    let state = lab.state_dir().join("state.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    json["tried"]["ari"] = serde_json::json!({});
    fs::write(&state, json.to_string()).unwrap();
    fs::remove_file(lab.state_dir().join("dns.json")).unwrap();

    let window = lab.proxy.script.hold("renewal-info", 1, Point::Before);
    let token = lab.cloudflare.script.hold("verify", 1, Point::Before);
    let child = lab.spawn_certd(&["renew"]);
    window.wait();
    token.wait();
    let stored = lab.nodes[0].settled(SERVICE).unwrap();
    let served = || lab.nodes[1].served(SERVICE).is_ok_and(|leaf| leaf == stored);
    assert!(wait_until(served), "the node still waits");
    let output = child.wait_with_output().unwrap();
    assert!(exits(&output, 0).contains("no renewal information within"), "the CA is named");
    window.release();
    token.release();
}
