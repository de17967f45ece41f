//! The node program on its own stdin and stdout, under each shell, in a folder with a server's files and two commands
//! that say what they see and fail on demand.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use aws_lc_rs::digest::{SHA256, digest};
use certd::node::{BOOTSTRAP, SEPARATOR, compact, sized};
use tempfile::TempDir;

pub(crate) use super::shells::{SHELLS, has};
use super::shells::{utilities, with_path};
use crate::lab::process::wait_until;

pub(crate) const SOURCE: &str = include_str!("../../../src/node/receive.sh");
/// With what a look has besides.
pub(crate) fn whole() -> String {
    SOURCE.replace("#@look\n", include_str!("../../../src/node/look.sh"))
}

/// With what a certificate of further forms has besides, and `programs` where the program finds them.
pub(crate) fn with_forms(programs: &Path) -> String {
    let forms = whole().replace("#@forms\n", include_str!("../../../src/node/forms.sh"));
    forms.replacen("export LC_ALL PATH\n", &format!("PATH=$PATH:{}\nexport LC_ALL PATH\n", programs.display()), 1)
}

pub(crate) const NAME: &str = "n.example";

/// A chain, its key, and a generation, distinguished by a letter. The commands of a [`Place`] know which belong together.
#[derive(Clone, Copy)]
pub(crate) struct Fake(pub(crate) char, pub(crate) &'static str);

pub(crate) const OLD: Fake = Fake('o', "20260101000000-0a");
pub(crate) const NEW: Fake = Fake('n', "20261123061500-0b");
pub(crate) const NEXT: Fake = Fake('x', "20261123061501-0c");

impl Fake {
    pub(crate) fn chain(self) -> String {
        format!("chain {0}\n-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n{1}", self.0, self.issuers())
    }

    /// What stands above the leaf.
    pub(crate) fn issuers(self) -> String {
        format!("issuer {0}\n-----BEGIN CERTIFICATE-----\n{0} line 2\n", self.0)
    }

    pub(crate) fn combined(self) -> String {
        self.key() + &self.chain()
    }

    pub(crate) fn key(self) -> String {
        format!("key {}\n-----BEGIN PRIVATE KEY-----\n", self.0)
    }
}

/// Where a server reads its pair. `test` fails without a whole pair, with a mismatched one, when the file `broken`
/// exists, or `broken-X` for the chain of the letter X, or when there is `no-links` and the key's path is one, as in a
/// container that does not see where it leads. `reload` likewise with `stopped` and `stopped-X`.
pub(crate) struct Place {
    pub(crate) dir: TempDir,
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// Whether deliveries bring `chain-alone.pem` and `combined.pem` too.
    pub(crate) more: bool,
    /// Whether files are written over.
    pub(crate) in_place: bool,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self::of("ssl/key.pem")
    }

    /// With the key in a folder of its own.
    pub(crate) fn apart() -> Self {
        Self::of("private/key.pem")
    }

    fn of(key: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = (dir.path().join("ssl/chain.pem"), dir.path().join(key));
        let place = Self { dir, chain, key, more: false, in_place: false };
        fs::create_dir(place.path("ssl")).unwrap();
        fs::create_dir_all(place.key.parent().unwrap()).unwrap();
        let (at, key) = (place.dir.path().display().to_string(), place.key.display().to_string());
        place.script(
            "test",
            &format!(
                "echo test >>{at}/log; [ ! -e {at}/no-links ] || [ ! -L {key} ] || {{ echo no such file; exit 1; }}\n\
                 cat {at}/ssl/chain.pem {key} >/dev/null || exit 1\n\
                 read -r a x <{at}/ssl/chain.pem; read -r b y <{key}\n\
                 [ \"$x\" = \"$y\" ] || {{ echo key values mismatch; exit 1; }}\n\
                 if [ -e {at}/ssl/combined.pem ]; then read -r b y <{at}/ssl/combined.pem; fi\n\
                 [ \"$x\" = \"$y\" ] || {{ echo combined is $y; exit 1; }}\n\
                 [ ! -e {at}/broken ] && [ ! -e {at}/broken-$x ] || {{ echo \"[emerg] broken with $x\"; exit 1; }}"
            ),
        );
        place.script(
            "reload",
            &format!(
                "read -r a x <{at}/ssl/chain.pem; echo reload $x >>{at}/log\n\
                 [ ! -e {at}/stopped ] && [ ! -e {at}/stopped-$x ] || {{ echo \"invalid PID number\"; exit 1; }}"
            ),
        );
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Plain files, as acme.sh leaves them.
    pub(crate) fn with(self, fake: Fake) -> Self {
        fs::write(&self.chain, fake.chain()).unwrap();
        fs::write(&self.key, fake.key()).unwrap();
        fs::set_permissions(&self.key, fs::Permissions::from_mode(0o640)).unwrap();
        self
    }

    /// For consumers that want more files; the plain ones of `fake`, if there are to be any.
    pub(crate) fn with_more(mut self, fake: Option<Fake>) -> Self {
        self.more = true;
        if let Some(fake) = fake {
            fs::write(self.path("ssl/combined.pem"), fake.combined() + "PRIVATE\n").unwrap();
            fs::set_permissions(self.path("ssl/combined.pem"), fs::Permissions::from_mode(0o640)).unwrap();
        }
        self
    }

    pub(crate) fn tell(&self, file: &str) {
        fs::write(self.path(file), "").unwrap();
    }

    pub(crate) fn untell(&self, file: &str) {
        fs::remove_file(self.path(file)).unwrap();
    }

    pub(crate) fn own(&self) -> PathBuf {
        self.path("ssl/.certd").join(NAME)
    }

    /// What the commands wrote since the last call.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let _ = fs::remove_file(self.path("log"));
        log.lines().collect::<Vec<_>>().join(", ")
    }

    /// The letters of chain and key at one instant: through `current`, resolved once, when both paths lead there.
    pub(crate) fn pair(&self) -> (Option<String>, Option<String>) {
        let pinned = fs::read_link(self.own().join("current")).map(|to| self.own().join(to)).ok();
        let read = |path: &Path, name: &str| {
            let path = match (&pinned, path.is_symlink()) {
                (Some(folder), true) => folder.join(name),
                _ => path.to_owned(),
            };
            let text = fs::read_to_string(path).ok()?;
            Some(text.split_ascii_whitespace().nth(1).unwrap_or("empty").to_owned())
        };
        (read(&self.chain, "fullchain.pem"), read(&self.key, "privkey.pem"))
    }

    pub(crate) fn holds(&self, fake: Fake) -> bool {
        let letter = Some(fake.0.to_string());
        let more = |name: &str| fs::read_to_string(self.path(name)).unwrap_or_default();
        self.pair() == (letter.clone(), letter)
            && (!self.more
                || (more("ssl/chain-alone.pem"), more("ssl/combined.pem")) == (fake.issuers(), fake.combined()))
            && fs::read_to_string(&self.chain).unwrap() == fake.chain()
            && fs::read_to_string(&self.key).unwrap() == fake.key()
    }

    /// Everything that is there, but for the commands and the files that steer them: names, modes, owners, links, times to the
    /// nanosecond, how many names a file has, which file it is, ACLs, and content.
    pub(crate) fn all(&self) -> String {
        let script = "find . ! -path ./test ! -path ./reload ! -path ./log ! -path './broken*' ! -path './stopped*' \
                      ! -path './no-links' ! -type d -printf '%p %M %U %G %n %i %T@ %l\\n' | sort; \
                      find . -mindepth 1 -type d -printf '%p %M %U %G\\n' | sort; getfacl -RPcn ssl private 2>/dev/null; \
                      grep -r . ssl private 2>/dev/null | sort";
        let output = Command::new("sh").args(["-c", script]).current_dir(self.dir.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Names in our own folder, sorted.
    pub(crate) fn kept(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.own())
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }

    pub(crate) fn bundle(&self, fake: Fake) -> String {
        self.bundle_of(NAME, fake, &self.chain, &self.key)
    }

    /// What a look asks about.
    pub(crate) fn wanted(&self, fake: Fake) -> String {
        let (more, sums) = self.more(fake);
        format!(
            "name {NAME}\nfullchain {}\nkey {}\n{more}test {}\nsum {}\nsum {}\n{sums}",
            self.chain.display(),
            self.key.display(),
            self.path("test").display(),
            hex(&fake.chain()),
            hex(&fake.key()),
        )
    }

    /// Parameters of what else is wanted, and its digests.
    fn more(&self, fake: Fake) -> (String, String) {
        let at = self.path("ssl").display().to_string();
        let mut lines = if self.in_place { "in-place yes\n".to_owned() } else { String::new() };
        if !self.more {
            return (lines, String::new());
        }
        lines.push_str(&format!("chain {at}/chain-alone.pem\ncombined {at}/combined.pem\n"));
        (lines, format!("sum {}\nsum {}\n", hex(&fake.issuers()), hex(&fake.combined())))
    }

    /// Of the chain's file.
    pub(crate) fn sum(&self, fake: Fake) -> String {
        hex(&fake.chain())
    }

    pub(crate) fn bundle_of(&self, name: &str, fake: Fake, chain: &Path, key: &Path) -> String {
        let (more, sums) = self.more(fake);
        format!(
            "name {name}\ngeneration {}\nfullchain {}\nkey {}\n{more}test {}\nreload {}\nchain-pem {}\n{}.\nkey-pem {}\n{}.\n{sums}",
            fake.1,
            chain.display(),
            key.display(),
            self.path("test").display(),
            self.path("reload").display(),
            hex(&fake.chain()),
            fake.chain(),
            hex(&fake.key()),
            fake.key(),
        )
    }
}

pub(crate) fn hex(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// A running program.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    pub(crate) fn start(shell: &[&str], bundles: &[String]) -> Self {
        Self::start_source(shell, SOURCE, bundles, &[])
    }

    /// A whole look: its verb and body.
    pub(crate) fn look(shell: &[&str], source: &str, wanted: &[String], env: &[(&str, &str)]) -> (String, String) {
        let mut program = Self::start_source(shell, source, &[&["look yes\n".to_owned()], wanted].concat(), env);
        let reply = program.answer().expect("an answer");
        assert!(program.end().is_some());
        reply
    }

    /// In a process group of its own, so that `kill -9 0` in it reaches it and its subshells only.
    pub(crate) fn start_source(shell: &[&str], source: &str, bundles: &[String], env: &[(&str, &str)]) -> Self {
        let bootstrap = BOOTSTRAP.strip_prefix("exec sh -c '").and_then(|rest| rest.strip_suffix('\'')).unwrap();
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(["-c", bootstrap])
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut program = Self { stdin: child.stdin.take(), child, stdout };
        let source = utilities(shell).map_or_else(|| source.to_owned(), |folder| with_path(source, &folder));
        let text = [&compact(&source), SEPARATOR, "END\nnonce 0123\ncertd 3\n", &bundles.concat(), "end\n"].concat();
        program.say(std::str::from_utf8(&sized(&[&text])).unwrap());
        program
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A program that has been killed hears nothing, which is no fault of the one who speaks.
    pub(crate) fn say(&mut self, text: &str) {
        if let Some(stdin) = &mut self.stdin {
            let _ = stdin.write_all(text.as_bytes());
        }
    }

    pub(crate) fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// Verb and body; `None`: it ended without.
    pub(crate) fn answer(&mut self) -> Option<(String, String)> {
        let mut header = String::new();
        self.stdout.read_line(&mut header).unwrap();
        let fields: Vec<&str> = header.split_ascii_whitespace().collect();
        let ["certd-node", "0123", verb, length] = fields[..] else {
            assert_eq!(header, "", "a line that is no answer");
            return None;
        };
        let mut body = vec![0; length.parse().unwrap()];
        self.stdout.read_exact(&mut body).unwrap();
        Some((verb.to_owned(), String::from_utf8(body).unwrap()))
    }

    pub(crate) fn prepared(&mut self) -> String {
        let (verb, body) = self.answer().expect("an answer");
        assert_eq!(verb, "prepared", "{body}");
        let (facts, output) = body.split_once("\noutput\n").expect("the test's words come last");
        let (facts, clock) = facts.rsplit_once('\n').expect("more than the test");
        assert!(clock.strip_prefix("clock ").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{body}");
        format!("{facts}\noutput\n{output}")
    }

    pub(crate) fn commit(&mut self) -> (String, String) {
        self.say("commit\n");
        self.answer().expect("an answer")
    }

    /// Everything closed and its exit status, which a child that kept stdout open would hold up.
    pub(crate) fn end(mut self) -> Option<i32> {
        self.hang_up();
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).unwrap();
        self.child.wait().unwrap().code()
    }
}

/// What [`Place::all`] shows, without times.
pub(crate) fn timeless(all: &str) -> String {
    let time = |line: &str| line.starts_with("./").then(|| line.split(' ').nth(6).map(str::to_owned)).flatten();
    all.lines().map(|line| time(line).map_or(line.to_owned(), |time| line.replace(&time, "")) + "\n").collect()
}

/// A whole delivery: its verb and words.
pub(crate) fn deliver(shell: &[&str], place: &Place, fake: Fake) -> (String, String) {
    let mut program = Program::start(shell, &[place.bundle(fake)]);
    let (verb, body) = program.answer().expect("an answer");
    if verb != "prepared" {
        // It cleans up behind its answer.
        program.end();
        return (verb, body);
    }
    let reply = program.commit();
    program.say("done\n");
    program.end();
    reply
}

/// An answer without words.
pub(crate) fn reply(verb: &str) -> (String, String) {
    (verb.to_owned(), String::new())
}

/// What another process does a moment later, without telling anybody.
pub(crate) fn wait_for(done: impl Fn() -> bool) {
    assert!(wait_until(done), "it does not come");
}
