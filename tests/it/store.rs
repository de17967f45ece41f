//! The state directory on a real disk: modes, crashes, damage, a full file system.

mod bounded;
mod crashes;
mod damage;
mod disk;
mod kept;
mod pruned;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use certd::cert::{CertName, Chain, DnsName, Generation, KeyType, NameSet, Pair, PrivateKey};
use certd::model::{Intent, LedgerEntry, LedgerEvent, Meta, PersistedState, Stored};
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
        key_of: None,
    }
}

/// A generation so many seconds after the first.
fn generation(seconds: i64, pair: &Pair) -> Generation {
    Generation::issued(AT + SignedDuration::from_secs(seconds), 0, &pair.chain().leaf.serial).unwrap()
}

fn kept(store: &Store, seconds: i64) -> (Generation, Pair) {
    let pair = pair();
    let meta = Meta { issued_at: AT + SignedDuration::from_secs(seconds), ..meta() };
    let generation = store.keep(&name(), &generation(seconds, &pair), &pair, &meta).unwrap();
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
        .args([
            "-c",
            &format!("umask {umask}; exec \"$0\" --exact store::crashes::{test} --nocapture --test-threads 1"),
        ])
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
    assert!(lines.map_while(Result::ok).any(|line| line.contains(word)), "the child never printed {word}");
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
