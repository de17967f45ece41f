//! A fleet with nodes that are dead in ten different ways: the healthy ones are done as if the dead ones were not there,
//! and each dead one is named with its own sentence. `make soak`: a hundred nodes; `cargo test`: twenty.

#![allow(clippy::print_stdout, reason = "`make soak` shows its figures")]

pub(crate) mod dead;

use crate::lab;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read as _};
use std::process::Output;

use certd::context::clock;
use jiff::{SignedDuration, Timestamp};

use dead::Dead;
use lab::config::ConfigText;
use lab::printed::stdout;
use lab::{Lab, Options, SERVICE};

/// A run, and when each line of its progress was printed.
struct Run {
    output: Output,
    lines: Vec<(Timestamp, String)>,
}

impl Run {
    fn of(lab: &Lab, arguments: &[&str]) -> Self {
        let mut child = lab.spawn_certd(arguments);
        let stderr = child.stderr.take().expect("it is piped");
        let mut stdout = child.stdout.take().expect("it is piped");
        let report = std::thread::spawn(move || {
            let mut text = Vec::new();
            stdout.read_to_end(&mut text).map(|_| text).expect("a pipe can be read")
        });
        let lines = BufReader::new(stderr).lines().map(|line| (clock::now(), line.expect("it is text"))).collect();
        let stdout = report.join().expect("it does not panic");
        let status = child.wait().expect("it is our child");
        Self { output: Output { status, stdout, stderr: Vec::new() }, lines }
    }

    /// From the first word of a node to that line.
    fn after(&self, at: Timestamp) -> SignedDuration {
        let first = self.lines.iter().find(|(_, line)| line.ends_with(": preparing")).expect("nodes are prepared").0;
        at.duration_since(first)
    }

    /// When so many nodes were proven.
    fn served(&self, count: usize) -> Timestamp {
        let mut served = self.lines.iter().filter(|(_, line)| line.ends_with(": served"));
        served.nth(count - 1).unwrap_or_else(|| panic!("{count} served: {:#?}\n{}", self.lines, stdout(&self.output))).0
    }

    fn failed(&self, node: &str) -> Timestamp {
        let begin = format!("{node}: failed");
        let line = self.lines.iter().find(|(_, line)| line.starts_with(&begin));
        line.unwrap_or_else(|| panic!("{node} failed: {:#?}\n{}", self.lines, stdout(&self.output))).0
    }
}

/// The node that is dead in this way; the first is the canary, and well.
fn name(number: usize) -> String {
    format!("node-{}", 2 + number)
}

pub(crate) fn fleet(nodes: usize, ways: &[Dead]) {
    let mut lab = Lab::start(Options::nodes(nodes));
    let certificate = format!(
        "[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\ncanary = \"node-1\"\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificate), ..ConfigText::default() });
    let healthy = nodes - ways.len();

    // Once for first contact, and once to measure by.
    assert_eq!(lab.certd(&["renew"]).status.code(), Some(0), "all are well at first");
    let all = Run::of(&lab, &["renew", "--force"]);
    let without = all.after(all.served(healthy));

    let before: Vec<_> = lab.nodes.iter().map(|node| node.pair(SERVICE).expect("it was delivered")).collect();
    let mut peers = Vec::new();
    for (number, way) in ways.iter().enumerate() {
        peers.extend(way.befall(lab.node(&name(number))));
    }
    let run = Run::of(&lab, &["renew", "--force"]);
    let report = stdout(&run.output);
    assert_eq!(run.output.status.code(), Some(6), "{report}");
    assert!(report.contains(&format!("{healthy} of {nodes} serve")), "{report}");

    let new = lab.nodes[0].settled(SERVICE).expect("the canary serves");
    let dead: BTreeSet<String> = (0..ways.len()).map(name).collect();
    for (node, before) in lab.nodes.iter().zip(before) {
        let expected = if dead.contains(&node.name) { &before } else { &new };
        assert_eq!(node.pair(SERVICE).as_ref(), Ok(expected), "{}", node.name);
        assert_eq!(node.settled(SERVICE).as_ref(), Ok(expected), "{}", node.name);
    }
    let mut sentences = BTreeSet::new();
    for (number, way) in ways.iter().enumerate() {
        let name = name(number);
        let begin = format!("  {name}: ");
        let printed: Vec<&str> = report.lines().filter_map(|line| line.strip_prefix(&begin)).collect();
        let printed = printed.join("\n");
        assert!(printed.contains(way.sentence()), "{way:?}, {name}: {printed:?}\n{report}");
        println!("{way:?}: {printed}");
        sentences.insert(way.sentence());
    }
    assert_eq!(sentences.len(), ways.len(), "each has its own");
    // No dead node is waited for: who gives up last gives up after the last healthy one was proven.
    let last = run.served(healthy);
    if let Some(slowest) = ways.iter().position(|way| matches!(way, Dead::Hangs)) {
        assert!(last < run.failed(&name(slowest)), "{report}");
    }
    let with = run.after(last);
    println!("{nodes} nodes: the {healthy}th was proven after {without:#} without, {with:#} with {} dead", ways.len());
    assert!(with < without * 3 + SignedDuration::from_secs(10), "{with:#}, and {without:#} without the dead ones");
}
