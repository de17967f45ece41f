//! Health checks against real nginx nodes, by `certd check --health` and by `certd run`.

use crate::lab;
use crate::run::Running;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use lab::config::ConfigText;
use lab::node::{NodeOptions, Old};
use lab::printed::{exits, stderr, stdout};
use lab::process::wait_until;
use lab::{Lab, Options, SERVICE};

/// What every node answers at other paths than `/health`.
fn answers(health: &str, silent: u16) -> String {
    format!(
        "if ($uri = /health) {{ {health} }} if ($uri = /backend) {{ break; }} if ($uri = /slow) {{ break; }} \
         if ($http_x_secret = \"open sesame\") {{ return 204; }} \
         location = /backend {{ proxy_pass http://127.0.0.1:1; }} \
         location = /slow {{ proxy_pass http://127.0.0.1:{silent}; }}"
    )
}

fn lab(healths: &[&str], silent: u16) -> Lab {
    let nodes = healths.iter().enumerate().map(|(number, health)| NodeOptions {
        old: Old::Days(-1),
        nginx: answers(health, silent),
        ..NodeOptions::new(&format!("node-{}", number + 1))
    });
    Lab::start(Options { nodes: nodes.collect(), ..Options::default() })
}

impl Lab {
    fn health_config(&self, health: &str, more: &str) {
        let end = format!("[health]\n{health}\n{more}");
        self.write_config_with(&ConfigText { end, ..ConfigText::default() });
    }

    /// By node: the word, and the words of its finding.
    fn health(&self, code: i32) -> Vec<(String, String)> {
        let output = self.certd(&["check", "--health", "--output", "json"]);
        exits(&output, code);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let nodes = report["health"][0]["nodes"].as_array().unwrap_or_else(|| panic!("{report:#}")).clone();
        let of = |node: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&node["node"]), text(&node["health"]), text(&node["findings"][0]["what"]))
        };
        let mut found: Vec<_> = nodes.iter().map(of).collect();
        found.sort();
        found.into_iter().map(|(_, word, what)| (word, what)).collect()
    }
}

fn words(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(word, _)| word.as_str()).collect()
}

#[test]
fn a_look_tells_apart_what_nodes_answer() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = "return 302 https://elsewhere.example/;";
    let lab = lab(&["return 401;", "return 500;", "return 444;", elsewhere], silent.local_addr().unwrap().port());
    lab.health_config("path = \"/health\"\nstatus = [200, 401]\ninterval = \"1s\"", "");
    // What the nodes have before certd comes has expired: nothing is sent there.
    let found = lab.health(4);
    assert_eq!(words(&found), ["tls"; 4], "{found:?}");
    assert!(found[0].1.contains("no request was sent: the certificate has expired"), "{found:?}");
    exits(&lab.certd(&["renew"]), 0);

    let found = lab.health(4);
    assert_eq!(words(&found), ["ok", "status", "no-answer", "status"], "{found:?}");
    assert!(found[1].1.ends_with("answers 500, and not 200 or 401"), "{found:?}");
    assert!(found[2].1.ends_with("the server closed the connection without a response"), "{found:?}");
    assert!(found[3].1.contains("answers 302, leads to \"https://elsewhere.example/\""), "{found:?}");
    let output = lab.certd(&["check", "--health"]);
    exits(&output, 4);
    for text in ["401 HTTP/2", "1 of 4 are healthy", "4 of 4 serve the right certificate"] {
        assert!(stdout(&output).contains(text), "{text}\n{}", stdout(&output));
    }
    // Without it nobody is asked.
    exits(&lab.certd(&["check"]), 0);
    assert!(lab.certd(&["check", "--health", "--nagios"]).status.code() == Some(2));

    // The backend is down: that is one finding, of no node.
    lab.health_config("path = \"/backend\"", "");
    assert_eq!(words(&lab.health(4)), ["backend"; 4]);
    let output = lab.certd(&["check", "--health"]);
    let text = exits(&output, 4);
    assert!(text.contains("every node that answers says 502"), "{text}");
    assert!(text.contains("visitors are hurt now") && text.contains("(health-backend)"), "{text}");

    lab.health_config("path = \"/slow\"\ntimeout = \"1s\"", "");
    let found = lab.health(4);
    assert_eq!(words(&found), ["backend"; 4], "{found:?}");
    let text = exits(&lab.certd(&["check", "--health"]), 4);
    assert!(text.contains("every node that answers takes the request and gives no response"), "{text}");

    lab.health_config("path = \"/\"\nbody = \"newapi\"\nhttp = \"1.1\"", "");
    assert_eq!(words(&lab.health(0)), ["ok"; 4]);
    lab.health_config("path = \"/\"\nbody = \"another service\"\nhttp = \"2\"", "");
    let found = lab.health(4);
    assert_eq!(words(&found), ["body"; 4], "{found:?}");
}

#[test]
fn header_fields_from_a_file_are_sent_and_never_shown() {
    let lab = lab(&["return 200;"], 1);
    let file = lab.folder.join("health.headers");
    fs::write(&file, "# of the load balancer\nX-Secret: open sesame\n").unwrap();
    lab.health_config(&format!("status = 204\nheaders_file = {file:?}"), "");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let output = lab.certd(&["check", "--health"]);
    exits(&output, 2);
    assert!(stderr(&output).contains("group or others can read it"), "{}", stderr(&output));
    // It concerns nothing else.
    exits(&lab.certd(&["renew"]), 0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let output = lab.certd(&["check", "--health", "-v", "--output", "json"]);
    exits(&output, 0);
    assert!(!format!("{}{}", stdout(&output), stderr(&output)).contains("sesame"));
    // A mistake in it concerns only the certificates that it is for, and keeps what was read in use.
    let run = "[run]\ncheck_every = \"1s\"\n";
    lab.health_config(&format!("status = 204\nheaders_file = {file:?}\ninterval = \"1s\"\nfall = 1"), run);
    let mut running = Running::start(&lab, &[]);
    running.hear("READY=1");
    fs::write(&file, "X-Secret: open sesame\nX-Secret open sesame\n").unwrap();
    running.hang_up();
    running.wait_for_line("line 2 is no header field; the old value stays in use");
    let before = lab.nodes[0].tls_connections();
    // More than the one that a look makes in that time.
    assert!(wait_until(|| lab.nodes[0].tls_connections() >= before + 6));
    running.ends(0);
    assert!(!running.stderr().contains("health of"), "{}", running.stderr());
    let output = lab.certd(&["check", "--health"]);
    let shown = stderr(&output);
    assert!(shown.contains("line 2 is no header field") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn the_service_sees_a_node_fall_and_rise_and_a_backend_that_is_no_nodes_fault() {
    let mut lab = lab(&["return 200;", "return 200;"], 1);
    let run = "[run]\ncheck_every = \"1h\"\n";
    lab.health_config("path = \"/health\"\ninterval = \"1s\"\ntimeout = \"1s\"\nrise = 2\nfall = 2", run);
    exits(&lab.certd(&["renew"]), 0);
    let mut running = Running::start(&lab, &[]);
    running.hear("READY=1");
    lab.nodes[0].stop_nginx();
    running.wait_for_line(&format!("node-1: health of {SERVICE} is no-answer"));
    lab.nodes[0].start_nginx();
    running.wait_for_line(&format!("health of {SERVICE} is ok"));
    // The path is another one now, at which both ask a backend that is not there.
    lab.health_config("path = \"/backend\"\ninterval = \"1s\"\nrise = 2\nfall = 2", run);
    running.hang_up();
    running.wait_for_line(&format!("health of {SERVICE}: every node that answers says 502"));
    lab.health_config("path = \"/health\"\ninterval = \"1s\"\nrise = 2\nfall = 2", run);
    running.hang_up();
    running.wait_for_line(&format!("health of {SERVICE}: the backend answers again"));
    running.ends(0);
    let events = running.stderr();
    assert!(!events.contains("node-2: health") && !events.contains("is status"), "{events}");
    // What it knew is there for a look, which adds its own answer.
    let output = lab.certd(&["check", "--health", "--output", "json"]);
    exits(&output, 0);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for node in report["health"][0]["nodes"].as_array().unwrap() {
        assert!(node["responses"].as_u64().unwrap() > 3, "{node}");
        assert!(node["p50_ms"].as_u64().unwrap() > 0, "{node}");
    }
}

#[test]
fn a_look_at_health_needs_a_health_check() {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    let output = lab.certd(&["check", "--health"]);
    exits(&output, 2);
    assert!(stderr(&output).contains("no health check is configured"), "{}", stderr(&output));
}
