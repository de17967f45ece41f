//! A server that reads one of two pairs: certd waits 15 s for the other.

use crate::lab;

use lab::config::ConfigText;
use lab::nginx::NginxCommand;
use lab::printed::{exits, stdout};
use lab::{Lab, Options, SERVICE};

const RSA: &str = "newapi.example.test-rsa2048";

#[test]
fn the_pair_that_a_server_does_not_read_yet_is_put_there_and_proven_when_it_does() {
    let mut lab = Lab::start(Options::nodes(1));
    let key_types = "key_type = [\"ecdsa-p256\", \"rsa2048\"]";
    let text = format!("[[certificate]]\ndomains = [{SERVICE:?}]\nnodes = [\"*\"]\n{key_types}\n\n");
    lab.write_config_with(&ConfigText { certificates: Some(text), ..ConfigText::default() });
    let checked = lab.certd(&["check"]);
    assert!(stdout(&checked).contains("absent"), "{}", stdout(&checked));
    let renewed = lab.certd(&["renew"]);
    exits(&renewed, 6);
    println!("{}", stdout(&renewed));
    assert!(stdout(&renewed).contains("the server has no RSA certificate for this name"), "{}", stdout(&renewed));
    assert_eq!(lab.nodes[0].settled(SERVICE).unwrap(), lab.nodes[0].pair(SERVICE).unwrap(), "ECDSA is served");
    lab.nodes[0].pair(RSA).unwrap();
    let reloads = lab.nodes[0].calls(NginxCommand::Reload);
    let again = lab.certd(&["renew"]);
    exits(&again, 6);
    println!("{}", stdout(&again));
    assert_eq!(lab.nodes[0].calls(NginxCommand::Reload), reloads, "and it is not reloaded in vain");
    lab.nodes[0].read_pair(SERVICE, RSA);
    let proven = lab.certd(&["renew"]);
    exits(&proven, 0);
    println!("{}", stdout(&proven));
    assert_eq!(lab.nodes[0].served_rsa(SERVICE).unwrap(), lab.nodes[0].pair(RSA).unwrap());
    assert_eq!(lab.pebble.issued(), 2);
}
