//! The state directory on a real disk: modes, crashes, damage, a full file system.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use certd::cert::{CertName, Chain, DnsName, Generation, KeyType, NameSet, Pair, PrivateKey};
use certd::observed::{Intent, LedgerEntry, LedgerEvent, Meta, Stored, Tried};
use certd::store::{AccountRecord, HistoryEvent, Rejected, Store, StoreError, TxtNote};
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

const AT: Timestamp = Timestamp::constant(1_795_392_000, 0);

/// Names the state directory of a child that this test starts from its own program.
const CHILD: &str = "CERTD_TEST_STORE_CHILD";

fn name() -> CertName {
    CertName::parse("a.example.com").unwrap()
}

fn names() -> NameSet {
    [DnsName::parse("a.example.com").unwrap()].into_iter().collect()
}

fn pair() -> Pair {
    let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
    let signed = params.self_signed(&rcgen::KeyPair::from_pem(key.pem()).unwrap()).unwrap();
    Pair::new(Chain::from_ders(vec![signed.der().to_vec()]).unwrap(), key).unwrap()
}

fn meta() -> Meta {
    Meta { key_type: KeyType::EcdsaP256, profile: None, ca: "ca.example".to_owned(), issued_at: AT }
}

fn intent() -> Intent {
    Intent {
        names: names(),
        key_type: KeyType::EcdsaP256,
        profile: None,
        ca: "ca.example".to_owned(),
        replaces: None,
        begun_at: AT,
        order_url: None,
    }
}

/// A generation so many seconds after the first.
fn generation(seconds: i64, pair: &Pair) -> Generation {
    Generation::issued(AT + SignedDuration::from_secs(seconds), 0, &pair.chain().leaf.serial).unwrap()
}

fn kept(store: &Store, seconds: i64) -> (Generation, Pair) {
    let pair = pair();
    let generation = store.keep(&name(), &generation(seconds, &pair), &pair, &meta()).unwrap();
    (generation, pair)
}

struct Fixture {
    _folder: tempfile::TempDir,
    root: PathBuf,
    store: Store,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state");
    let store = Store::open(&root).unwrap();
    Fixture { _folder: folder, root, store }
}

impl Fixture {
    fn of(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join("certs/a.example.com").join(path)
    }

    fn stored(&self) -> Stored {
        self.store.stored(&name()).unwrap()
    }

    fn damages(&self) -> Vec<String> {
        self.store.damages().iter().map(ToString::to_string).collect()
    }
}

/// This test again, in a process of its own, where [`CHILD`] names the state directory.
fn child(test: &str, root: &Path, umask: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new("sh")
        .args(["-c", &format!("umask {umask}; exec \"$0\" --exact {test} --nocapture --test-threads 1")])
        .arg(program)
        .env(CHILD, root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn as_child() -> Option<Store> {
    std::env::var_os(CHILD).map(|root| Store::open(Path::new(&root)).unwrap())
}

/// Waits for a line that the child prints, between those of the test harness.
fn wait_for(child: &mut Child, word: &str) {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains(word)), "the child never said {word}");
}

fn all_files(folder: &Path, found: &mut Vec<(PathBuf, u32)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(what) = fs::symlink_metadata(entry.path()) else { continue };
        if !what.is_symlink() {
            found.push((entry.path(), what.permissions().mode() & 0o7777));
        }
        if what.is_dir() {
            all_files(&entry.path(), found);
        }
    }
}

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
    assert_eq!((&current.generation, &current.leaf, &current.meta), (&second, &pair.chain().leaf, &meta()));
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
    assert_eq!(store.tried().unwrap().seed, 0);
    assert!(matches!(store.lock(), Err(StoreError::OnlyLooking { .. })));
    assert!(matches!(store.write_tried(&Tried::default()), Err(StoreError::OnlyLooking { .. })));
    assert!(!root.exists());
}

#[test]
fn every_file_and_folder_is_private_from_its_first_byte_even_without_an_umask() {
    if let Some(store) = as_child() {
        for second in 0..40 {
            let (_, pair) = kept(&store, second);
            store.intend(&name(), &intent(), pair.key()).unwrap();
            store.drop_intent(&name()).unwrap();
            store.tried().unwrap();
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
        let left: Vec<String> =
            left.filter(|entry| entry.starts_with(".current") || entry.starts_with(".pending")).collect();
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
    store.write_tried(&Tried { seed: 7, ..Tried::default() }).unwrap();
    let note = |at| LedgerEntry {
        at,
        ca: "ca.example".into(),
        names: names(),
        event: LedgerEvent::Finalize { exempt: false },
    };
    store.note_ledger(&note(AT)).unwrap();

    let filler = disk.0.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    let next = pair();
    let full = [
        store.keep(&name(), &generation(1, &next), &next, &meta()).unwrap_err(),
        store.intend(&name(), &intent(), next.key()).unwrap_err(),
        store.write_tried(&Tried::default()).unwrap_err(),
    ];
    for error in &full {
        assert_eq!(error.code(), "store-full", "{error}");
        assert!(error.next().starts_with("free some space where"), "{}", error.next());
    }
    while store.note_ledger(&note(AT)).is_ok() {}
    let stored = store.stored(&name()).unwrap();
    assert_eq!(stored.current.unwrap().generation, first);
    assert!(stored.pending.is_none());
    assert_eq!(store.tried().unwrap().seed, 7);
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
    assert_eq!(error.code(), "store-read-only", "{error}");
    assert_eq!(Store::look(&root).unwrap().stored(&name()).unwrap().current.unwrap().generation, second);
    disk.remount("rw");
}

#[test]
fn p07_a_state_that_cannot_be_read_is_set_aside_and_no_certificate_is_lost() {
    let f = fixture();
    let (generation, _) = kept(&f.store, 0);
    let seed = f.store.tried().unwrap().seed;
    assert_eq!(f.store.tried().unwrap().seed, seed, "drawn once");
    for (round, garbage) in ["", "{\"version\":1,\"tried\":{\"se", "\0\0\0\0"].iter().enumerate() {
        fs::write(f.root.join("state.json"), garbage).unwrap();
        assert_eq!(Store::look(&f.root).unwrap().tried().unwrap().issuance.len(), 0);
        let store = Store::open(&f.root).unwrap();
        store.tried().unwrap();
        let aside = f.root.join(format!("state.json.bad-{}", round + 1));
        assert_eq!(fs::read_to_string(&aside).unwrap(), **garbage);
        assert!(store.damages()[0].to_string().contains("was set aside as"));
        assert_eq!(store.stored(&name()).unwrap().current.unwrap().generation, generation);
        store.tried().unwrap();
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
        assert_eq!(error.code(), "store-newer-schema");
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
    let entry =
        LedgerEntry { at: AT, ca: "ca.example".into(), names: names(), event: LedgerEvent::Limited { until: AT } };
    f.store.note_ledger(&entry).unwrap();
    let path = f.root.join("ledger.jsonl");
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"garbage\n").unwrap();
    f.store.note_ledger(&entry).unwrap();
    assert_eq!(f.store.ledger().unwrap(), [entry.clone(), entry]);
    let told = format!("{}: line 2 cannot be read and does not count; look at it and remove it", path.display());
    assert_eq!(f.damages(), [told]);
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
fn an_intent_keeps_its_key_until_names_or_key_type_change() {
    let f = fixture();
    let (one, two) = (pair(), pair());
    f.store.intend(&name(), &intent(), one.key()).unwrap();
    let told = Intent { order_url: Some("https://ca.example/order/1".into()), ..intent() };
    f.store.note_intent(&name(), &told).unwrap();
    assert_eq!(f.stored().pending, Some(told));

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
