//! What a run of certd printed, and how it ended.

use std::process::Output;

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both streams, of a run that ended with this code.
#[track_caller]
pub fn exits(output: &Output, code: i32) -> String {
    let text = stdout(output) + &stderr(output);
    assert_eq!(output.status.code(), Some(code), "\n{text}");
    text
}
