//! `make demo`: the main job, shown. Three nodes serve an old certificate from plain files; certd issues one, delivers it,
//! and proves that each node serves it. Then a node is down, and then a node's configuration is broken.
//!
//! Every step is checked as well as shown; the exit status is 0 only if each did what it should. With KEEP=1 the lab
//! stays up until Enter or Ctrl-C.

#![allow(clippy::print_stdout, reason = "showing is what it is for")]

#[path = "mod.rs"]
mod lab;

use std::process::ExitCode;

use lab::config::ConfigText;
use lab::node::{NodeOptions, Old};
use lab::{Lab, Options, SERVICE};

fn main() -> ExitCode {
    let mut expired = NodeOptions::new("广州");
    expired.old = Old::Days(-3);
    let nodes = vec![NodeOptions::new("cn2-shanghai"), expired, NodeOptions::new("shenzhen")];
    let mut lab = Lab::start(Options { nodes, ..Options::default() });
    // The lab's CA has no limits, and with KEEP=1 it may be renewed as often as wanted.
    lab.write_config_with(&ConfigText { acme: "certificates_per_week = 1000".into(), ..ConfigText::default() });

    let mut show = Show::default();
    renewed(&lab, &mut show);
    down(&mut lab, &mut show);
    broken(&mut lab, &mut show);
    if std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
        keep(&lab);
    }
    drop(lab);

    if show.wrong.is_empty() {
        println!("\nThe demo did what it should: {} steps.", show.steps);
        return ExitCode::SUCCESS;
    }
    println!("\nThe demo did NOT do what it should:");
    for wrong in show.wrong {
        println!("  {wrong}");
    }
    ExitCode::FAILURE
}

/// From an old certificate to a new one on every node.
fn renewed(lab: &Lab, show: &mut Show) {
    show.title("Three nodes serve an old certificate from plain files; on one of them it expired three days ago");
    show.run(lab, &["check"], 4, &["expired", "广州"]);
    show.run(lab, &["plan"], 4, &["issue    newapi.example.test", "the store has no certificate"]);
    show.title("Issue, push, test, reload, verify");
    show.run(lab, &["renew"], 0, &["issued: generation"]);
    show.run(lab, &["check"], 0, &["3 of 3 serve"]);
    for node in &lab.nodes {
        show.expect(node.pair(SERVICE).is_ok(), &format!("{}: its two files are a pair", node.name));
    }
    show.title("Once more: nothing to do, and why");
    show.run(lab, &["renew"], 0, &["nothing to issue", "not due until"]);
    show.expect(lab.pebble.issued() == 1, "one certificate was issued in all");
    show.expect(lab.dns.txt(&format!("_acme-challenge.{SERVICE}")).is_empty(), "no TXT record is left");
}

/// A node that is down costs the others nothing, and is brought back without a new certificate.
fn down(lab: &mut Lab, show: &mut Show) {
    show.title("shenzhen is down while the certificate is renewed");
    let node = lab.node("shenzhen");
    node.stop_sshd();
    node.stop_nginx();
    show.run(lab, &["renew", "--force"], 4, &["shenzhen", "unreachable", "2 of 3 serve"]);
    show.title("shenzhen is up again, with the certificate of yesterday");
    let node = lab.node("shenzhen");
    node.start_sshd();
    node.start_nginx();
    show.run(lab, &["check"], 6, &["stale"]);
    show.run(lab, &["renew"], 0, &["3 of 3 serve", "nothing to issue"]);
    show.expect(lab.pebble.issued() == 2, "no certificate was issued for that");
}

/// A node with a broken configuration is named and left as it was.
fn broken(lab: &mut Lab, show: &mut Show) {
    show.title("Somebody broke nginx's configuration on 广州");
    let before = lab.node("广州").settled(SERVICE);
    lab.node("广州").break_nginx_config();
    show.run(lab, &["renew", "--force"], 6, &["广州", "its configuration test fails", "2 of 3 serve"]);
    let node = lab.node("广州");
    show.expect(node.settled(SERVICE) == before, "广州 serves what it served before");
    show.expect(node.pair(SERVICE).is_ok(), "its two files are a pair");
    show.title("Mended");
    lab.node("广州").mend_nginx_config();
    show.run(lab, &["renew"], 0, &["3 of 3 serve"]);
    show.expect(lab.pebble.issued() == 3, "three certificates were issued in all: one, and two by --force");
    show.expect(lab.cloudflare.records().iter().all(|record| record.kind != "TXT"), "no TXT record is left");
}

fn keep(lab: &Lab) {
    let config = lab.config_path();
    println!("\nThe lab is up. In another terminal, for instance:");
    println!("  alias certd='{} --config {}'", certd().display(), config.display());
    println!("  certd check; certd plan; certd renew --force");
    for node in &lab.nodes {
        println!("{}: files below {}", node.name, node.folder.display());
        for (program, [stop, start]) in node.by_hand() {
            println!("  {program}  stop:  {stop}\n  {:width$}  start: {start}", "", width = program.len());
        }
    }
    println!("Enter or Ctrl-C ends it.");
    let _ = std::io::stdin().read_line(&mut String::new());
}

fn certd() -> std::path::PathBuf {
    let program = std::env::current_exe().expect("Linux knows it");
    program.parent().and_then(std::path::Path::parent).expect("it is in a folder of target").join("certd")
}

#[derive(Default)]
struct Show {
    steps: usize,
    wrong: Vec<String>,
}

impl Show {
    fn title(&self, text: &str) {
        println!("\n== {text}");
    }

    /// Shows the command, what it prints, and its exit code, and notes what is not as it should be.
    fn run(&mut self, lab: &Lab, arguments: &[&str], exit: i32, words: &[&str]) {
        let command = format!("certd {}", arguments.join(" "));
        println!("\n$ {command}");
        let output = lab.certd(arguments);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        stderr.lines().for_each(|line| println!("  | {line}"));
        print!("{stdout}");
        let code = output.status.code().unwrap_or(-1);
        println!("exit status {code}");
        self.expect(code == exit, &format!("`{command}` ends with {exit}, not {code}"));
        for word in words {
            self.expect(stdout.contains(word), &format!("`{command}` says {word:?}"));
        }
    }

    fn expect(&mut self, right: bool, what: &str) {
        self.steps += 1;
        if !right {
            println!("!! not so: {what}");
            self.wrong.push(what.to_owned());
        }
    }
}
