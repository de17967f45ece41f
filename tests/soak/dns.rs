//! A name server that lags for longer than anybody likes to wait.

use std::time::Duration;

use crate::lab::name_servers::{CHALLENGE, a_lag_burns_no_validation, lab, printed};

#[test]
fn d01_with_one_of_two_name_servers_lagging_by_30_s_no_validation_is_burnt() {
    a_lag_burns_no_validation(Duration::from_secs(30));
}

/// Only the company's resolver answers: neither the zone's servers nor DNS over HTTPS. With `key` it is what the
/// configuration calls it.
fn only_a_resolver(key: &str, remembers: u32) -> String {
    let lab = lab();
    let resolver = lab.resolver(remembers);
    lab.configure("doh = []\ntimeout = \"30s\"", "");
    lab.dns.datagrams.lose(true);
    lab.dns.silence_streams(true);
    lab.replace_line("nameservers", "");
    lab.replace_line("resolvers", &format!("{key} = [\"{}\"]", resolver.plain));
    let text = printed(&lab.certd(&["renew", "--dry-run"]));
    assert!(text.contains(&format!("asking the resolver {} instead", resolver.plain)), "{text}");
    assert!(text.contains("a TXT record was created, seen and removed"), "{text}");
    assert!(text.contains(&format!("to show {CHALLENGE}")), "{text}");
    assert!(lab.cloudflare.records().is_empty());
    text
}

#[test]
fn d12_where_only_a_resolver_answers_it_is_believed_whatever_the_configuration_calls_it() {
    for key in ["resolvers", "nameservers"] {
        let text = only_a_resolver(key, 0);
        assert!(!text.contains("perhaps from memory"), "{text}");
    }
}

#[test]
fn d03_where_only_a_resolver_answers_and_remembers_that_nothing_was_there_the_ca_is_asked_at_last() {
    let text = only_a_resolver("resolvers", 90);
    assert!(text.contains("shows nothing (perhaps from memory)"), "{text}");
}
