//! SIGTERM in the middle of a renewal: nothing new is begun, what is committed is finished, and the next run converges.

use std::process::{Child, Output};
use std::sync::mpsc;
use std::time::Duration;

use super::lab::config::ConfigText;
use super::lab::nginx::NginxCommand;
use super::lab::process::signal;
use super::lab::script::Point;
use super::lab::{Lab, Options, SERVICE};
use super::{exits, started, stderr, stdout};

/// systemd gives a service 90 s; a person gives it less.
const SOON: Duration = Duration::from_secs(10);

#[track_caller]
fn ends_soon(child: Child) -> Output {
    let (tell, reply) = mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    reply.recv_timeout(SOON).expect("it ends soon after the signal").unwrap()
}

fn txt(lab: &Lab) -> usize {
    lab.cloudflare.records().iter().filter(|record| record.kind == "TXT").count()
}

#[track_caller]
fn converges(lab: &Lab) {
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 1, "one renewal is one certificate");
    assert_eq!(txt(lab), 0);
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).unwrap(), leaf, "{}", node.name);
    }
}

#[test]
fn p03_interrupted_while_issuing_it_ends_soon_says_so_and_leaves_no_record() {
    for (name, kind) in [("TERM", "challenge"), ("INT", "finalize")] {
        let lab = started(Options::nodes(2));
        let held = lab.proxy.script.hold(kind, 1, Point::Before);
        let child = lab.spawn_certd(&["renew"]);
        held.wait();
        assert_eq!(txt(&lab), 1, "the record is there when the CA is asked to look");
        signal(name, &[child.id()]);
        let output = ends_soon(child);
        exits(&output, 5);
        assert!(stdout(&output).contains("interrupted"), "{}", stdout(&output));
        assert!(stdout(&output).contains("run the command again"), "{}", stdout(&output));
        assert!(stderr(&output).contains("stopping"), "{}", stderr(&output));
        assert_eq!(txt(&lab), 0, "its TXT record is removed");
        held.release();
        converges(&lab);
    }
}

#[test]
fn p03_interrupted_while_the_canary_reloads_it_finishes_that_and_begins_no_other() {
    let lab = Lab::start(Options::nodes(2));
    let certificate = format!(
        "[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\ncanary = \"node-1\"\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificate), ..ConfigText::default() });
    let other = lab.nodes[1].pair(SERVICE).unwrap();
    let held = lab.nodes[0].hold_command(NginxCommand::Reload);
    let child = lab.spawn_certd(&["renew"]);
    held.wait();
    signal("TERM", &[child.id()]);
    held.release();
    let output = ends_soon(child);
    exits(&output, 6);
    let text = stdout(&output);
    assert!(text.contains("node-1: delivered, reloaded and proven by handshake"), "{text}");
    assert!(text.contains("node-2: not touched: interrupted"), "{text}");
    assert_eq!(lab.nodes[1].pair(SERVICE).unwrap(), other);
    converges(&lab);
}
