//! What is kept, and read again.

use super::*;

#[test]
fn a_generation_is_ordinary_pem_files_and_current_leads_to_it() {
    let f = fixture();
    let (first, _) = kept(&f.store, 0);
    let (second, pair) = kept(&f.store, 1);
    assert_eq!(fs::read_link(f.of("current")).unwrap(), PathBuf::from(second.to_string()));
    let read = |file| fs::read_to_string(f.of("current").join(file)).unwrap();
    assert_eq!(read("fullchain.pem"), pair.chain().pem());
    assert_eq!(read("fullchain.pem"), read("cert.pem") + &read("chain.pem"));
    assert_eq!(read("privkey.pem"), pair.key().pem());

    let stored = Store::look(&f.root).unwrap().stored(&name()).unwrap();
    let current = stored.current.unwrap();
    assert_eq!(
        (&current.generation, &current.leaf, &current.meta),
        (&second, &pair.chain().leaf, &Meta { issued_at: AT + SignedDuration::from_secs(1), ..meta() })
    );
    assert_eq!((stored.former.len(), stored.greatest), (1, second.number()));
    assert_eq!(f.store.pair(&name(), &second).unwrap().chain().pem(), pair.chain().pem());
    assert_eq!(f.store.generations(&name()).unwrap(), [first, second]);
    assert_eq!(f.damages(), [""; 0]);
}

#[test]
fn looking_makes_nothing_and_an_absent_directory_is_an_empty_store() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("none");
    let store = Store::look(&root).unwrap();
    assert!(store.stored(&name()).unwrap().current.is_none());
    assert!(store.ledger().unwrap().is_empty() && store.txt_journal().unwrap().is_empty());
    assert!(store.account("ca.example").unwrap().is_none());
    assert_eq!(store.state().unwrap().seed, 0);
    assert!(matches!(store.lock(), Err(StoreError::OnlyLooking { .. })));
    assert!(matches!(store.write_state(&PersistedState::default()), Err(StoreError::OnlyLooking { .. })));
    assert!(!root.exists());
}

#[test]
fn a_state_directory_that_several_begin_side_by_side_has_one_seed() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("state");
        let stores = [0; 4].map(|_| Store::open(&root).unwrap());
        let seeds: Vec<u64> = std::thread::scope(|scope| {
            let begun = stores.each_ref().map(|store| scope.spawn(|| store.state().unwrap().seed));
            begun.map(|begun| begun.join().unwrap()).into()
        });
        assert!(seeds.iter().all(|seed| *seed == seeds[0]), "{seeds:?}");
    }
}

#[test]
fn a_state_directory_that_others_may_enter_is_refused() {
    let f = fixture();
    for mode in [0o750, 0o701, 0o777] {
        fs::set_permissions(&f.root, fs::Permissions::from_mode(mode)).unwrap();
        for error in [Store::open(&f.root).unwrap_err(), Store::look(&f.root).unwrap_err()] {
            assert_eq!(
                error.to_string(),
                format!("{} holds private keys, and its mode {mode:o} lets others in", f.root.display())
            );
            assert!(error.next().starts_with("chmod 700 "), "{}", error.next());
        }
    }
}

#[test]
fn an_intent_keeps_its_key_until_names_or_key_type_change() {
    let f = fixture();
    let (one, two) = (pair(), pair());
    f.store.intend(&name(), &intent(), one.key()).unwrap();
    let reply = Intent { order_url: Some("https://ca.example/order/1".into()), ..intent() };
    f.store.note_intent(&name(), &reply).unwrap();
    assert_eq!(f.stored().pending, Some(reply));

    f.store.intend(&name(), &intent(), two.key()).unwrap();
    assert_eq!(f.store.intent_key(&name()).unwrap().pem(), one.key().pem());
    assert_eq!(f.stored().pending, Some(intent()));

    let other = Intent { names: [DnsName::parse("b.example.com").unwrap()].into_iter().collect(), ..intent() };
    f.store.intend(&name(), &other, two.key()).unwrap();
    assert_eq!(f.store.intent_key(&name()).unwrap().pem(), two.key().pem());
    assert_eq!(f.stored().pending, Some(other));

    fs::write(f.of("pending/privkey.pem"), "").unwrap();
    assert_eq!(f.stored().pending, None, "an intent without its key cannot be gone on with");
    f.store.intend(&name(), &intent(), one.key()).unwrap();
    f.store.drop_intent(&name()).unwrap();
    f.store.drop_intent(&name()).unwrap();
    assert!(f.stored().pending.is_none() && !f.of("pending").exists());
}

#[test]
fn a_rejected_chain_is_kept_for_a_person_and_at_most_ten_are() {
    let f = fixture();
    for second in 0..12 {
        let at = AT + SignedDuration::from_secs(second);
        let why = Rejected { at, order_url: "https://ca.example/order/1".into(), flaws: vec!["it lacks x".into()] };
        f.store.reject(&name(), "chain", &why).unwrap();
    }
    let mut held: Vec<_> = fs::read_dir(f.of("rejected")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    held.sort();
    assert_eq!((held.len(), held[0].to_str()), (10, Some("20261123000002")));
    assert_eq!(fs::read_to_string(f.of("rejected/20261123000002/fullchain.pem")).unwrap(), "chain");
    assert!(f.stored().current.is_none());
}

#[test]
fn an_account_is_its_key_first_and_its_url_when_it_is_known() {
    let f = fixture();
    let account = |key: u8, url: Option<&str>| AccountRecord {
        key_pkcs8: Zeroizing::new(vec![key; 138]),
        url: url.map(str::to_owned),
        contact: vec!["mailto:ops@example.com".into()],
    };
    let held = || f.store.account("ca.example:14000").unwrap().map(|held| (held.key_pkcs8[0], held.url));
    assert_eq!(held(), None);
    f.store.write_account("ca.example:14000", &account(1, None)).unwrap();
    assert_eq!(held(), Some((1, None)));
    f.store.write_account("ca.example:14000", &account(1, Some("https://ca.example/a/1"))).unwrap();
    assert_eq!(held(), Some((1, Some("https://ca.example/a/1".to_owned()))));
    fs::write(f.root.join("accounts/ca.example:14000/account.json"), "{").unwrap();
    assert_eq!(held(), Some((1, None)), "the CA tells the URL again");
    fs::write(f.root.join("accounts/ca.example:14000/key.p8"), "").unwrap();
    let error = f.store.account("ca.example:14000").err().unwrap();
    assert!(error.to_string().ends_with("the account's key is empty"), "{error}");
    for ca in ["", "..", "../x", "a/b", ".hidden", "A"] {
        assert!(matches!(f.store.account(ca), Err(StoreError::BadCa { .. })), "{ca}");
    }
}

#[test]
fn a_txt_record_is_noted_before_it_is_made_and_struck_after_it_was_removed() {
    let f = fixture();
    let name = "_acme-challenge.example.com";
    let note = |value: &str, record: Option<&str>| TxtNote {
        at: AT,
        name: name.into(),
        value: value.into(),
        zone: None,
        record: record.map(str::to_owned),
    };
    f.store.note_txt(&note("apex", None)).unwrap();
    f.store.note_txt(&note("wildcard", None)).unwrap();
    f.store.note_txt(&note("apex", Some("42"))).unwrap();
    assert_eq!(f.store.txt_journal().unwrap(), [note("wildcard", None), note("apex", Some("42"))]);
    f.store.strike_txt(name, "wildcard").unwrap();
    assert_eq!(Store::look(&f.root).unwrap().txt_journal().unwrap(), [note("apex", Some("42"))]);
}

#[test]
fn a_long_journal_of_txt_records_is_begun_anew() {
    let f = fixture();
    let (path, name) = (f.root.join("txt.jsonl"), "_acme-challenge.example.com");
    let note = TxtNote { at: AT, name: name.into(), value: "a".into(), zone: None, record: None };
    f.store.note_txt(&note).unwrap();
    f.store.strike_txt(name, "a").unwrap();
    let one = fs::read_to_string(&path).unwrap();
    f.store.shorten_txt_journal().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), one, "a short one stays");
    fs::write(&path, one.repeat(10_000)).unwrap();
    f.store.note_txt(&note).unwrap();
    f.store.shorten_txt_journal().unwrap();
    assert_eq!(f.store.txt_journal().unwrap().len(), 1, "what is open stays");
    f.store.strike_txt(name, "a").unwrap();
    f.store.shorten_txt_journal().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"");
    f.store.note_txt(&note).unwrap();
    assert_eq!(f.store.txt_journal().unwrap().len(), 1);
}

#[test]
fn the_history_is_one_event_a_line() {
    let f = fixture();
    let (generation, _) = kept(&f.store, 0);
    let event = HistoryEvent::Issued { certificate: name(), generation: generation.clone(), names: names() };
    f.store.history(AT, &event).unwrap();
    f.store.history(AT, &event).unwrap();
    let line = format!(
        r#"{{"at":"2026-11-23T00:00:00Z","event":"issued","certificate":"a.example.com","generation":"{generation}","names":["a.example.com"]}}"#
    );
    assert_eq!(fs::read_to_string(f.root.join("history.jsonl")).unwrap(), format!("{line}\n{line}\n"));
}

#[test]
fn lines_that_several_threads_append_at_once_are_all_kept_in_every_journal() {
    let f = fixture();
    let (threads, lines) = (8, 40);
    let entry = LedgerEntry {
        at: AT,
        ca: "ca.example".into(),
        names: names(),
        event: LedgerEvent::Limited { until: AT },
        order: None,
    };
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (store, entry) = (&f.store, &entry);
            scope.spawn(move || {
                for line in 0..lines {
                    let (name, value) = ("_acme-challenge.example.com".into(), format!("value-{thread}-{line}"));
                    store.note_txt(&TxtNote { at: AT, name, value, zone: None, record: None }).unwrap();
                    store.note_ledger(entry).unwrap();
                }
            });
        }
    });
    assert_eq!(f.store.txt_journal().unwrap().len(), threads * lines);
    assert_eq!(f.store.ledger().unwrap().len(), threads * lines);
}

#[test]
fn certificates_that_begin_at_once_in_a_new_state_directory_do_not_trip_over_its_folders() {
    for _ in 0..20 {
        let f = fixture();
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let barrier = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (store, key, barrier) = (&f.store, &key, &barrier);
                scope.spawn(move || {
                    let name = CertName::parse(&format!("{thread}.example.com")).unwrap();
                    barrier.wait();
                    store.intend(&name, &intent(), key).unwrap();
                });
            }
        });
    }
}

#[test]
fn whoever_looks_while_intents_come_and_go_sees_no_damage() {
    let f = fixture();
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let store = Store::look(&f.root).unwrap();
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                store.stored(&name()).unwrap();
            }
            store.damages()
        });
        for _ in 0..100 {
            f.store.intend(&name(), &intent(), &key).unwrap();
            f.store.drop_intent(&name()).unwrap();
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(looking.join().unwrap(), []);
    });
}
