//! The installed program: the node program, after a head that throws away the one that the controller sends, with a
//! check in the marker's place.

use super::super::program::whole;
use super::Account;

/// Bounds, and what is permitted.
const HEAD: &str = include_str!("head.sh");
/// Where the node program looks at a line before it is understood, and where a look tells what is installed.
const MARKERS: [(&str, &str); 2] = [("#@permit", "permit"), ("#@tell", "permit_tell")];

pub(super) fn installed(account: &Account) -> String {
    let head = HEAD.replace("@PARAMETERS@", &account.parameters()).replace("@PROGRAM@", &account.program());
    let program = MARKERS.iter().fold(whole(), |program, (marker, call)| program.replace(marker, call));
    head + "\n" + &program
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> String {
        installed(&Account::parse("certd").unwrap())
    }

    #[test]
    fn every_line_that_comes_is_checked_before_it_is_understood() {
        let program = program();
        assert_eq!(program.matches("\n    permit\n").count(), 1);
        let (before, after) = program.split_once("\n    permit\n").unwrap();
        assert!(before.ends_with("here, against its own parameters: see src/node/receiver."), "{before}");
        assert!(before.contains("receive() {\n  while next_line; do\n    value=${line#* } into=\n"));
        assert!(after.starts_with("    case $line in\n"), "nothing comes between");
        assert_eq!(program.matches("\n  permit_tell\n").count(), 1);
        assert!(["#@", "@PARAMETERS@", "@PROGRAM@"].iter().all(|mark| !program.contains(mark)));
    }

    #[test]
    fn no_line_of_it_ends_the_script_that_brings_it() {
        assert!(program().lines().all(|line| line != "END" && line != super::super::script::PROGRAM_END));
    }

    #[test]
    fn it_passes_shellcheck() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("receive");
        std::fs::write(&file, program()).unwrap();
        let lint =
            std::process::Command::new("shellcheck").args(["-s", "sh", "-e", "SC2015,SC1007"]).arg(&file).output();
        let lint = lint.expect("shellcheck is there");
        assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    }
}
