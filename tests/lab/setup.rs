//! What a newcomer runs first: tests/setup.sh, `make`, .ci/run. An error means that somebody's first quarter of an hour with
//! certd ends in a riddle.

use crate::lab;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A copy of the script in a repository of its own, and a machine without the programs that it brings: it finds those of
/// `bin` alone. `id` says that it is not root; `sudo` and `apt-get` do nothing but note how they were called.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let machine = Self { folder };
        for inner in ["repo/tests", "bin"] {
            fs::create_dir_all(machine.path(inner)).unwrap();
        }
        fs::copy(Path::new(ROOT).join("tests/setup.sh"), machine.path("repo/tests/setup.sh")).unwrap();
        fs::copy(Path::new(ROOT).join("Cargo.toml"), machine.path("repo/Cargo.toml")).unwrap();
        for name in ["sh", "cat", "dirname", "sed", "sort", "tr", "tee", "chmod", "rm"] {
            let found =
                ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|it| it.exists());
            symlink(found.expect("Debian has it"), machine.path("bin").join(name)).unwrap();
        }
        machine.program("id", "echo 1000");
        machine.program("sudo", &format!("echo \"sudo $*\" >>{}", machine.path("calls").display()));
        machine.program("apt-get", "exit 9");
        machine.rust("cargo 1.999.0 (0123abcd 2031-01-01)", "rustc 1.999.0 (0123abcd 2031-01-01)");
        machine
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.folder.path().join(inner)
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn rust(&self, cargo: &str, rustc: &str) {
        self.program("cargo", &format!("echo '{cargo}'"));
        self.program("rustc", &format!("echo '{rustc}'"));
    }

    /// Runs the script in a session of its own, so without a terminal, or on one; returns what it printed.
    fn set_up(&self, terminal: bool) -> String {
        let script = self.path("repo/tests/setup.sh");
        let mut command = if terminal {
            let mut command = Command::new("/usr/bin/script");
            command.args(["-qec", &format!("sh {}", script.display()), "/dev/null"]);
            command
        } else {
            let mut command = Command::new("/usr/bin/setsid");
            command.arg("--wait").arg("/bin/sh").arg(script);
            command
        };
        command.env_clear().env("PATH", self.path("bin")).env("HOME", self.path("")).env("SHELL", "/bin/sh");
        let output = command.output().expect("util-linux is in every Debian");
        let printed = text(&output);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        printed
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

fn needed() -> String {
    let manifest: toml::Table = fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap().parse().unwrap();
    manifest["package"]["rust-version"].as_str().unwrap().to_owned()
}

#[test]
fn a_toolchain_that_is_too_old_is_refused_in_words_before_anything_is_installed() {
    let machine = Machine::new();
    let needed = needed();
    for (cargo, rustc, what) in [
        ("cargo 1.65.0", "rustc 1.63.0 (4b91a6ea7 2022-08-08) (Debian 1.63.0+dfsg1-2)", "cargo is 1.65"),
        ("cargo 1.94.9 (85eff7c80 2026-01-15)", "rustc 1.999.0", "cargo is 1.94"),
        ("cargo 1.999.0", "rustc 1.9.0", "rustc is 1.9"),
        ("cargo 0.999.0", "rustc 1.999.0", "cargo is 0.999"),
        ("error: no default toolchain", "rustc 1.999.0", "is not understood: error: no default toolchain"),
    ] {
        machine.rust(cargo, rustc);
        let printed = machine.set_up(false);
        assert!(printed.contains(what), "{cargo}, {rustc}: {printed}");
        assert!(!what.contains(" is ") || printed.contains("rustup"), "{printed}");
        assert!(what.contains("understood") || printed.contains(&format!("needs Rust {needed} or newer")), "{printed}");
    }
    machine.program("cargo", "echo 'rustup: no such toolchain' >&2; exit 1");
    assert!(machine.set_up(false).contains("cargo does not run: rustup: no such toolchain"));
    fs::remove_file(machine.path("bin/cargo")).unwrap();
    assert!(machine.set_up(false).contains("there is no cargo: install it by https://rustup.rs"));
    fs::create_dir_all(machine.path(".cargo/bin")).unwrap();
    symlink("/bin/true", machine.path(".cargo/bin/rustup")).unwrap();
    assert!(machine.set_up(false).contains("in a shell that does not find it: . ~/.cargo/env"));
    assert_eq!(machine.calls(), "");
}

#[test]
fn a_toolchain_of_the_needed_version_or_a_later_one_is_taken() {
    let machine = Machine::new();
    for version in [needed(), "1.100".into(), "2.0".into()] {
        machine.rust(&format!("cargo {version}.0-nightly (0123abcd 2031-01-01)"), &format!("rustc {version}.1"));
        let printed = machine.set_up(false);
        assert!(printed.contains("installing through sudo"), "{version}: {printed}");
    }
}

#[test]
fn sudo_may_ask_for_a_password_where_there_is_a_terminal_and_there_alone() {
    for terminal in [true, false] {
        let machine = Machine::new();
        let printed = machine.set_up(terminal);
        let calls = machine.calls();
        let install =
            calls.lines().find(|call| call.contains("apt-get -q -y install")).unwrap_or_else(|| panic!("{calls}"));
        assert_eq!(install.starts_with("sudo -n "), !terminal, "{install}");
        assert!(install.contains(" bind9-dnsutils ") && install.contains(" openssh-client "), "{install}");
        assert!(calls.lines().all(|call| call.starts_with("sudo -n ") != terminal), "{calls}");
        // It says what it is about to do before it asks, and that nothing came of it.
        let (before, after) =
            printed.split_once("still missing after the installation").unwrap_or_else(|| panic!("{printed}"));
        assert_eq!(before.contains("which may ask for your password"), terminal, "{printed}");
        assert!(before.contains(" caddy ") && after.contains(" caddy "), "{printed}");
    }
}

#[test]
fn without_sudo_or_where_it_refuses_the_packages_are_told() {
    let machine = Machine::new();
    machine.program("sudo", "echo 'sudo: a password is required' >&2; exit 1");
    let printed = machine.set_up(false);
    assert!(
        printed.contains("sudo refuses; install these yourself: apt-get install") && printed.contains(" caddy "),
        "{printed}"
    );
    fs::remove_file(machine.path("bin/sudo")).unwrap();
    let printed = machine.set_up(true);
    assert!(printed.contains("there is no sudo; install these yourself: apt-get install"), "{printed}");
}

#[test]
fn ci_says_on_which_system_it_ran() {
    let machine = Machine::new();
    machine.program("make", "echo \"made $*\"");
    let path = format!("{}:/usr/bin:/bin", machine.path("bin").display());
    let output = Command::new(Path::new(ROOT).join(".ci/run")).env("PATH", path).output().unwrap();
    let printed = text(&output);
    let release = fs::read_to_string("/etc/os-release").expect("a Debian");
    let system = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap().trim_matches('"');
    assert!(output.status.success(), "{printed}");
    assert!(printed.starts_with(&format!("== on {system}")), "{printed}");
    assert!(printed.contains("made test") && printed.contains("made demo"), "{printed}");
    assert!(printed.lines().last().unwrap().starts_with(&format!("== all is well on {system}")), "{printed}");
}

#[test]
fn the_first_build_says_that_it_builds_and_for_how_long() {
    let make = |target: &Path| {
        let mut output = Command::new("make");
        let output = output.args(["-s", "-C", ROOT, "first-build"]).env("CARGO_TARGET_DIR", target);
        let output = output.env_remove("MAKEFLAGS").env_remove("MAKELEVEL").output();
        let printed = text(&output.expect("Debian has make"));
        // Where the clock is moved back, the Makefile is of tomorrow, which make says.
        let of_make =
            |line: &&str| line.starts_with("make: ") && (line.contains("in the future") || line.contains("lock skew"));
        printed.lines().filter(|line| !of_make(line)).collect::<Vec<_>>().join("\n")
    };
    let folder = tempfile::tempdir().unwrap();
    let printed = make(folder.path());
    assert!(printed.contains("first build") && printed.contains("minutes"), "{printed}");
    fs::create_dir(folder.path().join("debug")).unwrap();
    fs::write(folder.path().join("debug/certd"), "").unwrap();
    assert_eq!(make(folder.path()), "");
}

/// Pebble and Caddy are Go programs, which nothing moves that moves the C library's clock alone. As in the lab itself, a
/// mount namespace is needed: without root, or a sudo that does not ask, there is nothing to be seen.
#[test]
fn a_moved_clock_is_moved_for_every_kind_of_program() {
    if fs::read_to_string("/etc/ld.so.preload").is_ok_and(|text| text.contains("moved_clock")) {
        return; // It is moved already, and this test is one of those that see it.
    }
    if !lab::process::as_root("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        println!("not run: no mount namespace can be had here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("pebble.json");
    fs::write(
        &config,
        r#"{"pebble":{"certificate":"/nonexistent","privateKey":"/nonexistent","httpPort":80,"tlsPort":443}}"#,
    )
    .unwrap();
    let pebble = Path::new(ROOT).join("lab/pebble/usr/bin/pebble");
    let programs = format!(
        "date +%Y/%m/%d; env -i busybox date +%Y/%m/%d; busybox date +%Y/%m/%d; bash -c 'printf \"%(%Y/%m/%d)T\\n\"'; \
         perl -MPOSIX -e 'print strftime(\"%Y/%m/%d\\n\", gmtime)'; {} -config {} 2>&1 | head -n 1",
        pebble.display(),
        config.display()
    );
    for days in [400, -10] {
        let output = Command::new(Path::new(ROOT).join("tests/moved_clock.sh"))
            .args([&days.to_string(), "sh", "-c", &programs])
            .env("TZ", "UTC")
            .output()
            .unwrap();
        let printed = text(&output);
        assert!(output.status.success(), "{printed}");
        let then = certd::context::clock::now() + jiff::SignedDuration::from_hours(days * 24);
        let (day, pebble) =
            (then.strftime("%Y/%m/%d").to_string(), String::from_utf8_lossy(&output.stdout).into_owned());
        let lines: Vec<&str> = pebble.lines().collect();
        assert_eq!(lines.len(), 6, "{printed}");
        assert!(lines[..5].iter().all(|line| *line == day), "{day}: {printed}");
        assert!(lines[5].starts_with(&format!("Pebble {day} ")), "{day}: {printed}");
    }
}
