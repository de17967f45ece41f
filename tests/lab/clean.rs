//! The script of `certd node clean`: what certd has left on a node goes, and nothing else. An error means that a server loses
//! its certificate, or that a key stays where nobody knows of it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use certd::cert::{CertName, NodeName};
use certd::model::Leftover;
use certd::node::clean::{Leftovers, Task, clean};
use certd::node::receiver::Account;

use crate::lab::node_program::shells::{SHELLS, utilities};
use crate::lab::statements::stands_alone;

/// A machine below a folder, with what a certificate `old` left in /ssl and /private.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        let own = machine.path("ssl/.certd/old");
        for folder in ["ssl/.certd/old/0-found", "ssl/.certd/old/20261123061500-0b", "private", "etc/certd-receiver"] {
            fs::create_dir_all(machine.path(folder)).unwrap();
        }
        for file in ["fullchain.pem", "privkey.pem"] {
            fs::write(own.join("20261123061500-0b").join(file), "PEM").unwrap();
        }
        symlink("20261123061500-0b", own.join("current")).unwrap();
        symlink(".certd/old/current/fullchain.pem", machine.path("ssl/chain.pem")).unwrap();
        symlink("../ssl/.certd/old/current/privkey.pem", machine.path("private/key.pem")).unwrap();
        fs::write(machine.path("ssl/.certd/.lock"), "").unwrap();
        for (file, text) in
            [("ssl/mine.pem", "mine"), ("etc/certd-receiver/old.conf", ""), ("etc/certd-receiver/new.conf", "")]
        {
            fs::write(machine.path(file), text).unwrap();
        }
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn leftovers(&self) -> Leftovers {
        let paths = BTreeSet::from(["/ssl/chain.pem".to_owned(), "/private/key.pem".to_owned()]);
        Leftovers {
            folders: vec![Leftover { folder: "/ssl/.certd/old".to_owned(), paths }],
            paths: vec!["/new/chain.pem".to_owned(), "/new/key.pem".to_owned()],
            delivered: vec![CertName::parse("old").unwrap()],
            stay: Vec::new(),
            tests: vec![vec![
                "test".to_owned(),
                "!".to_owned(),
                "-e".to_owned(),
                self.path("broken").display().to_string(),
            ]],
            account: Some(Account::parse("certd").unwrap()),
        }
    }

    fn script(&self, task: Task, leftovers: &Leftovers) -> String {
        let node = NodeName::parse("上海").unwrap();
        clean(&node, task, leftovers).replacen("os=''", &format!("os={}", self.0.path().display()), 1)
    }

    /// What it printed, with `{}` for the folder; `None`: it did not come to its end.
    fn run(&self, shell: &[&str], script: &str) -> Option<Vec<String>> {
        let mut script = script.to_owned();
        if let Some(folder) = utilities(shell) {
            let usual = "\nPATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin ";
            script = script.replacen(usual, &format!("\nPATH={} ", folder.display()), 1);
        }
        let output = Command::new(shell[0]).args(&shell[1..]).args(["-c", &script]).process_group(0).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).replace(&self.0.path().display().to_string(), "{}");
        let mut lines: Vec<String> = text.lines().map(|line| line.replace("certd-setup: ", "")).collect();
        (lines.pop()? == "done").then_some(lines)
    }

    fn clean(&self, shell: &[&str]) -> Vec<String> {
        self.run(shell, &self.script(Task::Clean, &self.leftovers())).expect("it comes to its end")
    }

    fn all(&self) -> String {
        let output = Command::new("find").arg(self.0.path()).args(["-printf", "%p %M %l\n"]).output().unwrap();
        let mut lines: Vec<&str> = core::str::from_utf8(&output.stdout).unwrap().lines().collect();
        lines.sort_unstable();
        lines.join("\n")
    }
}

/// What stays of the machine.
fn is_clean(machine: &Machine) -> bool {
    let count = |folder: &str| fs::read_dir(machine.path(folder)).unwrap().count();
    (count("ssl"), count("private"), count("etc/certd-receiver")) == (1, 0, 1)
        && machine.path("ssl/mine.pem").exists()
        && machine.path("etc/certd-receiver/new.conf").exists()
}

#[test]
fn what_goes_is_shown_with_the_found_files_and_the_links_and_then_goes() {
    for shell in SHELLS {
        let machine = Machine::new();
        let before = machine.all();
        let lines = machine.run(shell, &machine.script(Task::Show, &machine.leftovers())).unwrap();
        assert_eq!(
            lines,
            [
                "goes: /ssl/.certd/old",
                "  with the files that were there before certd: {}/ssl/.certd/old/0-found",
                "  link {}/private/key.pem",
                "  link {}/ssl/chain.pem",
                "goes: {}/etc/certd-receiver/old.conf",
            ]
        );
        assert_eq!(machine.all(), before);
        assert_eq!(machine.clean(shell), ["removed: /ssl/.certd/old", "removed: {}/etc/certd-receiver/old.conf"]);
        assert!(is_clean(&machine), "{}", machine.all());
        let lines = machine.run(shell, &machine.script(Task::Show, &machine.leftovers())).unwrap();
        assert_eq!(lines, ["gone: /ssl/.certd/old"]);
    }
}

#[test]
fn what_is_read_or_others_could_swap_or_certd_did_not_make_stays() {
    type Change = fn(&Path);
    let cases: [(Change, &str); 10] = [
        (|at| fs::write(at.join("etc/main.cf"), "cert = ssl/chain.pem\n").unwrap(), "etc/main.cf names it"),
        (
            |at| {
                fs::write(at.join("site"), format!("key {}/private/key.pem\n", at.display())).unwrap();
                fs::create_dir(at.join("etc/sites-enabled")).unwrap();
                symlink(at.join("site"), at.join("etc/sites-enabled/site")).unwrap();
                symlink(at.join("nowhere"), at.join("etc/sites-enabled/gone")).unwrap();
            },
            "etc/sites-enabled/site names it",
        ),
        (
            |at| {
                fs::create_dir_all(at.join("srv/web")).unwrap();
                fs::write(at.join("srv/web/compose.yml"), "- ../ssl/.certd/old/:/certs\n").unwrap();
            },
            "srv/web/compose.yml names it",
        ),
        (
            |at| {
                fs::write(at.join("etc/nginx.conf"), format!("ssl_certificate {}/ssl/chain.pem;", at.display()))
                    .unwrap()
            },
            "etc/nginx.conf names it",
        ),
        (|at| chown(at.join("ssl"), Some(64001), None).unwrap(), "belongs to user 64001"),
        (
            |at| fs::set_permissions(at.join("ssl/.certd"), fs::Permissions::from_mode(0o777)).unwrap(),
            "others may write in",
        ),
        (|at| fs::write(at.join("ssl/.certd/old/mine"), "").unwrap(), "it has mine, which is not certd's"),
        (|at| fs::write(at.join("ssl/.certd/old/intent"), "").unwrap(), "has not come to its end"),
        (|at| fs::write(at.join("broken"), "").unwrap(), "the server's test fails already"),
        (
            |at| {
                fs::rename(at.join("ssl/.certd/old"), at.join("elsewhere")).unwrap();
                symlink(at.join("elsewhere"), at.join("ssl/.certd/old")).unwrap();
            },
            "it is no folder",
        ),
    ];
    for shell in SHELLS {
        for (change, why) in cases {
            let machine = Machine::new();
            change(machine.0.path());
            fs::remove_file(machine.path("etc/certd-receiver/old.conf")).unwrap();
            let before = machine.all();
            let lines = machine.clean(shell);
            assert!(lines.len() == 1 && lines[0].starts_with("left: /ssl/.certd/old: "), "{lines:?}");
            assert!(lines[0].contains(why), "{why}: {lines:?}");
            assert_eq!(machine.all(), before);
        }
        // A path that is configured leads there.
        let machine = Machine::new();
        let configured = Leftovers { paths: vec!["/private/key.pem".to_owned()], ..machine.leftovers() };
        let lines = machine.run(shell, &machine.script(Task::Clean, &configured)).unwrap();
        assert!(lines[0].contains("private/key.pem leads into it, which the configuration has"), "{lines:?}");
        // What is configured ends alike, and is not it.
        let machine = Machine::new();
        fs::write(machine.path("etc/nginx.conf"), "key /new/ssl/chain.pem;\n").unwrap();
        symlink(machine.path("nowhere"), machine.path("etc/gone")).unwrap();
        let alike = Leftovers { paths: vec!["/new/ssl/chain.pem".to_owned()], ..machine.leftovers() };
        let lines = machine.run(shell, &machine.script(Task::Clean, &alike)).unwrap();
        assert_eq!(lines[0], "removed: /ssl/.certd/old");
        // A search that is cut off, and folders of which nothing is recorded.
        let machine = Machine::new();
        let cut = machine.script(Task::Clean, &machine.leftovers()).replace("$(timeout 30 grep ", "$(exit 124; : ");
        let lines = machine.run(shell, &cut).unwrap();
        assert!(lines[0].contains("did not come to its end (grep: 124)"), "{lines:?}");
        let stay = vec![("/ssl/.certd/old".to_owned(), "no record")];
        let foreign = Leftovers { folders: Vec::new(), delivered: Vec::new(), stay, ..machine.leftovers() };
        fs::write(machine.path("etc/certd-receiver/old.conf"), "").unwrap();
        let before = machine.all();
        let lines = machine.run(shell, &machine.script(Task::Clean, &foreign)).unwrap();
        assert_eq!((lines, machine.all()), (vec!["left: /ssl/.certd/old: no record".to_owned()], before));
        // No test that could miss it.
        let blind = Leftovers { tests: Vec::new(), ..machine.leftovers() };
        let lines = machine.run(shell, &machine.script(Task::Clean, &blind)).unwrap();
        assert!(lines[0].contains("no server's test is configured there") && machine.path("ssl/.certd/old").exists());
        // Links into another folder of the same name are that one's.
        let machine = Machine::new();
        fs::create_dir_all(machine.path("new/.certd/old/current")).unwrap();
        symlink("../new/.certd/old/current/chain.pem", machine.path("ssl/live.pem")).unwrap();
        machine.clean(shell);
        assert!(machine.path("ssl/live.pem").is_symlink() && !machine.path("ssl/.certd/old").exists());
        let machine = Machine::new();
        // A test that misses it.
        let key = machine.path("private/key.pem").display().to_string();
        let misses = Leftovers { tests: vec![vec!["test".to_owned(), "-e".to_owned(), key]], ..machine.leftovers() };
        fs::remove_file(machine.path("etc/certd-receiver/old.conf")).unwrap();
        let before = machine.all();
        let lines = machine.run(shell, &machine.script(Task::Clean, &misses)).unwrap();
        assert!(lines[0].starts_with("left: /ssl/.certd/old: the server's test misses it"), "{lines:?}");
        assert_eq!(machine.all(), before);
    }
}

#[test]
fn killed_before_any_line_it_is_finished_by_the_next_run() {
    let machine = Machine::new();
    let script = machine.script(Task::Clean, &machine.leftovers());
    let lines: Vec<&str> = script.lines().collect();
    let start = lines.iter().position(|line| line.starts_with("# --- what root may touch")).unwrap();
    let mut killed = 0;
    // A few lines; `make soak` takes all.
    let stride = if std::env::var_os("ALL_SHELLS").is_some() { 1 } else { 7 };
    let alone = (start..lines.len()).filter(|at| stands_alone(lines[*at].trim(), lines[at - 1].trim_end()));
    for at in alone.step_by(stride) {
        let shell = SHELLS[at % SHELLS.len()];
        let machine = Machine::new();
        let script = machine.script(Task::Clean, &machine.leftovers());
        let lines: Vec<&str> = script.lines().collect();
        let variant = [&lines[..at], &["kill -9 0"], &lines[at..]].concat().join("\n");
        killed += usize::from(machine.run(shell, &variant).is_none());
        machine.clean(shell);
        assert!(is_clean(&machine), "{shell:?} {at} {}: {}", lines[at], machine.all());
    }
    assert!(killed > 30 / stride, "{killed}");
}
