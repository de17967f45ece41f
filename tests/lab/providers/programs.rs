//! The provider `exec` with programs that fail, hang, talk too much or are not there.

use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use certd::dns::{DnsError, Exec, Provider, TxtRecord};
use certd::model::Advice;

use super::lab::process::{is_alive, signal, wait_until};
use super::{CHALLENGE, runtime, zone};

/// A script in a folder, run by `sh`: a file that was just written may be "busy" when it is to be run itself.
pub(super) fn script(folder: &Path, text: &str) -> Vec<String> {
    let path = folder.join("hook.sh");
    fs::write(&path, text).expect("the folder is ours");
    vec!["/bin/sh".to_owned(), path.display().to_string(), folder.display().to_string()]
}

fn records(count: usize) -> Vec<TxtRecord> {
    (0..count).map(|n| TxtRecord { name: CHALLENGE.to_owned(), value: format!("value-{n}") }).collect()
}

/// What came of publishing so many records with a script, within a limit in seconds.
fn published(folder: &Path, text: &str, count: usize, limit: u64) -> Vec<Result<(), DnsError>> {
    let exec = Exec::new(&script(folder, text), Duration::from_secs(limit));
    let made = runtime().block_on(exec.publish(&zone(), &records(count)));
    made.into_iter().map(|made| made.map(|_| ())).collect()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn exec_calls_the_program_for_each_record_one_after_another_and_tells_which_failed() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
mkdir "$1/running" || exit 9
echo "$4" >>"$1/calls"
printf 'no \033[2J account' >&2
rmdir "$1/running"
[ "$4" != value-1 ] || exit 3
"#;
    let made = published(folder.path(), text, 3, 30);
    assert_eq!(lines(&folder.path().join("calls")), ["value-0", "value-1", "value-2"]);
    assert!(made[0].is_ok() && made[2].is_ok(), "{made:?}");
    let failed = made[1].as_ref().unwrap_err();
    assert_eq!(
        (failed.code().as_str(), failed.advice()),
        ("dns-program-failed", Advice::Retry { after_seconds: None })
    );
    let text = failed.to_string();
    assert!(text.ends_with("exit status: 3; output: no \\u{1b}[2J account"), "{text}");
    assert!(text.contains(&format!("present {CHALLENGE}.")), "{text}");
}

#[test]
fn exec_gives_the_program_a_small_environment_and_no_input() {
    let folder = tempfile::tempdir().unwrap();
    let made = published(folder.path(), "env >\"$1/env\"; cat >\"$1/input\"; pwd >\"$1/pwd\"", 1, 30);
    assert!(made[0].is_ok(), "{made:?}");
    let known = ["PATH=", "LANG=", "HOME=", "TMPDIR=", "PWD=", "OLDPWD=", "SHLVL=", "_="];
    for line in lines(&folder.path().join("env")) {
        assert!(known.iter().any(|name| line.starts_with(name)), "{line}");
    }
    // This test's own has more.
    assert!(std::env::vars().any(|(name, _)| name.starts_with("CARGO")));
    assert_eq!(fs::read(folder.path().join("input")).unwrap(), b"");
    assert_eq!(lines(&folder.path().join("pwd")), ["/"]);
}

#[test]
fn exec_ends_a_program_that_hangs_with_all_that_it_started_and_does_not_call_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = "trap '' TERM; sleep 600 & echo $! >>\"$1/child\"; echo waiting for the API; wait";
    let made = published(folder.path(), text, 3, 3);
    for made in &made {
        let failed = made.as_ref().unwrap_err();
        assert_eq!(failed.code().as_str(), "dns-program-timeout");
        assert!(failed.to_string().contains("killed after 3 s; output: waiting for the API"), "{failed}");
    }
    let children = lines(&folder.path().join("child"));
    assert_eq!(children.len(), 1, "{children:?}");
    let child = children[0].parse().unwrap();
    assert!(wait_until(|| !is_alive(child)), "{child} is still there");
}

#[test]
fn p03_exec_ends_the_program_when_nobody_waits_for_it_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let text = "trap '' TERM; echo $$ >\"$1/pids\"; sleep 600 & echo $! >>\"$1/pids\"; wait";
    let exec = Exec::new(&script(folder.path(), text), Duration::from_secs(300));
    let pids = folder.path().join("pids");
    let started = async {
        while lines(&pids).len() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let runtime = runtime();
    runtime.block_on(async {
        let (zone, records) = (zone(), records(1));
        tokio::select! {
            made = exec.publish(&zone, &records) => panic!("it was to be dropped: {made:?}"),
            () = within(started) => {}
        }
    });
    for pid in lines(&pids) {
        let pid = pid.parse().unwrap();
        assert!(wait_until(|| !is_alive(pid)), "{pid} is still there");
    }
}

async fn within(future: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it comes within half a minute");
}

#[test]
fn exec_is_not_held_up_by_noise_nor_by_what_the_program_leaves_running() {
    let folder = tempfile::tempdir().unwrap();
    let text = "sleep 600 & echo $! >\"$1/child\"; yes noise | head -c 3000000; echo the last word >&2; exit 7";
    let made = published(folder.path(), text, 1, 60);
    let failed = made[0].as_ref().unwrap_err();
    let text = failed.to_string();
    let child = lines(&folder.path().join("child"))[0].parse().unwrap();
    assert!(is_alive(child));
    signal("KILL", &[child]);
    assert_eq!(failed.code().as_str(), "dns-program-failed");
    assert!(text.ends_with("the last word") && text.chars().count() < 2_500, "{text}");
}

#[test]
fn exec_tells_a_program_that_is_missing_or_not_executable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hook");
    let run = || {
        let exec = Exec::new(&[file.display().to_string()], Duration::from_secs(5));
        let before = runtime().block_on(exec.zone(CHALLENGE, None)).expect_err("known before any order");
        assert_eq!(before.code().as_str(), "dns-program-start");
        runtime().block_on(exec.publish(&zone(), &records(2))).pop().unwrap().unwrap_err()
    };
    let missing = run();
    assert_eq!((missing.code().as_str(), missing.advice()), ("dns-program-start", Advice::Person));
    assert!(missing.to_string().contains("No such file"), "{missing}");
    fs::write(&file, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let forbidden = run();
    assert!(forbidden.to_string().contains("Permission denied"), "{forbidden}");
}
