//! A CA of another make than the one of the other tests: what certd relies on is ACME, and not Pebble.

use crate::lab;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use lab::caddy::Caddy;
use lab::{Lab, Options, SERVICE};

/// The lab's configuration, with Caddy for a CA.
fn with_caddy(lab: &Lab, caddy: &Caddy) {
    let path = lab.write_config("");
    let text = fs::read_to_string(&path).unwrap().replace(&lab.proxy.directory(), caddy.directory());
    fs::write(&path, text).unwrap();
    fs::write(lab.folder.join("api-root.pem"), caddy.root_pem()).unwrap();
    fs::write(lab.folder.join("issuer-roots.pem"), caddy.root_pem() + &lab.old_authority.pem()).unwrap();
}

#[test]
fn a29_another_ca_without_renewal_information_and_profiles_issues_and_renews() {
    let lab = Lab::start(Options::nodes(1));
    let IpAddr::V4(at) = lab.dns.at.ip() else { panic!("the lab is in 127.0.0.0/8") };
    let [_, a, b, _] = at.octets();
    let Some(caddy) = Caddy::start(&lab, Ipv4Addr::new(127, a, b, 5).into()) else {
        println!("not run: port 53 and a mount namespace are not to be had");
        return;
    };
    with_caddy(&lab, &caddy);
    for arguments in [&["renew"][..], &["renew", "--force"]] {
        let before = lab.nodes[0].pair(SERVICE).unwrap();
        let output = lab.certd(arguments);
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{text}\n{}", caddy.log());
        assert!(text.contains("Caddy Local Authority"), "{text}");
        assert_ne!(lab.nodes[0].pair(SERVICE).unwrap(), before);
    }
    assert!(lab.cloudflare.records().iter().all(|record| record.kind != "TXT"));
}
