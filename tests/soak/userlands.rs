//! The node program's tests with the utilities of other systems. In `make test` they run with this machine's, and with its
//! busybox. An error means that nodes with these utilities take no certificate, or take it otherwise than all others.

use std::process::Command;

use crate::lab::node_program::bench::{NEW, NEXT, OLD, Place, deliver, reply};
use crate::lab::process::output;

/// The folder of a userland; tests/userlands.sh brings it when it is not there.
fn userland(name: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/userlands.sh");
    output(Command::new(script).arg(name)).trim().to_owned()
}

/// But for the kills, which `make soak` runs at length.
fn passes_with(name: &str) {
    let mut tests = Command::new(env!("CARGO"));
    tests.args(["test", "-q", "--test", "lab", "node_program::", "--", "--skip", "killed::"]);
    let ended = tests.env("CERTD_USERLAND", userland(name)).output().unwrap();
    assert!(ended.status.success(), "{name}: {}", String::from_utf8_lossy(&ended.stdout));
}

#[test]
fn toybox_is_refused_in_words_before_anything_is_there_and_over_what_was_delivered() {
    let shell = userland("toybox") + "/sh";
    for delivered in [false, true] {
        let place = Place::new().with(OLD);
        if delivered {
            assert_eq!(deliver(&["dash"], &place, NEW), reply("committed"));
        }
        let before = place.all();
        let (verb, words) = deliver(&[&shell], &place, NEXT);
        assert!(verb == "refused" && words.starts_with("unfit mv -T, which"), "{verb} {words}");
        assert_eq!(place.all(), before);
    }
}

#[test]
fn all_of_busybox_1_37() {
    passes_with("busybox-1.37");
}

#[test]
fn all_of_busybox_1_38() {
    passes_with("busybox-1.38");
}

#[test]
fn the_coreutils_of_rust() {
    passes_with("uutils");
}
