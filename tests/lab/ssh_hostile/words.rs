//! A node whose commands, or whose login shell, say what they should not, or without end.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use certd::cert::{CertName, Chain, Pair, PrivateKey};
use certd::config::{Install, Rights};
use certd::node::{Bundle, Dialogue, Expected, Wanted, look};
use nix::sys::resource::{UsageWho, getrusage};
use zeroize::Zeroizing;

use crate::lab::alone::ran_elsewhere;

use super::sshd::Sshd;
use super::{LIMIT, threads, waited_for};

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.script("test", "exit 0");
        place.script("reload", "exit 0");
        place
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), format!("#!/bin/sh\nk={}\n{text}\n", self.path("leak"))).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The key stands in `leak`, too.
    fn bundle(&self) -> Bundle {
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let key = PrivateKey::parse(Zeroizing::new(key.serialize_pem())).unwrap();
        fs::write(self.path("leak"), key.pem()).unwrap();
        let install = Install {
            fullchain: self.path("chain.pem"),
            key: self.path("key.pem"),
            chain: None,
            combined: None,
            in_place: false,
            chain_first: false,
            forms: certd::config::Forms::default(),
            restart: false,
            server: None,
            rights: Rights::default(),
            test: vec![self.path("test")],
            reload: vec![self.path("reload")],
        };
        Bundle {
            certificate: CertName::parse("a.example").unwrap(),
            generation: "20261123061500-04c3".parse().unwrap(),
            pair: Arc::new(Pair::new(Chain::parse(&signed.pem()).unwrap(), key).unwrap()),
            install: Arc::new(install),
            older: false,
        }
    }
}

/// Nothing of the key, whatever stands between its characters.
#[track_caller]
fn has_nothing_of(bundle: &Bundle, printed: &str) {
    let squeeze =
        |text: &str| text.replace("\\n", "").replace(|c: char| !(c.is_ascii_alphanumeric() || "+/".contains(c)), "");
    let body: String = bundle.pair.key().pem().lines().filter(|line| !line.starts_with('-')).collect();
    let (body, squeezed) = (squeeze(&body), squeeze(printed));
    for piece in body.as_bytes().windows(8) {
        let piece = core::str::from_utf8(piece).unwrap();
        assert!(!squeezed.contains(piece), "{piece} of {body} in {printed}");
    }
    assert!(!printed.contains("PRIVATE KEY"), "{printed}");
}

/// Ways to print the file `$k`.
const LEAKS: [&str; 9] = [
    "cat $k",
    "cat $k >&2",
    "sed -n 2p $k",
    "tail -n +2 $k | head -n 2",
    "grep -v - $k | tr -d '\\n'",
    "grep -v - $k | tr -d '\\n' | fold -w 20",
    "sed 's/^/nginx: key: /' $k",
    "tr '\\n' ' ' <$k",
    "head -n 3 $k; echo; echo and more",
];

#[tokio::test]
async fn a_test_or_a_reload_that_prints_the_key_does_not_get_it_into_an_answer() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let (sshd, place) = (Sshd::start(None), Place::new());
    let bundle = place.bundle();
    for leak in LEAKS {
        let leak = format!("echo before; {leak}; exit 1");
        place.script("test", &leak);
        let expected = Some(Expected::of(&bundle.pair, &bundle.install));
        let wanted = Wanted { certificate: bundle.certificate.clone(), install: Arc::clone(&bundle.install), expected };
        let looked = format!("{:?}", look(sshd.endpoint(), vec![wanted], LIMIT).await.unwrap());
        let (dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
        dialogue.abort().await;
        let prepared = format!("{prepared:?}");
        place.script("test", "exit 0");
        place.script("reload", &leak);
        let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
        let committed = format!("{:?}", dialogue.commit().await.unwrap());
        for printed in [looked, prepared, committed] {
            assert!(printed.contains("before") && printed.contains("[private key removed]"), "{leak}: {printed}");
            has_nothing_of(&bundle, &printed);
        }
    }
}

#[tokio::test]
async fn a_login_shell_that_gives_back_what_it_is_told_does_not_get_the_key_into_an_error() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let place = Place::new();
    let bundle = place.bundle();
    for (to, many) in [("", 1), (" >&2", 1), ("", 3), (" >&2", 3)] {
        let take = "while IFS= read -r l; do case $l in -*PRIVATE*) n=0;; esac; [ -n \"$n\" ] || continue; n=$((n+1));";
        let force = format!("{take} [ $n = 1 ] || echo \"$l\"{to}; [ $n -gt {many} ] && exit 3; done");
        let sshd = Sshd::start(Some(&format!("sh -c '{}'", force.replace('\'', "'\\''"))));
        let error = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.expect_err("no answer");
        let printed = format!("{error} {error:?} {}", error.next());
        assert!(printed.contains("[private key removed]"), "{printed}");
        has_nothing_of(&bundle, &printed);
    }
}

#[tokio::test]
async fn a_flood_on_stderr_ends_the_session_and_costs_next_to_nothing() {
    if ran_elsewhere(|| ()) {
        return;
    }
    waited_for("threads are left", || threads() == 0).await;
    let place = Place::new();
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        let seconds = |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000);
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    for flood in
        ["cat /dev/zero >&2", "while :; do printf x >&2; done", "yes noise >&2; eval \"$SSH_ORIGINAL_COMMAND\""]
    {
        let sshd = Sshd::start(Some(flood));
        let (before, begun) = (used(), Instant::now());
        let error = Dialogue::open(sshd.endpoint(), vec![place.bundle()], LIMIT).await.expect_err("it is ended");
        let (cost, took) = (used() - before, begun.elapsed());
        // One that drips a byte at a time is slower than its deadline, and costs nothing.
        let code = error.code().to_string();
        assert!(code == "ssh-noise" || (flood.contains("printf") && code == "ssh-deadline"), "{flood}: {error}");
        assert!(cost < Duration::from_secs(3), "{flood}: {cost:?} of processor time in {took:?}");
        waited_for("threads are left", || threads() == 0).await;
    }
}

#[tokio::test]
async fn a_page_or_two_on_stderr_is_no_flood() {
    if ran_elsewhere(|| ()) {
        return;
    }
    let place = Place::new();
    let sshd = Sshd::start(Some("head -c 500000 /dev/zero >&2; eval \"$SSH_ORIGINAL_COMMAND\""));
    let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![place.bundle()], LIMIT).await.unwrap();
    dialogue.commit().await.unwrap();
}
