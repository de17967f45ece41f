use super::*;
use crate::cert::fixture::NOW;
use crate::config::parse;
use crate::model::HealthPlace;
use crate::plan::health::{AT_ONCE, Answered, after};
use crate::report::Style;
use crate::report::health_text::text;

const CONFIG: &str = r#"
[acme]
directory = "letsencrypt"
[dns]
provider = "exec"
command = ["/bin/true"]
[install]
fullchain = "/{name}.pem"
key = "/{name}.key"
test = ["true"]
reload = ["true"]
[health]
status = [200, 401]
[[certificate]]
domains = ["a.example.com"]
nodes = ["*"]
[[node]]
name = "上海"
address = "192.0.2.1"
[[node]]
name = "広州"
address = "192.0.2.2"
[[node]]
name = "shenzhen"
address = "192.0.2.3"
paused_until = "2100-01-01"
"#;

fn reports_of(answers: [HealthAnswer; 3]) -> Vec<HealthReport> {
    let config = parse(CONFIG).unwrap();
    let health = |(node, answer): (&crate::config::Node, HealthAnswer)| {
        let address = Some(format!("{}:443", node.addresses[0]).parse().unwrap());
        let place = HealthPlace { certificate: config.certificates[0].name.clone(), node: node.name.clone(), address };
        let name = config.certificates[0].sni[0].clone();
        after(None, Answered { place, name, answer, took_ms: Some(12), at: NOW }, AT_ONCE)
    };
    let observed = Observed { health: config.nodes.iter().zip(answers).map(health).collect(), ..Observed::default() };
    reports(&config, &observed, NOW)
}

fn status(status: u16) -> HealthAnswer {
    let http = "HTTP/2".to_owned();
    match status {
        200 | 401 => HealthAnswer::Well { status, http },
        _ => HealthAnswer::Status { status, http, location: None },
    }
}

fn golden(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "../testdata", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

fn exits(reports: &[HealthReport]) -> Vec<u8> {
    reports.iter().flat_map(HealthReport::findings).map(|finding| finding.exit().code()).collect()
}

#[test]
fn a_node_that_fails_hurts_its_visitors_unless_it_is_paused() {
    let dead = || HealthAnswer::NoAnswer { why: "connection refused".to_owned() };
    let reports = reports_of([status(401), status(500), dead()]);
    assert_eq!(exits(&reports), [4, 0]);
    golden("health", &text(&reports, Style::default()));
}

#[test]
fn a_backend_that_is_down_is_one_finding_of_no_node() {
    let reports = reports_of([status(502), status(502), status(504)]);
    assert_eq!(exits(&reports), [4]);
    assert_eq!(reports[0].backend_since, Some(NOW));
    golden("health-backend", &text(&reports, Style::default()));
    assert!(exits(&reports_of([status(200), status(200), status(401)])).is_empty());
}

#[test]
fn a_backend_that_hangs_is_one_finding_too() {
    let silent = || HealthAnswer::NoResponse { why: "TLS answers, and no response to the request".to_owned() };
    let reports = reports_of([status(503), silent(), silent()]);
    assert_eq!(exits(&reports), [4]);
    let what = &reports[0].findings[0].what;
    assert!(what.starts_with("every node that answers says 503 or gives no response"), "{what}");
    let reports = reports_of([status(200), silent(), status(200)]);
    let finding = &reports[0].nodes[0].findings[0];
    assert!(finding.next.starts_with("the server is there: see its log"), "{finding:?}");
}

#[test]
fn a_paused_node_has_a_row_and_no_problem_line() {
    let reports = reports_of([status(200), status(200), status(500)]);
    assert_eq!(exits(&reports), [0]);
    let text = text(&reports, Style::default());
    assert!(text.contains("shenzhen") && !text.contains("answers 500"), "{text}");
}

#[test]
fn where_no_node_takes_a_connection_one_finding_says_so() {
    let dead = || HealthAnswer::NoAnswer { why: "no answer".to_owned() };
    let mut reports = reports_of([dead(), dead(), dead()]);
    let finding = cut_off(&mut reports).unwrap();
    assert_eq!((&finding.code, finding.exit().code()), (&Code::HealthNoNode, 4));
    assert!(finding.what.starts_with("none of the 3 nodes"), "{finding:?}");
    assert!(exits(&reports).is_empty());
    assert!(reports[0].nodes.iter().all(|node| node.verdict == HealthVerdict::NoAnswer));
    for other in [status(500), HealthAnswer::Tls { why: "expired".to_owned() }] {
        assert_eq!(cut_off(&mut reports_of([dead(), dead(), other])), None);
    }
}

#[test]
fn an_address_without_a_route_is_no_finding_of_a_node_but_one_of_this_machine() {
    let no_route = || HealthAnswer::NoRoute { why: "Network is unreachable".to_owned() };
    let reports = reports_of([no_route(), no_route(), status(200)]);
    assert!(exits(&reports).is_empty());
    let (config, mut observed) = (parse(CONFIG).unwrap(), Observed::default());
    let name = config.certificates[0].sni[0].clone();
    for (address, answer) in
        [("[2001:db8::1]:443", no_route()), ("192.0.2.1:443", status(200)), ("[2001:db8::2]:443", no_route())]
    {
        let node = config.nodes[0].name.clone();
        let place =
            HealthPlace { certificate: config.certificates[0].name.clone(), node, address: address.parse().ok() };
        observed.health.push(after(
            None,
            Answered { place, name: name.clone(), answer, took_ms: None, at: NOW },
            AT_ONCE,
        ));
    }
    let reports = super::reports(&config, &observed, NOW);
    assert_eq!(reports[0].nodes.iter().filter(|node| node.is_passed_over).count(), 2);
    let found: Vec<Finding> = crate::report::this_machine::findings(&observed).collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].what.contains("no IPv6 route to 2001:db8::1, 2001:db8::2"), "{found:?}");
}

#[test]
fn what_was_asked_long_ago_is_not_known_and_no_alarm() {
    let config = parse(CONFIG).unwrap();
    let place = HealthPlace {
        certificate: config.certificates[0].name.clone(),
        node: config.nodes[0].name.clone(),
        address: None,
    };
    let answered =
        Answered { place, name: config.certificates[0].sni[0].clone(), answer: status(500), took_ms: None, at: NOW };
    let thresholds =
        crate::plan::health::Thresholds { fresh_for: Some(jiff::SignedDuration::from_secs(100)), ..AT_ONCE };
    let observed = Observed { health: vec![after(None, answered, thresholds)], ..Observed::default() };
    let later = reports(&config, &observed, NOW + jiff::SignedDuration::from_secs(101));
    assert_eq!((later[0].nodes[0].verdict, exits(&later)), (HealthVerdict::Unknown, vec![0]));
    let what = &later[0].nodes[0].findings[0].what;
    assert!(what.starts_with("its health is not known: it was last asked"), "{what}");
}

#[test]
fn what_cannot_be_found_from_here_is_a_warning() {
    let unknown = HealthAnswer::Unknown { why: "no way through SSH: no login".to_owned() };
    let reports = reports_of([status(200), unknown, status(200)]);
    assert_eq!(exits(&reports), [3]);
    assert_eq!(
        reports[0].nodes[0].findings[0].what,
        "192.0.2.2:443: its health is not known: no way through SSH: no login"
    );
}
