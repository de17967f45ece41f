//! The C that is linked into certd, held to the floors of `deny.toml`: `cargo audit` knows what is wrong with crates, and
//! seldom what is wrong with a library that a crate carries. An error means: raise the crate (`cargo update -p NAME`), or,
//! for a crate that came in, say in `deny.toml` which version is the oldest that may be linked, since when and why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Crates with such names that carry no library: they find one, or name the kernel's calls.
const CARRY_NOTHING: [&str; 2] = ["linux-raw-sys", "openssl-sys"];

type Version = Vec<u64>;

fn version(text: &str) -> Version {
    let number = text.split(['+', '-']).next().expect("split gives one");
    let parts: Result<Version, _> = number.split('.').map(str::parse).collect();
    parts.unwrap_or_else(|_| panic!("{text:?} is no version"))
}

/// `deny.toml`'s bans: by crate the oldest version that may be linked, or none at all, and why.
fn floors(deny: &str) -> BTreeMap<String, (Option<Version>, String)> {
    let deny: toml::Table = deny.parse().expect("deny.toml is TOML");
    let bans = deny["bans"]["deny"].as_array().expect("a list");
    let floor = |ban: &toml::Value| {
        let reason = ban.get("reason")?.as_str().expect("a text").to_owned();
        let (name, oldest) = match ban["crate"].as_str().expect("a text").split_once(":<") {
            Some((name, oldest)) => (name, Some(version(oldest))),
            None => (ban["crate"].as_str()?, None),
        };
        Some((name.to_owned(), (oldest, reason)))
    };
    bans.iter().filter_map(floor).collect()
}

/// What is wrong with these crates (`name`, `version`), in the words of `deny.toml`.
fn wrong(linked: &BTreeSet<(String, String)>, floors: &BTreeMap<String, (Option<Version>, String)>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, found) in linked {
        match floors.get(name) {
            Some((None, reason)) => wrong.push(format!("{name} {found} may not be linked: {reason}")),
            Some((Some(oldest), reason)) if version(found) < *oldest => {
                wrong.push(format!("{name} {found} is older than {oldest:?}: {reason}"));
            }
            None if (name.ends_with("-sys") || name.ends_with("-src")) && !CARRY_NOTHING.contains(&&**name) => {
                wrong.push(format!("{name} {found} carries C, and deny.toml has no floor for it"));
            }
            _ => {}
        }
    }
    wrong
}

/// What is built into certd with these features, as Cargo.lock has it.
fn linked(features: &[&str]) -> BTreeSet<(String, String)> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal,build", "--prefix", "none"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs this test");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("names and versions");
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.strip_prefix('v')?.to_owned()))
    });
    lines.collect()
}

fn deny_toml() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).expect("deny.toml is here")
}

#[test]
fn no_c_library_that_is_linked_is_older_than_its_floor() {
    let floors = floors(&deny_toml());
    let (with, without) = (linked(&[]), linked(&["--no-default-features"]));
    assert_eq!(wrong(&with, &floors), [""; 0]);
    assert_eq!(wrong(&without, &floors), [""; 0]);
    let has = |linked: &BTreeSet<(String, String)>, name| linked.iter().any(|(found, _)| found == name);
    for name in ["aws-lc-sys", "libssh2-sys"] {
        assert!(has(&with, name) && has(&without, name), "{name} has a floor and is not linked");
    }
    assert!(has(&with, "openssl-src"), "certd carries its OpenSSL");
    assert!(!has(&without, "openssl-src"), "or takes the system's");
}

#[test]
fn each_floor_says_since_when_and_why() {
    for (name, (_, reason)) in floors(&deny_toml()) {
        let (date, why) = reason.split_once(": ").unwrap_or_else(|| panic!("{name}: {reason:?} has no date"));
        assert!(date.parse::<jiff::civil::Date>().is_ok() && !why.is_empty(), "{name}: {reason:?}");
    }
}

/// Each of these would be found; a scan that finds nothing proves nothing.
#[test]
fn an_old_library_a_new_one_and_a_forbidden_one_are_found() {
    let floors = floors(&deny_toml());
    for (name, old) in [
        ("openssl-src", "300.6.0+3.6.2"),
        ("openssl-src", "111.28.2+1.1.1w"),
        ("libssh2-sys", "0.3.3"),
        ("aws-lc-sys", "0.9.99"),
        ("ring", "0.17.14"),
        ("zstd-sys", "2.0.16+zstd.1.5.7"),
        ("libgit2-src", "1.9.0"),
    ] {
        assert_eq!(wrong(&BTreeSet::from([(name.to_owned(), old.to_owned())]), &floors).len(), 1, "{name} {old}");
    }
    for (name, new) in [("openssl-src", "300.10.0+3.6.9"), ("libssh2-sys", "1.0.0"), ("serde", "1.0.0")] {
        assert_eq!(wrong(&BTreeSet::from([(name.to_owned(), new.to_owned())]), &floors), [""; 0], "{name} {new}");
    }
}
