//! P03: SIGTERM in any phase. It ends soon, says that not all was done, and the next run finishes the work.

use crate::lab;

use std::process::{Child, Command, Output};
use std::time::Duration;

use lab::config::ConfigText;
use lab::nginx::NginxCommand;
use lab::printed::exits;
use lab::script::Point;
use lab::{Lab, Options, SERVICE};

/// From the signal to the end of the process.
const SOON: Duration = Duration::from_secs(10);

fn started() -> Lab {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    lab
}

/// Sends SIGTERM and waits for the end.
fn terminated(mut child: Child) -> Output {
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let soon = (0..SOON.as_millis() / 10).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    assert!(soon, "{}", text(&output));
    assert!(output.status.code().is_some_and(|code| code != 0), "{:?}\n{}", output.status, text(&output));
    output
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn records(lab: &Lab) -> usize {
    lab.cloudflare.records().iter().filter(|record| record.kind == "TXT").count()
}

#[test]
fn p03_a_rehearsal_ends_and_its_record_is_removed_though_it_was_made_later() {
    let lab = started();
    let held = lab.cloudflare.script.hold("create", 1, Point::Before);
    let child = lab.spawn_certd(&["renew", "--dry-run"]);
    held.wait();
    let output = terminated(child);
    assert!(text(&output).contains("interrupted"), "{}", text(&output));
    held.release();
    // The API had the request already and carries it out, though the client is gone.
    let journal = std::fs::read_to_string(lab.state_dir().join("txt.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    let noted = |key: &str| line["noted"][key].as_str().unwrap().to_owned();
    lab.cloudflare.add_txt(&noted("name"), &noted("value"), None);
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(records(&lab), 0);
}

#[test]
fn p03_a_pass_that_is_still_looking_ends_and_has_ordered_nothing() {
    let lab = started();
    exits(&lab.certd(&["renew"]), 0);
    let state = lab.state_dir().join("state.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&state).unwrap()).unwrap();
    json["tried"]["ari"] = serde_json::json!({});
    std::fs::write(&state, json.to_string()).unwrap();
    let held = lab.proxy.script.hold("renewal-info", 1, Point::Before);
    let child = lab.spawn_certd(&["renew", "--force"]);
    held.wait();
    let output = terminated(child);
    assert!(text(&output).contains("interrupted"), "{}", text(&output));
    held.release();
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn p03_a_node_that_is_at_work_is_left_to_finish_by_itself_and_a_prepared_one_is_aborted() {
    let lab = Lab::start(Options::nodes(2));
    let certificate = format!(
        "[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\ncanary = \"node-1\"\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificate), ..ConfigText::default() });
    let other = lab.nodes[1].pair(SERVICE).unwrap();
    let before = lab.nodes[0].settled(SERVICE).unwrap();
    let held = lab.nodes[0].hold_command(NginxCommand::Reload);
    let child = lab.spawn_certd(&["renew"]);
    held.wait();
    let output = terminated(child);
    exits(&output, 6);
    let printed = text(&output);
    assert!(printed.contains("node-1: the connection ended after the commit: certd was stopped"), "{printed}");
    assert!(printed.contains("node-2: not touched: interrupted"), "{printed}");
    held.release();
    // Nobody listens any more, and it goes on to the end.
    let old = |leaf: &lab::pki::Leaf| leaf.serial == before.serial;
    assert!(lab::process::wait_until(|| lab.nodes[0].served(SERVICE).is_ok_and(|leaf| !old(&leaf))));
    let new = lab.nodes[0].settled(SERVICE).unwrap();
    assert_eq!(lab.nodes[0].pair(SERVICE).unwrap(), new);
    assert_ne!(new, other);
    assert_eq!(lab.nodes[1].pair(SERVICE).unwrap(), other, "not even half of it was changed");
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.nodes[1].settled(SERVICE).unwrap(), new);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn p03_an_issuance_is_left_to_the_next_run_even_when_the_api_hangs() {
    let lab = started();
    let held = lab.proxy.script.hold("challenge", 1, Point::Before);
    let child = lab.spawn_certd(&["renew"]);
    held.wait();
    let hung = lab.cloudflare.script.hold("delete", 1, Point::Before);
    let output = terminated(child);
    assert!(text(&output).contains("interrupted"), "{}", text(&output));
    held.release();
    hung.release();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!((lab.pebble.issued(), records(&lab)), (1, 0));
    lab.nodes[0].settled(SERVICE).unwrap();
}
