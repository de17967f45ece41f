//! `certd doctor`, and the rehearsal that a pass makes by itself before a renewal.

#![allow(clippy::disallowed_methods, reason = "a test lives by the real clock")]

use crate::lab;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use lab::config::ConfigText;
use lab::nginx::NginxCommand;
use lab::printed::{exits, stderr, stdout};
use lab::script::Answer;
use lab::{Lab, Options, SERVICE};

fn states(report: &Value, area: &str) -> Vec<(String, String)> {
    let of_area = report["findings"].as_array().unwrap().iter().filter(|finding| finding["area"] == area);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_area.map(|finding| (text(&finding["object"]), text(&finding["state"]))).collect()
}

#[test]
fn a_name_that_a_wildcard_answers_for_is_named_and_one_with_records_of_its_own_is_not() {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    lab.dns.update(&format!("add {SERVICE}. 1 A 127.0.0.1"));
    let (_, above) = SERVICE.split_once('.').unwrap();
    lab.dns.update(&format!("add *.{above}. 1 A 127.0.0.1"));
    let text = exits(&lab.certd(&["doctor"]), 0);
    assert!(!text.contains("wildcard"), "it has an address of its own\n{text}");
    lab.dns.update(&format!("delete {SERVICE}. A"));
    let text = exits(&lab.certd(&["doctor"]), 3);
    assert!(text.contains("it has its addresses from a wildcard record alone"), "{text}");
}

#[test]
fn before_the_first_issuance_everything_is_tried_and_nothing_is_left_behind() {
    let lab = Lab::start(Options::nodes(2));
    lab.write_config("");
    let text = exits(&lab.certd(&["doctor"]), 0);
    for words in
        ["no account yet", "a TXT record was created", "its configuration test passes", "0 warnings, 0 failures"]
    {
        assert!(text.contains(words), "{words:?} in\n{text}");
    }
    assert_eq!(lab.pebble.issued(), 0);
    assert!(lab.cloudflare.records().is_empty());
    assert!(
        lab.nodes
            .iter()
            .all(|node| !node.folder.join("conf/ssl/.certd").exists() && node.calls(NginxCommand::Reload) == 0)
    );
}

#[test]
fn what_is_ill_is_told_line_by_line_with_the_code_of_the_day_on_which_it_would_matter() {
    let mut lab = Lab::start(Options::nodes(4));
    lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    exits(&lab.certd(&["doctor"]), 0);

    lab.nodes[0].stop_sshd();
    lab.nodes[1].change_host_key();
    lab.nodes[2].break_nginx_config();
    let soon = certd::context::clock::now() + jiff::SignedDuration::from_hours(30);
    lab.cloudflare.with(|account| account.token_expiry = Some(soon.to_string()));
    let output = lab.certd(&["doctor", "--output", "json"]);
    exits(&output, 6);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let mut nodes = states(&report, "nodes");
    nodes.sort();
    let expected = [("node-1", "failure"), ("node-2", "failure"), ("node-3", "failure"), ("node-4", "ok")];
    assert_eq!(nodes, expected.map(|(node, state)| (node.to_owned(), state.to_owned())));
    assert!(states(&report, "dns").contains(&("dns.token_file".to_owned(), "warning".to_owned())), "{report:#}");

    lab.proxy.script.fail("directory", 9, &Answer::new(503, "busy"));
    let output = lab.certd(&["doctor", "--output", "json"]);
    exits(&output, 6);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(report["exits"].as_array().unwrap().contains(&5.into()), "{report:#}");
    assert_eq!(states(&report, "ca")[0].1, "failure");
}

#[test]
fn every_file_that_is_missing_or_unfit_is_told_and_what_needs_none_is_tried() {
    let lab = Lab::start(Options::nodes(2));
    let path = lab.write_config("");
    let port = format!("port = {}", lab.nodes[1].ssh.port());
    let missing = format!("{port}, identity_files = [\"/nonexistent/id\"]");
    let text = fs::read_to_string(&path).unwrap().replace(&format!("ssh = {{ {port}"), &format!("ssh = {{ {missing}"));
    fs::write(&path, text).unwrap();
    fs::set_permissions(lab.folder.join("cloudflare.token"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = lab.certd(&["doctor", "--output", "json"]);
    exits(&output, 6);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["exits"], serde_json::json!([6, 5]), "{report:#}");
    let reply = |object: &str| {
        let findings = report["findings"].as_array().unwrap();
        findings.iter().find(|finding| finding["object"] == object).unwrap_or_else(|| panic!("{object}: {report:#}"))
    };
    let token = reply(&lab.folder.join("cloudflare.token").display().to_string());
    assert_eq!((&token["area"], &token["code"]), (&"dns".into(), &"secret-exposed".into()));
    let key = reply("/nonexistent/id");
    assert_eq!((&key["area"], &key["code"]), (&"nodes".into(), &"secret-unreadable".into()));
    assert!(key["what"].as_str().unwrap().ends_with("; not tested: node-2"), "{key:#}");
    assert_eq!(reply("node-1")["state"], "ok", "{report:#}");
    assert_eq!(states(&report, "ca")[0].1, "ok");
    assert_eq!(lab.nodes[1].ssh_connections() + lab.cloudflare.script.count("*"), 0);
}

#[test]
fn while_another_certd_is_at_work_no_record_is_tried() {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    let held = lab.nodes[0].hold_command(NginxCommand::Reload);
    let child = lab.spawn_certd(&["renew", "--force"]);
    held.wait();
    let text = exits(&lab.certd(&["doctor", "--node", "node-1"]), 0);
    assert!(text.contains("no TXT record was tested"), "{text}");
    held.release();
    exits(&child.wait_with_output().unwrap(), 0);
}

#[test]
fn what_would_fail_on_the_day_of_the_renewal_is_said_before_it_until_it_is_mended() {
    let mut lab = Lab::start(Options::nodes(2));
    // Of a profile that lasts for ninety days.
    let acme = "profile = \"default\"".into();
    lab.write_config_with(&ConfigText { acme, ..ConfigText::default() });
    exits(&lab.certd(&["renew"]), 0);
    let stored = fs::read_to_string(lab.state_dir().join("certs").join(SERVICE).join("current/cert.pem")).unwrap();
    let day = |days: i64| (certd::context::clock::now() + jiff::SignedDuration::from_hours(24 * days)).to_string();
    // Within a tenth of ninety days, and not yet due.
    let window = format!(r#"{{"suggestedWindow":{{"start":"{}","end":"{}"}}}}"#, day(2), day(3));
    lab.pebble.set_renewal_info(&stored, &window);
    forget_ari(&lab);
    lab.nodes[1].stop_sshd();

    let output = lab.certd(&["renew"]);
    let text = exits(&output, 3);
    assert!(text.contains("would fail") && text.contains("refuses the connection"), "{text}\n{}", stderr(&output));
    assert_eq!(lab.pebble.issued(), 1, "a rehearsal orders nothing");
    assert!(lab.cloudflare.records().is_empty());
    let before = lab.nodes[0].ssh_connections();
    assert!(exits(&lab.certd(&["check"]), 3).contains("would fail"), "it is reported until it is tried again");
    exits(&lab.certd(&["renew"]), 3);
    assert_eq!(lab.nodes[0].ssh_connections(), before, "once a day");

    lab.nodes[1].start_sshd();
    exits(&lab.certd(&["renew", "--dry-run"]), 0);
    assert!(!exits(&lab.certd(&["check"]), 0).contains("would fail"));
    assert_eq!(lab.pebble.issued(), 1);
}

fn forget_ari(lab: &Lab) {
    let path = lab.state_dir().join("state.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    state["tried"]["ari"] = serde_json::json!({});
    fs::write(&path, state.to_string()).unwrap();
}
