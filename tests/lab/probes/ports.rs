//! Several ports of one node, and a port that does not speak TLS.

use std::fs;

use super::{lab, port, served};
use crate::lab::SERVICE;
use crate::lab::printed::exits;

#[test]
fn a_certificate_is_proven_at_every_port_and_a_port_of_plain_text_is_no_fault_of_the_node() {
    let (second, plain) = (port("0.0.0.0"), port("0.0.0.0"));
    let lab = lab(&format!("listen 0.0.0.0:{second} ssl; listen 0.0.0.0:{plain};"), "");
    lab.write_config("");
    let first = lab.nodes[0].tls.port();
    lab.replace_line("probe = ", &format!("probe = [{{ port = {first} }}, {{ port = {second} }}]"));
    exits(&lab.certd(&["renew"]), 0);
    let served = served(&lab);
    assert_eq!(served.len(), 2, "{served:?}");
    for (row, port) in served.iter().zip([first, second]) {
        assert!(row["address"].as_str().unwrap().ends_with(&format!(":{port}")), "{row}");
        assert!(row["verdict"] == "ok" && row["starttls"].is_null(), "{row}");
    }

    // A wrong port in `probe` is reported as that, and the node is reloaded once for it.
    lab.replace_line(
        "probe = ",
        &format!("probe = [{{ port = {first} }}, {{ port = {plain}, served_within = \"1s\" }}]"),
    );
    let text = exits(&lab.certd(&["check"]), 3);
    assert!(text.contains(&format!("port {plain} answers in plain HTTP: probe the port of HTTPS")), "{text}");
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(!text.contains("visitors are hurt"), "{text}");
    // The log has what certd sent to the port of plain text.
    let log = || fs::read(lab.nodes[0].folder.join("logs/error.log")).unwrap();
    let reloads = || String::from_utf8_lossy(&log()).matches("reconfiguring").count();
    let before = reloads();
    let text = exits(&lab.certd(&["renew"]), 6);
    assert!(text.contains("plain HTTP"), "{text}");
    assert_eq!(reloads(), before, "nothing changes by another reload");
    assert_eq!(lab.nodes[0].served(SERVICE), lab.nodes[0].pair(SERVICE));
}
