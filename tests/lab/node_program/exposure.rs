//! Nobody reads a key who could not before, at any statement of the program; and others never do.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::Command;

use super::bench::{NAME, NEW, NEXT, OLD, Place, Program, SHELLS, SOURCE, deliver, has, reply};
use crate::lab::node_program::shells::becomes;
use crate::lab::node_program::spy::{ANOTHER, ENDS, GROUP, acl, apart, beside, loot, rights, set, spy_on, watched};

#[test]
fn a_spy_reads_no_key_and_replaces_nothing_at_any_statement_of_a_dialogue() {
    spy_on(|end, turn| end == turn % ENDS.len());
}

#[test]
fn the_spy_of_these_tests_finds_what_is_open() {
    let place = beside().with(OLD);
    set(&place.key, 0o600, 0);
    assert_eq!(loot(place.dir.path()), "");
    acl(&place.key, &["-m", "u:64001:r"]);
    assert!(loot(place.dir.path()).ends_with("ssl/key.pem\n"));
    acl(&place.key, &["-b"]);
    set(&place.path("ssl"), 0o775, GROUP);
    assert!(loot(place.dir.path()).ends_with("/ssl\n"));
    set(&place.path("ssl"), 0o755, 0);
    let source = watched(&place).replace("judge() {", "judge() { chmod 644 $key_path;");
    let mut program = Program::start_source(SHELLS[0], &source, &[place.bundle(NEW)], &[]);
    assert_eq!(program.answer().unwrap().0, "prepared");
    program.end();
    assert!(fs::read_to_string(place.path("spied")).unwrap().contains("ssl/key.pem\nbefore "));
}

#[test]
fn a_new_key_is_for_those_who_could_read_the_one_that_was_there_and_never_for_others() {
    type Case = (&'static str, fn() -> Place, (u32, u32, u32), &'static str);
    let cases: [Case; 15] = [
        ("for everybody", || with(beside(), 0o644, 0, GROUP), (0o640, 0, GROUP), "everybody"),
        ("for everybody, in the chain's closed folder", || closed(0o644), (0o600, 0, 0), ""),
        ("for everybody, in a closed folder", || with(apart(0o700, 0), 0o644, 0, 0), (0o600, 0, 0), ""),
        ("for everybody, in a group's folder", || with(apart(0o710, GROUP), 0o644, 0, 0), (0o640, 0, GROUP), ""),
        ("for others, in a group's folder", || with(apart(0o710, GROUP), 0o604, 0, 0), (0o600, 0, 0), ""),
        ("for a group", || with(beside(), 0o640, 0, GROUP), (0o640, 0, GROUP), ""),
        ("to be read only", || with(beside(), 0o440, 0, GROUP), (0o440, 0, GROUP), ""),
        ("for a group to write", || with(beside(), 0o770, 0, GROUP), (0o640, 0, GROUP), ""),
        ("for a group and others", || with(beside(), 0o664, 0, GROUP), (0o640, 0, GROUP), "everybody"),
        ("for a group, in a closed folder", || with(apart(0o700, 0), 0o640, 0, GROUP), (0o600, 0, 0), ""),
        ("for a group, in its folder", || with(apart(0o750, GROUP), 0o640, 0, GROUP), (0o640, 0, GROUP), ""),
        ("for a group, in a passage", || with(apart(0o711, 0), 0o640, 0, GROUP), (0o640, 0, GROUP), ""),
        ("somebody's own", || with(apart(0o755, 0), 0o600, 33, GROUP), (0o600, 33, 0), ""),
        ("somebody's own, in a closed folder", || with(apart(0o700, 0), 0o600, 33, GROUP), (0o600, 0, 0), ""),
        ("somebody's own, in the folder of his group", || with(apart(0o710, GROUP), 0o600, 33, 0), (0o600, 33, 0), ""),
    ];
    for shell in SHELLS {
        for (what, place, expected, lost) in &cases {
            let place = place();
            let mut program = Program::start(shell, &[place.bundle(NEW)]);
            let body = program.prepared();
            let line = if lost.is_empty() { String::new() } else { format!("narrowed {NAME} privkey {lost}\n") };
            assert_eq!(body, format!("test ok\nbase {NAME} found\n{line}output\n"), "{shell:?}: {what}");
            assert_eq!(program.commit(), reply("committed"));
            program.say("done\n");
            program.end();
            assert_eq!(rights(&place.key), *expected, "{shell:?}: {what}");
            let found = rights(&place.own().join("0-found/privkey.pem"));
            assert_eq!(found.0 & 0o137, 0, "{shell:?}: {what}: {found:?}");
            // What is there now is as it is to be.
            let mut program = Program::start(shell, &[place.bundle(NEW)]);
            assert_eq!(program.prepared(), format!("test ok\nbase {NAME} unchanged\noutput\n"), "{shell:?}: {what}");
            program.end();
            assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
            assert_eq!(rights(&place.key), *expected, "{shell:?}: {what}, again");
        }
    }
}

/// Chain and key in a folder that nobody else enters.
fn closed(mode: u32) -> Place {
    let place = with(beside(), mode, 0, GROUP);
    set(&place.path("ssl"), 0o700, 0);
    place
}

fn with(place: Place, mode: u32, owner: u32, group: u32) -> Place {
    let place = place.with(OLD);
    set(&place.key, mode, group);
    chown(&place.key, Some(owner), None).unwrap();
    place
}

#[test]
fn what_holds_no_key_says_who_may_read_one_only_when_it_is_an_empty_file_for_some() {
    for shell in SHELLS {
        for (text, mode, expected) in [
            ("", 0o644, (0o600, 0, 0)),
            ("", 0o640, (0o640, 0, GROUP)),
            ("-----BEGIN CERTIFICATE-----\n", 0o640, (0o600, 0, 0)),
        ] {
            let place = beside().with(OLD).with_more(None);
            let combined = place.path("ssl/combined.pem");
            // At the key's path nothing but a key is taken over.
            let paths = if text.is_empty() { vec![&place.key, &combined] } else { vec![&combined] };
            for path in &paths {
                fs::write(path, text).unwrap();
                set(path, mode, GROUP);
            }
            assert_eq!(deliver(shell, &place, NEW), reply("committed"));
            for path in paths {
                assert_eq!(rights(path), expected, "{shell:?}: {text:?} {mode:o}");
            }
        }
    }
}

#[test]
fn a_user_whom_an_acl_lets_read_the_key_goes_on_reading_it_where_its_folder_stays_and_is_named_elsewhere() {
    for shell in with_acl_programs() {
        let place = beside().with(OLD);
        set(&place.key, 0o600, GROUP);
        acl(&place.key, &["-m", "u:64001:rw"]);
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        assert!(place.holds(NEW));
        let loot = loot(place.dir.path());
        let read: Vec<&str> = loot.lines().filter(|line| line.contains(NEW.1)).collect();
        assert_eq!(
            read,
            [place.own().join(NEW.1).join("privkey.pem").display().to_string()],
            "{shell:?}: read, not written"
        );
        assert_eq!(rights(&place.key).0 & 0o7, 0, "{shell:?}");
        let text = Command::new("getfacl").args(["-cp"]).arg(&place.key).output().unwrap();
        let text = String::from_utf8(text.stdout).unwrap();
        assert!(text.contains("group::---\n"), "the bits of the group are the mask: {text}");

        let place = apart(0o755, 0).with(OLD);
        set(&place.key, 0o600, GROUP);
        acl(&place.key, &["-m", "u:64001:r"]);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        let body = program.prepared();
        assert!(body.contains(&format!("narrowed {NAME} privkey users of its ACL\n")), "{shell:?}: {body}");
        assert_eq!(program.commit(), reply("committed"));
        program.end();
        assert_eq!(rights(&place.key).0, 0o600, "{shell:?}");
    }
}

/// A delivery with lines of the configuration's `[install]`.
fn given(shell: &[&str], place: &Place, lines: &str) -> (String, String) {
    let bundle = place.bundle(NEW).replacen("\ntest ", &format!("\n{lines}test "), 1);
    let mut program = Program::start(shell, &[bundle]);
    let (verb, body) = program.answer().expect("an answer");
    if verb == "prepared" {
        assert_eq!(program.commit(), reply("committed"));
        program.say("done\n");
    }
    program.end();
    (verb, body)
}

#[test]
fn owner_group_and_modes_of_the_configuration_win_over_what_is_found_and_over_what_certd_made() {
    for shell in SHELLS {
        let place = with(beside(), 0o644, 0, 0);
        let (_, body) = given(shell, &place, "owner www-data\ngroup 33\nmode 0640\nkey-mode 0440\n");
        assert!(!body.contains("narrowed"), "the configuration names who reads it: {body}");
        assert_eq!((rights(&place.key), rights(&place.chain)), ((0o440, 33, 33), (0o640, 33, 33)), "{shell:?}");
        // The same certificate, for somebody else: another folder with the same content.
        let (_, body) = given(shell, &place, "group daemon\nkey-mode 0640\n");
        assert!(body.contains(&format!("base {NAME} managed {}", NEW.1)), "{shell:?}: {body}");
        assert_eq!(rights(&place.key), (0o640, 33, 1), "{shell:?}");
        let (_, body) = given(shell, &place, "group daemon\nkey-mode 0640\n");
        assert!(body.contains(&format!("base {NAME} unchanged")), "{shell:?}: {body}");
        // Without a word of the configuration what is there stays so.
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        assert_eq!(rights(&place.key), (0o640, 33, 1), "{shell:?}");
    }
}

#[test]
fn a_key_that_the_servers_own_user_cannot_read_is_not_reloaded_and_a_look_says_so() {
    for shell in SHELLS {
        let place = beside().with(OLD);
        set(&place.key, 0o640, GROUP);
        fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Root's test passes all the same.
        let said = format!("daemon, as whom the server reads it, cannot read {}", place.key.display());
        let reader = |text: String| text.replacen("\ntest ", "\nreader daemon\ntest ", 1);
        let (_, body) = Program::look(shell, SOURCE, &[reader(place.wanted(NEW))], &[]);
        let mut program = Program::start(shell, &[reader(place.bundle(NEW))]);
        if becomes(shell) {
            assert!(body.starts_with("test failed\n") && body.ends_with(&said), "{body}");
            assert!(program.prepared().starts_with("test failed\n"));
            assert_eq!(program.commit(), ("broken-before".to_owned(), said), "{shell:?}");
            program.end();
            assert_eq!(place.log(), "", "neither a test nor a reload");
        } else {
            assert!(body.starts_with("test ok\n"), "{body}");
            assert!(program.prepared().starts_with("test ok\n"));
            assert_eq!(program.commit(), reply("committed"), "{shell:?}");
            program.end();
        }
        // With the group that the configuration gives it, it is read.
        given(shell, &place, "group daemon\nkey-mode 0640\nreader daemon\n");
        let (_, body) = Program::look(shell, SOURCE, &[reader(place.wanted(NEW))], &[]);
        assert!(body.starts_with("test ok\n"), "{body}");
        // Of a user whom the node does not have nothing is known.
        given(shell, &place, "reader nobody-of-that-name\n");
    }
}

#[test]
fn an_owner_whom_the_node_does_not_know_or_a_mode_for_others_is_refused_before_anything_changes() {
    for shell in SHELLS {
        let place = with(beside(), 0o600, 0, 0);
        for (lines, word) in [
            ("owner no-such-user\n", "cannot be given to no-such-user:, as [install] says"),
            ("group no-such-group\nkey-mode 0640\n", "cannot be given to :no-such-group, as [install] says"),
            ("key-mode 0644\n", "others could read the key"),
            ("key-mode 0660\n", "others could read the key"),
            ("key-mode 4600\n", "others could read the key"),
            ("mode 0666\n", "the mode is none"),
            ("owner -R\n", "the owner or the group is none"),
            ("group a:b\n", "the owner or the group is none"),
        ] {
            let (verb, body) = given(shell, &place, lines);
            assert!(verb == "refused" && body.contains(word), "{shell:?}: {lines}{verb} {body}");
            assert!(place.holds(OLD) && !place.path("ssl/.certd").exists(), "{shell:?}: {lines}");
        }
        let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        for path in [place.dir.path(), &place.path("ssl"), &place.key, &place.chain] {
            chown(path, Some(65534), Some(65534)).unwrap();
        }
        let (verb, body) = given(&[&nobody[..], shell].concat(), &place, "owner root\n");
        assert!(verb == "refused" && body.ends_with("or only root may)"), "{shell:?}: {verb} {body}");
        assert!(place.holds(OLD) && !place.path("ssl/.certd").exists());
    }
}

/// Lines of a look that tell of exposed keys.
fn exposed(shell: &[&str], place: &Place) -> Vec<String> {
    let (_, body) = Program::look(shell, SOURCE, &[place.wanted(NEW)], &[]);
    let at = place.dir.path().display().to_string();
    let lines = body.lines().filter_map(|line| line.strip_prefix("exposed n.example "));
    lines.map(|line| line.replace(&at, "").replace("r--. /", "r-- /")).collect()
}

#[test]
fn a_look_tells_of_keys_that_are_open_changes_nothing_and_the_next_delivery_closes_ours() {
    for shell in SHELLS {
        let place = with(beside(), 0o644, 0, 0);
        assert_eq!(exposed(shell, &place), ["-rw-r--r-- /ssl/key.pem"], "{shell:?}");
        deliver(shell, &place, NEW);
        assert!(exposed(shell, &place).is_empty(), "{shell:?}");
        // As an earlier version left them.
        let own = place.own();
        let (found, now) = (own.join("0-found/privkey.pem"), own.join(NEW.1).join("privkey.pem"));
        for path in [&found, &now] {
            set(path, 0o644, 0);
        }
        fs::write(own.join("0-found/combined.pem"), OLD.combined()).unwrap();
        let all = |mode: &str| {
            let file = |name: &str| format!("{mode} /ssl/.certd/{NAME}/{name}");
            [file("0-found/combined.pem"), file("0-found/privkey.pem"), file(&format!("{}/privkey.pem", NEW.1))]
        };
        assert_eq!(exposed(shell, &place), all("-rw-r--r--"), "{shell:?}");
        assert_eq!(rights(&now).0, 0o644, "a look changes nothing");
        // Nobody else comes as far as that.
        set(&place.path("ssl"), 0o700, 0);
        assert!(exposed(shell, &place).is_empty(), "{shell:?}");
        set(&place.path("ssl"), 0o755, 0);
        let mut program = Program::start(shell, &[place.bundle(NEW)]);
        program.prepared();
        program.end();
        assert_eq!(exposed(shell, &place).len(), 3, "a dry run changes nothing that a server reads");
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        assert!(place.holds(NEW));
        assert!(exposed(shell, &place).is_empty(), "{shell:?}: {:?}", exposed(shell, &place));
    }
}

#[test]
fn who_reads_the_combined_file_and_not_the_key_goes_on_reading_it_and_its_copies() {
    for shell in SHELLS {
        let place = with(beside(), 0o600, 0, 0).with_more(Some(OLD));
        let combined = place.path("ssl/combined.pem");
        set(&combined, 0o640, GROUP);
        for fake in [NEW, NEXT] {
            assert_eq!(deliver(shell, &place, fake), reply("committed"));
            assert_eq!((rights(&combined), rights(&place.key)), ((0o640, 0, GROUP), (0o600, 0, 0)), "{shell:?}");
        }
        let kept = place.own().join(NEW.1);
        assert_eq!(rights(&kept.join("combined.pem")), (0o640, 0, GROUP), "{shell:?}: it may be gone back to");
        assert!(exposed(shell, &place).is_empty(), "{shell:?}: {:?}", exposed(shell, &place));
        set(&kept.join("privkey.pem"), 0o640, GROUP);
        assert_eq!(exposed(shell, &place).len(), 1, "{shell:?}");
    }
}

#[test]
fn a_key_for_a_group_that_its_folder_kept_out_is_told_once_it_lies_beside_the_chain() {
    for shell in SHELLS {
        let place = with(apart(0o700, 0), 0o600, 0, 0);
        deliver(shell, &place, NEW);
        assert!(exposed(shell, &place).is_empty());
        set(&place.own().join(NEW.1).join("privkey.pem"), 0o640, GROUP);
        assert_eq!(
            exposed(shell, &place),
            [format!("-rw-r----- /ssl/.certd/{NAME}/{}/privkey.pem", NEW.1)],
            "{shell:?}"
        );
        assert_eq!(deliver(shell, &place, NEXT), reply("committed"));
        assert!(exposed(shell, &place).is_empty() && rights(&place.key) == (0o600, 0, 0), "{shell:?}");
    }
}

/// A mode for the group would be the mask of an ACL, and open it to all whom that names.
#[test]
fn a_key_with_an_acl_is_not_written_over_with_a_mode_for_its_group() {
    for shell in with_acl_programs() {
        let mut place = beside().with(OLD);
        place.in_place = true;
        set(&place.key, 0o600, 0);
        acl(&place.key, &["-m", "u:65534:r,m::-"]);
        let before = place.all();
        let (verb, body) = given(shell, &place, "group root\nkey-mode 0640\n");
        let at = place.key.display();
        assert_eq!((verb.as_str(), body), ("refused", format!("path {at}\nhas an ACL; this helps -> setfacl -b {at}")));
        assert_eq!(place.all(), before);
        assert_eq!(deliver(shell, &place, NEW), reply("committed"), "closed, as it was");
        assert_eq!(rights(&place.key).0, 0o600);
    }
}

#[test]
fn a_folder_that_an_acl_lets_somebody_write_in_is_refused_there_and_above() {
    for shell in with_acl_programs() {
        let place = beside().with(OLD);
        acl(&place.path("ssl"), &["-m", "u:64001:rwx"]);
        for reply in [refusal(shell, &place), exposed_reason(shell, &place)] {
            assert!(reply.contains("others may write there (drwxrwxr-x"), "{shell:?}: {reply}");
        }
        acl(&place.path("ssl"), &["-b"]);
        acl(place.dir.path(), &["-m", "u:64001:rwx"]);
        assert!(refusal(shell, &place).contains("others may write there (drwxrwxr-x"), "{shell:?}");
        acl(place.dir.path(), &["-b"]);
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
    }
}

/// Nothing else of a POSIX system shows an ACL: on a node without these programs the bits are all there is.
fn with_acl_programs() -> impl Iterator<Item = &'static [&'static str]> {
    SHELLS.into_iter().filter(|shell| has(shell, "getfacl"))
}

fn refusal(shell: &[&str], place: &Place) -> String {
    let mut program = Program::start(shell, &[place.bundle(NEW)]);
    let (verb, body) = program.answer().unwrap();
    program.end();
    assert_eq!(verb, "refused", "{body}");
    assert!(!place.path("ssl/.certd").exists() && loot(&place.key).is_empty());
    body
}

fn exposed_reason(shell: &[&str], place: &Place) -> String {
    let (_, body) = Program::look(shell, SOURCE, &[place.wanted(NEW)], &[]);
    body.lines().find(|line| line.contains("fullchain foreign")).unwrap_or(&body).to_owned()
}

#[test]
fn a_default_acl_is_taken_from_what_is_ours_and_refused_where_that_cannot_be_done() {
    for shell in with_acl_programs() {
        let place = with(beside(), 0o640, 0, ANOTHER);
        acl(&place.path("ssl"), &["-d", "-m", "u:64001:rwx,m::rwx"]);
        // A node that has no such program.
        let source = SOURCE.replace("setfacl -bk", "no-such-program -bk");
        assert_ne!(source, SOURCE);
        let mut program = Program::start_source(shell, &source, &[place.bundle(NEW)], &[]);
        let (verb, body) = program.answer().unwrap();
        program.end();
        assert!(verb == "refused" && body.contains("not as private as they are made"), "{shell:?}: {verb} {body}");
        assert!(place.holds(OLD) && !place.path("ssl/.certd").exists());
        assert_eq!(deliver(shell, &place, NEW), reply("committed"));
        assert_eq!(rights(&place.key), (0o640, 0, ANOTHER), "{shell:?}");
        assert_eq!(loot(place.dir.path()), "", "{shell:?}");
    }
}
