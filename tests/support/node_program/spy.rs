//! A spy at a node: before every statement of the program he takes what he can read, and notes what he could write.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use super::bench::{NEW, OLD, Place, Program, SHELLS, SOURCE, has};
use crate::lab::statements::stands_alone;

/// A user without a name, who is in the group of servers, and named in ACLs.
pub(crate) const SPY: &str = "64001";
pub(crate) const GROUP: u32 = 33;
/// A group that the spy is not in.
pub(crate) const ANOTHER: u32 = 64002;

pub(crate) fn set(path: &Path, mode: u32, group: u32) {
    chown(path, Some(0), Some(group)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn acl(path: &Path, args: &[&str]) {
    let status = Command::new("setfacl").args(args).arg(path).status().expect("Debian's package acl");
    assert!(status.success(), "setfacl {args:?}");
}

pub(crate) fn rights(path: &Path) -> (u32, u32, u32) {
    let meta = fs::metadata(path).unwrap();
    (meta.mode() & 0o7777, meta.uid(), meta.gid())
}

/// A place whose key is in a folder of its own, of this mode and group.
pub(crate) fn apart(mode: u32, group: u32) -> Place {
    let mut place = Place::new();
    let keys = place.path("keys");
    fs::create_dir(&keys).unwrap();
    place.key = keys.join("key.pem");
    for script in ["test", "reload"] {
        place.script(script, "exit 0");
    }
    open(&place);
    set(&keys, mode, group);
    place
}

/// Temporary folders are their owner's alone.
pub(crate) fn open(place: &Place) {
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn beside() -> Place {
    let place = Place::new();
    open(&place);
    for script in ["test", "reload"] {
        place.script(script, "exit 0");
    }
    place
}

/// What the spy can read that holds a key, and what he can write.
pub(crate) fn loot(at: &Path) -> String {
    let find = "grep -rls --exclude=spy -- 'PRIVATE KEY' \"$0\"; find \"$0\" ! -type l -writable 2>/dev/null";
    let args = ["--reuid", SPY, "--regid", SPY, "--groups", "33,50,100,64001", "sh", "-c", find];
    let output = Command::new("setpriv").args(args).arg(at).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The program with the spy at work before every statement.
pub(crate) fn watched(place: &Place) -> String {
    let at = place.dir.path().display().to_string();
    let find = format!("grep -rls -- \"PRIVATE KEY\" {at}/ssl {at}/keys; find {at} ! -type l -writable");
    watched_by(place, SOURCE, &find)
}

/// `find`: prints what he takes.
pub(crate) fn watched_by(place: &Place, program: &str, find: &str) -> String {
    let at = place.dir.path().display().to_string();
    place.script(
        "spy",
        &format!(
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
             {{ setpriv --reuid {SPY} --regid {SPY} --groups 33,50,100,64001 sh -c '{find}' 2>/dev/null; echo; }} |\n\
             grep . >>{at}/spied && echo \"before $1\" >>{at}/spied"
        ),
    );
    let mut before = "";
    let mut source = String::new();
    let (mut within, mut number) = (false, 0);
    for line in program.lines() {
        let text = line.trim();
        within |= text.starts_with("# --- what is there");
        within &= !text.starts_with("# --- the dialogue");
        if within && !text.starts_with('#') && stands_alone(text, before) && !text.contains("() ") {
            number += 1;
            source.push_str(&format!("spied {number}\n"));
        }
        source.push_str(line);
        source.push('\n');
        if !text.is_empty() && !text.starts_with('#') {
            before = text;
        }
    }
    assert!(number > 100, "{number} statements");
    let spied = format!("spied() {{ spied=$?; {at}/spy \"$1\" </dev/null >/dev/null 2>&1 9>&-; return $spied; }}\n");
    let (first, rest) = source.split_once('\n').unwrap();
    format!("{first}\n{spied}{rest}")
}

pub(crate) const SWAPPED: &str = "the two paths swapped";
pub(crate) const DEFAULT_ACL: &str = "a default ACL for the spy, and a key for another group";

/// Nothing that the spy can read or write at the beginning.
pub(crate) fn beginnings() -> Vec<(&'static str, Place)> {
    let mut all = Vec::new();
    let place = beside();
    fs::write(&place.key, "").unwrap();
    set(&place.key, 0o644, 0);
    all.push(("an empty file for everybody, as touch makes it", place));

    let place = apart(0o700, 0).with(OLD);
    set(&place.key, 0o644, 0);
    all.push(("a key for everybody in a folder for nobody", place));

    let place = apart(0o700, 0).with(OLD);
    set(&place.key, 0o640, GROUP);
    all.push(("a key for the spy's group in a folder for nobody", place));

    let place = apart(0o710, ANOTHER).with(OLD);
    set(&place.key, 0o640, GROUP);
    all.push(("a key for the spy's group in the folder of another", place));

    let place = beside();
    fs::write(&place.chain, OLD.key()).unwrap();
    fs::write(&place.key, OLD.chain()).unwrap();
    set(&place.chain, 0o600, 0);
    set(&place.key, 0o644, 0);
    all.push((SWAPPED, place));

    let place = beside().with(OLD);
    acl(&place.path("ssl"), &["-d", "-m", "u:64001:rwx,o::rwx"]);
    set(&place.key, 0o640, ANOTHER);
    all.push((DEFAULT_ACL, place));

    let place = beside().with(OLD).with_more(None);
    set(&place.key, 0o640, ANOTHER);
    fs::write(place.path("ssl/combined.pem"), OLD.chain()).unwrap();
    all.push(("a chain for everybody where the combined file is to be", place));

    let mut place = beside().with(OLD);
    fs::write(&place.key, "").unwrap();
    set(&place.key, 0o644, 0);
    place.in_place = true;
    all.push(("an empty file for everybody that is written over", place));
    all
}

pub(crate) const ENDS: [&str; 4] = ["done\n", "rollback\n", "a dry run", "refused by the server"];

/// `which`: of each number of an end, and of a beginning.
pub(crate) fn spy_on(which: fn(usize, usize) -> bool) {
    std::thread::scope(|scope| {
        for (number, end) in ENDS.iter().enumerate() {
            scope.spawn(move || {
                let all = beginnings().into_iter().enumerate();
                for (turn, (what, place)) in all.filter(|(turn, _)| which(number, *turn)) {
                    // Shells take turns.
                    let shell = SHELLS[(number + turn / ENDS.len()) % SHELLS.len()];
                    let at = format!("{what}, {end}, {shell:?}");
                    assert_eq!(loot(place.dir.path()), "", "{at}: he has it before we come");
                    if *end == "refused by the server" {
                        place.script("test", &format!("read -r a x <{}; [ $x != n ]", place.chain.display()));
                    }
                    let source = watched(&place);
                    let mut program = Program::start_source(shell, &source, &[place.bundle(NEW)], &[]);
                    let (verb, body) = program.answer().expect("an answer");
                    // What is at swapped paths is taken over by nobody, and a default ACL is taken away by setfacl alone.
                    let refused = what == SWAPPED || (what == DEFAULT_ACL && !has(shell, "setfacl"));
                    let expected = if refused { "refused" } else { "prepared" };
                    assert_eq!(verb, expected, "{at}: {body}");
                    if verb == "prepared" && *end != "a dry run" {
                        program.commit();
                        program.say(end);
                    }
                    program.end();
                    let spied = fs::read_to_string(place.path("spied")).unwrap_or_default();
                    assert_eq!(spied, "", "{at}");
                    assert_eq!(loot(place.dir.path()), "", "{at}, afterwards");
                }
            });
        }
    });
}
