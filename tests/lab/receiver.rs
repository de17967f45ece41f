//! The account that can take certificates and do nothing else: set up, updated, removed, and what stands in its way.

mod attack;
mod bench;
mod judge;
mod options;
mod root_key;
mod setup_fails;

use crate::lab;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use bench::{Account, is_root, is_set_up, lab as start, ready, set_up, use_account};
use lab::SERVICE;
use lab::printed::exits;
use lab::process::{output, wait_until};

#[test]
fn an_account_is_set_up_proven_delivered_to_updated_and_removed() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    let text = is_set_up(&set_up(&lab, &account, &["--from", "127.0.0.0/8"]));
    assert!(text.contains(&format!("account {}: made", account.0)), "{text}");
    assert!(text.contains(&format!("  ok      a delivery of {SERVICE} is prepared and aborted")), "{text}");
    for refused in ["a shell is refused", "sftp is refused", "a terminal is refused", "another certificate is refused"]
    {
        assert!(text.contains(&format!("  ok      {refused}")), "{refused}: {text}");
    }
    assert!(!text.contains("FAILED") && text.ends_with(&format!("  ssh = {{ user = {:?} }}\n", account.0)), "{text}");
    // Nothing of it can be written by the account, and sshd takes it with StrictModes.
    let keys = account.home().join(".ssh/authorized_keys");
    for (path, mode) in [
        (account.program(), 0o755),
        (account.parameters().join(format!("{SERVICE}.conf")), 0o644),
        (account.rule(), 0o440),
        (keys.clone(), 0o644),
        (account.home(), 0o755),
    ] {
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, mode), "{}", path.display());
    }
    let line = fs::read_to_string(&keys).unwrap();
    assert!(
        line.starts_with("restrict,from=\"127.0.0.0/8\",command=\"exec /usr/bin/env -i LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/bin/sudo -n "),
        "{line}"
    );

    use_account(&lab, &account);
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.nodes[0].settled(SERVICE), lab.nodes[0].pair(SERVICE));

    // A change of the configuration is refused by the node, by name, until `certd node setup` runs again.
    let reload = fs::read_to_string(lab.config_path()).unwrap();
    let reload = reload.lines().find(|line| line.starts_with("reload = ")).unwrap().to_owned();
    lab.replace_line("reload = ", &reload.replace("-s", "-q\", \"-s"));
    let text = exits(&lab.certd(&["renew", "--force"]), 6);
    assert!(text.contains("does not permit this") && text.contains("reload -q"), "{text}");
    let again = set_up(&lab, &account, &[]);
    let text = exits(&again, 2);
    assert!(text.contains("is the receiver account") && text.contains("--login root"), "{text}");
    // With it, a form of the pair that only the node can make.
    let (store, password) = (lab.nodes[0].folder.join("conf/ssl/store.p12"), lab.folder.join("password"));
    fs::write(&password, "secret\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    lab.replace_line("reload = ", &format!("{reload}\npkcs12 = {store:?}\npkcs12_password_file = {password:?}"));
    let text = is_set_up(&set_up(&lab, &account, &["--login", "root"]));
    exits(&lab.certd(&["renew"]), 0);
    exits(&lab.certd(&["check", "--deep"]), 0);
    let opened =
        Command::new("openssl").args(["pkcs12", "-noout", "-passin", "pass:secret", "-in"]).arg(&store).output();
    assert!(opened.unwrap().status.success());
    assert!(text.contains("there already") && text.contains("options: --from 127.0.0.0/8, as last time"), "{text}");
    assert_eq!(fs::read_to_string(&keys).unwrap(), line, "an option that is not given again stays as it was");

    let served = lab.nodes[0].served(SERVICE).unwrap();
    let removed = lab.certd(&["node", "remove", "上海", "--login", "root", "--account", &account.0]);
    exits(&removed, 0);
    assert!(!account.exists());
    for path in [account.program(), account.parameters(), account.rule(), account.home()] {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(lab.nodes[0].served(SERVICE), Ok(served), "what is served stays");
    let text = exits(&lab.certd(&["node", "remove", "上海", "--login", "root", "--account", &account.0]), 0);
    assert!(text.contains("nothing is there"), "{text}");
}

#[test]
fn a_printed_script_can_be_read_holds_no_secret_and_does_the_same() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    let connections = lab.nodes[0].ssh_connections();
    let script = exits(&set_up(&lab, &account, &["--print"]), 0);
    assert_eq!(lab.nodes[0].ssh_connections(), connections, "printing connects to nobody");
    let private = fs::read_to_string(lab.folder.join("id_ed25519")).unwrap();
    assert!(private.lines().filter(|line| line.len() > 40).all(|line| !script.contains(line)));
    assert!(script.starts_with("#!/bin/sh\n# The account ") && !script.contains(&lab.token));
    let file = lab.folder.join("setup");
    // A shell with an eye on unset variables and another one: nothing is left to the mood of one of them.
    for shell in [&["dash", "-u"][..], &["bash"], &["busybox", "ash"]] {
        fs::write(&file, &script).unwrap();
        let printed = output(Command::new(shell[0]).args(&shell[1..]).arg(&file));
        assert!(printed.ends_with("certd-setup: done\n"), "{printed}");
    }
    use_account(&lab, &account);
    exits(&lab.certd(&["renew"]), 0);
    assert_eq!(lab.nodes[0].settled(SERVICE), lab.nodes[0].pair(SERVICE));
}

#[test]
fn keys_of_an_agent_are_let_in_by_their_public_half_and_a_script_without_a_key_is_none() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    lab.replace_line("identity_files = ", "agent = \"/nowhere/agent\"");
    let text = exits(&set_up(&lab, &account, &["--print"]), 2);
    assert!(text.contains("in an agent") && text.contains("next: give --key FILE.pub"), "{text}");
    let public = lab.folder.join("id_ed25519.pub");
    let script = exits(&set_up(&lab, &account, &["--print", "--key", &public.display().to_string()]), 0);
    let public = fs::read_to_string(&public).unwrap();
    assert!(script.contains(public.split(' ').nth(1).unwrap()), "{script}");
}

#[test]
fn s06_locked_accounts_nologin_shells_and_expired_ones_are_put_right_and_an_account_of_others_is_named() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    output(Command::new("useradd").args(["--system", &account.0]));
    let text = exits(&set_up(&lab, &account, &[]), 6);
    assert!(text.contains("exists already") && text.contains("--account NAME"), "{text}");
    assert!(!account.rule().exists() && !account.program().exists());
    output(Command::new("userdel").arg(&account.0));

    is_set_up(&set_up(&lab, &account, &[]));
    let change =
        ["--shell", "/usr/sbin/nologin", "--password", "!", "--expiredate", "2020-01-01", "--home", "/nowhere"];
    // Not before its last session has ended.
    assert!(wait_until(|| Command::new("usermod").args(change).arg(&account.0).output().unwrap().status.success()));
    use_account(&lab, &account);
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains(&format!("no login as {}", account.0)) && text.contains("locked"), "{text}");
    let text = is_set_up(&set_up(&lab, &account, &["--login", "root"]));
    assert!(text.contains("put right") && text.contains("it was locked"), "{text}");
    exits(&lab.certd(&["deploy"]), 0);
}

#[test]
fn what_sshd_would_say_to_the_account_is_named_before_it_does() {
    if !is_root() {
        return;
    }
    for (sshd, words) in [
        ("AllowUsers root admin@192.0.2.*", "AllowUsers"),
        ("DenyUsers certdt*", "DenyUsers"),
        ("AllowGroups root", "AllowGroups"),
        ("Match User certdt*\nAuthenticationMethods publickey,keyboard-interactive", "AuthenticationMethods"),
        ("Match User certdt*\nForceCommand /bin/true", "ForceCommand"),
    ] {
        let account = Account::new();
        let lab = start(&account, sshd);
        let text = exits(&set_up(&lab, &account, &[]), 6);
        assert!(text.contains(words) && text.contains("next: in ") && text.contains("sshd_config"), "{words}: {text}");
        assert!(!account.rule().exists(), "{words}: nothing is half there");
    }
}

#[test]
fn a_file_of_keys_that_lets_others_in_is_left_alone() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let shared = format!("/var/lib/{}.keys", account.0);
    let cleanup = Cleanup(shared.clone());
    fs::write(&shared, "ssh-ed25519 AAAA the administrator\n").unwrap();
    let lab = start(&account, &format!("Match User certdt*\nAuthorizedKeysFile {shared}"));
    let text = exits(&set_up(&lab, &account, &[]), 6);
    assert!(text.contains("exists already") && text.contains("next: in ") && text.contains(&shared), "{text}");
    assert_eq!(fs::read_to_string(&shared).unwrap(), "ssh-ed25519 AAAA the administrator\n");
    assert!(!account.rule().exists(), "nothing is half there");
    exits(&lab.certd(&["node", "remove", "上海", "--login", "root", "--account", &account.0]), 0);
    assert!(fs::exists(&shared).unwrap() && !account.exists());
    drop(cleanup);
}

#[test]
fn s17_a_sudo_that_would_ask_fails_at_once_and_is_named() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = ready(&account);
    fs::remove_file(account.rule()).unwrap();
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains("sudo: ") && text.contains("password is required"), "{text}");
    assert!(text.contains("certd node setup"), "{text}");
    assert!(lab.nodes_are_quiet());
}

#[test]
fn s24_a_receiver_of_another_version_refuses_in_words_that_name_both() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = ready(&account);
    let program = fs::read_to_string(account.program()).unwrap();
    for (version, words) in [("1", "update the receiver"), ("99", "a newer certd set ")] {
        let other = program.replace("\ncertd=3\n", &format!("\ncertd={version}\n"));
        assert_ne!(other, program);
        fs::write(account.program(), other).unwrap();
        let text = exits(&lab.certd(&["renew"]), 6);
        assert!(
            text.contains(&format!("speaks version {version} of the dialogue, and this certd version 3")),
            "{text}"
        );
        assert!(text.contains(words) && text.contains("certd node setup"), "{text}");
    }
    is_set_up(&set_up(&lab, &account, &["--login", "root"]));
    exits(&lab.certd(&["deploy"]), 0);
    assert_eq!(lab.pebble.issued(), 1);
}

#[test]
fn a_sudo_that_wants_a_terminal_and_logs_its_input_sees_no_key() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    let logs = lab.folder.join("sudo-io");
    // Beside ours and before it: what an administrator may have for everybody.
    let global = format!("/etc/sudoers.d/0{}", account.0);
    let cleanup = Cleanup(global.clone());
    let rule = format!(
        "Defaults:{0} requiretty, use_pty, log_input, log_output, iolog_dir={1}\nDefaults:root !use_pty\n",
        account.0,
        logs.display()
    );
    fs::write(&global, rule).unwrap();
    fs::set_permissions(&global, fs::Permissions::from_mode(0o440)).unwrap();
    is_set_up(&set_up(&lab, &account, &[]));
    use_account(&lab, &account);
    exits(&lab.certd(&["renew"]), 0);
    let key = fs::read_to_string(lab.nodes[0].key(SERVICE)).unwrap();
    let secret = key.lines().nth(1).unwrap().to_owned();
    let mut found = Vec::new();
    for line in bench::tree(&logs) {
        let bytes: Vec<u8> = line.split_once('[').map_or(Vec::new(), |(_, list)| {
            list.trim_end_matches(']').split(", ").filter_map(|byte| byte.parse().ok()).collect()
        });
        if String::from_utf8_lossy(&bytes).contains(&secret) {
            found.push(line);
        }
    }
    assert!(found.is_empty() && !logs.exists(), "nothing at all is logged: {:?}", bench::tree(&logs).len());
    drop(cleanup);
}

struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn handshakes_through_the_connection_get_their_port_and_no_other() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "AllowStreamLocalForwarding no");
    let port = lab.nodes[0].tls.port();
    lab.replace_line("probe = ", &format!("probe = {{ port = {port}, via = \"ssh\" }}"));
    let text = is_set_up(&set_up(&lab, &account, &[]));
    assert!(text.contains("listening on the node, at 127.0.0.1, is refused"), "{text}");
    let line = fs::read_to_string(account.home().join(".ssh/authorized_keys")).unwrap();
    let wanted = "restrict,port-forwarding,permitlisten=\"127.0.0.1:1\",permitopen=\"127.0.0.1:";
    assert!(line.starts_with(&format!("{wanted}{port}\",command=")), "{line}");
    let through = |to: &str| bench::printed(bench::ssh(&lab, &account, &["-W", to], &[]), b"");
    // Nobody listens at the loopback of a node of the lab, which is another answer than that it is not permitted.
    assert!(through(&format!("127.0.0.1:{port}")).contains("connect failed"));
    for to in [format!("127.0.0.1:{}", port - 1), format!("{}:{port}", lab.nodes[0].tls.ip()), format!("[::1]:{port}")]
    {
        let printed = through(&to);
        assert!(printed.contains("administratively prohibited"), "{to}: {printed}");
    }
    let printed = bench::printed(
        bench::ssh(&lab, &account, &["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22"], &[]),
        b"",
    );
    assert!(printed.contains("remote port forwarding failed"), "{printed}");
}

#[test]
fn without_sudo_the_account_delivers_where_it_owns_the_folders() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    let script = exits(&set_up(&lab, &account, &["--no-sudo", "--print"]), 0);
    assert!(script.contains(" given_sudo=no ") && script.contains("\nports=none "));
    // The first time it says what the account lacks.
    let text = exits(&set_up(&lab, &account, &["--no-sudo"]), 6);
    assert!(
        text.contains(&format!("may not write in {}", lab.nodes[0].folder.display()))
            || text.contains("Permission denied"),
        "{text}"
    );
    assert!(!account.rule().exists());
    let folder = lab.nodes[0].folder.clone();
    output(Command::new("chown").arg("-R").arg(&account.0).arg(folder.join("conf")));
    // nginx's test wants its log and its key; the reload is a request that the account may make.
    output(Command::new("chown").arg("-R").arg(&account.0).args([folder.join("logs"), folder.join("temp")]));
    lab.nodes[0].replace_command(lab::nginx::NginxCommand::Test, Some("exit 0"));
    lab.nodes[0]
        .replace_command(lab::nginx::NginxCommand::Reload, Some(&format!("touch {}/logs/reloaded", folder.display())));
    is_set_up(&set_up(&lab, &account, &["--no-sudo"]));
    use_account(&lab, &account);
    // What is served stays the old one: only the placing is of interest here.
    let _ = lab.certd(&["renew"]);
    assert!(folder.join("logs/reloaded").exists());
    let owner = output(Command::new("stat").args(["-c", "%U"]).arg(folder.join("logs/reloaded")));
    assert_eq!(owner.trim(), account.0, "with its own rights, and no others");
}
