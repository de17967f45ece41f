//! When a renewal is rehearsed: once, ahead of it, and again after a day when that failed.

use super::scene::{SERVICE, Scene, cert, days, failure, hours};
use crate::model::Rehearsal;
use crate::plan::Step;

/// Renewal falls due when a third of ninety days is left; nine days before that it is rehearsed.
fn of_age(age: i64) -> Scene {
    Scene::new().stored(days(age), days(90))
}

fn rehearses(scene: &Scene) -> Option<bool> {
    scene.plan().steps.iter().find_map(|step| match step {
        Step::Rehearse(step) => Some(step.again),
        _ => None,
    })
}

fn rehearsed(mut scene: Scene, ago: i64, well: bool) -> Scene {
    let failures = if well { Vec::new() } else { vec![failure("ssh-refused", "refused")] };
    let rehearsal = Rehearsal { fingerprint: scene.kept().leaf.fingerprint, at: scene.now - hours(ago), failures };
    scene.observed.state.rehearsals.insert(cert(SERVICE), rehearsal);
    scene
}

#[test]
fn a_renewal_is_rehearsed_a_tenth_of_the_lifetime_ahead_and_not_on_its_day() {
    assert_eq!([50, 52, 59, 61].map(|age| rehearses(&of_age(age))), [None, Some(false), Some(false), None]);
}

#[test]
fn a_rehearsal_that_went_well_is_not_repeated_and_one_that_failed_is_after_a_day() {
    assert_eq!(rehearses(&rehearsed(of_age(55), 48, true)), None);
    assert_eq!(rehearses(&rehearsed(of_age(55), 23, false)), None);
    assert_eq!(rehearses(&rehearsed(of_age(55), 24, false)), Some(true));
    assert_eq!(rehearses(&rehearsed(of_age(55), -500, false)), Some(true), "the clock was ahead then");
}

#[test]
fn a_rehearsal_belongs_to_a_pass_over_everything() {
    let mut scene = of_age(55);
    scene.observed.asked.certificates.insert(cert(SERVICE));
    assert_eq!(rehearses(&scene), None);
    assert_eq!(rehearses(&of_age(55).deploy()), None);
}

#[test]
fn the_rehearsal_of_an_earlier_certificate_says_nothing_of_this_one() {
    let mut scene = rehearsed(of_age(55), 1, true);
    let old = scene.observed.state.rehearsals.get_mut(&cert(SERVICE)).unwrap();
    old.fingerprint = crate::cert::Fingerprint::of(b"an earlier one");
    assert_eq!(rehearses(&scene), Some(false));
}
