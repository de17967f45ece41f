//! Which zone, and whether it is served.

use certd::dns::{DnsError, Provider};
use certd::model::Advice;

use super::bench::{Bench, CHALLENGE, exits, service, txt, well};

#[test]
fn c03_a_token_that_may_not_read_zones_works_with_the_zones_id() {
    let bench = Bench::start();
    bench.lab.cloudflare.with(|account| account.zone_read = false);
    let refused = bench.run(bench.client().zone(CHALLENGE, Some("example.test"))).unwrap_err();
    assert_eq!((refused.code().as_str(), refused.advice()), ("dns-token-permission", Advice::Person), "{refused}");
    assert!(refused.next().contains("`dns.zone_id`"), "{}", refused.next());

    let id = bench.lab.cloudflare.with(|account| account.zones[0].id.clone());
    let client = bench.client_with(&bench.lab.token, Some(&id), Default::default());
    let before = bench.count("*");
    let handles = well(bench.publish(&client, &[txt(CHALLENGE, "value")]));
    assert!(bench.run(client.remove(&handles)).iter().all(Result::is_ok));
    assert_eq!(bench.count("*") - before, 2);
}

#[test]
fn c11_a_name_in_none_of_the_tokens_zones_is_told_with_what_to_do() {
    let bench = Bench::start();
    let missing = bench.run(bench.client().zone("_acme-challenge.www.other.test", Some("other.test"))).unwrap_err();
    assert!(matches!(missing, DnsError::NoZone { .. }), "{missing}");
    assert!(missing.to_string().contains("_acme-challenge.www.other.test"));
    assert_eq!(missing.advice(), Advice::Person);
    assert_eq!(bench.count("zones"), 2, "www.other.test too");
}

#[test]
fn c12_a_zone_among_a_hundred_others_is_found_and_a_list_is_read_to_its_end() {
    let bench = Bench::start();
    let id = bench.lab.cloudflare.with(|account| account.zones[0].id.clone());
    (0..130).for_each(|n| _ = bench.lab.cloudflare.add_zone(&format!("other-{n}.test")));
    assert_eq!(bench.zone(&bench.client()).id, id);
    // A list that heeds the name no more is three pages, and ours is on the last.
    bench.lab.cloudflare.with(|account| {
        account.zones.rotate_left(1);
        account.heeds_name = false;
    });
    assert_eq!(bench.zone(&bench.client()).id, id);
    assert_eq!(bench.count("zones"), 1 + 3);
}

#[test]
fn c13_of_two_zones_the_one_that_dns_shows_is_taken_else_the_longest() {
    let bench = Bench::start();
    let outer = bench.lab.cloudflare.with(|account| account.zones[0].id.clone());
    let nested = bench.lab.cloudflare.add_zone("newapi.example.test");
    let zone = |apex| bench.run(bench.client().zone(CHALLENGE, apex)).unwrap().id;
    assert_eq!(zone(Some("newapi.example.test")), nested);
    assert_eq!(zone(Some("example.test")), outer, "the nested one is not delegated");
    assert_eq!(zone(None), nested, "the longest suffix");
    assert_eq!(zone(Some("test")), nested, "a name that is no zone of anybody");
}

#[test]
fn d07_a_zone_above_the_one_that_dns_shows_is_no_place_for_a_record() {
    let bench = Bench::start();
    let error = bench.run(bench.client().zone(CHALLENGE, Some("newapi.example.test"))).unwrap_err();
    assert_eq!((error.code().as_str(), error.advice()), ("dns-no-zone", Advice::Person));
    assert!(error.to_string().ends_with("in DNS its zone is newapi.example.test"), "{error}");
}

#[test]
fn c14_two_zones_of_one_name_need_the_zones_id() {
    let bench = Bench::start();
    bench.lab.cloudflare.add_zone("example.test");
    let error = bench.run(bench.client().zone(CHALLENGE, Some("example.test"))).unwrap_err();
    assert_eq!((error.code().as_str(), error.advice()), ("dns-several-zones", Advice::Person));
    assert!(error.to_string().contains("2 zones of the name example.test"), "{error}");
    assert!(error.next().contains("`dns.zone_id`"));
}

#[test]
fn c19_a_zone_that_is_not_served_is_told_in_the_rehearsal_and_at_the_issuance() {
    let lab = service("");
    lab.cloudflare.with(|account| account.zones[0].status = "pending".into());
    for command in [&["renew", "--dry-run"][..], &["renew"]] {
        let text = exits(&lab.certd(command), 3);
        assert!(text.contains("example.test: it is pending: the registry does not name"), "{text}");
        assert!(text.contains("at the registrar"), "{text}");
    }
    // It is looked at again until it is in order, and then relied on.
    lab.cloudflare.with(|account| account.zones[0].status = "active".into());
    exits(&lab.certd(&["renew", "--force"]), 0);
    let zones = lab.cloudflare.script.count("zones");
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert_eq!(lab.cloudflare.script.count("zones"), zones);
    // A rehearsal relies on nothing that was kept.
    lab.cloudflare.with(|account| account.zones[0].paused = true);
    let text = exits(&lab.certd(&["renew", "--dry-run"]), 3);
    assert!(text.contains("example.test: it is paused: proxying is off, but its records are still served"), "{text}");
}
