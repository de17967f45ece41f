//! Address records by RFC 2136 at a real BIND, and by a program: read, withdrawn and restored by compare and swap.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use certd::config;
use certd::context::clock;
use certd::dns::{DnsError, Exec, Provider, Rfc2136, Zone};
use certd::model::{AddressRecord, Swap};
use zeroize::Zeroizing;

use super::lab::dns::IDLE_KEY;
use super::lab::{Lab, Options};
use super::programs::script;
use super::{lab_key, runtime};

const NAME: &str = "www.example.test";

/// What befalls the next UPDATE.
enum Fault {
    /// Another's change, just before it.
    After(String),
    /// The server never gets it.
    Lost,
    /// The server carries it out, and its answer does not come.
    Unanswered,
}

/// Passes messages to BIND.
fn relay(lab: &Arc<Lab>) -> (SocketAddr, Arc<Mutex<Option<Fault>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let fault = Arc::new(Mutex::new(None));
    let (lab, faults) = (Arc::downgrade(lab), Arc::clone(&fault));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), Some(lab)) = (stream, lab.upgrade()) else { return };
            let Some(request) = message(&mut stream) else { continue };
            // The operation code: 5 is UPDATE (RFC 2136 section 1.3).
            let update = request[4] >> 3 & 0xf == 5;
            let fault = if update { faults.lock().unwrap().take() } else { None };
            match &fault {
                Some(Fault::Lost) => continue,
                Some(Fault::After(change)) => lab.dns.update(change),
                _ => {}
            }
            let mut server = TcpStream::connect(lab.dns.at).unwrap();
            server.write_all(&request).unwrap();
            let answer = message(&mut server).unwrap();
            if !matches!(fault, Some(Fault::Unanswered)) {
                stream.write_all(&answer).unwrap();
            }
        }
    });
    (at, fault)
}

/// With its length.
fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).ok()?;
    Some([&length[..], &bytes].concat())
}

struct Scene {
    lab: Arc<Lab>,
    client: Rfc2136,
    fault: Arc<Mutex<Option<Fault>>>,
    runtime: tokio::runtime::Runtime,
}

impl Scene {
    fn start() -> Self {
        let lab = Arc::new(Lab::start(Options::nodes(0)));
        for record in ["300 A 192.0.2.1", "300 A 192.0.2.2", "120 AAAA 2001:db8::1"] {
            lab.dns.update(&format!("add {NAME}. {record}"));
        }
        let (at, fault) = relay(&lab);
        Self { client: client(at, &lab_key(&lab)), lab, fault, runtime: runtime() }
    }

    fn read(&self) -> Vec<AddressRecord> {
        let mut all = self.runtime.block_on(self.client.address_records(&zone(), NAME)).unwrap();
        all.sort();
        all.sort_by_key(|record| record.address);
        all
    }

    fn shown(&self) -> Vec<String> {
        self.read().iter().map(|it| format!("{} {}", it.address, it.ttl)).collect()
    }

    fn withdraw(&self, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.runtime.block_on(self.client.withdraw(&zone(), record, all))
    }

    fn restore(&self, record: &AddressRecord, all: &[AddressRecord]) -> Result<Swap, DnsError> {
        self.runtime.block_on(self.client.restore(&zone(), record, all))
    }

    fn next_update(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }
}

fn zone() -> Zone {
    Zone { id: "example.test".to_owned(), name: Some("example.test".to_owned()) }
}

fn client(at: SocketAddr, key: &str) -> Rfc2136 {
    let config = config::Rfc2136 {
        host: config::Host::Ip(at.ip()),
        port: at.port(),
        key_file: "/tsig.key".into(),
        key_name: None,
        algorithm: None,
        zone: None,
        ttl: 60,
    };
    Rfc2136::new(&config, &Zeroizing::new(key.to_owned()), clock::now).unwrap()
}

#[test]
fn rfc2136_withdraws_and_restores_addresses_with_the_ttl_of_their_rrset() {
    let scene = Scene::start();
    let all = scene.read();
    assert_eq!(scene.shown(), ["192.0.2.1 300", "192.0.2.2 300", "2001:db8::1 120"]);
    assert_eq!(scene.withdraw(&all[0], &all).unwrap(), Swap::Done);
    assert_eq!(scene.shown(), ["192.0.2.2 300", "2001:db8::1 120"]);
    // Another gives the rest a TTL: it is theirs to say.
    scene.lab.dns.update(&format!("add {NAME}. 60 A 192.0.2.2"));
    assert_eq!(scene.restore(&all[0], &scene.read()).unwrap(), Swap::Done);
    assert_eq!(scene.shown(), ["192.0.2.1 60", "192.0.2.2 60", "2001:db8::1 120"]);
    // The only one of its family comes back with its own.
    let all = scene.read();
    assert_eq!(scene.withdraw(&all[2], &all).unwrap(), Swap::Done);
    assert_eq!(scene.shown(), ["192.0.2.1 60", "192.0.2.2 60"]);
    assert_eq!(scene.restore(&all[2], &scene.read()).unwrap(), Swap::Done);
    assert_eq!(scene.shown()[2], "2001:db8::1 120");
    scene.lab.dns.add_txt("_certd.example.test", "withdrawn");
    let texts = scene.runtime.block_on(scene.client.texts(&zone(), "_certd.example.test")).unwrap();
    assert_eq!(texts, ["withdrawn"]);
}

#[test]
fn c21_rfc2136_changes_nothing_if_another_did_even_between_the_last_look_and_the_update() {
    let scene = Scene::start();
    let all = scene.read();
    let changed = |what: &str| Swap::Changed(what.to_owned());
    scene.next_update(Fault::After(format!("add {NAME}. 300 A 192.0.2.3")));
    assert_eq!(scene.withdraw(&all[0], &all).unwrap(), changed("192.0.2.3 is new"));
    assert_eq!(scene.withdraw(&all[0], &all).unwrap(), changed("192.0.2.3 is new"), "and before the last look");
    let all = scene.read();
    scene.next_update(Fault::After(format!("delete {NAME}. AAAA")));
    assert_eq!(scene.withdraw(&all[0], &all).unwrap(), changed("2001:db8::1 is gone"));
    let all = scene.read();
    assert_eq!(scene.withdraw(&all[0], &all).unwrap(), Swap::Done);
    let rest = scene.read();
    scene.next_update(Fault::After(format!("add {NAME}. 300 A 192.0.2.1")));
    assert_eq!(scene.restore(&all[0], &rest).unwrap(), changed("192.0.2.1 is new"));
    scene.lab.dns.update(&format!("add {NAME}. 30 A 192.0.2.1"));
    let [first, second, third] =
        all.iter().map(|it| format!("{} had TTL 300 and has 30", it.address)).collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(scene.withdraw(&all[0], &all).unwrap(), changed(&format!("{first}, {second}, {third}")));
    assert_eq!(scene.shown(), ["192.0.2.1 30", "192.0.2.2 30", "192.0.2.3 30"]);
}

#[test]
fn rfc2136_tells_the_names_own_records_from_those_of_a_wildcard() {
    let scene = Scene::start();
    let unchanged =
        |name: &str, all: &[AddressRecord]| scene.runtime.block_on(scene.client.unchanged(&zone(), name, all));
    let (all, serial) = (scene.read(), scene.lab.dns.dig(&["example.test", "SOA", "+short"]));
    assert_eq!(unchanged(NAME, &all).unwrap(), Swap::Done);
    assert_eq!(unchanged(NAME, &all[1..]).unwrap(), Swap::Changed("192.0.2.1 is new".to_owned()));
    assert_eq!(scene.lab.dns.dig(&["example.test", "SOA", "+short"]), serial, "nothing was changed");
    scene.lab.dns.update("add *.wild.example.test. 300 A 192.0.2.7");
    scene.lab.dns.update("add *.wild.example.test. 300 A 192.0.2.8");
    let name = "www.wild.example.test";
    let synthesized = scene.runtime.block_on(scene.client.address_records(&zone(), name)).unwrap();
    assert_eq!(synthesized.len(), 2);
    let error = unchanged(name, &synthesized).unwrap_err();
    assert!(error.next().contains("wildcard"), "{error}: {}", error.next());
    assert_eq!(scene.lab.dns.dig(&[name, "A", "+short"]).lines().count(), 2);
}

#[test]
fn c22_rfc2136_looks_for_an_update_that_was_not_answered() {
    let scene = Scene::start();
    let all = scene.read();
    scene.next_update(Fault::Lost);
    let error = scene.withdraw(&all[0], &all).unwrap_err();
    assert_eq!(error.code().as_str(), "dns-update-unreachable", "{error}");
    assert_eq!(scene.read(), all);
    scene.next_update(Fault::Unanswered);
    assert_eq!(scene.withdraw(&all[0], &all).unwrap(), Swap::Done);
    assert_eq!(scene.read(), all[1..]);
    scene.next_update(Fault::Unanswered);
    assert_eq!(scene.restore(&all[0], &scene.read()).unwrap(), Swap::Done);
    assert_eq!(scene.read(), all);
}

#[test]
fn rfc2136_names_the_permission_that_a_key_for_txt_alone_lacks() {
    let scene = Scene::start();
    let all = scene.read();
    let idle = client(scene.lab.dns.at, IDLE_KEY);
    let error = scene.runtime.block_on(idle.withdraw(&zone(), &all[0], &all)).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "does not let this key change the address records of www.example.test in example.test (REFUSED)"
        ),
        "{error}"
    );
    assert!(error.next().contains("grant KEY name NAME A AAAA"), "{}", error.next());
    assert_eq!(scene.read(), all);
}

/// `$1` is a folder with the records; every call but a look is noted there.
const PROGRAM: &str = r#"
cd "$1" && shift
echo "noise on the other stream" >&2
case $1 in addresses | texts) ;; *) echo "$*" >>calls ;; esac
case $1 in
addresses) cat records ;;
texts) cat texts ;;
withdraw) grep -v "^$3 " records >new; mv new records ;;
restore) echo "$3 $4${5:+ $5}" >>records ;;
esac
! [ -e fail ]
"#;

#[test]
fn exec_calls_a_program_for_addresses_if_it_is_said_to_have_the_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
    let lines = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap_or_default();
    write("records", "192.0.2.1 300 line=telecom id=7\n192.0.2.2 600\n");
    write("texts", "\"withdrawn\"\n");
    let command = script(folder.path(), PROGRAM);
    let (runtime, limit) = (runtime(), Duration::from_secs(30));
    let plain = Exec::new(&command, limit);
    assert!(matches!(runtime.block_on(plain.address_records(&zone(), NAME)), Err(DnsError::NoAddressRecords { .. })));
    let exec = Exec::new(&command, limit).with_addresses();
    let read = || runtime.block_on(exec.address_records(&zone(), NAME));
    let withdraw =
        |record: &AddressRecord, all: &[AddressRecord]| runtime.block_on(exec.withdraw(&zone(), record, all));
    let restore = |record: &AddressRecord, all: &[AddressRecord]| runtime.block_on(exec.restore(&zone(), record, all));
    let all = read().unwrap();
    assert_eq!(all.iter().map(|it| it.ttl).collect::<Vec<_>>(), [300, 600]);
    assert_eq!(withdraw(&all[0], &all).unwrap(), Swap::Done);
    assert_eq!(restore(&all[0], &all).unwrap(), Swap::Changed("192.0.2.1 is gone".to_owned()));
    assert_eq!(restore(&all[0], &read().unwrap()).unwrap(), Swap::Done);
    assert_eq!(lines("records"), "192.0.2.2 600\n192.0.2.1 300 line=telecom id=7\n");
    // It fails after it was done; and without.
    write("fail", "");
    assert!(read().is_err());
    let calls = "withdraw www.example.test. 192.0.2.1 300 line=telecom id=7\nrestore www.example.test. 192.0.2.1 300 line=telecom id=7\n";
    assert_eq!(lines("calls"), calls);
    fs::remove_file(folder.path().join("fail")).unwrap();
    assert_eq!(runtime.block_on(exec.texts(&zone(), "_certd.example.test")).unwrap(), ["withdrawn"]);
    // A line that cannot be read is no record that is gone.
    write("records", "192.0.2.2 600\n<html>502 Bad Gateway</html>\n");
    let error = withdraw(&all[1], &all).unwrap_err();
    assert!(
        error.to_string().ends_with(
            "addresses www.example.test.: it prints \"<html>502 Bad Gateway</html>\" is not ADDRESS TTL [NOTE]"
        ),
        "{error}"
    );
    write("records", &"192.0.2.2 600\n".repeat(30_000));
    assert!(read().unwrap_err().to_string().ends_with("it prints more than 262144 bytes"));
    assert_eq!(lines("calls"), calls);
}

#[test]
fn c22_exec_looks_for_a_change_whose_program_failed() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records");
    let text = r#"
cd "$1" && shift
case $1 in
addresses) cat records ;;
withdraw) [ -e idle ] && exit 0; [ -e broken ] || : >records; exit 3 ;;
esac
"#;
    let exec = Exec::new(&script(folder.path(), text), Duration::from_secs(30)).with_addresses();
    let runtime = runtime();
    fs::write(&records, "192.0.2.1 300\n").unwrap();
    fs::write(folder.path().join("broken"), "").unwrap();
    let all = runtime.block_on(exec.address_records(&zone(), NAME)).unwrap();
    let error = runtime.block_on(exec.withdraw(&zone(), &all[0], &all)).unwrap_err();
    assert_eq!(error.code().as_str(), "dns-program-failed", "{error}");
    fs::write(folder.path().join("idle"), "").unwrap();
    let error = runtime.block_on(exec.withdraw(&zone(), &all[0], &all)).unwrap_err();
    assert!(error.to_string().contains("shows what was there before"), "a success that changed nothing: {error}");
    fs::remove_file(folder.path().join("idle")).unwrap();
    fs::remove_file(folder.path().join("broken")).unwrap();
    assert_eq!(runtime.block_on(exec.withdraw(&zone(), &all[0], &all)).unwrap(), Swap::Done);
}
