//! `kill -9` before every line of the program, then a fresh dialogue: the pair is whole at each point, and the next
//! delivery ends where it should.

use std::collections::BTreeSet;

use crate::bench::{NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE};

/// Variants of the program that kill their whole process group before one line, and that line. `kill -9 0` stands where
/// a command may stand: at the head of a line that is not the rest of another.
fn variants() -> Vec<(String, String)> {
    let lines: Vec<&str> = SOURCE.lines().collect();
    let mut variants = Vec::new();
    for at in 0..lines.len() {
        let line = lines[at].trim();
        let before = at.checked_sub(1).map_or("", |before| lines[before].trim_end());
        let continues = ["&&", "||", "\\", "|", "in"].iter().any(|end| before.ends_with(end));
        let joins = line.is_empty()
            || line.starts_with('#')
            || ["then", "else", "elif", "fi", "do", "done", "esac", "}", ")", ";;"].iter().any(|word| line.starts_with(word));
        // A pattern of a `case`, or a function's head: a command cannot stand before it.
        let heads = line.contains(") ") && !line.contains("$(") && !line.starts_with('(') || line.ends_with(";;") || line.ends_with(')');
        if at < 40 || continues || joins || heads {
            continue;
        }
        let mut killed = lines.clone();
        killed.insert(at, "kill -9 0");
        variants.push((killed.join("\n"), line.to_owned()));
    }
    variants
}

/// What a delivery of NEW, killed somewhere, leaves behind, from where it began.
fn survive(shell: &[&str], source: &str, line: &str, begin: impl Fn() -> Place, whole_before: bool) -> bool {
    let place = begin();
    let mut program = Program::start_source(shell, source, &[place.bundle(NEW)], &[]);
    let mut killed = program.answer().is_none();
    if !killed {
        program.say("commit\n");
        killed = program.answer().is_none();
    }
    // EOF tells that the group is gone; the next dialogue is another connection.
    drop(program);
    let pair = place.pair();
    let old = pair == (Some("o".into()), Some("o".into()));
    let new = pair == (Some("n".into()), Some("n".into()));
    if whole_before {
        assert!(old || new, "torn before {line:?}: {pair:?}");
    } else {
        assert!(new || pair == (None, None), "torn before {line:?}: {pair:?}");
    }
    let mut program = Program::start(shell, &[place.bundle(NEXT)]);
    let prepared = program.prepared();
    assert!(!whole_before || prepared.starts_with("test ok\n"), "before {line:?}: {prepared}");
    assert!(place.kept().iter().all(|name| name != "intent"), "before {line:?}: {:?}", place.kept());
    assert_eq!(program.commit().0, "committed", "before {line:?}");
    program.say("done\n");
    program.end();
    assert!(place.holds(NEXT), "before {line:?}");
    killed
}

#[test]
fn p01_killed_before_any_line_the_pair_is_whole_and_the_next_delivery_ends_well() {
    let variants = variants();
    assert!(variants.len() > 100, "{}", variants.len());
    std::thread::scope(|scope| {
        for shell in SHELLS {
            let variants = &variants;
            scope.spawn(move || {
                let mut points = BTreeSet::new();
                for (number, (source, line)) in variants.iter().enumerate() {
                    // Plain files, nothing at all, and a generation of ours.
                    let killed = match number % 3 {
                        0 => survive(shell, source, line, Place::new, false),
                        1 => survive(shell, source, line, || Place::new().with(OLD), true),
                        _ => survive(shell, source, line, || managed(shell), true),
                    };
                    if killed {
                        points.insert(line);
                    }
                }
                // A variant that was never killed proves nothing.
                assert!(points.len() > 80, "{} of {}", points.len(), variants.len());
            });
        }
    });
}

fn managed(shell: &[&str]) -> Place {
    let place = Place::new();
    let mut program = Program::start(shell, &[place.bundle(OLD)]);
    program.prepared();
    program.commit();
    program.end();
    place
}
