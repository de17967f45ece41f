//! What a window holds, and what a person holds, in verdicts, codes and words.

use super::*;
use crate::model::Held;
use crate::report::HeldReport;

fn held_by_window(verdict: Verdict) -> Report {
    let mut certificate = with_node(vec![verdict], None);
    certificate.nodes[0].window_opens = Some(NOW + SignedDuration::from_hours(30));
    Report { certificates: vec![certificate], ..empty() }
}

fn held() -> Held {
    let (not_before, not_after) = days(-30, 60);
    Held {
        generation: generation(),
        fingerprint: Fingerprint::of(b"held"),
        not_before,
        not_after,
        since: NOW,
        by: Some("alice".into()),
    }
}

#[test]
fn what_waits_for_a_window_is_a_warning_until_visitors_are_hurt() {
    let codes = |mut report: Report| {
        report.conclude(true);
        report.exits
    };
    assert_eq!(codes(held_by_window(Verdict::Stale)), [3]);
    assert_eq!(codes(held_by_window(Verdict::Unmanaged { lacks: true })), [3]);
    assert_eq!(codes(held_by_window(Verdict::Expired)), [4], "as always");
    let shown = text(&held_by_window(Verdict::Stale), Style::default());
    assert!(
        shown.contains("stale, waits\n") && shown.contains("an earlier certificate of ours; its window opens 20"),
        "{shown}"
    );
    let opens = DeliveryWait::Window { opens: NOW };
    let wait = Wait::Delivery { certificate: cert(), node: name("上海"), reason: opens };
    assert_eq!(codes(Report { plan: Plan { waits: vec![wait], ..Plan::default() }, ..empty() }), [3]);
}

#[test]
fn a_monitoring_system_sees_why_a_node_waits() {
    let mut report = held_by_window(Verdict::Stale);
    report.conclude(false);
    let shown = nagios(&report);
    assert!(
        shown.starts_with("CERTD WARNING - ")
            && shown.contains("stale, waits: an earlier certificate of ours; its window opens 20"),
        "{shown}"
    );
    let mut report = Report { certificates: vec![with_node(vec![Verdict::Stale], None)], ..empty() };
    let node = &mut report.certificates[0].nodes[0];
    (node.paused_until, node.paused_reason) = (Some(NOW + SignedDuration::from_hours(48)), Some("new disk".into()));
    report.conclude(false);
    let shown = nagios(&report);
    assert!(shown.contains(": new disk"), "{shown}");
}

#[test]
fn who_serves_what_a_person_went_back_to_serves_what_is_meant() {
    let last = |verdicts| text(&Report { certificates: vec![with_node(verdicts, None)], ..empty() }, Style::default());
    assert!(last(vec![Verdict::Held]).contains("1 of 1 serve the right certificate"));
    assert!(last(vec![Verdict::Overdue { since: NOW }]).contains("1 of 1 serve the right certificate"));
    assert!(last(vec![Verdict::Held, Verdict::NotHeld]).contains("0 of 1 serve the right certificate"));
}

#[test]
fn what_to_do_about_silence_depends_on_the_way_that_was_taken() {
    let mut certificate = with_node(vec![Verdict::Unreachable { why: "connection refused".into() }], None);
    let shown = |certificate: &CertificateReport| {
        text(&Report { certificates: vec![certificate.clone()], ..empty() }, Style::default())
    };
    assert!(
        shown(&certificate)
            .contains("connection refused\n    next: is the server up, and the port open to this machine?")
    );
    certificate.nodes[0].served[0].over = Over::Ssh;
    assert!(shown(&certificate).contains("does it listen at this address too?"));
    certificate.nodes[0].served[0].over = Over::Quic;
    assert!(shown(&certificate).contains("does the server speak HTTP/3, and is the port open for UDP too?"));
}

#[test]
fn of_a_held_certificate_it_is_the_stored_one_that_is_wrong_to_serve() {
    let held = held();
    let leaf = |label: &str| {
        let mut leaf = Authority::root("R").issue(&["newapi.example.com"], days(-30, 60)).chain().leaf.clone();
        leaf.fingerprint = Fingerprint::of(label.as_bytes());
        leaf
    };
    let judge = |verdict: Verdict, label: &str| verdict.under_hold(&held, &leaf(label), NOW);
    assert_eq!(judge(Verdict::Stale, "held"), Verdict::Held);
    assert_eq!(judge(Verdict::Ok, "held"), Verdict::Held, "the newest may be held too");
    assert_eq!(judge(Verdict::Unmanaged { lacks: true }, "held"), Verdict::Held, "the store may have lost it");
    assert_eq!(judge(Verdict::Ok, "stored"), Verdict::NotHeld);
    assert_eq!(judge(Verdict::Overdue { since: NOW }, "stored"), Verdict::NotHeld);
    for other in [Verdict::Stale, Verdict::Expired, Verdict::WrongName, Verdict::Unmanaged { lacks: true }] {
        assert_eq!(judge(other.clone(), "else"), other);
    }
    assert_eq!(Verdict::Expired.under_hold(&held, &leaf("held"), NOW), Verdict::Expired, "held or not");
    let late = NOW + SignedDuration::from_hours(45 * 24);
    let verdict = Verdict::Stale.under_hold(&held, &leaf("held"), late);
    assert!(matches!(verdict, Verdict::Overdue { .. }), "its end comes near: {verdict:?}");
}

#[test]
fn a_hold_is_shown_with_its_author_and_its_end() {
    let mut report = sample();
    let ends = held().not_after;
    report.certificates[0].held = Some(HeldReport { held: held(), ends });
    report.left_out = vec![name("香港-備援")];
    report.conclude(false);
    assert!(report.exits.contains(&3));
    let shown = text(&report, Style::default());
    assert!(
        shown.contains(" by alice; newer generations wait for `certd deploy newapi.example.com --latest`"),
        "{shown}"
    );
    assert!(shown.contains("left out, not probed: 香港-備援\n"), "{shown}");
}

fn failing(what: &str) -> Report {
    let last = |node: &str| LastFailure {
        attempts: 3,
        since: Some(NOW - SignedDuration::from_hours(30)),
        next_try: Some(NOW + SignedDuration::from_hours(6)),
        failure: Finding {
            what: format!("{node}: {what}"),
            object: node.into(),
            next: "fix the configuration on the node".into(),
            ..failure("node-broken-before")
        },
    };
    let mut certificate = with_node(vec![Verdict::Stale], None);
    certificate.nodes = ["n1", "n2"]
        .map(|node| {
            let node_name = name(node);
            NodeReport { node: node_name, last_failure: Some(last(node)), ..certificate.nodes[0].clone() }
        })
        .into();
    let mut report = Report { certificates: vec![certificate], ..empty() };
    report.conclude(false);
    report
}

#[test]
fn a_look_says_why_a_node_is_stale_since_when_and_what_helps() {
    let report = failing("nginx: [emerg] unknown directive");
    let shown = text(&report, Style::default());
    let cause = "an earlier certificate of ours; 3 deliveries failed since 2026-11-21 18:00 UTC, next try 2026-11-23 06:00 UTC: \
                 nginx: [emerg] unknown directive";
    assert!(shown.contains(&format!("  n1, n2: {cause}\n    next: fix the configuration on the node\n")), "{shown}");
    assert!(!shown.contains("certd deploy"), "what failed three times is no advice: {shown}");
    let line = nagios(&report);
    assert!(line.contains(&format!("stale: {cause}: fix the configuration on the node")), "{line}");
}

#[test]
fn nothing_in_a_table_is_folded_and_no_sentence_is_wider_than_the_terminal() {
    let mut report =
        failing("nginx: [emerg] unknown directive \"certificat\" in /etc/nginx/sites-enabled/newapi.conf:12");
    report.certificates[0].nodes[1].served[0].address =
        Some("[2001:db8:1234:5678:9abc:def0:1234:5678]:443".parse().unwrap());
    let shown = text(&report, Style { width: Some(80), ..Style::default() });
    let (table, sentences): (Vec<&str>, Vec<&str>) = shown.lines().partition(|line| line.contains(":443 "));
    assert_eq!(table.len(), 2, "{shown}");
    assert!(
        table[1].contains(" [2001:db8:1234:5678:9abc:def0:1234:5678]:443 ") && table[1].ends_with("stale"),
        "{shown}"
    );
    assert!(sentences.iter().filter(|line| !line.contains("VERDICT")).all(|line| width(line) <= 80), "{shown}");
}

#[test]
fn of_a_hundred_nodes_those_that_are_well_take_one_line_and_all_are_shown_on_demand() {
    let mut certificate = with_node(vec![ok()], None);
    let node = certificate.nodes[0].clone();
    certificate.nodes =
        (0..100).map(|number| NodeReport { node: name(&format!("n{number}")), ..node.clone() }).collect();
    certificate.nodes[70].served[0].verdict = Verdict::Expired;
    certificate.nodes.sort_by_key(NodeReport::rank);
    let mut report = Report { certificates: vec![certificate], ..empty() };
    report.conclude(false);
    let shown = text(&report, Style::default());
    assert!(shown.lines().count() < 12 && shown.contains("  99 more are ok (-v shows them)\n"), "{shown}");
    assert!(
        shown.ends_with("99 of 100 serve the right certificate: visitors are hurt now: n70 expired (exit 4)\n"),
        "{shown}"
    );
    let all = text(&report, Style { all: true, ..Style::default() });
    assert_eq!(all.matches("  ok\n").count(), 99, "{all}");
}

#[test]
fn a_cause_that_a_certificate_names_is_not_repeated_below() {
    let mut report = failing("the disk is full");
    report.failures = vec![report.certificates[0].nodes[0].last_failure.clone().unwrap().failure];
    report.failures.push(failure("txt-left"));
    let shown = text(&report, Style::default());
    assert_eq!(shown.matches("the disk is full").count(), 1, "{shown}");
    assert!(shown.contains("! the object: what happened"), "{shown}");
}
