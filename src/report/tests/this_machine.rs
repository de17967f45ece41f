//! What this machine cannot reach is no fault of a node.

use crate::model::{Code, Finding, Observed, Seen, Served};

use super::*;

fn unreachable() -> Seen {
    Seen::Silence(ProbeError::NoRoute("Network is unreachable (os error 101)".into()))
}

fn judged(seen: &Seen) -> Verdict {
    Verdict::of(seen, &sni(), &Stored::default(), None, 7, NOW)
}

fn report(verdicts: Vec<Verdict>, failures: Vec<Finding>) -> Report {
    let mut report = Report { certificates: vec![with_node(verdicts, None)], failures, ..empty() };
    report.conclude(false);
    report
}

fn only(mut findings: impl Iterator<Item = Finding>) -> Finding {
    let first = findings.next().unwrap();
    assert_eq!(findings.next(), None);
    first
}

#[test]
fn what_could_not_be_asked_for_lack_of_open_files_is_this_machines_failure_and_no_nodes() {
    let seen = || Seen::Silence(ProbeError::NoSocket("Too many open files (os error 24)".into()));
    let served = |address: &str| Served {
        node: name("上海"),
        certificate: cert(),
        address: Some(address.parse().unwrap()),
        sni: sni(),
        over: Over::Tcp,
        starttls: None,
        seen: seen(),
        handshakes: None,
    };
    let observed = Observed { served: vec![served("192.0.2.1:443"), served("192.0.2.2:443")], ..Observed::default() };
    let finding = only(super::super::this_machine::findings(&observed));
    assert_eq!((&finding.code, finding.exit()), (&Code::NoFiles, Exit::Internal));
    assert!(
        finding.named().contains("no more open files for 2 handshakes (Too many open files"),
        "{}",
        finding.named()
    );
    let report = report(vec![judged(&seen())], vec![finding]);
    assert_eq!(report.exits, [1, 3], "nobody is known to be hurt");
    let shown = text(&report, Style::default());
    assert!(shown.contains("LimitNOFILE="), "{shown}");
}

#[test]
fn a_node_is_judged_by_the_addresses_to_which_this_machine_has_a_route() {
    let seen = |address: &str, seen: Seen| Served {
        node: name("上海"),
        certificate: cert(),
        address: Some(address.parse().unwrap()),
        sni: sni(),
        over: Over::Tcp,
        starttls: None,
        seen,
        handshakes: None,
    };
    let served = ["[2001:db8::1]:443", "[2001:db8::2]:443"].map(|address| seen(address, unreachable()));
    let finding =
        only(super::super::this_machine::findings(&Observed { served: served.into(), ..Observed::default() }));
    assert_eq!((&finding.code, finding.exit()), (&Code::NoRoute, Exit::Warning));
    assert_eq!(
        finding.named(),
        "this machine: it has no IPv6 route to 2001:db8::1, 2001:db8::2 (Network is unreachable (os error 101)): what is \
         served there is not known, and a node with other addresses is judged by those"
    );

    let both = report(vec![Verdict::Ok, judged(&unreachable())], vec![finding.clone()]);
    assert_eq!(both.exits, [3], "one warning, and nobody is hurt");
    let shown = text(&both, Style::default());
    assert!(
        shown.contains("1 of 1 serve the right certificate: a warning: this machine (no-route) (exit 3)"),
        "{shown}"
    );
    assert_eq!(shown.matches("next:").count(), 1, "{shown}");
    let hurt = report(vec![Verdict::Expired, judged(&unreachable())], vec![finding.clone()]);
    assert_eq!(hurt.exits, [4, 3]);

    let alone = report(vec![judged(&unreachable())], vec![finding]);
    assert_eq!(alone.exits, [3]);
    let shown = text(&alone, Style::default());
    assert!(shown.contains("what visitors get is not known"), "{shown}");
    assert!(shown.contains("0 of 1 serve"), "nobody knows: {shown}");
    assert_eq!(super::super::this_machine::findings(&Observed::default()).count(), 0);
}

#[test]
fn a_server_that_has_nothing_in_common_with_certd_hurts_nobody_that_is_known() {
    let verdict =
        judged(&Seen::Silence(ProbeError::NothingInCommon("no TLS version or cipher suite in common".into())));
    assert_eq!((verdict.word().as_str(), verdict.exit()), ("unknown", Exit::Warning));
    assert!(verdict.sentence().contains("ssl_ciphers"), "{}", verdict.sentence());
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["verdict", "why"]);
}
