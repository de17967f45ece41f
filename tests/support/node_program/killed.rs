//! `kill -9` before every line of the program, then a fresh dialogue: the pair is whole at each point, and the next
//! delivery ends where it should.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bench::{NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE};
use crate::lab::statements::stands_alone;

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
        if commit && lines[at - 1].ends_with("&&") {
            add(vec![&format!("kill -9 0 && {line}")], false);
        }
        for (chained, _) in line.match_indices(" && ").filter(|_| commit) {
            add(vec![&format!("{} && kill -9 0{}", &line[..chained], &line[chained..])], false);
        }
    }
    variants
}

/// From where a delivery began.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Begin {
    Nothing,
    Plain,
    Managed,
    /// Plain files, and a server that does not take what is delivered.
    Refusing,
    /// Plain files that are written over: torn when killed, and whole after the next preparation.
    InPlace,
    /// A key in a folder of its own, and a server that does not take what is delivered.
    Apart,
    /// The same, and a server that does not follow links.
    Container,
    /// A chain without a key, and a reload that fails with what is delivered.
    Half,
}

pub(crate) const BEGINNINGS: [Begin; 8] = [
    Begin::Plain,
    Begin::Managed,
    Begin::Nothing,
    Begin::Refusing,
    Begin::InPlace,
    Begin::Apart,
    Begin::Container,
    Begin::Half,
];

impl Begin {
    /// With `more`, the delivery that is killed brings more files than the pair; some are there, but where they are new.
    fn place(self, shell: &[&str], more: bool) -> Place {
        let mut place = if matches!(self, Self::Apart | Self::Container) { Place::apart() } else { Place::new() };
        if more && !matches!(self, Self::Managed) {
            place = place.with_more((!matches!(self, Self::Nothing)).then_some(OLD));
        }
        place.in_place = matches!(self, Self::InPlace);
        match self {
            Self::Nothing => place,
            Self::Plain | Self::InPlace => place.with(OLD),
            Self::Managed => {
                let mut program = Program::start(shell, &[place.bundle(OLD)]);
                program.prepared();
                program.commit();
                program.end();
                if more { place.with_more(None) } else { place }
            }
            Self::Refusing | Self::Apart => {
                place.tell("broken-n");
                place.with(OLD)
            }
            Self::Container => {
                place.tell("no-links");
                place.with(OLD)
            }
            Self::Half => {
                place.tell("stopped-n");
                let place = place.with(OLD);
                fs::remove_file(&place.key).unwrap();
                place
            }
        }
    }
}

/// A delivery of NEW, killed somewhere, and one of NEXT. Whether it was killed.
fn survive(shell: &[&str], variant: &Variant, begin: Begin, more: bool) -> bool {
    let place = begin.place(shell, more);
    let found = place.all();
    let at = format!("{begin:?}, {shell:?}, {}before {}", if more { "more files, " } else { "" }, variant.line);
    let mut program = Program::start_source(shell, &variant.source, &[place.bundle(NEW)], &[]);
    let mut killed = program.answer().is_none();
    if !killed {
        program.say("commit\n");
        killed = program.answer().is_none();
    }
    drop(program);
    let letters = |letter: &str| (Some(letter.to_owned()), Some(letter.to_owned()));
    let pair = place.pair();
    let there = match begin {
        Begin::Nothing => (None, None),
        Begin::Half => (Some("o".to_owned()), None),
        _ => letters("o"),
    };
    let torn = pair != there && pair != letters("n");
    assert!(!torn || matches!(begin, Begin::InPlace), "torn: {at}: {pair:?}");

    if matches!(begin, Begin::Refusing | Begin::Apart | Begin::Container) {
        // A dialogue that comes to nothing ends what was begun.
        let mut program = Program::start(shell, &[place.bundle(NEXT)]);
        program.prepared();
        program.end();
        assert_eq!(place.all(), found, "{at}");
        let _ = fs::remove_file(place.path("no-links"));
    }
    let mut program = Program::start(shell, &[place.bundle(NEXT)]);
    let prepared = program.prepared();
    let test = if matches!(begin, Begin::Nothing | Begin::Half) { "test " } else { "test ok\n" };
    assert!(prepared.starts_with(test), "{at}: {prepared}");
    assert!(!place.own().join("intent").exists(), "{at}");
    assert_eq!(program.commit().0, "committed", "{at}");
    program.say("done\n");
    program.end();
    assert!(place.holds(NEXT), "{at}");
    let count = |folder: &Path| fs::read_dir(folder).unwrap().count();
    let beside = count(&place.path("ssl"))
        + if place.key.starts_with(place.path("ssl")) { 0 } else { count(place.key.parent().unwrap()) };
    assert_eq!(beside, if more { 5 } else { 3 }, "rubbish beside the files: {at}");
    killed
}

/// `beginnings`: from how many of them each line of the commit is killed. `stride`: of how many lines one is taken.
pub(crate) fn kill_everywhere(beginnings: usize, stride: usize) {
    let mut runs: Vec<(Variant, Begin)> = Vec::new();
    for (number, variant) in variants().into_iter().step_by(stride).enumerate() {
        let begins = BEGINNINGS;
        if variant.commit {
            let Variant { source, line, .. } = &variant;
            // They take turns.
            let begins = begins.into_iter().cycle().skip(number * beginnings % BEGINNINGS.len()).take(beginnings);
            let variant = || Variant { source: source.clone(), line: line.clone(), commit: true };
            runs.extend(begins.map(|begin| (variant(), begin)));
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
                    // Shells, beginnings and this take turns, in rhythms that share no measure.
                    if survive(
                        SHELLS[number % SHELLS.len()],
                        variant,
                        *begin,
                        (number / BEGINNINGS.len()).is_multiple_of(2),
                    ) {
                        points.lock().unwrap().insert(&variant.line);
                    }
                }
            });
        }
    });
    // A variant that was never killed proves nothing.
    let points = points.into_inner().unwrap();
    assert!(points.len() > 100 / stride, "{} points, {} runs", points.len(), runs.len());
}
