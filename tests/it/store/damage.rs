//! What a disk, a backup or a person did to the state directory.

use super::*;

#[test]
fn p07_a_state_that_cannot_be_read_is_set_aside_and_no_certificate_is_lost() {
    let f = fixture();
    let (generation, _) = kept(&f.store, 0);
    let seed = f.store.state().unwrap().seed;
    assert_eq!(f.store.state().unwrap().seed, seed, "drawn once");
    for (round, garbage) in ["", "{\"version\":1,\"tried\":{\"se", "\0\0\0\0"].iter().enumerate() {
        fs::write(f.root.join("state.json"), garbage).unwrap();
        assert_eq!(Store::look(&f.root).unwrap().state().unwrap().issuance.len(), 0);
        let store = Store::open(&f.root).unwrap();
        store.state().unwrap();
        let aside = f.root.join(format!("state.json.bad-{}", round + 1));
        assert_eq!(fs::read_to_string(&aside).unwrap(), **garbage);
        assert!(store.damages()[0].to_string().contains("was set aside as"));
        assert_eq!(store.stored(&name()).unwrap().current.unwrap().generation, generation);
        store.state().unwrap();
        assert_eq!(store.damages().len(), 1);
    }
}

#[test]
fn p07_a_newer_schema_is_refused_with_words() {
    let f = fixture();
    fs::write(f.root.join("state.json"), r#"{"version":2,"tried":"of another shape"}"#).unwrap();
    for error in [Store::open(&f.root).unwrap_err(), Store::look(&f.root).unwrap_err()] {
        let path = f.root.join("state.json");
        assert_eq!(
            error.to_string(),
            format!("{} was written by a newer certd (schema 2; this one knows 1)", path.display())
        );
        assert_eq!(error.code().as_str(), "store-newer-schema");
    }
    assert!(!f.root.join("state.json.bad-1").exists());
}

#[test]
fn p07_a_torn_last_line_does_not_count_and_the_next_append_cuts_it_off() {
    let f = fixture();
    let note = |second| TxtNote {
        at: AT,
        name: "_acme-challenge.example.com".into(),
        value: format!("value-{second}"),
        zone: None,
        record: None,
    };
    f.store.note_txt(&note(1)).unwrap();
    let path = f.root.join("txt.jsonl");
    let whole = fs::read(&path).unwrap();
    f.store.note_txt(&note(2)).unwrap();
    let both = fs::read(&path).unwrap();
    for cut in whole.len()..both.len() {
        fs::write(&path, &both[..cut]).unwrap();
        assert_eq!(f.store.txt_journal().unwrap(), [note(1)], "{cut}");
        f.store.note_txt(&note(3)).unwrap();
        assert_eq!(f.store.txt_journal().unwrap(), [note(1), note(3)], "{cut}");
    }
    assert_eq!(f.damages(), [""; 0]);
    // A torn line longer than the block in which the newline is looked for.
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(&[b'x'; 10_000]).unwrap();
    f.store.note_txt(&note(4)).unwrap();
    assert_eq!(f.store.txt_journal().unwrap(), [note(1), note(3), note(4)]);
}

#[test]
fn p07_a_line_of_garbage_in_the_ledger_is_left_out_and_reported() {
    let f = fixture();
    let entry = LedgerEntry {
        at: AT,
        ca: "ca.example".into(),
        names: names(),
        event: LedgerEvent::Limited { until: AT },
        order: None,
    };
    f.store.note_ledger(&entry).unwrap();
    let path = f.root.join("ledger.jsonl");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"garbage\n").unwrap();
    f.store.note_ledger(&entry).unwrap();
    assert_eq!(f.store.ledger().unwrap(), [entry.clone(), entry]);
    let reply = format!("{}: line 2 cannot be read and does not count; look at it and remove it", path.display());
    assert_eq!(f.damages(), [reply]);
    assert!(fs::read_to_string(&path).unwrap().contains("garbage\n"));
}

#[test]
fn p07_a_generation_that_is_not_whole_is_left_out_for_the_greatest_that_is() {
    let f = fixture();
    let (good, _) = kept(&f.store, 0);
    let (mismatched, _) = kept(&f.store, 1);
    let (torn, _) = kept(&f.store, 2);
    let (empty, _) = kept(&f.store, 3);
    fs::write(f.of(mismatched.to_string()).join("privkey.pem"), pair().key().pem()).unwrap();
    fs::write(f.of(torn.to_string()).join("fullchain.pem"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    fs::remove_dir_all(f.of(empty.to_string())).unwrap();
    fs::create_dir(f.of(empty.to_string())).unwrap();
    let stored = f.stored();
    assert_eq!(stored.current.unwrap().generation, good);
    assert_eq!(stored.greatest, empty.number(), "a number is never given twice");
    let damages = f.damages();
    assert_eq!(damages.len(), 3, "{damages:?}");
    assert!(damages[0].contains("the private key does not belong to the certificate with serial"), "{damages:?}");

    fs::write(f.of(good.to_string()).join("meta.json"), "").unwrap();
    let current = f.stored().current.unwrap();
    assert_eq!((current.generation, current.meta.ca.as_str()), (good, "unknown"));
}

#[test]
fn p09_a_current_that_a_backup_flattened_is_put_right() {
    let f = fixture();
    kept(&f.store, 0);
    let (second, pair) = kept(&f.store, 1);
    fs::remove_file(f.of("current")).unwrap();
    assert_eq!(f.stored().current.unwrap().generation, second, "missing");

    let status = Command::new("cp").arg("-rp").args([f.of(second.to_string()), f.of("current")]).status().unwrap();
    assert!(status.success());
    assert_eq!(f.stored().current.unwrap().generation, second, "a folder");
    let (third, _) = kept(&f.store, 2);
    assert_eq!(fs::read_link(f.of("current")).unwrap(), PathBuf::from(third.to_string()));
    assert_eq!(fs::read_to_string(f.of("current.bad-1/privkey.pem")).unwrap(), pair.key().pem());
    assert!(f.damages()[0].contains("was a folder and no link"), "{:?}", f.damages());
}

#[test]
fn a23_an_account_whose_key_is_lost_is_an_error_and_no_reason_for_a_new_account() {
    let f = fixture();
    let account = AccountRecord {
        key_pkcs8: Zeroizing::new(vec![1, 2, 3]),
        url: Some("https://ca.example/account/1".into()),
        contact: vec![],
    };
    f.store.write_account("ca.example", &account).unwrap();
    fs::remove_file(f.root.join("accounts/ca.example/key.p8")).unwrap();
    let error = f.store.account("ca.example").err().unwrap();
    assert!(error.to_string().contains("accounts/ca.example: the account's key (key.p8) is gone"), "{error}");
    assert!(error.next().contains("from a backup"), "{}", error.next());
    fs::remove_dir_all(f.root.join("accounts/ca.example")).unwrap();
    assert!(f.store.account("ca.example").unwrap().is_none());
}

#[test]
fn a_folder_that_cannot_be_read_as_a_generation_is_told_and_becomes_one_again() {
    let f = fixture();
    let (first, _) = kept(&f.store, 0);
    let (second, pair) = kept(&f.store, 1);
    let now = AT + SignedDuration::from_secs(60);
    let serial = second.serial().to_owned();
    // As an earlier certd numbered, above what a node had claimed: too many digits, and a time to come.
    for number in ["10000000000000000000", "9999999999999999999", "100000000000000", "99999999999999", "20991231235960"]
    {
        let wrong = format!("{number}-{serial}");
        let before = f.store.generations(&name()).unwrap();
        let held = before.iter().find(|held| held.serial() == serial).unwrap();
        fs::rename(f.of(held.to_string()), f.of(&wrong)).unwrap();
        let other = Store::look(&f.root).unwrap();
        if wrong.parse::<Generation>().is_err() {
            assert_eq!(other.stored(&name()).unwrap().current.unwrap().generation, first);
            let reply = other.damages().iter().map(ToString::to_string).collect::<String>();
            assert!(reply.contains(&wrong) && reply.contains("is no generation"), "{reply}");
        }
        let mended = f.store.repair_numbers(&name(), now).unwrap();
        assert_eq!(mended.len(), 1, "{number}");
        let current = f.stored().current.unwrap();
        assert_eq!(current.generation, mended[0]);
        assert_eq!(current.generation.number(), second.number(), "that of the second in which it was issued");
        assert_eq!(current.leaf.fingerprint, pair.chain().leaf.fingerprint, "its key is found again");
        assert!(current.generation.number() <= certd::cert::generation::latest(now), "{current:?}");
        assert_eq!(fs::read_link(f.of("current")).unwrap(), PathBuf::from(current.generation.to_string()));
        // Killed before the link was set.
        fs::remove_file(f.of("current")).unwrap();
        symlink(&wrong, f.of("current")).unwrap();
        assert!(f.store.repair_numbers(&name(), now).unwrap().is_empty(), "once");
        assert_eq!(fs::read_link(f.of("current")).unwrap(), PathBuf::from(current.generation.to_string()));
    }
    // What a person or another program made is reported and left alone; our own files are not reported.
    let quiet = Store::look(&f.root).unwrap();
    fs::create_dir(f.of("rejected")).unwrap();
    fs::write(f.of("note.txt"), "a file").unwrap();
    quiet.stored(&name()).unwrap();
    assert!(quiet.damages().is_empty(), "{:?}", quiet.damages());
    fs::create_dir(f.of("old")).unwrap();
    quiet.stored(&name()).unwrap();
    assert!(quiet.damages()[0].to_string().contains("no certificate in it can be read"), "{:?}", quiet.damages());
    let copied = ["before-the-move".to_owned(), format!("copy-{serial}"), "20261123-0a".to_owned()];
    for copy in &copied {
        fs::create_dir(f.of(copy)).unwrap();
        for file in ["fullchain.pem", "privkey.pem"] {
            fs::copy(f.of("current").join(file), f.of(copy).join(file)).unwrap();
        }
    }
    let before = f.store.generations(&name()).unwrap();
    assert!(f.store.repair_numbers(&name(), now).unwrap().is_empty(), "not a generation that anybody numbered");
    assert!(f.of("old").is_dir() && copied.iter().all(|copy| f.of(copy).is_dir()));
    assert_eq!(f.store.generations(&name()).unwrap(), before);
}
