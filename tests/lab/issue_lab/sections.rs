//! Issuance with records in zones of two accounts: `[dns]` and `[dns.NAME]`.

use super::*;

use certd::context::provider::ask_token;
use certd::store::TxtNote;
use lab::Service;
use lab::cloudflare::Cloudflare;

const OTHER: &str = "_acme-challenge.api.other.test";

/// The first name is in the zone of `[dns]`, the other in a zone of another account.
fn start() -> (Bench, Cloudflare) {
    let zones = vec!["example.test".to_owned(), "other.test".to_owned()];
    let services = vec![Service::new(&[SERVICE, "api.other.test"])];
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { zones, services, pebble, ..Options::nodes(1) });
    let token_file = lab.folder.join("other.token");
    let second = lab.second_account("other.test", &token_file);
    let base = second.base();
    let section = format!(
        "[dns.other]\nprovider = \"cloudflare\"\ntoken_file = {token_file:?}\napi_base = {base:?}\nzones = [\"other.test\"]\n"
    );
    (Bench::of(lab, &ConfigText { dns: section, ..ConfigText::default() }), second)
}

#[test]
fn records_go_to_the_account_of_their_zone_and_are_removed_there_after_a_crash_too() {
    let (mut bench, second) = start();
    assert_eq!(bench.issue().unwrap().leaf.names.len(), 2);
    bench.assert_clean();
    assert!(second.records().is_empty(), "{:?}", second.records());
    let created = |account: &Cloudflare| account.script.count("create") + account.script.count("batch");
    assert!(created(&bench.lab.cloudflare) > 0 && created(&second) > 0);
    // What is known of one account is not known of the other.
    let known = bench.context.store.dns_cache().unwrap();
    let zones = |section| known.zones(section).into_values().map(|zone| zone.name).collect::<Vec<_>>();
    assert_eq!((zones(None), zones(Some("other"))), (vec!["example.test".to_owned()], vec!["other.test".to_owned()]));

    for (n, account) in [&bench.lab.cloudflare, &second].into_iter().enumerate() {
        let (name, value) = ([CHALLENGE, OTHER][n].to_owned(), "left".to_owned());
        account.add_txt(&name, &value, None);
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        bench.context.store.note_txt(&TxtNote { at, name, value, zone: None, record: None }).unwrap();
    }
    // In a zone of the account that had the name before.
    let (name, value) = (OTHER.to_owned(), "moved".to_owned());
    second.add_txt(&name, &value, None);
    let (at, zone) = ("2026-01-01T00:00:00Z".parse().unwrap(), Some("f".repeat(32)));
    bench.context.store.note_txt(&TxtNote { at, name, value, zone, record: Some("e".repeat(32)) }).unwrap();
    bench.context.store.write_dns_cache(&Default::default()).unwrap();
    bench.context.dns = Default::default();
    bench.run(clean_txt(&bench.context)).unwrap();
    bench.assert_clean();
    assert!(second.records().is_empty(), "{:?}", second.records());

    // The end of the CNAMEs decides.
    bench.lab.dns.update(&format!("add {CHALLENGE}. 1 CNAME newapi.proofs.other.test."));
    let before = created(&bench.lab.cloudflare);
    bench.run(rehearse(&bench.context, &bench.context.config.certificates[0])).unwrap();
    assert_eq!(created(&bench.lab.cloudflare), before);
    assert!(second.records().is_empty(), "{:?}", second.records());
}

#[test]
fn a_token_of_a_section_is_named_by_its_section() {
    let (mut bench, second) = start();
    let soon = certd::context::clock::now() + jiff::SignedDuration::from_hours(30);
    second.with(|account| account.token_expiry = Some(soon.to_string()));
    bench.run(ask_token(&bench.context, false));
    let warnings = bench.context.dns.take_warnings();
    let said: Vec<_> = warnings.iter().map(|warning| (warning.code.as_str(), warning.object.as_str())).collect();
    assert_eq!(said, [("dns-token-expires", "dns.other.token_file")]);

    let secrets = Arc::make_mut(&mut bench.context.secrets);
    secrets.dns_secrets.insert("other".to_owned(), Ok(Zeroizing::new("wrong".to_owned())));
    bench.context.dns = Default::default();
    let failure = bench.issue().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("dns-token", Advice::Person));
    assert!(failure.what.contains("dns.other: ") && failure.next.contains("`dns.other.token_file`"), "{failure:?}");
    assert_eq!(bench.count("new-order"), 0);
}

#[test]
fn a_secret_of_a_section_that_cannot_be_read_ends_nothing_but_what_needs_it() {
    let (mut bench, _second) = start();
    let file = bench.lab.folder.join("other.token");
    fs::remove_file(&file).unwrap();
    let secrets = certd::context::secrets::Secrets::read(&bench.context.config).expect("the others are there");
    bench.context.secrets = Arc::new(secrets);
    let failure = bench.issue().unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("secret-unreadable", Advice::Person));
    assert!(failure.what.contains(&format!("dns.other: {}", file.display())), "{failure:?}");
    assert!(failure.next.starts_with("write the secret into"), "{failure:?}");
    assert_eq!(bench.count("new-order"), 0);
    let warnings = bench.context.dns.take_warnings();
    assert_eq!(warnings.iter().map(|it| it.code.as_str()).collect::<Vec<_>>(), ["secret-unreadable"]);
    assert_eq!(warnings[0].exit().code(), 2);

    let names: NameSet = [certd::cert::DnsName::parse(SERVICE).unwrap()].into_iter().collect();
    bench.configure(|config| config.certificates[0].names = names.clone());
    bench.task.names = names;
    assert_eq!(bench.issue().unwrap().leaf.names.len(), 1, "in a zone of the provider whose secret is there");
}
