//! Several deliveries to one node at one time.

use std::fs;

use super::bench::{Fake, NAME, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, reply, wait_for};

#[test]
fn a_lock_is_waited_for_and_a_dead_owners_lock_is_not() {
    let quick = SOURCE.replace("lock_wait=30", "lock_wait=1");
    let bare = quick.replace("if command -v flock >/dev/null; then", "if false; then");
    assert_ne!(bare, quick);
    for shell in SHELLS {
        for source in [&quick, &bare] {
            let place = Place::new().with(OLD);
            let at = place.dir.path().display();
            place.script(
                "reload",
                &format!("[ -e {at}/free ] || {{ : >{at}/waiting; while [ ! -e {at}/free ]; do sleep 0.1; done; }}"),
            );
            let mut first = Program::start_source(shell, source, &[place.bundle(NEW)], &[]);
            let mut second = Program::start_source(shell, source, &[place.bundle(NEXT)], &[]);
            first.prepared();
            second.prepared();
            first.say("commit\n");
            wait_for(|| place.path("waiting").exists());
            second.say("commit\n");
            assert_eq!(second.answer(), Some(("refused".to_owned(), "locked".to_owned())));
            // Killed under its lock: the next one gets it.
            let group = format!("-{}", first.id());
            assert!(std::process::Command::new("kill").args(["-9", "--", &group]).status().unwrap().success());
            drop(first);
            place.tell("free");
            assert_eq!(deliver_source(shell, source, &place, NEXT), reply("committed"));
            assert!(place.holds(NEXT));
        }
    }
}

#[test]
fn two_certificates_are_delivered_to_one_server_at_one_time_and_one_that_is_refused_does_not_take_the_other_along() {
    let bare = SOURCE.replace("if command -v flock >/dev/null; then", "if false; then");
    for shell in SHELLS {
        for source in [SOURCE, &bare] {
            for refused in [false, true] {
                let place = Place::new().with(OLD);
                let (chain, key) = (place.path("ssl/second.pem"), place.path("ssl/second.key"));
                let second = place.bundle_of("second", NEXT, &chain, &key);
                let mut programs = [place.bundle(NEW), second].map(|bundle| {
                    let mut program = Program::start_source(shell, source, &[bundle], &[]);
                    program.prepared();
                    program
                });
                if refused {
                    place.tell("broken-n");
                }
                programs.iter_mut().for_each(|program| program.say("commit\n"));
                let verbs = programs.map(|mut program| program.answer().unwrap().0);
                assert_eq!(verbs, [if refused { "rolled-back" } else { "committed" }, "committed"], "{shell:?}");
                assert!(place.holds(if refused { OLD } else { NEW }));
                assert_eq!(fs::read_to_string(&chain).unwrap(), NEXT.chain());
            }
        }
    }
}

#[test]
fn p04_a_first_dialogue_that_is_aborted_takes_no_folder_away_from_one_that_found_it() {
    // Each stops where the folders are to be made; then it is there, or another dialogue has taken it along.
    let stops = [
        ("mkdir -m700 \"$stage_dir\"", "before ours is in it"),
        ("[ -d \"$file_dir\" ] || mkdir -pm755", "before the key's folder is looked at"),
        ("mkdir -pm755 \"$file_dir\" &&", "before the links are made"),
    ];
    for shell in SHELLS {
        for (point, when) in stops {
            // Its commands look at files of their own.
            let place = Place::new().with(OLD);
            let (chain, key) = (place.path("new/chain.pem"), place.path("keys/key.pem"));
            let bundle = |fake| place.bundle_of(NAME, fake, &chain, &key);
            let at = place.dir.path().display();
            // Once: it says that it has come so far, and waits.
            let stop = format!(
                "{{ [ -e {at}/came ] || {{ : >{at}/came; until [ -e {at}/go ]; do sleep 0.02; done; }}; }} && {point}"
            );
            let stopping = SOURCE.replacen(point, &stop, 1);
            assert_ne!(stopping, SOURCE);
            let mut first = Program::start(shell, &[bundle(NEW)]);
            first.prepared();
            let mut second = Program::start_source(shell, &stopping, &[bundle(NEXT)], &[]);
            if point.ends_with("&&") {
                second.prepared();
                second.say("commit\n");
            }
            wait_for(|| place.path("came").exists());
            // The end of its stdin means "abort".
            assert_eq!(first.end(), Some(0));
            assert!(!place.path("keys").exists(), "{shell:?}, {when}");
            place.tell("go");
            if !point.ends_with("&&") {
                second.prepared();
                second.say("commit\n");
            }
            assert_eq!(second.answer().unwrap().0, "committed", "{shell:?}, {when}");
            assert_eq!(fs::read_to_string(&key).unwrap(), NEXT.key(), "{shell:?}, {when}");
            second.say("done\n");
            assert_eq!(second.end(), Some(0));
        }
    }
}

fn deliver_source(shell: &[&str], source: &str, place: &Place, fake: Fake) -> (String, String) {
    let mut program = Program::start_source(shell, source, &[place.bundle(fake)], &[]);
    program.prepared();
    program.commit()
}
