//! How many requests it takes.

use certd::dns::{Handle, Provider};

use super::bench::{Bench, CHALLENGE, asked, exits, lab, many, service, txt, well};
use crate::lab::SERVICE;
use crate::lab::config::ConfigText;

#[test]
fn a_first_issuance_takes_three_requests_and_the_next_ones_two() {
    let lab = service("");
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(asked(&lab, 0), ["zones", "create", "delete"]);
    let before = lab.cloudflare.script.count("*");
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert_eq!(asked(&lab, before), ["create", "delete"], "the zone's id is known");
    assert_eq!(lab.cloudflare.script.count("verify"), 1, "the token is asked about once a day");
}

#[test]
fn an_issuance_with_a_zones_id_takes_two_requests() {
    let lab = service("");
    let id = lab.cloudflare.with(|account| account.zones[0].id.clone());
    lab.write_config_with(&ConfigText { dns: format!("zone_id = {id:?}"), ..ConfigText::default() });
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(asked(&lab, 0), ["create", "delete"]);
}

#[test]
fn a_certificate_of_many_names_takes_as_many_requests_as_one_of_one() {
    let names: Vec<String> = (0..23).map(|n| format!("host-{n}.example.test")).collect();
    let mut domains = vec!["deep.example.test", "*.deep.example.test"];
    domains.extend(names.iter().map(String::as_str));
    let lab = lab(&domains, "");
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(asked(&lab, 0), ["zones", "batch", "batch"]);
    assert!(lab.cloudflare.records().is_empty());
    let before = lab.cloudflare.script.count("*");
    exits(&lab.certd(&["renew", "--force"]), 0);
    assert_eq!(asked(&lab, before), ["batch", "batch"]);
}

#[test]
fn more_records_than_a_batch_takes_are_several_batches() {
    let bench = Bench::start();
    let client = bench.client();
    // The double publishes each by itself; none of these names is in DNS.
    bench.lab.dns.hold();
    let handles = well(bench.publish(&client, &many(201)));
    assert_eq!(handles.len(), 201);
    assert_eq!((bench.count("batch"), bench.count("create")), (1, 1));
    assert!(bench.run(client.remove(&handles)).iter().all(Result::is_ok));
    assert_eq!((bench.count("batch"), bench.count("delete")), (2, 1));
    assert!(bench.lab.cloudflare.records().is_empty());
}

#[test]
fn a_known_zone_that_is_refused_is_looked_up_anew_once() {
    let bench = Bench::start();
    let first = bench.client();
    let old = bench.zone(&first);
    // It was removed and added again.
    let new = bench.lab.cloudflare.add_zone("example.test");
    bench.lab.cloudflare.with(|account| account.zones.retain(|zone| zone.id != old.id));

    let client = bench.client_with(&bench.lab.token, None, first.zones());
    let handles = well(bench.publish(&client, &[txt(CHALLENGE, "value")]));
    assert_eq!(handles[0].zone, new);
    assert_eq!((bench.count("zones"), bench.count("create")), (2, 2));
    assert_eq!(bench.zone(&client).id, new, "and the new one is known");
    assert_eq!(bench.count("zones"), 2);

    // Not permitted, whatever its id: asked once and no more.
    let client = bench.client_with(&bench.lab.token, None, client.zones());
    bench.lab.cloudflare.with(|account| account.zones[0].permitted = false);
    let refused = bench.publish(&client, &[txt(CHALLENGE, "other")]).remove(0).unwrap_err();
    assert_eq!(refused.code().as_str(), "dns-token-permission", "{refused}");
    assert_eq!((bench.count("zones"), bench.count("create")), (3, 3));
}

#[test]
fn a_record_whose_zone_was_replaced_is_removed_from_the_new_one() {
    let bench = Bench::start();
    let first = bench.client();
    let handle = well(bench.publish(&first, &[txt(CHALLENGE, "value")])).remove(0);
    let new = bench.lab.cloudflare.add_zone("example.test");
    bench.lab.cloudflare.with(|account| {
        account.zones.retain(|zone| zone.id == new);
        account.records.iter_mut().for_each(|record| record.zone.clone_from(&new));
    });
    let client = bench.client_with(&bench.lab.token, None, first.zones());
    assert!(bench.run(client.remove(&[handle])).iter().all(Result::is_ok));
    assert!(bench.lab.cloudflare.records().is_empty());
}

#[test]
fn c08_records_that_another_provider_made_before_are_known_by_their_values() {
    let bench = Bench::start();
    let client = bench.client();
    let foreign = bench.lab.cloudflare.add_txt(CHALLENGE, "foreign", None);
    bench.lab.cloudflare.add_txt(CHALLENGE, "ours", None);
    // As the journal has them from `rfc2136` or `exec`: the zone is a name, and no record has an id.
    let handle = |value: &str| Handle {
        zone: "example.test".to_owned(),
        name: CHALLENGE.to_owned(),
        value: value.to_owned(),
        record: Some(String::new()),
    };
    let removed = bench.run(client.remove(&[handle("ours"), handle("gone")]));
    assert!(removed.iter().all(Result::is_ok), "{removed:?}");
    let left: Vec<String> = bench.lab.cloudflare.records().into_iter().map(|record| record.id).collect();
    assert_eq!(left, [foreign]);
}

#[test]
fn a_zone_whose_records_are_not_seen_is_not_relied_on_any_more() {
    let bench = Bench::start();
    let client = bench.client();
    let zone = bench.zone(&client);
    assert_eq!(client.zones().len(), 1);
    client.forget(&zone);
    assert!(client.zones().is_empty());
    bench.zone(&client);
    assert_eq!(bench.count("zones"), 2);
}

#[test]
fn what_was_learned_is_begun_anew_when_its_file_is_damaged() {
    let lab = service("");
    exits(&lab.certd(&["renew"]), 0);
    let file = lab.state_dir().join("dns.json");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("example.test") && !text.contains(&lab.token), "{text}");
    std::fs::write(&file, "{").unwrap();
    let text = exits(&lab.certd(&["renew", "--force"]), 3);
    assert!(text.contains("dns.json: it cannot be read; the DNS provider is asked anew"), "{text}");
    assert_eq!(lab.cloudflare.script.count("zones"), 2);
    exits(&lab.certd(&["renew"]), 0);
    assert!(lab.nodes[0].settled(SERVICE).is_ok());
}
