//! What is on the nodes' disks, seen by `check --deep` and by the daily comparison, and mended by the ordinary rollout;
//! `check` for a monitoring system, and again and again.

mod lists;
mod streams;

use crate::lab;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use lab::nginx::NginxCommand;
use lab::node::Node;
use lab::printed::{exits, stdout};
use lab::{Lab, Options, SERVICE, Service};

fn renewed(options: Options) -> Lab {
    let lab = Lab::start(options);
    lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    lab
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)))
}

impl Lab {
    fn change_state(&self, change: impl FnOnce(&mut Value)) {
        let path = self.state_dir().join("state.json");
        let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut state["tried"]);
        fs::write(path, state.to_string()).unwrap();
    }

    /// As if the disks had been compared two days ago.
    fn a_day_later(&self) {
        self.change_state(|tried| {
            for of_node in tried["disks"].as_object_mut().expect("it has compared").values_mut() {
                for compared in of_node.as_object_mut().unwrap().values_mut() {
                    compared["at"] = "2026-01-01T00:00:00Z".into();
                }
            }
        });
    }

    /// What a look at the disks says, by node: each word that is not "renewers".
    fn on_disk(&self, arguments: &[&str], code: i32) -> Vec<(String, String)> {
        let output = self.certd(&[arguments, &["--output", "json"]].concat());
        exits(&output, code);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let report = json(&output);
        let disks = report["disks"].as_array().unwrap().iter();
        let mut found: Vec<_> = disks.map(|disk| (text(&disk["node"]), text(&disk["disk"]))).collect();
        found.retain(|(_, word)| word != "renewers");
        found.sort();
        found
    }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(node, word)| ((*node).to_owned(), (*word).to_owned())).collect()
}

/// As `tar -h`, `cp -L` and `rsync -L` leave it: the same content in plain files.
fn flatten(node: &Node) {
    for path in [node.fullchain(SERVICE), node.key(SERVICE)] {
        overwrite(&path, &fs::read(&path).unwrap());
    }
}

/// A plain file in the place of whatever is there.
fn overwrite(path: &Path, content: &[u8]) {
    let new = path.with_extension("copied");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().unwrap().file_type().is_symlink()
}

#[test]
fn p09_links_that_a_backup_flattened_are_named_by_a_look_and_mended_by_the_next_comparison() {
    let lab = renewed(Options::nodes(2));
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    flatten(&lab.nodes[0]);
    exits(&lab.certd(&["check"]), 0);
    let found = lab.on_disk(&["check", "--deep"], 3);
    assert_eq!(found, pairs(&[("node-1", "flattened"), ("node-2", "same")]));
    let output = lab.certd(&["check", "--deep"]);
    let what = format!("node-1 {SERVICE}: plain files with the right content");
    assert!(stdout(&output).contains(&what), "{}", stdout(&output));
    assert!(!is_link(&lab.nodes[0].key(SERVICE)), "a look changes nothing");
    let logins = lab.nodes[1].ssh_connections();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.nodes[1].ssh_connections(), logins, "it was delivered today, and nobody logs in to compare");

    lab.a_day_later();
    let reloads = lab.nodes[1].calls(NginxCommand::Reload);
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("was flattened: plain files"), "{}", stdout(&output));
    assert!(is_link(&lab.nodes[0].fullchain(SERVICE)) && is_link(&lab.nodes[0].key(SERVICE)));
    assert_eq!(lab.nodes[0].settled(SERVICE).unwrap(), leaf);
    assert_eq!(lab.nodes[1].calls(NginxCommand::Reload), reloads, "the other is left alone");
    assert_eq!(lab.on_disk(&["check", "--deep"], 0), pairs(&[("node-1", "same"), ("node-2", "same")]));
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn what_another_client_or_a_hand_wrote_is_seen_before_a_reload_serves_it_and_delivered_over() {
    let lab = renewed(Options::nodes(3));
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    let (cert, key) = lab.old_authority.issue(&[SERVICE.into()], 80);
    // acme.sh --install-cert where it makes new files, and where it writes through what is there.
    overwrite(&lab.nodes[0].fullchain(SERVICE), cert.as_bytes());
    overwrite(&lab.nodes[0].key(SERVICE), key.as_bytes());
    fs::write(lab.nodes[1].fullchain(SERVICE), &cert).unwrap();
    fs::write(lab.nodes[1].key(SERVICE), &key).unwrap();
    // An editor that adds a line.
    let mut edited = fs::read(lab.nodes[2].fullchain(SERVICE)).unwrap();
    edited.extend_from_slice(b"\n# by hand\n");
    fs::write(lab.nodes[2].fullchain(SERVICE), edited).unwrap();
    exits(&lab.certd(&["check"]), 0);
    let expected = pairs(&[("node-1", "overwritten"), ("node-2", "changed"), ("node-3", "changed")]);
    assert_eq!(lab.on_disk(&["check", "--deep"], 3), expected);

    lab.a_day_later();
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    for word in ["was overwritten", "was changed"] {
        assert!(stdout(&output).contains(word), "{}", stdout(&output));
    }
    for node in &lab.nodes {
        assert_eq!(node.pair(SERVICE).unwrap(), leaf, "{}", node.name);
        assert_eq!(node.settled(SERVICE).unwrap(), leaf, "{}", node.name);
        assert!(is_link(&node.fullchain(SERVICE)), "{}", node.name);
    }
    assert_eq!(lab.on_disk(&["check", "--deep"], 0).len(), 3);
}

#[test]
fn a_disk_that_cannot_be_mended_is_left_alone_for_a_while() {
    let lab = renewed(Options::nodes(1));
    let node = &lab.nodes[0];
    let (cert, key) = lab.old_authority.issue(&[SERVICE.into()], 80);
    overwrite(&node.fullchain(SERVICE), cert.as_bytes());
    overwrite(&node.key(SERVICE), key.as_bytes());
    lab.a_day_later();
    // Passes with what was written there alone.
    let serial = lab::pki::parse(&cert).unwrap().serial;
    let script = format!(
        "openssl x509 -noout -serial -in '{}' | grep -qi '{serial}' || {{ echo 'not this one' >&2; exit 1; }}\nexec \"$@\"\n",
        node.fullchain(SERVICE).display()
    );
    node.replace_command(NginxCommand::Test, Some(&script));
    let output = lab.certd(&["renew"]);
    exits(&output, 6);
    assert!(stdout(&output).contains("not this one"), "{}", stdout(&output));
    let tests = node.calls(NginxCommand::Test);
    exits(&lab.certd(&["renew"]), 6);
    assert_eq!(node.calls(NginxCommand::Test), tests, "it backs off as after any delivery");
    node.replace_command(NginxCommand::Test, None);
    exits(&lab.certd(&["deploy"]), 0);
    assert_eq!(node.settled(SERVICE).unwrap(), node.pair(SERVICE).unwrap());
    assert_eq!(lab.on_disk(&["check", "--deep"], 0), pairs(&[("node-1", "same")]));
}

#[test]
fn s01_a_node_that_cannot_be_looked_at_is_a_warning_in_words_and_is_not_asked_in_every_pass() {
    let mut lab = renewed(Options::nodes(2));
    lab.a_day_later();
    lab.node("node-2").stop_sshd();
    let output = lab.certd(&["renew"]);
    exits(&output, 3);
    let text = stdout(&output);
    assert!(text.contains("not-looked") && text.contains("refuses the connection"), "{text}");
    assert!(text.contains("2 of 2 serve"), "{text}");
    exits(&lab.certd(&["renew"]), 3);
    lab.node("node-2").start_sshd();
    let logins = lab.node("node-2").ssh_connections();
    exits(&lab.certd(&["renew"]), 3);
    assert_eq!(lab.node("node-2").ssh_connections(), logins, "an hour later is soon enough");
    lab.a_day_later();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.node("node-2").ssh_connections(), logins + 1);
}

#[test]
fn a_deep_check_tells_of_each_node_what_is_wrong_there_and_changes_nothing() {
    let services = vec![Service::new(&["one.example.test"]), Service::new(&["two.example.test"])];
    let mut lab = renewed(Options { services, ..Options::nodes(3) });
    let listing = |node: &Node| {
        let found = Command::new("find").arg(node.folder.join("conf/ssl")).args(["-printf", "%p %y %i %T@\n"]).output();
        String::from_utf8(found.unwrap().stdout).unwrap()
    };
    // The nodes' programs tidy up when the controller has gone.
    let busy = |node: &Node| ["/found f ", "/.new-"].iter().any(|name| listing(node).contains(name));
    assert!(lab::process::wait_until(|| !lab.nodes.iter().any(busy)));
    lab.nodes[0].break_nginx_config();
    lab.node("node-2").stop_sshd();
    fs::remove_file(lab.nodes[2].key("two.example.test")).unwrap();
    let before: Vec<String> = lab.nodes.iter().map(listing).collect();
    let state = fs::read(lab.state_dir().join("state.json")).unwrap();
    let found = lab.on_disk(&["check", "--deep"], 3);
    let expected = [
        ("node-1", "same"),
        ("node-1", "same"),
        ("node-1", "test-fails"),
        ("node-2", "not-looked"),
        ("node-3", "missing"),
        ("node-3", "same"),
    ];
    // A missing key fails the third node's test too.
    let found: Vec<_> = found.into_iter().filter(|it| *it != ("node-3".into(), "test-fails".into())).collect();
    assert_eq!(found, pairs(&expected));
    let one = lab.on_disk(&["check", "--deep", "one.example.test"], 3);
    assert_eq!(one.iter().filter(|(_, word)| word == "same" || word == "missing").count(), 2, "{one:?}");
    let output = lab.certd(&["check", "--deep"]);
    let text = stdout(&output);
    assert!(text.contains("this is no directive") || text.contains("unknown directive"), "{text}");
    for (node, before) in lab.nodes.iter().zip(before) {
        assert_eq!(listing(node), before, "{}", node.name);
    }
    assert_eq!(fs::read(lab.state_dir().join("state.json")).unwrap(), state, "nor is anything noted");
    assert_eq!(lab.nodes[2].calls(NginxCommand::Reload), 1);
}

#[test]
fn n03_a_certificate_that_is_not_ours_is_told_with_whose_it_is() {
    let lab = renewed(Options::nodes(1));
    let node = &lab.nodes[0];
    let (cert, key) = lab.old_authority.issue(&[SERVICE.into(), "www.example.test".into()], 50);
    overwrite(&node.fullchain(SERVICE), cert.as_bytes());
    overwrite(&node.key(SERVICE), key.as_bytes());
    let reload = node.reload_command();
    assert!(Command::new(&reload[0]).args(&reload[1..]).status().unwrap().success());
    let other = lab::pki::parse(&cert).unwrap();
    assert!(lab::process::wait_until(|| node.served(SERVICE).is_ok_and(|leaf| leaf == other)));
    // Old workers accept for a moment longer.
    assert_eq!(node.settled(SERVICE).unwrap(), other);
    let output = lab.certd(&["check", "--output", "json"]);
    exits(&output, 6);
    let served = &json(&output)["certificates"][0]["nodes"][0]["served"][0];
    assert_eq!(served["verdict"], "unmanaged");
    assert_eq!(served["whose"]["names"], serde_json::json!([SERVICE, "www.example.test"]));
    assert_eq!(served["whose"]["issuer"], "certd lab: old certificates");
    let output = lab.certd(&["check"]);
    let text = stdout(&output);
    assert!(
        text.contains("not ours: by certd lab: old certificates, for newapi.example.test, www.example.test"),
        "{text}"
    );
}

#[test]
fn a_revocation_that_was_begun_and_not_ended_is_mentioned() {
    let lab = renewed(Options::nodes(1));
    let folder = lab.state_dir().join("certs").join(SERVICE);
    let generation = fs::read_link(folder.join("current")).unwrap();
    let begun = serde_json::json!({
        "generation": generation.to_str().unwrap(), "reason": "superseded", "begun_at": "2026-11-23T06:15:00Z"
    });
    fs::write(folder.join("revoke.json"), begun.to_string()).unwrap();
    for command in ["check", "renew"] {
        let output = lab.certd(&[command]);
        exits(&output, 0);
        let text = stdout(&output);
        assert!(text.contains("a revocation that began 2026-11-23 06:15 UTC is unfinished"), "{text}");
        assert!(text.contains("finish it: `certd revoke"), "{text}");
    }
}
