//! `certd run`, the service, against the lab, with a service manager's socket.

mod service;

use crate::lab;

use std::fs;
use std::process::Command;

use jiff::SignedDuration;

use certd::context::clock;

use lab::config::ConfigText;
use lab::gateway::Kind;
use lab::nginx::NginxCommand;
use lab::node::{NodeOptions, Old};
use lab::process::wait_until;
use lab::script::{Answer, Point};
use lab::{Lab, Options, SERVICE};
pub(crate) use service::Running;

/// Looks every second; passes when there is something to do.
const EAGER: &str = "[run]\ncheck_every = \"1s\"\n";

fn started(nodes: usize) -> Lab {
    let lab = Lab::start(Options::nodes(nodes));
    lab.write_config(EAGER);
    lab
}

fn with_canary() -> Lab {
    let lab = Lab::start(Options::nodes(2));
    let certificate = format!(
        "[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\ncanary = \"node-1\"\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificate), end: EAGER.into(), ..ConfigText::default() });
    lab
}

fn serve_the_same(lab: &Lab) {
    let leaf = lab.nodes[0].settled(SERVICE).unwrap();
    for node in &lab.nodes {
        assert_eq!(node.settled(SERVICE).unwrap(), leaf, "{}", node.name);
    }
}

#[test]
fn it_says_that_it_is_ready_issues_delivers_and_ends_with_0() {
    let lab = started(2);
    let mut run = Running::start(&lab, &[]);
    run.hear("READY=1");
    run.hear("2 of 2 ok");
    assert_eq!(lab.pebble.issued(), 1);
    serve_the_same(&lab);
    run.ends(0);
    run.hear("STOPPING=1");
    let (events, report) = (run.stderr(), run.stdout());
    for line in [
        "started: 1 certificate, 2 nodes",
        "pass: the first of this installation",
        "newapi.example.test: make an order",
        "node-2: served",
        "stopped",
    ] {
        assert!(events.contains(line), "{line:?} in\n{events}");
    }
    assert!(report.contains("2 of 2 serve the right certificate: all is well"), "{report}");
    assert_eq!(report.matches("all is well").count(), 1, "no noise when nothing is done: {report}");
    // What is there is looked at, and no pass is made.
    let mut again = Running::start(&lab, &[]);
    again.hear("2 of 2 ok");
    assert!(!again.stderr().contains("pass:"), "{}", again.stderr());
    again.ends(0);
}

#[test]
fn p10_a_bad_configuration_is_refused_in_words_and_a_good_one_is_taken_over_at_once() {
    let lab = started(1);
    let good = fs::read_to_string(lab.config_path()).unwrap();
    let mut run = Running::start(&lab, &[]);
    run.hear("1 of 1 ok");
    fs::write(lab.config_path(), good.replace("check_every", "chek_every")).unwrap();
    run.hang_up();
    run.hear("RELOADING=1");
    run.hear("READY=1");
    let events = run.stderr();
    assert!(events.contains("not reloaded; the old configuration stays in use"), "{events}");
    assert!(events.contains("did you mean \"check_every\"?"), "{events}");
    // A file that it names is missing, and another state directory needs a restart.
    for (from, to, what) in [
        ("cloudflare.token", "cloudflare.tokn", "cloudflare.tokn"),
        ("/state\"", "/elsewhere\"", "next: restart certd to change it"),
    ] {
        fs::write(lab.config_path(), good.replace(from, to)).unwrap();
        run.hang_up();
        run.hear("RELOADING=1");
        run.hear("READY=1");
        assert!(run.stderr().contains(what), "{what}: {}", run.stderr());
    }
    let more =
        good.replace(&format!("domains = [\"{SERVICE}\"]"), &format!("domains = [\"{SERVICE}\", \"www.{SERVICE}\"]"));
    assert_ne!(good, more);
    fs::write(lab.config_path(), more).unwrap();
    run.hang_up();
    run.wait_for_line("reloaded: 1 certificate, 1 node");
    assert!(wait_until(|| lab.pebble.issued() == 2), "{}", run.stderr());
    run.wait_for_report("all is well");
    run.ends(0);
}

#[test]
fn p03_told_to_end_while_a_node_reloads_it_ends_within_ten_seconds_and_leaves_no_half_node() {
    let lab = with_canary();
    let other = lab.nodes[1].pair(SERVICE).unwrap();
    let held = lab.nodes[0].hold_command(NginxCommand::Reload);
    let mut run = Running::start(&lab, &[]);
    held.wait();
    run.ends(0);
    run.hear("STOPPING=1");
    let report = run.stdout();
    assert!(report.contains("node-1: the connection ended after the commit"), "{report}");
    held.release();
    let new = lab.nodes[0].settled(SERVICE).unwrap();
    assert_ne!(new, other);
    assert_eq!(lab.nodes[1].pair(SERVICE).unwrap(), other);
    let mut again = Running::start(&lab, &[]);
    again.hear("2 of 2 ok");
    again.ends(0);
    assert_eq!(lab.nodes[1].settled(SERVICE).unwrap(), new);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn p03_told_to_end_while_it_issues_it_ends_soon_and_the_next_start_resumes_the_order() {
    let lab = started(1);
    let held = lab.proxy.script.hold("challenge", 1, Point::Before);
    let mut run = Running::start(&lab, &[]);
    held.wait();
    run.ends(0);
    held.release();
    assert_eq!(lab.cloudflare.records().iter().filter(|record| record.kind == "TXT").count(), 0);
    let mut again = Running::start(&lab, &[]);
    again.hear("1 of 1 ok");
    again.ends(0);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn p04_a_pass_waits_for_one_by_hand_and_one_by_hand_finds_the_lock_held() {
    let lab = started(1);
    let held = lab.proxy.script.hold("challenge", 1, Point::Before);
    let by_hand = lab.spawn_certd(&["renew"]);
    held.wait();
    let mut run = Running::start(&lab, &[]);
    run.wait_for_line("another certd holds the lock");
    assert_eq!(lab.proxy.script.count("challenge"), 1, "it has ordered nothing of its own");
    held.release();
    assert_eq!(by_hand.wait_with_output().unwrap().status.code(), Some(0));
    run.wait_for_line("is ok, was unmanaged");
    assert_eq!(lab.pebble.issued(), 1);

    let reload = lab.nodes[0].hold_command(NginxCommand::Reload);
    tamper(&lab, 0);
    reload.wait();
    assert_eq!(lab.certd(&["renew", "--wait", "0s"]).status.code(), Some(7));
    reload.release();
    run.wait_for_line("is ok, was unmanaged");
    assert_eq!(
        lab.certd(&["renew", "--wait", "0s"]).status.code(),
        Some(0),
        "free between two passes: {}",
        run.stderr()
    );
    run.ends(0);
}

#[test]
fn p04_while_another_certd_holds_the_lock_what_is_served_is_looked_at_and_the_manager_knows_what_is_waited_for() {
    let mut lab = started(1);
    let held = lab.proxy.script.hold("challenge", 1, Point::Before);
    let by_hand = lab.spawn_certd(&["renew"]);
    held.wait();
    let mut run = Running::start(&lab, &[]);
    run.wait_for_line("another certd holds the lock");
    run.hear("waiting for another certd");
    lab.nodes[0].stop_nginx();
    run.wait_for_line("is unreachable, was unmanaged");
    run.hear("waiting for another certd, which holds the lock; node-1 is unreachable");
    lab.nodes[0].start_nginx();
    held.release();
    assert!(by_hand.wait_with_output().unwrap().status.success());
    run.wait_for_line("is ok");
    run.ends(0);
    assert_eq!(lab.pebble.issued(), 1);
}

/// Somebody puts an older tool's certificate there and reloads.
fn tamper(lab: &Lab, node: usize) {
    let node = &lab.nodes[node];
    for path in [node.fullchain(SERVICE), node.key(SERVICE)] {
        fs::remove_file(path).unwrap();
    }
    node.install(&lab.old_authority, &Old::Days(20));
    let pid = fs::read_to_string(node.folder.join("logs/nginx.pid")).unwrap();
    assert!(Command::new("kill").args(["-HUP", pid.trim()]).status().unwrap().success());
}

#[test]
fn a_node_that_serves_something_else_is_healed_and_one_that_is_silent_is_told_of_and_so_is_its_return() {
    let mut lab = started(2);
    let mut run = Running::start(&lab, &[]);
    run.hear("2 of 2 ok");
    let leaf = lab.nodes[1].settled(SERVICE).unwrap();
    tamper(&lab, 1);
    run.wait_for_line("is unmanaged, was ok");
    run.wait_for_line("pass: the last look found something to do");
    run.wait_for_line("is ok, was unmanaged");
    assert_eq!(lab.nodes[1].settled(SERVICE).unwrap(), leaf);
    lab.nodes[0].stop_nginx();
    run.wait_for_line("is unreachable, was ok");
    run.hear("node-1 is unreachable");
    lab.nodes[0].start_nginx();
    run.wait_for_line("is ok, was unreachable");
    run.hear("2 of 2 ok");
    run.ends(0);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn a_watched_endpoint_that_falls_silent_is_told_of_and_so_is_its_return() {
    let theirs = NodeOptions::new("theirs");
    let mut lab = Lab::start(Options { nodes: vec![NodeOptions::new("ours"), theirs], ..Options::default() });
    let certificates = format!("[[certificate]]\ndomains = [{SERVICE:?}]\nnodes = [\"ours\"]\ninventory = false\n\n");
    let (at, root) = (lab.nodes[1].tls, lab.folder.join("their-root.pem"));
    fs::write(&root, lab.old_authority.pem()).unwrap();
    let watch = format!(
        "[[watch]]\nname = \"backend\"\naddress = \"{}\"\nport = {}\nsni = {SERVICE:?}\nca_file = {root:?}\n",
        at.ip(),
        at.port()
    );
    let end = format!("{EAGER}{watch}");
    lab.write_config_with(&ConfigText { certificates: Some(certificates), end, ..ConfigText::default() });
    let mut run = Running::start(&lab, &[]);
    run.wait_for_report("1 of 1 serve the right certificate");
    lab.nodes[1].stop_nginx();
    run.wait_for_line("watched backend (");
    run.wait_for_line("is unreachable, was ");
    run.hear("backend is unreachable");
    lab.nodes[1].start_nginx();
    run.wait_for_line("was unreachable");
    run.ends(0);
}

#[test]
fn secrets_are_read_again_in_each_pass_and_those_that_were_read_before_go_on_when_they_cannot_be() {
    let lab = started(1);
    let mut run = Running::start(&lab, &[]);
    run.hear("1 of 1 ok");
    let identity = lab.folder.join("id_ed25519");
    let key = fs::read(&identity).unwrap();
    fs::remove_file(&identity).unwrap();
    tamper(&lab, 0);
    run.wait_for_line("id_ed25519");
    run.wait_for_line("the old value stays in use");
    run.wait_for_line("is ok, was unmanaged");
    // A key that no node knows: it is this one that is used.
    let other = lab.folder.join("other");
    lab::process::output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&other));
    fs::rename(&other, &identity).unwrap();
    tamper(&lab, 0);
    run.wait_for_line("is unmanaged, was ok");
    run.wait_for_line("node-1: failed");
    fs::write(&identity, key).unwrap();
    run.ends(0);
}

#[test]
fn roots_are_read_again_in_each_pass() {
    let lab = started(1);
    let mut run = Running::start(&lab, &[]);
    run.hear("1 of 1 ok");
    // Ours is issued by another one.
    let text = fs::read_to_string(lab.config_path()).unwrap();
    let line = text.lines().find(|line| line.starts_with("issuer_root_file")).unwrap();
    fs::write(line.split('"').nth(1).unwrap(), lab.old_authority.pem()).unwrap();
    tamper(&lab, 0);
    run.wait_for_line("is unmanaged, was ok");
    run.wait_for_line("clients refuse");
    run.ends(0);
}

#[test]
fn the_watchdog_hears_the_loop_while_it_rests_and_while_a_pass_is_under_way() {
    let lab = started(1);
    let held = lab.proxy.script.hold("challenge", 1, Point::Before);
    let mut run = Running::start(&lab, &[("WATCHDOG_USEC", "400000")]);
    held.wait();
    (0..5).for_each(|_| run.hear("WATCHDOG=1"));
    held.release();
    run.hear("1 of 1 ok");
    (0..5).for_each(|_| run.hear("WATCHDOG=1"));
    run.ends(0);
}

#[test]
fn without_a_service_manager_it_runs_just_the_same() {
    let lab = started(1);
    let mut run = Running::start(&lab, &[("NOTIFY_SOCKET", ""), ("WATCHDOG_USEC", "nonsense")]);
    run.wait_for_report("all is well");
    run.ends(0);
}

fn state(lab: &Lab, change: impl Fn(&mut serde_json::Value)) {
    let path = lab.state_dir().join("state.json");
    let mut state = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut state);
    fs::write(path, state.to_string()).unwrap();
}

#[test]
fn k01_what_was_missed_while_the_machine_was_off_is_made_up_for_with_one_pass_and_then_the_schedule_goes_on() {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("[run]\nschedule = \"* * * * *\"\n");
    assert_eq!(lab.certd(&["renew"]).status.code(), Some(0));
    let long_ago = clock::now() - SignedDuration::from_hours(21 * 24);
    state(&lab, |state| state["tried"]["last_pass"] = long_ago.to_string().into());
    let mut run = Running::start(&lab, &[]);
    run.wait_for_line("pass: makes up for");
    run.hear("1 of 1 ok");
    run.wait_for_line("pass: scheduled for");
    assert_eq!(run.stderr().matches("makes up for").count(), 1);
    run.ends(0);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn k03_a_clock_that_contradicts_what_was_seen_is_taken_to_the_ca_and_decides_nothing_until_it_says_so() {
    let lab = started(1);
    assert_eq!(lab.certd(&["renew"]).status.code(), Some(0));
    let orders = lab.proxy.script.count("new-order");
    let later = clock::now() + SignedDuration::from_hours(10 * 365 * 24);
    let ahead = |state: &mut serde_json::Value| state["tried"]["last_seen"] = later.to_string().into();
    let text = |arguments: &[&str], code| {
        let output = lab.certd(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    };
    state(&lab, ahead);
    let printed = text(&["check"], 3);
    let words = later.strftime("it was later already, %Y-%m-%d %H:%M UTC").to_string();
    assert!(printed.contains(&words), "{printed}");
    // The CA does not answer.
    (0..2).for_each(|_| lab.proxy.script.cut("directory", 1, Point::Before));
    let printed = text(&["renew", "--force"], 5);
    assert!(printed.contains("cannot be right") && printed.contains("next: set it (timedatectl)"), "{printed}");
    // It says that the clock is two days off.
    let date = (clock::now() - SignedDuration::from_hours(48)).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    lab.proxy.script.answer("directory", 1, Point::Before, Answer::new(503, "").header("date", &date));
    let printed = text(&["renew", "--force"], 5);
    assert!(printed.contains("the CA's says"), "{printed}");
    assert_eq!((lab.pebble.issued(), lab.proxy.script.count("new-order")), (1, orders));
    // It agrees with the clock: what was remembered was wrong.
    text(&["renew"], 0);
    text(&["check"], 0);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn k03_two_hours_beside_the_cas_clock_are_a_warning_that_names_both() {
    let lab = started(1);
    assert_eq!(lab.certd(&["renew"]).status.code(), Some(0));
    state(&lab, |state| state["tried"]["ari"] = serde_json::json!({}));
    let date = (clock::now() - SignedDuration::from_hours(2)).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    lab.proxy.script.answer("renewal-info", 1, Point::Before, Answer::new(503, "").header("date", &date));
    let output = lab.certd(&["renew"]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{printed}");
    assert!(printed.contains("minutes ahead of 127.") && printed.contains(": here 2"), "{printed}");
}

#[test]
fn the_proxy_of_the_environment_is_used_from_the_start_and_after_a_reload() {
    let lab = started(1);
    let gateway = lab.gateway(Kind::Http);
    // Nobody here can look that name up.
    lab.replace_line("directory", &format!("directory = \"https://ca.invalid:{}/dir\"", lab.proxy.at.port()));
    let mut run = Running::start(&lab, &[("HTTPS_PROXY", &format!("http://{}", gateway.at))]);
    run.hear("1 of 1 ok");
    assert!(!gateway.asked().is_empty(), "{}", run.stderr());
    lab.replace_line("domains", &format!("domains = [\"{SERVICE}\", \"www.{SERVICE}\"]"));
    run.hang_up();
    run.wait_for_line("reloaded: 1 certificate, 1 node");
    assert!(wait_until(|| lab.pebble.issued() == 2), "{}", run.stderr());
    run.ends(0);
}
