//! Every flaw, on chains that were really signed that way.

use super::*;
use crate::cert::fixture::{Authority, NOW, days, leaf as request};
use crate::cert::{DnsName, KeyType, PrivateKey};

const NAMES: [&str; 2] = ["a.example.com", "b.example.com"];

fn wanted() -> NameSet {
    NAMES.iter().map(|name| DnsName::parse(name).unwrap()).collect()
}

fn texts(flaws: &[Flaw]) -> Vec<String> {
    flaws.iter().map(ToString::to_string).collect()
}

/// The same pair with another chain around its leaf.
fn with_chain(pair: &Pair, ders: Vec<Vec<u8>>) -> Pair {
    Pair::new(Chain::from_ders(ders).unwrap(), pair.key().clone()).unwrap()
}

#[test]
fn a_good_pair_has_no_flaw() {
    let root = Authority::root("R");
    let pair = root.intermediate("I").intermediate("J").issue(&NAMES, days(0, 90));
    assert_eq!(lint(&pair, &wanted(), &root.roots(), NOW), []);
    assert_eq!(caveats(pair.chain(), &root.roots(), NOW), []);
    let system = Roots::from_ders([root.intermediate("X").roots().store.roots[0].subject.to_vec()]);
    assert!(system.is_empty(), "what is no certificate is left out");
}

#[test]
fn a_root_that_ends_before_the_leaf_is_a_caveat_unless_the_chain_leads_to_another() {
    let root = Authority::self_signed_within("R", days(-1000, -1));
    let pair = root.intermediate("I").issue(&NAMES, days(0, 90));
    assert_eq!(lint(&pair, &wanted(), &root.roots(), NOW), [], "better renewed than not");
    assert_eq!(
        texts(&caveats(pair.chain(), &root.roots(), NOW)),
        [
            "its root R ends at 2026-11-22T00:00:00Z, before the leaf: some clients (OpenSSL's) refuse the chain from then on"
        ]
    );
    let other = Authority::root("S");
    let both = root.roots().and(&other.pem()).unwrap();
    assert_eq!(caveats(other.issue(&NAMES, days(0, 90)).chain(), &both, NOW), []);
    // The root's key, certified by another root.
    let crossed = [pair.chain().ders().to_vec(), vec![other.cross_sign(&root, days(-10, 900))]].concat();
    let crossed = Chain::from_ders(crossed).unwrap();
    assert_eq!(caveats(&crossed, &both, NOW), []);
    assert_eq!(caveats(&crossed, &root.roots(), NOW).len(), 1);
}

#[test]
fn a15_a_leaf_without_its_intermediate_is_refused() {
    let root = Authority::root("R");
    let pair = root.intermediate("I").issue(&NAMES, days(0, 90));
    let alone = with_chain(&pair, pair.chain().ders()[..1].to_vec());
    assert_eq!(
        texts(&lint(&alone, &wanted(), &root.roots(), NOW)),
        ["the leaf stands alone and no trusted root has issued it: the intermediate by I is missing"]
    );
}

#[test]
fn a15_a_leaf_alone_is_well_when_a_trusted_root_issued_it() {
    let root = Authority::root("R");
    assert_eq!(lint(&root.issue(&NAMES, days(0, 90)), &wanted(), &root.roots(), NOW), []);
}

#[test]
fn a16_a_chain_with_a_foreign_intermediate_is_refused() {
    let root = Authority::root("R");
    let pair = root.intermediate("I").issue(&NAMES, days(0, 90));
    let foreign = root.intermediate("F").issue(&NAMES, days(0, 90));
    let mixed = vec![pair.chain().ders()[0].clone(), foreign.chain().ders()[1].clone()];
    assert_eq!(
        texts(&lint(&with_chain(&pair, mixed), &wanted(), &root.roots(), NOW)),
        [
            "the leaf is not signed by the next one, certificate 2 of the chain (F)",
            "no path leads to a trusted root: the intermediate by I is missing, and what is sent in its place is F",
        ]
    );
}

#[test]
fn a16_an_intermediate_of_the_right_name_and_another_key_is_refused() {
    let root = Authority::root("R");
    let pair = root.intermediate("I").issue(&NAMES, days(0, 90));
    let twin = root.intermediate("I").issue(&NAMES, days(0, 90));
    let mixed = with_chain(&pair, vec![pair.chain().ders()[0].clone(), twin.chain().ders()[1].clone()]);
    let flaws = lint(&mixed, &wanted(), &root.roots(), NOW);
    assert!(matches!(flaws.as_slice(), [Flaw::LinkBroken { .. }, Flaw::NoPath(_)]), "{flaws:?}");
}

#[test]
fn a16_intermediates_out_of_order_are_refused_though_a_path_exists() {
    let root = Authority::root("R");
    let pair = root.intermediate("I").intermediate("J").issue(&NAMES, days(0, 90));
    let mut ders = pair.chain().ders().to_vec();
    ders.swap(1, 2);
    let flaws = lint(&with_chain(&pair, ders), &wanted(), &root.roots(), NOW);
    assert!(flaws.iter().all(|flaw| matches!(flaw, Flaw::LinkBroken { .. })) && !flaws.is_empty(), "{flaws:?}");
}

#[test]
fn a16_a_path_to_a_root_that_nobody_trusts_is_refused() {
    let pair = Authority::root("Mine").intermediate("I").issue(&NAMES, days(0, 90));
    let flaws = lint(&pair, &wanted(), &Authority::root("R").roots(), NOW);
    assert_eq!(texts(&flaws), ["no path leads to a trusted root: the issuer Mine is not known"]);
}

#[test]
fn a16_a_certificate_authority_in_the_leafs_place_is_refused() {
    let root = Authority::root("R");
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let mut params = request(&NAMES, days(0, 90));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let flaws = lint(&root.issue_for(&key, params), &wanted(), &root.roots(), NOW);
    assert!(matches!(flaws.as_slice(), [Flaw::NotLeafFirst { .. }, Flaw::NoPath(_)]), "{flaws:?}");
}

#[test]
fn a18_fewer_and_extra_names_are_refused_and_named() {
    let root = Authority::root("R");
    let pair = root.issue(&["a.example.com", "evil.example.net", "192.0.2.1"], days(0, 90));
    assert_eq!(
        texts(&lint(&pair, &wanted(), &root.roots(), NOW)),
        ["it lacks b.example.com", "it also holds evil.example.net, 192.0.2.1, not asked for"]
    );
}

#[test]
fn a19_a_certificate_of_tomorrow_is_refused_today_and_kept_tomorrow() {
    let root = Authority::root("R");
    let pair = root.issue(&NAMES, days(1, 90));
    assert_eq!(
        texts(&lint(&pair, &wanted(), &root.roots(), NOW)),
        ["the leaf is valid only from 2026-11-24T00:00:00Z on: check this clock"]
    );
    assert_eq!(lint(&pair, &wanted(), &root.roots(), days(1, 1).0), []);
}

#[test]
fn an_expired_certificate_is_refused_and_its_path_judged_apart() {
    let root = Authority::root("R");
    let pair = root.issue(&NAMES, days(-90, -1));
    assert_eq!(trusted(pair.chain(), &root.roots(), NOW), Ok(()));
    assert_eq!(texts(&lint(&pair, &wanted(), &root.roots(), NOW)), ["the leaf ended at 2026-11-22T00:00:00Z"]);
}

#[test]
fn an_expired_intermediate_is_refused() {
    let root = Authority::root("R");
    let pair = root.intermediate_valid("I", days(-90, -1)).issue(&NAMES, days(-10, 80));
    let flaws = lint(&pair, &wanted(), &root.roots(), NOW);
    assert!(
        matches!(flaws.as_slice(), [Flaw::Expired { place: Place { position: 2, .. }, .. }, Flaw::NoPath(_)]),
        "{flaws:?}"
    );
}

#[test]
fn a22_an_intermediate_that_ends_before_the_leaf_is_kept_with_a_warning() {
    let root = Authority::root("R");
    let pair = root.intermediate_valid("I", days(-90, 30)).issue(&NAMES, days(0, 90));
    assert_eq!(lint(&pair, &wanted(), &root.roots(), NOW), []);
    assert_eq!(
        texts(&caveats(pair.chain(), &root.roots(), NOW)),
        ["certificate 2 of the chain (I) ends at 2026-12-23T00:00:00Z, before the leaf"]
    );
}

#[test]
fn a20_any_lifetime_from_a_minute_to_400_days_is_taken() {
    let root = Authority::root("R");
    let flaws = |seconds: i64| {
        let pair = root.issue(&NAMES, (NOW, NOW + SignedDuration::from_secs(seconds)));
        texts(&lint(&pair, &wanted(), &root.roots(), NOW))
    };
    for good in [60, 3600, 160 * 3600, 45 * 86_400, 400 * 86_400] {
        assert_eq!(flaws(good), [""; 0], "{good}");
    }
    assert_eq!(flaws(59), ["it is valid for 59s, which is less than a minute or more than 400 days"]);
    assert_eq!(flaws(401 * 86_400), ["it is valid for 9624h, which is less than a minute or more than 400 days"]);
}

#[test]
fn a_certificate_for_something_else_than_a_server_is_not_trusted() {
    let root = Authority::root("R");
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let mut params = request(&NAMES, days(0, 90));
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let flaws = lint(&root.issue_for(&key, params), &wanted(), &root.roots(), NOW);
    assert!(matches!(flaws.as_slice(), [Flaw::NoPath(why)] if why.contains("server authentication")), "{flaws:?}");
}

#[test]
fn a19_what_is_only_early_is_told_with_the_instant_of_its_beginning() {
    let root = Authority::root("R");
    let flaws = |names: &[&str]| lint(&root.issue(names, days(1, 90)), &wanted(), &root.roots(), NOW);
    assert_eq!(early(&flaws(&NAMES)), Some(days(1, 1).0));
    assert_eq!(early(&flaws(&["a.example.com"])), None, "it is wrong tomorrow too");
    assert_eq!(early(&[]), None);
}

#[test]
fn a16_the_root_of_a_chain_is_told_by_name_however_many_roots_share_it() {
    let (root, twin) = (Authority::root("R"), Authority::root("R"));
    let pair = root.intermediate("I").issue(&NAMES, days(0, 90));
    let both = twin.roots().and(&root.pem()).unwrap();
    assert_eq!(root_of(pair.chain(), &both, NOW).unwrap().0, "R");
    assert_eq!(root_of(pair.chain(), &twin.roots(), NOW), None, "the name alone is no root");
    assert!(twin.roots().and("").is_err());
}

#[test]
fn a16_a17_a_leaf_behind_its_issuer_is_another_fault_than_a_key_that_is_not_ours() {
    let root = Authority::root("R");
    let pair = root.intermediate("I").issue(&NAMES, days(0, 90));
    let mut ders = pair.chain().ders().to_vec();
    ders.reverse();
    let reversed = Pair::new(Chain::from_ders(ders).unwrap(), pair.key().clone()).unwrap_err();
    assert!(matches!(reversed, crate::cert::Unpaired::Order { position: 2, .. }), "{reversed}");
    let other = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let foreign = Pair::new(pair.chain().clone(), other).unwrap_err();
    assert!(matches!(foreign, crate::cert::Unpaired::OtherKey { .. }), "{foreign}");
}

#[test]
fn a_certificate_that_signed_itself_says_so() {
    let own = Authority::self_signed(request(&NAMES, days(0, 90)));
    let chain = Chain::parse(&own.pem()).unwrap();
    let flaw = trusted(&chain, &Authority::root("R").roots(), NOW).unwrap_err();
    assert_eq!(flaw.to_string(), "no path leads to a trusted root: the certificate is signed by itself");
}

#[test]
fn a_file_of_roots_that_holds_none_is_refused() {
    assert_eq!(Roots::new(&[""]).unwrap_err().to_string(), "the trusted root: no certificate");
    assert!(Roots::new(&["-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"]).is_err());
}

#[test]
fn why_no_client_would_accept_a_chain_is_told_by_what_a_person_can_put_right() {
    let root = Authority::root("R");
    let judged = |pair: &Pair, ders: Vec<Vec<u8>>, roots: &Roots| {
        trusted(with_chain(pair, ders).chain(), roots, NOW).unwrap_err().to_string()
    };
    let issuer = root.intermediate("I");
    let pair = issuer.issue(&["a.example.com"], days(0, 90));
    let [leaf, above] = pair.chain().ders() else { panic!("two") };
    let other = root.intermediate("Other").issue(&["a.example.com"], days(0, 90)).chain().ders()[1].clone();
    assert_eq!(
        judged(&pair, vec![leaf.clone(), other], &root.roots()),
        "no path leads to a trusted root: the intermediate by I is missing, and what is sent in its place is Other"
    );
    let stranger = Authority::root("Stranger");
    let with_root = Chain::from_ders(vec![leaf.clone(), above.clone(), root.der().to_vec()]).unwrap();
    assert_eq!(
        trusted(&with_root, &stranger.roots(), NOW).unwrap_err().to_string(),
        "no path leads to a trusted root: its root R is not one that visitors trust"
    );
    let first = Chain::from_ders(vec![above.clone(), leaf.clone()]).unwrap();
    assert_eq!(
        trusted(&first, &stranger.roots(), NOW).unwrap_err().to_string(),
        "no path leads to a trusted root: its first certificate is a CA's (I): the leaf must come first"
    );
    let ended = root.intermediate_valid("I", days(-90, -1)).issue(&["a.example.com"], days(-10, 80));
    assert_eq!(
        trusted(ended.chain(), &root.roots(), NOW).unwrap_err().to_string(),
        "no path leads to a trusted root: certificate 2 of the chain (I) ended at 2026-11-22T00:00:00Z"
    );
}
