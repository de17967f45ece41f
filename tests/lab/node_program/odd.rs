//! Nodes whose tools fail, are others, or are few; certificates that change places; what a dead program left.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::bench::{Fake, NAME, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, deliver, reply};

fn changed(from: &str, to: &str) -> String {
    let source = SOURCE.replacen(from, to, 1);
    assert_ne!(source, SOURCE, "{from}");
    source
}

/// A whole dialogue: its last verb and words.
fn run(shell: &[&str], source: &str, bundles: &[String], end: &str) -> (String, String) {
    let mut program = Program::start_source(shell, source, bundles, &[]);
    let mut reply = program.answer().expect("an answer");
    if reply.0 == "prepared" {
        reply = program.commit();
        program.say(end);
        if end == "rollback\n" {
            reply = program.answer().expect("an answer");
        }
    }
    program.end();
    reply
}

#[test]
fn mv_that_refuses_a_link_to_a_folder_is_found_out_before_anything_is_there() {
    let shim = "mv() { for v; do :; done; if [ -L \"$v\" ] && [ -d \"$v\" ]; then echo \"mv: '$v' is a directory\" >&2; \
                return 1; fi; command mv \"$@\"; }\nreceive\n";
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let before = place.all();
        let (verb, words) = run(shell, &changed("\nreceive\n", &format!("\n{shim}")), &[place.bundle(NEW)], "done\n");
        assert_eq!(verb, "refused", "{words}");
        assert!(words.starts_with("unfit mv -T"), "{words}");
        assert_eq!(place.all(), before);
    }
}

#[test]
fn what_cannot_be_noted_whole_is_not_begun() {
    for shell in SHELLS {
        for (in_place, from, to) in [
            (false, "} >\"$stage_dir.i\"", "} >/dev/full"),
            (true, "} >\"$stage_dir.i\"", "} >/dev/full"),
            (true, "\nnote() {\n", "\nstat() { echo stat: not found >&2; return 127; }\nnote() {\n"),
        ] {
            let mut place = Place::apart().with(OLD);
            place.in_place = in_place;
            place.tell("broken-n");
            let before = place.all();
            let (verb, words) = run(shell, &changed(from, to), &[place.bundle(NEW)], "done\n");
            assert_eq!(verb, "refused", "{words}");
            assert!(words.starts_with(&format!("path {}/intent\n", place.own().display())), "{words}");
            assert_eq!(place.all(), before, "{shell:?} {from}");
        }
    }
}

#[test]
fn an_intent_that_a_loss_of_power_emptied_takes_nothing_along() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        fs::write(place.own().join("intent"), "").unwrap();
        let mut program = Program::start(shell, &[place.bundle(NEXT)]);
        program.prepared();
        program.end();
        assert!(place.holds(NEW), "{shell:?}");
    }
}

#[test]
fn tools_that_fail_make_no_rubbish_of_what_is_served_and_keep_nobody_from_going_back() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        let tidy = "each untidy || (under 0 tidy) >/dev/null\n";
        let source = changed(tidy, &format!("readlink() {{ return 1; }}\n{tidy}unset -f readlink\n"));
        let mut program = Program::start_source(shell, &source, &[place.bundle(NEXT)], &[]);
        program.prepared();
        program.end();
        assert!(place.holds(NEW));
        let source = changed("\nundo() { ", "\nundo() { touch() { return 1; }; ");
        place.tell("broken-x");
        assert_eq!(run(shell, &source, &[place.bundle(NEXT)], "done\n").0, "rolled-back");
        assert!(place.holds(NEW));
    }
}

#[test]
fn what_a_program_left_that_was_killed_early_or_late_goes_with_the_next_that_comes_to_nothing() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let before = place.all();
        for left in ["", "next", "previous"] {
            fs::create_dir_all(place.own()).unwrap();
            if !left.is_empty() {
                // As of one that was killed while it undid.
                symlink(NEW.1, place.own().join(left)).unwrap();
                fs::write(place.own().join("intent"), format!("0-found\n{}\nwas -\n", NEW.1)).unwrap();
            }
            let mut program = Program::start(shell, &[place.bundle(NEW)]);
            program.prepared();
            program.end();
            let _ = fs::remove_file(place.path("ssl/.certd/.lock"));
            assert_eq!(place.all(), before, "{left}");
        }
    }
}

#[test]
fn the_chain_may_move_to_another_folder_without_a_new_certificate() {
    for shell in SHELLS {
        let place = Place::apart().with(OLD);
        deliver(shell, &place, NEW);
        place.script("test", "exit 0");
        let chain = place.path("other/chain.pem");
        fs::create_dir(place.path("other")).unwrap();
        let bundle = place.bundle_of(NAME, NEW, &chain, &place.key);
        assert_eq!(run(shell, SOURCE, &[bundle], "done\n"), reply("committed"));
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&chain), read(&place.key)), (NEW.chain(), NEW.key()));
    }
}

#[test]
fn two_certificates_that_change_places_keep_their_fences_and_their_folders() {
    let ahead = Fake('z', "20261201000000-0e");
    for shell in SHELLS {
        let place = Place::new();
        place.script("test", "exit 0");
        let at = |name: &str| (place.path(&format!("ssl/{name}.pem")), place.path(&format!("ssl/{name}.key")));
        let bundle = |name: &str, fake, path: &str| place.bundle_of(name, fake, &at(path).0, &at(path).1);
        let straight = [bundle("a.example", NEW, "a"), bundle("b.example", ahead, "b")];
        let swapped = [bundle("a.example", NEW, "b"), bundle("b.example", ahead, "a")];
        let holds = |path: &str, fake: Fake| {
            let read = |path: &Path| fs::read_to_string(path).unwrap();
            assert_eq!((read(&at(path).0), read(&at(path).1)), (fake.chain(), fake.key()), "{shell:?} {path}");
        };
        assert_eq!(run(shell, SOURCE, &straight, "done\n"), reply("committed"));
        assert_eq!(run(shell, SOURCE, &swapped, "done\n"), reply("committed"));
        holds("a", ahead);
        holds("b", NEW);
        let look = swapped.iter().map(|text| {
            let wanted =
                text.lines().filter(|line| ["name ", "fullchain /", "key /"].iter().any(|k| line.starts_with(k)));
            wanted.flat_map(|line| [line, "\n"]).collect::<String>() + &format!("sum {0}\nsum {0}\n", "0".repeat(64))
        });
        let (_, body) = Program::look(shell, SOURCE, &look.collect::<Vec<_>>(), &[]);
        assert!(!body.contains("\nleft "), "both are in use: {body}");
        // Back, one at a time: what is followed still is left alone.
        assert_eq!(run(shell, SOURCE, &[bundle("b.example", ahead, "b")], "done\n"), reply("committed"));
        holds("a", ahead);
        holds("b", ahead);
    }
}

#[test]
fn the_folder_of_a_renamed_certificate_stays_while_a_link_leads_there() {
    for shell in SHELLS {
        for beside in [false, true] {
            let place = if beside { Place::new() } else { Place::apart() }.with(OLD);
            deliver(shell, &place, NEW);
            place.script("test", "exit 0");
            let key = place.path("ssl/new.key");
            let bundle = place.bundle_of("new.example", NEXT, &place.chain, &key);
            assert_eq!(run(shell, SOURCE, &[bundle], "done\n"), reply("committed"));
            assert_eq!(fs::read_to_string(&place.key).unwrap(), NEW.key(), "{shell:?}, beside: {beside}");
            assert_eq!(fs::read_to_string(&key).unwrap(), NEXT.key());
        }
    }
}

#[test]
fn a_dead_first_contact_under_a_former_name_undoes_nothing_of_its_successor() {
    for shell in SHELLS {
        let place = Place::apart().with(OLD);
        let source = changed("\n  each changes\n", "\n  kill -9 0\n");
        let mut program = Program::start_source(shell, &source, &[place.bundle(NEW)], &[]);
        program.prepared();
        program.say("commit\n");
        assert_eq!(program.answer(), None);
        drop(program);
        assert!(place.own().join("intent").exists());
        let renamed = place.bundle_of("new.example", NEXT, &place.chain, &place.key);
        assert_eq!(run(shell, SOURCE, &[renamed], "done\n"), reply("committed"));
        // And back again.
        let last = Fake('y', "20261123061502-0d");
        let mut program = Program::start(shell, &[place.bundle(last)]);
        program.prepared();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&place.chain), read(&place.key)), (NEXT.chain(), NEXT.key()), "{shell:?}");
        assert_eq!(program.commit(), reply("committed"));
        program.say("done\n");
        program.end();
        assert!(place.holds(last));
    }
}

#[test]
fn a_path_that_is_not_absolute_is_refused_and_not_sought_for_ever() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        for (from, to) in [(&place.key, "key.pem"), (&place.chain, "ssl/chain.pem"), (&place.key, "")] {
            let bundle = place.bundle(NEW).replace(&from.display().to_string(), to);
            let refused = ("refused".to_owned(), "unfit paths must be absolute".to_owned());
            assert_eq!(run(shell, SOURCE, &[bundle], "done\n"), refused, "{to:?}");
        }
    }
}
