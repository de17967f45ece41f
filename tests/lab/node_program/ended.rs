//! However a prepared program ends, it takes what it staged with it.

use std::fs;
use std::process::Command;

use super::bench::{NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, wait_for};

#[test]
fn the_end_of_the_connection_before_the_commit_removes_what_was_staged_and_after_it_changes_nothing() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        assert_eq!(program.end(), Some(0));
        assert!(place.holds(OLD) && !place.path("ssl/.certd").exists(), "{:?}", place.kept());
        // Cut off in the middle of the bundles.
        let mut program = Program::start(shell, &[place.bundle(NEW), "name x\nkey-pem 00\nkey".to_owned()]);
        program.hang_up();
        assert_eq!(program.answer(), None);
        assert!(place.holds(OLD) && !place.path("ssl/.certd").exists());
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        program.say("commit\n");
        assert_eq!(program.end(), Some(0));
        assert!(place.holds(NEW));
    }
}

#[test]
fn a_prepared_program_that_hears_nothing_ends_itself_and_takes_the_key_with_it() {
    let impatient = SOURCE.replace("idle=600 nap=10", "idle=1 nap=1");
    assert_ne!(impatient, SOURCE);
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let mut program = Program::start_source(shell, &impatient, &[place.bundle(NEW)], &[]);
        program.prepared();
        assert_eq!(program.answer(), None, "it ends although stdin is open");
        wait_for(|| !place.path("ssl/.certd").exists());
    }
}

#[test]
fn p03_a_prepared_program_that_is_told_to_end_removes_what_it_staged_and_a_killed_one_is_cleaned_up_behind() {
    let nervous = SOURCE.replace("nap=10", "nap=1");
    assert_ne!(nervous, SOURCE);
    for shell in SHELLS {
        for signal in ["-TERM", "-HUP", "-KILL"] {
            let place = Place::new().with(OLD);
            let mut program = Program::start_source(shell, &nervous, &[place.bundle(NEW)], &[]);
            program.prepared();
            let id = program.id().to_string();
            assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
            assert_eq!(program.answer(), None, "{shell:?} {signal}");
            wait_for(|| !place.path("ssl/.certd").exists());
            assert!(place.holds(OLD));
        }
    }
}

#[test]
fn what_a_zombie_staged_is_removed_by_the_next_dialogue_and_what_a_living_program_staged_is_not() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        program.commit();
        program.say("done\n");
        program.end();
        let mut dead = Command::new("true").spawn().unwrap();
        // Nobody waits for it yet.
        let state = format!("/proc/{}/stat", dead.id());
        wait_for(|| fs::read_to_string(&state).unwrap().contains(") Z "));
        let mut living = Command::new("sleep").arg("60").spawn().unwrap();
        let staged = [dead.id(), living.id()].map(|id| place.own().join(format!(".new-{id}-0123")));
        staged.iter().for_each(|folder| fs::create_dir(folder).unwrap());
        let mut program = Program::start(shell, &[place.bundle(NEXT)]);
        program.prepared();
        let left = staged.each_ref().map(|folder| folder.exists());
        program.end();
        living.kill().unwrap();
        living.wait().unwrap();
        dead.wait().unwrap();
        assert_eq!(left, [false, true], "{shell:?}");
    }
}

#[test]
fn two_signals_in_a_row_leave_no_key_behind() {
    // systemd ends a session with TERM and HUP, its watchdog with it.
    let slow = SOURCE.replace("rubble() { rm", "rubble() { : >\"$stage_dir.x\"; sleep 1; rm -f \"$stage_dir.x\"; rm");
    assert_ne!(slow, SOURCE);
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let mut program = Program::start_source(shell, &slow, &[place.bundle(NEW)], &[]);
        program.prepared();
        let kill = |signal: &str, id: u32| {
            let id = id.to_string();
            Command::new("kill").args([signal, &id]).status().unwrap().success()
        };
        assert!(kill("-TERM", program.id()));
        wait_for(|| place.kept().iter().any(|name| name.ends_with(".x")));
        assert!(kill("-HUP", program.id()));
        assert_eq!(program.end(), Some(10), "{shell:?}");
        assert!(!place.path("ssl/.certd").exists(), "{shell:?} {:?}", place.kept());
    }
}
