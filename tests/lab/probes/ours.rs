//! What is this machine's, or the command's, is said of no server.

use super::{lab, served};
use crate::lab::SERVICE;
use crate::lab::printed::exits;

#[test]
fn a_node_with_an_address_to_which_this_machine_has_no_route_is_proven_and_judged_by_the_others() {
    let lab = lab("", "");
    lab.write_config("");
    // A link-local address without an interface leads nowhere, on every machine.
    lab.replace_line("address = ", &format!("address = [\"{}\", \"fe80::1\"]", lab.nodes[0].tls.ip()));
    lab.replace_line("nodes = [", "nodes = [\"*\"]\ninventory = false");
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(text.contains("delivered, reloaded and proven by handshake"), "{text}");
    assert!(text.contains("no IPv6 route to fe80::1") && !text.contains("visitors are hurt"), "{text}");
    assert!(text.contains("1 of 1 serve the right certificate"), "{text}");
    let verdicts: Vec<String> = served(&lab).iter().map(|row| row["verdict"].as_str().unwrap().to_owned()).collect();
    assert!(verdicts.contains(&"ok".to_owned()) && verdicts.contains(&"unknown".to_owned()), "{verdicts:?}");
    let text = exits(&lab.certd(&["renew"]), 3);
    assert!(!text.contains("delivered"), "it is up to date: {text}");
}

#[test]
fn a_reload_command_that_fails_while_the_server_serves_is_named_and_not_the_server() {
    let lab = lab("", "");
    lab.write_config("");
    let before = lab.nodes[0].served(SERVICE);
    lab.replace_line("reload = ", "reload = [\"sh\", \"-c\", \"echo 'the input device is not a TTY'; exit 1\"]");
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains("its reload command fails, and the server runs: the input device is not a TTY"), "{text}");
    assert!(text.contains("no -t") && !text.contains("start the server"), "{text}");
    assert_eq!(lab.nodes[0].served(SERVICE), before, "as before");
}
