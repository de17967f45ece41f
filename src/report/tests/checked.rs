//! What `check` reports beside the tables: disks, the origin of a certificate, and the line for a monitoring system.

use super::sample::served;
use super::*;
use crate::cert::KeyAlgorithm;
use crate::model::{Code, Drift, Exposed, Severity};
use crate::report::inventory::InventoryReport;

fn disk(node: &str, about: bool, verdict: DiskVerdict) -> DiskReport {
    DiskReport { node: name(node), certificate: about.then(cert), at: NOW, verdict }
}

fn every_disk() -> Vec<DiskReport> {
    let cron = || vec!["/etc/cron.d/acme".to_owned()];
    let exposed = Exposed { path: "/ssl/privkey.pem".into(), mode: "-rw-r--r--".into() };
    let drift = |drift| disk("广州", true, DiskVerdict::Drifted(drift));
    let mut all = vec![
        drift(Drift::Flattened),
        drift(Drift::Overwritten { renewers: cron() }),
        drift(Drift::Changed { renewers: Vec::new() }),
        drift(Drift::Older { current: "20250101000000-04c3".into() }),
        drift(Drift::Newer { current: "29990101000000-04c3".into() }),
        drift(Drift::Missing),
        drift(Drift::Foreign { why: "privkey.pem is a link that certd did not make".into() }),
        disk("上海", true, DiskVerdict::Same),
        disk("上海", true, DiskVerdict::Mended { was: Drift::Flattened }),
        disk("上海", false, DiskVerdict::NotLooked { failure: failure("ssh-refused") }),
        disk(
            "上海",
            false,
            DiskVerdict::TestFails { output: "nginx: [emerg] unknown directive".into(), before_first: false },
        ),
        disk("上海", false, DiskVerdict::ClockOff { ahead_seconds: -7_260 }),
        disk("上海", false, DiskVerdict::LittleRoom { kib: 12 }),
        disk("上海", false, DiskVerdict::Renewers { found: cron() }),
        disk("上海", false, DiskVerdict::OldWorkers),
        disk("上海", true, DiskVerdict::Exposed { files: vec![exposed] }),
        disk("上海", false, DiskVerdict::Left { folders: vec!["/ssl/.certd/old.example".into()] }),
    ];
    all[0].at = NOW - SignedDuration::from_hours(7);
    all
}

#[test]
fn every_finding_on_a_disk_has_a_word_a_code_and_a_sentence() {
    let report = Report { disks: every_disk(), ..empty() };
    let mut lines = text(&report, Style::default());
    for disk in &report.disks {
        let json = serde_json::to_value(disk).unwrap();
        assert_eq!(json["disk"], disk.verdict.word(), "the JSON spells it the same");
        lines.push_str(&format!("{} {json}\n", disk.exit().code()));
    }
    golden("disks", &lines);
}

#[test]
fn s21_a_disk_that_differs_is_a_warning_and_one_that_was_mended_is_none() {
    for disk in every_disk() {
        let mut report = Report { disks: vec![disk.clone()], ..empty() };
        report.conclude(false);
        let well = matches!(disk.verdict.word().as_str(), "same" | "mended" | "renewers" | "left" | "old-workers");
        assert_eq!(report.exit, if well { 0 } else { 3 }, "{disk:?}");
    }
}

#[test]
fn what_dns_shows_is_reported_to_a_monitoring_system_once() {
    let finding = |severity| {
        let (what, next) = ("its CAA records let nobody issue", "add the record");
        Finding::for_a_person(Code::InventoryCaa, "a.example.com", what, next).of_severity(severity)
    };
    let of = |severity| InventoryReport {
        certificate: cert(),
        name: sni(),
        alias: None,
        addresses: Default::default(),
        ttl: None,
        findings: vec![finding(severity)],
    };
    let inventory = vec![of(Severity::Warning), of(Severity::Warning), of(Severity::Note)];
    let mut report = Report { inventory, ..empty() };
    report.conclude(false);
    assert_eq!(nagios(&report), "CERTD WARNING - a.example.com: its CAA records let nobody issue\n");
}

#[test]
fn n03_a_certificate_that_is_not_ours_is_reported_with_its_origin() {
    let mut lines = String::new();
    let mut other = leaf("other", -30, 60);
    let mut add = |change: &dyn Fn(&mut Leaf)| {
        change(&mut other);
        lines.push_str(&format!("{}\n", Origin::of(&other).sentence()));
        Origin::of(&other).kind
    };
    let made = [
        add(&|leaf| leaf.organisation = Some("Let's Encrypt".into())),
        add(&|leaf| (leaf.issuer, leaf.organisation) = ("WE1".into(), Some("Google Trust Services".into()))),
        add(&|leaf| {
            (leaf.issuer, leaf.organisation) =
                ("Cloudflare TLS Issuing ECC CA 3".into(), Some("SSL Corporation".into()))
        }),
        add(&|leaf| {
            (leaf.subject, leaf.organisation) =
                ("CloudFlare Origin Certificate".into(), Some("CloudFlare, Inc.".into()));
        }),
        add(&|leaf| {
            leaf.names = NameSet::default();
            (leaf.issuer, leaf.subject, leaf.organisation) = ("debian".into(), "debian".into(), None);
            leaf.self_signed = true;
        }),
        add(&|leaf| leaf.subject = "TRAEFIK DEFAULT CERT".into()),
        add(&|leaf| {
            leaf.names = (1..9).map(|n| DnsName::parse(&format!("a{n}.example.com")).unwrap()).collect();
            (leaf.issuer, leaf.self_signed, leaf.subject) = ("Our Own CA".into(), false, "a1.example.com".into());
        }),
    ];
    golden("origin", &lines);
    let expected = [
        OriginKind::AcmeCa,
        OriginKind::AcmeCa,
        OriginKind::CloudflareEdge,
        OriginKind::CloudflareOrigin,
        OriginKind::SelfSigned,
        OriginKind::ServerDefault,
        OriginKind::Unknown,
    ];
    assert_eq!(made, expected);
}

#[test]
fn a_monitoring_system_gets_one_line_with_numbers_and_a_line_for_each_finding() {
    let mut report = sample();
    report.disks = vec![disk("香港-備援", true, DiskVerdict::Drifted(Drift::Flattened))];
    golden("nagios", &nagios(&report));
    let mut well = Report { certificates: vec![with_node(vec![ok()], None)], ..empty() };
    well.conclude(false);
    assert!(nagios(&well).starts_with("CERTD OK - certificates: 1, served by nodes: 1 | '上海 newapi.example.com'="));
    for (exit, state) in [(0, 0), (1, 3), (2, 3), (3, 1), (4, 2), (5, 2), (6, 2), (7, 3)] {
        assert_eq!(State::of(exit).code(), state, "{exit}");
    }
    assert_eq!(nagios_unknown("a|b\n  next: c"), "CERTD UNKNOWN - a¦b\n");
}

#[test]
fn i11_no_text_of_a_peer_can_make_numbers_or_lines_for_a_monitoring_system() {
    let mut certificate = with_node(vec![Verdict::NoTls { why: "x | 'days'=99;;;;\nCERTD OK - fine".into() }], None);
    certificate.nodes[0].node = name("it's=a|node");
    let mut report = Report { certificates: vec![certificate], ..empty() };
    report.conclude(false);
    let shown = nagios(&report);
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.starts_with("CERTD CRITICAL - ") && shown.matches('|').count() < 2, "{shown}");
}

#[test]
fn a_pair_that_nobody_manages_is_a_warning_and_hurts_only_when_most_clients_get_it() {
    let of = |verdict: Verdict, preferred: bool| {
        let mut certificate = with_node(vec![ok()], None);
        let served = served(1, verdict);
        certificate.nodes[0].beside = vec![BesideReport { served, algorithm: KeyAlgorithm::Rsa, preferred }];
        let mut report = Report { certificates: vec![certificate], ..empty() };
        report.conclude(false);
        report
    };
    let valid = || Verdict::Unmanaged { lacks: false };
    let exits = [(valid(), false), (valid(), true), (Verdict::Expired, false), (Verdict::Expired, true)]
        .map(|(verdict, preferred)| of(verdict, preferred).exit);
    assert_eq!(exits, [3, 3, 3, 4]);
    let mut lines = String::new();
    for (verdict, preferred) in [(valid(), false), (Verdict::Expired, true)] {
        let report = of(verdict, preferred);
        lines.push_str(&text(&report, Style::default()));
        lines.push_str(&nagios(&report));
        lines.push_str(&beside_text(&report.certificates));
        let json = serde_json::to_value(&report.certificates[0].nodes[0]).unwrap();
        lines.push_str(&format!("{}\n", json["beside"]));
    }
    golden("beside", &lines);
}
