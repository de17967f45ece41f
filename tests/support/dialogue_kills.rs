//! P01 in a rollout: the controller, a node's sshd and the node program are ended at *every* step of the dialogue. After
//! each, the next delivery ends well; no node ever had a torn pair or went back, and none stays locked or half-recovered.
//!
//! `cargo test` tries some steps, `make soak` all of them.

#![allow(clippy::print_stdout, reason = "`make soak` shows its figures")]

mod bench;
mod relay;

use crate::lab;
use crate::lab::statements;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bench::{Bench, ended};
use lab::Lab;
use lab::process::{is_alive, output, signal, wait_until};
use relay::{Relay, Strike, Way};

/// signal(7)
const KILL: i32 = 9;
/// The end of what certd says: the commit and the farewell, in packets of this size or more.
const TAIL: usize = 1500;
const PACKET: usize = 24;
/// Over this many steps no delivery is come to.
const MOST: usize = 3_000;

pub(crate) fn controller(first: usize, stride: usize) -> usize {
    let mut bench = Bench::start(2);
    let shim = built_shim(&bench.lab);
    for (kills, at) in (first..MOST).step_by(stride).enumerate() {
        let (status, text) = bench.cycle(&format!("step {at}"), |lab| {
            let mut command = lab.command(&["deploy"]);
            command.env("LD_PRELOAD", &shim).env("KILL_AT", at.to_string());
            ended(lab, command)
        });
        if status.success() {
            println!("the controller: {kills} kills, up to its step {at}");
            return kills;
        }
        assert_eq!(status.signal(), Some(KILL), "step {at}: {text}");
    }
    panic!("no end of steps");
}

fn built_shim(lab: &Lab) -> PathBuf {
    let shim = lab.folder.join("kill_at.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/kill_at.c");
    let flags = ["-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-o"];
    output(Command::new("gcc").args(flags).arg(&shim).arg(source).arg("-ldl"));
    shim
}

/// Cuts the connection, or kills the session's sshd, behind each of some bytes of both ways.
pub(crate) fn connection(most: usize) -> usize {
    let mut bench = Bench::start(1);
    let run = bench.lab.folder.join("run");
    let relay = Relay::open(bench.lab.nodes[0].ssh, move || kill_sessions(&run));
    bench.lab.replace_line("ssh = { port", &format!("ssh = {{ port = {} }}", relay.at.port()));
    relay.strike(Strike::Cut, None);
    let deploy = |lab: &Lab| ended(lab, lab.command(&["deploy"]));
    let (status, text) = bench.cycle("nothing", deploy);
    assert!(status.success(), "{text}");
    // The second delivery of a cycle finds nothing to do and makes no connection.
    let (up, down, _) = relay.counted();
    let coarse = (0..up.saturating_sub(TAIL)).step_by(200).map(|at| (Way::Up, at));
    let fine = (up.saturating_sub(TAIL)..up).step_by(PACKET).map(|at| (Way::Up, at));
    let back = (0..down).step_by(PACKET).map(|at| (Way::Down, at));
    let points: Vec<_> = coarse.chain(fine).chain(back).collect();
    let stride = points.len().div_ceil(most).max(1);
    let mut strikes = 0;
    for (number, (way, at)) in points.into_iter().enumerate().skip(stride / 2).step_by(stride) {
        let strike = if (number / stride).is_multiple_of(2) { Strike::Cut } else { Strike::KillSshd };
        let words = format!("{strike:?} behind byte {at} {way:?}");
        let (status, text) = bench.cycle(&words, |lab| {
            relay.strike(strike, Some((way, at + 1)));
            let ended = deploy(lab);
            strikes += usize::from(relay.counted().2);
            relay.strike(strike, None);
            ended
        });
        assert!(matches!(status.code(), Some(0 | 6)), "{words}: {status}, {text}");
    }
    println!("the connection: {strikes} strikes; {up} bytes up, {down} down");
    strikes
}

/// Those of sshd that serve a connection: what the listening one has started. A number that a process had may be
/// somebody else's by now, so the listener must be as old as its record says.
fn kill_sessions(run: &Path) {
    let fields = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let start =
        |pid: u32| fields(pid).rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(19).map(str::to_owned));
    let title = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let records = fs::read_dir(run).into_iter().flatten().flatten();
    let alive = records.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        (start(pid) == fs::read_to_string(entry.path()).ok()).then_some(pid)
    });
    let mut sessions: Vec<u32> = alive.filter(|pid| title(*pid).contains("[listener]")).flat_map(children).collect();
    let mut next = 0;
    while let Some(pid) = sessions.get(next).copied() {
        sessions.extend(children(pid).filter(|child| title(*child).starts_with("sshd: ")));
        next += 1;
    }
    signal("KILL", &sessions);
    wait_until(|| !sessions.iter().any(|pid| is_alive(*pid)));
}

fn children(pid: u32) -> impl Iterator<Item = u32> {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>().into_iter()
}

/// Kills the node program before each of some lines, by a login that puts the kill into what it runs.
pub(crate) fn program(stride: usize) -> usize {
    let mut bench = Bench::start(1);
    let folder = bench.lab.folder.clone();
    let wrapper = folder.join("login");
    fs::write(&wrapper, WRAPPER.replace("@", &folder.display().to_string())).expect("the lab's folder is ours");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    let config = bench.lab.nodes[0].folder.join("sshd_config");
    let text = fs::read_to_string(&config).expect("the lab wrote it");
    fs::write(&config, format!("ForceCommand {}\n{text}", wrapper.display())).expect("the lab's folder is ours");
    bench.lab.nodes[0].start_sshd();
    let deploy = |lab: &Lab| ended(lab, lab.command(&["deploy"]));
    let (status, text) = bench.cycle("nothing", deploy);
    assert!(status.success(), "{text}");
    let program = fs::read_to_string(folder.join("program")).expect("the login wrote it");
    let lines: Vec<&str> = program.lines().collect();
    let begin = lines.iter().position(|line| line.starts_with("answer()")).expect("the program has it");
    let points = (begin..lines.len()).filter(|at| statements::stands_alone(lines[*at], lines[at - 1].trim_end()));
    let mut kills = 0;
    for (number, at) in points.enumerate() {
        // Switched, tested, reloaded, and the intent is still there.
        let last = lines[at] == "each forget";
        if !last && number % stride != stride / 2 {
            continue;
        }
        // The shell with all below it, or the shell alone.
        let whom = if last || (number / stride).is_multiple_of(2) { "0" } else { "$$" };
        let words = format!("kill -9 {whom} before {}", lines[at]);
        let (status, text) = bench.cycle(&words, |lab| {
            fs::write(folder.join("at"), format!("{} {whom}\n", at + 1)).expect("the lab's folder is ours");
            let ended = deploy(lab);
            fs::remove_file(folder.join("at")).expect("it was written");
            ended
        });
        assert!(matches!(status.code(), Some(0 | 6)), "{words}: {status}, {text}");
        kills += usize::from(fs::remove_file(folder.join("killed")).is_ok());
    }
    println!("the node program: {kills} kills");
    kills
}

/// Reads the program as certd's own line does, and puts a kill before a line of it.
const WRAPPER: &str = r#"#!/bin/sh
_p= _n=$(printf '\n.') _n=${_n%.} _i=0 _at= _whom=
[ ! -e '@/at' ] || read -r _at _whom <'@/at'
while IFS= read -r _l || exit 9; do
    [ "$_l" = END ] && break
    _i=$((_i + 1))
    [ "$_i" != "$_at" ] || _p="$_p: >'@/killed'; kill -9 $_whom$_n"
    _p=$_p$_l$_n
done
[ -e '@/program' ] || printf '%s' "$_p" >'@/program'
eval "$_p"
"#;
