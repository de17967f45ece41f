//! `make measure`: certd beside its peers, in one run on one machine, so that ratios mean something where times do not;
//! and what `cargo bench` has left. Medians. Writes the table of docs/performance.md. A peer that is not installed is named
//! as not measured.
//!
//! The first argument is certd's release build, which `make measure` has made.

#![allow(clippy::print_stdout, reason = "showing is what it is for")]

#[path = "measure/check.rs"]
mod check;
#[path = "measure/issuance.rs"]
mod issuance;
#[path = "mod.rs"]
mod lab;
#[path = "measure/pure.rs"]
mod pure;
#[path = "measure/rollout.rs"]
mod rollout;
mod switch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use lab::Lab;

const RUNS: usize = 10;
/// The table of the page stands between these lines.
const BEGIN: &str = "<!-- `make measure` writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// A line of the table.
struct Row {
    work: String,
    ours: String,
    peer: String,
    ratio: String,
}

struct Run {
    seconds: f64,
    cpu: f64,
    mebibytes: f64,
}

fn main() {
    let certd = std::env::args_os().nth(1).map(PathBuf::from).expect("the path of certd, as `make measure` gives it");
    let certd = certd.canonicalize().expect("`make measure` has built it");
    let mut rows = vec![size(&certd)];
    rows.extend(pure::rows());
    rows.extend(issuance::rows(&certd));
    let lab = rollout::lab(&certd);
    rows.extend(rollout::rows(&lab));
    rows.extend(check::rows(&lab));
    let mut table = format!("{}\n\n| work | certd | peer | certd to peer |\n|---|---|---|---|\n", machine());
    for Row { work, ours, peer, ratio } in rows {
        table.push_str(&format!("| {work} | {ours} | {peer} | {ratio} |\n"));
    }
    println!("{table}");
    write(&table);
    switch::show(&lab);
}

/// What a person would need to know to hold the figures against those of another machine.
fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processors", |(_, model)| model);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = output("uname", &["-sr"]);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let day = output("date", &["-u", "+%Y-%m-%d"]);
    let commit = output("git", &["rev-parse", "--short", "HEAD"]);
    format!("Measured {day} at {commit}: {count} × {model}, {kernel}, load {load} at the end. Medians of {RUNS}.")
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(|_| "?".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn write(table: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let text = fs::read_to_string(&page).expect("the page is here");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a place for the table");
    let (_, after) = rest.split_once(END).expect("the place ends");
    fs::write(&page, format!("{before}{BEGIN}\n{table}\n{END}{after}")).expect("the page is ours");
}

fn size(certd: &Path) -> Row {
    let bytes = fs::metadata(certd).expect("it is there").len();
    let start = || wall(Command::new(certd).arg("--version").stdout(std::process::Stdio::null()), &[0]);
    let start = median((0..5 * RUNS).map(|_| start()).collect());
    #[expect(clippy::cast_precision_loss, reason = "to one digit")]
    let mebibytes = bytes as f64 / 1_048_576.0;
    Row {
        work: "the binary; `certd --version`".to_owned(),
        ours: format!("{mebibytes:.1} MiB; {:.1} ms", start * 1000.0),
        peer: String::new(),
        ratio: String::new(),
    }
}

/// In seconds. It has to end with one of these exit codes.
fn wall(command: &mut Command, good: &[i32]) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "wall time is what is measured")]
    let begun = Instant::now();
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let seconds = begun.elapsed().as_secs_f64();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code().is_some_and(|code| good.contains(&code)), "{command:?}: {out}{err}");
    seconds
}

/// Under time(1), which tells what the kernel has counted.
fn timed(lab: &Lab, program: &Path) -> Command {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%U %S %M", "-o"]).arg(lab.folder.join("time")).arg(program);
    command
}

/// Of a command made by [`timed`].
fn measured(lab: &Lab, command: &mut Command, good: &[i32]) -> Run {
    let seconds = wall(command, good);
    let reply = fs::read_to_string(lab.folder.join("time")).expect("time(1) has written it");
    let reply = reply.lines().last().expect("a line");
    let reply: Vec<f64> = reply.split(' ').map(|number| number.parse().expect("a number")).collect();
    Run { seconds, cpu: reply[0] + reply[1], mebibytes: reply[2] / 1024.0 }
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let (low, high) = (all[(all.len() - 1) / 2], all[all.len() / 2]);
    f64::midpoint(low, high)
}

fn medians(runs: &[Run]) -> Run {
    let of = |one: fn(&Run) -> f64| median(runs.iter().map(one).collect());
    Run { seconds: of(|run| run.seconds), cpu: of(|run| run.cpu), mebibytes: of(|run| run.mebibytes) }
}

/// `peer`: its name and its runs; `Err`: why it is not measured.
fn row(work: String, ours: &[Run], peer: Result<(&str, Vec<Run>), String>) -> Row {
    let ours = medians(ours);
    let shown =
        |run: &Run| format!("{:.3} s, {:.0} ms of CPU, {:.0} MiB", run.seconds, run.cpu * 1000.0, run.mebibytes);
    let (peer, ratio) = match peer {
        Ok((name, runs)) => {
            let theirs = medians(&runs);
            (format!("{name}: {}", shown(&theirs)), format!("{:.2}", ours.seconds / theirs.seconds))
        }
        Err(why) => (why, String::new()),
    };
    Row { work, ours: shown(&ours), peer, ratio }
}

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}
