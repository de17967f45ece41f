//! The node program by itself, under dash, busybox ash and bash.

mod backups;
mod children;
mod contact;
mod ended;
mod exposure;
mod files;
mod forms;
mod killed;
mod locks;
mod looks;
mod odd;
mod refusals;
mod torn;

use crate::lab::node_program::bench;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use bench::{Fake, NAME, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, deliver, reply};

#[test]
fn first_contact_takes_plain_files_over_with_their_owner_and_mode_and_keeps_what_was_found() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        std::os::unix::fs::chown(&place.key, Some(0), Some(33)).unwrap();
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} found\noutput\n"));
        assert!(place.holds(OLD), "nothing changes before the commit");
        assert!(!place.key.is_symlink());
        assert_eq!(program.commit(), reply("committed"));
        program.say("done\n");
        assert_eq!(program.end(), Some(0));
        assert!(place.holds(NEW));
        assert_eq!(place.log(), "test, test, test, reload n", "as it was, with links, with ours");
        assert_eq!(place.kept(), ["0-found", NEW.1, "current", "previous"]);
        let key = fs::metadata(&place.key).unwrap();
        assert_eq!((key.mode() & 0o7777, key.uid(), key.gid()), (0o640, 0, 33));
        assert_eq!(fs::read_to_string(place.own().join("0-found/privkey.pem")).unwrap(), OLD.key());
    }
}

#[test]
fn a_new_node_gets_files_that_are_0644_and_0600() {
    for shell in SHELLS {
        let place = Place::new();
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        let body = program.prepared();
        assert!(body.starts_with(&format!("test failed\nbase {NAME} nothing\noutput\n")), "{body}");
        assert_eq!(program.commit(), reply("committed"));
        assert!(place.holds(NEW));
        assert_eq!(fs::metadata(&place.key).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::metadata(&place.chain).unwrap().mode() & 0o7777, 0o644);
        assert_eq!(fs::metadata(place.own()).unwrap().mode() & 0o7777, 0o755);
    }
}

#[test]
fn what_is_there_already_is_unchanged_and_a_commit_then_only_tests_and_reloads() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        place.log();
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} unchanged\noutput\n"));
        assert_eq!(program.commit(), reply("committed"));
        assert_eq!(place.log(), "test, test, reload n");
        place.tell("broken");
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        assert_eq!(program.commit().0, "broken-before");
        assert!(place.holds(NEW));
    }
}

#[test]
fn who_writes_through_our_links_is_found_out_by_the_content_and_put_right() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        fs::write(&place.chain, OLD.chain()).unwrap();
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert!(program.prepared().contains(&format!("base {NAME} managed {}", NEW.1)));
        assert_eq!(program.commit(), reply("committed"));
        assert!(place.holds(NEW));
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        assert!(place.holds(NEXT));
    }
}

#[test]
fn a_missing_or_mismatched_file_is_repaired() {
    for shell in SHELLS {
        for missing in ["chain", "key"] {
            let place = Place::new().with(OLD);
            fs::remove_file(if missing == "chain" { &place.chain } else { &place.key }).unwrap();
            assert_eq!(deliver(shell, &place, NEW), reply("committed"), "{missing}");
            assert!(place.holds(NEW));
            fs::remove_file(if missing == "chain" { &place.chain } else { &place.key }).unwrap();
            assert_eq!(deliver(shell, &place, NEXT), reply("committed"), "{missing}");
            assert!(place.holds(NEXT));
        }
        let place = Place::new().with(OLD);
        fs::write(&place.key, NEW.key()).unwrap();
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert!(program.prepared().starts_with("test failed\n"));
        assert_eq!(program.commit(), reply("committed"));
        assert!(place.holds(NEW));
    }
}

#[test]
fn n02_a_certificate_that_the_server_does_not_take_is_rolled_back_with_the_commands_words() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        place.tell("broken-n");
        let (verb, words) = deliver(shell, &place, NEW);
        assert_eq!((verb.as_str(), words.as_str()), ("rolled-back", "[emerg] broken with n"));
        assert!(place.holds(OLD));
        assert_eq!(place.log(), "test, test, test, test, reload o");
        place.untell("broken-n");
        place.tell("stopped-n");
        let (verb, words) = deliver(shell, &place, NEW);
        assert_eq!((verb.as_str(), words.as_str()), ("rolled-back", "invalid PID number"));
        assert!(place.holds(OLD));
        place.untell("stopped-n");
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
    }
}

#[test]
fn n01_a_configuration_that_was_broken_before_us_keeps_what_was_there() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        place.tell("broken");
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test failed\nbase {NAME} found\noutput\n[emerg] broken with o"));
        assert_eq!(program.commit(), ("broken-before".to_owned(), "[emerg] broken with n".to_owned()));
        assert_eq!(program.end(), Some(20));
        assert!(place.holds(OLD));
    }
}

#[test]
fn where_there_was_no_pair_ours_stays_although_the_configuration_is_broken() {
    for shell in SHELLS {
        let place = Place::new();
        place.tell("broken");
        assert_eq!(deliver(shell, &place, NEW).0, "broken-before");
        assert!(place.holds(NEW));
    }
}

#[test]
fn n05_a_server_that_does_not_run_gets_its_files_and_is_not_started() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        place.tell("stopped");
        let (verb, words) = deliver(shell, &place, NEW);
        assert_eq!((verb.as_str(), words.as_str()), ("placed", "invalid PID number"));
        assert!(place.holds(NEW));
        let place = Place::new();
        place.tell("stopped");
        assert_eq!(deliver(shell, &place, NEW).0, "placed");
        assert!(place.holds(NEW));
    }
}

#[test]
fn a_rollback_goes_back_only_while_what_is_there_is_ours() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        program.commit();
        place.log();
        program.say("rollback\n");
        assert_eq!(program.answer(), Some(("back".to_owned(), String::new())));
        assert!(place.holds(OLD));
        assert_eq!(place.log(), "test, reload o");

        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        program.commit();
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        program.say("rollback\n");
        assert_eq!(program.answer().unwrap().0, "kept");
        assert!(place.holds(NEXT));
    }
}

#[test]
fn several_certificates_are_one_switch_each_one_test_and_one_reload_all_or_none() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let second = place.path("second");
        fs::create_dir(&second).unwrap();
        let bundles = |fake| {
            let (chain, key) = (second.join("c.pem"), place.path("ssl/second.key"));
            [place.bundle(fake), place.bundle_of("second", fake, &chain, &key)]
        };
        let mut program = Program::start(shell, &bundles(NEW));
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} found\nbase second nothing\noutput\n"));
        assert_eq!(program.commit(), reply("committed"));
        assert_eq!(place.log(), "test, test, test, reload n");
        assert!(place.holds(NEW));
        assert_eq!(fs::read_to_string(second.join("c.pem")).unwrap(), NEW.chain());
        let link = fs::read_link(place.path("ssl/second.key")).unwrap();
        assert_eq!(link.to_str(), Some("../second/.certd/second/current/privkey.pem"), "a key in a folder of its own");
        place.tell("broken-x");
        let mut program = Program::start(shell, &bundles(NEXT));
        program.prepared();
        assert_eq!(program.commit().0, "rolled-back");
        assert!(place.holds(NEW));
        assert_eq!(fs::read_to_string(second.join("c.pem")).unwrap(), NEW.chain());
        assert_eq!(fs::read_to_string(place.path("ssl/second.key")).unwrap(), NEW.key());
    }
}

#[test]
fn a_certificate_may_have_any_name_that_the_configuration_allows() {
    for shell in SHELLS {
        for name in ["lock", "lock.held", "current", "0-found", "_"] {
            let place = Place::new();
            let bundle = place.bundle_of(name, NEW, &place.chain, &place.key);
            let mut program = Program::start(shell, &[bundle]);
            program.prepared();
            assert_eq!(program.commit(), reply("committed"), "{name}");
        }
    }
}

#[test]
fn every_folder_above_the_staged_files_is_on_disk_before_anything_leads_there() {
    let noted = SOURCE.replace("flush() { ", "flush() { for v; do echo \"$v\" >>\"${base_dir%/*}/synced\"; done; ");
    assert_ne!(noted, SOURCE);
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let mut program = Program::start_source(shell, &noted, &[place.bundle(NEW)], &[]);
        program.prepared();
        let synced = fs::read_to_string(place.path("synced")).unwrap();
        for folder in [place.own(), place.path("ssl/.certd")] {
            assert!(synced.lines().any(|line| line == folder.to_str().unwrap()), "{} in {synced}", folder.display());
        }
    }
}

#[test]
fn what_cannot_be_undone_keeps_its_intent_and_a_later_dialogue_undoes_it() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        // A folder in the way of the link that is to be renamed.
        let next = place.own().join("next");
        let when = format!("read -r a x <{}; [ $x = o ]", place.chain.display());
        place.script("test", &format!("{when} || {{ mkdir -p {}/x; exit 1; }}", next.display()));
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        let refused = |(verb, body): (String, String)| {
            assert_eq!(verb, "refused", "{body}");
            assert!(body.starts_with(&format!("path {}/current\n", place.own().display())), "{body}");
            assert!(place.own().join("intent").exists());
        };
        refused(program.commit());
        assert_eq!(program.end(), Some(20));
        refused(deliver(shell, &place, NEXT));
        fs::remove_dir_all(&next).unwrap();
        place.script("test", &when);
        let mut program = Program::start(shell, &[place.bundle(NEXT)]);
        assert!(program.prepared().starts_with("test ok\n"));
        assert!(place.holds(OLD) && !place.own().join("intent").exists());
    }
}

#[test]
fn a_rollback_that_fails_does_not_say_that_it_went_back() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        program.commit();
        fs::create_dir_all(place.own().join("next/x")).unwrap();
        program.say("rollback\n");
        let (verb, body) = program.answer().unwrap();
        assert_eq!(verb, "refused", "{body}");
        assert!(body.starts_with(&format!("path {}/current\n", place.own().display())), "{body}");
        assert!(place.holds(NEW));
    }
}

#[test]
fn two_generations_are_kept_and_what_was_found_first() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        for fake in [NEW, NEXT, Fake('y', "20261123061502-0d"), Fake('z', "20261123061503-0e")] {
            assert_eq!(deliver(shell, &place, fake), reply("committed"));
        }
        // The next preparation prunes, and the dead program's rubbish too.
        fs::create_dir(place.own().join(".new-999999999-dead")).unwrap();
        let mut program = Program::start(shell, &[place.bundle(NEXT)]);
        assert_eq!(program.answer().unwrap().0, "refused");
        program.end();
        let kept = ["0-found", "20261123061502-0d", "20261123061503-0e", "current", "previous"];
        assert_eq!(place.kept(), kept);
    }
}

#[test]
fn a_digest_that_does_not_fit_is_refused() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let damaged = place.bundle(NEW).replace("key n\n", "key m\n");
        let (verb, body) = Program::start(shell, &[damaged]).answer().unwrap();
        assert_eq!(verb, "refused");
        assert!(body.starts_with("unfit n.example: what was written differs"), "{body}");
        assert!(place.holds(OLD));
    }
}

#[test]
fn folders_are_0755_whatever_the_login_says() {
    let place = Place::new().with(OLD);
    fs::set_permissions(place.path("ssl"), fs::Permissions::from_mode(0o700)).unwrap();
    deliver(SHELLS[0], &place, NEW);
    assert_eq!(fs::metadata(place.own().join(NEW.1)).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn p09_links_that_somebody_made_files_of_are_made_again_though_the_content_is_right() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        for path in [&place.chain, &place.key] {
            let content = fs::read(path).unwrap();
            fs::remove_file(path).unwrap();
            fs::write(path, content).unwrap();
        }
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        assert!(place.holds(NEW));
        assert!(place.chain.is_symlink() && place.key.is_symlink());
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} unchanged\noutput\n"));
        program.commit();
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        assert!(place.holds(NEXT));
    }
}
