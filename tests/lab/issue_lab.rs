//! Issuing, against Pebble, BIND and the API double, through the library: what a pass does when a certificate is due.
//!
//! One file of over 400 lines: each test is a fault of one issuance, made on the same bench.

mod dns;
mod sections;

use crate::lab;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use certd::cert::NameSet;
use certd::execute::issue::{clean_txt, rehearse};
use certd::model::{Advice, LedgerEvent};
use certd::observe::ari::ask_ari;
use zeroize::Zeroizing;

use lab::bench::{Bench, CHALLENGE};
use lab::config::ConfigText;
use lab::pebble::PebbleOptions;
use lab::script::{Answer, Point};
use lab::{Lab, Options, SERVICE};

#[test]
fn a_certificate_is_issued_with_nine_requests_and_leaves_no_record() {
    let bench = Bench::start();
    let issued = bench.issue().unwrap();
    assert_eq!(issued.leaf.names, bench.task.names);
    let kept = bench.context.store.stored(bench.name()).unwrap();
    assert_eq!(kept.current.unwrap().generation, issued.generation);
    assert!(kept.pending.is_none());
    assert_eq!((bench.finalizes(), bench.lab.pebble.issued()), (1, 1));
    bench.assert_clean();

    let before = bench.lab.proxy.script.calls().len();
    bench.issue().unwrap();
    let calls = bench.lab.proxy.script.calls().split_off(before);
    let polls = calls.iter().filter(|call| *call == "order").count();
    println!("{calls:?}");
    assert!(calls.len() - polls.saturating_sub(2) <= 9, "{calls:?}");
    assert_eq!(bench.count("new-account"), 1);
}

#[test]
fn c10_apex_and_wildcard_share_a_name_and_are_proven_together() {
    let domains = ["deep.example.test", "*.deep.example.test", "www.example.test"];
    let bench = Bench::with(PebbleOptions::default(), &domains, &ConfigText::default());
    let issued = bench.issue().unwrap();
    assert_eq!(issued.leaf.names.len(), 3);
    bench.assert_clean();
}

#[test]
fn a01_half_of_the_nonces_are_refused_and_a_certificate_is_issued_all_the_same() {
    let pebble = PebbleOptions { nonce_reject: 50, ..PebbleOptions::default() };
    let bench = Bench::with(pebble, &[SERVICE], &ConfigText::default());
    bench.issue().unwrap();
    assert_eq!(bench.lab.pebble.issued(), 1);
}

#[test]
fn a01_a_ca_that_refuses_every_nonce_is_given_up_in_words() {
    let pebble = PebbleOptions { nonce_reject: 100, ..PebbleOptions::default() };
    let bench = Bench::with(pebble, &[SERVICE], &ConfigText::default());
    assert_eq!(bench.issue().unwrap_err().code.as_str(), "acme-bad-nonce");
    assert!(bench.count("new-account") <= 10);
}

#[test]
fn a24_new_terms_are_a_persons_matter_and_their_link_is_told() {
    let bench = Bench::start();
    let body = r#"{"type":"urn:ietf:params:acme:error:userActionRequired","detail":"terms have changed"}"#;
    let terms = Answer::new(403, body).header("link", "<https://ca.example/terms>;rel=\"terms-of-service\"");
    bench.lab.proxy.script.fail("new-order", 1, &terms);
    let failure = bench.issue().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("acme-terms", Advice::Person));
    assert!(failure.next.contains("https://ca.example/terms"), "{failure:?}");
}

#[test]
fn an_external_account_is_bound_before_the_first_order() {
    let hmac = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let pebble = PebbleOptions { eab: Some(("kid-1".into(), hmac.into())), ..PebbleOptions::default() };
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), hmac).unwrap();
    let eab = format!("eab = {{ kid = \"kid-1\", hmac_file = {:?} }}", file.path().display().to_string());
    let bench = Bench::with(pebble, &[SERVICE], &ConfigText { acme: eab, ..ConfigText::default() });
    bench.issue().unwrap();
}

#[test]
fn a_window_of_renewal_is_told_and_replaces_is_accepted_once() {
    let mut bench = Bench::start();
    let issued = bench.issue().unwrap();
    let ari = bench.run(ask_ari(&bench.context, &bench.task.ca, &issued.leaf)).unwrap();
    assert!(ari.start < ari.end && ari.ask_again > ari.asked_at);
    bench.task.replaces = issued.leaf.ari_id.clone();
    bench.task.exempt = true;
    bench.issue().unwrap();
    assert!(!bench.steps().contains("refuses"), "{}", bench.steps());
    // Replaced already: the CA refuses, and the order is made without.
    bench.issue().unwrap();
    assert!(bench.steps().contains("the CA refuses `replaces`"), "{}", bench.steps());
    let exempt: Vec<bool> = bench
        .context
        .store
        .ledger()
        .unwrap()
        .iter()
        .filter_map(|entry| match entry.event {
            LedgerEvent::Finalize { exempt } => Some(exempt),
            _ => None,
        })
        .collect();
    assert_eq!(exempt, [false, true, false]);
}

#[test]
fn a26_renewal_information_that_fails_is_an_error_and_nothing_more() {
    let bench = Bench::start();
    let leaf = bench.issue().unwrap().leaf;
    bench.lab.proxy.script.fail("renewal-info", 1, &Answer::new(404, "<html>no</html>"));
    assert_eq!(bench.run(ask_ari(&bench.context, &bench.task.ca, &leaf)).unwrap_err().code.as_str(), "acme-status");
}

#[test]
fn p01_a_run_killed_at_any_step_is_resumed_with_one_certificate_and_no_record_left() {
    for kind in ["new-account", "new-order", "authorization", "challenge", "order", "finalize", "certificate"] {
        for point in [Point::Before, Point::After] {
            let bench = Bench::start();
            bench.killed_at(bench.lab.proxy.script.hold(kind, 1, point));
            bench.issue().unwrap_or_else(|failure| panic!("after {kind}: {failure:?}"));
            bench.run(clean_txt(&bench.context)).unwrap();
            assert_eq!((bench.lab.pebble.issued(), bench.finalizes()), (1, 1), "after {kind}");
            bench.assert_clean();
        }
    }
}

#[test]
fn p01_a_run_killed_while_its_record_is_made_leaves_none() {
    for point in [Point::Before, Point::After] {
        let bench = Bench::start();
        bench.killed_at(bench.lab.cloudflare.script.hold("create", 1, point));
        assert_eq!(bench.context.store.txt_journal().unwrap().len(), 1);
        bench.issue().unwrap();
        bench.run(clean_txt(&bench.context)).unwrap();
        assert_eq!(bench.lab.pebble.issued(), 1);
        bench.assert_clean();
    }
}

#[test]
fn a10_what_the_ca_found_wrong_is_told_and_counted() {
    let bench = Bench::start();
    let held = bench.lab.proxy.script.hold("challenge", 1, Point::Before);
    let dns = Arc::clone(&bench.lab.dns);
    std::thread::spawn(move || {
        held.wait();
        dns.update(&format!("delete {CHALLENGE}. TXT"));
        held.release();
    });
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.object, SERVICE, "{failure:?}");
    let failed = bench.context.store.ledger().unwrap();
    assert!(
        failed
            .iter()
            .any(|e| matches!(&e.event, LedgerEvent::AuthorizationFailed { name } if name.as_str() == SERVICE))
    );
    assert!(bench.context.store.stored(bench.name()).unwrap().pending.unwrap().order_url.is_none());
    bench.assert_clean();
}

#[test]
fn a13_a_finalize_whose_answer_is_lost_costs_no_second_certificate() {
    let bench = Bench::start();
    bench.lab.proxy.script.cut("finalize", 1, Point::After);
    bench.issue().unwrap();
    assert_eq!((bench.lab.pebble.issued(), bench.count("finalize")), (1, 1));
}

#[test]
fn a14_a_certificate_that_is_not_there_yet_is_asked_for_again() {
    let bench = Bench::start();
    bench.lab.proxy.script.fail("certificate", 2, &Answer::new(500, "<html>oops</html>"));
    bench.issue().unwrap();
    assert_eq!(bench.lab.pebble.issued(), 1);
}

#[test]
fn a02_a_rate_limit_is_recorded_with_its_end() {
    let bench = Bench::start();
    let body = r#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates","status":429}"#;
    let limited =
        Answer::new(429, body).header("retry-after", "7200").header("content-type", "application/problem+json");
    bench.lab.proxy.script.fail("new-order", 1, &limited);
    let failure = bench.issue().unwrap_err();
    assert_eq!(
        (failure.code.as_str(), failure.advice),
        ("acme-rate-limited", Advice::Retry { after_seconds: Some(7200) })
    );
    let ledger = bench.context.store.ledger().unwrap();
    assert!(
        ledger
            .iter()
            .any(|e| matches!(e.event, LedgerEvent::Limited { until } if until.duration_since(e.at).as_secs() >= 7199))
    );
    assert_eq!(bench.count("new-order"), 1);
}

#[test]
fn a15_a_chain_that_is_cut_short_is_rejected_and_fetched_again_without_a_new_order() {
    let bench = Bench::start();
    let leaf_alone = |pem: String| pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().to_owned();
    bench.lab.proxy.script.rewrite("certificate", 1, leaf_alone);
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.code.as_str(), "acme-rejected-certificate", "{failure:?}");
    assert!(bench.context.store.stored(bench.name()).unwrap().current.is_none());
    bench.assert_clean();
    bench.issue().unwrap();
    assert_eq!((bench.lab.pebble.issued(), bench.count("new-order")), (1, 1));
}

#[test]
fn a23_an_account_that_the_ca_has_deactivated_stops_everything() {
    let bench = Bench::start();
    bench.issue().unwrap();
    let body = r#"{"type":"urn:ietf:params:acme:error:unauthorized","detail":"account is deactivated","status":403}"#;
    bench.lab.proxy.script.fail("new-order", 1, &Answer::new(403, body));
    let failure = bench.issue().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("acme-account", Advice::Person));
    assert_eq!(bench.count("new-account"), 1);
}

#[test]
fn a34_an_order_that_leads_to_another_host_is_not_followed() {
    let bench = Bench::start();
    let away = |body: String| body.replace("https://127", "https://128");
    bench.lab.proxy.script.rewrite("new-order", 1, away);
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.code.as_str(), "acme-elsewhere", "{failure:?}");
}

#[test]
fn names_can_change_while_an_order_is_pending() {
    let mut bench = Bench::start();
    bench.lab.proxy.script.fail(
        "finalize",
        1,
        &Answer::new(403, r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"no"}"#),
    );
    bench.issue().unwrap_err();
    let more = ["www.example.test", SERVICE].map(|name| certd::cert::DnsName::parse(name).unwrap());
    bench.task.names = more.into_iter().collect::<NameSet>();
    assert_eq!(bench.issue().unwrap().leaf.names.len(), 2);
}

#[test]
fn a07_a09_an_answer_that_is_no_json_or_never_ends_is_an_error_in_words() {
    let bench = Bench::start();
    bench.lab.proxy.script.fail("directory", 1, &Answer::new(200, "{\"newNonce\":"));
    assert_eq!(bench.issue().unwrap_err().code.as_str(), "acme-strange-answer");
    bench.lab.proxy.script.fail("directory", 1, &Answer::new(200, &"x".repeat(2 << 20)));
    let failure = bench.issue().unwrap_err();
    assert!(failure.what.ends_with("the answer is longer than 1048576 bytes"), "{failure:?}");
    bench.lab.proxy.script.fail("new-order", 2, &Answer::new(502, "<html>\u{1b}[2Jbad gateway</html>"));
    bench.issue().unwrap();
}

#[test]
fn a08_a_ca_whose_root_is_not_trusted_is_not_talked_to() {
    let mut bench = Bench::start();
    let ca = bench.task.ca.clone();
    Arc::make_mut(&mut bench.context.secrets).acme_ca.insert(ca, bench.lab.old_authority.pem());
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.code.as_str(), "acme-unreachable", "{failure:?}");
    assert!(failure.what.contains("certificate"), "{failure:?}");
}

#[test]
fn d02_a_name_server_that_never_answers_is_passed_over_and_named() {
    let mut bench = Bench::start();
    let dead = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = dead.local_addr().unwrap();
    let config = Arc::get_mut(&mut bench.context.config).unwrap();
    config.dns.nameservers = vec![bench.lab.dns.at, dead];
    bench.issue().unwrap();
    assert!(bench.steps().contains(&format!("passed over, since they never answered: {dead}")), "{}", bench.steps());
}

#[test]
fn a_page_that_a_proxy_puts_in_the_place_of_the_order_costs_no_second_certificate() {
    for status in [403, 404, 410] {
        let bench = Bench::start();
        bench.killed_at(bench.lab.proxy.script.hold("certificate", 1, Point::Before));
        bench.lab.proxy.script.fail("order", 1, &Answer::new(status, "<html>blocked</html>"));
        let failure = bench.issue().unwrap_err();
        assert_eq!(failure.code.as_str(), "acme-status", "{failure:?}");
        bench.issue().unwrap();
        assert_eq!((bench.lab.pebble.issued(), bench.count("new-order")), (1, 1), "{status}");
    }
}

#[test]
fn an_order_with_a_thousand_authorizations_is_refused_before_any_record_is_made() {
    let bench = Bench::start();
    let many = |body: String| {
        let mut order: serde_json::Value = serde_json::from_str(&body).unwrap();
        let one = order["authorizations"][0].clone();
        order["authorizations"] = vec![one; 1000].into();
        order.to_string()
    };
    bench.lab.proxy.script.rewrite("new-order", 1, many);
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.code.as_str(), "acme-strange-answer", "{failure:?}");
    assert!(bench.count("authorization") < 10, "{}", bench.count("authorization"));
    assert_eq!(bench.lab.cloudflare.script.count("create"), 0);
}

#[test]
fn i06_an_order_whose_replaces_is_refused_needs_room_in_the_ledger() {
    let mut bench = Bench::start();
    let issued = bench.issue().unwrap();
    let one = bench.context.store.ledger().unwrap().remove(0);
    (0..2).for_each(|_| bench.context.store.note_ledger(&one).unwrap());
    bench.task.replaces = issued.leaf.ari_id.clone();
    bench.task.exempt = true;
    bench.issue().unwrap();
    // Replaced already: without `replaces` it would be the fourth of the week.
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.code.as_str(), "ledger-full", "{failure:?}");
    assert!(failure.what.starts_with("the CA refuses `replaces`; another order has to wait until"), "{failure:?}");
    assert_eq!(bench.lab.pebble.issued(), 2);
}

#[test]
fn i06_an_order_that_the_ca_refused_is_told_in_its_words_when_there_is_no_room_for_another() {
    let bench = Bench::start();
    bench.issue().unwrap();
    let one = bench.context.store.ledger().unwrap().remove(0);
    bench.killed_at(bench.lab.proxy.script.hold("finalize", 1, Point::Before));
    (0..2).for_each(|_| bench.context.store.note_ledger(&one).unwrap());
    bench.lab.proxy.script.rewrite("order", 1, |body| {
        let mut order: serde_json::Value = serde_json::from_str(&body).unwrap();
        order["status"] = "invalid".into();
        order["error"] = serde_json::json!({"type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no"});
        order.to_string()
    });
    let failure = bench.issue().unwrap_err();
    assert_eq!(failure.code.as_str(), "ledger-full", "{failure:?}");
    let reply = failure.what.contains("CAA says no (caa); another order has to wait until");
    assert!(reply, "{failure:?}");
}
