//! The documents say what the program does. Each block of output in them is a scene that is played here, every link leads
//! somewhere, and every source file that they name exists.
//!
//! After a change of words: `INSTA_UPDATE=always cargo test --test lab readme::` puts what is printed now into the documents; read
//! the difference before you commit it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::lab::config::ConfigText;
use crate::lab::nginx::NginxCommand;
use crate::lab::node::{NodeOptions, Old};
use crate::lab::pebble::PebbleOptions;
use crate::lab::printed::{exits, stderr, stdout};
use crate::lab::script::Answer;
use crate::lab::{Lab, Options, SERVICE};
use certd::plan::ledger;

const LONGEST_README: usize = 220;

/// Each stands in one document, as a block that begins with "```console NAME".
const SCENES: [&str; 22] = [
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
    if blurred(&block) == blurred(&now) {
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
    number && !is_address && word.chars().any(|c| c.is_ascii_digit())
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
    // The catalogue of faults and the history speak of what was.
    for path in documents().into_iter().filter(|path| path != "docs/faults.md" && path != "CHANGELOG.md") {
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
fn tidied(lab: &Lab, text: &str) -> String {
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
