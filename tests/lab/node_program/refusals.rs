//! What the program will not do, and that it says which path and why. What was there is still there, and nothing else.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use super::bench::{Fake, NAME, NEW, NEXT, OLD, Place, Program, SHELLS, deliver};

/// The body of the refusal of NEW, with the folder of the place taken out.
fn refused(shell: &[&str], place: &Place) -> String {
    let mut program = Program::start(shell, &[place.bundle(NEW)]);
    let (verb, body) = program.answer().expect("an answer");
    assert_eq!(verb, "refused", "{body}");
    assert_eq!(program.end(), Some(20));
    body.replace(&place.dir.path().display().to_string(), "")
}

#[test]
fn i9_an_older_generation_is_refused() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        deliver(shell, &place, NEXT);
        assert_eq!(refused(shell, &place), format!("newer {NAME} 20261123061501"));
        assert!(place.holds(NEXT));
        // A number of more digits is greater, whatever it begins with. An older certd may have left one.
        let own = place.own();
        fs::rename(own.join(NEXT.1), own.join("100000000000000000-0f")).unwrap();
        fs::remove_file(own.join("current")).unwrap();
        symlink("100000000000000000-0f", own.join("current")).unwrap();
        assert_eq!(refused(shell, &place), format!("newer {NAME} 100000000000000000"));
        assert!(place.holds(NEXT));
    }
}

#[test]
fn a_generation_whose_number_has_not_the_digits_of_a_second_is_refused() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        for generation in [
            "1-0f",
            "2026112306150-0f",
            "202611230615000-0f",
            "99999999999999999999-0f",
            "0026112306150a-0f",
            "00261123061500-0f",
            "-0f",
            "2026112306150a-0f",
            "20261123061500-0f-0f",
            "20261123061500-0F",
            "20261123061500-",
            "20261123061500",
            "",
        ] {
            let mut program = Program::start(shell, &[place.bundle(Fake('f', generation))]);
            let answer = program.answer();
            assert_eq!(
                answer,
                Some(("refused".to_owned(), "unfit a generation that is none".to_owned())),
                "{generation:?}"
            );
            program.end();
            assert!(place.holds(OLD));
        }
    }
}

#[test]
fn s25_what_changed_between_prepare_and_commit_is_not_overwritten() {
    for shell in SHELLS {
        for other in ["writer", "controller"] {
            let place = Place::new().with(OLD);
            let mut program = Program::start(shell, &[place.bundle(NEW)]);
            program.prepared();
            let theirs = Fake('t', "20261123061400-0d");
            match other {
                "writer" => fs::write(&place.chain, theirs.chain()).and(fs::write(&place.key, theirs.key())).unwrap(),
                _ => assert_eq!(deliver(shell, &place, theirs).0, "committed"),
            }
            assert_eq!(program.commit(), ("refused".to_owned(), format!("changed {NAME}")));
            program.end();
            assert!(place.holds(theirs));
        }
    }
}

#[test]
fn s15_a_folder_or_a_foreign_link_is_refused() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        fs::remove_file(&place.key).unwrap();
        fs::create_dir(&place.key).unwrap();
        assert_eq!(refused(shell, &place), "path /ssl/key.pem\nIs a directory");
        fs::remove_dir(&place.key).unwrap();
        symlink("/etc/hostname", &place.key).unwrap();
        let body = refused(shell, &place);
        assert!(body.starts_with("path /ssl/key.pem\nis a link to /etc/hostname, not made by certd"), "{body}");
        assert!(!place.path("ssl/.certd").exists());
    }
}

#[test]
fn s14_a_missing_folder_is_made_but_not_its_parents() {
    for shell in SHELLS {
        let place = Place::new();
        fs::remove_dir(place.path("ssl")).unwrap();
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        program.end();
        assert!(!place.path("ssl").exists(), "an aborted delivery leaves no folder");
        assert_eq!(deliver(shell, &place, NEW).0, "committed");
        let deep = place.path("a/b/c.pem");
        let bundle = place.bundle_of(NAME, NEW, &deep, &place.key);
        let (verb, body) = Program::start(shell, &[bundle]).answer().unwrap();
        assert_eq!(
            (verb.as_str(), body),
            ("refused", format!("path {}\nNo such file or directory", place.path("a/b").display()))
        );
    }
}

#[test]
fn a_folder_in_which_others_may_write_is_refused() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        mode_of(&place, 0o757);
        assert_eq!(refused(shell, &place), "path /ssl\nothers may write there (drwxr-xrwx)");
        mode_of(&place, 0o755);
        chown(place.path("ssl"), Some(33), Some(33)).unwrap();
        assert_eq!(refused(shell, &place), "path /ssl\nbelongs to user 33, who could swap what is in it");
        chown(place.path("ssl"), Some(0), Some(33)).unwrap();
        mode_of(&place, 0o775);
        assert_eq!(refused(shell, &place), "path /ssl\nothers may write there (drwxrwxr-x)");
        chown(place.path("ssl"), Some(0), Some(0)).unwrap();
        assert_eq!(refused(shell, &place), "path /ssl\nothers may write there (drwxrwxr-x)", "an ACL looks the same");
        // A sticky bit keeps others from replacing a file, not from making one first, whose owner ours would take.
        let place = Place::new();
        mode_of(&place, 0o1777);
        fs::write(&place.key, "").unwrap();
        chown(&place.key, Some(33), Some(33)).unwrap();
        assert_eq!(refused(shell, &place), "path /ssl\nothers may write there (drwxrwxrwt)");
    }
}

#[test]
fn a_folder_further_up_that_others_could_swap_is_refused_and_a_sticky_one_is_not() {
    for shell in SHELLS {
        let place = Place::new();
        let deep = place.path("a/b");
        fs::create_dir_all(&deep).unwrap();
        // By way of a link, whose end is looked at as well.
        symlink("a", place.path("way")).unwrap();
        let bundle = place.bundle_of(NAME, NEW, &place.path("way/b/c.pem"), &deep.join("k.pem"));
        let reply = || {
            let mut program = Program::start(shell, std::slice::from_ref(&bundle));
            let (verb, body) = program.answer().unwrap();
            program.end();
            (verb, body.replace(&place.dir.path().display().to_string(), ""))
        };
        let above = |mode| fs::set_permissions(place.path("a"), fs::Permissions::from_mode(mode)).unwrap();
        above(0o777);
        assert_eq!(reply(), ("refused".to_owned(), "path /a\nothers may write there (drwxrwxrwx)".to_owned()));
        above(0o755);
        chown(place.path("a"), Some(33), Some(0)).unwrap();
        assert_eq!(reply().1, "path /a\nbelongs to user 33, who could swap what is in it");
        chown(place.path("a"), Some(0), Some(33)).unwrap();
        above(0o775);
        assert_eq!(reply().1, "path /a\nothers may write there (drwxrwxr-x)");
        for (mode, group) in [(0o1777, 33), (0o2775, 50), (0o775, 0)] {
            chown(place.path("a"), Some(0), Some(group)).unwrap();
            above(mode);
            assert_eq!(reply().0, "prepared", "{mode:o} {group}");
        }
    }
}

/// Where it leads in the end is root's alone: what lies in between decides just as much.
#[test]
fn a_way_through_somebody_elses_folder_or_link_is_refused_before_anything_is_made_there() {
    const THEIRS: &str = "path /theirs\nbelongs to user 33, who could swap what is in it";
    for shell in SHELLS {
        let place = Place::new();
        let at = |name: &str| place.path(name);
        for folder in ["theirs", "theirs/of-root", "real", "sticky"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::set_permissions(at("sticky"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink("../real", at("theirs/hop")).unwrap();
        symlink("theirs/hop", at("way")).unwrap();
        symlink("theirs/of-root", at("other")).unwrap();
        symlink("../real", at("sticky/hop")).unwrap();
        lchown(at("sticky/hop"), Some(33), Some(33)).unwrap();
        symlink("turn", at("turn")).unwrap();
        chown(at("theirs"), Some(33), Some(33)).unwrap();
        let reply = |chain: &str| {
            let bundle = place.bundle_of(NAME, NEW, &at(chain), &at("ssl/key.pem"));
            let mut program = Program::start(shell, &[bundle]);
            let (verb, body) = program.answer().unwrap();
            program.end();
            (verb, body.replace(&place.dir.path().display().to_string(), ""))
        };
        for (chain, words) in [
            ("way/c.pem", THEIRS),
            ("other/new/c.pem", THEIRS),
            ("sticky/hop/c.pem", "path /sticky/hop\nis a link of user 33, who could let it lead elsewhere"),
            ("turn/c.pem", "path /turn\ntoo many links lead there"),
        ] {
            assert_eq!(reply(chain), ("refused".to_owned(), words.to_owned()), "{chain}");
        }
        assert!(fs::read_dir(at("real")).unwrap().next().is_none() && !at("theirs/of-root/new").exists());
        lchown(at("sticky/hop"), Some(0), Some(0)).unwrap();
        assert_eq!(reply("sticky/hop/c.pem").0, "prepared", "and by a link of root's");
        // Our own folder, that somebody moved and left a link for.
        symlink("../theirs/of-root", at("real/.certd")).unwrap();
        assert_eq!(reply("real/c.pem").1, THEIRS);
    }
}

fn mode_of(place: &Place, mode: u32) {
    fs::set_permissions(place.path("ssl"), fs::Permissions::from_mode(mode)).unwrap();
}

/// A file system of its own over `ssl`, unmounted when dropped.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(path: &'a Path, options: &str) -> Self {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).status().unwrap();
        assert!(status.success(), "tests run as root");
        Self(path)
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn s11_a_full_disk_is_named_with_its_path_and_leaves_nothing() {
    for shell in SHELLS {
        let place = Place::new();
        let ssl = place.path("ssl");
        let _mount = Mount::new(&ssl, "size=64k,mode=755");
        fs::write(&place.chain, OLD.chain()).unwrap();
        fs::write(&place.key, OLD.key()).unwrap();
        // Fill it to the last page.
        let _ = fs::write(ssl.join("ballast"), vec![0; 1 << 20]);
        let body = refused(shell, &place);
        assert!(body.starts_with("path /ssl/.certd") && body.ends_with("\nNo space left on device"), "{body}");
        assert!(place.holds(OLD) && !place.path("ssl/.certd").exists());
    }
}

#[test]
fn s12_a_read_only_file_system_is_named_with_its_path() {
    for shell in SHELLS {
        let place = Place::new();
        let ssl = place.path("ssl");
        let _mount = Mount::new(&ssl, "size=64k,mode=755,ro");
        assert_eq!(refused(shell, &place), "path /ssl/.certd\nRead-only file system");
    }
}

#[test]
fn s16_a_file_that_may_not_be_replaced_is_named_and_stays() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        let attribute = |change: &str| Command::new("chattr").arg(change).arg(&place.key).status().unwrap().success();
        if !attribute("+i") {
            // Not every file system has the attribute; a mount over the file refuses the rename just as well.
            let spare = place.path("spare");
            fs::write(&spare, OLD.key()).unwrap();
            assert!(Command::new("mount").arg("--bind").arg(&spare).arg(&place.key).status().unwrap().success());
        }
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        let (verb, body) = program.commit();
        program.end();
        let held = place.holds(OLD);
        if !attribute("-i") || Command::new("mountpoint").arg("-q").arg(&place.key).status().unwrap().success() {
            let _ = Command::new("umount").arg(&place.key).status();
        }
        assert_eq!(verb, "refused", "{body}");
        assert!(body.starts_with(&format!("path {}\n", place.key.display())), "{body}");
        assert!(held, "content is as it was");
        assert_eq!(deliver(shell, &place, NEW).0, "committed", "and once it may, it is");
    }
}

#[test]
fn s13_a_login_that_may_not_write_is_told_where() {
    for shell in SHELLS {
        let place = Place::new().with(OLD);
        fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut as_nobody = vec!["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        as_nobody.extend(shell);
        assert_eq!(refused(&as_nobody, &place), "path /ssl/.certd\nPermission denied");
    }
}
