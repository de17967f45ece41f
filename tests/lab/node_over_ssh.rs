//! The dialogue with a node through a real sshd.

#![allow(clippy::print_stdout, reason = "prints what is not run here")]
#![allow(clippy::disallowed_methods, reason = "a node's clock is compared with the real one")]

use crate::lab::plain_sshd as sshd;

mod bench;
mod shells;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use certd::config::{Forms, Pkcs12};
use certd::model::AtPath;
use certd::model::{Base, Committed, ConfigTest};
use certd::node::{Dialogue, Expected, NodeError, look};
use certd::ssh::{Endpoint, SshError, fingerprint, host_keys};
use sshd::{Sshd, free_address, identity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use bench::*;

#[tokio::test]
async fn a_certificate_is_prepared_committed_and_read_by_the_server() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let (bundle, text) = place.bundle("20261123061500-04c3");
    let (mut dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
    assert_eq!(prepared.test, ConfigTest::Ok);
    assert_eq!(prepared.bases[&bundle.certificate], Base::Nothing);
    assert_eq!(place.served(), "", "nothing is changed before the commit");
    assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
    dialogue.done().await;
    assert_eq!(place.served(), text);

    let (dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
    assert_eq!(prepared.bases[&bundle.certificate], Base::Unchanged);
    dialogue.abort().await;

    let (next, text_of_next) = place.bundle("20261123061501-04c4");
    let (mut dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![next], LIMIT).await.unwrap();
    assert_eq!(prepared.bases[&bundle.certificate], Base::Managed(bundle.generation.clone()));
    assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
    assert_eq!(place.served(), text_of_next);
    assert_eq!(dialogue.rollback().await.unwrap(), Ok(()), "still ours: it goes back");
    assert_eq!(place.served(), text);
}

#[tokio::test]
async fn a_look_tells_what_is_on_the_nodes_disk_and_whether_it_is_what_is_stored() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let (bundle, _) = place.bundle("20261123061500-04c3");
    let wanted = place.wanted(&bundle);
    let looked = look(sshd.endpoint(), vec![wanted.clone()], LIMIT).await.unwrap();
    let found = &looked.certificates[&bundle.certificate];
    assert_eq!((&found.fullchain, &found.key, found.same), (&AtPath::Nothing, &AtPath::Nothing, false));
    assert!(looked.test == ConfigTest::Ok && looked.room.is_some());
    let clock = looked.clock.expect("Debian has `date +%s`");
    assert!(clock.duration_since(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_mins(1));
    let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
    dialogue.commit().await.unwrap();
    dialogue.done().await;
    let (other, _) = place.bundle("20261123061501-04c4");
    place.script("test", "echo no; exit 1");
    for (wanted, same) in [(wanted.clone(), true), (place.wanted(&other), false)] {
        let looked = look(sshd.endpoint(), vec![wanted.clone()], LIMIT).await.unwrap();
        let found = &looked.certificates[&bundle.certificate];
        assert_eq!((&found.fullchain, &found.key, found.same), (&AtPath::Link, &AtPath::Link, same));
        assert_eq!(found.current.as_deref(), Some("20261123061500-04c3"));
        assert_eq!(found.digest.as_deref() == wanted.expected.as_ref().map(Expected::fullchain), same);
        assert_eq!(looked.test, ConfigTest::Failed("no".to_owned()));
    }
}

#[tokio::test]
async fn der_and_pkcs12_are_delivered_and_read_back_with_the_password_that_stayed_on_the_node() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let text = |name: &str| place.path(name).display().to_string();
    fs::write(place.path("password"), "secret\n").unwrap();
    fs::set_permissions(place.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    for (legacy, generation, cipher) in
        [(false, "20261123061500-04c3", "AES-256-CBC"), (true, "20261123061501-04c4", "KeyTripleDES-CBC")]
    {
        let (mut bundle, pair) = place.bundle(generation);
        let pkcs12 = Pkcs12 { path: text("store.p12"), password_file: text("password"), legacy };
        std::sync::Arc::make_mut(&mut bundle.install).forms =
            Forms { certificate_der: Some(text("leaf.der")), key_der: Some(text("key.der")), pkcs12: Some(pkcs12) };
        let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
        assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
        dialogue.done().await;
        let openssl = |words: &str| {
            let output = std::process::Command::new("openssl")
                .args(words.split(' '))
                .current_dir(place.dir.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        };
        let leaf = openssl("x509 -inform DER -in leaf.der");
        assert_eq!(leaf + &openssl("pkey -inform DER -in key.der"), pair);
        let store = openssl("pkcs12 -in store.p12 -passin file:password -nodes -info");
        assert!(pair.split_inclusive("-----END CERTIFICATE-----\n").all(|block| store.contains(block)), "{store}");
        assert!(store.contains(cipher), "{store}");
        let looked = look(sshd.endpoint(), vec![place.wanted(&bundle)], LIMIT).await.unwrap();
        assert!(looked.certificates[&bundle.certificate].same);
        let (dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![bundle.clone()], LIMIT).await.unwrap();
        assert_eq!(prepared.bases[&bundle.certificate], Base::Unchanged);
        dialogue.abort().await;
        fs::remove_file(place.path("password")).unwrap();
        let looked = look(sshd.endpoint(), vec![place.wanted(&bundle)], LIMIT).await.unwrap();
        let why = format!("keystore.p12: its password file {} is not there, or no ordinary file", text("password"));
        assert_eq!(looked.certificates[&bundle.certificate].key, AtPath::Foreign { why });
        fs::write(place.path("password"), "secret\n").unwrap();
        fs::set_permissions(place.path("password"), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn a_rollback_that_the_node_declines_is_told_in_the_nodes_words() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let (bundle, _) = place.bundle("20261123061500-04c3");
    let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![bundle], LIMIT).await.unwrap();
    dialogue.commit().await.unwrap();
    assert_eq!(dialogue.rollback().await.unwrap(), Err("changed since, or nothing was there before".to_owned()));

    let (next, text) = place.bundle("20261123061501-04c4");
    let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![next], LIMIT).await.unwrap();
    dialogue.commit().await.unwrap();
    // What was there before does not pass the test any more.
    place.script(
        "test",
        "case $(readlink \"${0%/*}/.certd/newapi.example.com/current\") in *501-*) ;; *) echo no; exit 1 ;; esac",
    );
    assert_eq!(dialogue.rollback().await.unwrap(), Err("no".to_owned()));
    assert_eq!(place.served(), text);
}

/// The error of an attempt that must fail, and that nothing was touched.
async fn fails(endpoint: Endpoint, place: &Place, limit: Duration) -> NodeError {
    let (bundle, _) = place.bundle("20261123061500-04c3");
    let error = Dialogue::open(endpoint, vec![bundle], limit).await.expect_err("it must fail");
    assert!(!place.path("chain.pem").exists(), "{error}");
    // A program that was still preparing hears of the end, and cleans up behind itself.
    let cleaned = async {
        while place.path(".certd").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, cleaned).await.unwrap_or_else(|_| panic!("something is left: {error}"));
    error
}

#[tokio::test]
async fn s03_a_host_key_that_is_not_the_pinned_one_ends_the_session_before_the_login() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let shown = fingerprint(&sshd.host_key("host"));
    // Of another kind, so that the node has no such key at all, and of the same kind.
    for other in ["other", "wrong"] {
        let endpoint = Endpoint { host_keys: vec![sshd.host_key(other)], ..sshd.endpoint() };
        let error = fails(endpoint, &place, LIMIT).await;
        let pinned = fingerprint(&sshd.host_key(other));
        assert_eq!(
            error.to_string(),
            format!("上海: {} shows the host key {shown}, and pinned is {pinned}", sshd.address)
        );
        assert_eq!(error.code().as_str(), "ssh-host-key-changed");
    }
    let endpoint = Endpoint { host_keys: vec![sshd.host_key("other"), sshd.host_key("host")], ..sshd.endpoint() };
    let (bundle, _) = place.bundle("20261123061500-04c3");
    assert!(Dialogue::open(endpoint, vec![bundle], LIMIT).await.is_ok(), "one of two pinned keys is enough");
}

#[tokio::test]
async fn s04_an_unknown_host_is_refused_and_its_fingerprint_shown_as_ssh_keygen_shows_it() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let error = fails(Endpoint { host_keys: vec![], ..sshd.endpoint() }, &place, LIMIT).await;
    assert!(matches!(error, NodeError::Ssh(SshError::HostKeyUnknown { .. })), "{error}");
    assert_eq!(error.next(), "compare with the node's console and pin it: certd trust 上海");
    let keygen =
        std::process::Command::new("ssh-keygen").arg("-lf").arg(sshd.dir.path().join("host.pub")).output().unwrap();
    let keygen = String::from_utf8(keygen.stdout).unwrap();
    let hash = keygen.split(' ').nth(1).unwrap();
    assert!(error.to_string().contains(&format!("ED25519 {hash}")), "{error} / {keygen}");
    let keys = host_keys(sshd.endpoint(), LIMIT).await.unwrap().keys;
    assert_eq!(keys, [sshd.host_key("host")]);
}

#[tokio::test]
async fn s05_a_login_that_is_refused_names_the_user_and_every_file_that_was_tried() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let at = sshd.dir.path().display().to_string();
    fs::write(sshd.dir.path().join("text"), "no key at all").unwrap();
    let identities = ["wrong", "text"].map(|name| identity(&sshd.dir.path().join(name))).to_vec();
    let error = fails(Endpoint { identities: identities.clone(), ..sshd.endpoint() }, &place, LIMIT).await;
    let text = error.to_string().replace(&at, "");
    assert!(text.starts_with("上海: no login as root: /wrong (refused by the node); /text ("), "{text}");
    let identities = [identities, vec![identity(&sshd.dir.path().join("login"))]].concat();
    let (bundle, _) = place.bundle("20261123061500-04c3");
    let opened = Dialogue::open(Endpoint { identities, ..sshd.endpoint() }, vec![bundle], LIMIT).await;
    assert!(opened.is_ok(), "the right one comes last: {:?}", opened.err().map(|error| error.to_string()));
}

#[tokio::test]
async fn s01_a_dead_port_refuses_the_connection() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let address = free_address();
    let error = fails(Endpoint { address, ..sshd.endpoint() }, &place, LIMIT).await;
    assert_eq!(error.to_string(), format!("上海: {address} refuses the connection"));
}

#[tokio::test]
async fn s08_a_peer_that_accepts_and_says_nothing_costs_the_deadline_and_no_more() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let listener = TcpListener::bind(free_address()).unwrap();
    let endpoint = Endpoint { address: listener.local_addr().unwrap(), ..sshd.endpoint() };
    // Twice the deadline is far too late: libssh2 left alone waits for ever.
    let limit = Duration::from_secs(1);
    let error = tokio::time::timeout(2 * limit, fails(endpoint, &place, limit)).await.expect("in time");
    assert_eq!(error.to_string(), "上海: not done after 1 s, while exchanging keys");
    // The thread has let go of its connection, too.
    let (mut socket, _) = listener.accept().unwrap();
    socket.set_read_timeout(Some(limit)).unwrap();
    let mut printed = Vec::new();
    socket.read_to_end(&mut printed).expect("the end, not a timeout");
}

#[tokio::test]
async fn s02_a_node_that_swallows_connections_costs_the_deadline_and_no_more() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    // A full backlog drops every SYN, as a firewall does.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(free_address()).unwrap();
    let address = socket.local_addr().unwrap();
    let _listener = socket.listen(1).unwrap();
    let crowd: Vec<_> = (0..4)
        .map(|_| tokio::spawn(tokio::time::timeout(Duration::from_secs(30), tokio::net::TcpStream::connect(address))))
        .collect();
    tokio::task::yield_now().await;
    let limit = Duration::from_secs(1);
    let error = tokio::time::timeout(3 * limit, fails(Endpoint { address, ..sshd.endpoint() }, &place, limit)).await;
    assert_eq!(error.expect("in time").to_string(), "上海: not done after 1 s, while connecting");
    crowd.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn s18_noise_of_a_login_shell_is_skipped_up_to_64_kb() {
    for (count, fits) in [(64 * 1024, true), (200 * 1024, false)] {
        let place = Place::new();
        let noise = place.path("noise");
        fs::write(&noise, "x".repeat(count - 1) + "\n").unwrap();
        let force = format!("cat {0}; cat {0} >&2; eval \"$SSH_ORIGINAL_COMMAND\"", noise.display());
        let sshd = Sshd::start(Some(&force));
        if fits {
            let (bundle, _) = place.bundle("20261123061500-04c3");
            let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![bundle], LIMIT).await.unwrap();
            assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
        } else {
            let error = fails(sshd.endpoint(), &place, LIMIT).await;
            assert_eq!(error.to_string(), "上海: no answer that makes sense: more than 64 kB came before the answer");
        }
    }
}

#[tokio::test]
async fn s06_a_login_without_a_shell_is_told_in_the_nodes_own_words() {
    let place = Place::new();
    let sshd = Sshd::start(Some("echo This account is not available. >&2; exit 1"));
    let error = fails(sshd.endpoint(), &place, LIMIT).await;
    let text = "上海: the program ended without an answer (exit status 1): This account is not available.";
    assert_eq!(error.to_string(), text);
}

/// Passes on so many bytes of what the client says, then cuts both ways.
fn cut_after(target: std::net::SocketAddr, bytes: usize) -> std::net::SocketAddr {
    let listener = TcpListener::bind(free_address()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(target).unwrap();
        let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut left = bytes;
        let mut buffer = [0; 512];
        while left > 0 {
            let Ok(count @ 1..) = client.read(&mut buffer) else { break };
            let count = count.min(left);
            left -= count;
            if server.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(std::net::Shutdown::Both);
        let _ = server.shutdown(std::net::Shutdown::Both);
    });
    address
}

#[tokio::test]
async fn s07_a_connection_that_drops_at_any_point_of_the_transfer_leaves_the_old_pair() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let (old, text) = place.bundle("20261101000000-01");
    let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![old], LIMIT).await.unwrap();
    dialogue.commit().await.unwrap();
    let held = || {
        format!(
            "{}{}",
            fs::read_to_string(place.path("chain.pem")).unwrap(),
            fs::read_to_string(place.path("key.pem")).unwrap()
        )
    };
    let (mut dropped, mut whole) = (0, 0);
    // A whole opening is about 30 kB in the client's direction.
    for tenth in 0..=10 {
        let (bundle, _) = place.bundle("20261123061500-04c3");
        let address = cut_after(sshd.address, 200 + tenth * 4_000);
        match Dialogue::open(Endpoint { address, ..sshd.endpoint() }, vec![bundle], LIMIT).await {
            Ok((dialogue, _)) => {
                whole += 1;
                dialogue.abort().await;
            }
            Err(error) => {
                dropped += 1;
                assert!(
                    matches!(error.code().as_str(), "ssh-closed" | "ssh-handshake" | "ssh-exec" | "ssh-ended"),
                    "{error}"
                );
            }
        }
        assert_eq!(held(), text);
    }
    assert!(dropped >= 5 && whole >= 1, "{dropped} dropped, {whole} whole");
}

#[tokio::test]
async fn no_key_is_in_the_arguments_of_any_process_while_a_dialogue_runs() {
    let (sshd, place) = (Sshd::start(None), Place::new());
    let (bundle, _) = place.bundle("20261123061500-04c3");
    let pem = bundle.pair.key().pem().to_owned();
    let secret = pem.lines().nth(1).unwrap();
    // The test command waits for us to look, with the program and sshd in the middle of their work.
    place.script(
        "test",
        &format!("cd {}; : >ready; while [ ! -e seen ]; do sleep 0.02; done", place.dir.path().display()),
    );
    let endpoint = sshd.endpoint();
    let opening = tokio::spawn(Dialogue::open(endpoint, vec![bundle], LIMIT));
    while !place.path("ready").exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut looked = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            let text = fs::read(process.path().join(file)).unwrap_or_default();
            looked += usize::from(!text.is_empty());
            assert!(!String::from_utf8_lossy(&text).contains(secret), "{}", process.path().display());
        }
    }
    assert!(looked > 4);
    fs::write(place.path("seen"), "").unwrap();
    opening.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_parked_session_answers_the_nodes_keep_alives_and_can_be_committed_later() {
    // This sshd gives a silent client up after three seconds; time is what is tested.
    let impatient = "ClientAliveInterval 1\nClientAliveCountMax 2\n";
    let (sshd, place) = (Sshd::with(free_address(), impatient), Place::new());
    let (bundle, text) = place.bundle("20261123061500-04c3");
    let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![bundle], LIMIT).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
    assert_eq!(place.served(), text);
}

#[tokio::test]
async fn s21_a_node_whose_clock_is_two_hours_ahead_tells_it_and_takes_its_certificate() {
    let place = Place::new();
    fs::write(
        place.path("skew.c"),
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <time.h>\n\
         int clock_gettime(clockid_t id, struct timespec *t) {\n\
         int (*next)(clockid_t, struct timespec *) = (__typeof__(next))dlsym(RTLD_NEXT, \"clock_gettime\");\n\
         int r = next(id, t);\n\
         if (id == CLOCK_REALTIME) t->tv_sec += 7200; return r; }\n",
    )
    .unwrap();
    let library = place.path("skew.so");
    let gcc = std::process::Command::new("gcc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(place.path("skew.c"))
        .status();
    assert!(gcc.unwrap().success());
    let sshd = Sshd::start(Some(&format!("LD_PRELOAD={} sh -c \"$SSH_ORIGINAL_COMMAND\"", library.display())));
    let (bundle, text) = place.bundle("20261123061500-04c3");
    let (mut dialogue, prepared) = Dialogue::open(sshd.endpoint(), vec![bundle], LIMIT).await.unwrap();
    let ahead = prepared.clock.expect("Debian has `date +%s`").duration_since(jiff::Timestamp::now());
    assert!((ahead - jiff::SignedDuration::from_hours(2)).abs() < jiff::SignedDuration::from_mins(1), "{ahead}");
    assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
    assert_eq!(place.served(), text);
}

#[tokio::test]
async fn a_dialogue_goes_on_after_a_tunnel_through_its_own_connection() {
    let place = Place::new();
    // As narrow as a careful administrator has it: one session a connection, and one port.
    let far = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = far.local_addr().unwrap().port();
    let sshd = Sshd::with(free_address(), &format!("MaxSessions 1\nPermitOpen 127.0.0.1:{port}\n"));
    let (bundle, text) = place.bundle("20261123061500-04c3");
    let (mut dialogue, _) = Dialogue::open(sshd.endpoint(), vec![bundle], LIMIT).await.unwrap();
    let error = dialogue.tunnel("127.0.0.1", free_address().port()).await.unwrap_err();
    assert!(matches!(error, SshError::Forwarding { .. }), "{error}");

    let mut tunnel = dialogue.tunnel("127.0.0.1", port).await.unwrap();
    let (mut socket, _) = far.accept().await.unwrap();
    socket.write_all(b"certd").await.unwrap();
    let mut heard = [0; 5];
    tunnel.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"certd");
    drop(tunnel);
    let rest = tokio::time::timeout(LIMIT, socket.read(&mut heard)).await.expect("the far side hears of the end");
    assert_eq!(rest.unwrap(), 0);

    assert_eq!(dialogue.commit().await.unwrap(), Committed::Committed);
    assert_eq!(place.served(), text);
}
