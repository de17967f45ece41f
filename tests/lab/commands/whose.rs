//! Whose process and whose files: root's, an account's, and nobody else's.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output};

use super::lab::process::is_root;
use super::lab::{Lab, Options, SERVICE};
use super::{exits, started, stderr, stdout};

/// Debian's `nobody`: an account that owns nothing.
const NOBODY: u32 = 65_534;

#[test]
fn a_state_directory_that_others_can_enter_is_refused_with_what_to_do() {
    let lab = started(Options::nodes(1));
    fs::create_dir(lab.state_dir()).unwrap();
    for mode in [0o755, 0o750, 0o701] {
        fs::set_permissions(lab.state_dir(), fs::Permissions::from_mode(mode)).unwrap();
        for command in ["check", "plan", "renew", "deploy"] {
            let output = lab.certd(&[command]);
            exits(&output, 1);
            let text = stderr(&output);
            assert!(text.contains(&format!("its mode {mode:o} lets others in")), "{command}: {text}");
            assert!(text.contains("next: chmod 700"), "{command}: {text}");
            assert_eq!(stdout(&output), "");
        }
    }
    assert_eq!(lab.proxy.script.count("*"), 0);
}

#[test]
fn root_works_for_the_owner_of_the_state_directory_and_the_owner_goes_on_by_itself() {
    let lab = started(Options::nodes(1));
    if is_root() {
        fs::create_dir(lab.state_dir()).unwrap();
        fs::set_permissions(lab.state_dir(), fs::Permissions::from_mode(0o700)).unwrap();
        chown(lab.state_dir(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    exits(&lab.certd(&["renew"]), 0);
    if is_root() {
        for path in below(&lab.state_dir()) {
            assert_eq!(fs::symlink_metadata(&path).unwrap().uid(), NOBODY, "{}", path.display());
        }
        for secret in ["cloudflare.token", "id_ed25519"] {
            chown(lab.folder.join(secret), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    for arguments in [&["check"][..], &["renew"], &["renew", "--force"], &["deploy"]] {
        let output = unprivileged(&lab, arguments);
        exits(&output, 0);
    }
    exits(&lab.certd(&["renew", "--force"]), 0);
    let output = unprivileged(&lab, &["check"]);
    exits(&output, 0);
    assert!(stdout(&output).contains("1 of 1 serve"));
    assert_eq!(lab.pebble.issued(), 3);
    for path in below(&lab.state_dir()) {
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.is_symlink() || found.mode() & 0o077 == 0, "{}: {:o}", path.display(), found.mode());
    }
}

#[test]
fn who_forgot_sudo_is_told_so_and_a_unit_which_line_it_lacks() {
    if !is_root() {
        return;
    }
    let lab = started(Options::nodes(1));
    exits(&lab.certd(&["renew"]), 0);
    let token = lab.folder.join("cloudflare.token");
    let refused = |arguments: &[&str], by_unit: bool, code: i32, next: &str| {
        let mut command = as_nobody(&lab, arguments);
        command.stdin(std::process::Stdio::null()).envs(by_unit.then_some(("INVOCATION_ID", "0")));
        let output = command.output().unwrap();
        exits(&output, code);
        assert!(stderr(&output).contains(&format!("next: {next}")), "{next}: {}", stderr(&output));
        assert!(!stderr(&output).contains("chmod") && !stderr(&output).contains("chown"), "{}", stderr(&output));
    };
    refused(&["check"], false, 1, "run it with sudo");
    refused(&["generations", SERVICE], false, 1, "run it with sudo");
    refused(&["renew"], false, 2, "run it with sudo");
    let line = format!("LoadCredential=cloudflare.token:{}", token.display());
    refused(&["renew"], true, 2, &format!("add to [Service] of the unit, and restart it: {line}"));
    fs::set_permissions(lab.config_path(), fs::Permissions::from_mode(0o600)).unwrap();
    refused(&["check"], false, 2, "run it with sudo");
}

/// The account that the tests run as, unless that is root.
fn unprivileged(lab: &Lab, arguments: &[&str]) -> Output {
    if is_root() { as_nobody(lab, arguments).output().unwrap() } else { lab.certd(arguments) }
}

fn as_nobody(lab: &Lab, arguments: &[&str]) -> Command {
    // The folder of the build may be closed to others.
    let binary = lab.folder.join("certd-copy");
    if !binary.exists() {
        fs::copy(env!("CARGO_BIN_EXE_certd"), &binary).unwrap();
    }
    let command = lab.command(arguments);
    let mut same = Command::new("setpriv");
    same.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups", "--no-new-privs"]);
    same.arg(binary).args(command.get_args()).env_clear();
    same.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    same
}

fn below(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() { found.extend(below(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}
