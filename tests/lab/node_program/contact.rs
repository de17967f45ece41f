//! What happens to files and links that certd finds: they are taken over without a reader noticing, and come back as they
//! were, to the nanosecond, when that comes to nothing.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use super::bench::{Fake, NAME, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, deliver, has, reply, timeless};

/// Files with all that can be special about one: odd times, a second name, another owner and group, an ACL.
fn special(place: Place) -> Place {
    let place = place.with(OLD);
    let script = "chown 0:33 \"$1\" && chmod 640 \"$1\" && setfacl -m u:65534:r \"$1\" && ln \"$1\" \"$2\" && \
                  touch -d '2020-02-03 04:05:06.123456789' \"$1\"";
    let second = place.path("second-name");
    let status = Command::new("sh").args(["-c", script, "sh"]).args([&place.key, &second]).status();
    assert!(status.unwrap().success());
    place
}

/// The ways in which a first contact can come to nothing: what tells the commands so, and what the node answers.
const FAILURES: [(&str, &str); 4] =
    [("no-links", "refused"), ("broken-n", "rolled-back"), ("stopped-n", "rolled-back"), ("", "back")];

#[test]
fn a_first_contact_that_comes_to_nothing_leaves_everything_as_it_was_found() {
    for shell in SHELLS {
        for (number, (fault, verb)) in FAILURES.into_iter().cycle().take(8).enumerate() {
            let mut place = special(if number % 2 == 0 { Place::new() } else { Place::apart() });
            place.in_place = number >= 4 && fault != "no-links";
            if !fault.is_empty() {
                place.tell(fault);
            }
            let before = place.all();
            // The reload keeps the time that it sees.
            let at = place.dir.path().display();
            let reload = fs::read_to_string(place.path("reload")).unwrap();
            place.script(
                "reload",
                &format!("[ -e {at}/stopped ] || stat -Lc %Y {at}/ssl/chain.pem >>{at}/stopped-at\n{reload}"),
            );
            let mut program = Program::start(shell, &[place.bundle(NEW)]);
            program.prepared();
            let (mut answer, words) = program.commit();
            let seen = fs::read_to_string(place.path("stopped-at")).unwrap_or_default();
            let second = seen.lines().next().map_or(0, |second| second.parse::<i64>().unwrap());
            if fault.is_empty() {
                assert_eq!(answer, "committed", "{words}");
                program.say("rollback\n");
                answer = program.answer().unwrap().0;
            }
            assert_eq!(answer, verb, "{shell:?} {fault} {words}");
            program.end();
            // After a reload the server may have read ours, and take nothing that is not later.
            if matches!(fault, "stopped-n" | "") {
                assert_eq!(timeless(&place.all()), timeless(&before), "{shell:?} {fault}");
                for path in [&place.chain, &place.key] {
                    assert!(stamp(path).1 > second, "{shell:?} {fault} {}: not later than {second}", path.display());
                }
            } else {
                assert_eq!(place.all(), before, "{shell:?} {fault}");
            }
        }
    }
}

#[test]
fn a_server_that_does_not_follow_links_is_told_and_the_certificate_is_not_blamed() {
    for shell in SHELLS {
        let place = Place::apart().with(OLD);
        place.tell("no-links");
        assert_eq!(
            deliver(shell, &place, NEW),
            ("refused".to_owned(), format!("links {}\nno such file", place.key.display()))
        );
        assert_eq!(place.log(), "test, test, test", "as it was, with links, as it was; and no reload");
        // With links that it follows, and a key in a folder of its own.
        place.untell("no-links");
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        let link = fs::read_link(&place.key).unwrap();
        assert_eq!(link.to_str(), Some(format!("../ssl/.certd/{NAME}/current/privkey.pem").as_str()));
    }
}

#[test]
fn links_of_both_folders_are_followed_where_the_tree_is_seen_under_another_path() {
    for shell in SHELLS {
        let place = Place::apart().with(OLD);
        // By way of a link, which leads elsewhere in there.
        let way = place.path("way");
        std::os::unix::fs::symlink("private", &way).unwrap();
        let bundle = |fake| place.bundle_of(NAME, fake, &place.chain, &way.join("key.pem"));
        let copy = place.path("copy");
        for fake in [NEW, NEXT] {
            let mut program = Program::start(shell, &[bundle(fake)]);
            program.prepared();
            assert_eq!(program.commit(), reply("committed"));
            program.say("done\n");
            program.end();
            let _ = fs::remove_dir_all(&copy);
            fs::create_dir(&copy).unwrap();
            let seen =
                Command::new("cp").arg("-a").args([place.path("ssl"), place.path("private")]).arg(&copy).status();
            assert!(seen.unwrap().success());
            assert_eq!(fs::read_to_string(copy.join("private/key.pem")).unwrap(), fake.key());
            assert_eq!(fs::read_to_string(copy.join("ssl/chain.pem")).unwrap(), fake.chain());
            assert!(
                fs::canonicalize(copy.join("private/key.pem")).unwrap().starts_with(fs::canonicalize(&copy).unwrap())
            );
        }
    }
}

#[test]
fn a_test_that_passed_before_and_fails_since_is_never_called_broken_before() {
    for shell in SHELLS {
        for managed in [false, true] {
            let place = Place::new().with(OLD);
            if managed {
                deliver(shell, &place, NEW);
            }
            // From the first look at the new pair on it fails, whatever is there.
            let at = place.dir.path().display();
            place.script(
                "test",
                &format!("read -r a x <{at}/ssl/chain.pem; [ $x != x ] || : >{at}/worn; [ ! -e {at}/worn ]"),
            );
            let before = place.pair();
            assert_eq!(deliver(shell, &place, NEXT).0, "rolled-back", "{managed}");
            assert_eq!(place.pair(), before);
        }
    }
}

#[test]
fn what_is_neither_empty_nor_of_the_kind_of_its_path_is_not_taken_over_and_a_look_says_so() {
    let shadow = "root:$y$j9T$abc:19000:0:99999:7:::\n";
    for shell in SHELLS {
        for (key, content, why) in [
            (false, shadow.to_owned(), "is neither empty nor PEM"),
            (true, shadow.to_owned(), "is neither empty nor PEM"),
            (true, "\u{0}\u{1}binary".to_owned(), "is neither empty nor PEM"),
            (false, OLD.key(), "holds no CERTIFICATE, but a PRIVATE KEY; are the paths swapped"),
            (true, OLD.chain(), "holds no PRIVATE KEY, but a CERTIFICATE; are the paths swapped"),
            (true, "-----BEGIN DH PARAMETERS-----\n".to_owned(), "holds no PRIVATE KEY; correct the path"),
        ] {
            let place = Place::new().with(OLD);
            let path = if key { &place.key } else { &place.chain };
            fs::write(path, &content).unwrap();
            let before = place.all();
            let mut program = Program::start(shell, &[place.bundle(NEW)]);
            let (verb, body) = program.answer().unwrap();
            assert_eq!(verb, "refused", "{body}");
            program.end();
            assert!(body.starts_with(&format!("path {}\n{why}", path.display())), "{body}");
            assert_eq!(place.all(), before);
            let (_, body) = Program::look(shell, SOURCE, &[place.wanted(NEW)], &[]);
            let file = if key { "privkey" } else { "fullchain" };
            assert!(body.contains(&format!("at {NAME} {file} foreign {why}")), "{body}");
        }
        let place = Place::new().with(OLD);
        fs::write(&place.key, "").unwrap();
        assert_eq!(deliver(shell, &place, NEW), reply("committed"), "an empty file asks to be filled");
        // For a key in its old form too, and one with a certificate before it.
        for old in
            ["-----BEGIN EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\n".to_owned(), OLD.chain() + &OLD.key()]
        {
            let place = Place::new().with(OLD);
            fs::write(&place.key, old).unwrap();
            assert_eq!(deliver(shell, &place, NEW).0, "committed");
        }
    }
}

#[test]
fn a_renamed_certificate_takes_its_files_over_with_its_fence_and_leaves_no_key_behind() {
    for shell in SHELLS {
        let place = Place::apart().with(OLD);
        deliver(shell, &place, NEXT);
        let named = |name: &str, fake| place.bundle_of(name, fake, &place.chain, &place.key);
        let run = |bundle: String| {
            let mut program = Program::start(shell, &[bundle]);
            let (verb, body) = program.answer().unwrap();
            if verb != "prepared" {
                program.end();
                return (verb, body);
            }
            let reply = program.commit();
            program.say("done\n");
            program.end();
            reply
        };
        let all = || {
            let links = [&place.chain, &place.key].map(|path| fs::read_link(path).unwrap());
            (links, place.kept(), fs::read_dir(place.path("ssl/.certd")).unwrap().count(), place.pair())
        };
        let run = |bundle: String| {
            let reply = run(bundle);
            let _ = fs::remove_file(place.path("ssl/.certd/.lock"));
            reply
        };
        let _ = fs::remove_file(place.path("ssl/.certd/.lock"));
        let before = all();
        assert_eq!(run(named("new.example", NEW)), ("refused".into(), "newer new.example 20261123061501".into()));
        // One that the server does not take: the old links and the old folder are back.
        let bad = Fake('b', "20261123061502-0d");
        place.tell("broken-b");
        assert_eq!(run(named("new.example", bad)).0, "rolled-back");
        assert_eq!(all(), before);
        let good = Fake('g', "20261123061503-0e");
        let mut program = Program::start(shell, &[named("new.example", good)]);
        assert!(program.prepared().contains(&format!("base new.example managed {}\n", NEXT.1)));
        assert_eq!(program.commit(), reply("committed"));
        // Until it is proven, the way back is there.
        assert!(place.own().exists());
        program.say("done\n");
        program.end();
        assert!(!place.own().exists(), "the old folder had keys in it");
        assert_eq!(fs::read_to_string(&place.chain).unwrap(), good.chain());
        assert_eq!(fs::read_to_string(&place.key).unwrap(), good.key());
        let link = fs::read_link(&place.chain).unwrap();
        assert_eq!(link.to_str(), Some(".certd/new.example/current/fullchain.pem"));
        assert_eq!(run(named("third.example", NEXT)).1, "newer third.example 20261123061503", "the fence holds");
    }
}

#[test]
fn a_path_that_was_changed_is_linked_anew_and_keys_that_may_still_be_read_are_named() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEW);
        let other = place.path("other");
        fs::create_dir(&other).unwrap();
        let bundle = |fake| place.bundle_of(NAME, fake, &other.join("chain.pem"), &place.key);
        place.script("test", "exit 0");
        assert_eq!(Program::start(shell, &[bundle(OLD)]).answer().unwrap().0, "refused", "the fence moves along");
        let mut program = Program::start(shell, &[bundle(NEXT)]);
        program.prepared();
        assert_eq!(program.commit(), reply("committed"));
        program.say("done\n");
        program.end();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!((read(&other.join("chain.pem")), read(&place.key)), (NEXT.chain(), NEXT.key()));
        // The server may still read the former path.
        assert_eq!(read(&place.chain), NEW.chain());
        let wanted = place
            .wanted(NEXT)
            .replace(&place.chain.display().to_string(), &other.join("chain.pem").display().to_string());
        let (_, body) = Program::look(shell, SOURCE, &[wanted], &[]);
        assert!(body.contains(&format!("\nleft {}\n", place.own().display())), "{body}");
        // And of a certificate that nobody asks about.
        let wanted = place.wanted(NEW).replace(NAME, "other.example");
        let (_, body) = Program::look(shell, SOURCE, &[wanted], &[]);
        assert!(body.contains(&format!("\nleft {}\n", place.own().display())), "{body}");
    }
}

#[test]
fn a_link_into_a_folder_of_ours_that_others_could_have_made_is_refused() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let theirs = place.path("theirs/.certd/x");
        fs::create_dir_all(theirs.join("20270101000000-0a")).unwrap();
        std::os::unix::fs::symlink("20270101000000-0a", theirs.join("current")).unwrap();
        fs::write(theirs.join("current/privkey.pem"), OLD.key()).unwrap();
        fs::remove_file(&place.key).unwrap();
        std::os::unix::fs::symlink(theirs.join("current/privkey.pem"), &place.key).unwrap();
        std::os::unix::fs::chown(&theirs, Some(33), Some(33)).unwrap();
        let (verb, body) = deliver(shell, &place, NEW);
        assert_eq!(verb, "refused");
        assert!(body.ends_with("belongs to user 33, who could swap what is in it"), "{body}");
        std::os::unix::fs::chown(&theirs, Some(0), Some(0)).unwrap();
        assert_eq!(deliver(shell, &place, NEW).1, format!("newer {NAME} 20270101000000"), "and root's is ours");
    }
}

/// What a server may compare: the inode, and the time in whole seconds.
fn stamp(path: &Path) -> (u64, i64) {
    let file = fs::metadata(path).unwrap();
    (file.ino(), file.mtime())
}

#[test]
fn whatever_is_put_in_place_has_a_time_that_no_server_can_have_seen_there() {
    for shell in SHELLS {
        for (in_place, apart) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut place = if apart { Place::apart() } else { Place::new() }.with(OLD);
            place.in_place = in_place;
            // Times of files are the kernel's, which need not be the clock's (tests/moved_clock.sh): a file just written has
            // them.
            let written = place.path("written").display().to_string();
            let source = SOURCE.replace("now=$(date +%s)", &format!("now=$(: >'{written}' && stat -c %Y '{written}')"));
            assert_ne!(source, SOURCE);
            let start = |place: &Place, fake: Fake| {
                let mut program = Program::start_source(shell, &source, &[place.bundle(fake)], &[]);
                program.prepared();
                program
            };
            // What was found is of this second, or of one that is yet to come.
            if in_place {
                let mut ahead = Command::new("touch");
                ahead.arg("-r").arg(&place.key).args(["-d", "+1 hour"]).args([&place.chain, &place.key]);
                assert!(ahead.status().unwrap().success());
            }
            let mut seen = vec![[stamp(&place.chain), stamp(&place.key)]];
            let mut now = |what: &str| {
                let stamps = [stamp(&place.chain), stamp(&place.key)];
                for (file, stamp) in stamps.iter().enumerate() {
                    let later = seen.iter().all(|before| before[file].1 < stamp.1);
                    assert!(later, "{shell:?} {in_place} {apart} {what}: {seen:?}, then {stamps:?}");
                }
                seen.push(stamps);
            };
            let mut program = start(&place, NEW);
            program.commit();
            program.say("done\n");
            program.end();
            now("a first delivery");
            let mut program = start(&place, NEXT);
            program.commit();
            now("the next");
            program.say("rollback\n");
            assert_eq!(program.answer().unwrap().0, "back");
            now("a rollback");
            program.end();
            place.tell("broken-y");
            let mut program = start(&place, Fake('y', "20261123061502-0d"));
            assert_eq!(program.commit().0, "rolled-back");
            program.end();
            now("a refusal");
            // A reload that always fails: back, and forth again.
            place.tell("stopped");
            let mut program = start(&place, Fake('z', "20261123061503-0e"));
            assert_eq!(program.commit().0, "placed");
            program.end();
            now("a way back that was none");
        }
    }
}

#[test]
fn a_lock_that_its_holder_takes_away_is_no_lock_to_who_waited_for_it() {
    for shell in SHELLS.into_iter().filter(|shell| has(shell, "flock")) {
        let place = Place::new().with(OLD);
        place.tell("broken-n");
        let mut first = Program::start(shell, &[place.bundle(NEW)]);
        first.prepared();
        assert_eq!(first.commit().0, "rolled-back");
        first.end();
        assert!(!place.path("ssl/.certd").exists());
        // Opened under its old name by one that goes on only when it is gone.
        let at = place.dir.path().display();
        let point = "until flock -n 9; do";
        let stop =
            format!("[ -e {at}/came ] || {{ : >{at}/came; until [ -e {at}/go ]; do sleep 0.02; done; }}; {point}");
        let source = SOURCE.replacen(point, &stop, 1);
        assert_ne!(source, SOURCE);
        let mut second = Program::start_source(shell, &source, &[place.bundle(NEXT)], &[]);
        second.prepared();
        second.say("commit\n");
        super::bench::wait_for(|| place.path("came").exists());
        let lock = place.path("ssl/.certd/.lock");
        if lock.exists() {
            fs::remove_file(&lock).unwrap();
        }
        place.tell("go");
        assert_eq!(second.answer().unwrap().0, "committed");
        assert!(lock.exists(), "made anew, and held");
        assert_eq!(fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
