//! What nobody can need any more is removed, and nothing else.

use super::*;
use certd::cert::RevocationReason;
use certd::model::{Held, Revoked};
use certd::store::Revocation;

/// Ended long ago, or valid.
fn of_dates(valid: bool) -> Pair {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(if valid { 2090 } else { 2021 }, 1, 1);
    let signed = params.self_signed(&rcgen::KeyPair::from_pem(key.pem()).unwrap()).unwrap();
    Pair::new(Chain::from_ders(vec![signed.der().to_vec()]).unwrap(), key).unwrap()
}

/// Sixteen, of which all but the fourth and the last have ended.
fn sixteen(store: &Store) -> Vec<(Generation, Pair)> {
    let keep = |number: i64| {
        let pair = of_dates(number == 3 || number == 15);
        (store.keep(&name(), &generation(number, &pair), &pair, &meta()).unwrap(), pair)
    };
    (0..16).map(keep).collect()
}

fn left(store: &Store, all: &[(Generation, Pair)]) -> Vec<usize> {
    let left = store.generations(&name()).unwrap();
    all.iter().enumerate().filter(|(_, (generation, _))| left.contains(generation)).map(|(at, _)| at).collect()
}

#[test]
fn a_revocation_that_was_begun_follows_the_generation_to_its_new_number() {
    let f = fixture();
    let pair = of_dates(true);
    let from = f.store.keep(&name(), &generation(1, &pair), &pair, &meta()).unwrap();
    let begun = Revocation { generation: from.clone(), reason: RevocationReason::Superseded, begun_at: AT };
    f.store.note_revocation(&name(), &begun).unwrap();
    let to = from.above(20_991_231_235_959);
    f.store.renumber(&name(), &from, &to).unwrap();
    assert_eq!(f.store.stored(&name()).unwrap().current.unwrap().generation, to);
    let begun = f.store.revocation(&name()).unwrap().unwrap().generation;
    assert!(f.store.pair(&name(), &begun).is_ok(), "else it could not be ended: {begun}");
    // Killed between the two steps, in either order.
    for noted in [&from, &to.above(to.number())] {
        let begun = Revocation { generation: noted.clone(), reason: RevocationReason::Superseded, begun_at: AT };
        f.store.note_revocation(&name(), &begun).unwrap();
        assert_eq!(f.store.revocation(&name()).unwrap().unwrap().generation, to);
    }
}

#[test]
fn what_has_ended_is_removed_but_for_the_last_ten_generations() {
    let f = fixture();
    let all = sixteen(&f.store);
    assert_eq!(f.store.prune(&name(), &PersistedState::default(), AT).unwrap(), 5);
    assert_eq!(left(&f.store, &all), [3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    assert_eq!(f.store.prune(&name(), &PersistedState::default(), AT).unwrap(), 0);
    let stored = f.store.stored(&name()).unwrap();
    assert_eq!(stored.current.unwrap().generation, all[15].0);
    let folder = f.root.join("certs/a.example.com");
    let hidden = fs::read_dir(folder)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0);
}

#[test]
fn what_is_held_given_up_about_to_be_revoked_or_unreadable_is_kept() {
    let f = fixture();
    let all = sixteen(&f.store);
    let fingerprint = |at: usize| all[at].1.chain().leaf.fingerprint;
    let mut tried = PersistedState::default();
    tried.revoked.insert(fingerprint(0), Revoked { at: AT, reason: 1 });
    let held = Held {
        generation: all[1].0.clone(),
        fingerprint: fingerprint(1),
        not_before: AT,
        not_after: AT,
        since: AT,
        by: None,
    };
    tried.held.insert(name(), held);
    let reason = RevocationReason::default();
    let begun = Revocation { generation: all[2].0.clone(), reason, begun_at: AT };
    f.store.note_revocation(&name(), &begun).unwrap();
    let broken = f.root.join("certs/a.example.com").join(all[4].0.to_string()).join("fullchain.pem");
    fs::write(broken, "no certificate").unwrap();
    assert_eq!(f.store.prune(&name(), &tried, AT).unwrap(), 1);
    assert_eq!(left(&f.store, &all), [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
}

#[test]
fn the_last_whole_generation_is_kept_however_old_it_is() {
    let f = fixture();
    let all = sixteen(&f.store);
    let folder = f.root.join("certs/a.example.com");
    for (generation, _) in &all[3..] {
        fs::write(folder.join(generation.to_string()).join("privkey.pem"), "no key").unwrap();
    }
    f.store.prune(&name(), &PersistedState::default(), AT).unwrap();
    let current = f.store.stored(&name()).unwrap().current.unwrap().generation;
    assert_eq!(current, all[2].0, "it is what nodes serve");
}
