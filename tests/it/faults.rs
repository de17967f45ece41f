//! `docs/faults.md` tells which test makes which fault. Here it is held against the source: each test that is named there
//! exists, each test that begins with a row's mark is named there, and the rows that must be proven are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const CATALOGUE: &str = "docs/faults.md";
/// All but those of several controllers, of which there is one: no row without a test, but for those that say why.
const PROVEN: [char; 7] = ['A', 'C', 'D', 'K', 'S', 'N', 'P'];
/// What a row says that no test can make.
const NO_TEST: &str = "No test: ";

/// Rows by their mark (`A01`), each with the names of its tests.
type Rows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_catalogue_names_the_tests_that_there_are() {
    let text = fs::read_to_string(CATALOGUE).unwrap();
    let found = tests_by_mark();
    let written = with_tests(&text, &found);
    if std::env::var_os("CERTD_EXPECT").is_some_and(|value| value == "write") {
        fs::write(CATALOGUE, &written).unwrap();
    }
    let catalogue = fs::read_to_string(CATALOGUE).unwrap();
    for (mark, tests) in &found {
        assert!(catalogue.contains(&format!("**{mark}**")), "{CATALOGUE} has no row {mark}, of which are {tests:?}");
    }
    assert!(catalogue == written, "{CATALOGUE} is behind; see it with CERTD_EXPECT=write cargo test --test faults");
}

#[test]
fn each_fault_has_a_test_that_makes_it() {
    let text = fs::read_to_string(CATALOGUE).unwrap();
    let found = tests_by_mark();
    let bare: Vec<&str> = rows(&text)
        .filter(|(mark, row)| mark.starts_with(PROVEN) && !found.contains_key(*mark) && !row.contains(NO_TEST))
        .map(|(mark, _)| mark)
        .collect();
    assert!(bare.is_empty(), "no test makes {}", bare.join(", "));
    assert_eq!(rows(&text).filter(|(mark, _)| mark.starts_with(PROVEN)).count(), 128);
}

/// Each row with the lines that belong to it.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n- **").skip(1).filter_map(|row| Some((row.split_once("**")?.0, row)))
}

/// The catalogue with its lists of tests made anew.
fn with_tests(text: &str, found: &Rows) -> String {
    let mut written = String::new();
    let mut due: Option<&str> = None;
    let plain: Vec<&str> = text.lines().filter(|line| !line.starts_with("  - `")).collect();
    for line in plain {
        let continues = line.starts_with("  ");
        if let Some(mark) = due.take_if(|_| !continues) {
            for test in found.get(mark).into_iter().flatten() {
                writeln!(written, "  - `{test}`").unwrap();
            }
        }
        if let Some((mark, _)) = line.strip_prefix("- **").and_then(|row| row.split_once("**")) {
            due = Some(mark);
        }
        writeln!(written, "{line}").unwrap();
    }
    for test in due.and_then(|mark| found.get(mark)).into_iter().flatten() {
        writeln!(written, "  - `{test}`").unwrap();
    }
    written
}

fn tests_by_mark() -> Rows {
    let mut found = Rows::new();
    for folder in ["src", "tests"] {
        sources(Path::new(folder), &mut |text| {
            for name in names(text) {
                for mark in marks(&name) {
                    found.entry(mark).or_default().insert(name.clone());
                }
            }
        });
    }
    assert!(found.len() > 60, "the sources are read: {}", found.len());
    found
}

fn sources(folder: &Path, read: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, read);
        } else if path.extension().is_some_and(|it| it == "rs") {
            read(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// Tests are functions, or lines `name: …;` of a macro that makes functions.
fn names(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("async ");
        let name: String =
            line.trim_start_matches("fn ").chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let is_test =
            line.strip_prefix("fn ").is_some() || line.strip_prefix(&name).is_some_and(|it| it.starts_with(": "));
        (is_test && !marks(&name).is_empty()).then_some(name)
    })
}

/// `a07_a09_an_answer…`: A07 and A09.
fn marks(name: &str) -> Vec<String> {
    let is_mark = |part: &&str| {
        part.len() == 3
            && part.starts_with(|c: char| "acdsnpk".contains(c))
            && part[1..].chars().all(|c| c.is_ascii_digit())
    };
    name.split('_').take_while(is_mark).map(str::to_uppercase).collect()
}
