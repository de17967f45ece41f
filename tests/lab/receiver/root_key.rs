//! The receiver's key that is root's as well: found out by trying it, and named with what takes it away.

use std::fs;
use std::process::Command;

use super::Cleanup;
use super::bench::{Account, is_root, is_set_up, lab as start, set_up, use_account};
use super::lab::printed::exits;
use super::lab::process::output;

#[test]
fn a_key_that_is_roots_too_is_named_with_its_line_until_that_is_removed() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let file = format!("/var/lib/{}.rootkeys", account.0);
    let cleanup = Cleanup(file.clone());
    let lab = start(&account, &format!("Match User root\nAuthorizedKeysFile {file}"));
    let admin = lab.folder.join("admin");
    output(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "admin", "-f"]).arg(&admin));
    let public = |name: &str| fs::read_to_string(lab.folder.join(name)).unwrap();
    // The README's simpler line, behind another's.
    let simpler = format!("restrict,from=\"127.0.0.0/8,::1\" {}", public("id_ed25519.pub"));
    fs::write(&file, format!("# who may\n{}{simpler}", public("admin.pub"))).unwrap();
    let identity = admin.display().to_string();
    let login = ["--login", "root", "--identity", &identity];

    let text = is_set_up(&set_up(&lab, &account, &login));
    let command = text.split_once(&format!("line 3 of {file}, on the node: ")).expect("it is named").1;
    let command = command.lines().next().unwrap().to_owned();
    use_account(&lab, &account);
    exits(&lab.certd(&["renew"]), 0);
    let text = exits(&lab.certd(&["doctor"]), 3);
    assert!(text.contains("the receiver's key also gets a shell as root") && text.contains(&command), "{text}");

    output(Command::new("sh").args(["-c", &command]));
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("# who may\n{}", public("admin.pub")));
    let text = exits(&set_up(&lab, &account, &login), 0);
    assert!(text.contains("  ok      the same key is refused as root"), "{text}");
    let before = lab.nodes[0].ssh_connections();
    let text = exits(&lab.certd(&["doctor"]), 0);
    assert!(text.contains("its key gets no shell as root"), "{text}");
    assert_eq!(lab.nodes[0].ssh_connections() - before, 3, "a look, a preparation, and one attempt as root");

    // Another command for the same key is no shell.
    fs::write(&file, format!("restrict,command=\"true\" {}{}", public("id_ed25519.pub"), public("admin.pub"))).unwrap();
    exits(&set_up(&lab, &account, &login), 0);
    drop(cleanup);
}
