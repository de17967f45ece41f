//! Two name servers of one zone, which do not agree.

use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use super::pebble::PebbleOptions;
use super::script::Point;
use super::second::NameServer;
use super::{Lab, Options};

pub(crate) const ZONE: &str = "example.test";
pub(crate) const CHALLENGE: &str = "_acme-challenge.newapi.example.test";

pub(crate) fn lab() -> Lab {
    with_zones(&[ZONE])
}

pub(crate) fn with_zones(zones: &[&str]) -> Lab {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    let zones = zones.iter().copied().map(String::from).collect();
    Lab::start(Options { pebble, zones, ..Options::nodes(1) })
}

/// Makes it a name server of the lab's zone beside the first: by NS where they have port 53, else by their addresses.
pub(crate) fn add_server(lab: &Lab, second: &NameServer, dns: &str) {
    let standard = lab.dns.is_standard_port() && second.at.port() == 53;
    if standard {
        for line in [format!("add ns2.{ZONE}. 1 A {}", second.at.ip()), format!("add {ZONE}. 1 NS ns2.{ZONE}.")] {
            lab.dns.update(&line);
        }
        lab.configure(dns, "");
    } else {
        lab.configure(dns, "");
        lab.replace_line("nameservers", "");
        lab.replace_line("resolvers", &format!("nameservers = [\"{}\", \"{}\"]", lab.dns.at, second.at));
    }
}

pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

pub(crate) fn assert_served(lab: &Lab, output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", printed(output));
    assert_eq!(lab.pebble.issued(), 1);
    assert!(lab.cloudflare.records().is_empty(), "{:?}", lab.cloudflare.records());
}

/// One of two servers lags: when the CA is asked for its validation, which happens once, both show the value.
pub(crate) fn a_lag_burns_no_validation(lag: Duration) {
    let lab = lab();
    let second = lab.second_name_server(&[ZONE.to_owned()], lag);
    add_server(&lab, &second, "");
    let held = lab.proxy.script.hold("challenge", 1, Point::Before);
    let at = (second.at.ip().to_string(), second.at.port().to_string());
    let asked = thread::spawn(move || {
        held.wait();
        let mut dig = Command::new("dig");
        dig.args(["+short", "-p", &at.1, &format!("@{}", at.0), CHALLENGE, "TXT"]);
        let shown = dig.output().expect("tests/setup.sh brings dig").stdout;
        held.release();
        String::from_utf8_lossy(&shown).into_owned()
    });
    let output = lab.certd(&["renew"]);
    assert_served(&lab, &output);
    let shown = asked.join().expect("the challenge is asked for");
    assert_eq!(shown.trim().len(), 45, "a value in its quotes: {shown:?}");
    assert_eq!(lab.proxy.script.count("challenge"), 1);
    let lagging = format!("({}) to show {CHALLENGE}", second.at);
    assert!(
        printed(&output).contains(&lagging) || printed(&output).contains(&format!("{} to show", second.at)),
        "{}",
        printed(&output)
    );
    if lag > Duration::from_secs(20) {
        assert!(printed(&output).contains(", for 15 s so far"), "{}", printed(&output));
    }
}
