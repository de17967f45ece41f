//! Several deliveries to one node at one time.

use std::fs;

use crate::bench::{Fake, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, told, wait_for};

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
            assert_eq!(deliver_source(shell, source, &place, NEXT), told("committed"));
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

fn deliver_source(shell: &[&str], source: &str, place: &Place, fake: Fake) -> (String, String) {
    let mut program = Program::start_source(shell, source, &[place.bundle(fake)], &[]);
    program.prepared();
    program.commit()
}
