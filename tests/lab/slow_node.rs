//! A node on a very slow line: it is waited for, and nobody else waits for it.

use crate::lab;
use crate::lab::throttle;

use std::fs;
use std::time::Duration;

use lab::process::wait_until;
use lab::{Lab, Options, SERVICE, free_ports};
use throttle::{Then, Throttle};

#[test]
fn s09_a_node_at_a_kilobyte_a_second_delays_no_other_node_and_gets_its_certificate_in_the_end() {
    let mut lab = Lab::start(Options::nodes(4));
    lab.write_config("");
    let [relayed] = free_ports(lab.node("node-3").ssh.ip());
    let (slow, before) = (lab.node("node-3").ssh, lab.node("node-3").pair(SERVICE));
    let relay = Throttle::start(relayed, slow, 0, Then::Drip(Duration::from_millis(1)));
    let text = fs::read_to_string(lab.config_path()).expect("it was written");
    let ssh = |port: u16| format!("ssh = {{ port = {port} }}");
    let (port, other) = (ssh(slow.port()), ssh(relayed.port()));
    assert!(text.contains(&port), "{text}");
    fs::write(lab.config_path(), text.replace(&port, &other)).expect("the lab's folder is ours");

    let old: Vec<_> = lab.nodes.iter().map(|node| node.pair(SERVICE)).collect();
    let mut pass = lab.spawn_certd(&["renew"]);
    let done = wait_until(|| {
        let mut others = lab.nodes.iter().zip(&old).filter(|(node, _)| node.name != "node-3");
        others.all(|(node, old)| {
            let served = node.served(SERVICE);
            served.is_ok() && served != *old && node.pair(SERVICE) == served
        })
    });
    if !done {
        pass.kill().expect("it runs or has ended");
        panic!("the others wait: {:?}", pass.wait_with_output());
    }
    assert!(relay.heard() > 0, "the slow one is being talked to");
    assert_eq!(lab.node("node-3").pair(SERVICE), before, "the slow one is not there yet");
    relay.lift();
    assert!(pass.wait().expect("it runs").success());
    assert_eq!(lab.node("node-3").pair(SERVICE), lab.node("node-1").pair(SERVICE));
}
