//! The documents say what the program does. Each block of output in them is a scene that is played here, every link leads
//! somewhere, and every source file that they name exists.
//!
//! After a change of words: `INSTA_UPDATE=always cargo test --test lab readme::` puts what is printed now into the documents; read
//! the difference before you commit it.

mod migrate;
mod scenes;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use crate::lab::printed::{stderr, stdout};
use certd::plan::ledger;

const LONGEST_README: usize = 220;

/// Each stands in one document, as a block that begins with "```console NAME".
const SCENES: [&str; 25] = [
    "help",
    "config-check",
    "mistakes",
    "first-check",
    "first-plan",
    "first-renew",
    "second-plan",
    "rehearsal",
    "doctor",
    "trust",
    "migrate-init",
    "migrate-takeover",
    "migrate-check",
    "nagios",
    "trouble-token",
    "trouble-ca",
    "trouble-pause",
    "trouble-down",
    "trouble-config",
    "trouble-stopped",
    "trouble-host-key",
    "trouble-refused",
    "trouble-reload",
    "trouble-ledger",
    "trouble-lock",
];

/// Tests run side by side, and two may write one document.
static WRITING: Mutex<()> = Mutex::new(());

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<String> {
    let in_docs = fs::read_dir(repository().join("docs")).expect("a folder of the repository");
    let in_docs = in_docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().to_string_lossy()));
    let at_the_root = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned);
    let mut all: Vec<String> = in_docs.filter(|path| path.ends_with(".md")).chain(at_the_root).collect();
    all.sort();
    all
}

fn writes() -> bool {
    std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always")
}

/// The document that shows this scene, and the block's text.
fn shown(scene: &str) -> (String, String) {
    let fence = format!("```console {scene}\n");
    let found: Vec<(String, String)> = documents()
        .into_iter()
        .filter_map(|path| {
            let text = read(&path);
            let block = text.split(&fence).nth(1)?.split("```").next()?.to_owned();
            Some((path, block))
        })
        .collect();
    assert_eq!(found.len(), 1, "{scene} stands in one document: {found:?}");
    found.into_iter().next().unwrap()
}

/// What a document shows of this scene is what was printed, but for numbers, dates and keys.
#[track_caller]
fn plays(scene: &str, command: &str, printed: &str) {
    assert!(SCENES.contains(&scene), "{scene} is no known scene");
    let command = if command.is_empty() { String::new() } else { format!("$ {command}\n") };
    let now = format!("{command}{}\n", printed.trim_end());
    let _one_at_a_time = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let (path, block) = shown(scene);
    // Written anew all together, so that what a document shows in several blocks is of one run.
    if !writes() && blurred(&block) == blurred(&now) {
        return;
    }
    assert!(writes(), "{path}, {scene}: is this still so?\n--- shown\n{block}--- printed\n{now}");
    let fence = format!("```console {scene}\n");
    let text = read(&path).replace(&format!("{fence}{block}```"), &format!("{fence}{now}```"));
    fs::write(repository().join(path), text).unwrap();
}

/// Without what differs from run to run: numbers, dates, fingerprints, keys, and how wide columns are.
fn blurred(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |(at, word): (usize, &&str)| {
            let (before, after) = (at.checked_sub(1).map(|at| words[at]), words.get(at + 1).copied());
            let counts = matches!(before, Some("(exit" | "of" | "code")) || after == Some("of");
            if !counts && varies(word) { "#".to_owned() } else { (*word).to_owned() }
        };
        words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

fn varies(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let number = word.chars().all(|c| c.is_ascii_hexdigit() || "-:.TZ".contains(c));
    let is_address = word.matches('.').count() == 3;
    // A fingerprint may have letters alone.
    number && !is_address && (word.len() == 8 || word.chars().any(|c| c.is_ascii_digit()))
        || word.starts_with("SHA256:")
        || word.starts_with("AAAA")
        || word.contains("://")
        // Performance data.
        || word.contains("'=")
}

#[test]
fn every_block_of_output_is_played() {
    let shown: Vec<String> = documents()
        .iter()
        .flat_map(|path| {
            let text = read(path);
            let scenes =
                text.split("```console").skip(1).map(|rest| rest.lines().next().unwrap_or("").trim().to_owned());
            scenes.collect::<Vec<_>>()
        })
        .collect();
    for scene in SCENES {
        assert_eq!(shown.iter().filter(|it| *it == scene).count(), 1, "{scene}");
    }
    for scene in &shown {
        assert!(SCENES.contains(&scene.as_str()), "nothing plays the block {scene:?}");
    }
}

#[test]
fn the_readme_is_short_and_its_configuration_is_the_example() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines <= LONGEST_README, "{lines} lines; the rest belongs in docs/");
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a toml block");
    assert_eq!(block, read("config/certd.toml"));
}

#[test]
fn its_exit_codes_are_those_of_help() {
    let output = Command::new(env!("CARGO_BIN_EXE_certd")).arg("--help").env("COLUMNS", "400").output();
    let help = String::from_utf8(output.expect("certd starts").stdout).expect("help is UTF-8");
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (help, readme) = (squeeze(&help), squeeze(&read("README.md")));
    for code in 0..=7 {
        let start = format!(" {code} ");
        let meaning = help.split("lists all):").nth(1).and_then(|codes| codes.split(&start).nth(1));
        let meaning = meaning.expect("help has this code").split(&format!(" {} ", code + 1)).next().expect("a text");
        let row = format!("| {code} | {meaning}");
        if !readme.contains(&row) && writes() {
            let _one_at_a_time = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
            let of_code = |line: &str| line.starts_with(&format!("| {code} | "));
            let line = |line: &str| if of_code(line) { format!("{row} |\n") } else { format!("{line}\n") };
            fs::write(repository().join("README.md"), read("README.md").lines().map(line).collect::<String>()).unwrap();
            continue;
        }
        assert!(readme.contains(&row), "{code}: {meaning}");
    }
}

/// As GitHub makes them of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Without blocks of code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut checked = 0;
    for path in documents() {
        for link in prose(&read(&path)).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, wanted) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = match file {
                "" => PathBuf::from(&path),
                _ => Path::new(&path).parent().unwrap().join(file),
            };
            assert!(repository().join(&target).exists(), "{path}: {link} leads nowhere");
            if let Some(wanted) = wanted {
                let text = read(target.to_str().unwrap());
                let found = prose(&text).lines().any(|line| line.starts_with('#') && anchor(line) == wanted);
                assert!(found, "{path}: {link}: no heading is called so");
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

/// `src/dns/error.rs` is a file, and `src/dns/error.rs::advice` has that word in it.
#[test]
fn every_file_that_is_named_exists() {
    let mut checked = 0;
    // The history speaks of what was.
    for path in documents().into_iter().filter(|path| path != "CHANGELOG.md") {
        let text = prose(&read(&path));
        for name in text.split('`').skip(1).step_by(2) {
            if !["src/", "tests/", "config/", "systemd/", "docs/"].iter().any(|folder| name.starts_with(folder)) {
                continue;
            }
            let (file, word) = name.split_once("::").map_or((name, None), |(file, word)| (file, Some(word)));
            if file.contains(['*', ' ', '<']) {
                continue;
            }
            assert!(repository().join(file).exists(), "{path}: there is no {file}");
            if let Some(word) = word {
                assert!(read(file).contains(word), "{path}: {file} has no {word}");
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn the_module_map_has_every_folder_and_the_ledger_its_limits() {
    let design = read("docs/design.md");
    for entry in fs::read_dir(repository().join("src")).expect("a folder of the repository") {
        let name = entry.unwrap().file_name().to_string_lossy().trim_end_matches(".rs").to_owned();
        let known = name == "lib" || name == "main" || design.contains(&format!("\n| {name} | "));
        assert!(known, "docs/design.md does not say what src/{name} is");
    }
    let (limits, per_week) = (read("docs/ca.md"), certd::config::defaults::CERTIFICATES_PER_WEEK);
    for row in [
        format!("in 7 days | {}; {per_week} in an emergency", ledger::ordinary(per_week)),
        format!("in a day | {} |", ledger::EXEMPT_PER_DAY),
        format!("in 3 hours | {} |", ledger::PER_ACCOUNT),
        format!("in an hour | {} |", ledger::FAILED_AUTHORIZATIONS_PER_HOUR),
    ] {
        assert!(limits.contains(&row), "docs/ca.md has no {row:?}");
    }
}

/// Runs certd on a configuration in a folder of its own.
fn offline(config: &str, arguments: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = folder.path().join("certd.toml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_certd"));
    let output = command.args(arguments).arg("--config").arg(&path).env("COLUMNS", "100").output().unwrap();
    let text = stdout(&output) + &stderr(&output);
    let text = text.replace(&path.display().to_string(), "/etc/certd/certd.toml");
    (output, text)
}

#[test]
fn what_needs_no_peer_is_as_shown() {
    let example = read("config/certd.toml");
    let (output, text) = offline(&example, &["config", "check"]);
    assert_eq!(output.status.code(), Some(0));
    plays("config-check", "certd config check", &text);

    let wrong = example.replace("contact   =", "profil    = \"tlsserver\"\ncontact   =");
    let wrong = wrong.replace("nodes   = [\"*\"] ", "nodes   = [\"cn2-shanghia\"] ");
    let (output, text) = offline(&wrong, &["config", "check"]);
    assert_eq!(output.status.code(), Some(2));
    plays("mistakes", "certd config check", &text);

    let (output, text) = offline(&example, &["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let commands = text.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    plays("help", "certd --help", &format!("Commands:\n{commands}"));
}
