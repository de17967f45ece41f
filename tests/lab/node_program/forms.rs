//! DER and PKCS#12: made on the node out of real pairs, and read back by openssl.

mod bench;

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;

use super::bench::{NAME, Program, SHELLS, timeless, with_forms};
use super::torn::Real;
use crate::lab::node_program::spy::{GROUP, SPY, rights, set, watched_by};
use crate::lab::statements::stands_alone;
use bench::{FIRST, Forms, PASSWORD, SECOND, der, pair};

#[test]
fn der_and_pkcs12_are_made_of_what_came_are_the_same_until_it_changes_and_go_back() {
    for (shell, kind) in SHELLS.into_iter().zip([0, 1, 2]) {
        let mut forms = Forms::new();
        let (first, second) = (pair(kind), pair(0));
        assert_eq!(forms.delivered(shell, &first, FIRST), "nothing");
        forms.holds(&first, PASSWORD);
        assert_eq!(
            ["cert.der", "key.der", "store.p12"].map(|name| rights(&forms.path("ssl").join(name)).0),
            [0o644, 0o600, 0o600]
        );
        // Another making would be another file.
        let made = fs::read(forms.path("ssl/store.p12")).unwrap();
        assert_eq!(forms.delivered(shell, &first, FIRST), "unchanged");
        assert_eq!(fs::read(forms.path("ssl/store.p12")).unwrap(), made);
        assert!(forms.look(shell, &first).contains(&format!("same {NAME} yes\n")), "{shell:?}");
        assert!(forms.look(shell, &second).contains(&format!("same {NAME} no\n")), "{shell:?}");
        // Each of these makes it another.
        fs::write(forms.path("ssl/store.p12"), [&made[..], b"x"].concat()).unwrap();
        assert!(forms.look(shell, &first).contains(&format!("same {NAME} no\n")), "{shell:?}: written over");
        assert_eq!(forms.delivered(shell, &first, FIRST), format!("managed {FIRST}"));
        forms.password("another");
        assert!(forms.look(shell, &first).contains(&format!("same {NAME} no\n")), "{shell:?}: another password");
        assert_eq!(forms.delivered(shell, &first, FIRST), format!("managed {FIRST}"));
        forms.holds(&first, "another");
        forms.legacy = true;
        assert_eq!(forms.delivered(shell, &first, FIRST), format!("managed {FIRST}"));
        forms.holds(&first, "another");

        let (mut program, _) = forms.prepared(shell, &second, SECOND);
        assert_eq!(program.commit().0, "committed");
        forms.holds(&second, "another");
        program.say("rollback\n");
        assert_eq!(program.answer().unwrap().0, "back", "{shell:?}");
        program.end();
        forms.holds(&first, "another");
        fs::write(forms.path("refused"), &second.chain).unwrap();
        let (mut program, _) = forms.prepared(shell, &second, SECOND);
        assert_eq!(program.commit().0, "rolled-back", "{shell:?}");
        forms.holds(&first, "another");
    }
}

#[test]
fn the_algorithms_of_pkcs12_are_those_of_today_or_those_that_old_readers_know() {
    for shell in SHELLS {
        for (legacy, cipher, mac) in [
            (false, "PBES2, PBKDF2, AES-256-CBC", "MAC: sha256"),
            (true, "pbeWithSHA1And3-KeyTripleDES-CBC", "MAC: sha1"),
        ] {
            let forms = Forms { legacy, ..Forms::new() };
            forms.delivered(shell, &pair(0), FIRST);
            let info = forms.opened(PASSWORD, &["-info", "-noout"]).unwrap();
            assert!(info.contains(mac), "{info}");
            assert_eq!(info.matches(cipher).count(), 2, "of the certificates and of the key: {info}");
            assert_eq!(info.matches(" Iteration 2048").count() + info.matches(" iteration 2048").count(), 3, "{info}");
        }
    }
}

#[test]
fn a_password_file_that_cannot_be_used_is_named_before_anything_is_staged_and_in_a_look() {
    for shell in SHELLS {
        let forms = Forms::new();
        let (old, new) = (pair(0), pair(1));
        forms.delivered(shell, &old, FIRST);
        let before = forms.place.all();
        let file = forms.path("password");
        let cases: [(&str, &dyn Fn(), &str); 12] = [
            ("a pipe", &|| nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).unwrap(), "is not there, or no"),
            ("with a mark", &|| forms.password("\u{feff}secret\n"), "begins with a byte order mark"),
            ("long", &|| forms.password(&"x".repeat(1001)), "has a password of more than 1000 characters"),
            ("missing", &|| fs::remove_file(&file).unwrap(), "is not there"),
            ("a folder", &|| fs::create_dir(&file).unwrap(), "is not there"),
            ("empty", &|| forms.password(""), "has no password in its first line, or cannot be read"),
            ("an empty line", &|| forms.password("\nx\n"), "has no password in its first line, or cannot be read"),
            ("of another system", &|| forms.password("secret\r\n"), "has the line ends of another system"),
            ("for everybody", &|| set(&file, 0o644, 0), "is open to others (-rw-r--r--); this helps -> chmod 640"),
            (
                "written by a group",
                &|| set(&file, 0o660, GROUP),
                "is open to others (-rw-rw----); this helps -> chmod 640",
            ),
            ("another's", &|| chown(&file, Some(64001), None).unwrap(), "belongs to user 64001, who could change it"),
            ("a link of another's", &|| linked(&file), "is a link of user 64001, who could let it lead elsewhere"),
        ];
        for (number, (case, make, why)) in cases.into_iter().enumerate() {
            let _ = fs::remove_file(&file);
            let _ = fs::remove_dir(&file);
            if !["missing", "a folder", "a pipe", "a link of another's"].contains(&case) {
                forms.password("well\n");
            } else if case == "missing" {
                forms.password("");
            }
            make();
            let body = forms.refused(shell, &new);
            let begin = if case.starts_with("a link") {
                "path /password\n"
            } else {
                "path /ssl/store.p12\nits password file /password "
            };
            assert!(body.starts_with(&format!("{begin}{why}")), "{shell:?}, {case}: {body}");
            if number % 3 == 0 {
                let seen = forms.look(shell, &old);
                let line = format!("at {NAME} keystore.p12 foreign its password file /password {why}");
                assert!(seen.contains(&line), "{shell:?}, {case}: {seen}");
            }
            assert_eq!(fs::read_to_string(&forms.place.key).unwrap(), old.key);
        }
        let _ = fs::remove_file(&file);
        forms.password(PASSWORD);
        let without =
            |all: &str| timeless(all).lines().filter(|line| !line.contains("password")).collect::<Vec<_>>().join("\n");
        assert_eq!(without(&forms.place.all()), without(&before), "{shell:?}");
        assert_eq!(forms.delivered(shell, &new, SECOND), format!("managed {FIRST}"));
        forms.holds(&new, PASSWORD);
    }
}

fn linked(file: &Path) {
    fs::write(file.with_extension("real"), "secret\n").unwrap();
    set(&file.with_extension("real"), 0o600, 0);
    symlink("password.real", file).unwrap();
    std::os::unix::fs::lchown(file, Some(64001), None).unwrap();
}

#[test]
fn a_node_without_openssl_is_told_so_before_anything_is_staged() {
    let forms = Forms::new();
    fs::remove_file(forms.programs.join("openssl")).unwrap();
    assert_eq!(
        forms.refused(&["busybox", "ash"], &pair(0)),
        "path /ssl/store.p12\nneeds openssl, which is not on this node"
    );
    assert!(!forms.place.chain.exists() && !forms.place.own().exists());
}

#[test]
fn a_node_without_base64_makes_no_der_and_an_openssl_that_hangs_is_named() {
    let mut forms = Forms::new();
    let busybox = ["busybox", "ash"];
    let without = with_forms(&forms.programs).replace("command -v base64", "command -v base64-that-is-not-there");
    let mut program = Program::start_source(&busybox, &without, &[forms.bundle(&pair(0), FIRST)], &[]);
    let (verb, body) = program.answer().unwrap();
    assert_eq!(verb, "refused");
    assert!(body.ends_with("ssl/cert.der\nneeds base64, which is not on this node"), "{body}");

    forms = Forms::new();
    fs::remove_file(forms.programs.join("openssl")).unwrap();
    forms
        .place
        .script("programs/openssl", "case $* in *-export*) exec sleep 9 ;; *) exec /usr/bin/openssl \"$@\" ;; esac");
    let quick = with_forms(&forms.programs).replace("$timeout 20} openssl", "$timeout 1} openssl");
    let mut program = Program::start_source(&busybox, &quick, &[forms.bundle(&pair(0), FIRST)], &[]);
    let (verb, body) = program.answer().unwrap();
    assert_eq!(verb, "refused");
    assert!(body.contains("ssl/store.p12\n") && body.ends_with("openssl did not end within 20 seconds"), "{body}");
}

#[test]
fn a_password_file_must_be_absolute_and_one_that_is_gone_keeps_nothing_from_being_recovered() {
    for shell in SHELLS {
        let forms = Forms::new();
        let (old, new) = (pair(0), pair(0));
        let relative = forms.bundle(&old, FIRST).replace(&forms.path("password").display().to_string(), "password");
        let mut program = Program::start_source(shell, &with_forms(&forms.programs), &[relative], &[]);
        assert_eq!(program.answer(), Some(("refused".to_owned(), "unfit paths must be absolute".to_owned())));
        program.end();
        forms.delivered(shell, &old, FIRST);
        // Killed after the switch; its server does not take the new pair.
        let source = with_forms(&forms.programs);
        let killing = source.replacen("  elif each begin; check", "  elif each begin; kill -9 0; check", 1);
        assert_ne!(source, killing);
        let mut program = Program::start_source(shell, &killing, &[forms.bundle(&new, SECOND)], &[]);
        assert_eq!(program.answer().unwrap().0, "prepared");
        program.say("commit\n");
        assert_eq!(program.answer(), None, "{shell:?}");
        program.end();
        assert_eq!(fs::read_to_string(&forms.place.key).unwrap(), new.key);
        fs::write(forms.path("refused"), &new.chain).unwrap();
        let refused = format!("! cmp -s {} {}", forms.place.chain.display(), forms.path("refused").display());
        forms.place.script("test", &refused);
        fs::remove_file(forms.path("password")).unwrap();
        assert!(forms.refused(shell, &new).starts_with("path /ssl/store.p12\nits password file "), "{shell:?}");
        forms.holds(&old, PASSWORD);
        assert!(!forms.place.own().join("intent").exists(), "{shell:?}");
    }
}

#[test]
fn what_is_there_in_these_forms_is_taken_over_with_its_rights_comes_back_and_nothing_else_is() {
    for shell in SHELLS {
        let forms = Forms::new();
        let (old, new) = (pair(0), pair(1));
        // Another making of the same place, as another tool leaves it.
        let other = Forms::new();
        other.delivered(shell, &old, FIRST);
        let files = ["cert.der", "key.der", "store.p12"];
        for name in files {
            fs::copy(other.path("ssl").join(name), forms.path("ssl").join(name)).unwrap();
            set(&forms.path("ssl").join(name), 0o640, GROUP);
        }
        fs::copy(&other.place.chain, &forms.place.chain).unwrap();
        fs::copy(&other.place.key, &forms.place.key).unwrap();
        let before = forms.place.all();
        let (mut program, _) = forms.prepared(shell, &new, FIRST);
        assert_eq!(program.commit().0, "committed");
        forms.holds(&new, PASSWORD);
        for name in files {
            assert_eq!(rights(&forms.path("ssl").join(name)), (0o640, 0, GROUP), "{name}");
        }
        program.say("rollback\n");
        assert_eq!(program.answer().unwrap().0, "back");
        program.end();
        forms.holds(&old, PASSWORD);
        assert_eq!(timeless(&forms.place.all()), timeless(&before), "{shell:?}");

        for (name, content, why) in [
            ("store.p12", &b"\xfe\xed\xfe\xed\0\0\0\x02 a keystore of Java's own"[..], "is neither empty nor PKCS#12"),
            ("key.der", old.key.as_bytes(), "is neither empty nor a key in DER"),
            ("cert.der", &der(&old.key), "is neither empty nor a certificate in DER"),
        ] {
            let path = forms.path("ssl").join(name);
            let whole = fs::read(&path).unwrap();
            fs::write(&path, content).unwrap();
            let body = forms.refused(shell, &new);
            assert!(body.starts_with(&format!("path /ssl/{name}\n{why}; correct the path")), "{shell:?}: {body}");
            fs::write(&path, whole).unwrap();
        }
        assert_eq!(forms.delivered(shell, &new, FIRST), "found");
        let after = files.map(|name| rights(&forms.path("ssl").join(name)));
        assert_eq!(after, [(0o640, 0, GROUP); 3], "{shell:?}: the key itself is for fewer");
        assert!(!forms.look(shell, &new).contains("exposed "), "{shell:?}");
    }
}

#[test]
fn files_that_are_written_over_have_these_forms_too_and_a_look_tells_which_are_open() {
    for shell in SHELLS {
        let mut forms = Forms::new();
        let (old, new) = (pair(0), pair(1));
        forms.delivered(shell, &old, FIRST);
        let store = forms.place.own().join(FIRST).join("keystore.p12");
        set(&store, 0o644, 0);
        let own = format!("exposed {NAME} -rw-r--r-- /ssl/.certd/{NAME}/{FIRST}/keystore.p12\n");
        assert!(forms.look(shell, &old).contains(&own), "{shell:?}");
        forms.delivered(shell, &new, SECOND);
        assert_eq!(rights(&store), (0o640, 0, 0), "what is kept is closed to all but its group");

        forms = Forms::new();
        let with = |text: String| text.replace("fullchain ", "in-place yes\nfullchain ");
        let deliver = |real: &Real, generation: &str| {
            let bundle = with(forms.bundle(real, generation));
            let mut program = Program::start_source(shell, &with_forms(&forms.programs), &[bundle], &[]);
            let prepared = program.prepared();
            assert_eq!(program.commit().0, "committed");
            program.end();
            prepared
        };
        deliver(&old, FIRST);
        let inode = |name: &str| {
            std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(forms.path("ssl").join(name)).unwrap())
        };
        let before = ["cert.der", "key.der", "store.p12"].map(inode);
        assert!(deliver(&old, FIRST).contains(&format!("base {NAME} unchanged\n")), "{shell:?}");
        deliver(&new, SECOND);
        forms.holds(&new, PASSWORD);
        assert_eq!(["cert.der", "key.der", "store.p12"].map(inode), before);
        set(&forms.path("ssl/key.der"), 0o604, 0);
        assert!(forms.look(shell, &new).contains(&format!("exposed {NAME} -rw----r-- /ssl/key.der\n")), "{shell:?}");
    }
}

#[test]
fn nobody_reads_a_key_in_these_forms_or_the_password_at_any_statement() {
    for shell in SHELLS {
        let forms = Forms::new();
        let at = forms.place.dir.path().display().to_string();
        set(&forms.path("password"), 0o600, 0);
        fs::write(forms.path("ssl/store.p12"), "").unwrap();
        let find = format!(
            "find {at} ( -name \"privkey*\" -o -name \"keystore*\" -o -name \"key.*\" -o -name \"store.p12\" -o -name \"password\" ) \
             ! -type l -size +0 -readable; find {at} ! -type l -writable; \
             grep -alsF \"{PASSWORD}\" /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
        )
        .replace("( ", "\\\\( ")
        .replace(" )", " \\\\)")
        .replace("it's", "it.s");
        let source = watched_by(&forms.place, &with_forms(&forms.programs), &find);
        let mut program = Program::start_source(shell, &source, &[forms.bundle(&pair(0), FIRST)], &[]);
        program.prepared();
        program.commit();
        program.say("done\n");
        program.end();
        forms.holds(&pair_of(&forms), PASSWORD);
        assert_eq!(fs::read_to_string(forms.path("spied")).unwrap_or_default(), "", "{shell:?}, {SPY}");
    }
}

fn pair_of(forms: &Forms) -> Real {
    Real { chain: fs::read_to_string(&forms.place.chain).unwrap(), key: fs::read_to_string(&forms.place.key).unwrap() }
}

#[test]
fn killed_while_it_makes_them_it_leaves_nothing_that_the_next_delivery_does_not_clear() {
    let shell = SHELLS.into_iter().next().unwrap();
    let (old, new) = (pair(0), pair(0));
    let text = include_str!("../../../src/node/forms.sh");
    let (_, makes) = text.split_once("form_put() {\n").unwrap();
    let (mut before, mut points, mut lines) = ("{", 0, 0);
    // A third of the lines at a time; all of them in `make soak`.
    let stride = if std::env::var_os("ALL_SHELLS").is_some() { 1 } else { 3 };
    for line in makes.lines() {
        lines += 1;
        if lines % stride == 0 && stands_alone(line.trim(), before) && !line.starts_with('#') && line.starts_with(' ') {
            let forms = Forms::new();
            forms.delivered(shell, &old, FIRST);
            let source = with_forms(&forms.programs);
            let killing = source.replacen(&format!("{line}\n"), &format!("kill -9 0\n{line}\n"), 1);
            assert_ne!(source, killing, "{line}");
            let mut program = Program::start_source(shell, &killing, &[forms.bundle(&new, SECOND)], &[]);
            if program.answer().is_none() {
                points += 1;
            }
            program.end();
            assert_eq!(forms.delivered(shell, &new, SECOND), format!("managed {FIRST}"), "before {line}");
            forms.holds(&new, PASSWORD);
            assert_eq!(forms.place.kept(), [FIRST, SECOND, "current", "previous"], "before {line}");
        }
        before = if line.trim().starts_with('#') { before } else { line };
    }
    assert!(points > 6 / stride, "{points}");
}
