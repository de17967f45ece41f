//! A hundred nodes, some of them dead: the healthy ones are done, the dead ones are named.

mod lab;

use lab::{Lab, Options, SERVICE};

#[test]
fn a_hundred_nodes_are_delivered_to_at_once_and_the_dead_ones_are_named() {
    let mut lab = Lab::start(Options::nodes(100));
    lab.write_config("");
    lab.node("node-7").blackhole_ssh();
    lab.node("node-77").stop_sshd();
    let output = lab.certd(&["renew"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(6), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("98 of 100 serve"), "{text}");
    for dead in ["node-7: nothing was changed", "node-77: nothing was changed"] {
        assert!(text.contains(dead), "{text}");
    }
    assert!(lab.nodes.iter().all(|node| node.pair(SERVICE).is_ok()));
}
