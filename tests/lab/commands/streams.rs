//! stdout carries the report alone, stderr what happens meanwhile, and both survive a reader that goes away.

use std::process::{Command, Stdio};

use super::lab::nginx::NginxCommand;
use super::lab::{Lab, Options};
use super::{exits, json, renewed, started, stderr, stdout};

#[test]
fn progress_is_on_stderr_and_the_report_on_stdout() {
    let lab = started(Options::nodes(2));
    let output = lab.certd(&["renew"]);
    exits(&output, 0);
    let progress = stderr(&output);
    for phase in ["preparing", "prepared", "committing", "verifying", "served"] {
        for node in ["node-1", "node-2"] {
            let line = format!("{node}: {phase}");
            assert!(progress.lines().any(|reply| reply.starts_with(&line)), "{line:?} in:\n{progress}");
        }
        assert!(!stdout(&output).contains(&format!(": {phase}\n")), "{}", stdout(&output));
    }
    assert!(!progress.contains("2 of 2"), "{progress}");

    let output = lab.certd(&["renew", "--force", "--output", "json"]);
    exits(&output, 0);
    let report = json(&output);
    assert_eq!(report["schema"], "certd.report/1");
    assert!(report["certificates"][0]["issuance"]["issued"]["generation"].is_string(), "{report:#}");
    assert!(stderr(&output).contains("node-1: served"), "{}", stderr(&output));

    let output = lab.certd(&["renew", "--force", "--quiet"]);
    exits(&output, 0);
    assert_eq!(stderr(&output), "");
    assert!(stdout(&output).contains("issued: generation"));
}

#[test]
fn colour_is_for_terminals_unless_one_is_told_otherwise() {
    let lab = renewed(Options::nodes(1));
    assert!(!stdout(&lab.certd(&["check"])).contains('\x1b'), "a pipe");
    assert!(stdout(&lab.certd(&["check", "--color", "always"])).contains('\x1b'));
    let output = lab.command(&["check", "--color", "always"]).env("NO_COLOR", "1").output().unwrap();
    assert!(stdout(&output).contains('\x1b'), "who writes it on the command line means it");
    let coloured = |more: &[&str], variable: Option<&str>| {
        let output = on_a_terminal(&lab, more, variable);
        assert!(output.contains("1 of 1 serve"), "{output}");
        output.contains("\x1b[32m")
    };
    assert!(coloured(&[], None));
    assert!(!coloured(&[], Some("1")));
    assert!(coloured(&[], Some("")), "no-color.org: \"when present and not an empty string\"");
    assert!(!coloured(&["--color", "never"], None));
}

/// script(1) gives it a terminal.
fn on_a_terminal(lab: &Lab, more: &[&str], no_color: Option<&str>) -> String {
    let command = lab.command(&[&["check"], more].concat());
    let words: Vec<&str> = command.get_args().map(|word| word.to_str().unwrap()).collect();
    let line = format!("{} {}", command.get_program().to_str().unwrap(), words.join(" "));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).env("TERM", "xterm-256color").env_remove("NO_COLOR");
    script.envs(no_color.map(|value| ("NO_COLOR", value)));
    stdout(&script.output().unwrap())
}

#[test]
fn a_reader_that_goes_away_changes_nothing() {
    let lab = started(Options::nodes(1));
    let expected = lab.certd(&["check"]).status.code();
    for arguments in [&["check"][..], &["check", "--output", "json"], &["plan"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = lab.command(arguments);
        let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let expected = if arguments == ["--help"] { Some(0) } else { expected };
        assert_eq!((output.status.code(), stderr(&output)), (expected, String::new()), "{arguments:?}");
    }
    // Neither does one of stderr, in the middle of a renewal.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = lab.command(&["renew"]).stdin(Stdio::null()).stderr(writer).output().unwrap();
    exits(&output, 0);
    assert!(stdout(&output).contains("1 of 1 serve"));
}

#[test]
fn what_a_nodes_commands_print_cannot_touch_the_terminal() {
    let lab = renewed(Options::nodes(1));
    let hostile = "printf '\\033[2J\\033]0;title\\007\\r\\nall \\302\\233 is \\342\\200\\256 llew\\n' >&2; exit 1\n";
    lab.nodes[0].replace_command(NginxCommand::Test, Some(hostile));
    for arguments in [&["renew", "--force"][..], &["deploy", "--output", "json"], &["plan"], &["check", "-v"]] {
        let output = lab.certd(arguments);
        for shown in [stdout(&output), stderr(&output)] {
            let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert_eq!(shown.chars().find(|c| bad(*c)), None, "{arguments:?}: {shown:?}");
        }
        if ["renew", "deploy"].contains(&arguments[0]) {
            assert!(stdout(&output).contains("u{1b}[2J"), "{arguments:?}: it is shown, escaped: {}", stdout(&output));
        }
    }
}
