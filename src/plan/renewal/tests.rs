//! What must not follow from a wrong clock, or from a lost file.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::*;
use crate::cert::fixture::{Authority, NOW, days};
use crate::cert::{Generation, KeyType};
use crate::model::{Advice, Attempts, DeliveryAttempts, Meta, Over, ProbeError, Scope, Seen, Served, UNKNOWN_CA};
use crate::plan::{DeliveryWait, Plan, Step, Wait, plan};

const CONFIG: &str = include_str!("../../../config/certd.toml");
const NAME: &str = "newapi.example.com";

struct Case {
    config: Config,
    observed: Observed,
}

/// A certificate of 90 days that is `age` days old; the first node serves nothing.
fn case(text: &str, age: i64) -> Case {
    let config = crate::config::parse(text).unwrap_or_else(|_| panic!("the example is right"));
    let pair = Authority::root("R").intermediate("I").issue(&[NAME], days(-age, 90 - age));
    let leaf = pair.chain().leaf.clone();
    let generation = Generation::issued(NOW, 0, &leaf.serial).unwrap();
    let certificate = &config.certificates[0];
    let (ca, profile) = (config.acme.host.clone(), certificate.profile.clone());
    let meta = Meta { key_type: KeyType::EcdsaP256, profile, ca, issued_at: leaf.not_before };
    let stored = Stored { current: Some(Kept { generation, leaf, meta }), ..Stored::default() };
    let served = Served {
        node: certificate.nodes[0].clone(),
        certificate: certificate.name.clone(),
        address: None,
        sni: certificate.sni[0].clone(),
        over: Over::Tcp,
        starttls: None,
        seen: Seen::Silence(ProbeError::Refused),
        handshakes: None,
    };
    let observed = Observed {
        asked: Scope { may_issue: true, pass_started: Some(NOW), ..Scope::default() },
        store: BTreeMap::from([(certificate.name.clone(), stored)]),
        served: vec![served],
        ..Observed::default()
    };
    Case { config, observed }
}

impl Case {
    fn plan(&self) -> Plan {
        plan(&self.config, &self.observed, NOW)
    }

    fn issues(&self) -> bool {
        self.plan().steps.iter().any(|step| matches!(step, Step::Issue(_)))
    }
}

fn failure() -> Finding {
    let text = || "any".to_owned();
    Finding::new(crate::model::Code::Bug, text(), text(), text(), Advice::Person)
}

fn ten_years() -> SignedDuration {
    SignedDuration::from_hours(10 * 365 * 24)
}

#[test]
fn k03_a_failure_noted_while_the_clock_was_ten_years_ahead_holds_nothing_up() {
    let mut case = case(CONFIG, 80);
    let name = case.config.certificates[0].name.clone();
    let mut attempts = Attempts { failures: 3, first: None, last: NOW, not_before: None, failure: failure() };
    case.observed.state.issuance.insert(name.clone(), [(case.config.acme.host.clone(), attempts.clone())].into());
    assert!(!case.issues(), "it failed just now");
    attempts.last = NOW + ten_years();
    attempts.not_before = Some(NOW + ten_years());
    case.observed.state.issuance.insert(name, [(case.config.acme.host.clone(), attempts)].into());
    assert!(case.issues());
}

#[test]
fn k03_a_node_that_failed_while_the_clock_was_ten_years_ahead_is_tried() {
    for rolled_back in [false, true] {
        let mut case = case(CONFIG, 1);
        let certificate = &case.config.certificates[0];
        let (name, node) = (certificate.name.clone(), certificate.nodes[0].clone());
        let generation = case.observed.store[&name].current.as_ref().unwrap().generation.clone();
        let mut attempts = DeliveryAttempts {
            generation,
            failures: 1,
            first: None,
            last: NOW,
            rolled_back,
            together: false,
            failure: failure(),
        };
        let mut planned = |attempts: &DeliveryAttempts| {
            let by_name = BTreeMap::from([(name.clone(), attempts.clone())]);
            case.observed.state.delivery.insert(node.clone(), by_name);
            case.plan()
        };
        let of_node = |wait: &Wait| matches!(wait, Wait::Delivery { reason: DeliveryWait::TriedNow { .. }, .. });
        assert!(planned(&attempts).waits.iter().any(of_node), "it failed just now");
        attempts.last = NOW + ten_years();
        assert!(planned(&attempts).steps.iter().any(|step| matches!(step, Step::Deliver(_))));
    }
}

#[test]
fn p07_a_lost_meta_file_costs_no_certificate() {
    let text = CONFIG.replace("[[certificate]]\n", "[[certificate]]\nprofile = \"tlsserver\"\n");
    let mut case = case(&text, 1);
    assert!(!case.issues());
    let name = case.config.certificates[0].name.clone();
    let meta = &mut case.observed.store.get_mut(&name).unwrap().current.as_mut().unwrap().meta;
    meta.profile = None;
    assert!(case_issues_with(meta.clone(), &text), "the profile did change");
    meta.ca = UNKNOWN_CA.to_owned();
    assert!(!case.issues(), "nobody knows the profile");
}

fn case_issues_with(meta: Meta, text: &str) -> bool {
    let mut case = case(text, 1);
    let name = case.config.certificates[0].name.clone();
    case.observed.store.get_mut(&name).unwrap().current.as_mut().unwrap().meta = meta;
    case.issues()
}
