//! I7: no secret is in a log, argv, environment, error or report, on either end.

use crate::lab;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lab::nginx::NginxCommand;
use lab::{Lab, Options, SERVICE};

#[test]
fn no_secret_is_in_any_log_argument_environment_error_or_report() {
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();

    // While the node program runs, with the key in its hands.
    let held: Vec<_> = lab.nodes.iter().map(|node| node.hold_command(NginxCommand::Reload)).collect();
    let child = lab.spawn_certd(&["renew", "-v"]);
    held[0].wait();
    seen.extend(processes());
    held.into_iter().for_each(lab::nginx::HeldCommand::release);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    seen.insert("stdout".into(), output.stdout);
    seen.insert("stderr".into(), output.stderr);

    // When things fail, errors speak.
    lab.nodes[0].break_nginx_config();
    for (name, arguments) in [("check", &["check", "--output", "json"][..]), ("forced", &["renew", "--force", "-v"])] {
        let output = lab.certd(arguments);
        seen.insert(format!("{name} stdout"), output.stdout);
        seen.insert(format!("{name} stderr"), output.stderr);
    }
    lab.cloudflare.with(|account| account.token = "revoked".into());
    let output = lab.certd(&["renew", "--force", "-v"]);
    seen.insert("refused stdout".into(), output.stdout);
    seen.insert("refused stderr".into(), output.stderr);

    for node in &lab.nodes {
        seen.insert(format!("{} sshd", node.name), node.sshd_log().into_bytes());
        seen.insert(format!("{} nginx", node.name), node.nginx_log().into_bytes());
    }
    for file in ["history.jsonl", "ledger.jsonl", "txt.jsonl", "state.json"] {
        seen.insert(file.into(), fs::read(lab.state_dir().join(file)).unwrap_or_default());
    }

    let canaries = canaries(&lab);
    assert!(canaries.len() >= 4, "token, identity, account key, private keys: {}", canaries.len());
    for (what, canary) in &canaries {
        for (place, bytes) in &seen {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{what} is in {place}");
        }
    }
    // The search itself can find: the token is in its file.
    assert!(fs::read_to_string(lab.folder.join("cloudflare.token")).unwrap().contains(&canaries["the token"]));
}

#[test]
fn every_secret_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::start(Options::nodes(1));
    lab.write_config("");
    assert!(lab.certd(&["renew"]).status.success());
    let files = files(&lab.state_dir());
    assert!(files.iter().any(|path| path.ends_with("privkey.pem")), "{files:?}");
    for path in files {
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    let key = fs::metadata(lab.nodes[0].key(SERVICE)).unwrap().permissions().mode();
    assert_eq!(key & 0o077, 0, "the node's key: {key:o}");
}

/// A long enough piece of each secret, without line breaks.
fn canaries(lab: &Lab) -> BTreeMap<String, String> {
    let mut canaries = BTreeMap::from([("the token".to_owned(), lab.token.clone())]);
    let mut keys: Vec<PathBuf> = files(&lab.state_dir());
    keys.retain(|path| path.file_name().is_some_and(|name| name == "privkey.pem" || name == "key.p8"));
    keys.push(lab.folder.join("id_ed25519"));
    for path in keys {
        let bytes = fs::read(&path).unwrap();
        let text = match String::from_utf8(bytes.clone()) {
            Ok(text) => text.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect::<Vec<_>>(),
            // Of binary keys the form that a careless log would have.
            Err(_) => vec![bytes.iter().map(|byte| format!("{byte:02x}")).collect()],
        };
        // The middle line: the first ones are the same for all keys of a type.
        let middle = text[text.len() / 2].clone();
        assert!(middle.len() >= 16, "{}", path.display());
        canaries.insert(path.display().to_string(), middle);
    }
    canaries
}

/// Arguments and environment of every process that may be looked into.
fn processes() -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            if let Ok(bytes) = fs::read(entry.path().join(file)) {
                found.insert(entry.path().join(file).display().to_string(), bytes);
            }
        }
    }
    assert!(found.len() > 10, "/proc was not read");
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}
