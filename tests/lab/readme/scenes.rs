//! Scenes that take a lab: three nodes on their first day, and what fails there.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::{plays, read};
use crate::lab::config::ConfigText;
use crate::lab::nginx::NginxCommand;
use crate::lab::node::{NodeOptions, Old};
use crate::lab::pebble::PebbleOptions;
use crate::lab::printed::{exits, stderr, stdout};
use crate::lab::script::Answer;
use crate::lab::{Lab, Options, SERVICE};

/// The places in it, with all elements of a list as one.
fn fields(value: &Value, at: &str) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = match value {
        Value::Object(of) => of.iter().flat_map(|(key, value)| fields(value, &format!("{at}.{key}"))).collect(),
        Value::Array(of) => of.iter().flat_map(|value| fields(value, &format!("{at}[]"))).collect(),
        _ => BTreeSet::new(),
    };
    all.insert(at.to_owned());
    all
}

/// Three nodes as in `config/certd.toml`, with what three machines have that nobody looked after.
fn three_nodes() -> Lab {
    let node = |name: &str, days| NodeOptions { old: Old::Days(days), ..NodeOptions::new(name) };
    let nodes = vec![node("cn2-shanghai", 19), node("cn2-guangzhou", -3), node("cn2-shenzhen", 19)];
    // Pebble draws one of several profiles.
    let pebble = PebbleOptions { profiles: vec![("default".into(), 90 * 86_400)], ..PebbleOptions::default() };
    let lab = Lab::start(Options { nodes, pebble, ..Options::default() });
    lab.write_config("");
    lab
}

/// With the names and addresses of the documents in the place of the lab's.
pub(super) fn tidied(lab: &Lab, text: &str) -> String {
    let host = |url: &str| url.split("://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let ca = host(&lab.proxy.directory());
    let mut names = vec![
        (lab.config_path().display().to_string(), "/etc/certd/certd.toml".to_owned()),
        (lab.state_dir().display().to_string(), "/var/lib/certd".to_owned()),
        (ca.replace(':', "-"), "ca.example.com".to_owned()),
        (ca, "ca.example.com".to_owned()),
        (host(&lab.cloudflare.base()).split(':').next().unwrap().to_owned(), "api.cloudflare.com".to_owned()),
        ("example.test".to_owned(), "example.com".to_owned()),
        ("owned by user 0,".to_owned(), "owned by user 997,".to_owned()),
    ];
    for (at, node) in lab.nodes.iter().enumerate() {
        let address = format!("192.0.2.{}", at + 1);
        names.push((node.folder.display().to_string(), "/usr/local/nginx".to_owned()));
        names.push((node.tls.to_string(), format!("{address}:443")));
        names.push((node.ssh.to_string(), format!("{address}:22")));
        names.push((format!("[{}]:{}", node.ssh.ip(), node.ssh.port()), address.clone()));
        names.push((format!("port {}", node.ssh.port()), "port 22".to_owned()));
        names.push((node.ssh.ip().to_string(), address));
    }
    let text = names.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let is_row = |line: &str| columns(line).len() == 5 && line.contains(":443") || line.contains("ADDRESS");
    let rows: Vec<Vec<&str>> = text.lines().filter(|line| is_row(line)).map(columns).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.len()).max().unwrap_or(0);
    let row = |line: &str| {
        let cells = columns(line);
        let cells: Vec<String> = cells.iter().enumerate().map(|(at, it)| format!("{it:0$}", width(at))).collect();
        format!("  {}", cells.join("  ")).trim_end().to_owned()
    };
    text.lines().map(|line| if is_row(line) { row(line) } else { line.to_owned() } + "\n").collect()
}

fn columns(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

/// Without the lines that say whose each foreign certificate is: those of the lab are nobody's.
fn shortened(text: &str) -> String {
    let mut lines: Vec<&str> =
        text.lines().map(|line| if line.contains(", not ours: ") { "  …" } else { line }).collect();
    lines.dedup();
    lines.join("\n")
}

/// The line that has these words, and those below it that belong to it.
fn about(text: &str, words: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut lines = text.lines().skip_while(|line| !line.contains(words));
    let first = lines.next().unwrap_or_else(|| panic!("{words:?} is not in\n{text}"));
    let rest = lines.take_while(|line| indent(line) > indent(first));
    core::iter::once(first).chain(rest).map(|line| format!("{line}\n")).collect()
}

/// What stands below the table of these nodes, each sentence with its advice.
fn notes(text: &str, nodes: &[&str]) -> String {
    let (mut notes, mut about) = (String::new(), false);
    for line in text.lines() {
        let note = line.strip_prefix("  ").filter(|note| !note.starts_with(' '));
        if let Some((subjects, _)) = note.and_then(|note| note.split_once(": ")) {
            about = subjects.split(", ").any(|subject| nodes.contains(&subject));
        } else if !line.starts_with("    ") {
            about = false;
        }
        if about {
            notes.push_str(&format!("{line}\n"));
        }
    }
    assert!(!notes.is_empty(), "nothing about {nodes:?} in\n{text}");
    notes
}

fn report(lab: &Lab, arguments: &[&str], code: i32) -> String {
    let output = lab.certd(&[arguments, &["--quiet"]].concat());
    exits(&output, code);
    tidied(lab, &(stdout(&output) + &stderr(&output)))
}

#[test]
fn the_first_run_is_as_shown() {
    let mut lab = three_nodes();
    plays("first-check", "sudo certd check", &shortened(&report(&lab, &["check"], 4)));
    plays("first-plan", "sudo certd plan", &report(&lab, &["plan"], 4));
    plays("rehearsal", "sudo certd renew --dry-run -q", &shortened(&report(&lab, &["renew", "--dry-run"], 4)));
    plays("first-renew", "sudo certd renew -q", &report(&lab, &["renew"], 0));
    plays("second-plan", "sudo certd plan", &report(&lab, &["plan"], 0));
    plays("nagios", "sudo certd check --nagios", &report(&lab, &["check", "--nagios"], 0));
    lab.node("cn2-shenzhen").stop_sshd();
    plays("doctor", "sudo certd doctor", &report(&lab, &["doctor"], 6));
    lab.node("cn2-shenzhen").stop_nginx();
    let output = lab.certd(&["renew", "--force", "--quiet", "--output", "json"]);
    exits(&output, 4);
    let example = read("docs/json.md");
    let example = example.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let fields = |text: &str| fields(&serde_json::from_str(text).unwrap(), "");
    let (shown, printed) = (fields(example), fields(&stdout(&output)));
    let gone: Vec<&String> = shown.difference(&printed).collect();
    assert!(gone.is_empty(), "docs/json.md shows fields that are not printed: {gone:?}");

    lab.replace_line("host_key", "");
    plays("trust", "sudo certd trust cn2-shanghai", &report(&lab, &["trust", "cn2-shanghai"], 0));
}

#[test]
fn what_fails_is_reported_as_shown() {
    let mut lab = three_nodes();
    let token = lab.folder.join("cloudflare.token");
    fs::write(&token, "wrong").unwrap();
    plays("trouble-token", "", &about(&report(&lab, &["renew"], 4), "not issued: "));
    fs::write(&token, &lab.token).unwrap();
    lab.proxy.script.fail("new-order", 1000, &Answer::new(503, "busy"));
    plays("trouble-ca", "", &about(&report(&lab, &["renew", "--force"], 4), "not issued: "));
    plays("trouble-pause", "", &about(&report(&lab, &["renew"], 4), "not issued: "));
    lab.proxy.script.forget_rules();
    report(&lab, &["renew", "--force"], 0);

    lab.node("cn2-shenzhen").stop_sshd();
    lab.node("cn2-shenzhen").stop_nginx();
    lab.node("cn2-guangzhou").break_nginx_config();
    let text = report(&lab, &["renew", "--force"], 4);
    let down = about(&text, "  cn2-shenzhen  ") + "…\n" + &notes(&text, &["cn2-shenzhen"]);
    plays("trouble-down", "", &down);
    plays("trouble-config", "", &notes(&text, &["cn2-guangzhou"]));

    lab.node("cn2-guangzhou").mend_nginx_config();
    lab.node("cn2-guangzhou").change_host_key();
    lab.node("cn2-shenzhen").start_sshd();
    let text = report(&lab, &["renew", "--force"], 4);
    // The lab pins what a node shows when the configuration is written; this one was written before.
    plays("trouble-host-key", "", &notes(&text, &["cn2-guangzhou"]));
    plays("trouble-stopped", "", &notes(&text, &["cn2-shenzhen"]));

    lab.node("cn2-shenzhen").start_nginx();
    lab.write_config("");
    let text = report(&lab, &["renew", "--force"], 5);
    plays("trouble-ledger", "", &about(&text, "not issued: "));

    let lock = fs::File::options().write(true).open(lab.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    plays("trouble-lock", "sudo certd renew --wait 0s", &report(&lab, &["renew", "--wait", "0s"], 7));
}

#[test]
fn what_a_node_undoes_is_reported_as_shown() {
    let mut lab = three_nodes();
    let certificate = format!(
        "[[certificate]]\nname = {SERVICE:?}\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\n\
         canary = [\"cn2-shanghai\", \"cn2-guangzhou\"]\n\n"
    );
    lab.write_config_with(&ConfigText { certificates: Some(certificate), ..ConfigText::default() });
    report(&lab, &["renew"], 0);
    for node in &lab.nodes {
        // Passes with the certificate that is there now, fails with every other.
        let (path, serial) = (node.fullchain(SERVICE), node.settled(SERVICE).unwrap().serial);
        let script = format!(
            "openssl x509 -noout -serial -in '{}' | grep -qi '{serial}' || \
             {{ echo 'nginx: [emerg] SSL_CTX_use_certificate() failed' >&2; exit 1; }}\nexec \"$@\"\n",
            path.display()
        );
        node.replace_command(NginxCommand::Test, Some(&script));
    }
    let text = report(&lab, &["renew", "--force"], 6);
    plays("trouble-refused", "", &notes(&text, &["cn2-shanghai", "cn2-guangzhou", "cn2-shenzhen"]));

    lab.nodes.iter().for_each(|node| node.replace_command(NginxCommand::Test, None));
    report(&lab, &["deploy"], 0);
    lab.node("cn2-shenzhen").replace_command(NginxCommand::Reload, Some("exit 0\n"));
    let text = report(&lab, &["renew", "--force"], 6);
    plays("trouble-reload", "", &notes(&text, &["cn2-shenzhen"]));
}
