//! Rows of the fault catalogue about certd's own process: too few files, too little memory, a panic.

use crate::lab;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use lab::printed::exits;
use lab::process::output;
use lab::{Lab, Options, SERVICE};

/// signal(7): how a Rust program ends that gets no memory.
const ABORT: i32 = 6;
/// The kernel's, of a program that it cannot map.
const KILL: i32 = 9;
const SEGV: i32 = 11;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A run under a limit of the shell's.
fn limited(lab: &Lab, limit: &str, arguments: &[&str]) -> Output {
    let inner = lab.command(arguments);
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{limit}; exec \"$0\" \"$@\"")).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.output().expect("sh starts")
}

#[test]
fn p11_too_few_files_are_told_in_words_and_cost_no_certificate_and_no_pair() {
    let lab = Lab::start(Options::nodes(6));
    lab.write_config("");
    let mut reply = 0;
    for limit in [8, 12, 16, 20, 24, 32] {
        let output = limited(&lab, &format!("ulimit -n {limit}"), &["renew"]);
        let text = text(&output);
        println!("{limit}: {:?}\n{text}", output.status);
        assert!(output.status.code().is_some_and(|code| code <= 7), "{limit}: {:?}, {text}", output.status);
        assert!(!text.contains("panicked"), "{limit}: {text}");
        reply += usize::from(text.contains("Too many open files"));
        // A node ends by itself what it has begun; between the two files that are read here, too.
        assert!(lab.nodes_are_quiet(), "{limit}");
        for node in &lab.nodes {
            node.pair(SERVICE).unwrap_or_else(|torn| panic!("{limit}: {torn}"));
        }
    }
    assert!(reply > 0, "none was too few");
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn p11_too_little_memory_ends_the_process_and_the_next_run_ends_the_work() {
    let lab = Lab::start(Options::nodes(3));
    lab.write_config("");
    let mut ended = 0;
    // Address space, KiB: from what the program alone takes to what a run does.
    for limit in (40..=400).step_by(30) {
        let output = limited(&lab, &format!("ulimit -v {}", limit * 1024), &["renew"]);
        let text = text(&output);
        println!("{limit}: {:?}\n{text}", output.status);
        let ended_by = output.status.signal().is_some_and(|signal| [ABORT, KILL, SEGV].contains(&signal));
        let expected = ended_by || output.status.code().is_some_and(|code| code <= 7 || code == 127);
        assert!(expected, "{limit}: {:?}, {text}", output.status);
        ended += usize::from(!output.status.success());
        // A node ends by itself what it has begun; between the two files that are read here, too.
        assert!(lab.nodes_are_quiet(), "{limit}");
        for node in &lab.nodes {
            node.pair(SERVICE).unwrap_or_else(|torn| panic!("{limit}: {torn}"));
        }
    }
    assert!(ended > 0, "none was too little");
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn p13_a_panic_in_one_nodes_session_ends_that_session_and_the_others_go_on() {
    let lab = Lab::start(Options::nodes(4));
    lab.write_config("");
    let shim = lab.folder.join("broken_clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/broken_clock.c");
    let flags = ["-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-o"];
    output(Command::new("gcc").args(flags).arg(&shim).arg(source).arg("-ldl"));
    let before = lab.nodes[2].pair(SERVICE).expect("the lab made it");
    let mut command = lab.command(&["renew"]);
    command.env("LD_PRELOAD", &shim).env("BROKEN_CLOCK", lab.nodes[2].ssh.to_string());
    let printed = exits(&command.output().expect("it starts"), 6);
    assert!(printed.contains("panicked") && printed.contains("3 of 4 serve"), "{printed}");
    assert!(printed.contains("node-3: nothing was changed: no session could be started"), "{printed}");
    assert_eq!(lab.nodes[2].pair(SERVICE).as_ref(), Ok(&before));
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.nodes[2].settled(SERVICE), lab.nodes[0].settled(SERVICE));
    assert_eq!(lab.pebble.issued(), 1);
}
