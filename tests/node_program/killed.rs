//! `kill -9` before every line of the program, then a fresh dialogue: the pair is whole at each point, and the next
//! delivery ends where it should.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::bench::{NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE};
use crate::statements::stands_alone;

/// A program that kills its whole process group at one point, and the line of that point.
struct Variant {
    source: String,
    line: String,
    /// A line of the part that runs under the locks: worth every beginning.
    commit: bool,
}

/// `kill -9 0` before every line that a command can stand before, and within the commit before every command of a chain.
fn variants() -> Vec<Variant> {
    let lines: Vec<&str> = SOURCE.lines().collect();
    let section =
        |title: &str| lines.iter().position(|line| line.starts_with(title)).expect("a section of the program");
    let commit = section("# --- commit")..section("# --- rollback");
    let mut variants = Vec::new();
    for at in section("# --- answers")..lines.len() {
        let commit = commit.contains(&at);
        let mut add = |put: Vec<&str>, commit: bool| {
            let rest = &lines[at + 1..];
            let source = [&lines[..at], &put, rest].concat().join("\n");
            variants.push(Variant { source, line: put.join(" / ").trim().to_owned(), commit });
        };
        let line = lines[at].trim();
        if line.starts_with('#') {
            continue;
        }
        if stands_alone(line, lines[at - 1].trim_end()) {
            add(vec!["kill -9 0", lines[at]], commit);
        }
        for (chained, _) in line.match_indices(" && ").filter(|_| commit) {
            add(vec![&format!("{} && kill -9 0{}", &line[..chained], &line[chained..])], false);
        }
    }
    variants
}

/// From where a delivery began.
#[derive(Clone, Copy, Debug)]
enum Begin {
    Nothing,
    Plain,
    Managed,
    /// Plain files, and a server that does not take what is delivered.
    Refusing,
}

impl Begin {
    fn place(self, shell: &[&str]) -> Place {
        let place = Place::new();
        match self {
            Self::Nothing => place,
            Self::Plain => place.with(OLD),
            Self::Managed => {
                let mut program = Program::start(shell, &[place.bundle(OLD)]);
                program.prepared();
                program.commit();
                program.end();
                place
            }
            Self::Refusing => {
                place.tell("broken-n");
                place.with(OLD)
            }
        }
    }
}

/// A delivery of NEW, killed somewhere, and one of NEXT. Whether it was killed.
fn survive(shell: &[&str], variant: &Variant, begin: Begin) -> bool {
    let place = begin.place(shell);
    let at = format!("{begin:?}, {shell:?}, before {}", variant.line);
    let mut program = Program::start_source(shell, &variant.source, &[place.bundle(NEW)], &[]);
    let mut killed = program.answer().is_none();
    if !killed {
        program.say("commit\n");
        killed = program.answer().is_none();
    }
    drop(program);
    let letters = |letter: &str| (Some(letter.to_owned()), Some(letter.to_owned()));
    let pair = place.pair();
    let there = if matches!(begin, Begin::Nothing) { (None, None) } else { letters("o") };
    assert!(pair == there || pair == letters("n"), "torn: {at}: {pair:?}");

    let mut program = Program::start(shell, &[place.bundle(NEXT)]);
    let prepared = program.prepared();
    let test = if matches!(begin, Begin::Nothing) { "test " } else { "test ok\n" };
    assert!(prepared.starts_with(test), "{at}: {prepared}");
    if matches!(begin, Begin::Refusing) {
        assert_eq!(place.pair(), letters("o"), "what the server does not take was kept: {at}");
    }
    assert!(!place.own().join("intent").exists(), "{at}");
    assert_eq!(program.commit().0, "committed", "{at}");
    program.say("done\n");
    program.end();
    assert!(place.holds(NEXT), "{at}");
    assert_eq!(fs::read_dir(place.path("ssl")).unwrap().count(), 3, "rubbish beside the files: {at}");
    killed
}

#[test]
fn p01_killed_before_any_command_the_pair_is_whole_and_the_next_delivery_ends_well() {
    let mut runs: Vec<(Variant, Begin)> = Vec::new();
    for (number, variant) in variants().into_iter().enumerate() {
        let begins = [Begin::Plain, Begin::Managed, Begin::Nothing, Begin::Refusing];
        if variant.commit {
            let Variant { source, line, .. } = &variant;
            runs.extend(
                begins.map(|begin| (Variant { source: source.clone(), line: line.clone(), commit: true }, begin)),
            );
        } else {
            runs.push((variant, begins[number % begins.len()]));
        }
    }
    let (next, points) = (AtomicUsize::new(0), std::sync::Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((number, (variant, begin))) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|number| Some((number, runs.get(number)?)))
                {
                    if survive(SHELLS[number % SHELLS.len()], variant, *begin) {
                        points.lock().unwrap().insert(&variant.line);
                    }
                }
            });
        }
    });
    // A variant that was never killed proves nothing.
    let points = points.into_inner().unwrap();
    assert!(points.len() > 100, "{} points, {} runs", points.len(), runs.len());
}
