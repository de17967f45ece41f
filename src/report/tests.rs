//! The report: its exit code, its verdicts, its text.

use core::net::SocketAddr;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::exit::of_delivery;
use super::*;
use crate::cert::fixture::{Authority, NOW, days};
use crate::cert::{DnsName, Leaf, NameSet, WatchName};
use crate::model::{Advice, Ari, Kept, Meta, ProbeError, Seen, Stored, Watched};
use crate::plan::ledger::LimitReached;
use crate::plan::rollout::Abort;
use crate::plan::{Against, ClockDoubt, DeliveryWait, RenewalWait, Wait};
use crate::text::escape;

mod checked;
mod policy;
mod sample;
mod this_machine;

use sample::{cert, empty, failure, generation, leaf, name, ok, sample, seen, sni, with_node};

#[test]
fn of_several_codes_the_worst_ends_the_process() {
    let order = [2, 1, 7, 4, 6, 5, 3, 0];
    let all = [
        Exit::Ok,
        Exit::Internal,
        Exit::Usage,
        Exit::Warning,
        Exit::Hurt,
        Exit::IssuanceFailed,
        Exit::NotDelivered,
        Exit::Locked,
    ];
    // Every set of codes.
    for set in 1..1u32 << all.len() {
        let some: Vec<Exit> = all.into_iter().filter(|exit| set >> exit.code() & 1 == 1).collect();
        let expected = order.into_iter().find(|code| some.iter().any(|exit| exit.code() == *code)).unwrap();
        assert_eq!(worst(&some).code(), expected, "{some:?}");
    }
    assert_eq!(worst(&[]), Exit::Ok);
}

#[test]
fn each_thing_that_a_report_can_hold_has_its_code() {
    let failure = || failure("acme-rate-limited");
    let undone = |serves| Outcome::Undone { why: "it".into(), not_back: None, serves };
    let node = |outcome| Report { certificates: vec![with_node(vec![ok()], Some(outcome))], ..empty() };
    let wait = |wait| Report { plan: Plan { waits: vec![wait], ..Plan::default() }, ..empty() };
    let renewal = |reason| wait(Wait::Renewal { certificate: cert(), reason });
    let delivery = |reason| wait(Wait::Delivery { certificate: cert(), node: name("上海"), reason });
    let back_off = || RenewalWait::BackOff {
        ca: "ca".into(),
        until: NOW,
        failures: 1,
        failure: Box::new(failure()),
        by_the_ca: false,
        passed_over: Vec::new(),
        emergency_from: None,
    };
    let ledger = || RenewalWait::Ledger {
        ca: "ca".into(),
        full: LimitReached::ByTheCa { until: NOW },
        passed_over: Vec::new(),
        emergency_from: None,
    };
    let went_back = || DeliveryWait::BackOff { until: NOW, failures: 1, failure: Box::new(failure()) };
    let issued = |issuance| Report {
        certificates: vec![CertificateReport { issuance: Some(issuance), ..with_node(vec![ok()], None) }],
        ..empty()
    };
    let paused = |verdict| {
        let mut certificate = with_node(vec![verdict], None);
        certificate.nodes[0].paused_until = Some(NOW);
        Report { certificates: vec![certificate], ..empty() }
    };
    let failed = |code| Report { failures: vec![self::failure(code)], ..empty() };
    let table: Vec<(&str, Report, bool, &[u8])> = vec![
        ("nothing", empty(), true, &[]),
        ("served", node(Outcome::Served), true, &[]),
        ("nothing changed", node(Outcome::Failed { failure: failure() }), true, &[6]),
        ("lost", node(Outcome::Unknown { failure: failure() }), true, &[6]),
        ("went back", node(Outcome::RolledBack { output: "it".into() }), true, &[6]),
        ("broken before", node(Outcome::BrokenBefore { output: "it".into() }), true, &[6]),
        ("placed", node(Outcome::Placed { output: "it".into() }), true, &[6]),
        ("reload fails", node(Outcome::ReloadFails { output: "it".into() }), true, &[6]),
        ("unverified", node(Outcome::Unverified { why: "it".into(), over_quic: false }), true, &[6]),
        ("absent", node(Outcome::Absent { why: "it".into() }), true, &[6]),
        ("undone, and serves", node(undone(true)), true, &[6]),
        ("undone, and serves not", node(undone(false)), true, &[4]),
        ("aborted", node(Outcome::Aborted { why: Abort::Interrupted }), true, &[6]),
        ("not issued", issued(Issuance::Failed { failure: failure() }), true, &[5]),
        ("rehearsed", issued(Issuance::Rehearsed), false, &[]),
        (
            "issued",
            issued(Issuance::Issued { generation: generation(), ca: "ca".into(), passed_over: Vec::new() }),
            true,
            &[],
        ),
        ("backing off", renewal(back_off()), true, &[5]),
        ("backing off, only looked", renewal(back_off()), false, &[]),
        ("ledger", renewal(ledger()), true, &[5]),
        ("ledger, only looked", renewal(ledger()), false, &[]),
        ("nothing stored to deploy", renewal(RenewalWait::MayNotIssue { stored: false }), true, &[6]),
        ("deploy", renewal(RenewalWait::MayNotIssue { stored: true }), true, &[]),
        ("node went back lately", delivery(went_back()), true, &[6]),
        ("node went back lately, only looked", delivery(went_back()), false, &[6]),
        ("tried now", delivery(DeliveryWait::TriedNow { failure: Box::new(failure()), until: None }), true, &[6]),
        ("paused", delivery(DeliveryWait::Paused { until: NOW, words: None }), true, &[3]),
        ("paused and expired does not count", paused(Verdict::Expired), true, &[3]),
        ("by a clock that cannot be right", wait(Wait::Clock { doubt: doubt() }), true, &[5]),
        ("by such a clock, only looked", wait(Wait::Clock { doubt: doubt() }), false, &[3]),
        ("a clock that is off", failed("clock-skew"), true, &[3]),
        ("a node's clock that is off", failed("node-clock"), true, &[3]),
        ("record not removed", failed("txt-left"), true, &[3]),
        ("state mended", failed("state-damaged"), true, &[3]),
        ("anything else of our own", failed("store-full"), true, &[1]),
        ("not looked at", Report { certificates: vec![with_node(vec![], None)], ..empty() }, true, &[6]),
    ];
    for (what, mut report, ran, codes) in table {
        report.conclude(ran);
        assert_eq!(report.exits, codes, "{what}");
        assert_eq!(report.exit, codes.first().copied().unwrap_or(0), "{what}");
    }
    assert_eq!(of_delivery(&Delivery::Rehearsed { test: None }), Exit::Ok);
    assert_eq!(of_delivery(&Delivery::Rehearsed { test: Some("[emerg]".into()) }), Exit::Warning);
}

fn doubt() -> ClockDoubt {
    ClockDoubt { now: NOW, against: Against::Seen, instant: NOW + SignedDuration::from_hours(24 * 365) }
}

#[test]
fn k03_by_a_clock_that_cannot_be_right_nothing_is_called_expired_and_what_does_not_hang_on_time_is() {
    let why = || "no".to_owned();
    for verdict in
        [Verdict::Expired, Verdict::NotYetValid, Verdict::Overdue { since: NOW }, Verdict::Untrusted { why: why() }]
    {
        assert_eq!(verdict.doubted(), Verdict::ClockDoubtful);
    }
    for verdict in [Verdict::Ok, Verdict::Stale, Verdict::WrongName, Verdict::Unreachable { why: why() }] {
        assert_eq!(verdict.clone().doubted(), verdict);
    }
    let mut report = sample();
    report.plan.waits = vec![Wait::Clock { doubt: doubt() }];
    let shown = text(&report, Style::default());
    assert!(shown.contains("which cannot be right: it was later already") && shown.contains("timedatectl"), "{shown}");
}

#[test]
fn a_report_lists_every_code_worst_first_and_each_once() {
    let mut hurt = with_node(vec![Verdict::Expired], Some(Outcome::Unverified { why: "it".into(), over_quic: false }));
    hurt.issuance = Some(Issuance::Failed { failure: failure("acme-rate-limited") });
    let warned = with_node(vec![Verdict::Unmanaged { lacks: false }, Verdict::Stale], None);
    let mut report = Report { certificates: vec![warned, hurt], ..empty() };
    report.conclude(true);
    assert_eq!((report.exit, &report.exits[..]), (4, &[4, 6, 5, 3][..]));
    assert!(text(&report, Style::default()).ends_with("visitors are hurt now: 上海 expired (exit 4)\n"));
}

#[test]
fn a_handshake_is_judged_by_what_hurts_a_visitor_first() {
    let stored_leaf = leaf("stored", -30, 60);
    let mut stored = Stored::default();
    let judge = |seen: &Seen, stored: &Stored, ari: Option<&Ari>| Verdict::of(seen, &sni(), stored, ari, 7, NOW);
    assert_eq!(judge(&seen(&leaf("other", -30, 60)), &stored, None), Verdict::Unmanaged { lacks: false });
    assert!(matches!(judge(&seen(&leaf("other", -80, 10)), &stored, None), Verdict::Overdue { .. }));
    let meta = Meta { key_type: KeyType::EcdsaP256, profile: None, ca: "ca".into(), issued_at: NOW };
    stored.current = Some(Kept { generation: generation(), leaf: stored_leaf.clone(), meta });
    stored.former.insert(leaf("former", -90, 30).fingerprint);
    assert_eq!(judge(&seen(&stored_leaf), &stored, None), Verdict::Ok);
    assert_eq!(judge(&seen(&leaf("former", -60, 30)), &stored, None), Verdict::Stale);
    assert_eq!(judge(&seen(&leaf("other", -60, 30)), &stored, None), Verdict::Unmanaged { lacks: true });
    assert_eq!(judge(&seen(&leaf("former", -90, 0)), &stored, None), Verdict::Expired, "stale, and worse");
    assert_eq!(judge(&seen(&leaf("former", 1, 90)), &stored, None), Verdict::NotYetValid);
    let mut other = leaf("other", -60, 30);
    other.names = [DnsName::parse("www.example.com").unwrap()].into_iter().collect();
    assert_eq!(judge(&seen(&other), &stored, None), Verdict::WrongName);
    let distrusted = Seen::Leaf { leaf: Box::new(stored_leaf.clone()), distrust: Some("no path".into()) };
    assert_eq!(judge(&distrusted, &stored, None), Verdict::Untrusted { why: "no path".into() });
    let silent = |silence| judge(&Seen::Silence(silence), &stored, None).word();
    assert_eq!(silent(ProbeError::Refused), "unreachable");
    assert_eq!(silent(ProbeError::TimedOut), "unreachable");
    assert_eq!(silent(ProbeError::Tls("alert".into())), "no-tls");
    assert_eq!(silent(ProbeError::NoSuchKey(crate::cert::KeyAlgorithm::Rsa)), "absent");
    assert_eq!(silent(ProbeError::NoQuic), "no-quic", "browsers go on over TCP");
    assert_eq!(silent(ProbeError::NoWay("ssh".into())), "unknown", "what visitors get does not go through SSH");
    assert_eq!(silent(ProbeError::Unspoken("220 mail".into())), "unknown", "`probe` is wrong, and not the server");
    assert_eq!(silent(ProbeError::TurnedAway("421 busy".into())), "unknown", "others may be served");
}

#[test]
fn renewal_is_overdue_a_tenth_of_the_lifetime_after_its_instant() {
    // Due at 60 of 90 days, overdue after 69; due at 3 of 6 days, overdue after 3.6.
    for (age, lifetime, overdue) in
        [(68, 90, false), (70, 90, true), (3, 6, false), (4, 6, true), (30, 45, false), (35, 45, true)]
    {
        let leaf = leaf("stored", -age, lifetime - age);
        let meta = Meta { key_type: KeyType::EcdsaP256, profile: None, ca: "ca".into(), issued_at: NOW };
        let current = Some(Kept { generation: generation(), leaf: leaf.clone(), meta });
        let verdict = Verdict::of(&seen(&leaf), &sni(), &Stored { current, ..Stored::default() }, None, 7, NOW);
        assert_eq!(matches!(verdict, Verdict::Overdue { .. }), overdue, "{age} of {lifetime} days: {verdict:?}");
    }
}

#[test]
fn every_verdict_has_a_word_a_code_and_a_sentence() {
    let why = || "connection refused".to_owned();
    let silent = |silence| Verdict::of(&Seen::Silence(silence), &sni(), &Stored::default(), None, 7, NOW);
    let all = [
        Verdict::Ok,
        Verdict::Overdue { since: NOW },
        Verdict::Stale,
        Verdict::Unmanaged { lacks: false },
        Verdict::Unmanaged { lacks: true },
        Verdict::Untrusted { why: "the intermediate by E7 is missing".into() },
        Verdict::WrongName,
        Verdict::Expired,
        Verdict::NotYetValid,
        Verdict::Absent { why: "the server has no RSA certificate for this name, only another".into() },
        Verdict::NoTls { why: "TLS failed: handshake failure".into() },
        Verdict::Unreachable { why: why() },
        Verdict::NoQuic { required: true },
        Verdict::NoQuic { required: false },
        silent(ProbeError::NoWay(why())),
        silent(ProbeError::NoRoute("Network is unreachable".into())),
        silent(ProbeError::NothingInCommon("no cipher suite in common".into())),
    ];
    let mut lines = String::new();
    for verdict in all {
        let json = serde_json::to_value(&verdict).unwrap();
        assert_eq!(json["verdict"], verdict.word(), "the JSON spells it the same");
        lines.push_str(&format!("{} {}: {}\n", verdict.exit().code(), verdict.word(), verdict.sentence()));
    }
    golden("verdicts", &lines);
}

#[test]
fn a_watched_endpoint_is_judged_as_its_visitors_see_it_and_by_its_own_lifetime() {
    let judge = |seen: &Seen| Verdict::of_watched(seen, &sni(), NOW);
    assert_eq!(judge(&seen(&leaf("theirs", -30, 60))), Verdict::Ok);
    assert_eq!(judge(&seen(&leaf("theirs", -65, 25))), Verdict::Ok, "due, and not yet late");
    assert_eq!(judge(&seen(&leaf("theirs", -70, 20))), Verdict::Overdue { since: days(0, -10).1 });
    assert_eq!(judge(&seen(&leaf("theirs", -90, 0))), Verdict::Expired);
    let mut other = leaf("theirs", -30, 60);
    other.names = [DnsName::parse("www.example.com").unwrap()].into_iter().collect();
    assert_eq!(judge(&seen(&other)), Verdict::WrongName);
    let distrusted = Seen::Leaf { leaf: Box::new(leaf("theirs", -30, 60)), distrust: Some("no path".into()) };
    assert_eq!(judge(&distrusted), Verdict::Untrusted { why: "no path".into() });
    assert_eq!(judge(&Seen::Silence(ProbeError::Refused)).exit(), Exit::Hurt);
    for verdict in [Verdict::Expired, Verdict::Overdue { since: NOW }, Verdict::Untrusted { why: "no path".into() }] {
        let sentence = verdict.sentence_of_watched();
        assert!(!sentence.contains("certd"), "certd renews nothing there: {sentence}");
    }
}

#[test]
fn watched_endpoints_stand_below_the_certificates_worst_first_and_count() {
    let watched = |name: &str, last: u8, seen: Seen| Watched {
        name: WatchName::parse(name).unwrap(),
        address: Some(SocketAddr::from(([127, 0, 0, last], 443))),
        sni: sni(),
        starttls: None,
        seen,
    };
    let observed = [
        watched("backend", 1, seen(&leaf("one", -30, 60))),
        watched("后端", 2, seen(&leaf("two", -70, 20))),
        watched("pair", 3, seen(&leaf("three", -30, 60))),
        watched("pair", 4, Seen::Silence(ProbeError::TimedOut)),
    ];
    let certificates = vec![with_node(vec![ok()], None)];
    let mut report = Report { certificates, watched: watched::reports(&observed, false, NOW), ..empty() };
    report.conclude(true);
    assert_eq!(report.exits, [4, 3]);
    golden("watched", &format!("{}---\n{}", text(&report, Style::default()), watched_text(&report.watched)));
    report.certificates.clear();
    assert!(
        text(&report, Style::default())
            .ends_with("\n1 of 3 watched are well: visitors are hurt now: pair unreachable (exit 4)\n")
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["watched"][0]["served"][0]["verdict"], "unreachable");
}

#[test]
fn what_is_due_and_held_up_is_not_called_nothing_to_issue() {
    let line = |reason| {
        let plan = Plan { waits: vec![Wait::Renewal { certificate: cert(), reason }], ..Plan::default() };
        let report = Report { certificates: vec![with_node(vec![ok()], None)], plan, ..empty() };
        let shown = text(&report, Style::default());
        shown
            .lines()
            .find(|line| line.contains("issue") && !line.contains("stored:"))
            .map(|line| line.trim().to_owned())
            .unwrap()
    };
    let not_due = RenewalWait::NotDue { at: NOW, not_after: NOW, basis: Basis::Lifetime { left: 3 }, ask_again: None };
    assert!(line(not_due).starts_with("nothing to issue: not due until"));
    let back_off = RenewalWait::BackOff {
        ca: "ca".into(),
        until: NOW,
        failures: 2,
        failure: Box::new(failure("acme-rate-limited")),
        by_the_ca: true,
        passed_over: Vec::new(),
        emergency_from: None,
    };
    assert!(line(back_off).starts_with("not issued: due, but 2 attempts in a row failed; next try"));
    assert!(
        line(RenewalWait::Ledger {
            ca: "ca".into(),
            full: LimitReached::ByTheCa { until: NOW },
            passed_over: Vec::new(),
            emergency_from: None
        })
        .starts_with("not issued: the CA answered 429")
    );
    let deploy = RenewalWait::MayNotIssue { stored: false };
    assert_eq!(line(deploy), "not delivered: nothing is stored yet: `certd renew` issues it");
}

#[test]
fn a_node_is_named_once_in_what_happened_to_it() {
    let mut failed = failure("ssh-refused");
    (failed.object, failed.what) = ("上海".into(), "上海: 192.0.2.1:22 refuses the connection".into());
    let report =
        Report { certificates: vec![with_node(vec![ok()], Some(Outcome::Failed { failure: failed }))], ..empty() };
    let shown = text(&report, Style::default());
    assert!(shown.contains("  上海: nothing was changed: 192.0.2.1:22 refuses the connection\n"), "{shown}");
}

#[test]
fn the_text_is_aligned_with_names_in_any_script_and_has_the_worst_first() {
    let report = sample();
    let shown = text(&report, Style::default());
    for table in shown.split("\n\n") {
        let place = |line: &str| Some(width(&line[..line.find("127.0.0.")?]));
        let places: BTreeSet<usize> = table.lines().filter_map(place).collect();
        assert!(places.len() < 2, "the addresses of a table stand in one column:\n{table}");
    }
    golden("report", &shown);
    golden("report-json", &serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn colour_is_there_only_when_it_is_asked_for_and_changes_no_word() {
    let report = sample();
    let plain = text(&report, Style::default());
    let coloured = text(&report, Style { colour: true, ..Style::default() });
    assert!(!plain.contains('\x1b'));
    for (colour, word) in [("\x1b[31m", "expired"), ("\x1b[32m", "ok"), ("\x1b[33m", "unmanaged")] {
        assert!(coloured.contains(&format!("{colour}{word}\x1b[0m")), "{coloured:?}");
    }
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some((before, after)) = rest.split_once('\x1b') {
        stripped.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    stripped.push_str(rest);
    let trimmed: Vec<&str> = stripped.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n"), plain.trim_end());
}

#[test]
fn what_a_peer_says_cannot_move_a_cursor_or_hide_a_word_in_text_or_json() {
    let hostile = "E7\x1b[2J\r\nok\u{9b}31m\u{202e}dab\u{200b}";
    let pair = Authority::root("R").intermediate(hostile).issue(&["newapi.example.com"], days(-1, 89));
    let mut report = sample();
    report.certificates[0].nodes[0].served[0].issuer = Some(pair.chain().leaf.issuer.clone());
    let current = report.certificates[0].current.as_mut().unwrap();
    current.issuer = pair.chain().leaf.issuer.clone();
    current.basis = Basis::Ari { start: NOW, end: NOW, explanation: Some(escape(hostile, 300)) };
    let json = serde_json::to_string(&report).unwrap();
    for shown in [text(&report, Style::default()), json] {
        let bad = |c: &char| (c.is_control() && *c != '\n') || "\u{202e}\u{200b}\u{9b}".contains(*c);
        assert_eq!(shown.chars().find(bad), None, "{shown}");
        assert!(shown.contains("E7"));
    }
}

/// Three nodes in every state of a bad day.
/// Columns on a terminal: characters of the scripts used here take two.
fn width(text: &str) -> usize {
    text.chars().map(|c| if c >= '\u{2e80}' { 2 } else { 1 }).sum()
}

pub(super) fn golden(case: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "testdata", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(case, text);
    });
}
