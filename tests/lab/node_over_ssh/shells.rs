//! Dialogues through every login shell.

use super::bench::*;
use super::*;

/// An account of its own with this login shell, removed when dropped. `None`: this machine has no such shell.
struct Account {
    name: String,
    home: tempfile::TempDir,
}

impl Account {
    fn new(shell: &str) -> Option<Self> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let home = tempfile::tempdir().unwrap();
        let command = shell.split(' ').next().unwrap();
        if !std::path::Path::new(command).exists() {
            println!("not run: there is no {command}");
            return None;
        }
        // A shell is one path without arguments; busybox looks at the name that it is called by.
        let path = home.path().join(shell.rsplit(['/', ' ']).next().unwrap());
        std::os::unix::fs::symlink(command, &path).unwrap();
        let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let name = format!("certd-t{}-{count}", std::process::id());
        // Others who change the list of accounts hold its lock for a moment.
        let made = (0..50).any(|_| {
            let mut useradd = std::process::Command::new("useradd");
            useradd.args(["-M", "-p", "*", "-d"]).arg(home.path()).arg("-s").arg(&path).arg(&name);
            let made = useradd.output().unwrap().status.success();
            if !made {
                std::thread::sleep(Duration::from_millis(100));
            }
            made
        });
        assert!(made, "no account with {shell}");
        let chown = std::process::Command::new("chown").arg(&name).arg(home.path()).status().unwrap();
        assert!(chown.success());
        Some(Self { name, home })
    }

    /// Its home is where its server reads its files.
    fn place(self) -> (Self, Place) {
        let dir = tempfile::tempdir_in(self.home.path()).unwrap();
        assert!(std::process::Command::new("chown").arg(&self.name).arg(dir.path()).status().unwrap().success());
        let place = Place { dir };
        place.scripts();
        (self, place)
    }

    fn endpoint(&self, sshd: &Sshd) -> Endpoint {
        fs::set_permissions(sshd.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Endpoint { user: self.name.clone(), ..sshd.endpoint() }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let removed = (0..50).any(|_| {
            let removed = std::process::Command::new("userdel").args(["-f", &self.name]).output();
            if removed.is_ok_and(|output| output.status.success()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
            false
        });
        if !removed {
            println!("the account {} is left", self.name);
        }
    }
}

#[tokio::test]
async fn s19_a_dialogue_works_with_every_login_shell() {
    let sshd = Sshd::start(None);
    for shell in ["/bin/dash", "/bin/busybox ash", "/bin/bash", "/usr/bin/fish", "/bin/csh", "/bin/tcsh"] {
        let Some(account) = Account::new(shell) else { continue };
        let (account, place) = account.place();
        let (bundle, text) = place.bundle("20261123061500-04c3");
        let wanted = place.wanted(&bundle);
        let opened = Dialogue::open(account.endpoint(&sshd), vec![bundle], LIMIT).await;
        let (mut dialogue, _) = opened.unwrap_or_else(|error| panic!("{shell}: {error}"));
        assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed, "{shell}");
        dialogue.done().await;
        assert_eq!(place.served(), text, "{shell}");
        let looked = look(account.endpoint(&sshd), vec![wanted], LIMIT).await.unwrap();
        assert!(looked.certificates.values().all(|found| found.same), "{shell}");
    }
}

#[tokio::test]
async fn s19_a_login_shell_that_lets_nobody_in_is_told_in_words() {
    let sshd = Sshd::start(None);
    let account = Account::new("/usr/sbin/nologin").expect("Debian has it");
    let (account, place) = account.place();
    let error = fails(account.endpoint(&sshd), &place, LIMIT).await;
    let text = "上海: the program ended without an answer (exit status 1): This account is currently not available.";
    assert_eq!(error.to_string().trim_end(), text);
}

#[tokio::test]
async fn s18_start_files_that_print_64_kb_are_no_hindrance() {
    let sshd = Sshd::start(None);
    let account = Account::new("/bin/bash").expect("Debian has it");
    let (account, place) = account.place();
    // bash reads it for a command over SSH, too. Some of the noise looks like an answer.
    fs::write(
        account.home.path().join(".bashrc"),
        "echo 'certd-node 0123 committed 0'; head -c 60000 /dev/zero | tr '\\0' x; echo motd >&2; export l=1 F=2 key1=3\n",
    )
    .unwrap();
    let (bundle, text) = place.bundle("20261123061500-04c3");
    let (mut dialogue, _) = Dialogue::open(account.endpoint(&sshd), vec![bundle], LIMIT).await.unwrap();
    assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
    assert_eq!(place.served(), text);
}
