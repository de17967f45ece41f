//! `certd node takeover`: what else renews on a node is switched off for certd's names alone, and comes back whole. An error
//! means that a certificate of somebody else's is no longer renewed, or that ours is overwritten.

mod bench;
mod hostile;
mod killed;
mod nodes;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use bench::{CRON, Home, acme, certbot, lego};

use crate::lab::node_program::shells::{SHELLS, has};

const OURS: &str = "/root/.acme.sh/a.example_ecc/a.example.conf";

#[test]
fn of_two_domains_of_acme_sh_ours_alone_is_taken_out_and_comes_back_to_the_byte() {
    for shell in SHELLS {
        let home = Home::new();
        home.acme("a.example_ecc/a.example", "a.example", "www.a.example");
        home.acme("b.example/b.example", "b.example", "no");
        home.write("var/spool/cron/crontabs/root", CRON, 0o600);
        let before = home.all();
        let item = acme(OURS, &["a.example", "www.a.example"]);
        let lines = home.switch_off(shell, core::slice::from_ref(&item));
        assert_eq!(
            lines,
            ["off: acme.sh: /root/.acme.sh/a.example_ecc/a.example.conf is called a.example.conf.removed now"]
        );
        assert!(!home.path(&OURS[1..]).exists() && home.path(&format!("{}.removed", &OURS[1..])).exists());
        assert_eq!(home.read("var/spool/cron/crontabs/root"), CRON, "b.example goes on");
        // Run again, it finds nothing more to do.
        assert_eq!(home.switch_off(shell, &[]), Vec::<String>::new());
        assert_eq!(home.switch_off(shell, &[item]), [format!("left: {OURS}: it is no plain file")]);
        assert_eq!(home.recorded(shell), [format!("recorded: {{}}{OURS}.removed was called a.example.conf")]);
        assert_eq!(home.put_back(shell), [format!("back: {{}}{OURS}")]);
        assert_eq!(home.all(), before);
        assert_eq!(home.put_back(shell), ["note: nothing is recorded here that was switched off"]);
    }
}

#[test]
fn where_acme_sh_has_nothing_left_its_line_of_cron_becomes_a_comment_and_every_other_line_stays() {
    let other = "# mine\n\n*/5 * * * * /usr/bin/true\n";
    let twice = "0 1 * * * /root/.acme.sh/acme.sh --cron && /usr/bin/mine\n";
    let eve = "9 0 * * * /home/eve/.acme.sh/acme.sh --cron --home /home/eve/.acme.sh\n";
    for shell in SHELLS {
        let home = Home::new();
        home.acme("a.example_ecc/a.example", "a.example", "no");
        home.write("var/spool/cron/crontabs/root", &format!("{other}{CRON}{twice}{eve}"), 0o600);
        home.write("etc/cron.d/acme", "1 1 * * * root \"/root/.acme.sh\"/acme.sh --cron > /dev/null 2>&1\n", 0o644);
        let before = home.all();
        let lines = home.switch_off(shell, &[acme(OURS, &["a.example"])]);
        assert_eq!(
            lines[1..],
            [
                "off: acme.sh: a line of /etc/cron.d/acme is a comment now",
                "off: acme.sh: a line of /var/spool/cron/crontabs/root is a comment now",
            ]
        );
        assert_eq!(
            home.read("var/spool/cron/crontabs/root"),
            format!("{other}#certd took this over: {CRON}{twice}{eve}")
        );
        assert!(home.mode("var/spool/cron/crontabs/root") == 0o600 && home.mode("etc/cron.d/acme") == 0o644);
        assert!(home.read("etc/cron.d/acme").starts_with("#certd took this over: 1 1 "));
        home.put_back(shell);
        assert_eq!(home.all(), before);
    }
}

#[test]
fn certificates_in_a_folder_of_their_own_count_as_acme_shs() {
    for shell in SHELLS {
        let home = Home::new();
        home.write("root/.acme.sh/account.conf", "CERT_HOME='/certs'\n", 0o600);
        home.write("certs/a.example/a.example.conf", "Le_Domain='a.example'\nLe_Alt='no'\n", 0o600);
        home.write("certs/b.example/b.example.conf", "Le_Domain='b.example'\nLe_Alt='no'\n", 0o600);
        home.write("var/spool/cron/crontabs/root", CRON, 0o600);
        home.switch_off(shell, &[acme("/certs/a.example/a.example.conf", &["a.example"])]);
        assert_eq!(home.read("var/spool/cron/crontabs/root"), CRON, "b.example goes on");
        home.switch_off(shell, &[acme("/certs/b.example/b.example.conf", &["b.example"])]);
        assert!(home.read("var/spool/cron/crontabs/root").starts_with("#certd took this over: "));
    }
}

#[test]
fn a_certificate_of_certbots_is_renamed_when_its_names_are_exactly_ours() {
    for shell in SHELLS {
        let home = Home::new();
        home.certbot("ours", &["a.example", "www.a.example"]);
        home.certbot("shared", &["a.example", "b.example"]);
        let before = home.all();
        let names = ["a.example", "www.a.example"];
        let items = ["ours", "shared"].map(|name| certbot(&format!("/etc/letsencrypt/renewal/{name}.conf"), &names));
        let lines = home.switch_off(shell, &items);
        let (ours, shared) = (&items[0].file, &items[1].file);
        if has(shell, "openssl") {
            assert_eq!(
                lines,
                [
                    format!("off: certbot: {ours} is called ours.conf.off now"),
                    format!("left: {shared}: it has b.example too by now"),
                ]
            );
        } else {
            let why = "there is no openssl here, and nothing else says which names it has";
            assert_eq!(lines, [format!("left: {ours}: {why}"), format!("left: {shared}: {why}")]);
        }
        home.put_back(shell);
        assert_eq!(home.all(), before);
    }
}

#[test]
fn of_legos_lines_the_one_with_our_names_alone_becomes_a_comment() {
    let ours = "0 3 * * * root TOKEN=secret lego --domains a.example -d=www.a.example renew --days 30 > /dev/null\n";
    let shared = "0 4 * * * root lego -d a.example,b.example renew\n";
    let other = "0 5 * * * root lego -d \"b.example\" renew\n0 6 * * * root legolas a.example\n\
                 0 7 * * * root lego -d a.example renew; /opt/backup.sh\n0 8 * * * root curl -d a.example x && lego list\n";
    for shell in SHELLS {
        let home = Home::new();
        home.write("etc/cron.d/lego", &format!("{shared}{ours}{other}"), 0o600);
        let before = home.all();
        let names = ["a.example", "www.a.example"];
        let lines = home.switch_off(shell, &[lego("/etc/cron.d/lego", &names)]);
        assert_eq!(lines, ["off: lego: a line of /etc/cron.d/lego is a comment now"]);
        assert_eq!(home.read("etc/cron.d/lego"), format!("{shared}#certd took this over: {ours}{other}"));
        // Another name's line of the same file, later.
        home.switch_off(shell, &[lego("/etc/cron.d/lego", &["b.example"])]);
        assert_eq!(home.read("etc/cron.d/lego").matches("#certd").count(), 2);
        assert_eq!(home.put_back(shell).len(), 2, "the last first");
        assert_eq!(home.all(), before);
    }
}

#[test]
fn what_feeds_others_or_is_still_read_is_left_and_a_dry_run_changes_nothing() {
    for shell in SHELLS {
        let home = Home::new();
        home.acme("a.example_ecc/a.example", "a.example", "no");
        home.write("var/spool/cron/crontabs/root", &format!("{CRON}1 1 * * * echo lego -d a.example renew\n"), 0o600);
        let before = home.all();
        let items = [acme(OURS, &["a.example"]), lego("/var/spool/cron/crontabs/root", &["a.example"])];
        let lines = home.would(shell, &items);
        assert_eq!(
            lines,
            [
                format!("would: acme.sh: {OURS} gets another name"),
                "left: /var/spool/cron/crontabs/root: no line of it does nothing but start lego for our names"
                    .to_owned(),
                "would: /var/spool/cron/crontabs/root: what starts acme becomes a comment, line 1".to_owned(),
            ]
        );
        assert_eq!(home.all(), before);
        // Something else than what was confirmed.
        let other = certd::node::takeover::switch_off(&bench::node(), &items, &[], Some(&["other".to_owned()]));
        let lines = home.lines(&home.run(shell, &other));
        assert!(lines[0].contains("this was not in what was confirmed") && home.path(&OURS[1..]).exists(), "{lines:?}");
        home.write("etc/main.cf", "key = /root/.acme.sh/a.example_ecc/a.example.key\n", 0o644);
        let lines = home.switch_off(shell, &items[..1]);
        assert!(
            lines[0].contains("its files are still read: ") && lines[0].contains("etc/main.cf names it"),
            "{lines:?}"
        );
        fs::remove_file(home.path("etc/main.cf")).unwrap();
        let conf = home.read(&OURS[1..]) + "Le_DeployHook='haproxy,'\n";
        home.write(&OURS[1..], &conf, 0o644);
        let lines = home.switch_off(shell, &items[..1]);
        assert!(lines[0].contains("it has a hook that may serve others (Le_DeployHook)"), "{lines:?}");
        assert!(home.path(&OURS[1..]).exists() && home.read("var/spool/cron/crontabs/root").starts_with(CRON));
    }
}

#[test]
fn what_has_changed_since_is_named_and_not_put_back() {
    for shell in SHELLS {
        let home = Home::new();
        home.acme("a.example_ecc/a.example", "a.example", "no");
        home.write("var/spool/cron/crontabs/root", CRON, 0o600);
        home.switch_off(shell, &[acme(OURS, &["a.example"])]);
        // A person adds a line, and has acme.sh issue it again.
        let table = home.read("var/spool/cron/crontabs/root") + "1 1 1 1 1 /usr/bin/true\n";
        home.write("var/spool/cron/crontabs/root", &table, 0o600);
        home.acme("a.example_ecc/a.example", "a.example", "no");
        let lines = home.put_back(shell);
        assert!(lines[0].starts_with("left: {}/var/spool/cron/crontabs/root: it has changed since"), "{lines:?}");
        assert!(lines[1].contains("a.example.conf: it is there again, beside "), "{lines:?}");
        assert_eq!(home.read("var/spool/cron/crontabs/root"), table);
        assert_eq!(home.recorded(shell).len(), 2, "the records stay");
    }
}

#[test]
fn the_record_is_roots_alone() {
    let home = Home::new();
    home.write("etc/cron.d/lego", "0 3 * * * root TOKEN=secret lego -d a.example renew\n", 0o644);
    home.switch_off(&["dash"], &[lego("/etc/cron.d/lego", &["a.example"])]);
    for (path, mode) in [("", 0o700), ("/takeover", 0o700), ("/takeover/1", 0o700), ("/takeover/1/is", 0o600)] {
        assert_eq!(home.mode(&format!("var/lib/certd-node{path}")), mode, "{path}");
    }
    assert!(fs::read_dir(home.path("etc/cron.d")).unwrap().count() == 1, "nothing is left beside the table");
}

#[test]
fn the_tables_of_every_system_are_known_and_one_by_two_names_is_edited_once() {
    for (shell, table) in
        SHELLS.iter().zip(["etc/crontabs/root", "var/spool/cron/tabs/root", "var/spool/cron/root"].iter().cycle())
    {
        let home = Home::new();
        home.acme("a.example_ecc/a.example", "a.example", "no");
        home.write(table, CRON, 0o600);
        // As Alpine has it.
        fs::remove_dir(home.path("var/spool/cron/crontabs")).unwrap();
        fs::create_dir_all(home.path("etc/crontabs")).unwrap();
        std::os::unix::fs::symlink("../../../etc/crontabs", home.path("var/spool/cron/crontabs")).unwrap();
        home.write("etc/cron.d/acme", "1\t1\t*\t*\t*\troot\t/root/.acme.sh/acme.sh --cron\n", 0o644);
        home.write("etc/crontabs/lego", "0 3 * * * lego -d a.example renew\n", 0o600);
        let before = home.all();
        let [one, other] =
            ["/etc/crontabs/lego", "/var/spool/cron/crontabs/lego"].map(|table| lego(table, &["a.example"]));
        let items = [acme(OURS, &["a.example"]), one, other];
        let lines = home.switch_off(shell, &items);
        assert_eq!(
            lines[1..],
            [
                "off: lego: a line of /etc/crontabs/lego is a comment now".to_owned(),
                "off: acme.sh: a line of /etc/cron.d/acme is a comment now".to_owned(),
                format!("off: acme.sh: a line of /{table} is a comment now"),
            ]
        );
        home.put_back(shell);
        assert_eq!(home.all(), before);
    }
}

#[test]
fn two_takeovers_of_one_node_do_not_interleave_and_one_that_died_is_no_obstacle() {
    for shell in SHELLS {
        let home = Home::new();
        home.acme("a.example_ecc/a.example", "a.example", "no");
        let lock = home.path("var/lib/certd-node/takeover/.lock");
        fs::create_dir_all(lock.parent().unwrap()).unwrap();
        for folder in ["", "/takeover"] {
            let folder = home.path(&format!("var/lib/certd-node{folder}"));
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
        }
        // A process of the same number, started at another time; and one that is gone.
        for left in [format!("process {} 1", std::process::id()), "process 4194305 1".to_owned()] {
            std::os::unix::fs::symlink(left, &lock).unwrap();
            home.switch_off(shell, &[acme(OURS, &["a.example"])]);
            assert!(!lock.is_symlink());
            home.put_back(shell);
            fs::create_dir_all(lock.parent().unwrap()).unwrap();
        }
    }
    let home = Home::new();
    home.acme("a.example_ecc/a.example", "a.example", "no");
    let off = certd::node::takeover::switch_off(&bench::node(), &[acme(OURS, &["a.example"])], &[], None);
    // The first one is stopped in the middle until the second one has waited for it.
    let slow = off.replace(
        "  items\n  taken_places",
        "  while [ ! -e \"$os/go\" ]; do sleep 0.01; done\n  items\n  taken_places",
    );
    assert_ne!(slow, off);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| home.lines(&home.run(&["dash"], &slow)));
        assert!(crate::lab::process::wait_until(|| home.path("var/lib/certd-node/takeover/.lock").is_symlink()));
        let waits = off.replace("-le 20", "-le 0");
        let second = home.run(&["dash"], &waits);
        let text = String::from_utf8_lossy(&second.stdout);
        assert!(text.contains("failed: another takeover is at work here (process "), "{text}");
        home.write("go", "", 0o600);
        assert!(first.join().unwrap()[0].starts_with("off: acme.sh"));
    });
}

#[test]
fn a_record_in_memory_would_not_outlive_a_restart_and_goes_elsewhere_or_nothing_is_done() {
    let home = Home::new();
    home.acme("a.example_ecc/a.example", "a.example", "no");
    let off = certd::node::takeover::switch_off(&bench::node(), &[acme(OURS, &["a.example"])], &[], None);
    let script = off.replace(
        "[ -z \"$os\" ] && case $(stat -f -c %T \"$1\" 2>/dev/null)",
        "case $(case $1 in $memory) echo tmpfs ;; esac)",
    );
    assert_ne!(script, off);
    let run = |memory: &str| home.run(&["dash"], &script.replacen("os=''", &format!("memory='{memory}' os=''"), 1));
    let text = String::from_utf8_lossy(&run("*").stdout).into_owned();
    assert!(text.contains("a restart would lose the record") && home.path(&OURS[1..]).exists(), "{text}");
    home.lines(&run("*/var/lib"));
    assert!(home.path("etc/certd-node/takeover/1").exists() && !home.path(&OURS[1..]).exists());
}
