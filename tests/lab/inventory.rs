//! DNS against the nodes: what differs is reported with what to do, and keeps nothing from being renewed.

use crate::lab;

use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use lab::config::ConfigText;
use lab::printed::{exits, stdout};
use lab::{Lab, Options, SERVICE};

fn renewed(nodes: usize) -> Lab {
    let lab = Lab::start(Options::nodes(nodes));
    lab.write_config("");
    exits(&lab.certd(&["renew"]), 0);
    lab
}

impl Lab {
    fn record(&self, change: &str) {
        self.dns.update(change);
    }

    /// The codes of what a check finds, and all that it says.
    fn check(&self, code: i32) -> (Vec<String>, String) {
        let output = self.certd(&["check", "--output", "json"]);
        exits(&output, code);
        let text = stdout(&self.certd(&["check"]));
        (codes(&output), text)
    }
}

fn codes(output: &Output) -> Vec<String> {
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stdout(output)));
    let names = report["inventory"].as_array().expect("a section of its own");
    let findings = names.iter().flat_map(|name| name["findings"].as_array().expect("findings"));
    findings.map(|finding| finding["code"].as_str().expect("a code").to_owned()).collect()
}

#[test]
fn names_that_lead_to_their_nodes_are_well_and_the_api_is_not_asked_for_them() {
    let lab = renewed(2);
    let lists = lab.cloudflare.script.count("records");
    let output = lab.certd(&["renew", "--output", "json"]);
    exits(&output, 0);
    assert!(codes(&output).is_empty());
    assert_eq!(lab.cloudflare.script.count("records"), lists);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = &report["inventory"][0];
    assert_eq!(name["name"], SERVICE);
    assert_eq!(name["addresses"], serde_json::json!([lab.ip(0), lab.ip(1)]));
    assert_eq!(name["ttl"], 1);
    let (found, text) = lab.check(0);
    assert!(found.is_empty() && !text.contains("next:"), "{text}");
}

#[test]
fn an_address_that_is_no_node_and_a_node_that_is_in_no_record_are_warnings_in_check_and_renew() {
    let lab = renewed(2);
    lab.record(&format!("add {SERVICE}. 1 A 192.0.2.77"));
    lab.record(&format!("delete {SERVICE}. A {}", lab.ip(1)));
    let (found, text) = lab.check(3);
    assert_eq!(found, ["inventory-stranger", "inventory-node-unlisted"]);
    assert!(text.contains("1 of its addresses is no node's: 192.0.2.77"), "{text}");
    assert!(text.contains("no record leads to node-2"), "{text}");
    for command in [&["renew"][..], &["renew", "--dry-run"], &["plan"]] {
        exits(&lab.certd(command), 3);
    }
    assert_eq!(lab.pebble.issued(), 1);
    let output = lab.certd(&["deploy", "--node", "node-1"]);
    exits(&output, 0);
}

#[test]
fn a_certificate_that_says_so_is_not_compared_with_its_nodes() {
    let lab = renewed(1);
    lab.record(&format!("add {SERVICE}. 1 A 192.0.2.77"));
    let certificate = |more| format!("[[certificate]]\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\n{more}\n");
    let write = |more| {
        let certificates = Some(certificate(more));
        lab.write_config_with(&ConfigText { certificates, ..ConfigText::default() });
    };
    write("inventory = false");
    let (found, _) = lab.check(0);
    assert!(found.is_empty());
    write("");
    lab.check(3);
}

#[test]
fn a_long_ttl_and_a_name_without_addresses_and_a_cname_are_told() {
    let lab = renewed(1);
    lab.record(&format!("delete {SERVICE}. A"));
    let (found, _) = lab.check(0);
    assert_eq!(found, ["inventory-no-address"], "a note, and no alarm");
    lab.record(&format!("add {SERVICE}. 301 A {}", lab.ip(0)));
    let (found, text) = lab.check(3);
    assert_eq!(found, ["inventory-ttl"]);
    assert!(text.contains("its TTL is 301 s"), "{text}");
    lab.record(&format!("delete {SERVICE}. A"));
    lab.record(&format!("add fleet.example.test. 300 A {}", lab.ip(0)));
    lab.record(&format!("add {SERVICE}. 1 CNAME fleet.example.test."));
    let (found, text) = lab.check(0);
    assert_eq!(found, ["inventory-cname"], "it leads to the node all the same");
    assert!(text.contains("is a CNAME of fleet.example.test"), "{text}");
    lab.record("delete fleet.example.test. A");
    lab.record("add fleet.example.test. 1 A 192.0.2.77");
    let (found, text) = lab.check(3);
    assert_eq!(found, ["inventory-cname", "inventory-stranger"]);
    assert!(text.contains("none of its addresses is a node's: 192.0.2.77") && text.contains("orange cloud"), "{text}");
}

#[test]
fn caa_records_that_let_nobody_issue_are_told_before_an_issuance_fails() {
    let lab = renewed(1);
    lab.record("add example.test. 1 CAA 0 issue \";\"");
    let (found, text) = lab.check(3);
    assert_eq!(found, ["inventory-caa"]);
    assert!(text.contains("the CAA records of example.test let nobody issue"), "{text}");
    // The nearest name that has any counts (RFC 8659 section 3), and a contact restricts nobody.
    lab.record(&format!("add {SERVICE}. 1 CAA 0 iodef \"mailto:ops@example.test\""));
    lab.check(0);
    lab.record(&format!("add {SERVICE}. 1 CAA 128 unheardof \"x\""));
    let (_, text) = lab.check(3);
    assert!(text.contains("critical tag \"unheardof\""), "{text}");
}

#[test]
fn a_resolver_that_shows_others_than_the_zones_own_servers_is_told() {
    let lab = renewed(1);
    let old = lab.second_name_server(lab.dns.zones(), Duration::ZERO);
    let dns = format!("inventory_resolvers = [\"{}\"]\n", old.at);
    lab.write_config_with(&ConfigText { dns, ..ConfigText::default() });
    lab.check(0);
    lab.record(&format!("add {SERVICE}. 1 AAAA 2001:db8::7"));
    let (found, text) = lab.check(3);
    assert_eq!(found, ["inventory-stranger", "inventory-resolver-differs"]);
    assert!(text.contains(&format!("{} shows {}, for 1 s more; its own servers show", old.at, lab.ip(0))), "{text}");
}

#[test]
fn servers_of_one_zone_that_differ_are_told() {
    let lab = renewed(1);
    let old = lab.second_name_server(lab.dns.zones(), Duration::ZERO);
    lab.record(&format!("delete {SERVICE}. A"));
    lab.record(&format!("add {SERVICE}. 1 A {}", lab.ip(0)));
    let dns = format!("nameservers = [\"{}\", \"{}\"]\n", lab.dns.at, old.at);
    if lab.dns.is_standard_port() {
        lab.write_config_with(&ConfigText { dns, ..ConfigText::default() });
    } else {
        lab.replace_line("nameservers", &dns);
    }
    lab.check(0);
    lab.record(&format!("add {SERVICE}. 1 A 192.0.2.77"));
    let (found, _) = lab.check(3);
    assert_eq!(found, ["inventory-stranger", "inventory-servers-differ"]);
}

#[test]
fn a_proxied_record_is_known_by_its_address_or_the_api_and_else_guessed() {
    let lab = renewed(1);
    lab.cloudflare.add_address(SERVICE, lab.nodes[0].tls.ip(), true);
    lab.record(&format!("delete {SERVICE}. A"));
    lab.record(&format!("add {SERVICE}. 300 A 104.16.0.1"));
    assert_eq!(lab.check(3).0, ["inventory-proxied"], "an address that Cloudflare publishes");

    lab.record(&format!("delete {SERVICE}. A"));
    lab.record(&format!("add {SERVICE}. 300 A 203.0.113.9"));
    let (found, text) = lab.check(3);
    assert_eq!(found, ["inventory-stranger"], "a check has no token");
    assert!(text.contains("if it is proxied (the orange cloud), set it to \"DNS only\""), "{text}");
    let output = lab.certd(&["renew", "--output", "json"]);
    exits(&output, 3);
    assert_eq!(codes(&output), ["inventory-proxied"]);
}

#[test]
fn dns_that_does_not_answer_is_a_note_and_keeps_nothing_from_being_done() {
    let lab = renewed(1);
    lab.replace_line("resolvers", "resolvers = [\"127.0.0.1:1\"]\ndoh = []");
    let (found, text) = lab.check(0);
    assert_eq!(found, ["inventory-unasked"]);
    assert!(text.contains("its addresses could not be looked up"), "{text}");
    exits(&lab.certd(&["deploy"]), 0);
}

#[test]
fn every_record_is_shown_with_what_answers_there_and_how_answers_rotate() {
    let lab = renewed(2);
    lab.write_config("[health]\nstatus = [200]\n");
    let json = |code: i32, arguments: &[&str]| -> Value {
        let output = lab.certd(&[&["dns", "check", "--output", "json"], arguments].concat());
        exits(&output, code);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let checked = json(0, &["--health", "--questions", "20"]);
    let name = &checked["names"][0];
    assert_eq!((name["name"].as_str(), &name["unlisted"]), (Some(SERVICE), &serde_json::json!([])));
    assert_eq!(name["servers"][0]["authoritative"], true);
    assert_eq!(name["servers"][0]["ttl"], 1);
    for (number, address) in name["addresses"].as_array().unwrap().iter().enumerate() {
        assert_eq!(address["address"], lab.ip(number));
        assert_eq!(address["nodes"], serde_json::json!([format!("node-{}", number + 1)]));
        assert_eq!((address["served"][0]["verdict"].as_str(), address["proxied"].as_bool()), (Some("ok"), Some(false)));
        assert_eq!((&address["health"], &address["answers"]), (&serde_json::json!(["ok"]), &20.into()));
    }
    let first = name["rotation"][0]["first"].as_object().unwrap().values().map(|count| count.as_u64().unwrap());
    assert_eq!(first.sum::<u64>(), 20);

    // A record of nobody's, where nothing answers, and a node without one.
    let stranger = lab.ip(0).rsplit_once('.').unwrap().0.to_owned() + ".250";
    lab.record(&format!("add {SERVICE}. 1 A {stranger}"));
    lab.record(&format!("delete {SERVICE}. A {}", lab.ip(1)));
    let checked = json(4, &["--questions", "0"]);
    let name = &checked["names"][0];
    assert_eq!(name["unlisted"], serde_json::json!(["node-2"]));
    let found = name["addresses"].as_array().unwrap().iter().find(|it| it["address"] == *stranger).unwrap().clone();
    assert_eq!((&found["nodes"], &found["served"][0]["verdict"]), (&serde_json::json!([]), &"unreachable".into()));
    let port = |address: &Value| address.as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let of_node = name["addresses"].as_array().unwrap().iter().find(|it| it["address"] == *lab.ip(0)).unwrap();
    assert_eq!(port(&found["served"][0]["address"]), port(&of_node["served"][0]["address"]), "as visitors come");
    let codes: Vec<&str> = name["findings"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["inventory-stranger", "inventory-node-unlisted"], "as a check says");
    let output = lab.certd(&["dns", "check"]);
    let text = exits(&output, 4);
    for words in ["its own", "(no node)", "of 30", "30 answers to 30 questions for A", "no record leads to node-2"] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    // Without the token it goes on by the addresses alone.
    std::fs::remove_file(lab.folder.join("cloudflare.token")).unwrap();
    json(4, &["--questions", "0"]);
}
