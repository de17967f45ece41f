//! Issuance where DNS or its API is unusual.

use super::*;

#[test]
fn d01_d05_a_record_behind_cnames_that_comes_late_is_waited_for() {
    let bench = Bench::start();
    bench.lab.dns.update(&format!("add {CHALLENGE}. 1 CNAME one.example.test."));
    bench.lab.dns.update("add one.example.test. 1 CNAME two.example.test.");
    bench.lab.dns.update("add two.example.test. 1 CNAME newapi.proofs.example.test.");
    bench.lab.dns.delay(Duration::from_secs(1));
    bench.issue().unwrap();
    assert!(bench.steps().contains("to show newapi.proofs.example.test"), "{}", bench.steps());
    assert_eq!(bench.count("challenge"), 1);
    assert!(bench.records().is_empty());
}

#[test]
fn d04_a_cname_leads_into_a_zone_that_is_there_for_proofs_alone() {
    let zones = vec!["example.test".to_owned(), "proofs.test".to_owned()];
    let bench = Bench::of(Lab::start(Options { zones, ..Options::nodes(1) }), &ConfigText::default());
    bench.lab.dns.update(&format!("add {CHALLENGE}. 1 CNAME newapi.proofs.test."));
    let held = bench.lab.cloudflare.script.hold("create", 1, Point::After);
    let cloudflare = bench.lab.cloudflare.clone();
    let made = std::thread::spawn(move || {
        held.wait();
        let made = cloudflare.records();
        held.release();
        made
    });
    bench.run(rehearse(&bench.context, &bench.context.config.certificates[0])).unwrap();
    assert_eq!(made.join().unwrap()[0].name, "newapi.proofs.test");
    assert!(bench.records().is_empty());
}

#[test]
fn d07_a_cname_into_a_zone_that_the_token_cannot_edit_is_told_before_any_order() {
    let zones = vec!["example.test".to_owned(), "elsewhere.test".to_owned()];
    let bench = Bench::of(Lab::start(Options { zones, ..Options::nodes(1) }), &ConfigText::default());
    bench.lab.cloudflare.with(|account| account.zones.retain(|zone| zone.name != "elsewhere.test"));
    bench.lab.dns.update(&format!("add {CHALLENGE}. 1 CNAME newapi.elsewhere.test."));
    let failure = bench.issue().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("dns-no-zone", Advice::Person), "{failure:?}");
    assert!(failure.what.contains("newapi.elsewhere.test"));
    assert_eq!(bench.count("new-order"), 0);
}

/// A wildcard for the web's names covers the challenge's name too, as long as nothing is there.
#[test]
fn d07_a_cname_that_a_wildcard_makes_into_a_zone_out_of_reach_is_not_followed() {
    let zones = vec!["example.test".to_owned(), "elsewhere.test".to_owned()];
    let bench = Bench::of(Lab::start(Options { zones, ..Options::nodes(1) }), &ConfigText::default());
    bench.lab.cloudflare.with(|account| account.zones.retain(|zone| zone.name != "elsewhere.test"));
    bench.lab.dns.update("add *.newapi.example.test. 1 CNAME edge.lb.elsewhere.test.");
    bench.issue().unwrap();
    assert!(bench.steps().contains(&format!("publish {CHALLENGE}")), "{}", bench.steps());
    assert!(bench.records().is_empty());
}

#[test]
fn d06_a_circle_of_cnames_is_an_error_before_any_order() {
    let bench = Bench::start();
    bench.lab.dns.update(&format!("add {CHALLENGE}. 1 CNAME one.example.test."));
    bench.lab.dns.update(&format!("add one.example.test. 1 CNAME {CHALLENGE}."));
    assert_eq!(bench.issue().unwrap_err().code.as_str(), "dns-cname-loop");
    assert_eq!(bench.count("new-order"), 0);
}

#[test]
fn c01_a_token_that_is_refused_is_a_persons_matter_and_no_order_is_made() {
    let mut bench = Bench::start();
    Arc::make_mut(&mut bench.context.secrets).dns_secret = Zeroizing::new("wrong".to_owned());
    let failure = bench.issue().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("dns-token", Advice::Person));
    assert!(!format!("{failure:?}").contains("wrong"));
    assert_eq!(bench.count("new-order"), 0);
}

#[test]
fn c06_a_record_whose_creation_was_not_answered_is_adopted() {
    let bench = Bench::start();
    bench.lab.cloudflare.script.cut("create", 1, Point::After);
    bench.issue().unwrap();
    assert_eq!(bench.lab.cloudflare.script.count("create"), 1);
    bench.assert_clean();
}

#[test]
fn c09_foreign_records_at_the_name_stay() {
    let bench = Bench::start();
    for n in 0..20 {
        bench.lab.cloudflare.add_txt(
            CHALLENGE,
            &format!("somebody-elses-value-that-makes-the-answer-long-{n:03}"),
            None,
        );
    }
    bench.issue().unwrap();
    assert_eq!(bench.records().len(), 20);
}

#[test]
fn c17_a_record_that_cannot_be_removed_keeps_nobody_from_a_certificate() {
    let bench = Bench::start();
    bench.lab.cloudflare.script.fail("delete", 3, &Answer::new(500, "<html>"));
    bench.issue().unwrap();
    assert_eq!(bench.context.store.txt_journal().unwrap().len(), 1);
    bench.run(clean_txt(&bench.context)).unwrap();
    bench.assert_clean();
}

#[test]
fn a_rehearsal_makes_sees_and_removes_a_record_and_asks_no_ca() {
    let bench = Bench::start();
    bench.run(rehearse(&bench.context, &bench.context.config.certificates[0])).unwrap();
    assert_eq!(bench.lab.cloudflare.script.count("create"), 1);
    assert!(bench.lab.proxy.script.calls().is_empty());
    bench.assert_clean();
}
