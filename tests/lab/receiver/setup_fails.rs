//! A script that cannot do one of its steps ends there, says which and what to do, and never that it is done.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::bench::{Account, is_root, is_set_up, lab as start, printed, set_up};
use super::lab::SERVICE;
use super::lab::printed::exits;

fn run(script: &Path) -> String {
    let mut command = Command::new("sh");
    command.arg(script);
    printed(command, b"")
}

#[test]
fn each_file_that_cannot_be_written_ends_the_script_with_its_name() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    let script = lab.folder.join("setup");
    fs::write(&script, exits(&set_up(&lab, &account, &["--print"]), 0)).unwrap();
    // The first of all is noted before there is an account.
    let made = account.parameters().join("made");
    fs::create_dir_all(&made).unwrap();
    let text = run(&script);
    assert!(text.contains(&format!("failed: {} is a folder", made.display())) && !text.contains("done"), "{text}");
    assert!(!account.exists());
    fs::remove_dir(&made).unwrap();
    is_set_up(&set_up(&lab, &account, &[]));

    let parameters = account.parameters();
    let keys = account.home().join(".ssh/authorized_keys");
    for file in [
        parameters.join("options"),
        parameters.join(format!("{SERVICE}.conf")),
        parameters.join("roots"),
        account.program(),
        parameters.join(".rule"),
        account.rule(),
        parameters.join("keys"),
        keys,
    ] {
        let before = fs::read(&file).ok();
        let _ = fs::remove_file(&file);
        fs::create_dir(&file).unwrap();
        let text = run(&script);
        let words = format!("failed: {} is a folder", file.display());
        // Where the keys are is looked up in a note; without it their file is a stranger's.
        let stranger = file.ends_with("keys") && text.contains("exists already");
        assert!(text.contains(&words) || stranger, "{}: {text}", file.display());
        assert!(text.contains("certd-setup: next: ") && !text.contains("certd-setup: done"), "{text}");
        assert_eq!(text.matches("failed: ").count(), 1, "it ends there: {text}");
        fs::remove_dir(&file).unwrap();
        before.into_iter().for_each(|before| fs::write(&file, before).unwrap());
    }
    assert!(run(&script).ends_with("certd-setup: done\n"));
}

#[test]
fn a_full_disk_leaves_no_half_of_a_program_in_its_place() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    let script = lab.folder.join("setup");
    fs::write(&script, exits(&set_up(&lab, &account, &["--print"]), 0)).unwrap();
    let folder = account.program().parent().unwrap().to_owned();
    fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new("unshare");
    let small = "mount -t tmpfs -o size=8k,mode=755 none \"$1\" && { sh \"$2\"; ls -A \"$1\"; }";
    command.args(["--mount", "sh", "-c", small, "sh"]).args([&folder, &script]);
    let text = printed(command, b"");
    let program = account.program();
    assert!(text.contains(&format!("failed: {} cannot be written", program.display())), "{text}");
    assert!(!text.contains("certd-setup: done") && !text.lines().any(|line| line == "receive"), "{text}");
    assert!(!account.rule().exists());
}
