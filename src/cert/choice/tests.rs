//! Chains of one leaf, cross-signed as public CAs do it.

use super::*;
use crate::cert::fixture::{Authority, NOW, days};

const NAMES: [&str; 1] = ["a.example.com"];

/// A CA with two roots: the old one has signed the new one too, so a leaf has a long chain and a short one.
struct Crossed {
    old: Authority,
    new: Authority,
    long: Chain,
    short: Chain,
}

fn crossed() -> Crossed {
    crossed_until(1500)
}

/// `until`: days from now to the end of the cross-signature.
fn crossed_until(until: i64) -> Crossed {
    let (old, new) = (Authority::root("Old Root"), Authority::root("New Root"));
    let short = new.intermediate("E7").issue(&NAMES, days(0, 90)).chain().clone();
    let cross = old.cross_sign(&new, days(-100, until));
    let long = Chain::from_ders([short.ders().to_vec(), vec![cross]].concat()).unwrap();
    Crossed { old, new, long, short }
}

impl Crossed {
    fn roots(&self) -> Roots {
        Roots::new(&[self.old.pem(), self.new.pem()]).unwrap()
    }

    fn choose(&self, candidates: &[&Chain], preferred: Option<&str>) -> Choice {
        let candidates: Vec<Chain> = candidates.iter().copied().cloned().collect();
        choose(&candidates, preferred, &self.roots(), NOW).unwrap()
    }
}

#[test]
fn without_a_preference_the_default_is_taken_and_never_the_shortest() {
    let ca = crossed();
    let choice = ca.choose(&[&ca.long, &ca.short], None);
    assert_eq!((choice.index, choice.why), (0, Why::Default { absent: None }));
    let choice = ca.choose(&[&ca.short, &ca.long], None);
    assert_eq!(choice.to_string(), "chain 1, the CA's default");
}

#[test]
fn a21_the_preferred_root_is_found_by_its_name_and_its_absence_costs_nothing() {
    let ca = crossed();
    // The long chain's last issuer is the old root; the path that is trusted first ends at the new one.
    for (candidates, root, index) in [
        ([&ca.short, &ca.long], "Old Root", 1),
        ([&ca.long, &ca.short], "Old Root", 0),
        ([&ca.short, &ca.long], "new root", 0),
    ] {
        let choice = ca.choose(&candidates, Some(root));
        assert_eq!((choice.index, &choice.why), (index, &Why::Preferred { root: root.to_owned() }));
    }
    let choice = ca.choose(&[&ca.long, &ca.short], Some("DST Root CA X3"));
    assert_eq!(
        choice.to_string(),
        "chain 1, the CA's default (no sound one leads to DST Root CA X3; on offer: Old Root, New Root)"
    );
    assert_eq!(choice.index, 0);
    let choice = ca.choose(&[&ca.long, &ca.short], Some("E7"));
    assert_eq!(choice.why, Why::Default { absent: Some("E7".to_owned()) }, "an intermediate is no root");
}

#[test]
fn a21_a_trusted_root_is_known_by_name_where_the_chain_goes_on_above_it() {
    let ca = crossed();
    let only_new = ca.new.roots();
    let choice = choose(core::slice::from_ref(&ca.long), Some("New Root"), &only_new, NOW).unwrap();
    assert_eq!(choice.why, Why::Preferred { root: "New Root".to_owned() });
}

#[test]
fn a22_a_default_whose_issuer_ends_before_the_leaf_gives_way_to_a_chain_without_a_caveat() {
    let ca = crossed_until(30);
    let choice = ca.choose(&[&ca.long, &ca.short], None);
    assert_eq!(choice.index, 1);
    let text = choice.to_string();
    assert!(
        text.starts_with("chain 2, since of those before it: certificate 3 of the chain (New Root) ends"),
        "{text}"
    );
    assert_eq!(ca.choose(&[&ca.long], None).why, Why::Default { absent: None }, "and is taken when there is no other");
    let preferred = ca.choose(&[&ca.short, &ca.long], Some("Old Root"));
    assert_eq!(preferred.index, 1, "who names a root gets it, caveats and all");
}

#[test]
fn a16_a_flawed_chain_is_never_taken_where_there_is_a_sound_one() {
    let ca = crossed_until(-1);
    let choice = ca.choose(&[&ca.long, &ca.short], Some("Old Root"));
    assert_eq!(choice.index, 1, "its cross-signature has ended");
    assert!(matches!(choice.unsound.as_slice(), [(0, flaws)] if !flaws.is_empty()), "{:?}", choice.unsound);
    assert!(matches!(choice.why, Why::Better { .. }), "{:?}", choice.why);

    let stranger = Authority::root("Stranger");
    let choice = choose(&[ca.long.clone(), ca.short.clone()], None, &stranger.roots(), NOW).unwrap();
    assert_eq!((choice.index, choice.why), (0, Why::NoneSound));
    assert_eq!(choose(&[], None, &stranger.roots(), NOW), None);
}

#[test]
fn a17_an_alternate_with_another_leaf_is_never_taken() {
    let ca = crossed_until(30);
    let other = ca.new.intermediate("E7").issue(&NAMES, days(0, 90)).chain().clone();
    let choice = ca.choose(&[&ca.long, &other], Some("New Root"));
    assert_eq!(choice.index, 0);
    assert_eq!(choice.unsound, [(1, vec![Flaw::OtherLeaf])]);
}
