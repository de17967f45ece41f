//! dns-persist-01, against Pebble and BIND: one record that stays, and no write to DNS at any renewal.

use crate::lab;

use certd::config::{Acme, Challenge};
use certd::execute::issue::rehearse;
use certd::model::Advice;
use lab::SERVICE;
use lab::bench::Bench;
use lab::config::ConfigText;
use lab::pebble::PebbleOptions;

const RECORD: &str = "_validation-persist.newapi.example.test";

fn bench(domains: &[&str]) -> Bench {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let mut bench = Bench::with(pebble, domains, &ConfigText::default());
    bench.configure(|config| config.acme.challenge = Challenge::DnsPersist01);
    bench
}

/// The records that the words of a failure say are to be made.
fn make(bench: &Bench, next: &str) {
    let (_, records) = next.split_once("leave there: ").unwrap();
    for record in records.split(" and ") {
        let (name, value) = record.split_once(". TXT ").unwrap();
        bench.lab.dns.add_txt(name, value.trim_matches('"'));
    }
}

#[test]
fn a_missing_record_is_told_as_it_is_to_be_written_and_then_issues_without_any_write() {
    let mut bench = bench(&[SERVICE]);
    let failure = bench.issue().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("acme-no-standing-record", Advice::Person), "{failure:?}");
    assert_eq!(failure.object, SERVICE);
    assert!(
        failure.next.contains(&format!("{RECORD}. TXT \"")) && failure.next.contains("accounturi=https://"),
        "{failure:?}"
    );
    assert_eq!(bench.count("challenge"), 0, "the CA was not asked to look");

    make(&bench, &failure.next);
    bench.issue().unwrap();
    // A renewal.
    bench.issue().unwrap();
    assert_eq!((bench.lab.pebble.issued(), bench.count("new-order")), (2, 2), "the first order was resumed");
    assert_eq!(bench.lab.cloudflare.script.count("*"), 0);
    assert_eq!(bench.lab.dns.txt(RECORD).len(), 1, "it stays");
    bench.run(rehearse(&bench.context, &bench.context.config.certificates[0])).unwrap();
    bench.lab.dns.update(&format!("delete {RECORD}. TXT"));
    let failure = bench.run(rehearse(&bench.context, &bench.context.config.certificates[0])).unwrap_err();
    assert_eq!(failure.code.as_str(), "acme-no-standing-record");
    bench.configure(|config| config.acme.challenge = Challenge::Dns01);
    bench.issue().unwrap();
}

#[test]
fn a_rehearsal_tries_the_challenge_of_every_ca_that_may_be_asked() {
    let mut bench = bench(&[SERVICE]);
    let failure = bench.issue().unwrap_err();
    make(&bench, &failure.next);
    bench.configure(|config| {
        let host = "other.invalid".to_owned();
        config.fallback = vec![Acme { host, challenge: Challenge::Dns01, ..config.acme.clone() }];
    });
    bench.run(rehearse(&bench.context, &bench.context.config.certificates[0])).unwrap();
    assert!(bench.lab.cloudflare.script.count("create") > 0, "the second CA's record was made");
    bench.configure(|config| core::mem::swap(&mut config.acme, &mut config.fallback[0]));
    bench.lab.dns.update(&format!("delete {RECORD}. TXT"));
    let failure = bench.run(rehearse(&bench.context, &bench.context.config.certificates[0])).unwrap_err();
    assert_eq!(failure.code.as_str(), "acme-no-standing-record");
}

#[test]
fn one_record_proves_a_name_and_its_wildcard() {
    let bench = bench(&["deep.example.test", "*.deep.example.test"]);
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.next.matches("_validation-persist").count(), 1, "{failure:?}");
    assert!(failure.next.contains("policy=wildcard"), "{failure:?}");
    // Without the policy it proves the name alone.
    let narrow = failure.next.replace("; policy=wildcard", "");
    make(&bench, &narrow);
    assert!(bench.issue().unwrap_err().next.contains("policy=wildcard"));
    make(&bench, &failure.next);
    assert_eq!(bench.issue().unwrap().leaf.names.len(), 2);
}

#[test]
fn a_record_for_another_account_proves_nothing() {
    let bench = bench(&[SERVICE]);
    let next = bench.issue().unwrap_err().next;
    make(&bench, &next.replace("accounturi=https://", "accounturi=https://x."));
    assert_eq!(bench.issue().unwrap_err().code.as_str(), "acme-no-standing-record");
    assert_eq!(bench.count("challenge"), 0);
}

#[test]
fn a_ca_that_does_not_offer_the_challenge_is_told_and_no_record_is_asked_for() {
    let bench = bench(&[SERVICE]);
    bench.lab.proxy.script.rewrite("authorization", 1, |body| body.replace("dns-persist-01", "dns-future-01"));
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.code.as_str(), "acme-no-challenge", "{failure:?}");
    assert!(failure.what.contains("`acme.challenge`"), "{failure:?}");
}

#[test]
fn the_account_shows_and_makes_the_records_that_it_needs_and_nothing_removes_them() {
    let lab = lab::Lab::start(lab::Options::nodes(1));
    let acme = "challenge = \"dns-persist-01\"".to_owned();
    lab.write_config_with(&ConfigText { acme, ..ConfigText::default() });
    let certd = |arguments: &[&str], code: i32| {
        let output = lab.certd(arguments);
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    };
    assert!(certd(&["account", "persist"], 5).contains("there is no account"));
    certd(&["account", "register"], 0);
    let line = format!("{RECORD}. TXT \"pebble.letsencrypt.org; accounturi=https://");
    assert!(certd(&["account", "show"], 0).contains(&format!("record:    {line}")));
    let reply = certd(&["renew"], 5);
    assert!(reply.contains(&format!("make once, and leave there: {line}")), "{reply}");
    assert!(lab.cloudflare.records().is_empty());

    assert!(certd(&["account", "persist"], 0).contains(&format!("made: {line}")));
    certd(&["account", "persist"], 0);
    certd(&["renew", "--force"], 0);
    certd(&["renew", "--force"], 0);
    assert_eq!(lab.cloudflare.records().len(), 1, "once, and it stays: {:?}", lab.cloudflare.records());
    assert_eq!(lab.cloudflare.script.count("delete"), 0);
}
