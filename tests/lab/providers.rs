//! The DNS providers `rfc2136` and `exec`: whole issuances against Pebble with BIND as the zones' primary, and what they
//! say when key, server or program is not as it should be.

mod addresses;
mod programs;

use crate::lab;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use certd::cert::Roots;
use certd::config;
use certd::context::Context;
use certd::context::progress::Progress;
use certd::context::secrets::Secrets;
use certd::dns::{Provider, Rfc2136, TxtRecord, Zone};
use certd::execute::issue::{Issued, clean_txt, issue};
use certd::model::{Advice, Finding};
use certd::plan::Issue;
use certd::store::{Store, TxtNote};
use jiff::Timestamp;
use zeroize::Zeroizing;

use lab::config::ConfigText;
use lab::dns::IDLE_KEY;
use lab::pebble::PebbleOptions;
use lab::{Lab, Options, SERVICE, Service};
use programs::script;

const CHALLENGE: &str = "_acme-challenge.newapi.example.test";

struct Bench {
    lab: Lab,
    context: Context,
    task: Issue,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    /// `dns`: the lines of `[dns]` that say which provider, once the lab is there.
    fn start(domains: &[&str], dns: impl FnOnce(&Lab) -> String) -> Self {
        let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
        let lab = Lab::start(Options { pebble, services: vec![Service::new(domains)], ..Options::nodes(1) });
        let path = lab.write_config_with(&ConfigText { dns: dns(&lab), ..ConfigText::default() });
        let text = fs::read_to_string(path).expect("the lab wrote it");
        let of_cloudflare = ["provider = \"cloudflare\"", "token_file = ", "api_base = "];
        let text: String = text
            .lines()
            .filter(|line| !of_cloudflare.iter().any(|key| line.starts_with(key)))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = config::parse(&text).expect("the configuration is right");
        let store = Store::open(&config.state_dir).expect("the lab's folder is ours");
        let read = |path: &Path| fs::read_to_string(path).expect("the lab wrote it");
        let roots = Roots::new(&[read(config.acme.issuer_root_file.as_deref().expect("the lab names one"))])
            .expect("it holds roots");
        let secrets = Secrets::read(&config).expect("they are there and nobody else's");
        let (_stop, stopped) = tokio::sync::watch::channel(false);
        let context = Context::new(config, store, roots, secrets, Progress::new(|_| {}), stopped);
        let task = lab::bench::task(&context.config);
        Self { lab, context, task, runtime: runtime() }
    }

    fn issue(&self) -> Result<Issued, Finding> {
        self.runtime.block_on(issue(&self.context, &self.task))
    }

    /// No order was made, and the failure is this one.
    fn assert_refused(&self, code: &str, advice: Advice, words: &str) {
        let failure = self.issue().expect_err("it cannot be issued");
        assert_eq!((failure.code.as_str(), failure.advice), (code, advice), "{failure:?}");
        assert!(failure.what.contains(words), "{failure:?}");
        assert_eq!(self.lab.proxy.script.count("new-order"), 0);
    }

    /// Nothing is left behind, and Cloudflare was never asked.
    fn assert_clean(&self, names: &[&str]) {
        for name in names {
            assert!(self.lab.dns.txt(name).is_empty(), "{name}");
        }
        let journal = self.context.store.txt_journal().expect("the journal can be read");
        assert!(journal.is_empty(), "{journal:?}");
        assert_eq!(self.lab.cloudflare.script.count("*"), 0);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

fn secret_file(path: PathBuf, text: &str) -> PathBuf {
    let file = fs::File::options().create_new(true).write(true).mode(0o600).open(&path);
    file.expect("the folder is ours").write_all(text.as_bytes()).expect("it can be written");
    path
}

/// The text of the key that the lab's server takes updates with.
fn lab_key(lab: &Lab) -> String {
    fs::read_to_string(lab.folder.join("dns/update.key")).expect("the lab wrote it")
}

fn rfc2136(lab: &Lab, key: &str, more: &str) -> String {
    let file = secret_file(lab.folder.join("tsig.key"), key);
    format!("provider = \"rfc2136\"\nserver = \"{}\"\nkey_file = {file:?}\n{more}", lab.dns.at)
}

fn with_lab_key(lab: &Lab) -> String {
    rfc2136(lab, &lab_key(lab), "")
}

#[test]
fn c10_rfc2136_proves_apex_wildcard_and_another_name_and_leaves_no_record() {
    let bench = Bench::start(&["deep.example.test", "*.deep.example.test", "www.example.test"], with_lab_key);
    assert_eq!(bench.issue().unwrap().leaf.names.len(), 3);
    bench.assert_clean(&["_acme-challenge.deep.example.test", "_acme-challenge.www.example.test"]);
}

#[test]
fn c09_rfc2136_leaves_the_records_of_others_at_the_name() {
    let bench = Bench::start(&[SERVICE], with_lab_key);
    bench.lab.dns.update(&format!("add {CHALLENGE}. 60 TXT \"somebody-elses\""));
    bench.lab.dns.update(&format!("add {CHALLENGE}. 60 TXT \"somebody\" \"elses\""));
    let before = bench.lab.dns.dig(&[CHALLENGE, "TXT", "+short"]);
    bench.issue().unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&bench.lab.dns.dig(&[CHALLENGE, "TXT", "+short"])), sorted(&before));
    assert_eq!(sorted(&before).len(), 2);
}

#[test]
fn d04_rfc2136_follows_a_cname_within_its_server() {
    let bench = Bench::start(&[SERVICE], with_lab_key);
    bench.lab.dns.update(&format!("add {CHALLENGE}. 1 CNAME newapi.proofs.example.test."));
    bench.issue().unwrap();
    bench.assert_clean(&["newapi.proofs.example.test"]);
}

#[test]
fn p01_rfc2136_removes_what_an_earlier_run_left_also_when_another_provider_named_the_zone() {
    let bench = Bench::start(&[SERVICE], with_lab_key);
    let zones = [Some("example.test".to_owned()), Some("0".repeat(32)), None];
    for (n, zone) in zones.into_iter().enumerate() {
        let (at, value) = ("2026-01-01T00:00:00Z".parse().unwrap(), format!("left-{n}"));
        let name = CHALLENGE.to_owned();
        bench.context.store.note_txt(&TxtNote { at, name, value: value.clone(), zone, record: None }).unwrap();
        bench.lab.dns.update(&format!("add {CHALLENGE}. 60 TXT \"{value}\""));
    }
    bench.lab.dns.update(&format!("add {CHALLENGE}. 60 TXT \"not-ours\""));
    bench.runtime.block_on(clean_txt(&bench.context)).unwrap();
    assert_eq!(bench.lab.dns.txt(CHALLENGE), ["not-ours"]);
    // What is gone already is no failure.
    let note = TxtNote {
        at: "2026-01-01T00:00:00Z".parse().unwrap(),
        name: CHALLENGE.to_owned(),
        value: "left-0".to_owned(),
        zone: Some("example.test".to_owned()),
        record: None,
    };
    bench.context.store.note_txt(&note).unwrap();
    bench.runtime.block_on(clean_txt(&bench.context)).unwrap();
    assert!(bench.context.store.txt_journal().unwrap().is_empty());
}

#[test]
fn c01_rfc2136_tells_a_wrong_name_algorithm_and_secret_of_the_key_before_any_order() {
    let named = |lab: &Lab| rfc2136(lab, &lab_key(lab).replace("\"lab\"", "\"lob\""), "");
    let bench = Bench::start(&[SERVICE], named);
    bench.assert_refused("dns-update-unknown-key", Advice::Person, "does not know a key named \"lob\"");
    let algorithm = |lab: &Lab| rfc2136(lab, &lab_key(lab).replace("sha256", "sha384"), "");
    let bench = Bench::start(&[SERVICE], algorithm);
    bench.assert_refused("dns-update-unknown-key", Advice::Person, "hmac-sha384");
    let secret = |lab: &Lab| rfc2136(lab, "c29tZXRoaW5nIGVsc2U=\n", "key_name = \"lab\"\n");
    let bench = Bench::start(&[SERVICE], secret);
    bench.assert_refused("dns-update-wrong-secret", Advice::Person, "another secret for the key \"lab\"");
}

#[test]
fn c01_rfc2136_tells_a_key_that_may_not_write_and_a_zone_that_is_none_before_any_order() {
    let bench = Bench::start(&[SERVICE], |lab| rfc2136(lab, IDLE_KEY, ""));
    bench.assert_refused("dns-update-refused", Advice::Person, "does not let this key change example.test");
    let bench = Bench::start(&[SERVICE], |lab| rfc2136(lab, &lab_key(lab), "zone = \"newapi.example.test\"\n"));
    bench.assert_refused("dns-update-not-primary", Advice::Person, "newapi.example.test");
    let bench = Bench::start(&[SERVICE], |lab| rfc2136(lab, &lab_key(lab), "zone = \"example.org\"\n"));
    bench.assert_refused("dns-update-out-of-zone", Advice::Person, "is not in the zone example.org");
}

/// The provider alone, at this server.
fn primary(server: SocketAddr, key: &str, clock: fn() -> Timestamp) -> Rfc2136 {
    let config = config::Rfc2136 {
        host: config::Host::Ip(server.ip()),
        port: server.port(),
        key_file: "/tsig.key".into(),
        key_name: None,
        algorithm: None,
        zone: None,
        ttl: 60,
    };
    Rfc2136::new(&config, &Zeroizing::new(key.to_owned()), clock).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn c11_rfc2136_asks_the_server_itself_for_the_zone_when_dns_shows_none() {
    let bench = Bench::start(&[SERVICE], with_lab_key);
    let provider = primary(bench.lab.dns.at, &lab_key(&bench.lab), certd::context::clock::now);
    let zone = |name: &str| bench.runtime.block_on(provider.zone(name, None));
    assert_eq!(zone("_acme-challenge.Deep.NEWAPI.example.test").unwrap().id, "example.test");
    assert_eq!(zone("_acme-challenge.example.org").unwrap_err().code().as_str(), "dns-update-no-zone");
    // A name that DNS cannot hold keeps no other from being made.
    let named = |name: &str| TxtRecord { name: name.to_owned(), value: "v".to_owned() };
    let names = [format!("{}.example.test", "a".repeat(64)), CHALLENGE.to_owned()].map(|name| named(&name));
    let made = bench.runtime.block_on(provider.publish(&self::zone(), &names));
    assert_eq!(made[0].as_ref().unwrap_err().code().as_str(), "dns-name");
    assert!(made[1].is_ok() && bench.lab.dns.txt(CHALLENGE) == ["v"], "{made:?}");
    // Twice is as good as once, both ways.
    bench.runtime.block_on(provider.publish(&self::zone(), &names[1..])).remove(0).unwrap();
    let handle = made[1].as_ref().unwrap().clone();
    for _ in 0..2 {
        bench.runtime.block_on(provider.remove(core::slice::from_ref(&handle))).remove(0).unwrap();
    }
    assert!(bench.lab.dns.txt(CHALLENGE).is_empty());
}

fn long_ago() -> Timestamp {
    Timestamp::constant(1_000_000_000, 0)
}

#[test]
fn k03_rfc2136_tells_how_far_the_clocks_are_apart() {
    let bench = Bench::start(&[SERVICE], with_lab_key);
    let provider = primary(bench.lab.dns.at, &lab_key(&bench.lab), long_ago);
    let refused = bench.runtime.block_on(provider.zone(CHALLENGE, None)).unwrap_err();
    assert_eq!((refused.code().as_str(), refused.advice()), ("dns-update-clock", Advice::Person), "{refused}");
    let text = refused.to_string();
    assert!(text.contains("differ by") && text.contains("the server's is ahead"), "{text}");
}

#[test]
fn c05_rfc2136_tells_a_server_that_is_not_there_and_one_that_never_answers() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let zone = |server| runtime().block_on(primary(server, IDLE_KEY, long_ago).zone(CHALLENGE, Some("example.test")));
    let refused = zone(nobody).unwrap_err();
    assert_eq!(refused.code().as_str(), "dns-update-unreachable");
    assert!(refused.to_string().contains(&nobody.to_string()), "{refused}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = zone(silent.local_addr().unwrap()).unwrap_err();
    assert_eq!(
        (refused.code().as_str(), refused.advice()),
        ("dns-update-silent", Advice::Retry { after_seconds: None })
    );
}

/// Answers one message with its own header, as a success, and `tail`.
fn impostor(answer: impl FnOnce(Vec<u8>) -> Vec<u8> + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("certd comes");
        let mut length = [0; 2];
        stream.read_exact(&mut length).expect("a length");
        let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut request).expect("a message");
        let answer = answer(request);
        let length = u16::try_from(answer.len()).expect("it is short").to_be_bytes();
        stream.write_all(&[&length[..], &answer].concat()).expect("certd listens");
    });
    at
}

#[test]
fn d15_rfc2136_takes_no_success_that_the_server_has_not_signed() {
    let bare = |request: Vec<u8>| [&request[..2], &[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    // The request, signature and all, sent back as an answer.
    let echo = |mut request: Vec<u8>| {
        request[2] |= 0x80;
        request
    };
    let other = |request: Vec<u8>| [&[!request[0], request[1]][..], &[0xa8, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let garbage = |_| b"\x1b[2J garbage that is no message".to_vec();
    let asked = |at| {
        let provider = primary(at, IDLE_KEY, long_ago);
        runtime().block_on(provider.zone(CHALLENGE, Some("example.test"))).unwrap_err().code().to_string()
    };
    assert_eq!(asked(impostor(bare)), "dns-update-unproven");
    assert_eq!(asked(impostor(echo)), "dns-update-unproven");
    assert_eq!(asked(impostor(other)), "dns-update-strange-answer");
    assert_eq!(asked(impostor(garbage)), "dns-update-strange-answer");
}

/// As an operator would write it.
const NSUPDATE: &str = r#"
set -eu
folder=$1 server=$2 port=$3 task=$4 name=$5 value=$6
echo "$task $name" >>"$folder/calls"
case $task in
present) line="update add $name 60 TXT \"$value\"" ;;
cleanup) line="update delete $name TXT \"$value\"" ;;
esac
printf 'server %s %s\n%s\nsend\n' "$server" "$port" "$line" | nsupdate -v -k "$folder/tsig.key"
"#;

#[test]
fn c10_exec_proves_apex_and_wildcard_with_a_script_and_leaves_no_record() {
    let bench = Bench::start(&["deep.example.test", "*.deep.example.test"], |lab| {
        secret_file(lab.folder.join("tsig.key"), &lab_key(lab));
        let mut command = script(&lab.folder, NSUPDATE);
        command.extend([lab.dns.at.ip().to_string(), lab.dns.at.port().to_string()]);
        format!("provider = \"exec\"\ncommand = {command:?}\n")
    });
    bench.lab.dns.update("add _acme-challenge.deep.example.test. 60 TXT \"not-ours\"");
    bench.issue().unwrap();
    assert_eq!(bench.lab.dns.txt("_acme-challenge.deep.example.test"), ["not-ours"]);
    bench.assert_clean(&[]);
    let mut calls: Vec<String> =
        fs::read_to_string(bench.lab.folder.join("calls")).unwrap().lines().map(str::to_owned).collect();
    calls.sort();
    let both = |task: &str| vec![format!("{task} _acme-challenge.deep.example.test."); 2];
    assert_eq!(calls, [both("cleanup"), both("present")].concat());
}

fn zone() -> Zone {
    Zone { id: "example.test".to_owned(), name: None }
}
