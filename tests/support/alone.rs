//! A process of its own for a test that counts what a process has: threads, descriptors, processor time, memory.

use std::any::type_name_of_val;
use std::env;
use std::process::Command;

const ALONE: &str = "CERTD_TEST_ALONE";

/// Whether the test that calls this has run in another process, and well; then it has nothing left to do in this one.
/// That process runs no other test, and its temporary folder is empty at first. The test's name is that of the closure,
/// which does nothing.
pub fn ran_elsewhere(here: impl Fn()) -> bool {
    if env::var_os(ALONE).is_some() {
        return false;
    }
    let name = type_name_of_val(&here).split("::{{closure}}").next().expect("there is a first part");
    let (_, name) = name.split_once("::").expect("a test is in a crate");
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let mut command = Command::new(env::current_exe().expect("Linux knows it"));
    command.args(["--exact", name, "--include-ignored", "--nocapture"]);
    let output = command.env(ALONE, "1").env("TMPDIR", folder.path()).output().expect("this program starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stdout.contains(" 1 passed"), "{name}: {stdout}{stderr}");
    #[allow(clippy::print_stdout, reason = "what a test shows with --nocapture is shown")]
    {
        print!("{stdout}");
    }
    true
}
