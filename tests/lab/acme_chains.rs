//! Which chain is kept when the CA offers several, against Pebble.

use crate::lab;

use lab::SERVICE;
use lab::bench::Bench;
use lab::config::ConfigText;
use lab::pebble::PebbleOptions;
use lab::process::output;
use lab::script::Answer;

/// Pebble with two more roots, and a configuration that prefers the one with this number.
fn bench(preferred: Option<u8>) -> Bench {
    let pebble = PebbleOptions { nonce_reject: 0, alternate_roots: 2, ..PebbleOptions::default() };
    let mut bench = Bench::with(pebble, &[SERVICE], &ConfigText::default());
    let preferred = preferred.map(|number| common_name(&bench.lab.pebble.root(number)));
    bench.configure(|config| config.acme.preferred_chain = preferred);
    bench
}

fn common_name(pem: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    let shown = ["x509", "-noout", "-subject", "-nameopt", "multiline", "-in"];
    let text = output(std::process::Command::new("openssl").args(shown).arg(file.path()));
    text.lines().find_map(|line| line.trim().strip_prefix("commonName")).unwrap().trim_matches([' ', '=']).to_owned()
}

/// Common name of the issuer of the last certificate of what is kept.
fn root_of_kept(bench: &Bench) -> String {
    let kept = bench.context.store.stored(bench.name()).unwrap().current.unwrap();
    let folder = bench.lab.state_dir().join("certs").join(bench.name().as_str()).join(kept.generation.to_string());
    let shown = ["x509", "-noout", "-issuer", "-nameopt", "multiline", "-in"];
    let text = output(std::process::Command::new("openssl").args(shown).arg(folder.join("chain.pem")));
    text.lines().find_map(|line| line.trim().strip_prefix("commonName")).unwrap().trim_matches([' ', '=']).to_owned()
}

#[test]
fn a21_the_preferred_chain_is_kept_and_a_good_first_one_costs_no_request_more() {
    let bench = bench(Some(2));
    bench.issue().unwrap();
    assert_eq!(root_of_kept(&bench), common_name(&bench.lab.pebble.root(2)));
    assert_eq!(bench.count("certificate"), 3, "the CA's own and two others");

    let bench = self::bench(None);
    bench.issue().unwrap();
    assert_eq!(root_of_kept(&bench), common_name(&bench.lab.pebble.root(0)));
    assert_eq!(bench.count("certificate"), 1);
    let bench = self::bench(Some(0));
    bench.issue().unwrap();
    assert_eq!(bench.count("certificate"), 1);
}

#[test]
fn a21_a_preferred_chain_that_is_not_on_offer_is_told_and_fails_nothing() {
    let mut bench = bench(None);
    bench.configure(|config| config.acme.preferred_chain = Some("Root X9".to_owned()));
    bench.issue().unwrap();
    assert_eq!(root_of_kept(&bench), common_name(&bench.lab.pebble.root(0)));
    assert!(bench.steps().contains("no sound one leads to Root X9; on offer: Pebble Root CA"), "{}", bench.steps());
}

#[test]
fn a21_a_first_chain_with_a_flaw_is_replaced_by_another_of_the_cas() {
    let bench = bench(None);
    let leaf_alone = |pem: String| pem.split_inclusive("-----END CERTIFICATE-----\n").next().unwrap().to_owned();
    bench.lab.proxy.script.rewrite("certificate", 1, leaf_alone);
    bench.issue().unwrap();
    assert_eq!(root_of_kept(&bench), common_name(&bench.lab.pebble.root(1)));
}

#[test]
fn a21_another_chain_that_cannot_be_had_is_left_out() {
    let bench = bench(Some(2));
    bench.lab.proxy.script.answer("certificate", 2, lab::script::Point::Before, Answer::new(500, "<html>"));
    bench.issue().unwrap();
    assert_eq!(root_of_kept(&bench), common_name(&bench.lab.pebble.root(2)));
    assert!(bench.steps().contains("another chain of the CA's is left out"), "{}", bench.steps());
}
