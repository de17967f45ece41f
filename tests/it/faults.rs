//! `tests/faults.md` lists the faults that certd is made to survive. A test that makes one begins with its mark: each row
//! that must be proven has such a test, and each mark a row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const CATALOGUE: &str = "tests/faults.md";
/// All but those of several controllers, of which there is one: no row without a test, but for those that say why.
const PROVEN: [char; 7] = ['A', 'C', 'D', 'K', 'S', 'N', 'P'];
/// What a row says that no test can make.
const NO_TEST: &str = "No test: ";

/// Rows by their mark (`A01`), each with the names of its tests.
type Rows = BTreeMap<String, BTreeSet<String>>;

/// Prints the catalogue with the tests of each row: `make faults`.
#[test]
#[allow(clippy::print_stdout, reason = "it is printed on demand")]
fn each_fault_has_a_test_that_makes_it() {
    let text = fs::read_to_string(CATALOGUE).unwrap();
    let found = tests_by_mark();
    let mut bare = Vec::new();
    println!("{}", text.split_once("\n- **").expect("there are rows").0);
    for (mark, row) in rows(&text) {
        let (words, heading) = row.split_once("\n\n").unwrap_or((row, ""));
        println!("- **{}", words.trim_end());
        found.get(mark).into_iter().flatten().for_each(|test| println!("  - `{test}`"));
        if !heading.is_empty() {
            println!("\n{heading}\n");
        }
        if mark.starts_with(PROVEN) && !found.contains_key(mark) && !row.contains(NO_TEST) {
            bare.push(mark);
        }
    }
    assert!(bare.is_empty(), "no test makes {}", bare.join(", "));
    assert_eq!(rows(&text).filter(|(mark, _)| mark.starts_with(PROVEN)).count(), 131);
}

#[test]
fn each_mark_of_a_test_has_its_row() {
    let text = fs::read_to_string(CATALOGUE).unwrap();
    let mut found = tests_by_mark();
    rows(&text).for_each(|(mark, _)| drop(found.remove(mark)));
    assert!(found.is_empty(), "{CATALOGUE} has no row for {found:?}");
}

/// Each row with the lines that belong to it.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n- **").skip(1).filter_map(|row| Some((row.split_once("**")?.0, row)))
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
