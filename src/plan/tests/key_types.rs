//! One certificate of two key types: two orders, one rollout, and each pair judged by itself.

use super::scene::{SERVICE, Scene, cert, days, leaf, now, show};
use crate::cert::KeyAlgorithm;
use crate::model::{LedgerEntry, LedgerEvent, ProbeError, Seen};
use crate::plan::delivery::absent;
use crate::plan::rollout::Outcome;
use crate::plan::{Before, DeliveryReason, RenewalReason, RenewalWait, Step, Wait};

const RSA: &str = "newapi.example.com-rsa2048";

fn scene() -> Scene {
    let key_types = "key_type = [\"ecdsa-p256\", \"rsa2048\"]";
    Scene::with(&format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\n{key_types}\nnodes = [\"*\"]\n"))
}

fn finalized(count: usize) -> Vec<LedgerEntry> {
    let scene = scene();
    let (ca, names) = (scene.config.acme.host.clone(), scene.config.certificates[0].names.clone());
    let event = LedgerEvent::Finalize { exempt: false };
    vec![LedgerEntry { at: now() - days(1), ca, names, event, order: None }; count]
}

fn issued(scene: &Scene) -> Vec<String> {
    let plan = scene.plan();
    let issued = plan.steps.iter().filter_map(|step| match step {
        Step::Issue(issue) => Some(format!("{} {}", issue.certificate, issue.key_type.as_str())),
        _ => None,
    });
    issued.collect()
}

#[test]
fn both_are_ordered_in_one_plan_as_far_as_the_ledger_has_room_for_both() {
    let mut scene = scene();
    let (ecdsa, rsa) = (format!("{SERVICE} ecdsa-p256"), format!("{RSA} rsa2048"));
    assert_eq!(issued(&scene), [ecdsa.clone(), rsa]);
    // Three a week are for ordinary use: the order of the first is not in the ledger yet, and counts all the same.
    scene.observed.ledger = finalized(2);
    assert_eq!(issued(&scene), [ecdsa]);
    let plan = scene.plan();
    let full = plan.waits.iter().find_map(|wait| match wait {
        Wait::Renewal { certificate, reason: RenewalWait::Ledger { .. } } => Some(certificate.as_str()),
        _ => None,
    });
    assert_eq!(full, Some(RSA));
}

#[test]
fn both_go_to_a_node_in_one_rollout() {
    let mut scene = scene().stored_as(SERVICE, days(1), days(90)).stored_as(RSA, days(1), days(90));
    for node in scene.config.certificates[0].nodes.clone() {
        let names = scene.config.certificates[0].names.clone();
        let old = leaf("of-an-older-tool", &names, days(-60), days(30));
        scene.set(&node, &cert(SERVICE), show(&old));
        scene.set(&node, &cert(RSA), Seen::Silence(ProbeError::NoSuchKey(KeyAlgorithm::Rsa)));
    }
    let plan = scene.plan();
    let [Step::Deliver(deliver)] = &plan.steps[..] else { panic!("one rollout: {:?}", plan.steps) };
    assert_eq!(deliver.certificates.len(), 2);
    let ended = Outcome::Absent { why: "the server has no RSA certificate".into() };
    for task in &deliver.nodes {
        let of = |name: &str| absent::outcome(&task.certificates[&cert(name)], &ended);
        assert_eq!((of(SERVICE), of(RSA)), (Outcome::Served, ended.clone()), "each is judged by itself");
        assert_eq!(task.before, Before::Valid, "the ECDSA pair is what a change could break");
        assert_eq!(task.absent().map(|name| name.as_str()).collect::<Vec<_>>(), [RSA]);
        let absent = DeliveryReason::Silent { silence: ProbeError::NoSuchKey(KeyAlgorithm::Rsa) };
        assert_eq!(task.certificates[&cert(RSA)], absent);
    }
}

#[test]
fn one_that_is_nearly_due_is_renewed_with_the_other_so_that_servers_reload_once() {
    // Due at a third of the lifetime: the first now, the second a day later.
    let pair = |age| scene().stored_as(SERVICE, days(60), days(90)).stored_as(RSA, days(60) - age, days(90));
    let scene = pair(days(1));
    assert_eq!(issued(&scene).len(), 2);
    let plan = scene.plan();
    let together = plan.steps.iter().any(|step| match step {
        Step::Issue(issue) => {
            matches!(&issue.reason, RenewalReason::Together { with, .. } if with.as_str() == SERVICE)
        }
        _ => false,
    });
    assert!(together, "{:?}", plan.steps);
    assert_eq!(issued(&pair(days(10))), [format!("{SERVICE} ecdsa-p256")], "ten days are not near");
}

#[test]
fn one_that_is_nearly_due_waits_for_its_own_day_when_the_ledger_has_no_room_for_both() {
    let mut scene = scene().stored_as(SERVICE, days(60), days(90)).stored_as(RSA, days(59), days(90));
    scene.observed.ledger = finalized(2);
    assert_eq!(issued(&scene), [format!("{SERVICE} ecdsa-p256")]);
    let plan = scene.plan();
    let waits = plan.waits.iter().any(|wait| {
        matches!(wait, Wait::Renewal { certificate, reason: RenewalWait::NotDue { .. } } if certificate.as_str() == RSA)
    });
    assert!(waits, "{:?}", plan.waits);
}

#[test]
fn a_pair_that_a_server_does_not_have_yet_waits_for_the_nodes_window() {
    let key_types = "key_type = [\"ecdsa-p256\", \"rsa2048\"]";
    let certificate = format!("[[certificate]]\ndomains = [\"{SERVICE}\"]\n{key_types}\nnodes = [\"*\"]\n");
    // 2026-11-23 is a Monday.
    let scene = Scene::of_nodes(&certificate, &[("a", "window = \"Sat 02:00-06:00\"")]);
    let mut scene = scene.stored_as(SERVICE, days(1), days(90)).stored_as(RSA, days(1), days(90));
    let absent = Seen::Silence(ProbeError::NoSuchKey(KeyAlgorithm::Rsa));
    let node = scene.config.nodes[0].name.clone();
    scene.set(&node, &cert(RSA), absent);
    let plan = scene.plan();
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::Deliver(_))), "{:?}", plan.steps);
}
