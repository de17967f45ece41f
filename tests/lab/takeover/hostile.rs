//! What others than root could swap, or have swapped, is left alone.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::process::Command;

use super::OURS;
use super::bench::{CRON, Home, acme, lego};
use crate::lab::node_program::shells::SHELLS;

/// A change of the home after which it is left alone, and why.
type Case = (fn(&Home), &'static str);

const CASES: [Case; 7] = [
    (|home| chown(home.path("root/.acme.sh"), Some(64001), None).unwrap(), "belongs to user 64001"),
    (|home| chown(home.path(&OURS[1..]), Some(64001), None).unwrap(), "belongs to user 64001"),
    (
        |home| fs::set_permissions(home.path("root"), fs::Permissions::from_mode(0o777)).unwrap(),
        "others may write in {}/root",
    ),
    (
        |home| fs::set_permissions(home.path("root/.acme.sh"), fs::Permissions::from_mode(0o770)).unwrap(),
        "others may write in {}/root/.acme.sh",
    ),
    (
        |home| {
            fs::rename(home.path(&OURS[1..]), home.path("etc/shadow")).unwrap();
            symlink(home.path("etc/shadow"), home.path(&OURS[1..])).unwrap();
        },
        "it is no plain file",
    ),
    (
        |home| {
            fs::remove_file(home.path(&OURS[1..])).unwrap();
            assert!(Command::new("mkfifo").arg(home.path(&OURS[1..])).status().unwrap().success());
        },
        "it is no plain file",
    ),
    (|home| home.acme("a.example_ecc/a.example", "a.example", "new.example"), "it has new.example too by now"),
];

#[test]
fn a_file_that_another_user_could_swap_or_that_is_another_by_now_is_left() {
    for shell in SHELLS {
        for (change, why) in CASES {
            let home = Home::new();
            home.acme("a.example_ecc/a.example", "a.example", "no");
            home.write("var/spool/cron/crontabs/root", CRON, 0o600);
            change(&home);
            let before = fs::read_dir(home.path("root/.acme.sh/a.example_ecc")).unwrap().count();
            let lines = home.switch_off(shell, &[acme(OURS, &["a.example"])]);
            assert!(lines.len() == 1 && lines[0].starts_with(&format!("left: {OURS}: ")), "{lines:?}");
            assert!(lines[0].contains(why), "{why}: {lines:?}");
            assert_eq!(home.read("var/spool/cron/crontabs/root"), CRON);
            assert_eq!(fs::read_dir(home.path("root/.acme.sh/a.example_ecc")).unwrap().count(), before);
            assert!(!home.path("var/lib/certd-node/takeover/1").exists());
        }
    }
}

#[test]
fn a_link_of_roots_is_followed_to_where_the_file_is() {
    for shell in SHELLS {
        let home = Home::new();
        home.write("opt/acme/a.example_ecc/a.example.conf", "Le_Domain='a.example'\nLe_Alt='no'\n", 0o600);
        fs::remove_dir(home.path("root/.acme.sh")).unwrap();
        symlink(home.path("opt/acme"), home.path("root/.acme.sh")).unwrap();
        home.write("var/spool/cron/crontabs/root", CRON, 0o600);
        let lines = home.switch_off(shell, &[acme(OURS, &["a.example"])]);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(home.path("opt/acme/a.example_ecc/a.example.conf.removed").exists());
        assert!(home.read("var/spool/cron/crontabs/root").starts_with("#certd"));
        home.put_back(shell);
        assert!(home.path(&OURS[1..]).exists() && home.read("var/spool/cron/crontabs/root") == CRON);
    }
}

#[test]
fn a_place_that_somebody_has_taken_beside_a_table_of_crons_is_named() {
    for shell in SHELLS {
        let home = Home::new();
        home.write("var/spool/cron/crontabs/root", "0 3 * * * lego -d a.example renew\n", 0o600);
        let trap = home.path("var/spool/cron/crontabs/.certd-takeover");
        fs::write(home.path("etc/shadow"), "root").unwrap();
        symlink(home.path("etc/shadow"), &trap).unwrap();
        let script = certd::node::takeover::switch_off(
            &super::bench::node(),
            &[lego("/var/spool/cron/crontabs/root", &["a.example"])],
            &[],
            None,
        );
        let output = home.run(shell, &script);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("failed: mkdir ") && text.contains("next: "), "{text}");
        assert!(home.read("var/spool/cron/crontabs/root").starts_with("0 3 ") && home.read("etc/shadow") == "root");
        fs::remove_file(trap).unwrap();
        let lines = home.switch_off(shell, &[lego("/var/spool/cron/crontabs/root", &["a.example"])]);
        assert_eq!(lines.len(), 1, "{lines:?}");
        home.put_back(shell);
        assert!(home.read("var/spool/cron/crontabs/root").starts_with("0 3 "));
    }
}

#[test]
fn a_table_that_is_not_only_text_is_left() {
    for shell in SHELLS {
        let home = Home::new();
        let table = "0 3 * * * root lego -d a.example renew\n\0\n";
        home.write("etc/cron.d/lego", table, 0o644);
        let lines = home.switch_off(shell, &[lego("/etc/cron.d/lego", &["a.example"])]);
        assert!(lines[0].starts_with("left: /etc/cron.d/lego: it is not only text"), "{lines:?}");
        assert_eq!(home.read("etc/cron.d/lego"), table);
    }
}
