//! What comes from nodes and CAs, and what adds up over years, does not fill the state directory beyond what is read back.

use certd::model::{Advice, Code, DeliveryAttempts, Finding};
use std::collections::BTreeMap;

use super::*;

fn failed(what: &str) -> HistoryEvent {
    HistoryEvent::IssuanceFailed { certificate: name(), code: "x".into(), what: what.into() }
}

#[test]
fn the_history_keeps_its_newest_lines_and_is_never_torn() {
    let f = fixture();
    let path = f.root.join("history.jsonl");
    f.store.history(AT, &failed("the first")).unwrap();
    let line = fs::read_to_string(&path).unwrap().replace("the first", "an old one");
    let most = 16 * 1024 * 1024;
    fs::write(&path, line.repeat(most / line.len()) + "{\"torn").unwrap();
    f.store.history(AT, &failed("the last")).unwrap();
    let kept = fs::read_to_string(&path).unwrap();
    assert!(kept.len() > most / 3 && kept.len() <= most / 2 + 1000, "{} bytes", kept.len());
    assert!(kept.ends_with("\n") && kept.lines().last().unwrap().contains("the last"));
    assert!(kept.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "whole lines");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    f.store.history(AT, &failed("one more")).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().len(), kept.len() + line.replace("an old one", "one more").len());
    // One that grew for years before it was cut, beyond what is read whole.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(200 * 1024 * 1024).unwrap();
    f.store.history(AT, &failed("after the years")).unwrap();
    assert!(fs::metadata(&path).unwrap().len() <= most as u64);
    // A name that a crash left behind is in nobody's way.
    fs::write(f.root.join(".history.jsonl.new"), "half").unwrap();
    fs::write(&path, line.repeat(most / line.len() + 1)).unwrap();
    f.store.history(AT, &failed("the last")).unwrap();
    assert!(fs::read_to_string(&path).unwrap().ends_with("the last\"}\n"));
}

#[test]
fn a_ledger_of_years_keeps_what_counts() {
    let f = fixture();
    let entry = |hours: i64| LedgerEntry {
        at: AT + SignedDuration::from_hours(hours),
        ca: "ca.example".to_owned(),
        names: names(),
        event: LedgerEvent::Finalize { exempt: false },
        order: None,
    };
    let lines: String = (0..40_000).map(|hours| serde_json::to_string(&entry(hours)).unwrap() + "\n").collect();
    assert!(lines.len() > 4 * 1024 * 1024);
    fs::write(f.root.join("ledger.jsonl"), lines).unwrap();
    f.store.note_ledger(&entry(40_000)).unwrap();
    let kept = f.store.ledger().unwrap();
    assert_eq!(kept.last(), Some(&entry(40_000)));
    assert_eq!(kept.len(), 60 * 24, "two months");
    assert_eq!(kept.first(), Some(&entry(40_001 - 60 * 24)));
    // Nothing is forgotten because a clock was wrong once.
    let lines: String = (0..40_000).map(|hours| serde_json::to_string(&entry(hours)).unwrap() + "\n").collect();
    fs::write(f.root.join("ledger.jsonl"), lines).unwrap();
    f.store.note_ledger(&entry(400_000)).unwrap();
    assert_eq!(f.store.ledger().unwrap().len(), 1000);
}

#[test]
fn a_long_journal_of_txt_records_keeps_what_is_open() {
    let f = fixture();
    let note =
        |value: &str| TxtNote { at: AT, name: "n.example".into(), value: value.into(), zone: None, record: None };
    f.store.note_txt(&note("done")).unwrap();
    f.store.strike_txt("n.example", "done").unwrap();
    let done = fs::read_to_string(f.root.join("txt.jsonl")).unwrap();
    fs::write(f.root.join("txt.jsonl"), done.repeat(10_000)).unwrap();
    f.store.note_txt(&note("open")).unwrap();
    f.store.shorten_txt_journal().unwrap();
    assert_eq!(f.store.txt_journal().unwrap(), [note("open")]);
    assert!(fs::metadata(f.root.join("txt.jsonl")).unwrap().len() < 500);
}

#[test]
fn a_state_that_would_be_too_long_to_be_read_is_written_with_shorter_texts() {
    let f = fixture();
    let mut tried = f.store.state().unwrap();
    let (generation, _) = kept(&f.store, 0);
    for number in 0..40 {
        let failure = Finding::new(Code::from("node-test"), "a", "上".repeat(1_000_000), "n", Advice::Person);
        let attempts = DeliveryAttempts {
            generation: generation.clone(),
            failures: number,
            first: None,
            last: AT,
            rolled_back: false,
            together: false,
            failure,
        };
        let node = certd::cert::NodeName::parse(&format!("node-{number}")).unwrap();
        tried.delivery.insert(node, BTreeMap::from([(name(), attempts)]));
    }
    f.store.write_state(&tried).unwrap();
    assert!(fs::metadata(f.root.join("state.json")).unwrap().len() < 100_000);
    let read = f.store.state().unwrap();
    assert_eq!((read.seed, read.delivery.len()), (tried.seed, 40));
    assert!(read.delivery.values().flat_map(BTreeMap::values).all(|attempts| attempts.failure.what.ends_with("上…")));
    assert!(f.damages().is_empty());
}

#[test]
fn a_state_that_is_too_long_to_be_read_is_set_aside_and_costs_no_certificate() {
    let f = fixture();
    let (generation, _) = kept(&f.store, 0);
    for file in ["state.json", "dns.json"] {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(f.root.join(file)).unwrap();
        file.set_len(65 * 1024 * 1024).unwrap();
    }
    assert_eq!(Store::look(&f.root).unwrap().state().unwrap().issuance.len(), 0);
    let store = Store::open(&f.root).unwrap();
    store.state().unwrap();
    store.dns_cache().unwrap();
    assert!(f.root.join("state.json.bad-1").exists());
    assert_eq!(store.damages().len(), 2);
    assert_eq!(store.stored(&name()).unwrap().current.unwrap().generation, generation);
}

#[test]
fn a_folder_that_others_use_is_refused_without_a_word_about_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o755, 0o700] {
        for content in ["passwd", "certs.d", ".bashrc"] {
            let root = folder.path().join(format!("{mode:o}-{content}"));
            fs::create_dir(&root).unwrap();
            fs::write(root.join(content), "").unwrap();
            fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
            for error in [Store::open(&root).unwrap_err(), Store::look(&root).unwrap_err()] {
                assert_eq!(error.code().as_str(), "store-not-ours");
                assert!(!error.next().contains("chmod") && error.next().contains("/var/lib/certd"), "{}", error.next());
            }
            assert_eq!(fs::read_dir(&root).unwrap().count(), 1, "nothing was made in it");
            assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, mode);
        }
    }
    // What a first run that was cut short leaves is ours, and so is a file system of its own.
    for names in [&["lock"][..], &["lost+found"], &["certs", "accounts"], &[".state.json.new", "lock"], &[]] {
        let root = folder.path().join(names.concat() + "-ours");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
        names.iter().for_each(|name| fs::create_dir(root.join(name)).unwrap());
        Store::open(&root).unwrap();
    }
}
