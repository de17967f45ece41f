//! P01: SIGKILL at a step of `renew`, then run it again. Each time: every node serves the new certificate, one certificate
//! was issued in all, no node ever had a torn pair, and no TXT record is left.
//!
//! Nothing is left to chance: a proxy, the API's double or a node's own command holds the step, and says that it does.

use crate::lab;

use std::sync::atomic::{AtomicBool, Ordering};

use lab::config::ConfigText;
use lab::nginx::NginxCommand;
use lab::script::{Answer, Point};
use lab::{Lab, Options, SERVICE};

/// Where certd is when it is killed.
enum Step {
    Ca(&'static str, Point),
    Api(&'static str, Point),
    /// A command on the canary.
    Node(NginxCommand),
}

fn killed_at(step: &Step) {
    killed_and(step, |_| ());
}

/// Killed at a step; `then` happens before it runs again.
fn killed_and(step: &Step, then: impl FnOnce(&Lab)) {
    let mut lab = Lab::start(Options::nodes(3));
    let certificate = format!(
        "[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\ncanary = \"node-1\"\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificate), ..ConfigText::default() });
    let foreign = [("somebody-elses", None), ("another-controllers", Some("certd 01234567"))]
        .map(|(value, comment)| lab.cloudflare.add_txt("_acme-challenge.newapi.example.test", value, comment));
    match step {
        Step::Ca(kind, point) => {
            let held = lab.proxy.script.hold(kind, 1, *point);
            kill_when(&lab, || held.wait());
            held.release();
        }
        Step::Api(kind, point) => {
            let held = lab.cloudflare.script.hold(kind, 1, *point);
            kill_when(&lab, || held.wait());
            held.release();
        }
        Step::Node(command) => {
            let held: Vec<_> = lab.nodes.iter().map(|node| node.hold_command(*command)).collect();
            kill_when(&lab, || held[0].wait());
            held.into_iter().for_each(lab::nginx::HeldCommand::release);
        }
    }
    then(&lab);
    let output = lab.certd(&["renew"]);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).unwrap(), leaf, "{}", node.name);
        assert_eq!(node.pair(SERVICE).unwrap(), leaf, "{}", node.name);
    }
    assert_eq!(lab.pebble.issued(), 1, "{text}");
    let left: Vec<String> = lab.cloudflare.records().into_iter().filter(|r| r.kind == "TXT").map(|r| r.id).collect();
    assert_eq!(left, foreign);
    assert_eq!(lab.certd(&["check"]).status.code(), Some(0));
    lab.nodes.clear();
}

/// Runs `renew`, waits for the step, kills it; the nodes' pairs are watched all the while.
fn kill_when(lab: &Lab, wait: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) || looks == 0 {
                for node in &lab.nodes {
                    node.pair(SERVICE).unwrap_or_else(|torn| panic!("{}: {torn}", node.name));
                    looks += 1;
                }
            }
        });
        let mut child = lab.spawn_certd(&["renew"]);
        wait();
        child.kill().expect("it runs: its step is held");
        child.wait().expect("it was killed");
        over.store(true, Ordering::Relaxed);
        watch.join().expect("no torn pair");
    });
}

macro_rules! killed {
    ($($name:ident: $step:expr;)*) => {
        $(#[test]
        fn $name() {
            killed_at(&$step);
        })*
    };
}

killed! {
    p01_killed_when_the_ca_has_made_the_account: Step::Ca("new-account", Point::After);
    p01_killed_before_the_order: Step::Ca("new-order", Point::Before);
    p01_killed_when_the_ca_has_made_the_order: Step::Ca("new-order", Point::After);
    p01_killed_with_the_order_on_disk: Step::Ca("authorization", Point::Before);
    p01_killed_before_the_txt_record_is_made: Step::Api("create", Point::Before);
    p01_killed_when_the_txt_record_is_made_and_its_id_unknown: Step::Api("create", Point::After);
    p01_killed_before_the_challenge: Step::Ca("challenge", Point::Before);
    p01_killed_after_the_challenge: Step::Ca("challenge", Point::After);
    p01_killed_before_the_finalize: Step::Ca("finalize", Point::Before);
    a13_killed_when_the_ca_has_finalized: Step::Ca("finalize", Point::After);
    p01_killed_before_the_download: Step::Ca("certificate", Point::Before);
    p01_killed_after_the_download: Step::Ca("certificate", Point::After);
    p01_killed_before_the_txt_record_is_removed: Step::Api("delete", Point::Before);
    p01_killed_while_the_nodes_prepare: Step::Node(NginxCommand::Test);
    p01_killed_while_the_canary_reloads: Step::Node(NginxCommand::Reload);
}

/// The CA has forgotten the order of the run that was killed: another is made, with another token.
fn killed_with_an_order_that_dies(step: &Step) {
    killed_and(step, |lab| {
        let records = || lab.cloudflare.records().into_iter().filter(|r| r.kind == "TXT").count();
        assert_eq!(records(), 3, "its record is there, beside those of others");
        let gone = Answer::new(404, r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"no such order"}"#);
        lab.proxy.script.answer("order", 1, Point::Before, gone.header("content-type", "application/problem+json"));
    });
}

#[test]
fn a31_the_record_of_an_order_that_died_after_a_crash_is_removed_and_another_order_made() {
    killed_with_an_order_that_dies(&Step::Ca("challenge", Point::Before));
}

#[test]
fn a31_a_record_of_an_unknown_id_of_an_order_that_died_is_removed_and_another_order_made() {
    killed_with_an_order_that_dies(&Step::Api("create", Point::After));
}

#[test]
fn c08_after_a_crash_the_records_of_others_stay_also_those_with_the_mark_of_another_controller() {
    killed_at(&Step::Api("delete", Point::After));
}
