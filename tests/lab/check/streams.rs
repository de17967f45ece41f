//! What `check` prints for programs: a line for a monitoring system, a report a line for `--watch`.

use std::io::{BufRead as _, BufReader};
use std::process::Child;

use super::lab::process::signal;
use super::*;

#[test]
fn a_monitoring_system_gets_its_states_and_its_line() {
    let mut lab = renewed(Options::nodes(2));
    let output = lab.certd(&["check", "--nagios"]);
    exits(&output, 0);
    let text = stdout(&output);
    assert!(text.starts_with("CERTD OK - certificates: 1, served by nodes: 2; the first to end is newapi"), "{text}");
    assert!(text.contains(" | 'node-1 newapi.example.test'=") && text.lines().count() == 1, "{text}");
    flatten(&lab.nodes[0]);
    let output = lab.certd(&["check", "--nagios", "--deep"]);
    exits(&output, 1);
    assert!(stdout(&output).starts_with("CERTD WARNING - node-1 newapi.example.test on disk: flattened"), "{output:?}");
    lab.node("node-2").stop_nginx();
    let output = lab.certd(&["check", "--nagios"]);
    exits(&output, 2);
    assert!(stdout(&output).starts_with("CERTD CRITICAL - node-2 "), "{}", stdout(&output));
    let output = lab.certd(&["check", "--nagios", "--output", "json"]);
    exits(&output, 2);
    fs::write(lab.config_path(), "nonsense").unwrap();
    let output = lab.certd(&["check", "--nagios"]);
    exits(&output, 3);
    assert!(stdout(&output).starts_with("CERTD UNKNOWN - "), "{}", stdout(&output));
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().expect("it is piped")).lines().map(|line| line.expect("text"))
}

#[test]
fn watching_tells_a_report_a_line_until_it_is_told_to_end_and_ends_at_once_with_the_last_code() {
    let mut lab = renewed(Options::nodes(1));
    let mut child = lab.spawn_certd(&["check", "--watch=1s", "--output", "json"]);
    let mut reply = lines(&mut child).map(|line| serde_json::from_str::<Value>(&line).expect("one document a line"));
    assert_eq!(reply.next().unwrap()["exit"], 0);
    lab.node("node-1").stop_nginx();
    assert!(reply.by_ref().any(|report| report["exit"] == 4), "it looks again and again");
    signal("INT", &[child.id()]);
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn watching_marks_what_has_changed_and_a_long_pause_does_not_hold_up_the_end() {
    let mut lab = renewed(Options::nodes(1));
    let mut child = lab.spawn_certd(&["check", "--watch=1s"]);
    let mut reply = lines(&mut child);
    assert!(reply.by_ref().any(|line| line.starts_with("1 of 1 serve")));
    lab.node("node-1").stop_nginx();
    let changed = reply.find(|line| line.starts_with("* ")).unwrap();
    assert!(changed.contains(": was ok (") && changed.contains("is unreachable"), "{changed}");
    signal("TERM", &[child.id()]);
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let mut child = lab.spawn_certd(&["check", "--watch=1h"]);
    assert!(lines(&mut child).any(|line| line.ends_with("(exit 4)")));
    signal("TERM", &[child.id()]);
    let ended = lab::process::wait_until(|| child.try_wait().unwrap().is_some());
    assert!(ended, "it waits for its hour to pass");
    exits(&lab.certd(&["check", "--watch=0s"]), 2);
}
