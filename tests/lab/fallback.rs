//! Two CAs: the second issues what the first cannot, and an order is ended where it was begun.

use crate::lab;

use std::fs;
use std::path::Path;
use std::process::Command;

use jiff::SignedDuration;

use certd::context::clock;

use lab::config::ConfigText;
use lab::printed::{exits, stdout};
use lab::process::wait_until;
use lab::script::{Answer, Point};
use lab::{Lab, Options, SERVICE};

#[test]
fn a06_a_ca_that_asks_for_two_hours_is_passed_over_in_the_same_pass_and_the_report_says_why() {
    let lab = two_cas(2);
    let busy = Answer::new(503, "<html>busy</html>").header("retry-after", "7200");
    lab.proxy.script.fail("new-order", 1, &busy);
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    assert_eq!((lab.pebble.issued(), issued_by_second(&lab)), (0, 1));
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    assert_eq!(lab.nodes[1].settled(SERVICE).unwrap(), leaf);
    let text = stdout(&output);
    let (first, second) = (host(&lab.proxy.directory()), host(&second(&lab).directory()));
    assert!(text.contains(&format!(" by {second}\n")), "{text}");
    assert!(text.contains(&format!("{first} is not asked before")) && text.contains("HTTP status 503"), "{text}");

    // That it came from a fallback is no reason to renew it, and the next one goes to the first again.
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!((lab.pebble.issued(), issued_by_second(&lab)), (0, 1));
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert_eq!((lab.pebble.issued(), issued_by_second(&lab)), (1, 1));
}

#[test]
fn a_fault_of_our_own_dns_is_no_reason_to_ask_another_ca() {
    let lab = two_cas(1);
    lab.cloudflare.with(|account| account.token = "another".into());
    exits(&lab.certd(&["renew"]), 5);
    assert_eq!((lab.proxy.script.count("new-order"), second(&lab).script.count("new-order")), (0, 0));
}

#[test]
fn i08_an_order_that_was_finalized_at_the_fallback_is_ended_there_though_the_first_is_free_again() {
    let lab = two_cas(1);
    lab.proxy.script.fail("new-order", 1, &Answer::new(503, "busy").header("retry-after", "7200"));
    let held = second(&lab).script.hold("finalize", 1, Point::After);
    let mut child = lab.spawn_certd(&["renew"]);
    held.wait();
    child.kill().unwrap();
    child.wait().unwrap();
    held.release();
    // The first CA would be asked now.
    let state = lab.state_dir().join("state.json");
    let mut json: serde_json::Value = serde_json::from_str(&fs::read_to_string(&state).unwrap()).unwrap();
    json["tried"]["issuing"] = serde_json::json!({});
    fs::write(&state, json.to_string()).unwrap();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!((lab.pebble.issued(), issued_by_second(&lab)), (0, 1));
    assert_eq!(lab.proxy.script.count("new-order"), 1, "only the one that failed");
    lab.nodes[0].settled(SERVICE).unwrap();
}

#[test]
fn k03_a_ca_whose_clock_is_wrong_or_that_is_silent_holds_nothing_up_where_another_agrees_with_ours() {
    let lab = two_cas(1);
    exits(&lab.certd(&["renew"]), 0);
    let path = lab.state_dir().join("state.json");
    let state = |key: &str, value: serde_json::Value| {
        let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        state["tried"][key] = value;
        fs::write(&path, state.to_string()).unwrap();
    };
    state("ari", serde_json::json!({}));
    let date = (clock::now() - SignedDuration::from_hours(48)).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    lab.proxy.script.answer("renewal-info", 1, Point::Before, Answer::new(503, "").header("date", &date));
    exits(&lab.certd(&["renew"]), 0);
    // A doubt of our own is dispelled by the one that answers.
    state("last_seen", (clock::now() + SignedDuration::from_hours(10 * 365 * 24)).to_string().into());
    (0..2).for_each(|_| lab.proxy.script.cut("directory", 1, Point::Before));
    exits(&lab.certd(&["check"]), 3);
    exits(&lab.certd(&["renew"]), 0);
    exits(&lab.certd(&["check"]), 0);
}

#[test]
fn a_renewal_keeps_the_key_when_that_is_wanted_through_a_crash_too() {
    let lab = Lab::start(Options::nodes(1));
    let certificate =
        format!("[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\nreuse_key = true\n\n");
    lab.write_config_with(&ConfigText { certificates: Some(certificate), ..ConfigText::default() });
    exits(&lab.certd(&["renew"]), 0);
    let key = || fs::read_to_string(lab.state_dir().join("certs").join(SERVICE).join("current/privkey.pem")).unwrap();
    let (before, leaf) = (key(), lab.nodes[0].settled(SERVICE).unwrap());
    let held = lab.proxy.script.hold("finalize", 1, Point::Before);
    let mut child = lab.spawn_certd(&["renew", "--force"]);
    held.wait();
    child.kill().unwrap();
    child.wait().unwrap();
    held.release();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 2);
    assert!(key() == before, "the same key");
    assert_ne!(lab.nodes[0].settled(SERVICE).unwrap(), leaf, "another certificate");
    lab.write_config("");
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert!(key() != before, "a key of its own again");
}

#[test]
fn p08_an_order_of_an_old_backup_brings_no_older_certificate_back() {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    let held = lab.proxy.script.hold("certificate", 1, Point::Before);
    let mut child = lab.spawn_certd(&["renew", "--force"]);
    held.wait();
    child.kill().unwrap();
    child.wait().unwrap();
    held.release();
    let (state, backup) = (lab.state_dir(), lab.folder.join("backup"));
    copy(&state, &backup);
    exits(&lab.certd(&["renew"]), 0);
    // Certificates tell their age in seconds.
    let second = clock::now().as_second();
    assert!(wait_until(|| clock::now().as_second() > second + 1));
    exits(&lab.certd(&["renew", "--force"]), 0);
    let young = lab.nodes[0].settled(SERVICE).unwrap();
    assert_eq!(lab.pebble.issued(), 3);

    fs::remove_dir_all(&state).unwrap();
    copy(&backup, &state);
    let output = lab.certd(&["renew"]);
    exits(&output, 6);
    let text = stdout(&output);
    assert!(text.contains("a certificate for these names that is younger is there already"), "{text}");
    assert_eq!(lab.nodes[0].settled(SERVICE).unwrap(), young);
    assert_eq!(lab.nodes[0].pair(SERVICE).unwrap(), young);
    assert_eq!(lab.pebble.issued(), 3);
    assert!(!state.join("certs").join(SERVICE).join("pending").exists(), "nothing is left to be resumed");

    fs::remove_dir_all(&state).unwrap();
    copy(&backup, &state);
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert_eq!(lab.pebble.issued(), 4, "a person forces all the same");
    assert_ne!(lab.nodes[0].settled(SERVICE).unwrap(), young);
}

fn two_cas(nodes: usize) -> Lab {
    let lab = Lab::start(Options { second_ca: true, ..Options::nodes(nodes) });
    lab.write_config("");
    lab
}

fn second(lab: &Lab) -> &lab::proxy::Proxy {
    &lab.second.as_ref().expect("it has two").1
}

fn issued_by_second(lab: &Lab) -> usize {
    lab.second.as_ref().expect("it has two").0.issued()
}

/// As reports name a CA: host and port.
fn host(directory: &str) -> String {
    let place = directory.trim_start_matches("https://").split('/').next().unwrap_or_default();
    place.replace(':', "-")
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().is_ok_and(|status| status.success()));
}
