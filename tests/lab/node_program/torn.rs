//! Chains with the key of another: never switched to, and never gone back to, whatever the server's test says of them. The
//! pairs are real ones, and the test is one that says yes to everything, as `apachectl configtest` does.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::bench::{NAME, Place, Program, SHELLS, hex};

pub(super) struct Real {
    pub(super) chain: String,
    pub(super) key: String,
}

pub(super) fn real(kind: &'static rcgen::SignatureAlgorithm) -> Real {
    let key = rcgen::KeyPair::generate_for(kind).unwrap();
    let leaf = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    Real { chain: leaf.pem(), key: key.serialize_pem() }
}

/// A place whose reload notes whether it sees a pair, and fails with the chain that `refused` holds.
fn place(found: Option<(&Real, &Real)>) -> Place {
    let place = Place::new();
    place.script("test", "exit 0");
    let (at, chain, key) = (place.dir.path().display(), place.chain.display(), place.key.display());
    place.script(
        "reload",
        &format!(
            "if [ \"$(openssl x509 -noout -pubkey -in {chain})\" = \"$(openssl pkey -pubout -in {key})\" ]; then echo pair\n\
             else echo torn; fi >>{at}/log\n! cmp -s {chain} {at}/refused"
        ),
    );
    if let Some((chain, key)) = found {
        fs::write(&place.chain, &chain.chain).unwrap();
        fs::write(&place.key, &key.key).unwrap();
    }
    place
}

fn bundle(place: &Place, Real { chain, key }: &Real, generation: &str) -> String {
    let path = |path: &PathBuf| path.display().to_string();
    let (test, reload) = (path(&place.path("test")), path(&place.path("reload")));
    format!(
        "name {NAME}\ngeneration {generation}\nfullchain {}\nkey {}\ntest {test}\nreload {reload}\n\
         chain-pem {}\n{chain}.\nkey-pem {}\n{key}.\n",
        path(&place.chain),
        path(&place.key),
        hex(chain),
        hex(key)
    )
}

fn prepared(shell: &[&str], place: &Place, real: &Real, generation: &str) -> Program {
    let mut program = Program::start(shell, &[bundle(place, real, generation)]);
    program.prepared();
    program
}

fn holds(place: &Place, real: &Real) -> bool {
    let read = |path| fs::read_to_string(path).unwrap();
    (read(&place.chain), read(&place.key)) == (real.chain.clone(), real.key.clone())
}

pub(super) const KINDS: [&rcgen::SignatureAlgorithm; 3] =
    [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256];
const WORDS: &str = "n.example: what was there before is not put back: a certificate with the key of another";

#[test]
fn nobody_goes_back_to_a_chain_with_the_key_of_another() {
    for (shell, kind) in SHELLS.into_iter().zip(KINDS) {
        let (old, other, new) = (real(kind), real(kind), real(kind));
        for outcome in ["refused", "rollback"] {
            let place = place(Some((&old, &other)));
            if outcome == "refused" {
                fs::write(place.path("refused"), &new.chain).unwrap();
            }
            let mut program = prepared(shell, &place, &new, "20261123061500-0b");
            let (verb, body) = program.commit();
            if outcome == "refused" {
                assert_eq!(verb, "placed", "{shell:?}");
                assert!(body.ends_with(WORDS), "{body}");
            } else {
                assert_eq!((verb.as_str(), body.as_str()), ("committed", ""), "{shell:?}");
                program.say("rollback\n");
                assert_eq!(program.answer(), Some(("kept".to_owned(), WORDS.to_owned())), "{shell:?}");
            }
            program.end();
            assert!(holds(&place, &new), "{shell:?} {outcome}");
            assert_eq!(place.log(), "pair", "{shell:?} {outcome}");
        }
    }
}

#[test]
fn a_pair_is_gone_back_to_and_so_is_one_of_which_nothing_is_known() {
    for (shell, kind) in SHELLS.into_iter().zip(KINDS) {
        // The second is a key that does not hold its public half; the third has the line ends of another system.
        let mut foreign = real(&rcgen::PKCS_RSA_SHA256);
        foreign.key = foreign.key.replace('\n', "\r\n");
        for old in [real(kind), real(&rcgen::PKCS_ED25519), foreign] {
            let new = real(&rcgen::PKCS_ECDSA_P256_SHA256);
            let place = place(Some((&old, &old)));
            fs::write(place.path("refused"), &new.chain).unwrap();
            assert_eq!(prepared(shell, &place, &new, "20261123061500-0b").commit().0, "rolled-back", "{shell:?}");
            assert!(holds(&place, &old), "{shell:?}");
        }
    }
}

#[test]
fn a_key_that_another_client_wrote_through_our_link_is_no_way_back() {
    for (shell, kind) in SHELLS.into_iter().zip(KINDS) {
        let (first, other, new) = (real(kind), real(kind), real(kind));
        let place = place(None);
        assert_eq!(prepared(shell, &place, &first, "20261123061500-0b").commit().0, "committed");
        fs::write(&place.key, &other.key).unwrap();
        let mut program = prepared(shell, &place, &new, "20261123061501-0c");
        assert_eq!(program.commit().0, "committed");
        program.say("rollback\n");
        assert_eq!(program.answer(), Some(("kept".to_owned(), WORDS.to_owned())), "{shell:?}");
        assert!(holds(&place, &new), "{shell:?}");
        assert_eq!(place.log(), "pair, pair", "{shell:?}");
    }
}

/// Beside a place, another certificate of the same dialogue, over a chain with the key of another.
fn beside(place: &Place, (chain, key): (&Real, &Real)) -> (PathBuf, PathBuf) {
    let paths = (place.path("ssl/torn.pem"), place.path("ssl/torn.key"));
    fs::write(&paths.0, &chain.chain).unwrap();
    fs::write(&paths.1, &key.key).unwrap();
    paths
}

#[test]
fn one_torn_pair_keeps_no_other_certificate_of_its_dialogue_from_going_back() {
    const OTHER: &str = "torn.example: what was there before is not put back: a certificate with the key of another";
    for shell in SHELLS {
        let [old, other, new, later] = [0, 0, 0, 0].map(|_| real(KINDS[0]));
        // The reload refuses the chain of the one, or both; the test does; or the handshakes do.
        for (outcome, torn_first) in [
            ("reload", true),
            ("down", false),
            ("test", false),
            ("rollback", true),
            ("neither", false),
            ("neither", true),
        ] {
            let place = place(Some((&old, &old)));
            let (chain, key) = beside(&place, (&old, &other));
            let whole = bundle(&place, &new, "20261123061500-0b");
            let torn = whole
                .replace(&format!("name {NAME}"), "name torn.example")
                .replace(&place.chain.display().to_string(), &chain.display().to_string())
                .replace(&place.key.display().to_string(), &key.display().to_string());
            let bundles = if torn_first { [torn, whole] } else { [whole, torn] };
            let refuses = format!("! cmp -s {} {}", place.chain.display(), place.path("refused").display());
            let handshakes = ["rollback", "neither"].contains(&outcome);
            fs::write(place.path("refused"), if handshakes { "" } else { &new.chain }).unwrap();
            match outcome {
                "test" => place.script("test", &refuses),
                "down" => place.script("reload", "echo it does not run; exit 1"),
                _ => place.script("reload", &format!("echo reload >>{}/log; {refuses}", place.dir.path().display())),
            }
            let at = format!("{shell:?}, {outcome}, {torn_first}");
            let mut program = Program::start(shell, &bundles);
            program.prepared();
            let (verb, body) = program.commit();
            match outcome {
                "rollback" => {
                    assert_eq!((verb.as_str(), body.as_str()), ("committed", ""), "{at}");
                    program.say("rollback\n");
                    let answer = program.answer().unwrap();
                    assert_eq!(answer, ("kept".to_owned(), format!("{OTHER}; the rest went back")), "{at}");
                    assert_eq!(place.log(), "reload, reload", "{at}");
                }
                // The test fails with what was there before, too.
                "neither" => {
                    assert_eq!((verb.as_str(), body.as_str()), ("committed", ""), "{at}");
                    fs::write(place.path("refused"), &old.chain).unwrap();
                    place.script("test", &refuses);
                    program.say("rollback\n");
                    assert_eq!(program.answer(), Some(("kept".to_owned(), "exit status 1".to_owned())), "{at}");
                }
                // Where the server does not run at all, everything new stays for its next start.
                "down" => assert_eq!((verb.as_str(), body.as_str()), ("placed", "it does not run"), "{at}"),
                _ => {
                    assert_eq!(verb, "rolled-back", "{at}: {body}");
                    assert_eq!(body, format!("exit status 1\n{OTHER}"), "{at}");
                }
            }
            program.end();
            let stays = ["down", "neither"].contains(&outcome);
            assert!(holds(&place, if stays { &new } else { &old }), "{at}");
            let read = |path| fs::read_to_string(path).unwrap();
            assert_eq!((read(&chain), read(&key)), (new.chain.clone(), new.key.clone()), "{at}: a whole pair");
            assert!(!place.own().join("intent").exists(), "{at}");
            assert!(!place.path("ssl/.certd/torn.example/intent").exists(), "{at}");
            // Both are renewed.
            fs::write(place.path("refused"), "").unwrap();
            place.script("reload", "exit 0");
            place.script("test", "exit 0");
            for next in bundles {
                let next = next
                    .replace("061500-0b", "061501-0c")
                    .replace(&new.chain, &later.chain)
                    .replace(&new.key, &later.key);
                let next = next.replace(&hex(&new.chain), &hex(&later.chain)).replace(&hex(&new.key), &hex(&later.key));
                let mut program = Program::start(shell, &[next]);
                program.prepared();
                assert_eq!(program.commit().0, "committed", "{at}");
                program.end();
            }
            assert!(holds(&place, &later), "{at}");
            let left = place.all().lines().filter(|line| line.contains(".certd-found ")).count();
            assert_eq!(left, 0, "{at}: what was found is not needed any more");
        }
    }
}

#[test]
fn links_that_a_server_does_not_follow_are_taken_back_whatever_the_pair_was() {
    for shell in SHELLS {
        let [chain, other, new] = [0, 0, 0].map(|_| real(KINDS[0]));
        let place = place(Some((&chain, &other)));
        place.script("test", &format!("[ ! -L {} ] || {{ echo no such file; exit 1; }}", place.key.display()));
        let (verb, body) = prepared(shell, &place, &new, "20261123061500-0b").commit();
        assert_eq!(verb, "refused", "{shell:?}: {body}");
        assert!(body.starts_with("links ") && body.ends_with("no such file"), "{body}");
        assert!(!place.chain.is_symlink() && !place.key.is_symlink(), "{shell:?}");
        assert_eq!(fs::read_to_string(&place.key).unwrap(), other.key);
        assert!(!place.own().join("intent").exists() && place.log().is_empty(), "{shell:?}");
    }
}

#[test]
fn what_was_staged_and_is_another_by_the_commit_is_not_switched_to() {
    for shell in SHELLS {
        let (old, other, new) = (real(KINDS[0]), real(KINDS[0]), real(KINDS[0]));
        let place = place(Some((&old, &old)));
        let mut program = prepared(shell, &place, &new, "20261123061500-0b");
        let staged = format!("{}/.new-*/privkey.pem", place.own().display());
        let mut overwrite = Command::new("sh");
        overwrite.args(["-c", &format!("printf %s \"$0\" >\"$(echo {staged})\""), &other.key]);
        assert!(overwrite.status().unwrap().success());
        let (verb, body) = program.commit();
        assert_eq!(verb, "refused", "{shell:?}");
        assert_eq!(body, format!("unfit {NAME}: what was written differs from what was sent (digests)"));
        assert!(holds(&place, &old), "{shell:?}");
        assert_eq!(place.log(), "", "{shell:?}");
    }
}
