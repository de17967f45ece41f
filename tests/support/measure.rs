//! `make measure`: what one issuance costs, against the lab's Pebble without its validation sleep: wall time, CPU, memory
//! and ACME requests of certd, and of lego beside it where that is installed. Ten runs each, medians. Then what a
//! [switch](switch) costs on a node. `switch` as an argument: that alone.
//!
//! The nodes are paused, so that issuing alone is measured. Both have their account already. lego is spared the wait for
//! the name servers, which certd does.

#![allow(clippy::print_stdout, reason = "showing is what it is for")]

#[path = "mod.rs"]
mod lab;
mod switch;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use lab::config::ConfigText;
use lab::pebble::PebbleOptions;
use lab::{Lab, Options, SERVICE};

const RUNS: usize = 10;

struct Run {
    seconds: f64,
    cpu: f64,
    mebibytes: f64,
    requests: usize,
}

fn main() {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let lab = Lab::start(Options { pebble, ..Options::nodes(1) });
    let paused = vec![(lab.nodes[0].name.clone(), "paused_until = \"2099-01-01\"".to_owned())];
    lab.write_config_with(&ConfigText { nodes: paused, ..ConfigText::default() });
    if std::env::args().nth(1).as_deref() == Some("switch") {
        return switch::show(&lab);
    }
    println!("                 wall        CPU     memory  ACME requests   (medians of {RUNS})");
    show("certd", &certd(&lab));
    match Command::new("lego").arg("--version").output() {
        Ok(_) => show("lego", &lego(&lab)),
        Err(_) => println!("lego is not installed (apt-get install lego), so there is nothing to compare with"),
    }
    switch::show(&lab);
}

fn certd(lab: &Lab) -> Vec<Run> {
    let program = std::env::current_exe().expect("Linux knows it");
    let program = program.parent().and_then(Path::parent).expect("it is in examples/").join("certd");
    let renew = || {
        let mut timed = timed(lab, &program);
        timed.args(["renew", "-q", "--config"]).arg(lab.config_path());
        measured(lab, timed, &[0, 3])
    };
    renew();
    let again = || {
        for kept in ["certs", "ledger.jsonl", "state.json"] {
            let path = lab.state_dir().join(kept);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("the first run has made it");
        }
        renew()
    };
    (0..RUNS).map(|_| again()).collect()
}

fn lego(lab: &Lab) -> Vec<Run> {
    let script = lab.folder.join("lego-exec");
    fs::write(&script, lab.dns.exec_script()).expect("the lab's folder is ours");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let run = || {
        let mut timed = timed(lab, Path::new("lego"));
        timed.args(["-a", "-m", "ops@example.test", "-d", SERVICE, "--dns", "exec", "--dns.disable-cp"]);
        timed.args(["--server", &lab.proxy.directory(), "--path"]).arg(lab.folder.join("lego")).arg("run");
        timed.env("LEGO_CA_CERTIFICATES", lab.folder.join("api-root.pem")).env("EXEC_PATH", &script);
        measured(lab, timed, &[0])
    };
    run();
    (0..RUNS).map(|_| run()).collect()
}

/// Under time(1), which tells what the kernel has counted.
fn timed(lab: &Lab, program: &Path) -> Command {
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%U %S %M", "-o"]).arg(lab.folder.join("time")).arg(program);
    command
}

fn measured(lab: &Lab, mut command: Command, good: &[i32]) -> Run {
    let requests = lab.proxy.script.calls().len();
    #[expect(clippy::disallowed_methods, reason = "wall time is what is measured")]
    let begun = Instant::now();
    let output = command.output().expect("tests/setup.sh brings time(1)");
    let seconds = begun.elapsed().as_secs_f64();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code().is_some_and(|code| good.contains(&code)), "{command:?}: {printed}");
    let reply = fs::read_to_string(lab.folder.join("time")).expect("time(1) has written it");
    let reply = reply.lines().last().expect("a line");
    let reply: Vec<f64> = reply.split(' ').map(|number| number.parse().expect("a number")).collect();
    let requests = lab.proxy.script.calls().len() - requests;
    Run { seconds, cpu: reply[0] + reply[1], mebibytes: reply[2] / 1024.0, requests }
}

fn show(name: &str, runs: &[Run]) {
    let median = |of: fn(&Run) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        f64::midpoint(all[RUNS / 2 - 1], all[RUNS / 2])
    };
    println!(
        "{name:>8}  {:>8.3} s  {:>6.0} ms  {:>4.1} MiB  {:>13.1}",
        median(|run| run.seconds),
        median(|run| run.cpu) * 1000.0,
        median(|run| run.mebibytes),
        median(|run| f64::from(u32::try_from(run.requests).unwrap_or(u32::MAX))),
    );
}
