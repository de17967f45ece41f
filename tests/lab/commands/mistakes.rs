//! Mistakes of usage and configuration: exit code 2, nothing on stdout, and words that say what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use super::lab::{Lab, Options};
use super::{exits, started, stderr, stdout};

/// Without a lab: nothing of this comes as far as a peer.
fn certd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_certd")).args(arguments).env_clear().output().unwrap()
}

fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certd.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    exits(output, 2);
    assert_eq!(stdout(output), "", "stdout carries the report alone");
    for words in words {
        assert!(stderr(output).contains(words), "{words:?} in:\n{}", stderr(output));
    }
}

#[test]
fn the_help_of_every_command() {
    let mut commands = vec![Vec::new()];
    let mut seen = 0;
    while let Some(command) = commands.pop() {
        let output =
            certd(&[&command[..], &["--help".to_owned()]].concat().iter().map(String::as_str).collect::<Vec<_>>());
        exits(&output, 0);
        assert_eq!(stderr(&output), "");
        let text = stdout(&output);
        let below = text.split_once("Commands:\n").and_then(|(_, rest)| rest.split("\n\n").next()).unwrap_or_default();
        // A line that is indented further goes on with the one above.
        let named = below.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let named = named.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
        commands.extend(named.map(|name| [&command[..], &[name.to_owned()]].concat()));
        let case = if command.is_empty() { "certd".to_owned() } else { command.join("-") };
        insta::with_settings!({ snapshot_path => "help", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(case, text);
        });
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn the_version_is_told() {
    let output = certd(&["--version"]);
    exits(&output, 0);
    assert_eq!(stdout(&output), format!("certd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_flag_command_or_span_is_a_usage_error() {
    refused(&certd(&[]), &["Usage: certd"]);
    refused(&certd(&["chek"]), &["'chek'", "'check'"]);
    refused(&certd(&["check", "--fast"]), &["'--fast'", "Usage: certd check"]);
    refused(&certd(&["renew", "--wait", "soon"]), &["'soon'", "give a duration such as 10m, 90s or 1h"]);
    refused(&certd(&["renew", "--wait=-5m"]), &["the duration cannot be negative"]);
    refused(&certd(&["renew", "--force", "--dry-run"]), &["cannot be used with"]);
    refused(&certd(&["trust"]), &["<NODE>"]);
    refused(&certd(&["check", "--output", "xml"]), &["text, json"]);
}

#[test]
fn a_missing_configuration_is_told_with_the_next_step() {
    for command in [&["check"][..], &["plan"], &["renew"], &["deploy"], &["trust", "x"], &["config", "check"]] {
        let output = certd(&[command, &["--config", "/nonexistent/certd.toml"]].concat());
        refused(&output, &["certd: /nonexistent/certd.toml: No such file", "next: give --config FILE"]);
    }
}

#[test]
fn a_broken_configuration_is_told_with_every_line() {
    let text = "[acme]\ndirectory = \"letsencript\"\n[dns]\nprovider = \"cloudflare\"\ntoken_file = \"relative\"\n\
                [[certificate]]\ndomains = [\"a b\"]\nnodes = [\"*\"]\n[[node]]\nname = \"n\"\naddres = \"192.0.2.1\"\n";
    let (_folder, path) = written(text);
    let shown = path.display().to_string();
    for command in [&["config", "check"][..], &["check"], &["plan"], &["renew"], &["deploy"]] {
        let output = certd(&[command, &["--config", &shown]].concat());
        refused(&output, &[&format!("certd: {shown}:2:"), ":5:", ":7:", ":11:", "write: "]);
    }
    let (_folder, path) = written("[acme\n");
    refused(&certd(&["check", "--config", &path.display().to_string()]), &["certd.toml:1:", "not TOML"]);
}

#[test]
fn a_configuration_that_is_well_is_told_with_what_it_has() {
    let lab = started(Options::nodes(1));
    let output = lab.certd(&["config", "check"]);
    exits(&output, 0);
    assert_eq!(stdout(&output), format!("{}: ok (1 certificate, 1 node)\n", lab.config_path().display()));
    assert!(!lab.state_dir().exists());
}

#[test]
fn an_unknown_name_is_told_with_the_known_ones() {
    let lab = started(Options::default());
    for command in [&["check"][..], &["plan"], &["renew"], &["deploy"], &["generations"]] {
        let output = lab.certd(&[command, &["newapi.example.tset"]].concat());
        refused(&output, &["no certificate is called \"newapi.example.tset\"", "has newapi.example.test"]);
    }
    for command in [&["deploy", "--node"][..], &["trust"]] {
        let output = lab.certd(&[command, &["shanghai"]].concat());
        refused(&output, &["no node is called \"shanghai\"", "has cn2-shanghai, 广州, shenzhen"]);
    }
    assert!(!lab.state_dir().exists());
}

#[test]
fn a_token_that_others_can_read_or_nobody_is_told_with_its_file_and_what_to_do() {
    let lab = started(Options::nodes(1));
    let token = lab.folder.join("cloudflare.token");
    let shown = token.display().to_string();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&lab.certd(&["renew"]), &[&shown, &format!("next: chmod 600 '{shown}'")]);
    assert!(!stderr(&lab.certd(&["renew"])).contains(&lab.token));
    unneeded(&lab);
    fs::remove_file(&token).unwrap();
    refused(&lab.certd(&["renew"]), &[&shown, "next: "]);
    fs::write(&token, "").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    refused(&lab.certd(&["deploy"]), &[&shown, "empty"]);
    assert_eq!(lab.proxy.script.count("*"), 0);
}

/// Who only looks needs no secret.
fn unneeded(lab: &Lab) {
    let output = lab.certd(&["check"]);
    assert!(stdout(&output).contains("node-1"), "{}", stderr(&output));
}
