//! What a person says about a rollout: windows, pauses, which nodes, and which generation. The binary against real nodes.

use crate::lab;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use lab::config::ConfigText;
use lab::nginx::NginxCommand;
use lab::node::{NodeOptions, Old};
use lab::pebble::PebbleOptions;
use lab::pki::Leaf;
use lab::printed::{exits, stderr, stdout};
use lab::{Lab, Options, SERVICE};
use serde_json::Value;

const OPEN: &str = "window = \"Mon-Sun 00:00-24:00\"\n";

/// Half an hour, three days from now.
fn closed() -> String {
    let date = Command::new("date").env("LC_ALL", "C").args(["-u", "-d", "+3 days", "+%a"]).output().unwrap();
    format!("window = \"{} 12:00-12:30\"\n", String::from_utf8(date.stdout).unwrap().trim())
}

fn lab(nodes: &[NodeOptions]) -> Lab {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    Lab::start(Options { pebble, nodes: nodes.to_vec(), ..Options::default() })
}

/// Its nodes are node-1, node-2 and so on; everything is renewed.
fn renewed(nodes: usize) -> Lab {
    let names: Vec<NodeOptions> = (1..=nodes).map(|n| NodeOptions::new(&format!("node-{n}"))).collect();
    let lab = lab(&names);
    lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    lab
}

trait Rows {
    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value);
    fn with(&self, lines: &[(&str, &str)]);
    fn generations(&self) -> Vec<String>;
    fn serve(&self) -> Vec<Leaf>;
}

impl Rows for Lab {
    fn json(&self, arguments: &[&str]) -> (Option<i32>, Value) {
        let output = self.certd(&[arguments, &["--output", "json"]].concat());
        let report = serde_json::from_slice(&output.stdout);
        (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", stderr(&output))))
    }

    /// These lines in the sections of these nodes.
    fn with(&self, lines: &[(&str, &str)]) {
        let nodes = lines.iter().map(|(name, lines)| ((*name).to_owned(), (*lines).to_owned())).collect();
        self.write_config_with(&ConfigText { nodes, ..ConfigText::default() });
    }

    /// In the store, lowest first.
    fn generations(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state_dir().join("certs").join(SERVICE)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with("20")).collect();
        names.sort();
        names
    }

    fn serve(&self) -> Vec<Leaf> {
        self.nodes.iter().map(|node| node.settled(SERVICE).unwrap()).collect()
    }
}

fn node<'a>(report: &'a Value, name: &str) -> &'a Value {
    let nodes = report["certificates"][0]["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["node"] == name).unwrap_or_else(|| panic!("{name}: {report}"))
}

#[test]
fn outside_of_its_window_a_node_is_left_as_it_is_and_the_others_are_not() {
    let lab = lab(&[NodeOptions::new("open"), NodeOptions::new("closed")]);
    lab.with(&[("open", OPEN), ("closed", &closed())]);
    let before = lab.serve();
    let (code, report) = lab.json(&["renew"]);
    assert_eq!(code, Some(3), "what the closed one serves is good: {report}");
    let served = lab.serve();
    assert_ne!(served[0], before[0]);
    assert_eq!(served[1], before[1]);
    assert_eq!(lab.nodes[1].calls(NginxCommand::Reload), 0);
    assert!(lab.nodes[1].ssh_connections() <= 1, "but for the daily look at its disk, which changes nothing");
    let held = node(&report, "closed");
    assert!(held["window_opens"].is_string() && held["delivery"].is_null(), "{held}");
    assert!(node(&report, "open")["window_opens"].is_null());
    let waits = report["plan"]["waits"].as_array().unwrap();
    let waits = waits.iter().any(|wait| wait["reason"]["opens"] == held["window_opens"]);
    assert!(waits, "the service wakes then, at the latest: {report}");
    let text = exits(&lab.certd(&["check"]), 3);
    assert!(text.contains("unmanaged, waits\n") && text.contains("; its window opens"), "{text}");
    assert!(exits(&lab.certd(&["plan"]), 3).contains("on closed: its window opens"));
    exits(&lab.certd(&["deploy"]), 3);
    assert_eq!(lab.serve()[1], before[1], "a person who names no node is held by it too");

    let (code, report) = lab.json(&["deploy", "--node", "closed"]);
    assert_eq!(code, Some(0), "a person who names the node is not: {report}");
    assert_eq!(report["left_out"], serde_json::json!(["open"]));
    exits(&lab.certd(&["check"]), 0);
}

#[test]
fn a_window_holds_no_node_whose_visitors_are_hurt_or_would_be_when_it_opens() {
    let old = |name, old| NodeOptions { old, ..NodeOptions::new(name) };
    let lab =
        lab(&[old("ended", Old::Days(-1)), old("ends", Old::Days(2)), old("other", Old::OtherName("b.test".into()))]);
    let closed = closed();
    lab.with(&[("ended", &closed), ("ends", &closed), ("other", &closed)]);
    let text = exits(&lab.certd(&["plan"]), 4);
    assert!(text.contains("issue"), "{text}");
    exits(&lab.certd(&["renew"]), 0);
    let served = lab.serve();
    assert!(served.iter().all(|leaf| *leaf == served[0]));
}

#[test]
fn a_window_of_the_whole_fleet_holds_every_node_that_has_none_of_its_own() {
    let lab = lab(&[NodeOptions::new("a"), NodeOptions::new("b")]);
    let text = ConfigText {
        end: format!("[rollout]\n{}", closed()),
        nodes: vec![("b".into(), "window = \"always\"\n".into())],
        ..ConfigText::default()
    };
    lab.write_config_with(&text);
    let (code, report) = lab.json(&["renew"]);
    assert_eq!(code, Some(3));
    assert!(node(&report, "a")["window_opens"].is_string());
    assert_eq!(node(&report, "b")["delivery"]["ended"]["outcome"], "served");
}

#[test]
fn a_pause_is_told_with_its_reason_everywhere() {
    let lab = lab(&[NodeOptions::new("a"), NodeOptions::new("b")]);
    lab.with(&[("b", "paused_until = \"2099-01-01\"\npaused_reason = \"disk is being replaced\"\n")]);
    let (code, report) = lab.json(&["renew"]);
    assert_eq!(code, Some(3));
    assert_eq!(node(&report, "b")["paused_reason"], "disk is being replaced");
    for command in ["check", "plan"] {
        let text = exits(&lab.certd(&[command]), 3);
        assert!(text.contains("2099-01-01 00:00 UTC: disk is being replaced"), "{command}: {text}");
    }
}

#[test]
fn a_pass_can_be_for_some_nodes_by_name_or_tag_and_says_whom_it_left_out() {
    let lab = lab(&[NodeOptions::new("one"), NodeOptions::new("two"), NodeOptions::new("three")]);
    lab.with(&[("one", "tags = [\"edge\"]\n"), ("two", "tags = [\"edge\"]\n")]);
    let before = lab.serve();
    let text = exits(&lab.certd(&["renew", "--exclude", "tag:edge"]), 0);
    assert!(text.contains("left out, not probed: one, two"), "{text}");
    assert!(text.contains("1 of 1 serve"), "{text}");
    let now = lab.serve();
    assert_eq!((&now[0], &now[1]), (&before[0], &before[1]));
    assert_ne!(now[2], before[2], "issuing is not narrowed, delivering is");
    exits(&lab.certd(&["check"]), 6);
    exits(&lab.certd(&["deploy", "--node", "tag:edge", "--exclude", "two"]), 0);
    let now = lab.serve();
    assert_eq!((&now[0], &now[1]), (&now[2], &before[1]));
    exits(&lab.certd(&["renew", "--dry-run", "--node", "one"]), 0);
    assert_eq!(lab.nodes[1].ssh_connections(), 0);

    for (arguments, words) in [
        (&["deploy", "--node", "thre"][..], "no node is called \"thre\"; did you mean \"three\"?"),
        (&["renew", "--exclude", "tag:egde"], "no tag is called \"egde\"; did you mean \"edge\"?"),
        (&["renew", "--node", "one", "--exclude", "one"], "leave no node of newapi.example.test"),
    ] {
        let text = exits(&lab.certd(arguments), 2);
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_person_goes_back_to_a_generation_which_is_held_through_renewals_until_latest() {
    let lab = renewed(2);
    let first = lab.serve();
    exits(&lab.certd(&["renew", "--force"]), 0);
    let second = lab.serve();
    let [one, two] = lab.generations().try_into().unwrap();
    let serial = one.split_once('-').unwrap().1;

    let (code, report) = lab.json(&["deploy", SERVICE, "--generation", &serial[..8]]);
    assert_eq!(code, Some(3), "{report}");
    assert_eq!(lab.serve(), first);
    let certificate = &report["certificates"][0];
    assert_eq!(
        (&certificate["held"]["generation"], &certificate["current"]["generation"]),
        (&one.clone().into(), &two.into())
    );
    assert_eq!(node(&report, "node-1")["served"][0]["verdict"], "held");
    assert_eq!(node(&report, "node-1")["delivery"]["ended"]["outcome"], "served");

    // Every pass delivers it and none else, to a node that was changed by hand too.
    let (code, report) = lab.json(&["renew", "--force"]);
    assert_eq!((code, lab.serve()), (Some(3), first.clone()), "{report}");
    assert_eq!(lab.generations().len(), 3, "it is issued all the same");
    let text = exits(&lab.certd(&["check"]), 3);
    assert!(text.contains(&format!("held: generation {one}")) && text.contains("--latest"), "{text}");
    assert!(text.contains("2 of 2 serve the right certificate"), "{text}");
    // Disks are held against what is held.
    let text = exits(&lab.certd(&["check", "--deep"]), 3);
    assert_eq!(text.matches(&format!("{SERVICE}  same")).count(), 2, "{text}");
    let text = exits(&lab.certd(&["doctor"]), 0);
    assert_eq!(text.matches("up to date").count(), 2, "{text}");
    assert!(exits(&lab.certd(&["plan"]), 3).contains(&format!("serves generation {one}, which is held")));
    exits(&lab.certd(&["renew"]), 3);

    exits(&lab.certd(&["deploy", "--latest"]), 0);
    let third = lab.serve();
    assert!(third[0] == third[1] && third != first && third != second);
    let history = fs::read_to_string(lab.state_dir().join("history.jsonl")).unwrap();
    assert!(history.contains(r#""event":"held""#) && history.contains(r#""event":"released""#), "{history}");
    exits(&lab.certd(&["check"]), 0);
}

#[test]
fn what_cannot_be_gone_back_to_is_refused_before_anything_is_changed() {
    let lab = renewed(1);
    exits(&lab.certd(&["renew", "--force"]), 0);
    let now = lab.serve();
    let [one, two] = lab.generations().try_into().unwrap();
    let refused = |generation: &str, words: &str| {
        let output: Output = lab.certd(&["deploy", SERVICE, "--generation", generation]);
        let text = exits(&output, 2);
        assert!(text.contains(words) && stdout(&output).is_empty(), "{text}");
        assert_eq!(lab.serve(), now);
    };
    refused("ffff", &format!("no generation \"ffff\"\n  next: one of the newest: {two}, {one}"));
    refused("20", "\"20\" may be any of 2 generations");
    exits(&lab.certd(&["deploy", "--generation", &one]), 2);
    exits(&lab.certd(&["deploy", SERVICE, "--generation", &one, "--latest"]), 2);

    let file = |name: &str| lab.state_dir().join("certs").join(SERVICE).join(&one).join(name);
    let whole = fs::read_to_string(file("fullchain.pem")).unwrap();
    let leaf = fs::read_to_string(file("cert.pem")).unwrap();
    fs::write(file("fullchain.pem"), leaf).unwrap();
    refused(&one, "would be refused by visitors: the leaf stands alone");
    fs::write(file("fullchain.pem"), &whole).unwrap();
    let key = fs::read(file("privkey.pem")).unwrap();
    fs::copy(lab.state_dir().join("certs").join(SERVICE).join(&two).join("privkey.pem"), file("privkey.pem")).unwrap();
    refused(&one, "is not whole");
    fs::write(file("privkey.pem"), key).unwrap();
    exits(&lab.certd(&["deploy", SERVICE, "--generation", &one]), 3);
}

#[test]
fn p08_a_controller_from_a_backup_with_a_hold_in_it_takes_no_node_back_from_what_it_does_not_know() {
    let lab = renewed(1);
    exits(&lab.certd(&["renew", "--force"]), 0);
    let [one, _] = lab.generations().try_into().unwrap();
    exits(&lab.certd(&["deploy", SERVICE, "--generation", &one]), 3);
    let held = lab.serve();
    // The first controller's backup, with the hold; it goes on without.
    let (state, aside, later) = (lab.state_dir(), lab.folder.join("backup"), lab.folder.join("later"));
    copy(&state, &aside);
    exits(&lab.certd(&["deploy", "--latest"]), 0);
    exits(&lab.certd(&["renew", "--force"]), 0);
    let newest = lab.serve();
    assert_ne!(newest, held);

    fs::rename(&state, &later).unwrap();
    fs::rename(&aside, &state).unwrap();
    let (code, report) = lab.json(&["renew"]);
    assert_eq!(code, Some(6), "{report}");
    assert_eq!(lab.serve(), newest, "the restored hold is no person's word given now");
    let refused = &node(&report, "node-1")["delivery"]["ended"]["failure"]["what"];
    assert!(refused.as_str().unwrap().contains("newer generation"), "{report}");
    exits(&lab.certd(&["deploy"]), 3);
    assert_eq!(lab.serve(), held, "a person who says it is obeyed");
}

#[test]
fn a_second_controller_with_an_older_certificate_is_fenced_after_a_node_went_back() {
    let lab = renewed(1);
    let (state, old) = (lab.state_dir(), lab.folder.join("old"));
    copy(&state, &old);
    exits(&lab.certd(&["renew", "--force"]), 0);
    exits(&lab.certd(&["renew", "--force"]), 0);
    let two = lab.generations()[1].clone();
    exits(&lab.certd(&["deploy", SERVICE, "--generation", &two]), 3);
    let held = lab.serve();
    fs::rename(&state, lab.folder.join("later")).unwrap();
    fs::rename(&old, &state).unwrap();
    exits(&lab.certd(&["deploy"]), 6);
    assert_eq!(lab.serve(), held, "what is older than the held one is stale, from any sender");
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn revoking_what_is_held_ends_the_hold_and_the_replacement_goes_everywhere() {
    let lab = renewed(1);
    let first = lab.serve();
    exits(&lab.certd(&["renew", "--force"]), 0);
    let newest = lab.serve();
    let one = lab.generations()[0].clone();
    exits(&lab.certd(&["deploy", SERVICE, "--generation", &one]), 3);
    assert_eq!(lab.serve(), first);
    let text = exits(&lab.certd(&["revoke", SERVICE, "--generation", &one]), 3);
    assert!(text.contains(&format!("generation {one} is no longer held: it was given up")), "{text}");
    assert!(text.contains(&format!("revoked: {SERVICE} generation {one}")), "{text}");
    assert_eq!(lab.serve(), newest);
    exits(&lab.certd(&["check"]), 0);
    let text = exits(&lab.certd(&["deploy", SERVICE, "--generation", &one]), 2);
    assert!(text.contains("was given up"), "{text}");
}
