//! Address records at each server: read, withdrawn, restored, and left alone when another changed them in between. And what
//! each does with the TTL of a record that joins an RRset with another one.

use std::io::Write as _;
use std::process::{Command, Stdio};

use certd::context::clock;
use certd::dns::{Provider, Zone};
use certd::model::{AddressRecord, Swap};

use super::{GOOD, SUITES, Servers};

const NAME: &str = "www.example.test";

impl Servers {
    /// A change by another.
    fn nsupdate(&self, line: &str) {
        self.send(line).unwrap_or_else(|answer| panic!("{line}: {answer}"));
    }

    /// The error is the server's answer.
    fn send(&self, lines: &str) -> Result<(), String> {
        let mut nsupdate = Command::new("nsupdate");
        nsupdate.arg("-y").arg(format!("hmac-sha256:good:{GOOD}")).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = nsupdate.spawn().unwrap();
        let server = format!("server {} {}", self.primary.ip(), self.primary.port());
        let text = format!("{server}\nzone example.test\n{lines}\nsend\n");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    fn addresses(&self, software: &str) {
        let client = self.client(self.primary, "good", GOOD, "hmac-sha256", clock::now);
        let zone = Zone { id: "example.test".to_owned(), name: Some("example.test".to_owned()) };
        let read = || {
            let all = self.runtime.block_on(client.address_records(&zone, NAME));
            let mut all = all.unwrap_or_else(|error| panic!("{software}: {error}"));
            all.sort_by_key(|record| record.address);
            all
        };
        let shown = |all: &[AddressRecord]| {
            all.iter().map(|it| format!("{} {}", it.address, it.ttl)).collect::<Vec<_>>().join(", ")
        };
        let withdraw = |record: &AddressRecord, all: &[AddressRecord]| {
            self.runtime
                .block_on(client.withdraw(&zone, record, all))
                .unwrap_or_else(|error| panic!("{software}: {error}"))
        };
        let restore = |record: &AddressRecord, all: &[AddressRecord]| {
            self.runtime
                .block_on(client.restore(&zone, record, all))
                .unwrap_or_else(|error| panic!("{software}: {error}"))
        };
        assert_eq!(read(), []);
        for record in ["300 A 192.0.2.1", "300 A 192.0.2.2", "120 AAAA 2001:db8::1"] {
            self.nsupdate(&format!("update add {NAME} {record}"));
        }
        let all = read();
        assert_eq!(shown(&all), "192.0.2.1 300, 192.0.2.2 300, 2001:db8::1 120", "{software}");
        assert_eq!(withdraw(&all[0], &all), Swap::Done, "{software}");
        assert_eq!(read(), all[1..], "{software}");
        assert_eq!(restore(&all[0], &read()), Swap::Done, "{software}");
        assert_eq!(read(), all, "{software}");
        // Alone of its family, and then of the name.
        assert_eq!(withdraw(&all[2], &all), Swap::Done, "{software}");
        assert_eq!(restore(&all[2], &read()), Swap::Done, "{software}");
        assert_eq!(read(), all, "{software}");
        self.nsupdate(&format!("update add {NAME} 300 A 192.0.2.3"));
        assert_eq!(withdraw(&all[0], &all), Swap::Changed("192.0.2.3 is new".to_owned()), "{software}");
        self.nsupdate(&format!("update delete {NAME} A 192.0.2.3"));
        // The last TTL is that of the whole RRset: a record must not come back with one of its own.
        self.nsupdate(&format!("update add {NAME} 77 A 192.0.2.3"));
        let ttls = "192.0.2.1 77, 192.0.2.2 77, 192.0.2.3 77, 2001:db8::1 120";
        assert_eq!(shown(&read()), ttls, "{software}");
        self.nsupdate(&format!("update delete {NAME} A 192.0.2.3"));
        assert_eq!(withdraw(&read()[1], &read()), Swap::Done, "{software}");
        assert_eq!(restore(&all[1], &read()), Swap::Done, "{software}");
        assert_eq!(shown(&read()), "192.0.2.1 77, 192.0.2.2 77, 2001:db8::1 120", "{software}");
        // A wildcard that answers for a name is no record of it, and the look at that makes none.
        let unchanged = |name: &str, all: &[AddressRecord]| self.runtime.block_on(client.unchanged(&zone, name, all));
        assert_eq!(unchanged(NAME, &read()).unwrap(), Swap::Done, "{software}");
        self.nsupdate("update add *.wild.example.test 300 A 192.0.2.7");
        for _ in 0..2 {
            let name = "www.wild.example.test";
            let all = self.runtime.block_on(client.address_records(&zone, name)).unwrap();
            assert_eq!(all.len(), 1, "{software}");
            let error = unchanged(name, &all).unwrap_err();
            assert!(error.next().contains("wildcard"), "{software}: {error}");
        }
        // The prerequisites alone: what would be sent if the look just before had seen other records.
        for prerequisite in [format!("yxrrset {NAME} A 192.0.2.1"), format!("nxrrset {NAME} AAAA")] {
            let text = format!("prereq {prerequisite}\nupdate delete {NAME} A 192.0.2.1");
            let answer = self.send(&text).unwrap_err();
            assert!(answer.contains("XRRSET"), "{software}, {prerequisite}: {answer}");
            assert_eq!(read().len(), 3, "{software}");
        }
    }
}

#[test]
fn addresses_are_withdrawn_and_restored_at_each_bind() {
    for suite in SUITES {
        let mut servers = Servers::of(suite);
        servers.bind();
        servers.addresses(&format!("BIND of {suite}"));
    }
}

#[test]
fn addresses_are_withdrawn_and_restored_at_each_powerdns() {
    for suite in SUITES {
        let mut servers = Servers::of(suite);
        servers.powerdns();
        servers.addresses(&format!("PowerDNS of {suite}"));
    }
}

#[test]
fn addresses_are_withdrawn_and_restored_at_each_knot() {
    for suite in SUITES {
        let mut servers = Servers::of(suite);
        servers.knot();
        servers.addresses(&format!("Knot of {suite}"));
    }
}
