//! Processes that end, compete or hurry: the lock, kills, modes from the first byte.

use super::*;

#[test]
fn every_file_and_folder_is_private_from_its_first_byte_even_without_an_umask() {
    if let Some(store) = as_child() {
        for second in 0..40 {
            let (_, pair) = kept(&store, second);
            store.intend(&name(), &intent(), pair.key()).unwrap();
            store.drop_intent(&name()).unwrap();
            store.state().unwrap();
            let key_pkcs8 = Zeroizing::new(vec![7; 100]);
            store.write_account("ca.example", &AccountRecord { key_pkcs8, url: None, contact: vec![] }).unwrap();
            store
                .history(AT, &HistoryEvent::IssuanceFailed { certificate: name(), code: "x".into(), what: "y".into() })
                .unwrap();
            drop(store.lock().unwrap().unwrap());
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state");
    let mut child = child("every_file_and_folder_is_private_from_its_first_byte_even_without_an_umask", &root, "0");
    let mut looks = 0;
    loop {
        let ended = child.try_wait().unwrap();
        let mut found = Vec::new();
        all_files(folder.path(), &mut found);
        for (path, mode) in &found {
            assert_eq!(mode & 0o077, 0, "{} {mode:o}", path.display());
        }
        looks += usize::from(!found.is_empty());
        if let Some(status) = ended {
            assert!(status.success());
            assert!(found.len() > 200, "{found:?}");
            break;
        }
    }
    assert!(looks > 10, "{looks}");
}

#[test]
fn p04_a_second_instance_finds_the_lock_taken() {
    let f = fixture();
    let held = f.store.lock().unwrap().unwrap();
    let second = Store::open(&f.root).unwrap();
    assert!(second.lock().unwrap().is_none());
    let waiting = std::thread::spawn(move || second.lock_wait().unwrap());
    assert!(!waiting.is_finished());
    drop(held);
    drop(waiting.join().unwrap());
    assert!(f.store.lock().unwrap().is_some());
}

#[test]
fn p05_the_kernel_frees_the_lock_of_a_process_that_was_killed() {
    if let Some(store) = as_child() {
        let _lock = store.lock().unwrap().unwrap();
        println!("locked");
        std::io::stdin().lines().for_each(drop);
        return;
    }
    let f = fixture();
    let mut child = child("p05_the_kernel_frees_the_lock_of_a_process_that_was_killed", &f.root, "077");
    wait_for(&mut child, "locked");
    assert!(f.store.lock().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(f.store.lock().unwrap().is_some());
}

#[test]
fn p01_a_process_killed_anywhere_while_it_keeps_leaves_the_old_pair_or_the_new() {
    if let Some(store) = as_child() {
        println!("begin");
        for second in 0.. {
            let (_, pair) = kept(&store, second);
            store.intend(&name(), &intent(), pair.key()).unwrap();
            store.drop_intent(&name()).unwrap();
        }
    }
    for round in 0..30 {
        let f = fixture();
        let mut child =
            child("p01_a_process_killed_anywhere_while_it_keeps_leaves_the_old_pair_or_the_new", &f.root, "077");
        wait_for(&mut child, "begin");
        // The instant of the kill is what varies.
        std::thread::sleep(Duration::from_micros(round * 700));
        child.kill().unwrap();
        child.wait().unwrap();

        let before = f.stored();
        assert_eq!(f.damages(), [""; 0], "round {round}");
        if let Some(current) = &before.current {
            f.store.pair(&name(), &current.generation).unwrap();
            assert_eq!(current.generation.number(), before.greatest);
        }
        if let Ok(target) = fs::read_link(f.of("current")) {
            let generation = target.to_str().unwrap().parse().unwrap();
            f.store.pair(&name(), &generation).unwrap();
        }
        if before.pending.is_some() {
            f.store.intent_key(&name()).unwrap();
        }
        // The next run goes on, whatever was left behind.
        let (next, _) = kept(&f.store, 1_000_000);
        f.store.drop_intent(&name()).unwrap();
        assert_eq!(f.stored().current.unwrap().generation, next);
        let left = fs::read_dir(f.of("")).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
        let left: Vec<String> = left.filter(|entry| entry.starts_with('.')).collect();
        assert_eq!(left, [""; 0], "round {round}");
    }
}

#[test]
fn p01_a_certificate_that_was_kept_before_the_crash_is_not_kept_twice() {
    let f = fixture();
    let (old, _) = kept(&f.store, 0);
    let (first, pair) = kept(&f.store, 1);
    // As if the crash had come between the folder's rename and the link's.
    fs::remove_file(f.of("current")).unwrap();
    symlink(old.to_string(), f.of("current")).unwrap();
    assert_eq!(f.stored().current.unwrap().generation, first);
    let again = f.store.keep(&name(), &generation(2, &pair), &pair, &meta()).unwrap();
    assert_eq!(again, first);
    assert_eq!(f.store.generations(&name()).unwrap(), [old.clone(), first.clone()]);
    assert_eq!(fs::read_link(f.of("current")).unwrap(), PathBuf::from(first.to_string()));

    symlink(old.to_string(), f.of("other")).unwrap();
    fs::rename(f.of("other"), f.of("current")).unwrap();
    f.store.drop_intent(&name()).unwrap();
    assert_eq!(fs::read_link(f.of("current")).unwrap(), PathBuf::from(first.to_string()));
}

#[test]
fn p01_a_crash_while_an_intent_is_dropped_leaves_its_key_no_longer_than_to_the_next_pass() {
    let f = fixture();
    let (generation, pair) = kept(&f.store, 0);
    f.store.intend(&name(), &intent(), pair.key()).unwrap();
    // As if the crash had come between the folder's rename and its removal.
    fs::rename(f.of("pending"), f.of(".pending.old")).unwrap();
    f.store.sweep_intents().unwrap();
    assert!(f.of(".pending.old").symlink_metadata().is_err());
    assert_eq!(f.stored().current.unwrap().generation, generation);
    // An intent that is under way stays.
    f.store.intend(&name(), &intent(), pair.key()).unwrap();
    f.store.sweep_intents().unwrap();
    assert!(f.stored().pending.is_some());
}
