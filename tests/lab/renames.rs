//! What changes in the configuration reaches the nodes with the next run, without a hand on a node. Renamed certificates and
//! nodes, and paths that were changed, are in `takeover/nodes.rs`.

use std::fs;

use crate::lab::printed::exits;
use crate::lab::{Lab, Options, SERVICE};

#[test]
fn a_node_that_moves_and_names_that_come_and_go_need_no_hand_on_the_node() {
    let lab = Lab::start(Options::nodes(2));
    let config = lab.write_config("");
    // DNS goes on having both.
    let text = fs::read_to_string(&config).unwrap().replace("nodes = [\"*\"]", "nodes = [\"*\"]\ninventory = false");
    let parts: Vec<&str> = text.split("[[node]]").collect();
    let [head, first, second] = parts.as_slice() else { panic!("{text}") };
    let runs = |text: String, issued: usize| {
        fs::write(&config, text).unwrap();
        let text = exits(&lab.certd(&["renew"]), 0);
        assert!(text.contains("1 of 1 serve the right certificate"), "{text}");
        assert_eq!(lab.pebble.issued(), issued, "{text}");
        // The folder of the old paths is named, until `certd node clean` has looked.
        exits(&lab.certd(&["check", "--deep"]), 0);
    };
    runs(format!("{head}[[node]]{first}"), 1);

    // Another machine takes its name over: another address, another host key, other paths.
    let moved = format!("[[node]]{}", second.replace("\"node-2\"", "\"node-1\""));
    runs(format!("{head}{moved}"), 1);
    let [old, new] = [0, 1].map(|at| lab.nodes[at].settled(SERVICE).unwrap());
    assert_eq!(old, new);

    let one = format!("domains = [{SERVICE:?}]");
    let further = format!("domains = [{SERVICE:?}, \"www.example.test\"]");
    assert!(head.contains(&one));
    runs(format!("{}{moved}", head.replace(&one, &further)), 2);
    assert_eq!(lab.nodes[1].settled(SERVICE).unwrap().names, [SERVICE, "www.example.test"]);
    runs(format!("{head}{moved}"), 3);
    assert_eq!(lab.nodes[1].settled(SERVICE).unwrap().names, [SERVICE]);
    assert_eq!(lab.nodes[0].settled(SERVICE).unwrap(), old, "the old machine is nobody's");
}
