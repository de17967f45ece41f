//! The controller is gone: starting without its state, or from a backup of it (`docs/emergency.md`).

use crate::lab;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use certd::cert::generation;
use certd::context::clock;
use jiff::SignedDuration;

use lab::config::ConfigText;
use lab::node::Node;
use lab::printed::exits;
use lab::process::{is_root, output, wait_until};
use lab::{Lab, Options, SERVICE};

/// A number that no right clock has given.
const FAR_AHEAD: &str = "29991231235959";

fn renewed(nodes: usize) -> Lab {
    let lab = Lab::start(Options::nodes(nodes));
    lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    next_second();
    lab
}

/// A certificate's age is measured in seconds.
fn next_second() {
    let then = clock::now() + SignedDuration::from_secs(1);
    assert!(wait_until(|| clock::now() > then));
}

fn current(node: &Node) -> String {
    let link = own(node).join("current");
    fs::read_link(link).expect("certd was here").display().to_string()
}

fn own(node: &Node) -> PathBuf {
    node.fullchain(SERVICE).parent().expect("a file is in a folder").join(".certd").join(SERVICE)
}

/// As if a controller whose clock was ahead had delivered what is there.
fn number_ahead(node: &Node, number: &str) {
    let held = current(node);
    let ahead = held.replace(held.split('-').next().expect("a number"), number);
    let own = own(node);
    fs::rename(own.join(&held), own.join(&ahead)).expect("the lab's folder is ours");
    symlink(&ahead, own.join("by-test")).expect("the lab's folder is ours");
    fs::rename(own.join("by-test"), own.join("current")).expect("the lab's folder is ours");
}

fn copy(from: &Path, to: &Path, how: &str) {
    output(Command::new("cp").arg(how).arg(from).arg(to));
}

fn lose(state: &Path) {
    fs::remove_dir_all(state).expect("the lab's folder is ours");
}

#[test]
fn without_its_state_one_command_issues_one_certificate_and_every_node_serves_it() {
    let lab = renewed(3);
    let before = lab.nodes[0].settled(SERVICE).expect("it is served");
    lose(&lab.state_dir());
    exits(&lab.certd(&["renew"]), 0);
    let after = lab.nodes[0].settled(SERVICE).expect("it is served");
    assert_ne!(after, before);
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).as_ref(), Ok(&after), "{}", node.name);
        assert_eq!(node.pair(SERVICE).as_ref(), Ok(&after), "{}", node.name);
    }
    assert_eq!(lab.pebble.issued(), 2, "nodes give no keys back, so one was needed, and one only");
}

#[test]
fn p08_numbers_of_a_time_to_come_cost_an_empty_state_no_second_certificate_and_lock_no_node_out() {
    let lab = renewed(3);
    // One has them from a clock that was ahead; the others are as they should be.
    let ahead = clock::now() + SignedDuration::from_hours(20);
    let above = generation::number(ahead + SignedDuration::from_secs(1));
    number_ahead(&lab.nodes[1], &generation::number(ahead).to_string());
    lose(&lab.state_dir());
    let printed = exits(&lab.certd(&["renew"]), 0);
    assert!(printed.contains("numbered anew"), "{printed}");
    assert_eq!(lab.pebble.issued(), 2);
    let leaf = lab.nodes[1].settled(SERVICE).expect("it is served");
    assert!(current(&lab.nodes[1]).starts_with(&format!("{above}-")), "{}", current(&lab.nodes[1]));
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).as_ref(), Ok(&leaf), "{}", node.name);
    }
    let reloads: Vec<usize> = lab.nodes.iter().map(|node| node.calls(lab::nginx::NginxCommand::Reload)).collect();
    exits(&lab.certd(&["renew"]), 0);
    exits(&lab.certd(&["check"]), 0);
    let now: Vec<usize> = lab.nodes.iter().map(|node| node.calls(lab::nginx::NginxCommand::Reload)).collect();
    assert_eq!((now, lab.pebble.issued()), (reloads, 2), "and nothing is left to do");
}

#[test]
fn p08_a_number_that_no_right_clock_has_given_is_that_nodes_fault_and_a_person_goes_beneath_it_by_naming_the_node() {
    let lab = renewed(3);
    number_ahead(&lab.nodes[1], FAR_AHEAD);
    lose(&lab.state_dir());
    for issued in [2, 2] {
        let printed = exits(&lab.certd(&["renew"]), 6);
        assert!(printed.contains(FAR_AHEAD) && printed.contains("certd deploy --node node-2"), "{printed}");
        assert!(!printed.contains("renew --force"), "no further certificate helps: {printed}");
        assert_eq!(lab.pebble.issued(), issued);
    }
    let leaf = lab.nodes[0].settled(SERVICE).expect("it is served");
    assert_eq!(lab.nodes[2].settled(SERVICE).as_ref(), Ok(&leaf));
    let printed = exits(&lab.certd(&["node", "fence"]), 0);
    assert!(printed.contains("node-2") && printed.contains("not believed"), "{printed}");
    exits(&lab.certd(&["deploy"]), 6);
    exits(&lab.certd(&["deploy", "--node", "node-2"]), 0);
    assert_eq!(lab.nodes[1].settled(SERVICE).as_ref(), Ok(&leaf));
    exits(&lab.certd(&["renew"]), 0);
    let printed = exits(&lab.certd(&["node", "fence"]), 0);
    assert!(printed.contains("no node reports a newer generation"), "{printed}");
    assert_eq!(lab.pebble.issued(), 2);
}

#[test]
fn p08_a_backup_that_is_older_than_the_nodes_is_told_and_takes_nothing_back() {
    let lab = renewed(2);
    let backup = lab.folder.join("backup");
    copy(&lab.state_dir(), &backup, "-a");
    exits(&lab.certd(&["renew", "--force"]), 0);
    next_second();
    let newer = lab.nodes[0].settled(SERVICE).expect("it is served");
    lose(&lab.state_dir());
    copy(&backup, &lab.state_dir(), "-a");
    for _ in 0..2 {
        let printed = exits(&lab.certd(&["renew"]), 6);
        assert!(printed.contains("the node holds a newer generation"), "{printed}");
        assert!(printed.contains("certd renew --force"), "what to do: {printed}");
        for node in &lab.nodes {
            assert_eq!(node.settled(SERVICE).as_ref(), Ok(&newer), "{}", node.name);
        }
    }
    assert_eq!(lab.pebble.issued(), 2);
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert_eq!(lab.pebble.issued(), 3);
}

#[test]
fn p08_of_two_controllers_the_one_that_comes_back_is_fenced_and_says_so_and_the_other_notices_nothing() {
    let lab = renewed(2);
    let old = lab.folder.join("old-controller");
    copy(&lab.state_dir(), &old, "-a");
    exits(&lab.certd(&["renew", "--force"]), 0);
    next_second();
    let newer = lab.nodes[0].settled(SERVICE).expect("it is served");
    let config = fs::read_to_string(lab.config_path()).expect("it was written");
    let state = lab.state_dir().display().to_string();
    let other = lab.folder.join("old.toml");
    fs::write(&other, config.replace(&state, &old.display().to_string())).expect("the lab's folder is ours");
    let mut by_hand = Command::new(lab.command(&[]).get_program());
    by_hand.args(["deploy", "--config"]).arg(&other);
    let printed = exits(&by_hand.output().expect("it starts"), 6);
    assert!(printed.contains("newer generation") && printed.contains("besides this certd"), "{printed}");
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).as_ref(), Ok(&newer), "{}", node.name);
    }
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 2);
}

#[test]
fn p09_a_backup_that_followed_links_is_taken_over_without_a_new_certificate() {
    let lab = renewed(1);
    let backup = lab.folder.join("backup");
    copy(&lab.state_dir(), &backup, "-rL");
    lose(&lab.state_dir());
    copy(&backup, &lab.state_dir(), "-a");
    output(Command::new("chmod").args(["-R", "go=", &lab.state_dir().display().to_string()]));
    let printed = exits(&lab.certd(&["renew", "--force"]), 3);
    assert!(printed.contains("it was a folder and no link"), "{printed}");
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 2);
}

#[test]
fn a_restored_state_that_others_may_read_or_that_belongs_to_somebody_else_is_refused_with_the_way_out() {
    let lab = renewed(1);
    let state = lab.state_dir();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).expect("the lab's folder is ours");
    let printed = exits(&lab.certd(&["renew"]), 1);
    assert!(printed.contains(&format!("chmod 700 {}", state.display())), "{printed}");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("the lab's folder is ours");
    if !is_root() {
        return;
    }
    // The folder has a new owner, what is in it has not.
    chown(&state, Some(65_534), Some(65_534)).expect("root may");
    let printed = exits(&lab.certd(&["renew"]), 1);
    assert!(printed.contains("chown -R"), "{printed}");
    assert_eq!(lab.pebble.issued(), 1, "what cannot be read is not taken for lost");
}

#[test]
fn a_lost_identity_and_lost_host_keys_are_named_with_what_brings_them_back() {
    let lab = renewed(2);
    let known = lab.folder.join("known_hosts");
    let ssh = format!("known_hosts = {:?}\n", known.display().to_string());
    lab.write_config_with(&ConfigText { ssh, ..ConfigText::default() });
    lab.replace_line("host_key", "");
    let printed = exits(&lab.certd(&["renew", "--force"]), 6);
    assert!(printed.contains("certd trust node-1"), "{printed}");
    exits(&lab.certd(&["trust", "node-1", "node-2", "--write"]), 0);
    exits(&lab.certd(&["renew"]), 0);
    let identity = lab.folder.join("id_ed25519");
    fs::remove_file(&identity).expect("the lab made it");
    let printed = exits(&lab.certd(&["renew"]), 2);
    assert!(printed.contains(&identity.display().to_string()), "{printed}");
    assert_eq!(lab.pebble.issued(), 2);
}
