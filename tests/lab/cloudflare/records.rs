//! Records made and removed.

use std::collections::BTreeSet;
use std::time::Duration;

use certd::config::SilentServers;
use certd::dns::{Doh, Handle, Patience, Provider, Server, WantedTxt, await_seen};

use super::bench::{Bench, CHALLENGE, MARK, exits, many, service, txt, well};
use crate::lab::script::{Answer, Point};

#[test]
fn c05_a_page_of_html_is_a_passing_fault_and_nothing_is_made_twice() {
    for status in [500, 502, 520] {
        let bench = Bench::start();
        let client = bench.client();
        let html = Answer::new(status, "<html>\u{1b}[2Jbad gateway</html>");
        bench.lab.cloudflare.script.fail("zones", 2, &html);
        bench.lab.cloudflare.script.fail("create", 2, &html);
        let handles = well(bench.publish(&client, &[txt(CHALLENGE, "value")]));
        assert_eq!((bench.count("zones"), bench.count("create"), bench.count("records")), (3, 3, 2));
        bench.lab.cloudflare.script.fail("delete", 2, &html);
        assert!(bench.run(client.remove(&handles)).iter().all(Result::is_ok));
        assert!(bench.lab.cloudflare.records().is_empty());
        // For good: named with the API and the zone, and without what would move a cursor.
        bench.lab.cloudflare.script.fail("create", 3, &html);
        let error = bench.publish(&client, &[txt(CHALLENGE, "value")]).remove(0).unwrap_err();
        let api = bench.lab.cloudflare.at.ip();
        assert_eq!(error.to_string(), format!("{api}, zone example.test: no JSON (HTTP status {status})"));
    }
}

#[test]
fn c06_a_record_whose_creation_was_not_answered_is_adopted() {
    let bench = Bench::start();
    let client = bench.client();
    bench.lab.cloudflare.script.cut("create", 1, Point::After);
    let handles = well(bench.publish(&client, &[txt(CHALLENGE, "value")]));
    assert_eq!(handles[0].record.as_deref(), Some(bench.lab.cloudflare.records()[0].id.as_str()));
    assert_eq!(bench.count("create"), 1);
}

#[test]
fn c06_a_batch_that_was_not_answered_is_adopted_with_one_look() {
    let bench = Bench::start();
    let client = bench.client();
    bench.lab.dns.hold();
    bench.lab.cloudflare.script.cut("batch", 1, Point::After);
    let handles = well(bench.publish(&client, &many(120)));
    let ids: BTreeSet<_> = handles.into_iter().filter_map(|handle| handle.record).collect();
    assert_eq!(ids.len(), 120);
    assert_eq!((bench.count("batch"), bench.count("create"), bench.count("records")), (1, 0, 2), "two pages");
    // Cut before it was carried out: none is there, and each is made.
    bench.lab.cloudflare.script.cut("batch", 1, Point::Before);
    let others = [txt(CHALLENGE, "a"), txt(CHALLENGE, "b")];
    well(bench.publish(&client, &others));
    assert_eq!(bench.lab.cloudflare.records().len(), 122);
}

#[test]
fn c06_records_of_a_run_that_was_killed_before_the_answer_are_found_with_one_look() {
    let bench = Bench::start();
    let client = bench.client();
    bench.lab.dns.hold();
    let foreign = bench.lab.cloudflare.add_txt(CHALLENGE, "value-0", Some("made by somebody else"));
    let handles = well(bench.publish(&client, &many(25)));
    let unanswered: Vec<Handle> = handles.into_iter().map(|handle| Handle { record: None, ..handle }).collect();
    assert!(bench.run(client.remove(&unanswered)).iter().all(Result::is_ok));
    assert_eq!((bench.count("records"), bench.count("batch"), bench.count("delete")), (1, 2, 0));
    let left: Vec<String> = bench.lab.cloudflare.records().into_iter().map(|record| record.id).collect();
    assert_eq!(left, [foreign]);
}

#[test]
fn c07_a_record_that_is_there_already_is_success_when_its_content_is_equal() {
    for code in [81057, 81058] {
        let bench = Bench::start();
        bench.lab.cloudflare.with(|account| account.duplicate_code = code);
        let client = bench.client();
        let there = bench.lab.cloudflare.add_txt(CHALLENGE, "value", Some(MARK));
        let handles = well(bench.publish(&client, &[txt(CHALLENGE, "value")]));
        assert_eq!(handles[0].record, Some(there.clone()));
        // In a batch it keeps the others from being made, so that each is tried by itself.
        let handles = well(bench.publish(&client, &[txt(CHALLENGE, "value"), txt(CHALLENGE, "other")]));
        assert_eq!(handles[0].record, Some(there));
        assert_eq!(bench.lab.cloudflare.records().len(), 2);
        // There already, and not with this content.
        bench.lab.cloudflare.script.fail("create", 1, &Answer::api_error(400, code, "Record already exists."));
        let error = bench.publish(&client, &[txt(CHALLENGE, "third")]).remove(0).unwrap_err();
        assert_eq!(error.code().as_str(), "dns-api-refused", "{error}");
    }
}

#[test]
fn c08_only_records_of_the_journal_are_removed_and_others_at_the_name_stay() {
    let lab = service("");
    let foreign = lab.cloudflare.add_txt(CHALLENGE, "somebody-elses", Some("made by somebody else"));
    // Ours by its comment, and not in the journal: of another controller, or of a lost state directory.
    let unknown = lab.cloudflare.add_txt(CHALLENGE, "of-another-time", Some("certd 00000000"));
    let held = lab.cloudflare.script.hold("create", 1, Point::After);
    let mut killed = lab.spawn_certd(&["renew"]);
    held.wait();
    killed.kill().unwrap();
    killed.wait().unwrap();
    held.release();
    assert_eq!(lab.cloudflare.records().len(), 3, "one is left over");
    exits(&lab.certd(&["renew"]), 0);
    // The one whose creation was never answered is looked at again after five minutes; it is gone already.
    let left: Vec<String> = lab.cloudflare.records().into_iter().map(|record| record.id).collect();
    assert_eq!(left, [foreign, unknown]);
}

#[test]
fn c09_twenty_records_of_others_stay_and_their_size_is_a_warning() {
    let lab = service("");
    let long = |n| format!("somebody-elses-value-that-makes-the-answer-long-{n:03}");
    (0..20).for_each(|n| _ = lab.cloudflare.add_txt(CHALLENGE, &long(n), None));
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(text.contains("21 TXT records are there, 1"), "{text}");
    assert!(text.contains("certd removes only its own"), "{text}");
    assert_eq!(lab.cloudflare.records().len(), 20);
}

#[test]
fn c10_two_values_at_one_name_are_made_at_once_and_both_are_seen() {
    let bench = Bench::start();
    let client = bench.client();
    let handles = well(bench.publish(&client, &[txt(CHALLENGE, "apex"), txt(CHALLENGE, "wildcard")]));
    assert_eq!(bench.count("batch"), 1);
    assert_eq!(bench.run(seen(&bench, &["apex", "wildcard"], Duration::from_secs(30))), Ok(()));
    assert!(bench.run(client.remove(&handles)).iter().all(Result::is_ok));
    assert!(bench.lab.dns.txt(CHALLENGE).is_empty());
}

#[test]
fn c15_a_record_behind_the_hundredth_is_found() {
    let bench = Bench::start();
    let client = bench.client();
    bench.lab.dns.hold();
    (0..205).for_each(|n| _ = bench.lab.cloudflare.add_txt(CHALLENGE, &format!("other-{n}"), None));
    let ours = bench.lab.cloudflare.add_txt(CHALLENGE, "value", None);
    let handles = well(bench.publish(&client, &[txt(CHALLENGE, "value")]));
    assert_eq!(handles[0].record, Some(ours));
    assert_eq!(bench.count("records"), 3);
}

#[test]
fn c16_a_value_that_comes_back_quoted_or_split_is_known() {
    for split in [false, true] {
        let bench = Bench::start();
        bench.lab.cloudflare.with(|account| (account.quoted, account.split) = (true, split));
        let client = bench.client();
        let handles = well(bench.publish(&client, &[txt(CHALLENGE, "one-value"), txt(CHALLENGE, "another")]));
        assert_eq!((handles.len(), bench.count("create")), (2, 0));
        let again = well(bench.publish(&client, &[txt(CHALLENGE, "one-value")]));
        assert_eq!(again[0].record, handles[0].record);
        // Without its id it is found by its value.
        let nameless: Vec<Handle> = handles.into_iter().map(|handle| Handle { record: None, ..handle }).collect();
        assert!(bench.run(client.remove(&nameless)).iter().all(Result::is_ok));
        assert!(bench.lab.cloudflare.records().is_empty());
    }
}

#[test]
fn c17_a_record_that_is_gone_is_removed_alone_or_in_a_batch() {
    let bench = Bench::start();
    let client = bench.client();
    let records = [txt(CHALLENGE, "one"), txt(CHALLENGE, "two"), txt(CHALLENGE, "three")];
    let handles = well(bench.publish(&client, &records));
    assert!(bench.run(client.remove(&handles[..1])).iter().all(Result::is_ok));
    assert!(bench.run(client.remove(&handles[..1])).iter().all(Result::is_ok), "404 is success");
    // A batch is refused for the one that is gone; the others are removed all the same.
    assert!(bench.run(client.remove(&handles)).iter().all(Result::is_ok));
    assert!(bench.lab.cloudflare.records().is_empty());
}

#[test]
fn c17_a_record_that_cannot_be_removed_is_a_warning_and_removed_by_the_next_run() {
    let lab = service("");
    lab.cloudflare.script.fail("delete", 6, &Answer::new(500, "<html>"));
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(text.contains(CHALLENGE) && text.contains("zone example.test"), "{text}");
    assert_eq!(lab.pebble.issued(), 1);
    exits(&lab.certd(&["renew"]), 0);
    assert!(lab.cloudflare.records().is_empty());
}

#[test]
fn c18_a_refusal_with_status_200_is_a_refusal() {
    let bench = Bench::start();
    let client = bench.client();
    bench.zone(&client);
    bench.lab.cloudflare.script.fail("create", 1, &Answer::api_error(200, 1004, "DNS Validation Error"));
    let error = bench.publish(&client, &[txt(CHALLENGE, "value")]).remove(0).unwrap_err();
    assert_eq!(error.code().as_str(), "dns-api-refused");
    assert!(
        error.to_string().ends_with("zone example.test: DNS Validation Error (code 1004, HTTP status 200)"),
        "{error}"
    );
    // Of a batch each learns its own.
    let refusal = Answer::api_error(200, 1004, "DNS Validation Error");
    bench.lab.cloudflare.script.fail("batch", 1, &refusal);
    bench.lab.cloudflare.script.fail("create", 1, &refusal);
    let made = bench.publish(&client, &[txt(CHALLENGE, "one"), txt(CHALLENGE, "two")]);
    assert_eq!(made.iter().filter(|one| one.is_ok()).count(), 1, "{made:?}");
}

#[test]
fn a_batch_that_the_api_does_not_know_is_done_one_by_one() {
    let bench = Bench::start();
    let client = bench.client();
    bench.lab.cloudflare.script.fail("batch", 2, &Answer::api_error(404, 7000, "No route for that URI"));
    let handles = well(bench.publish(&client, &[txt(CHALLENGE, "one"), txt(CHALLENGE, "two")]));
    assert!(bench.run(client.remove(&handles)).iter().all(Result::is_ok));
    assert_eq!((bench.count("create"), bench.count("delete")), (2, 2));
    assert!(bench.lab.cloudflare.records().is_empty());
}

#[test]
fn c20_a_record_that_the_api_has_and_no_server_shows_is_told_by_name() {
    let bench = Bench::start();
    let client = bench.client();
    bench.lab.dns.hold();
    well(bench.publish(&client, &[txt(CHALLENGE, "value")]));
    let reply = bench.run(seen(&bench, &["value"], Duration::from_secs(2))).unwrap_err();
    assert!(reply.contains(CHALLENGE) && reply.contains(&bench.lab.dns.at.to_string()), "{reply}");
}

async fn seen(bench: &Bench, values: &[&str], limit: Duration) -> Result<(), String> {
    let server = Server { name: bench.lab.dns.at.to_string(), addresses: vec![bench.lab.dns.at], missing: None };
    let wanted = WantedTxt { name: CHALLENGE.to_owned(), values: values.iter().map(ToString::to_string).collect() };
    let patience =
        Patience { limit, silent_servers: SilentServers::PassOver, doh: Doh::default(), resolvers: Vec::new() };
    let seen = await_seen(&[server], &wanted, &patience, |_: String| {}).await;
    seen.map(|_| ()).map_err(|error| format!("{}: {error}", error.code()))
}
