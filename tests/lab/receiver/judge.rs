//! What a node judges by itself, for every client with the key: a pair that does not hold is taken from nobody.

use std::fs;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::attack::{NONCE, Opening};
use super::bench::{
    Account, Talk, is_root, is_set_up, lab as start, printed, set_up, ssh, tree, unchanged, use_account,
};
use super::lab::pki::Authority;
use super::lab::printed::exits;
use super::lab::process::wait_until;
use super::lab::{Lab, SERVICE};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A number, `days` from now.
fn generation(days: i64) -> String {
    let at = certd::context::clock::now() + jiff::SignedDuration::from_hours(24 * days);
    at.strftime("%Y%m%d%H%M%S-0a").to_string()
}

/// Set up where the configuration trusts an authority of ours, too.
fn trusting(account: &Account, more: &[&str]) -> (Lab, Authority) {
    let lab = start(account, "");
    let authority = Authority::new("certd lab, trusted");
    let roots = lab.folder.join("issuer-roots.pem");
    fs::write(&roots, fs::read_to_string(&roots).unwrap() + "\n" + &authority.pem()).unwrap();
    is_set_up(&set_up(&lab, account, more));
    use_account(&lab, account);
    (lab, authority)
}

fn der(key: &str) -> Vec<u8> {
    let text: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(text).unwrap()
}

fn pem(key: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key))
}

#[test]
fn a_thief_of_the_key_delivers_no_pair_that_the_node_itself_would_not_believe() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let (lab, authority) = trusting(&account, &[]);
    exits(&lab.certd(&["renew"]), 0);
    let ssl = lab.nodes[0].folder.join("conf/ssl");
    // The program outlives the word that it has done well by as long as it takes to clean up.
    assert!(wait_until(|| !tree(&ssl).iter().any(|line| line.contains("/.new-"))));
    let before = tree(&ssl);
    let stranger = Authority::new("stdin: OK");
    let (chain, key) = authority.issue(&names(&[SERVICE]), 30);
    let (_, another) = authority.issue(&names(&[SERVICE]), 30);
    let (of_stranger, strangers) = stranger.issue(&names(&[SERVICE]), 30);
    // The public half at the end of a key of P-256 (SEC 1): everybody has it from the certificate.
    let (private, public) = (der(&another), der(&key));
    let forged = pem(&[private.split_at(private.len() - 65).0, public.split_at(public.len() - 65).1].concat());
    let now = generation(0);
    let issued = |of: &[&str], days| authority.issue(&names(of), days);
    let (other, wider, wild, old) = (
        issued(&["evil.example"], 30),
        issued(&[SERVICE, "evil.example"], 30),
        issued(&["*.example.test"], 30),
        issued(&[SERVICE], -1),
    );
    let early = authority.issue_ahead(&names(&[SERVICE]), 2);
    let address = issued(&[SERVICE, "192.0.2.1"], 30);
    for (what, generation, chain, key, words) in [
        ("a chain of his own", &now, &of_stranger, &strangers, "the chain leads to no root that this node trusts"),
        ("his own with its root", &now, &(of_stranger.clone() + &stranger.pem()), &strangers, "leads to no root"),
        ("his own before a good one", &now, &(of_stranger.clone() + &chain), &strangers, "leads to no root"),
        ("another's names", &now, &other.0, &other.1, "the certificate is for evil.example"),
        ("one name more", &now, &wider.0, &wider.1, "the certificate is for evil.example"),
        ("a wildcard instead", &now, &wild.0, &wild.1, "the certificate is for *.example.test"),
        ("an address as well", &now, &address.0, &address.1, "something else than DNS names"),
        ("an expired one", &now, &old.0, &old.1, "has expired by this node's clock"),
        ("one of the day after tomorrow", &now, &early.0, &early.1, "is not valid yet by this node's clock"),
        ("another key", &now, &chain, &another, "the key is not that of the certificate"),
        ("no key", &now, &chain, &"nothing\n".to_owned(), "the key is not that of the certificate"),
        ("a key that only says whose it is", &now, &chain, &forged, "the key is not that of the certificate"),
        ("a certificate with the key", &now, &chain, &(of_stranger.clone() + &key), "more than a key came as the key"),
        ("text before it", &now, &format!("{SERVICE}\n{chain}"), &key, "not made of certificates alone"),
        (
            "one that servers read and openssl does not",
            &now,
            &chain.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            &key,
            "not made of certificates alone",
        ),
        ("a number of the day after tomorrow", &generation(2), &chain, &key, "lies more than a day ahead of this node"),
        ("the last number of all", &"99991231235959-0a".to_owned(), &chain, &key, "lies more than a day ahead"),
        ("a month before the first", &"20260010000000-0a".to_owned(), &chain, &key, "is no day of the calendar"),
        ("a day before the first", &"20260900000000-0a".to_owned(), &chain, &key, "is no day of the calendar"),
        ("no number of a day", &"20269999999999-0a".to_owned(), &chain, &key, "lies more than a day ahead"),
    ] {
        let opening = Opening::with_pair(&account, generation, chain, key);
        let text = printed(ssh(&lab, &account, &["-T"], &["certd"]), (opening.text() + "commit\n").as_bytes());
        assert!(text.contains(&format!("certd-node {NONCE} refused ")) && text.contains(words), "{what}: {text}");
        unchanged(&before, &ssl, what);
    }
    // What is rehearsed need not be signed, and is never committed.
    let opening = Opening::with_pair(&account, &now, &of_stranger, &strangers);
    let text = opening.with("certd ", "certd 3\nrehearsal yes") + "commit\n";
    let text = printed(ssh(&lab, &account, &["-T"], &["certd"]), text.as_bytes());
    assert!(text.contains(" prepared ") && !text.contains(" committed "), "{text}");
    unchanged(&before, &ssl, "a rehearsal with a commit");
    let opening = Opening::with_pair(&account, &now, &other.0, &other.1);
    let text =
        printed(ssh(&lab, &account, &["-T"], &["certd"]), opening.with("certd ", "certd 3\nrehearsal yes").as_bytes());
    assert!(text.contains("the certificate is for evil.example"), "{text}");
    // None of this is refused for what it has in common with a good one.
    let mut talk = Talk::start(
        ssh(&lab, &account, &["-T"], &["certd"]),
        &Opening::with_pair(&account, &generation(0), &chain, &key).text(),
    );
    let answer = talk.answer();
    assert!(answer.starts_with(&format!("certd-node {NONCE} prepared ")), "{answer}");
    drop(talk);
    unchanged(&before, &ssl, "a session that ends");
}

#[test]
fn a_node_that_does_not_judge_says_so_at_setup_and_in_the_doctor() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let lab = start(&account, "");
    let text = is_set_up(&set_up(&lab, &account, &["--no-openssl"]));
    assert!(text.contains("certificates are not judged here (--no-openssl was given)"), "{text}");
    assert!(!text.contains("a certificate that no CA has signed is refused"), "it is not tried: {text}");
    use_account(&lab, &account);
    exits(&lab.certd(&["renew"]), 0);
    let text = exits(&lab.certd(&["doctor"]), 3);
    assert!(text.contains("does not verify certificates"), "{text}");
    let stranger = Authority::new("a thief").issue(&names(&[SERVICE]), 30);
    let opening = Opening::with_pair(&account, &generation(0), &stranger.0, &stranger.1);
    let mut talk = Talk::start(ssh(&lab, &account, &["-T"], &["certd"]), &opening.text());
    assert!(talk.answer().contains(" prepared "), "nobody else would refuse it");
    drop(talk);
    // A number of next month is refused by any receiver.
    let opening = Opening::with_pair(&account, &generation(31), &stranger.0, &stranger.1);
    let text = printed(ssh(&lab, &account, &["-T"], &["certd"]), opening.text().as_bytes());
    assert!(text.contains("lies more than a day ahead"), "{text}");
    // Judged again, by word.
    let text = is_set_up(&set_up(&lab, &account, &["--login", "root", "--openssl"]));
    assert!(text.contains("changed: certificates are judged: yes; it was: no"), "{text}");
    assert!(text.contains("  ok      a certificate that no CA has signed is refused"), "{text}");
    let text = exits(&lab.certd(&["doctor"]), 3);
    assert!(text.contains("verifies certificates") && !text.contains("does not verify"), "{text}");
}

/// In a mount namespace of its own, where `path` is what `mount` makes of it.
fn elsewhere(mounts: &str, words: &[&str], stdin: &str) -> String {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &format!("{mounts} && exec \"$@\""), "sh"]).args(words);
    printed(command, stdin.as_bytes())
}

#[test]
fn a_node_without_openssl_is_set_up_all_the_same_and_one_that_lost_it_or_its_time_refuses_in_words() {
    if !is_root() {
        return;
    }
    let account = Account::new();
    let (lab, authority) = trusting(&account, &[]);
    let gone = "mount --bind /dev/null /usr/bin/openssl";
    if elsewhere(gone, &["sh", "-c", "command -v openssl || echo gone"], "") != "gone\n" {
        return;
    }
    let (chain, key) = authority.issue(&names(&[SERVICE]), 30);
    let opening = Opening::with_pair(&account, &generation(0), &chain, &key).text();
    let program = account.program().display().to_string();
    let text = elsewhere(gone, &[&program], &opening);
    assert!(text.contains("openssl is gone from this node"), "{text}");
    // A clock that starts with the epoch at every boot.
    let date = lab.folder.join("date");
    fs::write(&date, "#!/bin/sh\nexec /usr/bin/env TZ=UTC0 busybox date -u -d @0 \"${2-+%s}\"\n").unwrap();
    output_of(Command::new("chmod").arg("755").arg(&date));
    let text = elsewhere(&format!("mount --bind {} /usr/bin/date", date.display()), &[&program], &opening);
    assert!(text.contains("this node's clock says 19700101000000 (UTC), which cannot be"), "{text}");

    let script = lab.folder.join("setup");
    fs::write(&script, exits(&set_up(&lab, &account, &["--login", "root", "--print"]), 0)).unwrap();
    let text = elsewhere(gone, &["sh", &script.display().to_string()], "");
    assert!(text.contains("there is no openssl here: install it") && text.ends_with("certd-setup: done\n"), "{text}");
    assert!(text.contains("changed: certificates are judged: no; it was: yes"), "{text}");
    let text = elsewhere(gone, &[&program], &opening);
    assert!(text.contains(" prepared "), "{text}");
}

fn output_of(command: &mut Command) -> String {
    super::lab::process::output(command)
}
