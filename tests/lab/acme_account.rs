//! The account at a CA: shown, made, given another key, ended. The binary against Pebble.

use crate::lab;

use std::fs;
use std::path::PathBuf;

use lab::config::ConfigText;
use lab::pebble::PebbleOptions;
use lab::printed::exits;
use lab::script::{Answer, Point};
use lab::{Lab, Options};
use serde_json::Value;

fn start() -> Lab {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { pebble, ..Options::nodes(1) });
    lab.write_config("");
    lab
}

fn folder(lab: &Lab) -> PathBuf {
    let accounts = lab.state_dir().join("accounts");
    fs::read_dir(accounts).unwrap().next().unwrap().unwrap().path()
}

fn key(lab: &Lab) -> Vec<u8> {
    fs::read(folder(lab).join("key.p8")).unwrap()
}

fn shown(lab: &Lab) -> Value {
    let output = lab.certd(&["account", "show", "--output", "json"]);
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["accounts"][0].take()
}

#[test]
fn an_account_is_made_once_and_shown_with_what_the_ca_offers() {
    let lab = start();
    let none = exits(&lab.certd(&["account", "show"]), 0);
    assert!(none.contains("none yet"), "{none}");
    assert!(!lab.state_dir().join("accounts").exists(), "a look makes nothing");
    exits(&lab.certd(&["account", "rollover"]), 5);

    assert!(exits(&lab.certd(&["account", "register"]), 0).contains("account made: https://"));
    assert!(exits(&lab.certd(&["account", "register"]), 0).contains("is there already: https://"));
    exits(&lab.certd(&["renew"]), 0);
    let text = exits(&lab.certd(&["account", "show"]), 0);
    for part in [
        "status:    valid",
        "contact:   mailto:ops@example.test",
        "key.p8 (thumbprint ",
        "terms:     data:text",
        "profile:   shortlived: shortlived",
        "newapi.example.test: 1 of 3 this week (5 in an emergency)",
        "renewal information (ARI): yes",
        "external account required: no",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let account = shown(&lab);
    assert_eq!(account["account"]["status"], "valid");
    assert_eq!(account["account"]["thumbprint"].as_str().unwrap().len(), 43);
    assert_eq!(account["week"]["newapi.example.test"]["used"], 1);
    assert_eq!(lab.proxy.script.count("new-account"), 1);
    exits(&lab.certd(&["account", "show", "--ca", "elsewhere.example"]), 2);
}

#[test]
fn a_ca_that_is_away_is_shown_as_far_as_it_is_known() {
    let lab = start();
    exits(&lab.certd(&["account", "register"]), 0);
    lab.proxy.script.fail("directory", 1, &Answer::new(503, "<html>\u{1b}[2Jaway</html>"));
    let text = exits(&lab.certd(&["account", "show"]), 5);
    assert!(text.contains("status:    unknown") && text.contains("HTTP status 503"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn contacts_follow_the_configuration() {
    let lab = start();
    exits(&lab.certd(&["account", "register"]), 0);
    let text = fs::read_to_string(lab.config_path()).unwrap();
    fs::write(lab.config_path(), text.replace("ops@example.test", "new@example.test")).unwrap();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(shown(&lab)["account"]["contact"], serde_json::json!(["mailto:new@example.test"]));
    assert_eq!(lab.proxy.script.count("account"), 3, "two looks and one update");
}

#[test]
fn the_key_is_changed_and_the_old_one_is_worth_nothing() {
    let lab = start();
    exits(&lab.certd(&["account", "register"]), 0);
    let (old, before) = (key(&lab), shown(&lab));
    let text = exits(&lab.certd(&["account", "rollover"]), 0);
    assert_ne!(key(&lab), old);
    assert!(!folder(&lab).join("key.next.p8").exists());
    let after = shown(&lab);
    assert_eq!(after["account"]["url"], before["account"]["url"]);
    assert!(text.contains(after["account"]["thumbprint"].as_str().unwrap()), "{text}");
    exits(&lab.certd(&["renew"]), 0);
    fs::write(folder(&lab).join("key.p8"), old).unwrap();
    exits(&lab.certd(&["renew", "--force"]), 5);
}

/// Whatever the CA had heard when certd was killed: the next run knows which key it has, and issues.
#[test]
fn p01_a_change_of_keys_that_is_killed_is_ended_by_the_next_run() {
    let (renew, rollover) = (&["renew"][..], &["account", "rollover"][..]);
    for (kind, point, then) in [
        ("key-change", Point::Before, renew),
        ("key-change", Point::After, renew),
        ("key-change", Point::Before, rollover),
        ("key-change", Point::After, rollover),
        ("new-account", Point::Before, renew),
    ] {
        let lab = start();
        exits(&lab.certd(&["account", "register"]), 0);
        let old = key(&lab);
        let held = lab.proxy.script.hold(kind, 1, point);
        let mut child = lab.spawn_certd(&["account", "rollover"]);
        held.wait();
        child.kill().unwrap();
        child.wait().unwrap();
        held.release();
        let next = folder(&lab).join("key.next.p8");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&next).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let new = fs::read(&next).unwrap();
        assert_eq!(shown(&lab)["account"]["key_change_begun"], true);

        exits(&lab.certd(then), 0);
        assert!(key(&lab) == new && new != old, "{kind} {then:?}");
        assert!(!next.exists());
        assert_eq!(shown(&lab)["account"]["status"], "valid");
        exits(&lab.certd(&["renew"]), 0);
        assert_eq!(lab.pebble.issued(), 1);
    }
}

#[test]
fn a_change_of_keys_that_the_ca_refuses_holds_no_order_up() {
    let lab = start();
    exits(&lab.certd(&["account", "register"]), 0);
    let refused = Answer::new(500, r#"{"type":"urn:ietf:params:acme:error:serverInternal","detail":"not today"}"#);
    lab.proxy.script.fail("key-change", 2, &refused);
    let old = key(&lab);
    assert!(exits(&lab.certd(&["account", "rollover"]), 5).contains("not today"));
    let text = exits(&lab.certd(&["renew"]), 0);
    assert!(text.contains("the key change of the account is unfinished"), "{text}");
    assert_eq!(key(&lab), old);
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert_ne!(key(&lab), old);
}

#[test]
fn a23_a_deactivated_account_is_told_in_words_by_every_order_and_no_other_is_made() {
    let lab = start();
    exits(&lab.certd(&["account", "register"]), 0);
    let refused = exits(&lab.certd(&["account", "deactivate"]), 2);
    assert!(refused.contains("--yes"), "{refused}");
    assert_eq!(shown(&lab)["account"]["status"], "valid");

    let text = exits(&lab.certd(&["account", "deactivate", "--yes"]), 0);
    assert!(text.contains("is deactivated: https://") && text.contains("accounts/"), "{text}");
    exits(&lab.certd(&["account", "deactivate", "--yes"]), 0);
    let text = exits(&lab.certd(&["renew"]), 5);
    assert!(text.contains("the account is deactivated, which is irreversible"), "{text}");
    let text = exits(&lab.certd(&["account", "show"]), 5);
    assert!(text.contains("status:    deactivated"), "{text}");
    assert_eq!((lab.proxy.script.count("new-account"), lab.pebble.issued()), (1, 0));

    // What the words say to do.
    fs::rename(folder(&lab), lab.state_dir().join("accounts.old")).unwrap();
    exits(&lab.certd(&["account", "register"]), 0);
    exits(&lab.certd(&["renew", "--force"]), 0);
}

#[test]
fn commands_that_change_the_account_wait_for_the_lock_and_a_look_does_not() {
    let lab = start();
    let held = lab.proxy.script.hold("new-order", 1, Point::Before);
    let mut renewal = lab.spawn_certd(&["renew"]);
    held.wait();
    for command in [&["register"][..], &["rollover"], &["deactivate", "--yes"]] {
        exits(&lab.certd(&[&["account"], command, &["--wait", "0s"]].concat()), 7);
    }
    exits(&lab.certd(&["account", "show"]), 0);
    held.release();
    assert_eq!(renewal.wait().unwrap().code(), Some(0));
}

#[test]
fn an_external_account_is_bound_by_register() {
    let hmac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = PebbleOptions { eab: Some(("kid-1".into(), hmac.into())), ..PebbleOptions::default() };
    let lab = Lab::start(Options { pebble, ..Options::nodes(1) });
    lab.write_config("");
    assert!(exits(&lab.certd(&["account", "register"]), 5).contains("write `eab`"));
    let file = lab.folder.join("eab.hmac");
    fs::write(&file, hmac).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let acme = format!("eab = {{ kid = \"kid-1\", hmac_file = {:?} }}", file.display().to_string());
    lab.write_config_with(&ConfigText { acme, ..ConfigText::default() });
    exits(&lab.certd(&["account", "register"]), 0);
    exits(&lab.certd(&["account", "rollover"]), 0);
    let text = exits(&lab.certd(&["account", "show"]), 0);
    assert!(text.contains("external account required: yes"), "{text}");
}

#[test]
fn a_ca_that_changes_no_keys_is_told_before_a_change_is_begun() {
    let lab = start();
    exits(&lab.certd(&["account", "register"]), 0);
    lab.proxy.script.rewrite("directory", 1, |body| body.replace("keyChange", "noKeyChange"));
    assert!(exits(&lab.certd(&["account", "rollover"]), 5).contains("offers no change of keys"));
    assert!(!folder(&lab).join("key.next.p8").exists());
}
