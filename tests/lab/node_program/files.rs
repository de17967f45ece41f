//! Consumers that want more than the pair: the chain alone, or key and chain in one file. They follow `current` as the
//! pair does. And files that cannot be replaced, and are written over.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::bench::{Fake, NAME, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, deliver, hex, reply};

#[test]
fn more_files_follow_the_same_link_and_are_of_one_generation_with_the_pair() {
    for shell in SHELLS {
        let place = Place::new().with(OLD).with_more(Some(OLD));
        std::os::unix::fs::chown(place.path("ssl/combined.pem"), Some(0), Some(33)).unwrap();
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} found\noutput\n"));
        assert_eq!(program.commit(), reply("committed"));
        assert!(place.holds(NEW));
        for name in ["chain-alone.pem", "combined.pem"] {
            let to = fs::read_link(place.path("ssl").join(name)).unwrap();
            assert!(to.starts_with(format!(".certd/{NAME}/current")), "{}", to.display());
        }
        let combined = fs::metadata(place.path("ssl/combined.pem")).unwrap();
        assert_eq!((combined.mode() & 0o7777, combined.gid()), (0o640, 33), "as the one that was there");
        assert_eq!(fs::metadata(place.path("ssl/chain-alone.pem")).unwrap().mode() & 0o7777, 0o644);
        assert!(place.own().join("0-found/combined.pem").exists() && !place.own().join("0-found/chain.pem").exists());
        program.say("rollback\n");
        assert_eq!(program.answer(), Some(reply("back")));
        let combined = fs::read_to_string(place.path("ssl/combined.pem")).unwrap();
        assert!(combined.starts_with(&OLD.combined()), "{combined}");
    }
}

#[test]
fn files_that_are_wanted_later_come_beside_a_pair_that_is_there() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        let place = place.with_more(None);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} managed {}\noutput\n", NEW.1));
        assert_eq!(program.commit(), reply("committed"));
        program.end();
        assert!(place.holds(NEW));
        assert_eq!(fs::metadata(place.path("ssl/combined.pem")).unwrap().mode() & 0o7777, 0o600);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} unchanged\noutput\n"));
        program.end();
        // A write to one of them alone is found too.
        fs::write(place.path("ssl/combined.pem"), OLD.combined()).unwrap();
        let (_, body) = Program::look(shell, SOURCE, &[place.wanted(NEW)], &[]);
        assert!(body.contains("at n.example combined link\n") && body.contains("same n.example no\n"), "{body}");
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        assert!(place.holds(NEW));
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        assert!(place.holds(NEXT));
    }
}

#[test]
fn a_file_with_the_key_in_it_is_no_wider_than_one_that_held_a_key_before() {
    for shell in SHELLS {
        let place = Place::new().with(OLD).with_more(None);
        // A chain for everybody was there, under the same name.
        fs::write(place.path("ssl/combined.pem"), OLD.chain()).unwrap();
        place.script("test", "exit 0");
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        assert_eq!(fs::metadata(place.path("ssl/combined.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_combined_file_has_the_chain_first_where_the_configuration_says_so() {
    for shell in SHELLS {
        let place = Place::new().with(OLD).with_more(None);
        let chain_first = NEW.chain() + &NEW.key();
        let bundle = place.bundle(NEW).replace(&hex(&NEW.combined()), &hex(&chain_first));
        // The test of this place reads the first line of it for the letter, and both begin with one.
        let bundle = bundle.replacen("\ntest ", "\nchain-first yes\ntest ", 1);
        let mut program = Program::start(shell, &[bundle]);
        program.prepared();
        assert_eq!(program.commit(), reply("committed"));
        assert_eq!(fs::read_to_string(place.path("ssl/combined.pem")).unwrap(), chain_first, "{shell:?}");
    }
}

#[test]
fn a_digest_of_a_further_file_that_does_not_fit_is_refused() {
    for shell in SHELLS {
        let place = Place::new().with(OLD).with_more(None);
        let bundle = place.bundle(NEW);
        let (most, _) = bundle.trim_end().rsplit_once('\n').unwrap();
        for damaged in [format!("{most}\n"), format!("{most}\nsum 0123\n")] {
            let mut program = Program::start(shell, &[damaged]);
            let (verb, body) = program.answer().unwrap();
            assert!(verb == "refused" && body.contains("what was written differs"), "{verb} {body}");
            program.end();
        }
        assert!(!place.path("ssl/.certd").exists());
    }
}

/// Written over, one after the other.
fn in_place() -> Place {
    let mut place = Place::new().with(OLD).with_more(Some(OLD));
    place.in_place = true;
    place
}

#[test]
fn in_place_a_file_keeps_its_inode_and_there_is_a_way_back() {
    for shell in SHELLS {
        let place = in_place();
        let inode = || fs::symlink_metadata(&place.key).unwrap().ino();
        let before = inode();
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} found\noutput\n"));
        assert!(place.holds(NEW) || !place.path("ssl/chain-alone.pem").exists(), "nothing before the commit");
        assert_eq!(program.commit(), reply("committed"));
        assert!(place.holds(NEW) && !place.key.is_symlink() && !place.chain.is_symlink());
        assert_eq!(inode(), before);
        program.say("rollback\n");
        assert_eq!(program.answer(), Some(reply("back")));
        assert_eq!(fs::read_to_string(&place.key).unwrap(), OLD.key());
        assert!(!place.path("ssl/chain-alone.pem").exists(), "it was not there before");
        program.end();

        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} unchanged\noutput\n"));
        program.end();
        let mut program = Program::start(shell, &[place.bundle(NEXT)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} managed {}\noutput\n", NEW.1));
        assert_eq!(program.commit(), reply("committed"));
        program.end();
        assert!(place.holds(NEXT));
        assert_eq!(Program::start(shell, &[place.bundle(NEW)]).answer().unwrap().0, "refused", "the fence holds");
        place.tell("broken-y");
        assert_eq!(deliver(shell, &place, Fake('y', "20261123061502-0d")).0, "rolled-back");
        assert!(place.holds(NEXT));
        assert_eq!(inode(), before);
    }
}

#[test]
fn links_and_writing_in_place_follow_each_other_as_the_configuration_says() {
    for shell in SHELLS {
        let mut place = Place::new().with(OLD);
        for (in_place, fake) in [(false, NEW), (true, NEXT), (false, Fake('y', "20261123061502-0d"))] {
            place.in_place = in_place;
            assert_eq!(deliver(shell, &place, fake), reply("committed"));
            assert!(place.holds(fake));
            assert_eq!(place.key.is_symlink(), !in_place);
            assert_eq!(fs::metadata(&place.key).unwrap().mode() & 0o7777, 0o640);
        }
    }
}

#[test]
fn links_become_files_that_are_written_over_although_their_content_is_there_already() {
    for shell in SHELLS {
        let mut place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        // A container that has the folder of the files alone sees links that lead nowhere.
        place.in_place = true;
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} managed {}\noutput\n", NEW.1));
        assert_eq!(program.commit(), reply("committed"));
        program.end();
        assert!(place.holds(NEW) && !place.key.is_symlink() && !place.chain.is_symlink(), "{shell:?}");
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.prepared(), format!("test ok\nbase {NAME} unchanged\noutput\n"));
    }
}

#[test]
fn a_rollback_in_place_that_is_killed_between_two_files_is_finished_by_the_next_dialogue() {
    for (number, shell) in SHELLS.into_iter().cycle().take(6).enumerate() {
        let mut place = Place::new().with(OLD);
        place.in_place = true;
        // Back to what was found first, or to what was delivered before.
        let (first, last, was) = if number < 3 { (None, NEW, "o") } else { (Some(NEW), NEXT, "n") };
        first.inspect(|fake| assert_eq!(deliver(shell, &place, *fake), reply("committed")));
        let at = place.dir.path().display();
        let kill =
            format!("{{ [ ! -e {at}/kill ] || [ \"${{file_path##*/}}\" = chain.pem ] || kill -9 0; }} && cat \"$");
        let writes = |file: &str| format!("cat \"${file}\" >\"$file_path\"");
        let source = ["current_file", "found_file"].iter().fold(SOURCE.to_owned(), |source, file| {
            source.replace(&writes(file), &writes(file).replace("cat \"$", &kill))
        });
        assert_eq!(source.matches("kill -9 0").count(), 2);
        let mut program = Program::start_source(shell, &source, &[place.bundle(last)], &[]);
        program.prepared();
        assert_eq!(program.commit(), reply("committed"));
        place.tell("kill");
        program.say("rollback\n");
        assert_eq!(program.answer(), None);
        let both = |chain: &str, key: &str| (Some(chain.to_owned()), Some(key.to_owned()));
        assert_eq!(place.pair(), both(was, &last.0.to_string()), "{shell:?}");
        let mut program = Program::start(shell, &[place.bundle(Fake('y', "20261123061502-0d"))]);
        program.prepared();
        assert_eq!(place.pair(), both(was, was), "{shell:?}");
        program.end();
    }
}

#[test]
fn an_older_generation_is_taken_when_it_is_said_and_only_then() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEXT);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        assert_eq!(program.answer(), Some(("refused".to_owned(), format!("newer {NAME} 20261123061501"))));
        let older = place.bundle(NEW).replace("generation ", "older yes\ngeneration ");
        let mut program = Program::start(shell, &[older]);
        program.prepared();
        assert_eq!(program.commit(), reply("committed"));
        assert!(place.holds(NEW));
        // Of several certificates, the word is for its own alone.
        deliver(shell, &place, NEXT);
        let other = place.bundle_of("other", OLD, &place.path("ssl/c"), &place.path("ssl/k"));
        let other = other.replace("generation ", "older yes\ngeneration ");
        let mut program = Program::start(shell, &[other, place.bundle(NEW)]);
        assert_eq!(program.answer().unwrap().0, "refused");
        assert!(place.holds(NEXT));
    }
}

#[test]
fn s24_a_program_of_another_version_refuses_in_words_that_name_both() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let other = SOURCE.replacen("certd=3\n", "certd=1\n", 1);
        let mut program = Program::start_source(shell, &other, &[place.bundle(NEW)], &[]);
        let (verb, body) = program.answer().expect("it bears the nonce of this dialogue");
        assert_eq!((verb.as_str(), &*body), ("refused", "unfit the node speaks version 1 of the protocol, not 3"));
        assert_eq!(program.end(), Some(20));
        assert!(place.holds(OLD));
    }
}
