//! The way out: the CA, the API and DoH through a proxy, of the configuration or of the environment; nodes never.

use crate::lab;

use std::net::{SocketAddr, TcpListener};
use std::process::Output;

use lab::gateway::Kind;
use lab::pebble::PebbleOptions;
use lab::{Lab, Options, SERVICE};

fn lab() -> Lab {
    let pebble = PebbleOptions { nonce_reject: 0, ..PebbleOptions::default() };
    Lab::start(Options { pebble, ..Options::nodes(1) })
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn assert_served(lab: &Lab, output: &Output) {
    assert_eq!(output.status.code(), Some(0), "{}", printed(output));
    assert_eq!(lab.pebble.issued(), 1);
    assert!(lab.nodes[0].pair(SERVICE).is_ok());
}

/// What a proxy must have been asked for: the CA, the API and DoH; and nothing else.
fn assert_all_through(lab: &Lab, asked: &[String], doh: &str) {
    let port = |at: SocketAddr| format!(":{}", at.port());
    let ca = format!("ca.invalid{}", port(lab.proxy.at));
    assert!(asked.contains(&ca), "{asked:?}");
    assert!(asked.contains(&lab.cloudflare.at.to_string()), "{asked:?}");
    assert!(asked.iter().any(|target| doh.contains(target.as_str())), "{asked:?}");
    let others =
        asked.iter().filter(|it| **it != ca && !doh.contains(it.as_str()) && **it != lab.cloudflare.at.to_string());
    assert_eq!(others.count(), 0, "{asked:?}");
}

#[test]
fn the_ca_the_api_and_doh_go_through_the_proxy_which_resolves_their_names_and_probes_and_ssh_do_not() {
    for kind in [Kind::Http, Kind::Socks] {
        let lab = lab();
        let (gateway, doh) = (lab.gateway(kind), lab.doh_server());
        let doh = doh.url("doh.invalid");
        let scheme = if kind == Kind::Http { "http" } else { "socks5h" };
        let ca_file = lab.authority_file().display().to_string();
        let network = format!("proxy = \"{scheme}://{}\"\n  ca_file = {ca_file:?}", gateway.at);
        lab.configure(&format!("doh = [{doh:?}]"), &network);
        // The resolver is dead, the name servers are not: DoH is asked for the zone alone.
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        if !lab.dns.is_standard_port() {
            return;
        }
        lab.replace_line("resolvers", &format!("resolvers = [\"{dead}\"]"));
        lab.replace_line("directory", &format!("directory = \"https://ca.invalid:{}/dir\"", lab.proxy.at.port()));
        // The CA is believed by the root of the network alone.
        lab.replace_line("ca_file", "");
        let output = lab.certd(&["renew"]);
        assert_served(&lab, &output);
        assert_all_through(&lab, &gateway.asked(), &doh);
    }
}

#[test]
fn a_proxy_of_the_environment_is_used_but_for_this_machine_and_its_password_is_shown_nowhere() {
    let lab = lab();
    lab.configure("", "");
    // What DNS says of the names above the zone would be asked over HTTPS too.
    lab.replace_line("nodes = [", "nodes = [\"*\"]\ninventory = false");
    let gateway = lab.gateway(Kind::Http);
    let address = format!("http://me:very-secret@{}", gateway.at);
    let renew = |url: &str| {
        lab.replace_line("directory", &format!("directory = \"{url}\""));
        lab.command(&["renew", "-v"]).env("HTTPS_PROXY", &address).output().unwrap()
    };
    let output = renew(&format!("https://ca.invalid:{}/dir", lab.proxy.at.port()));
    assert_served(&lab, &output);
    let asked = gateway.asked();
    assert!(!asked.is_empty() && asked.iter().all(|target| target.starts_with("ca.invalid:")), "{asked:?}");
    assert!(!printed(&output).contains("very-secret"), "{}", printed(&output));

    // A proxy that is not there, and a variable that is none.
    let gone = format!("http://me:very-secret@{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let mut command = lab.command(&["renew", "--force", "-v"]);
    let output = command.env("HTTPS_PROXY", gone).output().unwrap();
    assert!(printed(&output).contains("Connection refused"), "{}", printed(&output));
    assert!(!printed(&output).contains("very-secret"), "{}", printed(&output));
    let output = lab.command(&["renew"]).env("ALL_PROXY", "ftp://me:very-secret@proxy").output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", printed(&output));
    assert!(printed(&output).contains("ALL_PROXY in the environment"), "{}", printed(&output));
    assert!(!printed(&output).contains("very-secret"), "{}", printed(&output));
}
