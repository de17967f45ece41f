//! The token and the limit.

use std::time::Duration;

use certd::context::clock;
use certd::dns::Provider;
use certd::model::Advice;
use jiff::SignedDuration;
use tokio::time::Instant;

use super::bench::{Bench, CHALLENGE, exits, many, service, txt, well};
use crate::lab::Lab;
use crate::lab::script::Answer;

#[test]
fn c01_a_token_that_is_refused_is_asked_with_once_and_is_a_persons_matter() {
    let bench = Bench::start();
    let client = bench.client_with("wrong-one", None, Default::default());
    let error = bench.run(client.zone(CHALLENGE, Some("example.test"))).unwrap_err();
    assert_eq!((error.code().as_str(), error.advice()), ("dns-token", Advice::Person));
    assert!(!format!("{error} {error:?}").contains("wrong-one"));
    assert_eq!(bench.count("*"), 1);

    // Revoked between the zone and its records: one call for all of them, and no other zone is looked for.
    let client = bench.client();
    let zone = bench.zone(&client);
    bench.lab.cloudflare.with(|account| account.token = "another".into());
    let before = bench.count("*");
    let refused = bench.run(client.publish(&zone, &many(25)));
    assert!(
        refused.iter().all(|one| one.as_ref().is_err_and(|error| error.code().as_str() == "dns-token")),
        "{refused:?}"
    );
    assert_eq!(bench.count("*") - before, 1);
}

fn expire(lab: &Lab, days: i64) {
    let at = clock::now() + SignedDuration::from_hours(24 * days);
    lab.cloudflare.with(|account| account.token_expiry = Some(at.to_string()));
}

#[test]
fn c02_a_token_that_ends_within_a_week_is_a_warning_in_every_report() {
    let lab = service("");
    expire(&lab, 5);
    for _ in 0..2 {
        let text = exits(&lab.certd(&["renew"]), 3);
        assert!(text.contains("the token ends on 20"), "{text}");
        assert!(text.contains("create a token with the permissions Zone / Zone / Read"), "{text}");
    }
    assert_eq!(lab.cloudflare.script.count("verify"), 1, "asked once a day");
    // Another token is asked about at once.
    lab.cloudflare.with(|account| account.token = "another-token".into());
    expire(&lab, 90);
    std::fs::write(lab.folder.join("cloudflare.token"), "another-token\n").unwrap();
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.cloudflare.script.count("verify"), 2);
    let kept = std::fs::read_to_string(lab.state_dir().join("dns.json")).unwrap();
    assert!(!kept.contains("another-token"), "{kept}");
}

#[test]
fn c02_an_accounts_token_is_verified_at_its_account() {
    let lab = service("");
    lab.cloudflare.with(|account| account.account_token = true);
    expire(&lab, 3);
    // No zone was seen yet, and so no account: nothing is known, and nothing is reported.
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!((lab.cloudflare.script.count("verify"), lab.cloudflare.script.count("account-verify")), (1, 0));
    let_a_day_pass(&lab);
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(text.contains("the token ends on 20"), "{text}");
    assert_eq!(lab.cloudflare.script.count("account-verify"), 1);
}

/// As if a day had passed: what the API answered about the token is old.
fn let_a_day_pass(lab: &Lab) {
    let file = lab.state_dir().join("dns.json");
    let kept = std::fs::read_to_string(&file).expect("certd wrote it");
    let mut kept: serde_json::Value = serde_json::from_str(&kept).expect("it is JSON");
    kept["token"]["asked_at"] = (clock::now() - SignedDuration::from_hours(24)).to_string().into();
    std::fs::write(&file, kept.to_string()).expect("the lab's folder is ours");
}

#[test]
fn c02_a_disabled_token_is_a_warning_before_a_renewal_needs_it() {
    let lab = service("");
    exits(&lab.certd(&["renew"]), 0);
    lab.cloudflare.with(|account| account.token_status = "disabled".into());
    let_a_day_pass(&lab);
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(text.contains("the token is disabled: the next certificate cannot be issued with it"), "{text}");
}

#[test]
fn c02_a_token_that_was_put_right_is_told_so_by_the_next_run_or_rehearsal() {
    let lab = service("");
    exits(&lab.certd(&["renew"]), 0);
    lab.cloudflare.with(|account| account.token_status = "disabled".into());
    let_a_day_pass(&lab);
    exits(&lab.certd(&["renew"]), 3);
    lab.cloudflare.with(|account| account.token_status = "active".into());
    exits(&lab.certd(&["renew"]), 0);
    expire(&lab, 5);
    let_a_day_pass(&lab);
    exits(&lab.certd(&["renew"]), 3);
    expire(&lab, 90);
    exits(&lab.certd(&["renew", "--dry-run"]), 0);
    exits(&lab.certd(&["renew"]), 0);
}

#[test]
fn c02_a_question_about_the_token_that_is_not_answered_is_no_news() {
    let lab = service("");
    let html = Answer::new(502, "<html>");
    lab.cloudflare.script.fail("verify", 3, &html);
    exits(&lab.certd(&["renew"]), 0);
    expire(&lab, 5);
    exits(&lab.certd(&["renew"]), 3);
    let_a_day_pass(&lab);
    lab.cloudflare.script.fail("verify", 3, &html);
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(text.contains("the token ends on 20"), "yesterday's answer holds: {text}");
}

#[test]
fn c04_after_a_429_every_call_of_the_process_waits() {
    let bench = Bench::start();
    let (first, second) = (bench.client(), bench.client());
    bench.zone(&first);
    bench.zone(&second);
    bench.lab.cloudflare.with(|account| (account.calls_left, account.reopens_after) = (Some(0), 2));
    let (begun, before) = (Instant::now(), bench.count("create"));
    let refused = bench.publish(&first, &[txt(CHALLENGE, "one")]);
    well(refused);
    assert!(begun.elapsed() >= Duration::from_secs(2), "it came back too early");
    assert_eq!(bench.count("create") - before, 2);

    // The other client knows from the first: no call of its own is refused.
    let limited = Answer::api_error(429, 971, "slow down").header("retry-after", "1");
    bench.lab.cloudflare.script.fail("create", 3, &limited);
    let before = bench.count("create");
    let refused = bench.publish(&first, &[txt(CHALLENGE, "two")]).remove(0).unwrap_err();
    assert_eq!(
        (refused.code().as_str(), refused.advice()),
        ("dns-api-limited", Advice::Retry { after_seconds: Some(1) })
    );
    let begun = Instant::now();
    well(bench.publish(&second, &[txt(CHALLENGE, "three")]));
    assert!(begun.elapsed() >= Duration::from_millis(500), "it did not wait");
    assert_eq!(bench.count("create") - before, 4);
}

#[test]
fn c04_a_429_may_name_a_date_instead_of_seconds() {
    let bench = Bench::start();
    let client = bench.client();
    bench.zone(&client);
    let limited = Answer::api_error(429, 971, "slow down")
        .header("date", "Mon, 23 Nov 2026 06:15:00 GMT")
        .header("retry-after", "Mon, 23 Nov 2026 06:15:01 GMT");
    bench.lab.cloudflare.script.fail("create", 3, &limited);
    let refused = bench.publish(&client, &[txt(CHALLENGE, "one")]).remove(0).unwrap_err();
    assert_eq!(
        (refused.code().as_str(), refused.advice()),
        ("dns-api-limited", Advice::Retry { after_seconds: Some(1) })
    );
}

#[test]
fn c04_a_quota_that_is_said_to_be_used_up_is_not_exceeded() {
    let bench = Bench::start();
    let client = bench.client();
    bench.zone(&client);
    // The last call of the window tells that it was.
    bench.lab.cloudflare.with(|account| (account.calls_left, account.reopens_after) = (Some(1), 1));
    let handles = well(bench.publish(&client, &[txt(CHALLENGE, "one")]));
    assert!(bench.run(client.remove(&handles)).iter().all(Result::is_ok));
    assert_eq!((bench.count("create"), bench.count("delete")), (1, 1), "none was refused");
}
