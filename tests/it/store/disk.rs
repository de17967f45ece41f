//! A disk that is full or read-only.

use super::*;

/// A file system of its own, gone with the test.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128k,mode=700", "certd-test"]).arg(folder.path());
        let status = mount.status().expect("mount can be started");
        assert!(status.success(), "this test needs to mount a tmpfs: run it as root, or in `unshare -rm`");
        Self(folder)
    }

    fn remount(&self, option: &str) {
        let status =
            Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(self.0.path()).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn p06_a_full_or_read_only_disk_leaves_what_was_kept_and_says_what_to_do() {
    let disk = Small::mount();
    let root = disk.0.path().join("state");
    let store = Store::open(&root).unwrap();
    let (first, _) = kept(&store, 0);
    store.write_state(&PersistedState { seed: 7, ..PersistedState::default() }).unwrap();
    let note = |at| LedgerEntry {
        at,
        ca: "ca.example".into(),
        names: names(),
        event: LedgerEvent::Finalize { exempt: false },
        order: None,
    };
    store.note_ledger(&note(AT)).unwrap();

    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    let next = pair();
    let full = [
        store.keep(&name(), &generation(1, &next), &next, &meta()).unwrap_err(),
        store.intend(&name(), &intent(), next.key()).unwrap_err(),
        store.write_state(&PersistedState::default()).unwrap_err(),
    ];
    for error in &full {
        assert_eq!(error.code().as_str(), "store-full", "{error}");
        assert!(error.next().starts_with("free some space where"), "{}", error.next());
    }
    while store.note_ledger(&note(AT)).is_ok() {}
    let stored = store.stored(&name()).unwrap();
    assert_eq!(stored.current.unwrap().generation, first);
    assert!(stored.pending.is_none());
    assert_eq!(store.state().unwrap().seed, 7);
    let entries = store.ledger().unwrap();
    assert!(entries.iter().all(|entry| *entry == note(AT)) && !entries.is_empty());

    fs::remove_file(&filler).unwrap();
    drop(file);
    store.note_ledger(&note(AT)).unwrap();
    assert_eq!(store.ledger().unwrap().len(), entries.len() + 1);
    let second = store.keep(&name(), &generation(1, &next), &next, &meta()).unwrap();
    assert_eq!(store.stored(&name()).unwrap().current.unwrap().generation, second);
    assert_eq!(store.damages(), []);

    disk.remount("ro");
    let error = store.intend(&name(), &intent(), next.key()).unwrap_err();
    assert_eq!(error.code().as_str(), "store-read-only", "{error}");
    assert_eq!(Store::look(&root).unwrap().stored(&name()).unwrap().current.unwrap().generation, second);
    disk.remount("rw");
}
