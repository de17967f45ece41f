//! `certd init` without a terminal: what is missing is named at once, and nothing is overwritten.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn certd(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_certd"));
    command.arg("init").arg("--config").arg(folder.join("certd.toml")).args(arguments);
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn refuses(folder: &Path, arguments: &[&str], words: &[&str]) {
    let before = names(folder);
    let output = certd(folder, arguments);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(output.stdout.is_empty());
    for word in words {
        assert!(printed.contains(word), "{word}: {printed}");
    }
    assert_eq!(names(folder), before);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_missing_answer_is_named_with_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let all = ["--name DOMAIN", "--token-file FILE", "--token-stdin", "--accept-host-keys", "--generate-key", "--yes"];
    refuses(folder.path(), &[], &all);
    refuses(folder.path(), &["--yes", "--generate-key", "--node", "a=192.0.2.1"], &all[..4]);
}

#[test]
fn a_wrong_answer_is_refused_as_the_configuration_would_refuse_it() {
    let folder = tempfile::tempdir().unwrap();
    refuses(folder.path(), &["--name", "*.example.com"], &["this certificate has wildcards only"]);
    refuses(folder.path(), &["--name", "not a name"], &["domains", "write: a DNS name"]);
    refuses(folder.path(), &["--directory", "letsencrypr"], &["did you mean \"letsencrypt\"?"]);
    refuses(folder.path(), &["--set", "ssh.prot=22"], &["did you mean \"port\"?"]);
    refuses(folder.path(), &["--set", "nonsense"], &["--set \"nonsense\"", "has no \"=\""]);
    refuses(folder.path(), &["--contact", "nobody"], &["is not a mail address"]);
    fs::write(folder.path().join("cloudflare.token"), "secret\n").unwrap();
    refuses(folder.path(), &["--token-stdin"], &["cloudflare.token: group or others can read it"]);
}

#[test]
fn a_configuration_that_is_there_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certd.toml");
    fs::write(&path, include_str!("../../config/certd.toml")).unwrap();
    refuses(
        folder.path(),
        &["--yes", "--directory", "letsencrypt", "--set", "a=1"],
        &["is not overwritten: --directory, --set"],
    );
    refuses(folder.path(), &["--name", "api.example.com", "--node", "cn2-shanghai=192.0.2.1"], &["--yes"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), include_str!("../../config/certd.toml"));
    fs::write(&path, "broken").unwrap();
    refuses(folder.path(), &["--yes"], &["certd.toml:1", "not TOML"]);
}

#[test]
fn what_acme_sh_would_answer_takes_a_login_and_replaces_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let from = ["--from-acme.sh", "a=root@192.0.2.1"];
    refuses(folder.path(), &from, &["--identity FILE (such as", "--accept-host-keys", "--yes"]);
    refuses(folder.path(), &[&from[..], &["--name", "a.example"]].concat(), &["next: give the nodes once"]);
    refuses(folder.path(), &["--from-acme.sh", "a=no address"], &["is no node"]);
    refuses(folder.path(), &["--accept-unknown"], &["--from-acme.sh"]);
    fs::write(folder.path().join("certd.toml"), include_str!("../../config/certd.toml")).unwrap();
    refuses(folder.path(), &from, &["is not overwritten", "`certd import acme.sh NODE…` imports what it lists"]);
}
