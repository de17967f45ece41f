//! Faults on the way to the CA and of the CA itself: each ends in words, bounded in size, time and requests, and what is kept
//! stays as it is.

use crate::lab;

use std::sync::Arc;
use std::time::Duration;

use certd::acme::{Http, Settings, about};
use certd::context::clock;
use certd::http::{HttpOptions, Trust};
use certd::model::{Advice, Finding, LedgerEvent};
use jiff::SignedDuration;
use lab::bench::Bench;
use lab::relay::Relay;
use lab::script::Answer;

/// Far above what any fault here takes, far below what would be no bound at all.
const SOON: Duration = Duration::from_secs(20);

fn issue_in_time(bench: &Bench) -> Result<certd::execute::issue::Issued, Finding> {
    let issued = certd::execute::issue::issue(&bench.context, &bench.task);
    bench.run(async { tokio::time::timeout(SOON, issued).await }).expect("every wait is bounded")
}

fn problem(kind: &str, detail: &str) -> String {
    format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"{detail}"}}"#)
}

/// What a proxy or a sick CA sends in place of an answer.
fn nonsense() -> Vec<Answer> {
    vec![
        Answer::new(500, "<html>\u{1b}[2Joops</html>"),
        Answer::new(502, ""),
        Answer::new(504, "{\"type\":"),
        Answer::new(200, "<html>log in to the wireless network</html>"),
        Answer::new(200, "{\"status\":\"val"),
        Answer::new(302, "").header("location", "http://127.0.0.1/"),
    ]
}

#[test]
fn a07_one_bad_answer_at_any_step_costs_no_certificate() {
    for kind in ["new-order", "authorization", "challenge", "order", "finalize", "certificate"] {
        let bench = Bench::start();
        for (issued, answer) in nonsense().into_iter().enumerate() {
            bench.lab.proxy.script.fail(kind, 1, &answer);
            if let Err(failure) = issue_in_time(&bench) {
                assert!(!failure.what.contains('\u{1b}') && !failure.next.is_empty(), "{failure:?}");
                issue_in_time(&bench)
                    .unwrap_or_else(|failure| panic!("after {} at {kind}: {failure:?}", answer.status));
            }
            assert_eq!(bench.lab.pebble.issued(), issued + 1, "{} at {kind}", answer.status);
            bench.assert_clean();
        }
    }
}

#[test]
fn a07_before_there_is_an_account_a_bad_answer_makes_none_or_one() {
    for kind in ["directory", "nonce", "new-account"] {
        for answer in nonsense() {
            let bench = Bench::start();
            bench.lab.proxy.script.fail(kind, 1, &answer);
            let failure = issue_in_time(&bench).unwrap_err();
            assert!(!failure.what.contains('\u{1b}'), "{failure:?}");
            issue_in_time(&bench).unwrap_or_else(|failure| panic!("after {} at {kind}: {failure:?}", answer.status));
            assert_eq!(bench.lab.pebble.issued(), 1);
        }
    }
}

#[test]
fn a07_a_ca_that_stays_sick_is_asked_a_bounded_number_of_times() {
    for kind in ["new-order", "authorization", "challenge", "order", "finalize", "certificate"] {
        let bench = Bench::start();
        bench.lab.proxy.script.fail(kind, 1000, &Answer::new(503, "<html>busy</html>"));
        let failure = issue_in_time(&bench).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.advice), ("acme-status", Advice::Retry { after_seconds: None }));
        assert!(bench.count(kind) <= 6, "{kind}: {}", bench.count(kind));
        bench.assert_clean();
        bench.lab.proxy.script.forget_rules();
        issue_in_time(&bench).unwrap();
        assert_eq!(bench.lab.pebble.issued(), 1);
    }
}

#[test]
fn a06_a_load_balancers_wait_is_obeyed_within_a_run_when_short_and_by_the_next_run_when_long() {
    let bench = Bench::start();
    let busy = |wait: &str| Answer::new(503, "<html>busy</html>").header("retry-after", wait);
    bench.lab.proxy.script.fail("new-order", 1, &busy("1"));
    issue_in_time(&bench).unwrap();
    bench.lab.proxy.script.fail("new-order", 1, &busy("3600"));
    let failure = issue_in_time(&bench).unwrap_err();
    assert_eq!(failure.advice, Advice::Retry { after_seconds: Some(3600) }, "{failure:?}");
    assert_eq!(bench.count("new-order"), 3);
}

#[test]
fn a04_a_limit_that_names_no_time_is_kept_for_an_hour_and_not_asked_again_in_this_run() {
    let bench = Bench::start();
    bench.lab.proxy.script.fail("new-order", 1, &Answer::new(429, &problem("rateLimited", "too many orders")));
    let failure = issue_in_time(&bench).unwrap_err();
    assert_eq!((failure.code.as_str(), bench.count("new-order")), ("acme-rate-limited", 1), "{failure:?}");
    let ledger = bench.context.store.ledger().unwrap();
    let wait = ledger.iter().find_map(|entry| match entry.event {
        LedgerEvent::Limited { until } => Some(until.duration_since(entry.at)),
        _ => None,
    });
    assert!(wait.is_some_and(|wait| (3599..=3601).contains(&wait.as_secs())), "{ledger:?}");
}

#[test]
fn a05_an_absurd_wait_is_cut_and_a_senseless_one_is_none() {
    let bench = Bench::start();
    let date = |years: i64| {
        let at = clock::now() + SignedDuration::from_hours(years * 365 * 24);
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    };
    for (wait, seconds) in [("315360000".to_owned(), 48 * 3600), (date(110), 48 * 3600)] {
        let busy = Answer::new(503, "").header("retry-after", &wait).header("date", &date(0));
        bench.lab.proxy.script.fail("new-order", 1, &busy);
        let failure = issue_in_time(&bench).unwrap_err();
        assert_eq!(failure.advice, Advice::Retry { after_seconds: Some(seconds) }, "{wait}");
    }
    for wait in ["-5", "soon", "99999999999999999999"] {
        bench.lab.proxy.script.fail("new-order", 1, &Answer::new(503, "").header("retry-after", wait));
        issue_in_time(&bench).unwrap();
    }
}

#[test]
fn a08_a_ca_that_cannot_be_reached_or_believed_leaves_what_is_kept() {
    let mut bench = Bench::start();
    let kept = bench.issue().unwrap().generation;
    let at = bench.lab.proxy.at;
    // Somebody else's address that leads to the CA: its certificate names another.
    let elsewhere = std::net::SocketAddr::new("127.0.0.1".parse().unwrap(), {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut relay = Relay::new(runtime.handle().clone(), elsewhere, at);
    relay.open();
    for (directory, words) in [
        (format!("https://{}:1/dir", at.ip()), "refused"),
        ("https://ca.invalid/dir".to_owned(), "no answer"),
        (format!("https://{elsewhere}/dir"), "certificate"),
    ] {
        bench.configure(|config| {
            config.acme.directory = directory.parse().unwrap();
            config.acme.host = directory.replace(['/', ':'], "-").to_lowercase();
        });
        let pem = std::fs::read_to_string(bench.lab.folder.join("api-root.pem")).unwrap();
        let host = bench.context.config.acme.host.clone();
        Arc::make_mut(&mut bench.context.secrets).acme_ca.insert(host.clone(), pem);
        bench.task.ca = host;
        let failure = issue_in_time(&bench).unwrap_err();
        assert_eq!(failure.code.as_str(), "acme-unreachable", "{failure:?}");
        assert!(failure.what.to_lowercase().contains(words), "{failure:?}");
        assert!(matches!(failure.advice, Advice::Retry { .. }));
        let stored = bench.context.store.stored(bench.name()).unwrap();
        assert_eq!(stored.current.unwrap().generation, kept);
    }
}

#[test]
fn a09_an_answer_that_drips_or_has_no_end_is_given_up() {
    let bench = Bench::start();
    let pem = std::fs::read_to_string(bench.lab.folder.join("api-root.pem")).unwrap();
    let limit = Duration::from_secs(1);
    let directory = bench.context.config.acme.directory.clone();
    let options = HttpOptions { proxy: None, trust: Trust::Only(pem) };
    let http = Http::new(&Settings { directory, options, limit }).unwrap();
    bench.lab.proxy.script.drip("directory", 1, Duration::from_millis(100));
    let asked = bench.run(async { tokio::time::timeout(SOON, about(&http)).await }).expect("the limit counts");
    assert_eq!(asked.unwrap_err().code().as_str(), "acme-unreachable");

    bench.lab.proxy.script.fail("directory", 1, &Answer::new(200, &" ".repeat(100 << 20)));
    let asked = bench.run(async { tokio::time::timeout(SOON, about(&http)).await }).expect("the limit counts");
    assert_eq!(
        asked.unwrap_err().to_string(),
        format!("{}: the answer is longer than 1048576 bytes", http.directory_url())
    );
    assert!(bench.run(about(&http)).is_ok());
}

#[test]
fn a32_a_caa_record_that_forbids_is_told_as_such_and_not_tried_again() {
    for kind in ["new-order", "finalize"] {
        let bench = Bench::start();
        let refused = problem("caa", "CAA record for newapi.example.test prevents issuance");
        bench.lab.proxy.script.fail(kind, 1, &Answer::new(403, &refused));
        let failure = issue_in_time(&bench).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.advice), ("acme-caa", Advice::Person), "{failure:?}");
        assert!(failure.what.contains("prevents issuance") && failure.next.contains("CAA records"), "{failure:?}");
        assert_eq!(bench.count(kind), 1);
        bench.assert_clean();
    }
}

#[test]
fn a32_a_caa_record_that_the_ca_met_while_validating_is_told_as_such() {
    let bench = Bench::start();
    // The first look finds it pending; the second, for the reason, is what counts.
    bench
        .lab
        .proxy
        .script
        .rewrite("order", 1, |body| body.replace("\"pending\"", "\"invalid\"").replace("\"ready\"", "\"invalid\""));
    bench.lab.proxy.script.rewrite("authorization", 2, |body| {
        let mut authorization: serde_json::Value = serde_json::from_str(&body).unwrap();
        authorization["status"] = "invalid".into();
        authorization["challenges"][0]["error"] =
            serde_json::from_str(&problem("caa", "CAA record prevents issuance")).unwrap();
        authorization.to_string()
    });
    let failure = issue_in_time(&bench).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("acme-caa", Advice::Person), "{failure:?}");
}

#[test]
fn a33_a_paused_name_is_told_with_the_link_that_lifts_the_pause() {
    let bench = Bench::start();
    let link = format!("https://portal.example/sfe/v1/unpause?jwt={}", "x".repeat(600));
    let paused = Answer::new(429, &problem("rateLimited", &format!("paused; please visit {link}")));
    bench.lab.proxy.script.fail("new-order", 1, &paused.header("retry-after", "10"));
    let failure = issue_in_time(&bench).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.advice), ("acme-paused", Advice::Person), "{failure:?}");
    assert!(failure.what.contains(&link), "{failure:?}");
    assert_eq!(bench.count("new-order"), 1);
}

#[test]
fn a34_hostile_tokens_make_no_record() {
    let bench = Bench::start();
    for token in ["../../etc/passwd", "a b", "$(id)", "", &"a".repeat(500_000)] {
        // As often as it is asked.
        for _ in 0..4 {
            let token = token.to_owned();
            bench.lab.proxy.script.rewrite("authorization", 1, move |body| {
                let mut authorization: serde_json::Value = serde_json::from_str(&body).unwrap();
                for challenge in authorization["challenges"].as_array_mut().unwrap() {
                    challenge["token"] = token.clone().into();
                }
                authorization.to_string()
            });
        }
        let failure = issue_in_time(&bench).unwrap_err();
        assert_eq!(failure.code.as_str(), "acme-strange-answer", "{failure:?}");
        assert!(failure.what.len() < 1000, "{failure:?}");
    }
    assert_eq!((bench.lab.cloudflare.script.count("create"), bench.count("challenge")), (0, 0));
}

#[test]
fn a34_neither_a_redirect_nor_a_url_without_tls_is_followed() {
    for kind in ["new-order", "authorization"] {
        let bench = Bench::start();
        let status = if kind == "new-order" { 307 } else { 301 };
        let away = format!("http://{}/dir", bench.lab.proxy.at);
        bench.lab.proxy.script.fail(kind, 1, &Answer::new(status, "").header("location", &away));
        let failure = issue_in_time(&bench).unwrap_err();
        assert_eq!(failure.code.as_str(), "acme-status", "{failure:?}");
    }
    for (entry, code) in [("authorizations", "acme-elsewhere"), ("finalize", "acme-elsewhere")] {
        let bench = Bench::start();
        let plain = move |body: String| {
            let mut order: serde_json::Value = serde_json::from_str(&body).unwrap();
            let text = order[entry].to_string().replace("https://", "http://");
            order[entry] = serde_json::from_str(&text).unwrap();
            order.to_string()
        };
        // Every request for the order returns it anew.
        for nth in 1..=2 {
            bench.lab.proxy.script.rewrite("new-order", nth, plain);
            bench.lab.proxy.script.rewrite("order", nth, plain);
        }
        let failure = issue_in_time(&bench).unwrap_err();
        assert_eq!(failure.code.as_str(), code, "{entry}: {failure:?}");
        assert_eq!(bench.lab.pebble.issued(), 0);
    }
}
