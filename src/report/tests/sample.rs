//! Reports made by hand: what a pass or a look could have come to.

use super::*;

pub(super) fn sample() -> Report {
    let node = |name: &str, last: u8, verdict: Verdict, delivery: Option<Outcome>| NodeReport {
        node: self::name(name),
        paused_until: None,
        paused_reason: None,
        window_opens: None,
        last_failure: None,
        served: vec![served(last, verdict)],
        beside: Vec::new(),
        delivery: delivery.map(Delivery::Ended),
    };
    let rolled_back = Outcome::RolledBack { output: "nginx: [emerg] key values mismatch".into() };
    let mut nodes = vec![
        node("shenzhen", 3, Verdict::Ok, Some(Outcome::Served)),
        node("cn2-上海", 1, Verdict::Stale, Some(rolled_back)),
        node("广州", 2, Verdict::Expired, None),
        node("香港-備援", 4, Verdict::Unmanaged { lacks: false }, None),
        node("beijing", 5, Verdict::Expired, None),
    ];
    nodes[4].paused_until = Some(NOW + SignedDuration::from_hours(48));
    nodes.sort_by_key(NodeReport::rank);
    let basis = Basis::Lifetime { left: 3 };
    let current = Current {
        generation: generation(),
        fingerprint: Fingerprint::of(b"stored"),
        issuer: "E7".into(),
        key_type: KeyType::EcdsaP256,
        not_before: days(-1, 89).0,
        not_after: days(-1, 89).1,
        renew_at: days(59, 89).0,
        basis: basis.clone(),
        crl: None,
        revocation_begun: None,
    };
    let waits = vec![Wait::Renewal {
        certificate: cert(),
        reason: RenewalWait::NotDue { at: days(59, 89).0, not_after: days(-1, 89).1, basis, ask_again: None },
    }];
    let names = [sni()].into_iter().collect();
    let certificate = CertificateReport {
        name: cert(),
        names,
        current: Some(current),
        held: None,
        issuance: None,
        failing_since: None,
        nodes,
    };
    let unissued = CertificateReport {
        name: CertName::parse("other").unwrap(),
        names: [DnsName::parse("*.example.org").unwrap()].into_iter().collect(),
        current: None,
        held: None,
        issuance: Some(Issuance::Failed { failure: failure("acme-rate-limited") }),
        failing_since: None,
        nodes: vec![node("上海", 1, Verdict::Unreachable { why: "no answer".into() }, None)],
    };
    let plan = Plan { waits, ..Plan::default() };
    let mut report =
        Report { certificates: vec![certificate, unissued], plan, failures: vec![failure("txt-left")], ..empty() };
    report.conclude(true);
    report
}

pub(super) fn served(last: u8, verdict: Verdict) -> ServedReport {
    let silent = matches!(verdict, Verdict::Unreachable { .. } | Verdict::NoTls { .. });
    let expired = verdict == Verdict::Expired;
    ServedReport {
        address: Some(SocketAddr::from(([127, 0, 0, last], 443))),
        sni: sni(),
        over: Over::Tcp,
        handshakes: None,
        starttls: None,
        verdict,
        fingerprint: (!silent).then(|| Fingerprint::of(&[last])),
        not_after: (!silent).then(|| days(0, if expired { -1 } else { 40 + i64::from(last) }).1),
        issuer: (!silent).then(|| "E7".into()),
        origin: None,
    }
}

pub(super) fn with_node(verdicts: Vec<Verdict>, delivery: Option<Outcome>) -> CertificateReport {
    let served = verdicts.into_iter().map(|verdict| served(1, verdict)).collect();
    let delivery = delivery.map(Delivery::Ended);
    let node = NodeReport {
        node: name("上海"),
        paused_until: None,
        paused_reason: None,
        window_opens: None,
        last_failure: None,
        served,
        beside: Vec::new(),
        delivery,
    };
    CertificateReport {
        name: cert(),
        names: [sni()].into_iter().collect(),
        current: None,
        held: None,
        issuance: None,
        failing_since: None,
        nodes: vec![node],
    }
}

pub(super) fn empty() -> Report {
    Report {
        schema: SCHEMA,
        command: "renew",
        at: NOW,
        exit: 0,
        exits: Vec::new(),
        certificates: Vec::new(),
        left_out: Vec::new(),
        watched: Vec::new(),
        health: Vec::new(),
        withdrawn: Vec::new(),
        inventory: Vec::new(),
        disks: Vec::new(),
        plan: Plan::default(),
        failures: Vec::new(),
    }
}

pub(super) fn leaf(label: &str, from: i64, to: i64) -> Leaf {
    let day = |count: i64| -> Timestamp { days(0, count).1 };
    Leaf {
        fingerprint: Fingerprint::of(label.as_bytes()),
        names: [sni()].into_iter().collect(),
        not_before: day(from),
        not_after: day(to),
        serial: "04c3".into(),
        issuer: "E7".into(),
        key_type: Some(KeyType::EcdsaP256),
        ari_id: None,
        subject: String::new(),
        organisation: None,
        self_signed: false,
    }
}

pub(super) fn seen(leaf: &Leaf) -> Seen {
    Seen::Leaf { leaf: Box::new(leaf.clone()), distrust: None }
}

pub(super) fn failure(code: impl Into<crate::model::Code>) -> Finding {
    Finding::new(code.into(), "the object", "what happened", "what to do", Advice::Person)
}

pub(super) fn ok() -> Verdict {
    Verdict::Ok
}

pub(super) fn sni() -> DnsName {
    DnsName::parse("newapi.example.com").unwrap()
}

pub(super) fn cert() -> CertName {
    CertName::parse("newapi.example.com").unwrap()
}

pub(super) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

pub(super) fn generation() -> Generation {
    "20261122000000-04c3".parse().unwrap()
}
